#include <dime/keys.h>

#include "order.h"

#include <secp256k1.h>
#include <sodium.h>
#include <stdatomic.h>

/* The base point plus the point of order two. libsodium without the repair of
 * CVE-2025-69277 (Debian's 1.0.18-1) takes such sums for points of prime order. */
static const uint8_t mixed_order[DIME_ED25519_KEY_SIZE] = {
    0x95, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99,
    0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99,
    0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99,
};

enum { LIBRARY_NOT_ASKED, LIBRARY_SOUND, LIBRARY_FLAWED };

static bool
library_is_sound(void)
{
    static atomic_int library = LIBRARY_NOT_ASKED;
    int known = atomic_load(&library);

    if (known == LIBRARY_NOT_ASKED) {
        bool flawed = crypto_core_ed25519_is_valid_point(mixed_order) == 1;
        known = flawed ? LIBRARY_FLAWED : LIBRARY_SOUND;
        atomic_store(&library, known);
    }
    return known == LIBRARY_SOUND;
}

bool
order_is_prime(const uint8_t key[DIME_ED25519_KEY_SIZE])
{
    static const uint8_t minus_one[32] = {
        0xec, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
        0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10,
    };
    uint8_t product[DIME_ED25519_KEY_SIZE];

    /* (L - 1)P is -P exactly when LP is neutral; -P differs from P in the sign bit */
    if (crypto_scalarmult_ed25519_noclamp(product, minus_one, key) != 0)
        return false;
    product[31] ^= 0x80;
    return memcmp(product, key, sizeof product) == 0;
}

bool
dime_ed25519_key_valid(const uint8_t key[DIME_ED25519_KEY_SIZE])
{
    if (crypto_core_ed25519_is_valid_point(key) != 1)
        return false;
    return library_is_sound() || order_is_prime(key);
}

bool
dime_secp_point_valid(struct kd_slice point)
{
    secp256k1_pubkey parsed;

    if (point.n != DIME_SECP_KEY_SIZE || (point.p[0] != 2 && point.p[0] != 3))
        return false;
    return secp256k1_ec_pubkey_parse(secp256k1_context_static, &parsed, point.p,
                                     point.n) == 1;
}

kd_err
dime_secp_lift_x(const uint8_t x[DIME_SECP_X_SIZE], uint8_t out[DIME_SECP_KEY_SIZE])
{
    uint8_t point[DIME_SECP_KEY_SIZE] = {2};

    memcpy(point + 1, x, DIME_SECP_X_SIZE);
    if (!dime_secp_point_valid(kd_slice(point, sizeof point)))
        return KD_INVALID;
    memcpy(out, point, sizeof point);
    return KD_OK;
}
