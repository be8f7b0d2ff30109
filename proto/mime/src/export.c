#include "export.h"

#include "headers.h"
#include "mime_fields.h"
#include "shape.h"
#include "tree.h"

#include <dime/base64.h>
#include <dime/utf8.h>

#include <sodium.h>
#include <stdlib.h>

enum { BASE64_LINE = 57, HASH_SHOWN = 16, MADE_BOUNDARY = 5 + 2 * HASH_SHOWN };

/* A multipart whose parts are being written. */
struct frame {
    struct kd_slice boundary, epilogue;
    uint32_t left;  /* parts */
    uint32_t place; /* of its own */
    bool digest;
};

struct writer {
    struct mime_out *out;
    struct mime_headers headers;
    struct mime_shape shape;
    struct kd_slice part_fields; /* of the one part, still to be placed */
    struct kd_buf preamble, epilogue;
    char boundary[MADE_BOUNDARY + 1]; /* of a multipart that is made here */
    struct frame frame[DIME_MIME_DEPTH];
    uint32_t depth;
    struct mime_place *plan;
    uint32_t n_plan;
    kd_err err;
};

static void
put(struct writer *w, struct kd_slice s)
{
    struct mime_out *out = w->out;

    out->at += s.n;
    if (out->buf != NULL) {
        kd_buf_put(out->buf, s);
        return;
    }
    if (s.n > out->want.n || !kd_slice_eq(s, kd_slice(out->want.p, s.n)))
        out->differs = true;
    else
        out->want = kd_slice(out->want.p + s.n, out->want.n - s.n);
}

static void
put_str(struct writer *w, const char *s)
{
    put(w, kd_slice_str(s));
}

static void
put_common(struct writer *w, struct kd_slice name, enum dime_common which)
{
    struct kd_slice value = w->headers.common.value[which];

    put(w, name);
    put_str(w, value.n == 0 ? ":" : ": ");
    put(w, value);
    put_str(w, "\r\n");
}

/* Those that no field of ours has a place for. */
static void
put_unplaced(struct writer *w)
{
    static const char *const names[DIME_COMMON_COUNT] = {
        [DIME_COMMON_DATE] = "Date",
        [DIME_COMMON_TO] = "To",
        [DIME_COMMON_CC] = "CC",
        [DIME_COMMON_FROM] = "From",
        [DIME_COMMON_ORGANIZATION] = "Organization",
        [DIME_COMMON_SUBJECT] = "Subject"};

    for (int i = 0; i < DIME_COMMON_COUNT; i++)
        if (w->headers.common.value[i].p != NULL && !w->headers.placed[i] &&
            !w->headers.absent[i])
            put_common(w, kd_slice_str(names[i]), (enum dime_common)i);
}

static kd_err
put_here(struct writer *w, struct kd_slice list)
{
    struct kd_slice name;
    struct mime_field f;

    while (mime_list_next(&list, &name)) {
        enum dime_common which = mime_common_find(name);
        if (which != DIME_COMMON_COUNT) {
            put_common(w, name, which);
            continue;
        }
        if (w->part_fields.n == 0 ||
            mime_field_next(&w->part_fields, &f) != DIME_MIME_MAPPED ||
            !kd_slice_eq(f.name, name))
            return KD_INVALID;
        put(w, f.raw);
    }
    return KD_OK;
}

/* Chunks 33 and 34, and the fields of the one part, without the empty line. */
static kd_err
put_headers(struct writer *w)
{
    struct kd_slice rest = w->headers.text;
    struct mime_field f;
    kd_err err = KD_OK;

    put_unplaced(w);
    while (err == KD_OK && rest.n != 0) {
        if (mime_field_next(&rest, &f) != DIME_MIME_MAPPED)
            return KD_INVALID;
        size_t original = strlen(MIME_ORIGINAL);
        if (mime_name_is(f.name, "X-Dime-Here"))
            err = put_here(w, f.body);
        else if (mime_name_begins(f.name, MIME_ORIGINAL))
            put(w, kd_slice(f.raw.p + original, f.raw.n - original));
        else if (!mime_name_begins(f.name, "X-Dime-") &&
                 !(w->headers.version_absent && mime_name_is(f.name, "MIME-Version")))
            put(w, f.raw);
    }
    put(w, w->part_fields);
    if (!w->headers.version && !w->headers.version_absent)
        put_str(w, "MIME-Version: 1.0\r\n");
    return err;
}

