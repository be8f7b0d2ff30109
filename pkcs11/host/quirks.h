/* Where tokens write the same thing differently, once for all: public keys, curve
 * parameters. Reading is by exact length, so one form is never taken for another. */
#ifndef KEYD_P11_QUIRKS_H
#define KEYD_P11_QUIRKS_H

#include "cryptoki.h"

#include <keyd/base/slice.h>
#include <keyd/token/token.h>

/* Told with a bound key (p11_bound.quirks). */
enum quirk {
    QUIRK_POINT_RAW = 1,        /* CKA_EC_POINT without DER */
    QUIRK_POINT_BITS = 2,       /* as a BIT STRING */
    QUIRK_POINT_COMPRESSED = 4, /* secp256k1 */
    QUIRK_NO_PUBLIC = 8,        /* no public object: known by its use alone */
    QUIRK_EDDSA_PARAMS = 16,    /* CKM_EDDSA wants parameters */
    QUIRK_PEER_DER = 32,        /* derives only with a DER peer point */
    QUIRK_KEY_TYPE_EC = 64,     /* Ed25519 as CKK_EC */
    QUIRK_ATTRIBUTES = 128,     /* some attributes cannot be read */
};

/* CKA_EC_POINT as the key's own public octets: 32 for Ed25519, 33 (compressed) for
 * secp256k1, where the point has to be on the curve. False for any other form. */
bool quirk_point_read(enum kd_key_alg alg, struct kd_slice point,
                      uint8_t out[KD_KEY_PUBLIC_MAX], size_t *n, uint32_t *quirks);

/* What to write as CKA_EC_POINT: an OCTET STRING; 67 octets of room. 0: no such key. */
size_t quirk_point_write(enum kd_key_alg alg, struct kd_slice public_key,
                         uint8_t out[67]);

/* The uncompressed 65 octets as an OCTET STRING. */
void quirk_peer_der(const uint8_t point[65], uint8_t out[67]);

/* Whether CKA_EC_PARAMS names the algorithm's curve. */
bool quirk_params_match(enum kd_key_alg alg, struct kd_slice params);

/* What to write as CKA_EC_PARAMS; two ways for Ed25519 (way 0, 1), else empty. */
struct kd_slice quirk_params_write(enum kd_key_alg alg, unsigned way);

/* Modulus and exponent as a DER RSAPublicKey (RFC 8017, A.1.1), and back. 0 or false if
 * it is not 2048 to 4096 bits with exponent 65537. */
size_t quirk_rsa_write(struct kd_slice modulus, struct kd_slice exponent,
                       uint8_t out[KD_KEY_PUBLIC_MAX]);
bool quirk_rsa_read(struct kd_slice der, struct kd_slice *modulus);

#endif
