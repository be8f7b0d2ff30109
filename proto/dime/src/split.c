#include <dime/build.h>

static uint16_t
magic(enum dime_kind kind)
{
    switch (kind) {
    case DIME_ORG:
        return DIME_MAGIC_ORG;
    case DIME_USER:
        return DIME_MAGIC_USER;
    case DIME_SSR:
        break;
    }
    return DIME_MAGIC_SSR;
}

static bool
can_split(const struct dime_signet *s, enum dime_part part)
{
    if (part > s->part || (part == DIME_PART_REQUEST && s->kind != DIME_SSR))
        return false;
    /* Without its optional field 4 an organization's core bears no signature. */
    return part != DIME_PART_CORE || s->kind != DIME_ORG ||
           s->first[DIME_ORG_SELF_SIGNATURE] != 0;
}

kd_err
dime_split(const struct dime_signet *s, enum dime_part part, struct kd_buf *out)
{
    struct kd_slice fields;
    size_t before = out->n;

    if (out->err != KD_OK)
        return out->err;
    if (!can_split(s, part) || dime_signet_part(s, part, &fields) != KD_OK)
        return KD_NOT_FOUND;
    kd_buf_u16(out, magic(s->kind));
    kd_buf_u24(out, (uint32_t)fields.n);
    kd_buf_put(out, fields);
    kd_err err = out->err;
    if (err != KD_OK) {
        out->n = before;
        out->err = KD_OK;
    }
    return err;
}
