#include <dime/source.h>

#include <errno.h>
#include <unistd.h>

kd_err
dime_source_read(const struct dime_source *s, uint64_t at, void *out, size_t n)
{
    uint8_t *to = out;

    if (at > s->n || n > s->n - at)
        return KD_MALFORMED;
    if (s->p != NULL) {
        if (n != 0)
            memcpy(to, s->p + at, n);
        return KD_OK;
    }
    while (n > 0) {
        ssize_t k = pread(s->fd, to, n, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return KD_IO;
        if (k == 0)
            return KD_MALFORMED;
        to += k;
        at += (uint64_t)k;
        n -= (size_t)k;
    }
    return KD_OK;
}

kd_err
dime_source_view(const struct dime_source *s, uint64_t at, size_t n, uint8_t *scratch,
                 struct kd_slice *out)
{
    if (s->p == NULL) {
        *out = kd_slice(scratch, n);
        return dime_source_read(s, at, scratch, n);
    }
    if (at > s->n || n > s->n - at)
        return KD_MALFORMED;
    *out = kd_slice(s->p + at, n);
    return KD_OK;
}
