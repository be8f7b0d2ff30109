/* secp256k1 for the token library. Peers' points are checked by the caller
 * (dime_secp_point_valid). */
#ifndef KEYD_TOKEN_SECP_H
#define KEYD_TOKEN_SECP_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum { KD_SCALAR_SIZE = 32, KD_POINT_SIZE = 33 };

/* True for 1 to the group order less one. */
bool kd_secp_scalar_valid(const uint8_t scalar[KD_SCALAR_SIZE]);

/* The compressed point of a scalar; multiplied under fresh blinding, since this is
 * the one operation on the scalar alone. KD_INVALID for a scalar out of range. */
kd_err kd_secp_public(const uint8_t scalar[KD_SCALAR_SIZE],
                      uint8_t out[KD_POINT_SIZE]) KD_MUST_USE;

/* The x coordinate of scalar * point (D-093). KD_INVALID for a bad point or scalar. */
kd_err kd_secp_ecdh(const uint8_t scalar[KD_SCALAR_SIZE],
                    const uint8_t point[KD_POINT_SIZE], uint8_t z[32]) KD_MUST_USE;

/* A fresh scalar into *out (secret memory). */
void kd_secp_random(uint8_t out[KD_SCALAR_SIZE]);

#endif
