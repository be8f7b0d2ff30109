/* Keys that devices hold, for the token library itself: asked without the token's
 * lock, verified, a clone tried where one fails. */
#ifndef KEYD_TOKEN_HELD_H
#define KEYD_TOKEN_HELD_H

#include <dime/keys.h>
#include <keyd/token/backend.h>

/* Whether devices have the secret; the lock is held. */
static inline bool
kd_token_is_held(const struct kd_token *t, size_t at)
{
    return t->ops->held != NULL && t->ops->held(t, at)->holding == KD_HELD;
}

/* What a key can sign in one go, for what is known; the lock is held. */
size_t kd_token_limit(struct kd_token *t, size_t at);

/* As kd_token_sign and kd_token_ecdh, of a held key and with every signature verified.
 * Take the lock themselves, at the start and before they give anything: what the key
 * may is looked at again. */
kd_err kd_held_sign(struct kd_token *t, const struct kd_key_id *id,
                    enum kd_sign_purpose purpose, struct kd_slice message,
                    struct kd_token_sig *out) KD_MUST_USE;
kd_err kd_held_ecdh(struct kd_token *t, const struct kd_key_id *id,
                    const uint8_t peer[DIME_SECP_KEY_SIZE],
                    uint8_t z[KD_ECDH_SIZE]) KD_MUST_USE;

/* As kd_token_probe, of a held key. */
kd_err kd_held_probe(struct kd_token *t, const struct kd_key_id *id) KD_MUST_USE;

/* The same agreement for the opening of sealed keys, by a key of role seal. */
kd_err kd_held_unseal(struct kd_token *t, const struct kd_key_id *id,
                      const uint8_t peer[DIME_SECP_KEY_SIZE],
                      uint8_t z[KD_ECDH_SIZE]) KD_MUST_USE;

/* The digest that an RSA key signs: the message of a DKIM signature, else its hash. */
void kd_rsa_digest(enum kd_sign_purpose purpose, struct kd_slice message,
                   uint8_t digest[KD_SIGN_DIGEST_SIZE]);

/* KD_OK, KD_INVALID; pure. */
kd_err kd_sig_verify(const struct kd_key_info *key, enum kd_sign_purpose purpose,
                     struct kd_slice message,
                     const struct kd_token_sig *sig) KD_MUST_USE;

/* Until when this thread may wait (kd_token_set_until). */
int64_t kd_token_until(void);

#endif
