#include "export.h"
#include "mime_fields.h"
#include "tree.h"

#include <dime/base64.h>

#include <stdlib.h>

struct dime_mime_store {
    struct kd_buf values, headers, data;
    struct dime_mime_part *parts; /* their data one after the other in data */
    uint32_t n_parts;
};

struct mapping {
    struct kd_slice mail;
    struct mime_tree tree;
    struct dime_mime_store *own;
    struct mime_found found;
    uint32_t first; /* the first node that is a chunk: 1 if a multipart is in 34 */
    bool here;      /* a line X-Dime-Here is begun in headers */
    bool version;   /* MIME-Version was there */
    bool flat;      /* without chunks for multiparts */
};

enum { BASE64_LINE = 57, FOR_A_PART = 32, FOR_A_MULTIPART = 128 };

static struct kd_slice
between(const struct mapping *m, uint32_t from, uint32_t to)
{
    return kd_slice(m->mail.p + from, to - from);
}

/* A field of the mail has its place here and its value elsewhere. */
static void
put_here(struct mapping *m, struct kd_slice name)
{
    kd_buf_put(&m->own->headers, kd_slice_str(m->here ? ", " : "X-Dime-Here: "));
    kd_buf_put(&m->own->headers, name);
    m->here = true;
}

static void
end_here(struct mapping *m)
{
    if (m->here)
        kd_buf_put(&m->own->headers, kd_slice("\r\n", 2));
    m->here = false;
}

static enum dime_mime_raw
map_common(struct mapping *m, const struct mime_field *f, enum dime_common which)
{
    struct kd_buf *values = &m->own->values;
    size_t before = values->n;

    if (m->found.at[which] != SIZE_MAX)
        return DIME_MIME_COMMON_TWICE;
    mime_unfold(f->body, values);
    if (values->err != KD_OK)
        return DIME_MIME_COMMON_VALUE;
    struct kd_slice value = kd_slice(values->p + before, values->n - before);
    if (!mime_value_fits(value))
        return DIME_MIME_COMMON_VALUE;
    m->found.at[which] = before;
    m->found.n[which] = value.n;

    size_t space = value.n == 0 ? 0 : 1;
    if (f->body.n == space + value.n && (space == 0 || f->body.p[0] == ' ') &&
        kd_slice_eq(kd_slice(f->body.p + space, value.n), value)) {
        put_here(m, f->name);
        return DIME_MIME_MAPPED;
    }
    end_here(m);
    kd_buf_put(&m->own->headers, kd_slice_str(MIME_ORIGINAL));
    kd_buf_put(&m->own->headers, f->raw);
    return DIME_MIME_MAPPED;
}

static enum dime_mime_raw
map_field(struct mapping *m, const struct mime_field *f)
{
    enum dime_common which = mime_common_find(f->name);

    if (which != DIME_COMMON_COUNT)
        return map_common(m, f, which);
    if (m->first == 0 && mime_name_begins(f->name, "Content-")) {
        if (memchr(f->name.p, ',', f->name.n) != NULL)
            return DIME_MIME_NO_FIELD;
        put_here(m, f->name);
        return DIME_MIME_MAPPED;
    }
    m->version |= mime_name_is(f->name, "MIME-Version");
    end_here(m);
    kd_buf_put(&m->own->headers, f->raw);
    return DIME_MIME_MAPPED;
}

/* Base 64 in folded lines. */
static void
put_base64(struct kd_buf *out, const char *name, struct kd_slice octets)
{
    char line[BASE64_LINE * 4 / 3 + 5];

    kd_buf_printf(out, "%s:", name);
    for (size_t at = 0; at < octets.n; at += BASE64_LINE) {
        size_t n = octets.n - at < BASE64_LINE ? octets.n - at : BASE64_LINE;
        dime_base64_write(kd_slice(octets.p + at, n), line);
        kd_buf_printf(out, "%s %s", at == 0 ? "" : "\r\n", line);
    }
    kd_buf_put(out, kd_slice("\r\n", 2));
}

