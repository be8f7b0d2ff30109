#include "field_read.h"

#include <dime/signet.h>

enum { FORMAT_ED25519 = 0x40 }; /* D-031 */

/* D-030, D-033: octets of length before a key, and whether a format octet stands
 * before an Ed25519 key. */
static const struct {
    uint8_t sign_length;
    bool format;
    uint8_t enc_length;
    uint8_t enc_size;
} layouts[DIME_LAYOUT_COUNT] = {
    [DIME_LAYOUT_L] = {1, true, 2, DIME_SECP_KEY_SIZE},
    [DIME_LAYOUT_M] = {1, true, 1, DIME_SECP_KEY_SIZE},
    [DIME_LAYOUT_P] = {1, false, 1, DIME_SECP_KEY_SIZE},
    [DIME_LAYOUT_S33] = {0, false, 0, DIME_SECP_KEY_SIZE},
    [DIME_LAYOUT_S32] = {0, false, 0, DIME_SECP_X_SIZE},
};

static size_t
read_length(struct kd_cur *c, unsigned octets)
{
    switch (octets) {
    case 1:
        return kd_cur_u8(c);
    case 2:
        return kd_cur_u16(c);
    default:
        return kd_cur_u24(c);
    }
}

/* A key of size octets behind a length of length_octets (0: none). An empty value is
 * left to the caller: the field is then absent (D-043). */
static enum dime_reason
read_key(struct kd_cur *c, unsigned length_octets, size_t size, struct kd_slice *value)
{
    size_t n = length_octets == 0 ? size : read_length(c, length_octets);

    *value = kd_cur_take(c, n);
    return n == 0 || n == size || c->err != KD_OK ? DIME_FINE : DIME_KEY_ENCODING;
}

static void
drop_first(struct kd_slice *s)
{
    s->p++;
    s->n--;
}

static enum dime_reason
read_sign_key(struct kd_cur *c, enum dime_layout layout, bool sok,
              struct dime_field *out)
{
    bool format = layouts[layout].format;
    size_t size = DIME_ED25519_KEY_SIZE + (sok ? 1u : 0u) + (format ? 1u : 0u);
    enum dime_reason why = read_key(c, layouts[layout].sign_length, size, &out->value);

    if (why != DIME_FINE || out->value.n == 0)
        return why;
    if (sok) {
        out->flags = out->value.p[0];
        drop_first(&out->value);
    }
    if (format) {
        if (out->value.p[0] != FORMAT_ED25519)
            return DIME_KEY_ENCODING;
        drop_first(&out->value);
    }
    return DIME_FINE;
}

/* D-051: identifiers are 1 to 254 octets, so a first octet of 0 can only be the upper
 * half of a two-octet length. */
static enum dime_reason
read_identifier(struct kd_cur *c, struct kd_slice *value)
{
    size_t n = kd_cur_u8(c);

    if (n == 0)
        n = kd_cur_u8(c);
    *value = kd_cur_take(c, n);
    if (c->err == KD_OK && (n == 0 || n > DIME_IDENTIFIER_MAX))
        return DIME_IDENTIFIER_SIZE;
    return DIME_FINE;
}

static enum dime_reason
read_body(struct kd_cur *c, enum dime_shape shape, enum dime_layout layout,
          struct dime_field *out)
{
    switch (shape) {
    case DIME_SHAPE_SIGN_KEY:
        return read_sign_key(c, layout, false, out);
    case DIME_SHAPE_SOK:
        return read_sign_key(c, layout, true, out);
    case DIME_SHAPE_ENC_KEY:
        return read_key(c, layouts[layout].enc_length, layouts[layout].enc_size,
                        &out->value);
    case DIME_SHAPE_SIGNATURE:
        out->value = kd_cur_take(c, DIME_SIG_SIZE);
        return DIME_FINE;
    case DIME_SHAPE_LEN1:
        out->value = kd_cur_take(c, kd_cur_u8(c));
        return DIME_FINE;
    case DIME_SHAPE_LEN2:
        out->value = kd_cur_take(c, kd_cur_u16(c));
        return DIME_FINE;
    case DIME_SHAPE_LEN3:
        out->value = kd_cur_take(c, kd_cur_u24(c));
        return DIME_FINE;
    case DIME_SHAPE_NAMED:
        out->name = kd_cur_take(c, kd_cur_u8(c));
        out->value = kd_cur_take(c, kd_cur_u16(c));
        return DIME_FINE;
    case DIME_SHAPE_IDENTIFIER:
        return read_identifier(c, &out->value);
    }
    return DIME_RESERVED_FIELD;
}

/* A type without a meaning is laid out by its range (D-038); types 251 to 255 all have
 * one, and what cannot be sized cannot be skipped (D-037). */
static enum dime_reason
find_shape(enum dime_kind kind, const struct dime_field *field, enum dime_shape *shape)
{
    if (field->def != NULL)
        *shape = field->def->shape;
    else if (kind == DIME_SSR)
        return field->type == 0 ? DIME_RESERVED_FIELD : DIME_NOT_IN_REQUEST;
    else if (field->type < DIME_FIELD_INFO_FIRST)
        return DIME_RESERVED_FIELD;
    else
        *shape = field->type < 160 ? DIME_SHAPE_LEN1 : DIME_SHAPE_LEN2;
    return DIME_FINE;
}

enum dime_reason
dime_field_read(struct kd_cur *c, enum dime_kind kind, enum dime_layout layout,
                struct dime_field *out)
{
    enum dime_reason why;
    enum dime_shape shape = DIME_SHAPE_LEN1;
    size_t start = c->at;

    *out = (struct dime_field){.type = kd_cur_u8(c)};
    out->def = dime_field_def(kind, out->type);
    if ((why = find_shape(kind, out, &shape)) != DIME_FINE)
        return why;
    why = read_body(c, shape, layout, out);
    if (c->err != KD_OK)
        return DIME_FIELD_OVERFLOW;
    out->raw = kd_slice(c->base + start, c->at - start);
    return why;
}

static void
put_length(struct kd_buf *out, unsigned octets, size_t n)
{
    if (octets == 1)
        kd_buf_u8(out, (uint8_t)n);
    else if (octets == 2)
        kd_buf_u16(out, (uint16_t)n);
}

void
dime_field_put_key(struct kd_buf *out, uint8_t type, enum dime_shape shape,
                   enum dime_layout layout, uint8_t perms, struct kd_slice key)
{
    bool sok = shape == DIME_SHAPE_SOK;
    bool format = shape != DIME_SHAPE_ENC_KEY && layouts[layout].format;
    unsigned length_octets = shape == DIME_SHAPE_ENC_KEY ? layouts[layout].enc_length
                                                         : layouts[layout].sign_length;

    kd_buf_u8(out, type);
    put_length(out, length_octets, key.n + (sok ? 1u : 0u) + (format ? 1u : 0u));
    if (sok)
        kd_buf_u8(out, perms);
    if (format)
        kd_buf_u8(out, FORMAT_ED25519);
    kd_buf_put(out, key);
}

void
dime_field_put_identifier(struct kd_buf *out, enum dime_layout layout,
                          struct kd_slice identifier)
{
    kd_buf_u8(out, DIME_FIELD_IDENTIFIER);
    put_length(out, layouts[layout].sign_length == 0 ? 2 : 1, identifier.n);
    kd_buf_put(out, identifier);
}
