/* Like the vault: keys, hashes, a key store to unseal, crypto threads, sealed memfds,
 * and every way in which a C program gives up. */
#include "skeleton_sandbox.h"

#include <keyd/base/chan.h>
#include <keyd/base/log.h>
#include <keyd/base/secret.h>

#undef NDEBUG /* what assert() calls is wanted in every build */
#include <assert.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { N_THREADS = 12 }; /* more than malloc has arenas before it counts processors */

struct crew {
    pthread_t thread[N_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned to_do;
    unsigned done;
    bool stop;
    int wake;
};

static struct crew crew = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
};

static void
sign_and_verify(void)
{
    uint8_t seed[crypto_sign_SEEDBYTES], pk[crypto_sign_PUBLICKEYBYTES];
    uint8_t sig[crypto_sign_BYTES];
    uint8_t *sk = kd_secret_new(crypto_sign_SECRETKEYBYTES);

    MUST(sk != NULL);
    randombytes_buf(seed, sizeof seed);
    MUST(crypto_sign_seed_keypair(pk, sk, seed) == 0);
    MUST(crypto_sign_detached(sig, NULL, seed, sizeof seed, sk) == 0);
    MUST(crypto_sign_verify_detached(sig, seed, sizeof seed, pk) == 0);
    kd_secret_free(sk, crypto_sign_SECRETKEYBYTES);
}

static void
agree_on_secp256k1(const secp256k1_context *ctx)
{
    uint8_t a[32], b[32], za[32], zb[32];
    secp256k1_pubkey pa, pb;

    randombytes_buf(a, sizeof a);
    randombytes_buf(b, sizeof b);
    a[0] &= 0x7f; /* below the group's order */
    b[0] &= 0x7f;
    MUST(secp256k1_ec_pubkey_create(ctx, &pa, a) == 1);
    MUST(secp256k1_ec_pubkey_create(ctx, &pb, b) == 1);
    MUST(secp256k1_ecdh(ctx, za, &pb, a, NULL, NULL) == 1);
    MUST(secp256k1_ecdh(ctx, zb, &pa, b, NULL, NULL) == 1);
    MUST(memcmp(za, zb, sizeof za) == 0);
}

static void
hash_a_lot(const EVP_MD *sha512)
{
    size_t n = (size_t)1 << 20;
    uint8_t *octets = calloc(1, n);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    MUST(octets != NULL);
    MUST(EVP_Digest(octets, n, digest, &size, sha512, NULL) == 1 && size == 64);
    free(octets);
}

static void *
crew_member(void *arg)
{
    const EVP_MD *sha512 = arg;
    secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    const uint64_t one = 1;

    MUST(ctx != NULL);
    pthread_mutex_lock(&crew.lock);
    while (!crew.stop) {
        if (crew.to_do == 0) {
            pthread_cond_wait(&crew.changed, &crew.lock);
            continue;
        }
        crew.to_do--;
        pthread_mutex_unlock(&crew.lock);
        sign_and_verify();
        agree_on_secp256k1(ctx);
        hash_a_lot(sha512);
        allocate_all_sizes();
        MUST(write(crew.wake, &one, sizeof one) == sizeof one);
        pthread_mutex_lock(&crew.lock);
        crew.done++;
    }
    pthread_mutex_unlock(&crew.lock);
    secp256k1_context_destroy(ctx);
    return NULL;
}

static void
crew_work(unsigned jobs)
{
    uint64_t events = 0;
    struct pollfd done = {.fd = crew.wake, .events = POLLIN};

    pthread_mutex_lock(&crew.lock);
    crew.to_do = jobs;
    crew.done = 0;
    pthread_cond_broadcast(&crew.changed);
    pthread_mutex_unlock(&crew.lock);
    for (uint64_t n = 0; n < jobs; n += events) {
        MUST(poll(&done, 1, 60000) == 1);
        MUST(read(crew.wake, &events, sizeof events) == sizeof events);
    }
}

static void
unseal(void)
{
    uint8_t key[32];
    static const uint8_t salt[crypto_pwhash_SALTBYTES] = {1};

    MUST(crypto_pwhash(key, sizeof key, "passphrase", 10, salt,
                       crypto_pwhash_OPSLIMIT_MODERATE, crypto_pwhash_MEMLIMIT_MODERATE,
                       crypto_pwhash_ALG_ARGON2ID13) == 0);
    void *guarded = sodium_malloc(100);
    MUST(guarded != NULL);
    sodium_free(guarded);
}

static const EVP_MD *vault_sha512;
static int vault_pair[2];

