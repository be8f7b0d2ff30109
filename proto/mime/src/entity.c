#include "mime_fields.h"

static bool
position_take(struct kd_slice *data, uint32_t *out)
{
    size_t n = strlen(MIME_POSITION);

    *data = kd_slice(data->p + n, data->n - n);
    if (!mime_number(data, out) || *out == 0 || data->n < 2 ||
        memcmp(data->p, "\r\n", 2) != 0)
        return false;
    *data = kd_slice(data->p + 2, data->n - 2);
    return true;
}

kd_err
dime_mime_entity(struct kd_slice data, struct dime_mime_entity *out)
{
    struct kd_slice rest = data;
    struct mime_field f;
    bool ours = false;
    size_t n = 0;

    *out = (struct dime_mime_entity){.bare = true, .body = data};
    while (mime_field_next(&rest, &f) == DIME_MIME_MAPPED && f.raw.n != 0) {
        ours |= mime_name_begins(f.name, "X-Dime-");
        n = (size_t)(rest.p - data.p);
    }
    /* no field, or no empty line behind the fields */
    if (n == 0 || (size_t)(rest.p - data.p) != n + 2)
        return KD_OK;
    struct kd_slice fields = kd_slice(data.p, n);
    if (ours) {
        bool first = n > strlen(MIME_POSITION) &&
                     memcmp(data.p, MIME_POSITION, strlen(MIME_POSITION)) == 0;
        if (!first || !position_take(&fields, &out->position))
            return KD_INVALID;
        struct kd_slice others = fields;
        while (others.n != 0) {
            if (mime_field_next(&others, &f) != DIME_MIME_MAPPED)
                return KD_INVALID;
            if (mime_name_begins(f.name, "X-Dime-"))
                return KD_INVALID;
        }
    }
    *out = (struct dime_mime_entity){
        .position = out->position, .fields = fields, .body = rest};
    return KD_OK;
}
