/* RSA signatures as DKIM has them (RFC 8301): RSASSA-PKCS1-v1_5 with SHA-256. Only
 * verified here; the keys are in tokens. */
#ifndef KEYD_TOKEN_RSA_H
#define KEYD_TOKEN_RSA_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

/* Octets of the modulus of a DER RSAPublicKey; 0 for one that is not as algorithms.def
 * has them, or not DER. */
size_t kd_rsa_size(struct kd_slice public_key);

/* KD_OK, KD_INVALID, or KD_NOMEM. */
kd_err kd_rsa_verify(struct kd_slice public_key, const uint8_t digest[32],
                     struct kd_slice sig) KD_MUST_USE;

#endif