/* Text without a header (D-113), and what it needs for being mail. */
static void
put_bare_fields(struct writer *w, const struct mime_part *part)
{
    if (!mime_is_plain(part->body)) {
        put_str(w, dime_utf8_valid(part->body, NULL)
                       ? "Content-Type: text/plain; charset=utf-8\r\n"
                       : "Content-Type: application/octet-stream\r\n");
        put_str(w, "Content-Transfer-Encoding: base64\r\n");
    }
    if (part->type == DIME_CHUNK_ATTACHMENTS_CONTENT)
        put_str(w, "Content-Disposition: attachment\r\n");
}

static void
put_base64(struct writer *w, struct kd_slice octets)
{
    static const char pad[] = "==";
    char line[BASE64_LINE * 4 / 3 + 5];

    for (size_t at = 0; at < octets.n; at += BASE64_LINE) {
        size_t n = octets.n - at < BASE64_LINE ? octets.n - at : BASE64_LINE;
        dime_base64_write(kd_slice(octets.p + at, n), line);
        put_str(w, line);
        put(w, kd_slice(pad, (3 - n % 3) % 3));
        put_str(w, "\r\n");
    }
}

static uint32_t
begin_place(struct writer *w, bool multipart)
{
    if (w->plan != NULL)
        w->plan[w->n_plan] = (struct mime_place){
            .parent = w->depth == 0 ? MIME_NO_PARENT : w->frame[w->depth - 1].place,
            .multipart = multipart,
            .body = w->out->at};
    return w->n_plan++;
}

static void
end_place(struct writer *w, uint32_t place)
{
    if (w->plan != NULL)
        w->plan[place].end = w->out->at;
}

/* From behind the empty line. */
static kd_err
begin_multipart(struct writer *w, struct kd_slice preamble, struct frame frame)
{
    if (w->depth == DIME_MIME_DEPTH)
        return KD_INVALID;
    frame.place = begin_place(w, true);
    w->frame[w->depth++] = frame;
    put(w, preamble);
    return KD_OK;
}

/* A part is written: so may be the multiparts it is the last of. */
static void
end_parts(struct writer *w)
{
    while (w->depth != 0) {
        struct frame *f = &w->frame[w->depth - 1];
        put_str(w, "\r\n");
        if (--f->left != 0)
            return;
        put_str(w, "--");
        put(w, f->boundary);
        put_str(w, "--");
        put(w, f->epilogue);
        end_place(w, f->place);
        w->depth--;
    }
}

/* Behind its header. */
static kd_err
put_body(struct writer *w, const struct mime_part *part, bool encode)
{
    if (part->children != 0)
        return begin_multipart(w, part->body,
                               (struct frame){.boundary = part->boundary,
                                              .epilogue = part->epilogue,
                                              .left = part->children,
                                              .digest = part->digest});
    uint32_t place = begin_place(w, false);
    if (encode)
        put_base64(w, part->body);
    else
        put(w, part->body);
    end_place(w, place);
    end_parts(w);
    return KD_OK;
}

static bool
must_encode(const struct mime_part *part)
{
    return part->bare && !mime_is_plain(part->body);
}

/* A part of a multipart. */
static kd_err
put_part(struct writer *w, const struct mime_part *part)
{
    /* it is text, and there would be a mail */
    if (part->bare && w->frame[w->depth - 1].digest)
        return KD_INVALID;
    put_str(w, "--");
    put(w, w->frame[w->depth - 1].boundary);
    put_str(w, "\r\n");
    put(w, part->fields);
    if (part->bare)
        put_bare_fields(w, part);
    put_str(w, "\r\n");
    return put_body(w, part, must_encode(part));
}