static enum dime_mime_raw
map_headers(struct mapping *m)
{
    const struct mime_node *root = &m->tree.node[0];
    struct kd_slice rest = between(m, root->head, root->head_end);
    struct kd_buf *out = &m->own->headers;
    struct mime_field f;

    for (int i = 0; i < DIME_COMMON_COUNT; i++)
        m->found.at[i] = SIZE_MAX;
    while (rest.n != 0) {
        enum dime_mime_raw why = mime_field_next(&rest, &f);
        if (why == DIME_MIME_MAPPED)
            why = map_field(m, &f);
        if (why != DIME_MIME_MAPPED)
            return why;
    }
    end_here(m);
    if (!m->version)
        kd_buf_put(out, kd_slice_str("MIME-Version: 1.0\r\n"));
    mime_absent_put(&m->found, !m->version, out);
    if (m->first == 1) {
        struct kd_slice preamble = between(m, root->body, root->first);
        struct kd_slice epilogue = between(m, root->epilogue, root->end);
        if (preamble.n != 0)
            put_base64(out, "X-Dime-Preamble", preamble);
        if (!kd_slice_eq(epilogue, kd_slice("\r\n", 2)))
            put_base64(out, "X-Dime-Epilogue", epilogue);
    }
    return out->err == KD_TOO_LARGE ? DIME_MIME_HEADER_SIZE : DIME_MIME_MAPPED;
}

/* Sections of the chunks: *display is one bool for each node. */
static void
choose_sections(const struct mapping *m, bool *display)
{
    const struct mime_node *node = m->tree.node;
    uint32_t n = m->tree.n, first_leaf = n;
    bool any = false;

    /* first who is within an attachment; then, from the leaves up, the sections */
    for (uint32_t i = m->first; i < n; i++) {
        bool within = node[i].parent != MIME_NO_PARENT && node[i].parent >= m->first &&
                      display[node[i].parent];
        display[i] = within || (i != 0 && node[i].is_attachment);
    }
    for (uint32_t i = n; i-- > m->first;) {
        bool attached = display[i];
        display[i] = false;
        if (node[i].boundary_size != 0)
            continue;
        first_leaf = i;
        display[i] = !attached && (node[i].is_inline || node[i].text);
        any |= display[i];
    }
    if (!any && first_leaf < n)
        display[first_leaf] = true;
    for (uint32_t i = n; i-- > m->first;)
        if (node[i].parent != MIME_NO_PARENT && display[i])
            display[node[i].parent] = true;
}

static uint8_t
chunk_type(const struct mime_node *node, bool display)
{
    if (node->boundary_size == 0)
        return display ? DIME_CHUNK_DISPLAY_CONTENT : DIME_CHUNK_ATTACHMENTS_CONTENT;
    if (node->alternative)
        return display ? DIME_CHUNK_DISPLAY_ALTERNATIVE
                       : DIME_CHUNK_ATTACHMENTS_ALTERNATIVE;
    return display ? DIME_CHUNK_DISPLAY_MULTIPART : DIME_CHUNK_ATTACHMENTS_MULTIPART;
}

/* The fields that a part has in its chunk; of the mail itself, those of its content. */
static void
put_fields(struct mapping *m, uint32_t index)
{
    const struct mime_node *node = &m->tree.node[index];
    struct kd_slice rest = between(m, node->head, node->head_end);
    struct mime_field f;

    if (index != 0) {
        kd_buf_put(&m->own->data, rest);
        return;
    }
    while (rest.n != 0 && mime_field_next(&rest, &f) == DIME_MIME_MAPPED)
        if (mime_name_begins(f.name, "Content-"))
            kd_buf_put(&m->own->data, f.raw);
}

/* Whether a body without fields is read as that (D-113) and needs none. */
static bool
is_bare(uint8_t type, struct kd_slice body)
{
    struct kd_slice rest = body;
    struct mime_field f;

    return type == DIME_CHUNK_DISPLAY_CONTENT && body.n != 0 && mime_is_plain(body) &&
           mime_field_next(&rest, &f) != DIME_MIME_MAPPED;
}

/* There a part without fields is a mail (RFC 2046, 5.1.5), and a bare one is text. */
static bool
is_in_digest(const struct mapping *m, const struct mime_node *node)
{
    return node->parent != MIME_NO_PARENT && m->tree.node[node->parent].digest;
}

