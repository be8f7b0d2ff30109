/* Signatures over octets that come in pieces, twice the same: first into the nonce,
 * then into the signer. Counterpart of dime/ed25519_verifier.h.
 *
 *   err = dime_ed25519_nonce_init(&n, secret);
 *   while (there is more)
 *       dime_ed25519_nonce_add(&n, piece);
 *   err = dime_ed25519_nonce_commit(&n, &s);
 *   while (there is more)
 *       dime_ed25519_signer_add(&s, piece);
 *   err = dime_ed25519_signer_end(&s, secret, sig);
 *
 * The secret is needed at the two ends only. Signatures over octets that begin alike
 * share a nonce's hash up to where each ends.
 *
 * Octets that differ the second time give the key away, as does a second signature from
 * one commitment: who uses this makes sure of the octets (dime/ed25519_stream.h) and
 * verifies the signature before anybody sees it. Both structures live in secret memory;
 * their owner wipes them. A nonce's alone is worth nothing without a signature made
 * from it. */
#ifndef DIME_ED25519_SIGNER_H
#define DIME_ED25519_SIGNER_H

#include <dime/ed25519.h>

struct dime_ed25519_nonce {
    uint64_t hash[27]; /* SHA-512's state */
    uint8_t key[DIME_ED25519_KEY_SIZE];
};

struct dime_ed25519_signer {
    uint64_t hash[27];
    uint8_t key[DIME_ED25519_KEY_SIZE];
    uint8_t r[32];
    uint8_t R[32];
};

/* KD_FAILED if the copies of the secret differ. */
kd_err dime_ed25519_nonce_init(struct dime_ed25519_nonce *n,
                               const struct dime_ed25519_secret *secret) KD_MUST_USE;

void dime_ed25519_nonce_add(struct dime_ed25519_nonce *n, struct kd_slice piece);

/* A signer of the octets so far; n may go on. Both are in secret memory. */
kd_err dime_ed25519_nonce_commit(const struct dime_ed25519_nonce *n,
                                 struct dime_ed25519_signer *out) KD_MUST_USE;

void dime_ed25519_signer_add(struct dime_ed25519_signer *s, struct kd_slice piece);

/* The signature. Wipes s. KD_FAILED if the copies of the secret differ or it is not the
 * one that was begun with; sig is then untouched. */
kd_err dime_ed25519_signer_end(struct dime_ed25519_signer *s,
                               const struct dime_ed25519_secret *secret,
                               uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

#endif
