#include <dime/secp.h>

#include <keyd/base/secret.h>

#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <secp256k1_preallocated.h>
#include <sodium.h>
#include <stdlib.h>

/* What the multiplications leave of scalars and points below us: the library wipes what
 * it names, not what the compiler spilled. */
enum { STACK = 8192 };

bool
dime_secp_scalar_valid(const uint8_t scalar[DIME_SCALAR_SIZE])
{
    return secp256k1_ec_seckey_verify(secp256k1_context_static, scalar) == 1;
}

void
dime_secp_random(uint8_t out[DIME_SCALAR_SIZE])
{
    do
        randombytes_buf(out, DIME_SCALAR_SIZE);
    while (!dime_secp_scalar_valid(out)); /* once in 2^127 */
}

kd_err
dime_secp_public(const uint8_t scalar[DIME_SCALAR_SIZE],
                 uint8_t out[DIME_SECP_KEY_SIZE])
{
    secp256k1_context *ctx;
    secp256k1_pubkey point;
    uint8_t blind[32];
    uint8_t octets[DIME_SECP_KEY_SIZE];
    size_t n = sizeof octets;
    kd_err err = KD_FAILED;
    /* preallocated: secp256k1_context_create aborts when memory is short */
    size_t size = secp256k1_context_preallocated_size(SECP256K1_CONTEXT_NONE);
    void *mem = malloc(size);

    if (mem == NULL)
        return KD_NOMEM;
    ctx = secp256k1_context_preallocated_create(mem, SECP256K1_CONTEXT_NONE);
    randombytes_buf(blind, sizeof blind);
    if (secp256k1_context_randomize(ctx, blind) != 1)
        goto out;
    if (secp256k1_ec_pubkey_create(ctx, &point, scalar) != 1) {
        err = KD_INVALID;
        goto out;
    }
    if (secp256k1_ec_pubkey_serialize(ctx, octets, &n, &point,
                                      SECP256K1_EC_COMPRESSED) != 1 ||
        n != sizeof octets)
        goto out;
    memcpy(out, octets, sizeof octets);
    err = KD_OK;
out:
    kd_secret_wipe(blind, sizeof blind);
    sodium_stackzero(STACK);
    secp256k1_context_preallocated_destroy(ctx);
    kd_secret_wipe(mem, size);
    free(mem);
    return err;
}

static int
keep_x(unsigned char *out, const unsigned char *x, const unsigned char *y, void *data)
{
    (void)y;
    (void)data;
    memcpy(out, x, 32);
    return 1;
}

kd_err
dime_secp_ecdh(const uint8_t scalar[DIME_SCALAR_SIZE],
               const uint8_t point[DIME_SECP_KEY_SIZE], uint8_t z[32])
{
    secp256k1_pubkey peer;

    if (point[0] != 2 && point[0] != 3)
        return KD_INVALID;
    if (secp256k1_ec_pubkey_parse(secp256k1_context_static, &peer, point,
                                  DIME_SECP_KEY_SIZE) != 1)
        return KD_INVALID;
    int good = secp256k1_ecdh(secp256k1_context_static, z, &peer, scalar, keep_x, NULL);
    sodium_stackzero(STACK);
    return good == 1 ? KD_OK : KD_INVALID;
}