static void
put_leaf(struct mapping *m, uint32_t index, uint8_t type, bool reordered)
{
    const struct mime_node *node = &m->tree.node[index];
    struct kd_slice body = between(m, node->body, node->end);
    bool may_be_bare = is_bare(type, body) && !is_in_digest(m, node);
    struct kd_buf *data = &m->own->data;
    size_t before = data->n;

    put_fields(m, index);
    bool fields = data->n != before;
    if (reordered || (!fields && !may_be_bare)) {
        data->n = before;
        kd_buf_printf(data, MIME_POSITION "%u\r\n", index - m->first + 1);
        put_fields(m, index);
        fields = true;
    }
    if (fields)
        kd_buf_put(data, kd_slice("\r\n", 2));
    kd_buf_put(data, body);
}

static void
put_multipart(struct mapping *m, uint32_t index)
{
    const struct mime_node *node = &m->tree.node[index];
    struct kd_buf *data = &m->own->data;

    kd_buf_printf(
        data, "Children: %u\r\nPreamble: %u\r\nEpilogue: %u\r\nPosition: %u\r\n\r\n",
        node->n_children, node->first - node->body, node->end - node->epilogue,
        index - m->first + 1);
    put_fields(m, index);
    kd_buf_put(data, kd_slice("\r\n", 2));
    kd_buf_put(data, between(m, node->body, node->first));
    kd_buf_put(data, between(m, node->epilogue, node->end));
}

static void
put_section(struct mapping *m, const bool *display, bool which, bool reordered)
{
    for (uint32_t i = m->first; i < m->tree.n; i++) {
        if (display[i] != which)
            continue;
        struct dime_mime_part *part = &m->own->parts[m->own->n_parts++];
        size_t before = m->own->data.n;
        part->type = chunk_type(&m->tree.node[i], which);
        if (m->tree.node[i].boundary_size == 0)
            put_leaf(m, i, part->type, reordered);
        else
            put_multipart(m, i);
        part->data.n = m->own->data.n - before;
    }
}

static kd_err
map_parts(struct mapping *m)
{
    bool *display = calloc(m->tree.n, sizeof *display);
    bool reordered = false;

    m->own->parts = calloc(m->tree.n, sizeof *m->own->parts);
    if (display == NULL || m->own->parts == NULL) {
        free(display);
        return KD_NOMEM;
    }
    choose_sections(m, display);
    for (uint32_t i = m->first + 1; i < m->tree.n; i++)
        reordered |= display[i] && !display[i - 1];
    put_section(m, display, true, reordered);
    put_section(m, display, false, reordered);
    free(display);
    return m->own->data.err;
}

/* What the data of all parts has at most: the mail, and what we put before its parts.
 */
static size_t
data_size(const struct mapping *m)
{
    size_t n = m->mail.n;

    for (uint32_t i = 0; i < m->tree.n; i++)
        n += m->tree.node[i].boundary_size == 0 ? FOR_A_PART : FOR_A_MULTIPART;
    return n;
}

/* A buffer that will not have to grow. */
static kd_err
reserve(struct kd_buf *b, size_t n)
{
    kd_buf_init(b, n);
    kd_ignore(kd_buf_add(b, n)); /* the error stays in b */
    b->n = 0;
    return b->err;
}

static bool
needs_multipart(const struct mapping *m)
{
    for (uint32_t i = m->first; i < m->tree.n; i++)
        if (m->tree.node[i].boundary_size != 0)
            return true;
    return false;
}

static kd_err
map(struct mapping *m, enum dime_mime_raw *why)
{
    const struct mime_node *root = &m->tree.node[0];
    kd_err err;

    m->first = root->mixed ? 1 : 0;
    *why = map_headers(m);
    if (m->own->headers.err == KD_NOMEM || m->own->values.err == KD_NOMEM)
        return KD_NOMEM;
    if (*why == DIME_MIME_MAPPED && m->flat && needs_multipart(m))
        *why = DIME_MIME_MULTIPART;
    if (*why != DIME_MIME_MAPPED)
        return KD_OK;
    err = reserve(&m->own->data, data_size(m));
    return err == KD_OK ? map_parts(m) : err;
}

