/* Signing in pieces with the software token: the suite of every backend, also for one
 * that signs only what it has whole; faults in memory and arithmetic; and threads that
 * sign while others take their keys away. */
#include "soft_impl.h"
#include "token_suite.h"

#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>
#include <keyd/token/soft_store.h>

#include <pthread.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka.h wants setjmp.h and stdarg.h first */
#include <cmocka.h>

#define DOMAIN kd_slice_str("example.com")

enum { SIZE = 100000 };

static uint8_t octets[SIZE];
static int sealed; /* the same */

static const struct kd_slot_secret credential = {
    .type = KD_SLOT_CREDENTIAL,
    .octets = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32},
};

static struct kd_token *
make_soft(const struct kd_key_spec *specs, size_t n)
{
    struct kd_token *t;
    struct kd_key_info key;

    if (kd_soft_create(&credential, &t) != KD_OK)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (kd_token_generate(t, &specs[i], &key) != KD_OK ||
            kd_token_set_state(t, &key.id, KD_KEY_ACTIVE) != KD_OK) {
            kd_token_free(t);
            return NULL;
        }
    return t;
}

/* As a device's library is: it takes a message in one piece. */
static struct kd_token *
make_whole(const struct kd_key_spec *specs, size_t n)
{
    static struct kd_token_ops ops;
    struct kd_token *t = make_soft(specs, n);

    if (t == NULL)
        return NULL;
    ops = *t->ops;
    ops.begin = NULL;
    ops.finish = NULL;
    t->ops = &ops;
    return t;
}

/* Faults in the arithmetic. The linker puts this before the real function (--wrap); the
 * library has no hook. */
static bool flips;

kd_err __real_dime_ed25519_signer_end(struct dime_ed25519_signer *s,
                                      const struct dime_ed25519_secret *secret,
                                      uint8_t sig[DIME_SIG_SIZE]);
kd_err __wrap_dime_ed25519_signer_end(struct dime_ed25519_signer *s,
                                      const struct dime_ed25519_secret *secret,
                                      uint8_t sig[DIME_SIG_SIZE]);

