#include "headers.h"

#include "mime_fields.h"

#include <dime/base64.h>

bool
mime_list_next(struct kd_slice *list, struct kd_slice *name)
{
    if (list->p == NULL)
        return false;
    const uint8_t *comma = list->n == 0 ? NULL : memchr(list->p, ',', list->n);
    if (comma == NULL) {
        *name = mime_trim(*list);
        *list = kd_slice(NULL, 0);
        return true;
    }
    size_t n = (size_t)(comma - list->p);
    *name = mime_trim(kd_slice(list->p, n));
    *list = kd_slice(comma + 1, list->n - n - 1);
    return true;
}

static kd_err
place(struct mime_headers *h, struct kd_slice name)
{
    enum dime_common which = mime_common_find(name);

    if (which == DIME_COMMON_COUNT || h->placed[which])
        return KD_INVALID;
    h->placed[which] = true;
    return KD_OK;
}

static kd_err
read_here(struct mime_headers *h, struct kd_slice list)
{
    struct kd_slice name;
    kd_err err = KD_OK;

    while (err == KD_OK && mime_list_next(&list, &name)) {
        if (mime_name_begins(name, "Content-"))
            h->n_here++;
        else
            err = place(h, name);
    }
    return err;
}

static kd_err
read_original(struct mime_headers *h, const struct mime_field *f)
{
    size_t n = strlen(MIME_ORIGINAL);
    struct kd_slice name = kd_slice(f->name.p + n, f->name.n - n);
    struct kd_buf value;
    kd_err err = place(h, name);

    if (err != KD_OK)
        return err;
    kd_buf_init(&value, DIME_COMMON_LINE_MAX);
    mime_unfold(f->body, &value);
    err = value.err;
    if (err == KD_TOO_LARGE ||
        (err == KD_OK &&
         !kd_slice_eq(kd_buf_slice(&value), h->common.value[mime_common_find(name)])))
        err = KD_INVALID;
    kd_buf_free(&value);
    return err;
}

static kd_err
read_absent(struct mime_headers *h, struct kd_slice list)
{
    struct kd_slice name;

    while (mime_list_next(&list, &name)) {
        enum dime_common which = mime_common_find(name);
        bool *absent =
            which == DIME_COMMON_COUNT ? &h->version_absent : &h->absent[which];
        if ((which == DIME_COMMON_COUNT && !mime_name_is(name, "MIME-Version")) ||
            *absent)
            return KD_INVALID;
        *absent = true;
    }
    return KD_OK;
}

static kd_err
read_once(struct kd_slice body, struct kd_slice *out)
{
    if (out->p != NULL)
        return KD_INVALID;
    *out = body;
    return KD_OK;
}

static kd_err
read_ours(struct mime_headers *h, const struct mime_field *f)
{
    if (mime_name_is(f->name, "X-Dime-Here"))
        return read_here(h, f->body);
    if (mime_name_begins(f->name, MIME_ORIGINAL))
        return read_original(h, f);
    if (mime_name_is(f->name, "X-Dime-Absent"))
        return read_absent(h, f->body);
    if (mime_name_is(f->name, "X-Dime-Preamble"))
        return read_once(f->body, &h->preamble);
    if (mime_name_is(f->name, "X-Dime-Epilogue"))
        return read_once(f->body, &h->epilogue);
    if (mime_name_is(f->name, "X-Dime-Raw") && !h->raw) {
        h->raw = true;
        return KD_OK;
    }
    return KD_INVALID;
}

static kd_err
read_field(struct mime_headers *h, const struct mime_field *f)
{
    if (mime_name_begins(f->name, "X-Dime-"))
        return read_ours(h, f);
    if (mime_common_find(f->name) != DIME_COMMON_COUNT)
        return KD_INVALID; /* a second one, beside that of 33 */
    h->version |= mime_name_is(f->name, "MIME-Version");
    h->content |= mime_name_begins(f->name, "Content-");
    if (!mime_name_is(f->name, "Content-Type"))
        return KD_OK;
    /* that it stands twice is seen in the mail that is made */
    return mime_type_read(f->body, &h->type) == DIME_MIME_MAPPED ? KD_OK : KD_INVALID;
}

kd_err
mime_headers_read(const struct dime_mime_content *content, struct mime_headers *out)
{
    struct kd_slice rest = content->headers;
    struct mime_field f;
    kd_err err = KD_OK;

    *out = (struct mime_headers){.common = content->common, .text = content->headers};
    for (int i = 0; i < DIME_COMMON_COUNT; i++)
        if (!mime_value_fits(content->common.value[i]))
            return KD_INVALID;
    if (rest.n > DIME_MIME_HEADERS_MAX)
        return KD_INVALID;
    while (err == KD_OK && rest.n != 0) {
        if (mime_field_next(&rest, &f) != DIME_MIME_MAPPED || f.raw.n == 0)
            return KD_INVALID;
        err = read_field(out, &f);
    }
    for (int i = 0; i < DIME_COMMON_COUNT; i++)
        if (out->absent[i] && (out->placed[i] || content->common.value[i].n != 0))
            return KD_INVALID;
    return err;
}

kd_err
mime_base64_read(struct kd_slice body, struct kd_buf *out)
{
    size_t n = 0;

    /* without folds it is shorter: room for it in out, then read over itself */
    size_t before = out->n;
    uint8_t *p = kd_buf_add(out, body.n);
    if (p == NULL)
        return out->err;
    for (size_t i = 0; i < body.n; i++)
        if (strchr(" \t\r\n", body.p[i]) == NULL)
            p[n++] = body.p[i];
    if (n == 0) {
        out->n = before;
        return KD_OK;
    }
    size_t octets = n / 4 * 3 + (n % 4 == 0 ? 0 : n % 4 - 1);
    struct kd_buf read;
    kd_buf_init(&read, octets);
    uint8_t *q = kd_buf_add(&read, octets);
    kd_err err = q == NULL ? read.err : KD_OK;
    if (err == KD_OK &&
        (n % 4 == 1 || dime_base64_read(kd_slice(p, n), q, octets) != KD_OK))
        err = KD_INVALID;
    out->n = before;
    if (err == KD_OK)
        kd_buf_put(out, kd_slice(q, octets));
    kd_buf_free(&read);
    return err;
}
