#include <keyd/base/be.h>
#include <keyd/base/buf.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CAP = 256 };

void
kd_buf_init(struct kd_buf *b, size_t max)
{
    *b = (struct kd_buf){.max = max};
}

void
kd_buf_free(struct kd_buf *b)
{
    free(b->p);
    *b = (struct kd_buf){.max = b->max};
}

void
kd_buf_reset(struct kd_buf *b)
{
    b->n = 0;
    b->err = KD_OK;
}

static kd_err
grow(struct kd_buf *b, size_t need)
{
    size_t cap = b->cap == 0 ? FIRST_CAP : b->cap;

    while (cap < need)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    uint8_t *p = realloc(b->p, cap);
    if (p == NULL)
        return KD_NOMEM;
    b->p = p;
    b->cap = cap;
    return KD_OK;
}

uint8_t *
kd_buf_add(struct kd_buf *b, size_t n)
{
    if (b->err != KD_OK)
        return NULL;
    if (n > b->max - b->n) {
        b->err = KD_TOO_LARGE;
        return NULL;
    }
    if ((n > b->cap - b->n || b->p == NULL) && (b->err = grow(b, b->n + n)) != KD_OK)
        return NULL;
    uint8_t *at = b->p + b->n;
    b->n += n;
    return at;
}

void
kd_buf_put(struct kd_buf *b, struct kd_slice s)
{
    uint8_t *at = kd_buf_add(b, s.n);

    if (at != NULL && s.n != 0)
        memcpy(at, s.p, s.n);
}

void
kd_buf_u8(struct kd_buf *b, uint8_t v)
{
    uint8_t *at = kd_buf_add(b, 1);

    if (at != NULL)
        *at = v;
}

void
kd_buf_u16(struct kd_buf *b, uint16_t v)
{
    uint8_t *at = kd_buf_add(b, 2);

    if (at != NULL)
        kd_put_be16(at, v);
}

void
kd_buf_u24(struct kd_buf *b, uint32_t v)
{
    uint8_t *at = kd_buf_add(b, 3);

    if (at != NULL)
        kd_put_be24(at, v);
}

void
kd_buf_u32(struct kd_buf *b, uint32_t v)
{
    uint8_t *at = kd_buf_add(b, 4);

    if (at != NULL)
        kd_put_be32(at, v);
}

void
kd_buf_u64(struct kd_buf *b, uint64_t v)
{
    uint8_t *at = kd_buf_add(b, 8);

    if (at != NULL)
        kd_put_be64(at, v);
}

void
kd_buf_printf(struct kd_buf *b, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    /* vsnprintf ends with a NUL, which takes room but is not counted. */
    uint8_t *at = n < 0 ? NULL : kd_buf_add(b, (size_t)n + 1);
    if (at != NULL) {
        kd_ignore(
            vsnprintf((char *)at, (size_t)n + 1, fmt, again)); /* measured above */
        b->n--;
    }
    va_end(again);
    va_end(ap);
}

struct kd_slice
kd_buf_slice(const struct kd_buf *b)
{
    return b->err == KD_OK ? kd_slice(b->p, b->n) : kd_slice(NULL, 0);
}

void
kd_buf_join(struct kd_buf *b, const struct kd_buf *part)
{
    if (b->err == KD_OK)
        b->err = part->err;
}

kd_err
kd_buf_take(struct kd_buf *b, uint8_t **out, size_t *n)
{
    if (b->err != KD_OK)
        return b->err;
    *out = b->p;
    *n = b->n;
    *b = (struct kd_buf){.max = b->max};
    return KD_OK;
}
