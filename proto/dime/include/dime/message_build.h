/* Making messages, as an author does: everything encrypted and signed by him, with
 * chunks for the signatures of his organization that hold 64 zero octets until it has
 * made them (D-119).
 *
 * Every chunk has a key and IV of its own, every slot random octets of its own, every
 * message an ephemeral key of its own (DM-21, DM-58, D-094). Padding as D-103 says:
 * chunks 4 and 5 to 512 octets or the next multiple of 256, others to 256 at least and
 * a random number of blocks more. */
#ifndef DIME_MESSAGE_BUILD_H
#define DIME_MESSAGE_BUILD_H

#include <dime/payload.h>

/* Data of one part; split over chunks where it does not fit one. */
struct dime_content {
    uint8_t type;  /* 65 to 67, 129 to 131 */
    uint8_t flags; /* 0 or DIME_PAYLOAD_GZIP: the data is compressed already */
    struct dime_source data; /* not empty */
};

struct dime_plan {
    const struct dime_ed25519_secret *author;
    const uint8_t *keys[DIME_ACTOR_COUNT]; /* encryption keys, 33 octets each, valid */
    struct kd_slice origin, destination;   /* dime/envelope.h */
    struct kd_slice common;                /* dime/common.h */
    struct kd_slice headers;               /* chunk 34; never empty (D-109) */
    const struct dime_content *contents;   /* display first, at least one (D-108) */
    size_t n_contents;
    bool metadata_bounce, display_bounce; /* chunks 248 and 249 */
};

/* Appends the message, header included, to out, whose limit is the message's.
 * KD_INVALID for a plan that cannot be a message; KD_TOO_LARGE, KD_NOMEM, KD_IO. What
 * was appended is taken back on failure. */
kd_err dime_message_build(const struct dime_plan *plan, struct kd_buf *out) KD_MUST_USE;

/* The same with randomness from elsewhere, for tests that compare octets: fill writes n
 * octets each time it is called. */
typedef void (*dime_random)(void *ctx, uint8_t *out, size_t n);
kd_err dime_message_build_with(const struct dime_plan *plan, dime_random fill,
                               void *ctx, struct kd_buf *out) KD_MUST_USE;

/* The origin's half: signs 248, 249 (those that are there) and 255 in the octets of a
 * parsed message in memory, which are written to: the placeholders become signatures
 * under their chunks' keys. kek: the origin's. One that is not to be made is dropped
 * before (dime_message_drop). For tools and tests: keyd does the same in pieces, with
 * the token's keys. */
kd_err dime_message_sign(const struct dime_message *m, uint8_t *octets,
                         const struct dime_kek *kek,
                         const struct dime_ed25519_secret *organization) KD_MUST_USE;

/* Copies a message without a chunk (248 or 249) to out. */
kd_err dime_message_drop(const struct dime_message *m, uint8_t type,
                         struct kd_buf *out) KD_MUST_USE;

#endif
