#include "shape.h"

#include "mime_fields.h"

#include <stdlib.h>

kd_err
mime_fields_type(struct kd_slice fields, struct mime_type *out)
{
    struct mime_field f;
    bool found = false;

    *out = (struct mime_type){0};
    while (fields.n != 0) {
        if (mime_field_next(&fields, &f) != DIME_MIME_MAPPED || f.raw.n == 0)
            return KD_INVALID;
        if (!mime_name_is(f.name, "Content-Type"))
            continue;
        if (found || mime_type_read(f.body, out) != DIME_MIME_MAPPED)
            return KD_INVALID;
        found = true;
    }
    return KD_OK;
}

/* "Name: number" and the line end. */
static bool
number_line(struct kd_slice *s, const char *name, uint32_t *out)
{
    size_t n = strlen(name);

    if (s->n < n || memcmp(s->p, name, n) != 0)
        return false;
    *s = kd_slice(s->p + n, s->n - n);
    if (!mime_number(s, out) || s->n < 2 || memcmp(s->p, "\r\n", 2) != 0)
        return false;
    *s = kd_slice(s->p + 2, s->n - 2);
    return true;
}

static bool
is_alternative(uint8_t type)
{
    return type == DIME_CHUNK_DISPLAY_ALTERNATIVE ||
           type == DIME_CHUNK_ATTACHMENTS_ALTERNATIVE;
}

/* Who goes by the chunks shows one part or all, and so does who reads the mail. */
static kd_err
read_multipart(struct kd_slice data, struct mime_part *out)
{
    uint32_t preamble, epilogue;
    struct mime_type type;
    struct mime_field f;
    size_t n = 0;

    if (!number_line(&data, "Children: ", &out->children) ||
        !number_line(&data, "Preamble: ", &preamble) ||
        !number_line(&data, "Epilogue: ", &epilogue))
        return KD_INVALID;
    if (data.n != 0 && data.p[0] == 'P' &&
        (!number_line(&data, "Position: ", &out->position) || out->position == 0))
        return KD_INVALID;
    if (out->children == 0 || data.n < 2 || memcmp(data.p, "\r\n", 2) != 0)
        return KD_INVALID;
    data = kd_slice(data.p + 2, data.n - 2);

    struct kd_slice rest = data;
    for (;;) {
        n = (size_t)(rest.p - data.p);
        if (mime_field_next(&rest, &f) != DIME_MIME_MAPPED ||
            (f.raw.n != 0 && mime_name_begins(f.name, "X-Dime-")))
            return KD_INVALID;
        if (f.raw.n == 0)
            break;
    }
    if (preamble > rest.n || epilogue != rest.n - preamble)
        return KD_INVALID;
    out->fields = kd_slice(data.p, n);
    out->body = kd_slice(rest.p, preamble);
    out->epilogue = kd_slice(rest.p + preamble, epilogue);
    if (mime_fields_type(out->fields, &type) != KD_OK || !type.multipart ||
        type.alternative != is_alternative(out->type))
        return KD_INVALID;
    out->boundary = type.boundary;
    out->digest = type.digest;
    return KD_OK;
}

static kd_err
read_part(const struct dime_mime_part *part, struct mime_part *out)
{
    struct dime_mime_entity e;
    kd_err err;

    *out = (struct mime_part){.type = part->type};
    switch (part->type) {
    case DIME_CHUNK_DISPLAY_MULTIPART:
    case DIME_CHUNK_DISPLAY_ALTERNATIVE:
    case DIME_CHUNK_ATTACHMENTS_MULTIPART:
    case DIME_CHUNK_ATTACHMENTS_ALTERNATIVE:
        return read_multipart(part->data, out);
    case DIME_CHUNK_DISPLAY_CONTENT:
    case DIME_CHUNK_ATTACHMENTS_CONTENT:
        if ((err = dime_mime_entity(part->data, &e)) != KD_OK)
            return err;
        out->bare = e.bare;
        out->position = e.position;
        out->fields = e.fields;
        out->body = e.body;
        return KD_OK;
    default:
        return KD_INVALID;
    }
}

/* By the positions, if all have one; else the chunks are in order, and positions that
 * are there say so. */
static kd_err
put_in_order(struct mime_shape *s)
{
    bool all = true;

    for (uint32_t i = 0; i < s->n; i++)
        all &= s->part[i].position != 0;
    for (uint32_t i = 0; i < s->n; i++)
        s->order[i] = all ? s->n : i; /* s->n: not taken yet */
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t at = s->part[i].position;
        if (at == 0)
            continue;
        if (at > s->n || s->order[at - 1] != (all ? s->n : i))
            return KD_INVALID;
        s->order[at - 1] = i;
    }
    return KD_OK;
}

/* Every multipart has the parts it says, and none is too deep. */
static kd_err
count(struct mime_shape *s)
{
    uint32_t left[DIME_MIME_DEPTH], depth = 0;

    for (uint32_t i = 0; i < s->n; i++) {
        const struct mime_part *part = &s->part[s->order[i]];
        if (depth == 0)
            s->n_top++;
        else
            left[depth - 1]--;
        if (part->children != 0) {
            if (depth == DIME_MIME_DEPTH)
                return KD_INVALID;
            left[depth++] = part->children;
        }
        while (depth != 0 && left[depth - 1] == 0)
            depth--;
    }
    return depth == 0 ? KD_OK : KD_INVALID;
}

kd_err
mime_shape_read(const struct dime_mime_part *parts, size_t n, struct mime_shape *out)
{
    kd_err err;

    *out = (struct mime_shape){0};
    if (n == 0 || n > DIME_MIME_PARTS)
        return KD_INVALID;
    out->part = calloc(n, sizeof *out->part);
    out->order = calloc(n, sizeof *out->order);
    if (out->part == NULL || out->order == NULL)
        return KD_NOMEM;
    out->n = (uint32_t)n;
    for (uint32_t i = 0; i < out->n; i++)
        if ((err = read_part(&parts[i], &out->part[i])) != KD_OK)
            return err;
    if ((err = put_in_order(out)) != KD_OK)
        return err;
    return count(out);
}

void
mime_shape_free(struct mime_shape *s)
{
    free(s->part);
    free(s->order);
    *s = (struct mime_shape){0};
}