static void
store_clear(struct dime_mime_store *own)
{
    kd_buf_free(&own->values);
    kd_buf_free(&own->headers);
    kd_buf_free(&own->data);
    free(own->parts);
    *own = (struct dime_mime_store){0};
    kd_buf_init(&own->values, MIME_VALUES_MAX);
    kd_buf_init(&own->headers, DIME_MIME_HEADERS_MAX);
}

static kd_err
carry_raw(struct mapping *m)
{
    struct dime_mime_store *own = m->own;
    struct kd_slice head = mime_raw_head();
    kd_err err;

    store_clear(own);
    if ((own->parts = calloc(1, sizeof *own->parts)) == NULL)
        return KD_NOMEM;
    if ((err = reserve(&own->data, head.n + m->mail.n)) != KD_OK)
        return err;
    mime_common_guess(m->mail, &own->values, &m->found);
    mime_raw_headers_put(&m->found, &own->headers);
    kd_buf_put(&own->data, head);
    kd_buf_put(&own->data, m->mail);
    own->n_parts = 1;
    own->parts[0] = (struct dime_mime_part){.type = DIME_CHUNK_DISPLAY_CONTENT,
                                            .data = {NULL, own->data.n}};
    kd_buf_join(&own->data, &own->values);
    kd_buf_join(&own->data, &own->headers);
    return own->data.err;
}

static struct dime_mime_content
content_of(const struct mapping *m)
{
    struct dime_mime_store *own = m->own;
    const uint8_t *at = own->data.p;

    for (uint32_t i = 0; i < own->n_parts; i++) {
        own->parts[i].data.p = at;
        at += own->parts[i].data.n;
    }
    return (struct dime_mime_content){.common = mime_common_of(&m->found, &own->values),
                                      .headers = kd_buf_slice(&own->headers),
                                      .parts = own->parts,
                                      .n_parts = own->n_parts};
}

/* Writes the mail again, against the mail. */
static kd_err
compare(const struct mapping *m, enum dime_mime_raw *why)
{
    struct dime_mime_content content = content_of(m);
    struct mime_out out = {.want = m->mail};
    uint32_t n;
    kd_err err = mime_write(&content, &out, NULL, &n);

    if (err == KD_INVALID || (err == KD_OK && (out.differs || out.want.n != 0))) {
        *why = DIME_MIME_DIFFERS;
        return KD_OK;
    }
    return err;
}

static kd_err
import(struct kd_slice mail, bool flat, struct dime_mime *out)
{
    struct mapping m = {.mail = mail, .own = calloc(1, sizeof *m.own), .flat = flat};
    enum dime_mime_raw why;
    kd_err err;

    if (m.own == NULL)
        return KD_NOMEM;
    store_clear(m.own);
    if ((err = mime_tree_read(mail, &m.tree)) != KD_OK)
        goto out;
    if ((why = m.tree.why) == DIME_MIME_MAPPED && (err = map(&m, &why)) != KD_OK)
        goto out;
    mime_tree_free(&m.tree);
    if (why == DIME_MIME_MAPPED && (err = compare(&m, &why)) != KD_OK)
        goto out;
    if (why != DIME_MIME_MAPPED && (err = carry_raw(&m)) != KD_OK)
        goto out;
    *out = (struct dime_mime){.content = content_of(&m), .raw = why, .own = m.own};
    m.own = NULL;
out:
    mime_tree_free(&m.tree);
    if (m.own != NULL)
        store_clear(m.own);
    free(m.own);
    return err;
}

kd_err
dime_mime_import(struct kd_slice mail, struct dime_mime *out)
{
    return import(mail, false, out);
}

kd_err
dime_mime_import_naked(struct kd_slice mail, struct dime_mime *out)
{
    return import(mail, true, out);
}

void
dime_mime_free(struct dime_mime *m)
{
    if (m->own != NULL)
        store_clear(m->own);
    free(m->own);
    *m = (struct dime_mime){0};
}
