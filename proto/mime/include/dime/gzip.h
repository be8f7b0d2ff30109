/* Compressed data of a part (flag 4; RFC 1952; DM-46, DM-47, D-122).
 *
 * One gzip member and nothing behind it. Compression comes before splitting and
 * encryption, decompression after joining. Nothing here may be linked by the vault. */
#ifndef DIME_GZIP_H
#define DIME_GZIP_H

#include <dime/payload.h>

enum dime_gzip_strategy {
    DIME_GZIP_SMALLER, /* the usual one: where it saves something */
    DIME_GZIP_ALWAYS,
    DIME_GZIP_NEVER,
};

/* More output than this must not be more than DIME_GZIP_RATIO times the input. */
enum { DIME_GZIP_FREE = 1 << 20, DIME_GZIP_RATIO = 200 };

/* Appends data compressed: the same octets for the same data, without time, name and
 * system. What it makes, dime_gunzip takes: data that shrinks by more than the ratio is
 * compressed less well. KD_TOO_LARGE past the buffer's limit, KD_NOMEM; nothing is
 * appended then. */
kd_err dime_gzip_put(struct kd_slice data, struct kd_buf *out) KD_MUST_USE;

/* Appends data as the strategy says; *compressed is whether flag 4 is to be set. */
kd_err dime_gzip_choose(enum dime_gzip_strategy strategy, struct kd_slice data,
                        struct kd_buf *out, bool *compressed) KD_MUST_USE;

/* Decompression in pieces, holding some 60 KiB whatever comes. Everything that is wrong
 * is KD_INVALID, as any other corruption of a part (DM-50): another format, a reserved
 * flag, a wrong checksum or length, a second member or any octet behind the first, an
 * early end, more output than max or than the ratio allows. */
struct dime_gunzip;

/* size: of the compressed data, all of it; max: of the output, usually the limit for
 * messages. KD_NOMEM. */
kd_err dime_gunzip_new(uint64_t size, uint64_t max,
                       struct dime_gunzip **out) KD_MUST_USE;
void dime_gunzip_free(struct dime_gunzip *z);

/* The next piece of the compressed data; sink gets what comes out of it, in pieces of
 * up to 16 KiB. Nothing given out is good before dime_gunzip_end says so. After an
 * error every further call answers it again. The sink's errors are returned as they
 * are. */
kd_err dime_gunzip_feed(struct dime_gunzip *z, struct kd_slice piece, dime_sink sink,
                        void *ctx) KD_MUST_USE;

/* KD_OK if the data was one whole member. */
kd_err dime_gunzip_end(const struct dime_gunzip *z) KD_MUST_USE;

/* All at once, to the end of a buffer, whose limit is max as well (KD_INVALID, not
 * KD_TOO_LARGE); on failure nothing is appended. */
kd_err dime_gunzip(struct kd_slice data, uint64_t max, struct kd_buf *out) KD_MUST_USE;

#endif