static void
flip(void *p, size_t size)
{
    uint32_t bit = randombytes_uniform((uint32_t)size * 8);

    ((uint8_t *)p)[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

kd_err
__wrap_dime_ed25519_signer_end(struct dime_ed25519_signer *s,
                               const struct dime_ed25519_secret *secret,
                               uint8_t sig[DIME_SIG_SIZE])
{
    kd_err err = __real_dime_ed25519_signer_end(s, secret, sig);

    if (flips)
        flip(sig, DIME_SIG_SIZE);
    return err;
}

static struct kd_token *
make(struct kd_key_info *key)
{
    const struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                                     .alg = KD_ALG_ED25519,
                                     .permissions = 2,
                                     .domain = DOMAIN};
    struct kd_token *t = make_soft(&spec, 1);

    assert_non_null(t);
    *key = token_key_at(t, 0);
    return t;
}

static struct kd_token_text
text_of(const struct dime_stream_part *part)
{
    return (struct kd_token_text){.purpose = KD_SIGN_MESSAGE,
                                  .parts = part,
                                  .n_parts = 1,
                                  .max = SIZE,
                                  .n_ends = 1,
                                  .ends = {part->head.n + part->n}};
}

static kd_err
sign(struct kd_token *t, const struct kd_key_info *key, struct kd_token_text text,
     size_t budget)
{
    struct kd_token_stream *s = NULL;
    struct kd_token_sig sigs[KD_SIGN_AT_ONCE] = {{.n = 9}};
    kd_err err = kd_token_sign_begin(t, &key->id, &text, &s);
    bool more = true;

    while (err == KD_OK && more)
        err = kd_token_sign_step(s, budget, &more);
    if (err == KD_OK)
        err = kd_token_sign_end(s, sigs, NULL);
    kd_token_sign_free(s);
    assert_int_equal(sigs[0].n, err == KD_OK ? 64 : 9);
    return err;
}

static kd_err
count(void *ctx, unsigned which, const struct kd_token_sig *sig)
{
    (void)which;
    (void)sig;
    ++*(unsigned *)ctx;
    return KD_OK;
}

static void
wrong_signature_over_a_file_is_never_released(void **state)
{
    enum { N = 300 };
    const struct dime_stream_part part = {.fd = sealed, .n = 2000};
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    struct kd_token_text text = text_of(&part);
    unsigned n_given = 0;

    (void)state;
    text.n_ends = 2;
    text.ends[0] = 1000;
    text.ends[1] = 2000;
    text.made = count;
    text.ctx = &n_given;
    kd_token_set_verify(t, 1000); /* which is not asked */
    flips = true;
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(sign(t, &key, text, 10000), KD_FAILED);
    flips = false;
    assert_int_equal(kd_token_faults(t), N);
    assert_int_equal(n_given, 0);
    assert_int_equal(sign(t, &key, text, 10000), KD_OK);
    assert_int_equal(n_given, 1);
    kd_token_free(t);
}

/* Octets in memory are sampled as whole messages are. */
static void
wrong_signatures_over_memory_are_stopped_as_sampled(void **state)
{
    const struct dime_stream_part part = {.head = kd_slice(octets, 300), .fd = -1};
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    unsigned n_stopped = 0;

    (void)state;
    flips = true;
    assert_int_equal(sign(t, &key, text_of(&part), 10000), KD_FAILED);
    kd_token_set_verify(t, 10);
    for (unsigned i = 0; i < 1000; i++)
        n_stopped += sign(t, &key, text_of(&part), 10000) == KD_FAILED;
    flips = false;
    assert_int_equal(n_stopped, 100);
    kd_token_free(t);
}

/* In either copy, before or within the stream. */
static void
flipped_bit_in_the_secret_ends_the_stream(void **state)
{
    enum { N = 2000 };
    const struct dime_stream_part part = {.head = kd_slice(octets, 1000), .fd = -1};
    const struct kd_token_text text = text_of(&part);
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    struct soft_secret *x = kd_soft_of(t)->keys[0]->secret;
    struct soft_secret *sound = kd_secret_new(sizeof *sound);

    (void)state;
    *sound = *x;
    kd_token_set_verify(t, 1000); /* the copies alone have to do it */
    for (unsigned i = 0; i < N; i++) {
        struct kd_token_stream *s = NULL;
        struct kd_token_sig sig = {.n = 9};
        bool more = true;
        unsigned n_steps = i % 4;
        kd_err err = KD_OK;
        if (n_steps == 0)
            flip(x, sizeof *x);
        if (n_steps == 0) {
            assert_int_equal(kd_token_sign_begin(t, &key.id, &text, &s), KD_FAILED);
            *x = *sound;
            continue;
        }
        assert_int_equal(kd_token_sign_begin(t, &key.id, &text, &s), KD_OK);
        for (unsigned k = 1; k < n_steps; k++)
            assert_int_equal(kd_token_sign_step(s, 512, &more), KD_OK);
        flip(x, sizeof *x);
        while (more)
            err = kd_token_sign_step(s, 512, &more);
        assert_int_equal(err, KD_FAILED);
        assert_int_equal(kd_token_sign_end(s, &sig, NULL), KD_FAILED);
        assert_int_equal(sig.n, 9);
        kd_token_sign_free(s);
        *x = *sound;
    }
    assert_int_equal(kd_token_faults(t), N);
    assert_int_equal(sign(t, &key, text, 1000), KD_OK);
    kd_secret_free(sound, sizeof *sound);
    kd_token_free(t);
}

/* One octet that is read wrong once, for the challenge: with the right nonce that
 * signature would give the key away. */
static void
misread_octet_is_noticed(void **state)
{
    const struct dime_stream_part part = {.head = kd_slice(octets, SIZE), .fd = -1};
    const struct kd_token_text text = text_of(&part);
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    struct kd_token_stream *s;
    kd_err err = KD_OK;
    bool more = true;

    (void)state;
    assert_int_equal(kd_token_sign_begin(t, &key.id, &text, &s), KD_OK);
    for (unsigned i = 0; more; i++) { /* a hundred steps and a bit for each reading */
        if (i == 150 || i == 250)
            octets[SIZE - 1] ^= 1;
        err = kd_token_sign_step(s, 1000, &more);
    }
    assert_int_equal(err, KD_FAILED);
    assert_int_equal(kd_token_faults(t), 1);
    kd_token_sign_free(s);
    kd_token_free(t);
}

/* Nothing is left in secret memory of a stream that is given up anywhere, or ends. */
static void
streams_give_their_secret_memory_back(void **state)
{
    const struct dime_stream_part part = {.fd = sealed, .n = 5000};
    const struct kd_token_text text = text_of(&part);
    struct kd_key_info key;
    struct kd_token *t = make(&key);

    (void)state;
    for (unsigned i = 0; i < 3000; i++) { /* far more than there is room for */
        struct kd_token_stream *s;
        bool more = true;
        assert_int_equal(kd_token_sign_begin(t, &key.id, &text, &s), KD_OK);
        for (unsigned k = 0; k < i % 25 && more; k++)
            assert_int_equal(kd_token_sign_step(s, 1000, &more), KD_OK);
        kd_token_sign_free(s);
    }
    kd_token_free(t);
}

static void
too_many_streams_are_refused(void **state)
{
    enum { MANY = 1000 };
    const struct dime_stream_part part = {.fd = sealed, .n = 5000};
    const struct kd_token_text text = text_of(&part);
    struct kd_token_stream **s = calloc(MANY, sizeof(struct kd_token_stream *));
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    kd_err err = KD_OK;
    size_t n = 0;

    (void)state;
    assert_non_null(s);
    while (n < MANY && (err = kd_token_sign_begin(t, &key.id, &text, &s[n])) == KD_OK)
        n++;
    assert_int_equal(err, KD_NOMEM);
    assert_true(n > 10);
    /* A sealed token's streams let go of it at once, freed or not. */
    kd_token_seal(t);
    for (size_t i = 0; i < n; i++) {
        bool more;
        assert_int_equal(kd_token_sign_step(s[i], 1000, &more), KD_SEALED);
    }
    uint8_t *room = kd_secret_new(n * 1024);
    assert_non_null(room);
    kd_secret_free(room, n * 1024);
    kd_token_free(t);
    while (n > 0)
        kd_token_sign_free(s[--n]);
    free(s);
}

/* --- threads --- */

enum { THREADS = 3, ROUNDS = 60 };

struct signer {
    struct kd_token *token;
    struct kd_key_info key;
    const struct dime_stream_part *part;
    pthread_barrier_t *begun;
    kd_err err;
    struct kd_token_sig sig;
};

static void *
sign_on(void *arg)
{
    struct signer *x = arg;
    struct kd_token_text text = text_of(x->part);
    struct kd_token_stream *s = NULL;
    bool more = true;

    text.n_ends = 2;
    text.ends[1] = text.ends[0];
    text.ends[0] = text.ends[1] / 2;
    x->err = kd_token_sign_begin(x->token, &x->key.id, &text, &s);
    pthread_barrier_wait(x->begun);
    while (x->err == KD_OK && more)
        x->err = kd_token_sign_step(s, 1 + randombytes_uniform(30000), &more);
    if (x->err == KD_OK) {
        struct kd_token_sig sigs[2];
        x->err = kd_token_sign_end(s, sigs, NULL);
        x->sig = sigs[1];
    }
    kd_token_sign_free(s);
    return NULL;
}

static void
take_away(struct kd_token *t, unsigned round)
{
    const struct timespec pause = {.tv_nsec = (long)randombytes_uniform(1000000)};
    struct kd_key_info key = token_key_at(t, 0);

    kd_ignore(nanosleep(&pause, NULL));
    switch (round % 5) {
    case 0: /* nothing */
        break;
    case 1:
        assert_int_equal(kd_token_set_state(t, &key.id, KD_KEY_RETAINED), KD_OK);
        break;
    case 2:
        assert_int_equal(kd_token_set_state(t, &key.id, KD_KEY_RETAINED), KD_OK);
        assert_int_equal(kd_token_set_state(t, &key.id, KD_KEY_DESTROYED), KD_OK);
        break;
    default:
        kd_token_seal(t);
        break;
    }
    kd_token_free(t); /* streams or not */
}

static void
keys_go_while_threads_sign(void **state)
{
    const struct dime_stream_part part = {.fd = sealed, .n = SIZE};
    const struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                                     .alg = KD_ALG_ED25519,
                                     .permissions = 2,
                                     .domain = DOMAIN};
    unsigned n[KD_ERR_COUNT] = {0};

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct kd_token *t = make_soft(&spec, 1);
        struct signer signers[THREADS];
        pthread_t threads[THREADS];
        pthread_barrier_t begun;
        assert_non_null(t);
        assert_int_equal(pthread_barrier_init(&begun, NULL, THREADS + 1), 0);
        for (unsigned i = 0; i < THREADS; i++) {
            signers[i] = (struct signer){
                .token = t, .key = token_key_at(t, 0), .part = &part, .begun = &begun};
            assert_int_equal(pthread_create(&threads[i], NULL, sign_on, &signers[i]),
                             0);
        }
        pthread_barrier_wait(&begun);
        take_away(t, round);
        for (unsigned i = 0; i < THREADS; i++) {
            const struct signer *x = &signers[i];
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_true(x->err == KD_OK || x->err == KD_SEALED || x->err == KD_DENIED);
            if (x->err == KD_OK)
                assert_int_equal(crypto_sign_verify_detached(x->sig.octets, octets,
                                                             SIZE, x->key.public_key),
                                 0);
            n[x->err]++;
        }
        pthread_barrier_destroy(&begun);
    }
    print_message("%u signed, %u sealed, %u denied\n", n[KD_OK], n[KD_SEALED],
                  n[KD_DENIED]);
    assert_true(n[KD_SEALED] > 0);
}

int
main(void)
{
    static const struct token_backend soft = {"soft", make_soft};
    static const struct token_backend whole = {"whole", make_whole};
    static const uint8_t head[] = {2, 0, 0, 33};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_signature_over_a_file_is_never_released),
        cmocka_unit_test(wrong_signatures_over_memory_are_stopped_as_sampled),
        cmocka_unit_test(flipped_bit_in_the_secret_ends_the_stream),
        cmocka_unit_test(misread_octet_is_noticed),
        cmocka_unit_test(streams_give_their_secret_memory_back),
        cmocka_unit_test(too_many_streams_are_refused),
        cmocka_unit_test(keys_go_while_threads_sign),
    };

    if (kd_secret_setup((size_t)128 * 1024) != KD_OK) {
        fprintf(stderr, "no locked memory\n");
        return 77;
    }
    randombytes_buf(octets, sizeof octets);
    memcpy(octets, head, sizeof head);
    octets[37] = 3;
    if (kd_memfd_seal(kd_slice(octets, sizeof octets), &sealed) != KD_OK)
        return 1;
    int failed = token_stream_suite_run(&soft);
    failed += token_stream_suite_run(&whole);
    return failed + cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
