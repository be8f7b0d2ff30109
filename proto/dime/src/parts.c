#include <dime/parts.h>

#include <keyd/base/memfd.h>

#include <assert.h>

kd_err
dime_parts_measure(const struct dime_stream_part *parts, size_t n_parts, uint64_t max,
                   bool sealed, uint64_t *size)
{
    uint64_t left = max;

    for (size_t i = 0; i < n_parts; i++) {
        const struct dime_stream_part *p = parts + i;
        size_t file_size;
        kd_err err;
        if (p->head.n > left || p->n > left - p->head.n)
            return KD_TOO_LARGE;
        left -= p->head.n + p->n;
        if (p->n == 0)
            continue;
        if (p->off > INT64_MAX || p->n > INT64_MAX - p->off)
            return KD_MALFORMED;
        if (!sealed)
            continue;
        if ((err = kd_memfd_check(p->fd, SIZE_MAX, &file_size)) != KD_OK)
            return err;
        if (p->off > file_size || p->n > file_size - p->off)
            return KD_MALFORMED;
    }
    *size = max - left;
    return KD_OK;
}

static uint64_t
least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

kd_err
dime_parts_next(struct dime_parts_cursor *c, size_t most, struct kd_slice *out)
{
    const struct dime_stream_part *p = c->parts + c->part;
    const uint8_t *octets = c->buffer;
    size_t n;

    assert(most != 0);
    if (dime_parts_at_end(c)) {
        *out = kd_slice(NULL, 0);
        return KD_OK;
    }
    if (c->at < p->head.n) {
        n = (size_t)least(most, p->head.n - c->at);
        octets = p->head.p + c->at;
    } else {
        uint64_t at = c->at - p->head.n;
        n = (size_t)least(least(most, DIME_PARTS_BUFFER), p->n - at);
        kd_err err = kd_memfd_read(p->fd, (size_t)(p->off + at), c->buffer, n);
        if (err != KD_OK)
            return err;
    }
    c->at += n;
    if (n == 0) {
        c->part++;
        c->at = 0;
    }
    *out = kd_slice(octets, n);
    return KD_OK;
}

bool
dime_parts_at_end(const struct dime_parts_cursor *c)
{
    return c->part == c->n_parts;
}
