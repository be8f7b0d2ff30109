#include "ed25519_points.h"

#include <sodium.h>
#include <stdlib.h>

#define FF30                                                                           \
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,      \
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  \
        0xff, 0xff, 0xff, 0xff
/* y of two of the points of order eight, less the last octet */
#define ORDER_8A                                                                       \
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2,      \
        0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38,  \
        0x02, 0x88, 0x6d, 0x53, 0xfc
#define ORDER_8B                                                                       \
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d,      \
        0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7,  \
        0xfd, 0x77, 0x92, 0xac, 0x03

const uint8_t small_order[SMALL_ORDER_ALL][32] = {
    {1},                /* neutral */
    {0xec, FF30, 0x7f}, /* order 2: y = -1 */
    {0},                /* order 4: y = 0 */
    {[31] = 0x80},
    {ORDER_8A, 0x05},
    {ORDER_8A, 0x85},
    {ORDER_8B, 0x7a},
    {ORDER_8B, 0xfa},
    /* the same points otherwise: x = 0 with a sign, and y + p */
    {1, [31] = 0x80},
    {0xec, FF30, 0xff},
    {0xed, FF30, 0x7f},
    {0xed, FF30, 0xff},
    {0xee, FF30, 0x7f},
    {0xee, FF30, 0xff},
};

const uint8_t group_order[32] = {
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
    0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10,
};

void
point_add(const uint8_t a[32], const uint8_t b[32], uint8_t out[32])
{
    if (crypto_core_ed25519_add(out, a, b) != 0)
        abort();
}

void
torsion_point(unsigned i, uint8_t out[32])
{
    memcpy(out, small_order[0], 32);
    while (i-- > 0)
        point_add(out, small_order[4], out);
}

void
challenge(const uint8_t R[32], const uint8_t A[32], struct kd_slice message,
          uint8_t h[32])
{
    crypto_hash_sha512_state state;
    uint8_t digest[64];

    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, R, 32);
    crypto_hash_sha512_update(&state, A, 32);
    crypto_hash_sha512_update(&state, message.p, message.n);
    crypto_hash_sha512_final(&state, digest);
    crypto_core_ed25519_scalar_reduce(h, digest);
}

void
forge(const uint8_t a[32], const uint8_t r[32], const uint8_t R[32],
      const uint8_t A[32], struct kd_slice message, uint8_t sig[64])
{
    uint8_t h[32];

    challenge(R, A, message, h);
    crypto_core_ed25519_scalar_mul(h, h, a);
    crypto_core_ed25519_scalar_add(sig + 32, h, r);
    memcpy(sig, R, 32);
}
