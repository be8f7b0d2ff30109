/* Private scalars of secp256k1 (SEC 2), for who holds one: the software token, users'
 * key files. They lie in secret memory. Peers' points are checked by the caller
 * (dime_secp_point_valid). */
#ifndef DIME_SECP_H
#define DIME_SECP_H

#include <dime/keys.h>

enum { DIME_SCALAR_SIZE = 32, DIME_ECDH_SIZE = 32 };

/* True for 1 to the group order less one. */
bool dime_secp_scalar_valid(const uint8_t scalar[DIME_SCALAR_SIZE]);

/* The compressed point of a scalar; multiplied under fresh blinding, since this is
 * the one operation on the scalar alone. KD_INVALID for a scalar out of range. */
kd_err dime_secp_public(const uint8_t scalar[DIME_SCALAR_SIZE],
                        uint8_t out[DIME_SECP_KEY_SIZE]) KD_MUST_USE;

/* The x coordinate of scalar * point (D-093). KD_INVALID for a bad point or scalar. */
kd_err dime_secp_ecdh(const uint8_t scalar[DIME_SCALAR_SIZE],
                      const uint8_t point[DIME_SECP_KEY_SIZE],
                      uint8_t z[DIME_ECDH_SIZE]) KD_MUST_USE;

/* A fresh scalar into *out (secret memory). */
void dime_secp_random(uint8_t out[DIME_SCALAR_SIZE]);

#endif
