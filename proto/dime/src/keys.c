#include <dime/keys.h>

#include <secp256k1.h>
#include <sodium.h>

bool
dime_ed25519_key_valid(const uint8_t key[DIME_ED25519_KEY_SIZE])
{
    return crypto_core_ed25519_is_valid_point(key) == 1;
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
