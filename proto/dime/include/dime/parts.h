/* Octets to be signed or verified that lie in several places: parts in order, each a
 * head in memory followed by a range of a file. Read by position, in pieces, as often
 * as wanted. */
#ifndef DIME_PARTS_H
#define DIME_PARTS_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum { DIME_PARTS_BUFFER = 64 << 10 }; /* more gains no speed */

struct dime_stream_part {
    struct kd_slice head; /* in memory; may be empty */
    int fd;               /* sealed memfd (any file to verify); unused if n is 0 */
    uint64_t off;
    uint64_t n;
};

/* Adds up the parts. KD_TOO_LARGE past max, KD_MALFORMED for a range that no file can
 * have. sealed: also that every file is a sealed memfd, else KD_INVALID, which holds
 * its range, else KD_MALFORMED. */
kd_err dime_parts_measure(const struct dime_stream_part *parts, size_t n_parts,
                          uint64_t max, bool sealed, uint64_t *size) KD_MUST_USE;

/* Where a reading stands; a copy stands there too. Borrows the parts, and a buffer of
 * DIME_PARTS_BUFFER octets. */
struct dime_parts_cursor {
    const struct dime_stream_part *parts;
    size_t n_parts;
    uint8_t *buffer;
    size_t part;
    uint64_t at; /* in the part, its head included */
};

/* The next octets, at most `most` (not 0), borrowed from the head or in the buffer:
 * none at the end of a part, behind which the cursor then stands. KD_MALFORMED for a
 * file that ends early, KD_IO. */
kd_err dime_parts_next(struct dime_parts_cursor *c, size_t most,
                       struct kd_slice *out) KD_MUST_USE;

bool dime_parts_at_end(const struct dime_parts_cursor *c);

#endif
