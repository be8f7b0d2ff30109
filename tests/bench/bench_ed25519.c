/* Microseconds per operation, ours beside libsodium's, in turns within one run so that
 * a busy machine slows both. Each figure is the best of many rounds. */
#include <dime/ed25519.h>

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 60, CALLS = 50, MAX_MESSAGE = 65536 };

static uint8_t seed[DIME_SEED_SIZE];
static struct dime_ed25519_secret *secret;
static uint8_t pair[64];
static uint8_t octets[MAX_MESSAGE];
static struct kd_slice message;
static uint8_t sig[DIME_SIG_SIZE];

static void
must(bool ok)
{
    if (!ok)
        abort();
}

static void
sodium_sign(void)
{
    crypto_sign_detached(sig, NULL, message.p, message.n, pair);
}

static void
our_sign(void)
{
    must(dime_ed25519_secret_sign(secret, message, sig) == KD_OK);
}

static void
our_seed_sign(void)
{
    must(dime_ed25519_sign(seed, secret->use.key, message, sig) == KD_OK);
}

static void
sodium_verify(void)
{
    must(crypto_sign_verify_detached(sig, message.p, message.n, pair + 32) == 0);
}

static void
our_verify_trusted(void)
{
    must(dime_ed25519_verify_trusted_key(pair + 32, message, sig) == KD_OK);
}

static void
our_verify(void)
{
    must(dime_ed25519_verify(pair + 32, message, sig) == KD_OK);
}

static void
key_valid(void)
{
    must(dime_ed25519_key_valid(pair + 32));
}

static const struct {
    const char *name;
    void (*run)(void);
    unsigned against; /* the row it is a ratio of */
} rows[] = {
    {"crypto_sign_detached", sodium_sign, 0},
    {"dime_ed25519_secret_sign", our_sign, 0},
    {"dime_ed25519_sign (from seed)", our_seed_sign, 0},
    {"crypto_sign_verify_detached", sodium_verify, 3},
    {"dime_ed25519_verify_trusted_key", our_verify_trusted, 3},
    {"dime_ed25519_verify", our_verify, 3},
    {"dime_ed25519_key_valid", key_valid, 3},
};

enum { N_ROWS = sizeof rows / sizeof rows[0] };

static void
measure(double best[N_ROWS])
{
    our_sign();
    for (unsigned i = 0; i < N_ROWS; i++)
        best[i] = 1e9;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < N_ROWS; i++) {
            int64_t from = kd_clock_ns();
            for (unsigned call = 0; call < CALLS; call++)
                rows[i].run();
            double us = (double)(kd_clock_ns() - from) / CALLS / 1000;
            best[i] = us < best[i] ? us : best[i];
        }
    }
}

int
main(void)
{
    static const size_t sizes[] = {64, 500, 4096, MAX_MESSAGE};

    must(kd_secret_setup(4096) == KD_OK);
    must((secret = kd_secret_new(sizeof *secret)) != NULL);
    randombytes_buf(seed, sizeof seed);
    randombytes_buf(octets, sizeof octets);
    dime_ed25519_secret_init(secret, seed);
    crypto_sign_seed_keypair(pair + 32, pair, seed);
    for (unsigned s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        double best[N_ROWS];
        message = kd_slice(octets, sizes[s]);
        measure(best);
        printf("message of %zu octets\n", sizes[s]);
        for (unsigned i = 0; i < N_ROWS; i++)
            printf("  %-34s %7.1f us  %5.2f\n", rows[i].name, best[i],
                   best[i] / best[rows[i].against]);
    }
    kd_secret_free(secret, sizeof *secret);
    return 0;
}
