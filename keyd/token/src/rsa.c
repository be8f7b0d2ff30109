#include "rsa.h"

#include <openssl/bn.h>

enum {
    MODULUS_MIN = 256,
    MODULUS_MAX = 512,
    DIGEST_SIZE = 32,
    PADDING_MIN = 8,
    /* 30 82 size, 02 82 size 00 before the modulus */
    HEAD_SIZE = 9,
};

static const uint8_t exponent[] = {0x02, 0x03, 0x01, 0x00, 0x01}; /* 65537 */

/* DigestInfo up to the digest (RFC 8017, 9.2, note 1). */
static const uint8_t digest_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60,
                                      0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                                      0x01, 0x05, 0x00, 0x04, 0x20};

/* There is one encoding of each size, so it is compared rather than parsed. */
size_t
kd_rsa_size(struct kd_slice public_key)
{
    size_t n = public_key.n - HEAD_SIZE - sizeof exponent;

    if (public_key.n < HEAD_SIZE + MODULUS_MIN + sizeof exponent || n > MODULUS_MAX)
        return 0;
    size_t body = public_key.n - 4;
    const uint8_t head[HEAD_SIZE] = {
        0x30, 0x82, (uint8_t)(body >> 8),    (uint8_t)body,
        0x02, 0x82, (uint8_t)((n + 1) >> 8), (uint8_t)(n + 1),
        0};
    const uint8_t *modulus = public_key.p + HEAD_SIZE;
    if (memcmp(public_key.p, head, sizeof head) != 0 ||
        memcmp(modulus + n, exponent, sizeof exponent) != 0)
        return 0;
    return (modulus[0] & 0x80) != 0 && (modulus[n - 1] & 1) != 0 ? n : 0;
}

/* What the signature is the root of (RFC 8017, 9.2). */
static void
encode(const uint8_t digest[DIGEST_SIZE], uint8_t *out, size_t n)
{
    const size_t tail = sizeof digest_info + DIGEST_SIZE;

    _Static_assert(MODULUS_MIN >= 3 + PADDING_MIN + sizeof digest_info + DIGEST_SIZE,
                   "room");
    out[0] = 0;
    out[1] = 1;
    memset(out + 2, 0xff, n - tail - 3);
    out[n - tail - 1] = 0;
    memcpy(out + n - tail, digest_info, sizeof digest_info);
    memcpy(out + n - DIGEST_SIZE, digest, DIGEST_SIZE);
}

/* s^65537 mod n into out; false without memory. */
static bool
raise(struct kd_slice modulus, struct kd_slice sig, uint8_t *out)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *n = BN_bin2bn(modulus.p, (int)modulus.n, NULL);
    BIGNUM *s = BN_bin2bn(sig.p, (int)sig.n, NULL);
    BIGNUM *e = BN_new();
    bool good = ctx != NULL && n != NULL && s != NULL && e != NULL &&
                BN_set_word(e, 65537) == 1 &&
                BN_mod_exp_mont(s, s, e, n, ctx, NULL) == 1 &&
                BN_bn2binpad(s, out, (int)modulus.n) == (int)modulus.n;

    BN_free(e);
    BN_free(s);
    BN_free(n);
    BN_CTX_free(ctx);
    return good;
}

kd_err
kd_rsa_verify(struct kd_slice public_key, const uint8_t digest[32], struct kd_slice sig)
{
    uint8_t got[MODULUS_MAX], want[MODULUS_MAX];
    size_t n = kd_rsa_size(public_key);

    if (n == 0 || sig.n != n)
        return KD_INVALID;
    struct kd_slice modulus = kd_slice(public_key.p + HEAD_SIZE, n);
    if (memcmp(sig.p, modulus.p, n) >= 0) /* there is one that is less */
        return KD_INVALID;
    if (!raise(modulus, sig, got))
        return KD_NOMEM;
    encode(digest, want, n);
    return memcmp(got, want, n) == 0 ? KD_OK : KD_INVALID;
}