static bool
only_content_fields(struct kd_slice fields)
{
    struct mime_field f;

    while (fields.n != 0)
        if (mime_field_next(&fields, &f) != DIME_MIME_MAPPED ||
            !mime_name_begins(f.name, "Content-"))
            return false;
    return true;
}

/* The mail is the one part that there is. */
static kd_err
put_single(struct writer *w, const struct mime_part *part)
{
    kd_err err;

    if (w->headers.preamble.p != NULL || w->headers.epilogue.p != NULL ||
        (w->headers.content && part->fields.n != 0))
        return KD_INVALID;
    w->part_fields = part->fields;
    if ((err = put_headers(w)) != KD_OK)
        return err;
    /* text under the fields of 34 is what these say it is */
    bool made = part->bare && !w->headers.content;
    if (made)
        put_bare_fields(w, part);
    put_str(w, "\r\n");
    return put_body(w, part, made && must_encode(part));
}

/* The mail is the multipart of 34, which can only be mixed: of another kind it would
 * mean something else than parts that stand side by side. */
static kd_err
put_mixed(struct writer *w)
{
    struct frame frame = {.boundary = w->headers.type.boundary,
                          .epilogue = kd_slice("\r\n", 2),
                          .left = w->shape.n_top};
    kd_err err = KD_OK;

    if (!w->headers.type.mixed || w->headers.n_here != 0)
        return KD_INVALID;
    if (w->headers.preamble.p != NULL)
        err = mime_base64_read(w->headers.preamble, &w->preamble);
    if (err == KD_OK && w->headers.epilogue.p != NULL) {
        err = mime_base64_read(w->headers.epilogue, &w->epilogue);
        frame.epilogue = kd_buf_slice(&w->epilogue);
    }
    if (err != KD_OK || (err = put_headers(w)) != KD_OK)
        return err;
    put_str(w, "\r\n");
    return begin_multipart(w, kd_buf_slice(&w->preamble), frame);
}

/* Parts of others, who said no multipart: one is made. Its boundary is a hash of all of
 * them, so that none can hold it on purpose. */
static kd_err
put_made(struct writer *w, const struct dime_mime_content *content)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state state;
    kd_err err;

    if (w->headers.content || w->headers.n_here != 0 || w->headers.preamble.p != NULL ||
        w->headers.epilogue.p != NULL)
        return KD_INVALID;
    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < content->n_parts; i++)
        crypto_hash_sha256_update(&state, content->parts[i].data.p,
                                  content->parts[i].data.n);
    crypto_hash_sha256_final(&state, hash);
    memcpy(w->boundary, "dime-", 5);
    sodium_bin2hex(w->boundary + 5, sizeof w->boundary - 5, hash, HASH_SHOWN);
    if ((err = put_headers(w)) != KD_OK)
        return err;
    put_str(w, "Content-Type: multipart/mixed; boundary=\"");
    put_str(w, w->boundary);
    put_str(w, "\"\r\n\r\n");
    return begin_multipart(w, kd_slice(NULL, 0),
                           (struct frame){.boundary = kd_slice_str(w->boundary),
                                          .epilogue = kd_slice("\r\n", 2),
                                          .left = w->shape.n_top});
}

static kd_err
put_all(struct writer *w, const struct dime_mime_content *content)
{
    const struct mime_shape *s = &w->shape;
    uint32_t i = 0;
    kd_err err;

    if (w->headers.type.multipart)
        err = put_mixed(w);
    else if (s->n_top == 1 && only_content_fields(s->part[s->order[0]].fields))
        err = put_single(w, &s->part[s->order[i++]]);
    else
        err = put_made(w, content);
    for (; err == KD_OK && i < s->n; i++)
        err = put_part(w, &s->part[s->order[i]]);
    return err;
}

/* The mail is the body of the one part, and 33 and 34 say what import makes of it: what
 * stands there must not be other than what the mail says. */
