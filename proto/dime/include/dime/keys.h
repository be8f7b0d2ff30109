/* Public keys and when they are valid. Every key that comes from outside passes one
 * of these before anything else looks at it; sizes are octets. */
#ifndef DIME_KEYS_H
#define DIME_KEYS_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum {
    DIME_ED25519_KEY_SIZE = 32, /* RFC 8032 encoding (D-019) */
    DIME_SECP_KEY_SIZE = 33,    /* 02|03 and x, big endian (D-032) */
    DIME_SECP_X_SIZE = 32,
    DIME_SIG_SIZE = 64, /* Ed25519: R, S */
    DIME_SEED_SIZE = 32,
};

/* True for a canonical encoding of a curve point of the prime order: neither small
 * nor mixed order (D-018). Costs about as much as verifying a signature. */
bool dime_ed25519_key_valid(const uint8_t key[DIME_ED25519_KEY_SIZE]);

/* True for exactly 33 octets, 02 or 03 and an x with a point on secp256k1 (D-032,
 * D-090). All other SEC 1 forms are refused before libsecp256k1 sees them: it takes
 * hybrid points (06, 07), and so do tokens. */
bool dime_secp_point_valid(struct kd_slice point);

/* The point of even y with this x (layout S32, D-032). KD_INVALID if there is none. */
kd_err dime_secp_lift_x(const uint8_t x[DIME_SECP_X_SIZE],
                        uint8_t out[DIME_SECP_KEY_SIZE]) KD_MUST_USE;

#endif
