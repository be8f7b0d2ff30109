/* Octets that are read where they lie: in memory, or in a file too large to hold. A
 * file is read by position, never mapped, so that whoever else has it can neither end
 * the process nor move its offset; who needs the same octets at a second reading takes
 * a sealed memfd (keyd/base/memfd.h). */
#ifndef DIME_SOURCE_H
#define DIME_SOURCE_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

struct dime_source {
    const uint8_t *p; /* NULL: the file */
    int fd;           /* borrowed */
    uint64_t n;
};

static inline struct dime_source
dime_source_of(struct kd_slice octets)
{
    return (struct dime_source){.p = octets.p, .fd = -1, .n = octets.n};
}

static inline struct dime_source
dime_source_file(int fd, uint64_t n)
{
    return (struct dime_source){.p = NULL, .fd = fd, .n = n};
}

/* Copies n octets from at. KD_MALFORMED beyond the end, or where the file has become
 * shorter; KD_IO. */
kd_err dime_source_read(const struct dime_source *s, uint64_t at, void *out,
                        size_t n) KD_MUST_USE;

/* The octets themselves, borrowed, where they lie in memory; else copied to scratch (of
 * n octets). Errors as above. */
kd_err dime_source_view(const struct dime_source *s, uint64_t at, size_t n,
                        uint8_t *scratch, struct kd_slice *out) KD_MUST_USE;

#endif
