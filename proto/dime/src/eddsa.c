#include "eddsa.h"

#include <keyd/base/secret.h>
#include <sodium.h>

kd_err
eddsa_commit(const uint8_t digest[64], uint8_t r[32], uint8_t R[32])
{
    crypto_core_ed25519_scalar_reduce(r, digest);
    /* fails for r = 0 only: no honest hash gives that */
    return crypto_scalarmult_ed25519_base_noclamp(R, r) == 0 ? KD_OK : KD_FAILED;
}

void
eddsa_respond(const uint8_t a[32], const uint8_t r[32], const uint8_t digest[64],
              uint8_t S[32])
{
    uint8_t h[32];
    uint8_t ha[32];

    crypto_core_ed25519_scalar_reduce(h, digest);
    crypto_core_ed25519_scalar_mul(ha, h, a);
    crypto_core_ed25519_scalar_add(S, ha, r);
    kd_secret_wipe(ha, sizeof ha);
    sodium_stackzero(1024); /* the addition leaves its operands there */
}

kd_err
eddsa_sig_check(const uint8_t sig[DIME_SIG_SIZE])
{
    static const uint8_t neutral[32] = {1};
    uint8_t wide[64] = {0};
    uint8_t S[32];

    memcpy(wide, sig + 32, 32);
    crypto_core_ed25519_scalar_reduce(S, wide);
    bool low = kd_secret_eq(S, sig + 32, 32);
    bool point = !kd_secret_eq(sig, neutral, 32);
    return (low & point) != 0 ? KD_OK : KD_INVALID;
}

kd_err
eddsa_equation(const uint8_t key[DIME_ED25519_KEY_SIZE],
               const uint8_t sig[DIME_SIG_SIZE], const uint8_t digest[64])
{
    uint8_t h[32];
    uint8_t hA[32] = {1}; /* of a bad key: nothing else is written */
    uint8_t SB[32];
    uint8_t R[32];
    uint8_t S[32];
    unsigned bad = 0;

    crypto_core_ed25519_scalar_reduce(h, digest);
    memcpy(S, sig + 32, sizeof S);
    /* Both products fail for a zero scalar too. Nobody can make h or S zero for a key
     * of prime order without inverting SHA-512, so nothing good is lost. On after a
     * failure, for equal work; and libsodium is measurably faster at zero. */
    unsigned zero = sodium_is_zero(S, sizeof S) != 0;
    S[0] |= (uint8_t)zero;
    bad |= zero;
    bad |= crypto_scalarmult_ed25519_base_noclamp(SB, S) != 0;
    bad |= crypto_scalarmult_ed25519_noclamp(hA, h, key) != 0;
    bad |= crypto_core_ed25519_sub(R, SB, hA) != 0;
    bad |= !kd_secret_eq(R, sig, 32);
    return bad == 0 ? KD_OK : KD_INVALID;
}

kd_err
eddsa_verify_quick(const uint8_t key[DIME_ED25519_KEY_SIZE], struct kd_slice message,
                   const uint8_t sig[DIME_SIG_SIZE])
{
    uint8_t low[DIME_SIG_SIZE];
    uint8_t wide[64] = {0};
    unsigned bad;

    memcpy(low, sig, 32);
    memcpy(wide, sig + 32, 32);
    crypto_core_ed25519_scalar_reduce(low + 32, wide);
    bad = !kd_secret_eq(low + 32, sig + 32, 32);
    bad |= crypto_sign_verify_detached(low, message.p, message.n, key) != 0;
    kd_secret_wipe(low, sizeof low);
    kd_secret_wipe(wide, sizeof wide);
    return bad == 0 ? KD_OK : KD_INVALID;
}
