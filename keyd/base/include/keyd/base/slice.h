/* Borrowed octets. A slice does not outlive the frame it came from. */
#ifndef KEYD_BASE_SLICE_H
#define KEYD_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct kd_slice {
    const uint8_t *p; /* NULL only when n is 0 */
    size_t n;
};

static inline struct kd_slice
kd_slice(const void *p, size_t n)
{
    return (struct kd_slice){(const uint8_t *)p, n};
}

static inline struct kd_slice
kd_slice_str(const char *s)
{
    return kd_slice(s, strlen(s));
}

/* Not for secrets: see kd_secret_eq. */
static inline bool
kd_slice_eq(struct kd_slice a, struct kd_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

#endif
