/* What the walkers share: keys of a message, the chunks they open, and digests. */
#ifndef KEYD_MAIL_WORK_H
#define KEYD_MAIL_WORK_H

#include "text.h"

#include <keyd/base/buf.h>
#include <keyd/mail/mail.h>

/* In secret memory. */
struct work_secret {
    uint8_t z[KD_ECDH_SIZE];
    struct dime_kek kek;       /* what agreeing gave last */
    struct dime_kek in_use;    /* opens, or nothing at all */
    struct dime_chunk_key key; /* of the chunk at hand */
};

/* A text chunk's plaintext, on the heap, wiped. */
struct work_text {
    struct kd_buf data; /* never grows, so that nothing stays behind */
    struct text_values values;
};

struct work {
    const struct mail_keys *keys;
    const struct dime_message *m;
    struct work_secret *secret;
    struct work_text text;
};

/* Secret memory and room for a text; KD_NOMEM. To be ended in any case. */
kd_err work_begin(struct work *w, const struct mail_keys *keys,
                  const struct dime_message *m) KD_MUST_USE;
void work_end(struct work *w);

/* True if the ephemeral key of a message is one of these or of ours, with either sign
 * (D-090). Public. */
bool work_is_static(const struct dime_message *m, const struct mail_keys *keys,
                    const uint8_t *other);

/* Agrees on the KEK of an ephemeral key. The errors of the token, but KD_FAILED for a
 * point that it takes for none: it was parsed. *used is set before the key is. */
kd_err work_agree(struct work *w, const struct kd_key_id *opener,
                  const uint8_t ephemeral[DIME_SECP_KEY_SIZE], bool *used) KD_MUST_USE;

/* Sets in_use to a key that nobody has. */
void work_use_none(struct work *w);

/* in_use becomes kek where the mask is set. */
void work_use(struct work *w, uint32_t mask);

/* The 64 octets of a signature chunk, opened for the actor with in_use. KD_OK unless
 * the machine fails. */
kd_err work_open_signature(struct work *w, const struct dime_chunk *c,
                           enum dime_actor actor,
                           uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

/* Opens chunk 4 or 5 for the actor with in_use and judges it. *good: a mask; the text
 * is w's until the next one. KD_OK unless the machine fails. */
kd_err work_open_text(struct work *w, const struct dime_chunk *c, enum dime_actor actor,
                      const struct text_form *form, uint32_t *good) KD_MUST_USE;

/* A chunk is small enough to hold a text. Public. */
bool work_can_hold_text(const struct dime_chunk *c);

/* The keys of a foreign signet that are tried under an object of n octets. */
size_t work_foreign_keys(const struct dime_signet *signet, uint64_t n,
                         uint8_t keys[DIME_SOKS_MAX + 1][DIME_ED25519_KEY_SIZE]);

/* All bits set for a good verdict. */
uint32_t work_is_good(enum dime_message_verdict v);

/* SHA-256 of chunks as they are, each with its head and slots: n of them, each from at
 * to end. Small ones. */
struct work_range {
    const struct dime_source *source;
    uint64_t at, end;
};
kd_err work_digest(const struct work_range *ranges, size_t n,
                   uint8_t out[MAIL_SHA256_SIZE]) KD_MUST_USE;

/* Chunk 2 of a message, and another. */
struct work_range work_ephemeral(const struct dime_message *m);
struct work_range work_chunk(const struct dime_message *m, const struct dime_chunk *c);

/* Wipes what was written, and frees. */
void work_free_text(struct kd_buf *b);

#endif
