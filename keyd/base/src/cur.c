#include <keyd/base/be.h>
#include <keyd/base/cur.h>

struct kd_cur
kd_cur(struct kd_slice s)
{
    return (struct kd_cur){.base = s.p, .n = s.n};
}

size_t
kd_cur_left(const struct kd_cur *c)
{
    return c->err == KD_OK ? c->n - c->at : 0;
}

void
kd_cur_fail(struct kd_cur *c, kd_err err)
{
    if (c->err == KD_OK)
        c->err = err;
}

struct kd_slice
kd_cur_take(struct kd_cur *c, size_t n)
{
    if (n > kd_cur_left(c)) {
        kd_cur_fail(c, KD_MALFORMED);
        return kd_slice(NULL, 0);
    }
    if (n == 0)
        return kd_slice(NULL, 0);
    struct kd_slice s = kd_slice(c->base + c->at, n);
    c->at += n;
    return s;
}

uint8_t
kd_cur_u8(struct kd_cur *c)
{
    struct kd_slice s = kd_cur_take(c, 1);
    return s.n == 0 ? 0 : s.p[0];
}

uint16_t
kd_cur_u16(struct kd_cur *c)
{
    struct kd_slice s = kd_cur_take(c, 2);
    return s.n == 0 ? 0 : kd_be16(s.p);
}

uint32_t
kd_cur_u24(struct kd_cur *c)
{
    struct kd_slice s = kd_cur_take(c, 3);
    return s.n == 0 ? 0 : kd_be24(s.p);
}

uint32_t
kd_cur_u32(struct kd_cur *c)
{
    struct kd_slice s = kd_cur_take(c, 4);
    return s.n == 0 ? 0 : kd_be32(s.p);
}

uint64_t
kd_cur_u64(struct kd_cur *c)
{
    struct kd_slice s = kd_cur_take(c, 8);
    return s.n == 0 ? 0 : kd_be64(s.p);
}

uint8_t
kd_cur_peek(const struct kd_cur *c)
{
    return kd_cur_left(c) == 0 ? 0 : c->base[c->at];
}

void
kd_cur_copy(struct kd_cur *c, void *out, size_t n)
{
    struct kd_slice s = kd_cur_take(c, n);

    if (s.n == n && n != 0)
        memcpy(out, s.p, n);
    else
        memset(out, 0, n);
}

kd_err
kd_cur_end(struct kd_cur *c)
{
    if (kd_cur_left(c) != 0)
        kd_cur_fail(c, KD_MALFORMED);
    return c->err;
}
