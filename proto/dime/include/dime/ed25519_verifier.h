/* A signature verified over octets that come in pieces, with the verdict of
 * dime/ed25519.h. Several of these over the same octets cost one reading.
 *
 *   dime_ed25519_verifier_init(&v, key, sig);
 *   while (there is more)
 *       dime_ed25519_verifier_add(&v, piece);
 *   err = dime_ed25519_verifier_end(&v);
 *
 * A signature costs the same whether it is good or in which way it is bad, the octets'
 * number alone decides: what is signed may be secret, and so may be where an attacker's
 * change fell. */
#ifndef DIME_ED25519_VERIFIER_H
#define DIME_ED25519_VERIFIER_H

#include <dime/ed25519.h>

struct dime_ed25519_verifier {
    uint64_t hash[27]; /* SHA-512's state, which holds octets of what is signed */
    uint8_t key[DIME_ED25519_KEY_SIZE];
    uint8_t sig[DIME_SIG_SIZE];
};

/* For a key that passed dime_ed25519_key_valid. Both are copied; whatever they are, end
 * says what they are worth. */
void dime_ed25519_verifier_init(struct dime_ed25519_verifier *v,
                                const uint8_t key[DIME_ED25519_KEY_SIZE],
                                const uint8_t sig[DIME_SIG_SIZE]);

/* True if no message can make the signature good. For who may stop early: not with a
 * signature that was decrypted ("Time" in dime/message_verify.h). */
bool dime_ed25519_verifier_is_hopeless(const struct dime_ed25519_verifier *v);

void dime_ed25519_verifier_add(struct dime_ed25519_verifier *v, struct kd_slice piece);

/* The verdict: KD_OK or KD_INVALID. Wipes, so that it is had once. */
kd_err dime_ed25519_verifier_end(struct dime_ed25519_verifier *v) KD_MUST_USE;

/* Wipes one that is given up; of one that ended, nothing. */
void dime_ed25519_verifier_clear(struct dime_ed25519_verifier *v);

#endif
