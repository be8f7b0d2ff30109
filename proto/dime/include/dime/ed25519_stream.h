/* Pure Ed25519 over messages too large to hold: the same signatures and the same
 * verdicts as dime/ed25519.h, the message read twice (once to verify) in pieces.
 * Work is done in steps, so that one thread can take turns between several.
 *
 *   while ((err = dime_ed25519_stream_step(s, budget, &more)) == KD_OK && more)
 *       other work;
 *   if (err == KD_OK)
 *       err = dime_ed25519_stream_signature(s, sig);
 *
 * A message that reads differently the second time gives the secret key away. So a
 * signer takes sealed memfds only and checks the seals itself (whoever received the
 * descriptor has checked seals and size before, kd_memfd_check), and what lies in
 * memory must not be written to until the stream is freed, by no thread and no peer.
 * A disturbed reading the seals cannot exclude shows in the signature: verify it (a
 * third reading) before it leaves the process. */
#ifndef DIME_ED25519_STREAM_H
#define DIME_ED25519_STREAM_H

#include <dime/ed25519.h>
#include <dime/parts.h>

enum {
    DIME_STREAM_MAX = 64 << 20,             /* the usual limit of a message */
    DIME_STREAM_BUFFER = DIME_PARTS_BUFFER, /* heap of one stream */
};

struct dime_ed25519_stream;

/* A signature to be made, its state in secret memory. Secret, parts and what they
 * point at are borrowed until the stream is freed. KD_TOO_LARGE past max, KD_INVALID
 * for a file that is not a sealed memfd, KD_MALFORMED for a range beyond its end,
 * KD_FAILED for a damaged secret, KD_NOMEM. */
kd_err dime_ed25519_stream_sign(const struct dime_ed25519_secret *secret,
                                const struct dime_stream_part *parts, size_t n_parts,
                                uint64_t max,
                                struct dime_ed25519_stream **out) KD_MUST_USE;

/* A signature to be verified; parts are borrowed, key and sig copied. KD_INVALID at
 * once for a key or a signature that no message can make good: not for a signature that
 * was decrypted ("Time" in dime/message_verify.h). KD_TOO_LARGE, KD_NOMEM. */
kd_err dime_ed25519_stream_verify(const uint8_t key[DIME_ED25519_KEY_SIZE],
                                  const uint8_t sig[DIME_SIG_SIZE],
                                  const struct dime_stream_part *parts, size_t n_parts,
                                  uint64_t max,
                                  struct dime_ed25519_stream **out) KD_MUST_USE;

/* Hashes up to budget octets (not 0), plus at the end of a reading the arithmetic of
 * one signature. A part counts as at least 512 octets, so that a budget bounds the
 * time whatever the shape of the message. *more: call again. Errors stay: KD_MALFORMED
 * for a file that ends early, KD_IO, KD_FAILED for a fault, and for a verifier
 * KD_INVALID. */
kd_err dime_ed25519_stream_step(struct dime_ed25519_stream *s, size_t budget,
                                bool *more) KD_MUST_USE;

/* Octets still to be read in all passes, for progress and scheduling. */
uint64_t dime_ed25519_stream_left(const struct dime_ed25519_stream *s);

/* The signature once no more is to be done; before that, and of a verifier, KD_FAILED.
 */
kd_err dime_ed25519_stream_signature(const struct dime_ed25519_stream *s,
                                     uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

/* KD_OK if the signature is good, KD_INVALID if not; KD_FAILED before the end. */
kd_err dime_ed25519_stream_verdict(const struct dime_ed25519_stream *s) KD_MUST_USE;

/* Wipes and releases; accepts NULL, at any time. */
void dime_ed25519_stream_free(struct dime_ed25519_stream *s);

#endif
