#include <dime/ed25519.h>

#include <keyd/base/secret.h>
#include <sodium.h>

kd_err
dime_ed25519_verify_trusted_key(const uint8_t key[DIME_ED25519_KEY_SIZE],
                                struct kd_slice message,
                                const uint8_t sig[DIME_SIG_SIZE])
{
    int verdict = crypto_sign_verify_detached(sig, message.p, message.n, key);

    return verdict == 0 ? KD_OK : KD_INVALID;
}

kd_err
dime_ed25519_verify(const uint8_t key[DIME_ED25519_KEY_SIZE], struct kd_slice message,
                    const uint8_t sig[DIME_SIG_SIZE])
{
    if (!dime_ed25519_key_valid(key))
        return KD_INVALID;
    return dime_ed25519_verify_trusted_key(key, message, sig);
}
