#include "quirks.h"

#include <dime/secp.h>
#include <secp256k1.h>
#include <string.h>

enum { ED = 32, K1_WHOLE = 65, K1_SHORT = 33, RSA_MIN = 256, RSA_MAX = 512 };

/* 1.3.101.112 (RFC 8410), the name of PKCS#11 3.0, and the OID of older GnuPG. */
static const uint8_t ed_oid[] = {6, 3, 0x2b, 0x65, 0x70};
static const uint8_t ed_name[] = {0x13, 12,  'e', 'd', 'w', 'a', 'r',
                                  'd',  's', '2', '5', '5', '1', '9'};
static const uint8_t ed_old[] = {6, 9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1};
static const uint8_t k1_oid[] = {6, 5, 0x2b, 0x81, 4, 0, 0x0a};

#define S(array) kd_slice(array, sizeof array)

static bool
starts(struct kd_slice s, size_t n, uint8_t a, uint8_t b)
{
    return s.n == n && s.p[0] == a && s.p[1] == b;
}

static bool
read_ed(struct kd_slice p, uint8_t *out, size_t *n, uint32_t *quirks)
{
    if (p.n == ED) {
        *quirks |= QUIRK_POINT_RAW;
    } else if (p.n == ED + 3 && p.p[2] == 0 && starts(p, ED + 3, 3, ED + 1)) {
        *quirks |= QUIRK_POINT_BITS;
    } else if (!starts(p, ED + 2, 4, ED)) {
        return false;
    }
    memcpy(out, p.p + p.n - ED, ED);
    *n = ED;
    return true;
}

/* Compresses; the library says whether the point is on the curve. */
static bool
read_k1(struct kd_slice p, uint8_t *out, size_t *n, uint32_t *quirks)
{
    secp256k1_pubkey key;
    size_t size = K1_SHORT;
    struct kd_slice raw = p;

    if (starts(p, K1_WHOLE + 2, 4, K1_WHOLE) || starts(p, K1_SHORT + 2, 4, K1_SHORT))
        raw = kd_slice(p.p + 2, p.n - 2);
    else
        *quirks |= QUIRK_POINT_RAW;
    if (raw.n == K1_SHORT && (raw.p[0] == 2 || raw.p[0] == 3))
        *quirks |= QUIRK_POINT_COMPRESSED;
    else if (raw.n != K1_WHOLE || raw.p[0] != 4) /* the hybrids are nobody's */
        return false;
    if (secp256k1_ec_pubkey_parse(secp256k1_context_static, &key, raw.p, raw.n) != 1)
        return false;
    secp256k1_ec_pubkey_serialize(secp256k1_context_static, out, &size, &key,
                                  SECP256K1_EC_COMPRESSED);
    *n = size;
    return size == K1_SHORT;
}

bool
quirk_point_read(enum kd_key_alg alg, struct kd_slice point,
                 uint8_t out[KD_KEY_PUBLIC_MAX], size_t *n, uint32_t *quirks)
{
    if (point.n < ED)
        return false;
    return alg == KD_ALG_ED25519     ? read_ed(point, out, n, quirks)
           : alg == KD_ALG_SECP256K1 ? read_k1(point, out, n, quirks)
                                     : false;
}

void
quirk_peer_der(const uint8_t point[65], uint8_t out[67])
{
    out[0] = 4;
    out[1] = K1_WHOLE;
    memcpy(out + 2, point, K1_WHOLE);
}

size_t
quirk_point_write(enum kd_key_alg alg, struct kd_slice public_key, uint8_t out[67])
{
    secp256k1_pubkey key;
    size_t n = K1_WHOLE;

    if (alg == KD_ALG_ED25519 && public_key.n == ED) {
        out[0] = 4;
        out[1] = ED;
        memcpy(out + 2, public_key.p, ED);
        return ED + 2;
    }
    if (alg != KD_ALG_SECP256K1 || public_key.n != K1_SHORT ||
        secp256k1_ec_pubkey_parse(secp256k1_context_static, &key, public_key.p,
                                  public_key.n) != 1)
        return 0;
    secp256k1_ec_pubkey_serialize(secp256k1_context_static, out + 2, &n, &key,
                                  SECP256K1_EC_UNCOMPRESSED);
    out[0] = 4;
    out[1] = K1_WHOLE;
    return K1_WHOLE + 2;
}

bool
quirk_params_match(enum kd_key_alg alg, struct kd_slice params)
{
    if (alg == KD_ALG_ED25519)
        return kd_slice_eq(params, S(ed_oid)) || kd_slice_eq(params, S(ed_name)) ||
               kd_slice_eq(params, S(ed_old));
    return alg == KD_ALG_SECP256K1 && kd_slice_eq(params, S(k1_oid));
}

struct kd_slice
quirk_params_write(enum kd_key_alg alg, unsigned way)
{
    if (alg == KD_ALG_ED25519)
        return way == 0 ? S(ed_oid) : way == 1 ? S(ed_name) : kd_slice(NULL, 0);
    return alg == KD_ALG_SECP256K1 && way == 0 ? S(k1_oid) : kd_slice(NULL, 0);
}

/* An INTEGER whose content begins with a high bit: a zero goes before it. */
size_t
quirk_rsa_write(struct kd_slice modulus, struct kd_slice exponent,
                uint8_t out[KD_KEY_PUBLIC_MAX])
{
    static const uint8_t e[] = {2, 3, 1, 0, 1};

    while (modulus.n > 0 && modulus.p[0] == 0)
        modulus = kd_slice(modulus.p + 1, modulus.n - 1);
    while (exponent.n > 0 && exponent.p[0] == 0)
        exponent = kd_slice(exponent.p + 1, exponent.n - 1);
    if (modulus.n < RSA_MIN || modulus.n > RSA_MAX || (modulus.p[0] & 0x80) == 0 ||
        !kd_slice_eq(exponent, kd_slice(e + 2, 3)))
        return 0;
    size_t content = 4 + 1 + modulus.n + sizeof e;
    uint8_t *p = out;
    *p++ = 0x30;
    *p++ = 0x82;
    *p++ = (uint8_t)(content >> 8);
    *p++ = (uint8_t)content;
    *p++ = 2;
    *p++ = 0x82;
    *p++ = (uint8_t)((modulus.n + 1) >> 8);
    *p++ = (uint8_t)(modulus.n + 1);
    *p++ = 0;
    memcpy(p, modulus.p, modulus.n);
    memcpy(p + modulus.n, e, sizeof e);
    return 4 + content;
}

bool
quirk_rsa_read(struct kd_slice der, struct kd_slice *modulus)
{
    static const uint8_t e[] = {1, 0, 1};
    uint8_t again[KD_KEY_PUBLIC_MAX];

    if (der.n < 9 + RSA_MIN + 5 || der.n > 9 + RSA_MAX + 5)
        return false;
    *modulus = kd_slice(der.p + 9, der.n - 14);
    size_t n = quirk_rsa_write(*modulus, kd_slice(e, sizeof e), again);
    return n != 0 && kd_slice_eq(der, kd_slice(again, n)); /* one way to write it */
}
