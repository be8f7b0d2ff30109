#include "people.h"

#include <dime/build.h>

#include <pthread.h>
#include <secp256k1.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

static secp256k1_context *curve;

static void
start(void)
{
    if (sodium_init() < 0 ||
        (curve = secp256k1_context_create(SECP256K1_CONTEXT_SIGN)) == NULL) {
        fputs("people: cannot start the libraries\n", stderr);
        abort();
    }
}

static void
derive(const char *text, uint64_t person, uint32_t step, const char *use,
       uint8_t out[32])
{
    char line[256];
    int n = snprintf(line, sizeof line, "%s/%llu/%u/%s", text,
                     (unsigned long long)person, step, use);

    if (n < 0 || (size_t)n >= sizeof line)
        abort();
    crypto_hash_sha256(out, (const uint8_t *)line, strlen(line));
}

void
person_keys(const char *text, uint64_t person, uint32_t step, struct person_keys *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    secp256k1_pubkey point;
    size_t n = sizeof out->enc;

    pthread_once(&once, start);
    derive(text, person, step, "sign", out->seed);
    derive(text, person, step, "encrypt", out->scalar);
    /* A hash that is no scalar would be a discovery. */
    if (crypto_sign_seed_keypair(out->key, secret, out->seed) != 0 ||
        secp256k1_ec_pubkey_create(curve, &point, out->scalar) != 1)
        abort();
    /* One key in 32,768 ends like the start of a field 3 that reaches to field 4 or to
     * field 5: the request could be read in two layouts and is refused, so another key
     * is made, as a user's program does. */
    while (out->key[30] == 0x03 && (out->key[31] == 0x24 || out->key[31] == 0x65)) {
        crypto_hash_sha256(out->seed, out->seed, sizeof out->seed);
        if (crypto_sign_seed_keypair(out->key, secret, out->seed) != 0)
            abort();
    }
    secp256k1_ec_pubkey_serialize(curve, out->enc, &n, &point, SECP256K1_EC_COMPRESSED);
}

static kd_err
sign(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    const struct person_keys *by = ctx;
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    memcpy(secret, by->seed, sizeof by->seed);
    memcpy(secret + sizeof by->seed, by->key, sizeof by->key);
    return crypto_sign_detached(sig, NULL, message.p, message.n, secret) == 0
               ? KD_OK
               : KD_FAILED;
}

kd_err
person_ssr(const struct person_keys *own, const struct person_keys *prev,
           struct kd_buf *out)
{
    struct person_keys self = *own, before = prev == NULL ? *own : *prev;
    const struct dime_signer custody = {sign, &before};
    const struct dime_ssr_plan plan = {.layout = DIME_LAYOUT_L,
                                       .sign_key = own->key,
                                       .enc_key = own->enc,
                                       .custody = prev == NULL ? NULL : &custody};
    enum dime_reason why;

    return dime_ssr_build(&plan, (struct dime_signer){sign, &self}, out, &why);
}

struct kd_slice
person_request(const char *text, uint64_t person, struct kd_buf *b)
{
    struct person_keys own;

    person_keys(text, person, 0, &own);
    kd_buf_init(b, PERSON_SSR_MAX);
    if (person_ssr(&own, NULL, b) != KD_OK)
        abort();
    return kd_buf_slice(b);
}
