/* Pure Ed25519 (RFC 8032), the one way in which signatures are made and believed.
 *
 * Verification is strict (D-067): S below the group order, R and the key canonical,
 * R not of small order, the key of prime order, and the equation without the
 * cofactor. The verdict is the same wherever this is used, dime/ed25519_stream.h
 * included. */
#ifndef DIME_ED25519_H
#define DIME_ED25519_H

#include <dime/keys.h>

/* KD_OK, or KD_INVALID if the signature or the key is not good. */
kd_err dime_ed25519_verify(const uint8_t key[DIME_ED25519_KEY_SIZE],
                           struct kd_slice message,
                           const uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

/* The same verdict at half the cost, for a key that passed dime_ed25519_key_valid. */
kd_err dime_ed25519_verify_trusted_key(const uint8_t key[DIME_ED25519_KEY_SIZE],
                                       struct kd_slice message,
                                       const uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

/* The public key of a seed. */
void dime_ed25519_public(const uint8_t seed[DIME_SEED_SIZE],
                         uint8_t key[DIME_ED25519_KEY_SIZE]);

/* What a seed expands to, twice. Lives in memory of kd_secret_new; wiped by the
 * caller's kd_secret_free. Read it only through the functions below. */
struct dime_ed25519_half {
    uint8_t a[32];      /* the secret scalar, clamped */
    uint8_t prefix[32]; /* what nonces are derived from */
    uint8_t key[DIME_ED25519_KEY_SIZE];
};

struct dime_ed25519_secret {
    struct dime_ed25519_half use;
    struct dime_ed25519_half check; /* equal to use as long as memory is sound */
};

/* Expands the seed (in secret memory) into *out. The public key is derived, never
 * taken from elsewhere: a signature hashed with a wrong public key gives the secret
 * scalar away. */
void dime_ed25519_secret_init(struct dime_ed25519_secret *out,
                              const uint8_t seed[DIME_SEED_SIZE]);

/* KD_FAILED if the two copies differ. */
kd_err dime_ed25519_secret_check(const struct dime_ed25519_secret *secret) KD_MUST_USE;

/* Signs, at about the cost of libsodium's crypto_sign_detached. The copies are
 * compared before and after: KD_FAILED if they differ, sig then untouched. What
 * leaves the process is verified by the caller first (dime_ed25519_verify), since
 * a fault in the arithmetic does not show here. */
kd_err dime_ed25519_secret_sign(const struct dime_ed25519_secret *secret,
                                struct kd_slice message,
                                uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

/* Signs once from a seed: expands, signs, wipes, at three times the cost. key is what
 * the caller believes to be the seed's public key: KD_FAILED if it is not, or on a
 * fault; sig is then untouched. */
kd_err dime_ed25519_sign(const uint8_t seed[DIME_SEED_SIZE],
                         const uint8_t key[DIME_ED25519_KEY_SIZE],
                         struct kd_slice message,
                         uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

#endif
