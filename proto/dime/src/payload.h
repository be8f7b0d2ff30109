/* What dime/payload.h and dime/span.h share: a payload judged, and read again. */
#ifndef DIME_SRC_PAYLOAD_H
#define DIME_SRC_PAYLOAD_H

#include <dime/payload.h>

/* What a payload says of itself, whether it is good or not. */
struct payload_said {
    uint8_t flags;
    uint32_t size;
    bool more;  /* flag 128 */
    bool empty; /* its author signed a length of 0 (DM-33) */
};

/* Whose signature is expected. */
struct payload_author {
    const uint8_t *key; /* NULL: it is not looked at */
    bool vouched;       /* as in struct dime_reader */
};

/* dime_payload_check with all of what is said; *out is written for KD_INVALID too. */
kd_err payload_judge(const struct dime_message *m, const struct dime_chunk *c,
                     const struct dime_chunk_key *key, struct payload_author author,
                     struct payload_said *out) KD_MUST_USE;

/* dime_payload_open. */
kd_err payload_open(const struct dime_message *m, const struct dime_chunk *c,
                    const struct dime_chunk_key *key, struct payload_author author,
                    struct dime_payload *out, struct kd_buf *data) KD_MUST_USE;

/* Gives out the data of a payload that was good before. KD_MALFORMED if its length is
 * not what was said (a file that was changed meanwhile), and the sink's errors. */
kd_err payload_give(const struct dime_message *m, const struct dime_chunk *c,
                    const struct dime_chunk_key *key, const uint32_t *size,
                    dime_sink sink, void *ctx) KD_MUST_USE;

#endif