static kd_err
put_raw(struct writer *w, const struct dime_mime_content *content)
{
    struct kd_slice head = mime_raw_head(), data = content->parts[0].data;
    struct kd_buf values, headers;
    struct mime_found found = {0};

    if (content->n_parts != 1 || content->parts[0].type != DIME_CHUNK_DISPLAY_CONTENT ||
        data.n < head.n || !kd_slice_eq(head, kd_slice(data.p, head.n)))
        return KD_INVALID;
    struct kd_slice mail = kd_slice(data.p + head.n, data.n - head.n);
    kd_buf_init(&values, MIME_VALUES_MAX);
    kd_buf_init(&headers, DIME_MIME_HEADERS_MAX);
    mime_common_guess(mail, &values, &found);
    mime_raw_headers_put(&found, &headers);
    kd_err err = values.err == KD_OK ? headers.err : values.err;
    if (err == KD_OK) {
        struct dime_common_headers common = mime_common_of(&found, &values);
        bool same = kd_slice_eq(kd_buf_slice(&headers), content->headers);
        for (int i = 0; i < DIME_COMMON_COUNT; i++)
            same &= kd_slice_eq(common.value[i], content->common.value[i]);
        err = same ? KD_OK : KD_INVALID;
    }
    if (err == KD_OK)
        put(w, mail);
    kd_buf_free(&values);
    kd_buf_free(&headers);
    return err;
}

kd_err
mime_write(const struct dime_mime_content *content, struct mime_out *out,
           struct mime_place *plan, uint32_t *n_plan)
{
    struct writer w = {.out = out, .plan = plan};
    kd_err err;

    kd_buf_init(&w.preamble, DIME_MIME_HEADERS_MAX);
    kd_buf_init(&w.epilogue, DIME_MIME_HEADERS_MAX);
    if (content->n_parts == 0)
        return KD_INVALID;
    if ((err = mime_headers_read(content, &w.headers)) != KD_OK)
        return err;
    if (w.headers.raw) {
        err = put_raw(&w, content);
    } else {
        err = mime_shape_read(content->parts, content->n_parts, &w.shape);
        if (err == KD_OK)
            err = put_all(&w, content);
        mime_shape_free(&w.shape);
    }
    kd_buf_free(&w.preamble);
    kd_buf_free(&w.epilogue);
    *n_plan = w.n_plan;
    if (err == KD_OK && out->buf != NULL)
        err = out->buf->err;
    return err;
}

/* Whether a reader finds the parts where they were put. */
static kd_err
check(struct kd_slice mail, const struct mime_place *plan, uint32_t n)
{
    struct mime_tree tree;
    kd_err err = mime_tree_read(mail, &tree);

    if (err == KD_OK && (tree.why != DIME_MIME_MAPPED || tree.n != n))
        err = KD_INVALID;
    for (uint32_t i = 0; err == KD_OK && i < n; i++) {
        const struct mime_node *node = &tree.node[i];
        if (node->parent != plan[i].parent ||
            (node->boundary_size != 0) != plan[i].multipart ||
            node->body != plan[i].body || node->end != plan[i].end)
            err = KD_INVALID;
    }
    mime_tree_free(&tree);
    return err;
}

kd_err
dime_mime_export(const struct dime_mime_content *content, struct kd_buf *out)
{
    struct mime_out to = {.buf = out};
    struct mime_place *plan = NULL;
    size_t before = out->n;
    uint32_t n = 0;
    kd_err err = out->err;

    if (err != KD_OK)
        return err;
    if (content->n_parts > DIME_MIME_PARTS)
        return KD_INVALID;
    if ((plan = calloc(content->n_parts + 1, sizeof *plan)) == NULL)
        return KD_NOMEM;
    err = mime_write(content, &to, plan, &n);
    if (err == KD_OK && n != 0)
        err = check(kd_slice(out->p + before, out->n - before), plan, n);
    free(plan);
    if (err != KD_OK)
        out->n = before;
    return err;
}