static void
vault_enter(void)
{
    prepare();
    vault_sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
    MUST(vault_sha512 != NULL);
    MUST(kd_chan_pair(vault_pair) == KD_OK);
    MUST((crew.wake = eventfd(0, EFD_CLOEXEC)) >= 0);
    MUST(kd_sandbox_confine(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
    for (unsigned i = 0; i < N_THREADS; i++)
        MUST(pthread_create(&crew.thread[i], NULL, crew_member,
                            (void *)(uintptr_t)vault_sha512) == 0);
    MUST(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
}

static void
vault_work(void)
{
    kd_log(KD_INFO, "%s", kd_sandbox_describe());
    crew_work(2 * N_THREADS);
    unseal();
    make_and_read_memfd();
    pass_memfd(vault_pair);
    allocate_all_sizes();
    tell_the_time();
}

void
vault_works(const char *directory)
{
    (void)directory;
    vault_enter();
    vault_work();
    pthread_mutex_lock(&crew.lock);
    crew.stop = true;
    pthread_cond_broadcast(&crew.changed);
    pthread_mutex_unlock(&crew.lock);
    for (unsigned i = 0; i < N_THREADS; i++)
        MUST(pthread_join(crew.thread[i], NULL) == 0);
    exit(0); /* with all that atexit and stdio do */
}

void
vault_aborts(const char *directory)
{
    (void)directory;
    vault_enter();
    crew_work(2);
    abort();
}

static void
ignore_it(int signal)
{
    (void)signal;
}

/* abort() then resets the handler and raises once more. */
void
vault_aborts_past_a_handler(const char *directory)
{
    (void)directory;
    MUST(signal(SIGABRT, ignore_it) != SIG_ERR);
    vault_enter();
    abort();
}

static void *
abort_in_thread(void *arg)
{
    const EVP_MD *sha512 = arg;

    pthread_mutex_lock(&crew.lock);
    while (crew.to_do == 0)
        pthread_cond_wait(&crew.changed, &crew.lock);
    pthread_mutex_unlock(&crew.lock);
    hash_a_lot(sha512);
    abort();
}

void
vault_thread_aborts(const char *directory)
{
    (void)directory;
    prepare();
    vault_sha512 = EVP_sha512();
    MUST(kd_sandbox_confine(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
    MUST(pthread_create(&crew.thread[0], NULL, abort_in_thread,
                        (void *)(uintptr_t)vault_sha512) == 0);
    MUST(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
    pthread_mutex_lock(&crew.lock);
    crew.to_do = 1;
    pthread_cond_broadcast(&crew.changed);
    pthread_mutex_unlock(&crew.lock);
    pthread_join(crew.thread[0], NULL);
}

void
vault_fails_an_assertion(const char *directory)
{
    vault_enter();
    /* What assert() calls; assert itself is compiled away in some builds. */
    __assert_fail(directory, "file.c", 1, "function");
}

void __stack_chk_fail(void) __attribute__((noreturn));
void __chk_fail(void) __attribute__((noreturn));

void
vault_overruns_its_stack(const char *directory)
{
    (void)directory;
    vault_enter();
    __stack_chk_fail();
}

void
vault_overruns_a_buffer(const char *directory)
{
    (void)directory;
    vault_enter();
    __chk_fail(); /* where _FORTIFY_SOURCE ends */
}

void
vault_frees_nonsense(const char *directory)
{
    static char block[64];
    char *volatile p = block + 8;

    (void)directory;
    vault_enter();
    free(p);
}

/* malloc says no in every size; nothing dies, and memory comes back. */
void
vault_runs_out_of_memory(const char *directory)
{
    enum { HELD_MAX = 4096 };
    static void *held[HELD_MAX];

    (void)directory;
    limit_memory((size_t)1200 << 20);
    vault_enter();
    for (size_t n = (size_t)16 << 20; n >= 16; n /= 4) {
        unsigned k = 0;
        while (k < HELD_MAX && (held[k] = malloc(n)) != NULL)
            k++;
        MUST(n < (size_t)1 << 20 || k < HELD_MAX);
        while (k > 0)
            free(held[--k]);
    }
    MUST(crypto_pwhash((uint8_t[32]){0}, 32, "p", 1,
                       (const uint8_t[crypto_pwhash_SALTBYTES]){0},
                       crypto_pwhash_OPSLIMIT_MODERATE, (size_t)2 << 30,
                       crypto_pwhash_ALG_ARGON2ID13) != 0);
    crew_work(N_THREADS);
    _exit(0);
}
