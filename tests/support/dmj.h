/* Reads the structure of D/MIME messages a second time, naively, and compares: knows
 * the format by itself. For tests and fuzz targets. */
#ifndef KEYD_TESTS_DMJ_H
#define KEYD_TESTS_DMJ_H

#include <dime/message.h>

struct dmj_chunk {
    uint32_t at, size, end; /* of the header, of the payload, behind the slots */
    uint8_t type;
};

/* The chunks of a message in memory; false if it is none. *chunks is static storage,
 * until the next call. */
bool dmj_read(struct kd_slice octets, const struct dmj_chunk **chunks, size_t *n);

/* The same of chunks alone, from an offset to the end, in whatever order: of known
 * types and right sizes, whole. */
bool dmj_read_chunks(struct kd_slice octets, size_t at, const struct dmj_chunk **chunks,
                     size_t *n);

/* Whether two have the same chunks in the same places; sources are not compared. */
bool dmj_same(const struct dime_message *a, const struct dime_message *b);

struct dmj_verdict {
    kd_err err;
    enum dime_flaw flaw;
    struct dime_message m; /* in memory; if err is KD_OK */
};

/* What the library says of the octets, where they lie and in the file, which begins
 * with the same, and how it walks through them. NULL if it says the same of both and
 * the naive reading does, too; else what differs. */
const char *dmj_judge(struct kd_slice octets, int fd, struct dmj_verdict *out);

#endif
