#include <keyd/base/cbor.h>

enum major { UINT = 0, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5 };

static void
put_head(struct kd_buf *b, enum major major, uint64_t v)
{
    uint8_t top = (uint8_t)(major << 5);

    if (v > INT64_MAX) {
        if (b->err == KD_OK)
            b->err = KD_TOO_LARGE;
    } else if (v < 24) {
        kd_buf_u8(b, (uint8_t)(top | v));
    } else if (v <= UINT8_MAX) {
        kd_buf_u8(b, top | 24);
        kd_buf_u8(b, (uint8_t)v);
    } else if (v <= UINT16_MAX) {
        kd_buf_u8(b, top | 25);
        kd_buf_u16(b, (uint16_t)v);
    } else if (v <= UINT32_MAX) {
        kd_buf_u8(b, top | 26);
        kd_buf_u32(b, (uint32_t)v);
    } else {
        kd_buf_u8(b, top | 27);
        kd_buf_u64(b, v);
    }
}

void
kd_cbor_put_uint(struct kd_buf *b, uint64_t v)
{
    put_head(b, UINT, v);
}

void
kd_cbor_put_bytes(struct kd_buf *b, struct kd_slice s)
{
    put_head(b, BYTES, s.n);
    kd_buf_put(b, s);
}

void
kd_cbor_put_text(struct kd_buf *b, struct kd_slice s)
{
    put_head(b, TEXT, s.n);
    kd_buf_put(b, s);
}

void
kd_cbor_put_array(struct kd_buf *b, size_t n)
{
    put_head(b, ARRAY, n);
}

void
kd_cbor_put_map(struct kd_buf *b, size_t n)
{
    put_head(b, MAP, n);
}

/* The argument of a head of this type, at most max. */
static uint64_t
head(struct kd_cur *c, enum major major, uint64_t max)
{
    uint8_t first = kd_cur_u8(c);
    uint64_t v = first & 0x1f;
    uint64_t least = 0; /* what needs this width */

    if (first >> 5 != (unsigned)major)
        kd_cur_fail(c, KD_MALFORMED);
    if (v == 24) {
        v = kd_cur_u8(c);
        least = 24;
    } else if (v == 25) {
        v = kd_cur_u16(c);
        least = UINT8_MAX + 1;
    } else if (v == 26) {
        v = kd_cur_u32(c);
        least = UINT16_MAX + 1;
    } else if (v == 27) {
        v = kd_cur_u64(c);
        least = (uint64_t)UINT32_MAX + 1;
    } else if (v > 27) {
        kd_cur_fail(c, KD_MALFORMED); /* reserved, or an indefinite length */
    }
    if (v < least || v > max)
        kd_cur_fail(c, KD_MALFORMED);
    return c->err == KD_OK ? v : 0;
}

uint64_t
kd_cbor_uint(struct kd_cur *c)
{
    return head(c, UINT, INT64_MAX);
}

void
kd_cbor_expect(struct kd_cur *c, uint64_t v)
{
    if (kd_cbor_uint(c) != v)
        kd_cur_fail(c, KD_MALFORMED);
}

struct kd_slice
kd_cbor_bytes(struct kd_cur *c, size_t max)
{
    return kd_cur_take(c, (size_t)head(c, BYTES, max));
}

void
kd_cbor_copy(struct kd_cur *c, void *out, size_t n)
{
    if (head(c, BYTES, n) != n)
        kd_cur_fail(c, KD_MALFORMED);
    kd_cur_copy(c, out, n);
}

struct kd_slice
kd_cbor_text(struct kd_cur *c, size_t max)
{
    struct kd_slice s = kd_cur_take(c, (size_t)head(c, TEXT, max));

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 0x20 || s.p[i] > 0x7e) {
            kd_cur_fail(c, KD_MALFORMED);
            return kd_slice(NULL, 0);
        }
    }
    return s;
}

size_t
kd_cbor_array(struct kd_cur *c, size_t max)
{
    return (size_t)head(c, ARRAY, max);
}

size_t
kd_cbor_map(struct kd_cur *c, size_t max)
{
    return (size_t)head(c, MAP, max);
}
