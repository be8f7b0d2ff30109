/* What a chunk holds (P6, "Encrypted payloads").
 *
 *   signature 64 | data length u24 | flags u8 | pad length u8 | data | padding
 *
 * AES-256-CBC under the chunk's key. The signature is the author's, over everything
 * behind it (D-099). It alone says nothing about authorship of this message (D-100): a
 * chunk can be lifted out of another one; see dime/message_verify.h.
 *
 * Everything is checked after the signature, and everything that can be wrong is one
 * error, KD_INVALID, at one cost (DM-50): length 0 or beyond the payload, reserved
 * flags, padding of another length or other octets. */
#ifndef DIME_PAYLOAD_H
#define DIME_PAYLOAD_H

#include <dime/ed25519.h>
#include <dime/kek.h>
#include <keyd/base/buf.h>

enum dime_payload_flag {
    DIME_PAYLOAD_ALT_PADDING = 1, /* the pad octet counts blocks of 16 (D-102) */
    DIME_PAYLOAD_ALT_KEY = 2,     /* encrypted once more, for another key (D-123) */
    DIME_PAYLOAD_GZIP = 4,
    DIME_PAYLOAD_CONTINUES = 128, /* in the next chunk (D-121) */
    DIME_PAYLOAD_FLAGS = 135,     /* all that have a meaning */
};

/* A payload that was checked. */
struct dime_payload {
    uint8_t flags;
    uint32_t size; /* of the data */
};

/* Takes a piece of the data; anything but KD_OK ends the reading and is returned. */
typedef kd_err (*dime_sink)(void *ctx, struct kd_slice piece);

/* Reads the payload once in pieces, holding some 100 KiB, and checks it. author: his
 * signing key, which passed dime_ed25519_key_valid. On KD_INVALID *maybe_more (may be
 * NULL) says what the flags, which nobody vouches for, say about a next piece: only to
 * be believed in order to discard more (D-121, DM-51). KD_NOMEM, KD_IO. A length of 0
 * that the author signed, for which the whole message is refused (DM-33), is told apart
 * in dime/span.h: no stranger can make one. */
kd_err dime_payload_check(const struct dime_message *m, const struct dime_chunk *c,
                          const struct dime_chunk_key *key,
                          const uint8_t author[DIME_ED25519_KEY_SIZE],
                          struct dime_payload *out, bool *maybe_more) KD_MUST_USE;

/* Reads it a second time and gives out the data. A payload of up to 64 KiB is decrypted
 * once if check and read are done by dime_payload_open. KD_MALFORMED if its length has
 * changed meanwhile; KD_IO, KD_NOMEM, the sink's. */
kd_err dime_payload_read(const struct dime_message *m, const struct dime_chunk *c,
                         const struct dime_chunk_key *key,
                         const struct dime_payload *checked, dime_sink sink,
                         void *ctx) KD_MUST_USE;

/* Both, the data at the end of a buffer: for chunks 4, 5, 33 and 34, whose pieces are
 * never continued: flags other than alternate padding are KD_INVALID (gzip: allowed for
 * 33 and 34, DM-46, and left to the caller in out->flags; the envelope is never
 * compressed, D-122). On an error the buffer holds what it held. */
kd_err dime_payload_open(const struct dime_message *m, const struct dime_chunk *c,
                         const struct dime_chunk_key *key,
                         const uint8_t author[DIME_ED25519_KEY_SIZE],
                         struct dime_payload *out, struct kd_buf *data) KD_MUST_USE;

/* The same without the author's key, for the envelope chunks (4, 5), which are opened
 * to learn who the author is: whoever opens them has verified 255 over the ciphertext
 * before (D-086 to D-089), and checks the signature when he knows the key (the author's
 * in the end; the destination never learns him). Length, flags and padding are checked
 * as above. */
kd_err dime_envelope_payload_open(const struct dime_message *m,
                                  const struct dime_chunk *c,
                                  const struct dime_chunk_key *key,
                                  struct kd_buf *data) KD_MUST_USE;

/* The 64 octets of a signature chunk. */
kd_err dime_signature_open(const struct dime_message *m, const struct dime_chunk *c,
                           const struct dime_chunk_key *key,
                           uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;
kd_err dime_signature_seal(const struct dime_chunk_key *key,
                           const uint8_t sig[DIME_SIG_SIZE],
                           uint8_t payload[DIME_SIG_SIZE]) KD_MUST_USE;

#endif
