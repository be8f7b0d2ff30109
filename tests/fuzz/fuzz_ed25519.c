/* key (32), signature (64), message. All ways to verify give one verdict, and what
 * they accept libsodium accepts. Then the key's octets serve as a seed, so that every
 * input also has a good signature in it: ours is libsodium's, and it is accepted. */
#include "ed25519_check.h"
#include "fuzz.h"

#include <sodium.h>

static void
verdicts_agree(const uint8_t key[32], struct kd_slice message, const uint8_t sig[64])
{
    kd_err err = verdict(key, message, sig);

    fuzz_require(err == KD_OK || err == KD_INVALID);
    if (err == KD_OK) {
        fuzz_require(crypto_sign_verify_detached(sig, message.p, message.n, key) == 0);
        fuzz_require(dime_ed25519_key_valid(key));
        fuzz_require(dime_ed25519_verify_trusted_key(key, message, sig) == KD_OK);
    }
}

static void
signatures_agree(const uint8_t seed[32], struct kd_slice message)
{
    uint8_t key[32];
    uint8_t pair[64];
    uint8_t want[64];
    uint8_t sig[64];

    crypto_sign_seed_keypair(key, pair, seed);
    crypto_sign_detached(want, NULL, message.p, message.n, pair);
    fuzz_require(dime_ed25519_sign(seed, key, message, sig) == KD_OK);
    fuzz_require(memcmp(sig, want, sizeof sig) == 0);
    fuzz_require(verdict(key, message, sig) == KD_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 96)
        return 0;
    struct kd_slice message = kd_slice(data + 96, size - 96);
    fuzz_begin(size);
    verdicts_agree(data, message, data + 32);
    signatures_agree(data, message);
    fuzz_end();
    return 0;
}
