/* Writes objects made of chunks, chunk by chunk: payloads signed, encrypted and given
 * keyslots where they lie in the object. Errors are sticky, so that a builder reads
 * like its object; the last step says how it went.
 *
 *   seal_begin, seal_for each actor, seal_ephemeral, chunks ..., seal_end */
#ifndef DIME_SRC_SEAL_H
#define DIME_SRC_SEAL_H

#include "aes.h"

#include <dime/build.h>
#include <dime/message_build.h>

struct seal_secret;

struct sealer {
    struct kd_buf *out;
    const struct dime_chunk_def *defs;
    struct dime_signer signer;            /* of payloads, trees and all chunks so far */
    const struct dime_ed25519_secret *by; /* whose, if it is a key at hand */
    dime_random fill;
    void *fill_ctx;

    size_t start; /* of the object in out */
    kd_err err;
    struct seal_secret *secret;
    struct aes_cbc payload, slots[DIME_ACTOR_COUNT];
    struct kd_buf tree; /* SHA-512 of the chunks so far */
};

/* expected: octets of the whole object or some more, to reserve; 0: unknown. fill: as
 * for dime_message_build_with; NULL: the system's. */
void seal_begin(struct sealer *s, uint16_t magic, const struct dime_chunk_def *defs,
                dime_random fill, void *fill_ctx, struct kd_buf *out, size_t expected);

/* Who signs: a key of the caller's, a key made for this object and forgotten with it,
 * whose public half is written to out, or, by setting signer, somebody else. */
void seal_signed_by(struct sealer *s, const struct dime_ed25519_secret *secret);
void seal_signed_once(struct sealer *s, uint8_t out[DIME_ED25519_KEY_SIZE]);

/* Whom slots are for; encryption key of 33 octets. */
void seal_for(struct sealer *s, enum dime_actor actor, const uint8_t *key);

/* Chunk 2: the ephemeral key and, if given, 32 octets behind it. */
void seal_ephemeral(struct sealer *s, const uint8_t *signing_key);

/* A payload of n octets from at; pad: of pad.h. */
void seal_payload(struct sealer *s, uint8_t type, uint8_t flags,
                  const struct dime_source *data, uint64_t at, uint32_t n, uint8_t pad);

/* The same of data in memory: padded as an envelope is, or as content. */
void seal_envelope(struct sealer *s, uint8_t type, struct kd_slice data);
void seal_slice(struct sealer *s, uint8_t type, struct kd_slice data);

/* Data of any size, split where it does not fit one chunk (D-121). */
void seal_content(struct sealer *s, const struct dime_content *content);

/* Cleartext: the octets from at to until, then one more chunk of the same object. No
 * part of a tree. */
void seal_copy(struct sealer *s, uint8_t type, const struct dime_source *source,
               uint64_t at, uint64_t until, const struct dime_chunk *last);

/* Signatures, encrypted or clear as the table says: over the hashes of the chunks so
 * far (D-115), over the chunks themselves (D-116, D-117), and 64 zero octets (D-119).
 */
void seal_tree(struct sealer *s, uint8_t type);
void seal_signature(struct sealer *s, uint8_t type);
void seal_blank(struct sealer *s, uint8_t type);

/* Writes the header's length, wipes and releases. On failure out is what it was. */
kd_err seal_end(struct sealer *s) KD_MUST_USE;

/* Contents that can follow each other in an object of that table: types in order of
 * their sections, at least one of display, none empty; KD_INVALID. KD_TOO_LARGE for
 * more data than out has room for, before any of it is read. */
kd_err seal_check_contents(const struct dime_chunk_def *defs,
                           const struct dime_content *contents, size_t n,
                           const struct kd_buf *out) KD_MUST_USE;

/* Room that data of n octets needs as chunks of a type with that many slots, at most.
 */
size_t seal_room(uint64_t n, size_t slots);

/* Signs and verifies what was made, as whoever lets a signature out has to
 * (dime/ed25519.h). */
kd_err seal_sign(const struct dime_ed25519_secret *secret, struct kd_slice message,
                 uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

#endif
