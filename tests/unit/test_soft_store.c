/* The key store: format, slots, tampering, limits, what stays in memory. */
#include "soft_impl.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/token/soft_store.h>

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
/* cmocka.h wants setjmp.h and stdarg.h first */
#include <cmocka.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define DOMAIN kd_slice_str("example.com")

/* Offsets of the layout in soft_store.h. */
enum {
    AT_VERSION = 8,
    AT_GENERATION = 10,
    AT_INSTANCE = 18,
    AT_N_SLOTS = 34,
    AT_SLOT = 35,
    SLOT_SIZE = 106,
    IN_SLOT_KDF = 25,
    IN_SLOT_PASSES = 26,
    IN_SLOT_KIB = 30,
};

/* The five sealed secrets of make_token. */
static const size_t sealed_size = (size_t)5 * 72;

static const struct kd_slot_secret credential = {
    .type = KD_SLOT_CREDENTIAL,
    .octets = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32},
};
static const struct kd_slot_secret other_credential = {
    .type = KD_SLOT_CREDENTIAL,
    .octets = {(const uint8_t *)"0123456789abcdef0123456789abcdeg!", 33},
};
static const struct kd_slot_secret passphrase = {
    .type = KD_SLOT_PASSPHRASE,
    .octets = {(const uint8_t *)"correct horse battery", 21},
};
static const struct kd_slot_secret wrong_passphrase = {
    .type = KD_SLOT_PASSPHRASE,
    .octets = {(const uint8_t *)"correct horse batterz", 21},
};

/* A seed the tests know, without it standing in memory as it is: octet i is i * 7 + 3,
 * made in secret memory. */
static uint8_t *
known_seed(void)
{
    uint8_t *seed = kd_secret_new(32);

    assert_non_null(seed);
    for (size_t i = 0; i < 32; i++)
        seed[i] = (uint8_t)(i * 7 + 3);
    return seed;
}

static void
add_key(struct kd_token *t, enum kd_key_role role, uint8_t permissions,
        enum kd_key_state state)
{
    struct kd_key_spec spec = {.role = role,
                               .alg = role == KD_KEY_ROLE_ENC ? KD_ALG_SECP256K1
                                                              : KD_ALG_ED25519,
                               .permissions = permissions,
                               .domain = DOMAIN};
    struct kd_key_info key;

    assert_int_equal(kd_token_generate(t, &spec, &key), KD_OK);
    if (state != KD_KEY_PRE_ACTIVE && state != KD_KEY_DESTROYED)
        assert_int_equal(kd_token_set_state(t, &key.id, KD_KEY_ACTIVE), KD_OK);
    if (state != KD_KEY_PRE_ACTIVE && state != KD_KEY_ACTIVE)
        assert_int_equal(kd_token_set_state(t, &key.id, state), KD_OK);
}

/* One credential slot, a policy area, six keys of every role and most states. */
static struct kd_token *
make_token(void)
{
    struct kd_token *t;
    struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                               .alg = KD_ALG_ED25519,
                               .permissions = 2,
                               .domain = DOMAIN};
    struct kd_key_info key;
    uint8_t *seed = known_seed();

    assert_int_equal(kd_soft_create(&credential, &t), KD_OK);
    assert_int_equal(kd_token_import(t, &spec, kd_slice(seed, 32), &key), KD_OK);
    kd_secret_free(seed, 32);
    add_key(t, KD_KEY_ROLE_POK, 0, KD_KEY_PRE_ACTIVE);
    add_key(t, KD_KEY_ROLE_ENC, 0, KD_KEY_ACTIVE);
    add_key(t, KD_KEY_ROLE_ENC, 0, KD_KEY_RETAINED);
    add_key(t, KD_KEY_ROLE_DKIM, 0, KD_KEY_DESTROYED);
    add_key(t, KD_KEY_ROLE_AUDIT, 0, KD_KEY_REVOKED);
    assert_int_equal(kd_soft_set_policy(t, kd_slice_str("single-operator")), KD_OK);
    return t;
}

static void
store_of(struct kd_token *t, struct kd_buf *octets)
{
    kd_buf_init(octets, KD_STORE_MAX);
    assert_int_equal(kd_soft_serialise(t, octets), KD_OK);
}

static void
make_store(struct kd_buf *octets)
{
    struct kd_token *t = make_token();

    store_of(t, octets);
    kd_token_free(t);
}

/* Opens and closes again. */
static kd_err
try_open(struct kd_slice octets, const struct kd_slot_secret *secret)
{
    struct kd_token *t = NULL;
    kd_err err = kd_soft_open(octets, secret, &t);

    if (err == KD_OK)
        kd_token_free(t);
    else
        assert_null(t);
    return err;
}

static void
assert_same_keys(struct kd_token *a, struct kd_token *b)
{
    size_t n = kd_token_count(a);

    assert_int_equal(kd_token_count(b), n);
    for (size_t i = 0; i < n; i++) {
        struct kd_key_info x, y;
        assert_int_equal(kd_token_at(a, i, &x), KD_OK);
        assert_int_equal(kd_token_at(b, i, &y), KD_OK);
        assert_memory_equal(&x, &y, sizeof x);
        kd_err expected = x.state == KD_KEY_REVOKED || x.state == KD_KEY_DESTROYED
                              ? KD_DENIED
                              : KD_OK;
        assert_int_equal(kd_token_probe(b, &y.id), expected);
    }
}

static void
token_comes_back_from_its_octets(void **state)
{
    struct kd_token *t = make_token();
    struct kd_token *again;
    struct kd_buf octets, policy;

    (void)state;
    store_of(t, &octets);
    assert_int_equal(kd_soft_open(kd_buf_slice(&octets), &credential, &again), KD_OK);
    assert_same_keys(t, again);
    assert_int_equal(kd_soft_generation(again), 1);
    kd_buf_init(&policy, KD_STORE_POLICY_MAX);
    assert_int_equal(kd_soft_policy(again, &policy), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&policy), kd_slice_str("single-operator")));
    uint8_t a[16], b[16];
    kd_soft_instance(t, a);
    kd_soft_instance(again, b);
    assert_memory_equal(a, b, 16);
    assert_false(sodium_is_zero(a, 16));
    kd_buf_free(&policy);
    kd_buf_free(&octets);
    kd_token_free(t);
    kd_token_free(again);
}

static void
generation_grows_and_nonces_are_fresh(void **state)
{
    struct kd_token *t = make_token();
    struct kd_buf a, b;
    static struct kd_store x, y;

    (void)state;
    assert_int_equal(kd_soft_generation(t), 0);
    store_of(t, &a);
    store_of(t, &b);
    assert_int_equal(kd_soft_generation(t), 2);
    assert_int_equal(kd_store_parse(kd_buf_slice(&a), &x), KD_OK);
    assert_int_equal(kd_store_parse(kd_buf_slice(&b), &y), KD_OK);
    assert_int_equal(x.generation, 1);
    assert_int_equal(y.generation, 2);
    for (size_t i = 0; i < x.sealed.n; i += 72)
        assert_memory_not_equal(x.sealed.p + i, y.sealed.p + i, 24);
    kd_buf_free(&a);
    kd_buf_free(&b);
    kd_token_free(t);
}

static void
parsing_shows_the_public_part_without_a_secret(void **state)
{
    struct kd_buf octets, header;
    static struct kd_store s;

    (void)state;
    make_store(&octets);
    assert_int_equal(kd_store_parse(kd_buf_slice(&octets), &s), KD_OK);
    assert_int_equal(s.n_slots, 1);
    assert_int_equal(s.slots[0].type, KD_SLOT_CREDENTIAL);
    assert_int_equal(s.n_keys, 6);
    assert_int_equal(s.keys[1].role, KD_KEY_ROLE_POK);
    assert_int_equal(s.keys[4].state, KD_KEY_DESTROYED);
    assert_int_equal(s.sealed.n, sealed_size); /* nothing of the destroyed one */
    assert_true(kd_slice_eq(s.keys[0].domain, DOMAIN));
    assert_true(kd_slice_eq(s.policy, kd_slice_str("single-operator")));
    kd_buf_init(&header, KD_STORE_MAX);
    kd_store_put_header(&s, &header);
    assert_true(kd_slice_eq(kd_buf_slice(&header), s.header));
    kd_buf_free(&header);
    kd_buf_free(&octets);
}

/* ---- the layout, read by its description alone ---- */

static void
subkey(const uint8_t *master, const char *context, const uint8_t *instance,
       uint8_t out[32])
{
    struct kd_buf in;

    kd_buf_init(&in, 64);
    kd_buf_put(&in, kd_slice_str(context));
    kd_buf_put(&in, kd_slice(instance, 16));
    assert_int_equal(crypto_generichash(out, 32, in.p, in.n, master, 32), 0);
    kd_buf_free(&in);
}

/* The master key of a store whose first slot is the test's credential. */
static void
open_first_slot(const uint8_t *p, uint8_t master[32])
{
    const uint8_t *slot = p + AT_SLOT;
    uint8_t h[64], context[32], key[32];
    struct kd_buf ad;

    crypto_generichash(h, 64, credential.octets.p, credential.octets.n,
                       (const uint8_t *)"keyd credential v1", 18);
    memcpy(context, p + AT_INSTANCE, 16);
    memcpy(context + 16, slot + 1, 16);
    crypto_generichash(key, 32, context, 32, h, 64);
    kd_buf_init(&ad, 64);
    kd_buf_put(&ad, kd_slice_str("keyd slot v1"));
    kd_buf_put(&ad, kd_slice(p + AT_INSTANCE, 16));
    kd_buf_put(&ad, kd_slice(slot, 34));
    int rc = crypto_aead_xchacha20poly1305_ietf_decrypt(master, NULL, NULL, slot + 58,
                                                        48, ad.p, ad.n, slot + 34, key);
    assert_int_equal(rc, 0);
    kd_buf_free(&ad);
}

/* Authenticates octets anew, as only somebody with the master key can. */
static void
retag(struct kd_buf *b)
{
    uint8_t master[32], key[32];

    open_first_slot(b->p, master);
    subkey(master, "keyd store v1", b->p + AT_INSTANCE, key);
    crypto_generichash(b->p + b->n - 32, 32, b->p, b->n - 32, key, 32);
}

static void
layout_is_as_documented(void **state)
{
    struct kd_buf b;
    static struct kd_store s;
    uint8_t master[32], key[32], tag[32], secret[32];
    uint8_t *seed = known_seed();

    (void)state;
    make_store(&b);
    assert_int_equal(kd_store_parse(kd_buf_slice(&b), &s), KD_OK);
    open_first_slot(b.p, master);
    subkey(master, "keyd store v1", b.p + AT_INSTANCE, key);
    crypto_generichash(tag, 32, b.p, b.n - 32, key, 32);
    assert_memory_equal(tag, b.p + b.n - 32, 32);

    size_t header = b.n - 32 - sealed_size;
    assert_int_equal(header, 35 + 106 + 2 + 15 + 2 + 6 * (15 + 11) + 4 * 32 + 2 * 33);
    uint8_t *ad = malloc(header + 16);
    assert_non_null(ad);
    memcpy(ad, b.p, header);
    uint8_t named[33] = {1};
    uint8_t hash[32];
    memcpy(named + 1, s.keys[0].public_key.p, 32);
    crypto_hash_sha256(hash, named, 33);
    memcpy(ad + header, hash, 16);
    subkey(master, "keyd seal v1", b.p + AT_INSTANCE, key);
    assert_int_equal(crypto_aead_xchacha20poly1305_ietf_decrypt(
                         secret, NULL, NULL, b.p + header + 24, 48, ad, header + 16,
                         b.p + header, key),
                     0);
    assert_memory_equal(secret, seed, 32);
    sodium_memzero(secret, 32);
    kd_secret_free(seed, 32);
    free(ad);
    kd_buf_free(&b);
}

static void
wrong_secret_is_denied(void **state)
{
    struct kd_buf octets;

    (void)state;
    make_store(&octets);
    struct kd_slice o = kd_buf_slice(&octets);
    assert_int_equal(try_open(o, &other_credential), KD_DENIED);
    assert_int_equal(try_open(o, &passphrase), KD_DENIED); /* no such slot */
    struct kd_slot_secret longer = credential;
    longer.octets = kd_slice_str("0123456789abcdef0123456789abcdef\n");
    assert_int_equal(try_open(o, &longer), KD_DENIED); /* octets as given */
    kd_buf_free(&octets);
}

static void
secrets_out_of_bounds_are_invalid(void **state)
{
    static const uint8_t octets[KD_CREDENTIAL_MAX + 1];
    static const struct {
        size_t n;
        enum kd_slot_type type;
        uint32_t passes, kib;
        kd_err err;
    } cases[] = {
        {31, KD_SLOT_CREDENTIAL, 0, 0, KD_INVALID},
        {4097, KD_SLOT_CREDENTIAL, 0, 0, KD_INVALID},
        {4096, KD_SLOT_CREDENTIAL, 0, 0, KD_OK},
        {7, KD_SLOT_PASSPHRASE, 0, 0, KD_INVALID},
        {1025, KD_SLOT_PASSPHRASE, 0, 0, KD_INVALID},
        {8, KD_SLOT_PASSPHRASE, 2, 0, KD_INVALID},
        {8, KD_SLOT_PASSPHRASE, 0, 262143, KD_INVALID},
        {8, KD_SLOT_PASSPHRASE, 11, 0, KD_TOO_LARGE},
        {8, KD_SLOT_PASSPHRASE, 0, 1048577, KD_TOO_LARGE},
        {8, KD_SLOT_PASSPHRASE, 0, UINT32_MAX, KD_TOO_LARGE},
        {100, (enum kd_slot_type)3, 0, 0, KD_INVALID},
    };
    struct kd_token *t;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kd_slot_secret s = {
            cases[i].type, {octets, cases[i].n}, cases[i].passes, cases[i].kib};
        kd_err err = kd_soft_create(&s, &t);
        if (err != cases[i].err)
            fail_msg("case %zu: %s", i, kd_err_text(err));
        if (err == KD_OK)
            kd_token_free(t);
    }
}

static void
passphrase_opens_and_a_wrong_one_does_not(void **state)
{
    struct kd_token *t = make_token();
    struct kd_token *again;
    struct kd_buf octets;
    static struct kd_store s;

    (void)state;
    assert_int_equal(kd_soft_add_slot(t, &passphrase, NULL), KD_OK);
    store_of(t, &octets);
    struct kd_slice o = kd_buf_slice(&octets);
    assert_int_equal(kd_store_parse(o, &s), KD_OK);
    assert_int_equal(s.slots[1].passes, 3);
    assert_int_equal(s.slots[1].kib, 262144);
    int64_t before = kd_clock_ms();
    assert_int_equal(try_open(o, &wrong_passphrase), KD_DENIED);
    assert_true(kd_clock_ms() - before >= 100); /* it was stretched */
    assert_int_equal(kd_soft_open(o, &passphrase, &again), KD_OK);
    assert_same_keys(t, again);
    assert_int_equal(try_open(o, &credential), KD_OK);
    kd_buf_free(&octets);
    kd_token_free(t);
    kd_token_free(again);
}

static void
slots_come_and_go_but_never_the_last(void **state)
{
    struct kd_token *t = make_token();
    struct kd_buf octets;
    struct kd_store_slot slots[KD_STORE_SLOTS_MAX];
    uint8_t salt[KD_STORE_SALT_SIZE], second[KD_STORE_SALT_SIZE];

    (void)state;
    assert_int_equal(kd_soft_slots(t, slots), 1);
    assert_int_equal(kd_soft_remove_slot(t, slots[0].salt), KD_CONFLICT);
    assert_int_equal(kd_soft_add_slot(t, &other_credential, second), KD_OK);
    for (int i = 2; i < KD_STORE_SLOTS_MAX; i++)
        assert_int_equal(kd_soft_add_slot(t, &credential, salt), KD_OK);
    assert_int_equal(kd_soft_add_slot(t, &credential, salt), KD_BUSY);
    assert_int_equal(kd_soft_slots(t, slots), KD_STORE_SLOTS_MAX);
    store_of(t, &octets);
    assert_int_equal(try_open(kd_buf_slice(&octets), &other_credential), KD_OK);
    kd_buf_free(&octets);

    assert_int_equal(kd_soft_remove_slot(t, second), KD_OK);
    assert_int_equal(kd_soft_remove_slot(t, second), KD_NOT_FOUND);
    store_of(t, &octets);
    assert_int_equal(try_open(kd_buf_slice(&octets), &other_credential), KD_DENIED);
    assert_int_equal(try_open(kd_buf_slice(&octets), &credential), KD_OK);
    kd_buf_free(&octets);
    size_t n = kd_soft_slots(t, slots);
    for (size_t i = 1; i < n; i++)
        assert_int_equal(kd_soft_remove_slot(t, slots[i].salt), KD_OK);
    assert_int_equal(kd_soft_remove_slot(t, slots[0].salt), KD_CONFLICT);
    store_of(t, &octets);
    assert_int_equal(try_open(kd_buf_slice(&octets), &credential), KD_OK);
    kd_buf_free(&octets);
    kd_token_free(t);
}

/* ---- tampering ---- */

static void
check_flips(struct kd_buf *b)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < 9; k += 3) {
            uint8_t mask = (uint8_t)(1u << (i + k) % 8);
            b->p[i] ^= mask;
            kd_err err = try_open(kd_buf_slice(b), &credential);
            b->p[i] ^= mask;
            if (err == KD_OK || err == KD_FAILED)
                fail_msg("octet %zu, mask %u: %s", i, mask, kd_err_text(err));
        }
    assert_int_equal(try_open(kd_buf_slice(b), &credential), KD_OK);
}

static void
every_flipped_octet_is_detected(void **state)
{
    struct kd_buf b;

    (void)state;
    make_store(&b);
    check_flips(&b);
    kd_buf_free(&b);
}

static void
every_flipped_octet_is_detected_without_keys(void **state)
{
    struct kd_token *t;
    struct kd_buf b;

    (void)state;
    assert_int_equal(kd_soft_create(&credential, &t), KD_OK);
    assert_int_equal(kd_soft_add_slot(t, &other_credential, NULL), KD_OK);
    store_of(t, &b);
    check_flips(&b);
    kd_buf_free(&b);
    kd_token_free(t);
}

static void
every_truncation_is_malformed(void **state)
{
    struct kd_buf b;
    static struct kd_store s;

    (void)state;
    make_store(&b);
    for (size_t n = 0; n < b.n; n++) {
        uint8_t *exact = malloc(n + 1); /* so that reading past it shows */
        assert_non_null(exact);
        memcpy(exact, b.p, n);
        kd_err err = kd_store_parse(kd_slice(exact, n), &s);
        free(exact);
        if (err != KD_MALFORMED && err != KD_INVALID && err != KD_UNSUPPORTED)
            fail_msg("%zu octets: %s", n, kd_err_text(err));
    }
    kd_buf_u8(&b, 0);
    assert_int_equal(kd_store_parse(kd_buf_slice(&b), &s), KD_MALFORMED);
    kd_buf_free(&b);
}

static void
secret_opens_only_in_its_own_header(void **state)
{
    struct kd_buf b;

    (void)state;
    make_store(&b);
    retag(&b); /* does nothing, or this test shows nothing */
    assert_int_equal(try_open(kd_buf_slice(&b), &credential), KD_OK);
    b.p[AT_GENERATION + 7] = 2;
    retag(&b);
    assert_int_equal(try_open(kd_buf_slice(&b), &credential), KD_INVALID);
    b.p[AT_GENERATION + 7] = 1;
    b.p[AT_SLOT + SLOT_SIZE + 2] ^= 1; /* the policy area */
    retag(&b);
    assert_int_equal(try_open(kd_buf_slice(&b), &credential), KD_INVALID);
    kd_buf_free(&b);
}

static void
sealed_secrets_do_not_change_places(void **state)
{
    struct kd_buf b;
    uint8_t x[72];

    (void)state;
    make_store(&b);
    uint8_t *sealed = b.p + b.n - 32 - sealed_size;
    memcpy(x, sealed, 72);
    memcpy(sealed, sealed + 72, 72);
    memcpy(sealed + 72, x, 72);
    retag(&b);
    assert_int_equal(try_open(kd_buf_slice(&b), &credential), KD_INVALID);
    kd_buf_free(&b);
}

static void
secrets_of_another_generation_do_not_open(void **state)
{
    struct kd_token *t = make_token();
    struct kd_buf a, b;

    (void)state;
    store_of(t, &a);
    store_of(t, &b);
    memcpy(b.p + b.n - 32 - sealed_size, a.p + a.n - 32 - sealed_size, sealed_size);
    retag(&b);
    assert_int_equal(try_open(kd_buf_slice(&b), &credential), KD_INVALID);
    kd_buf_free(&a);
    kd_buf_free(&b);
    kd_token_free(t);
}

static void
slot_of_another_store_does_not_open(void **state)
{
    struct kd_buf a, b;

    (void)state;
    make_store(&a);
    make_store(&b);
    memcpy(b.p + AT_SLOT, a.p + AT_SLOT, SLOT_SIZE);
    assert_int_equal(try_open(kd_buf_slice(&b), &credential), KD_DENIED);
    kd_buf_free(&a);
    kd_buf_free(&b);
}

/* What a store says of its keys is not believed, even under the right master key. */
static void
public_key_that_is_not_the_secrets_is_refused(void **state)
{
    struct kd_token *t = make_token();
    struct kd_soft *s = kd_soft_of(t);
    struct kd_buf b;
    static struct kd_store store;
    uint8_t *seed = known_seed();
    const uint8_t *secrets[KD_STORE_KEYS_MAX] = {0};

    (void)state;
    store_of(t, &b);
    assert_int_equal(kd_store_parse(kd_buf_slice(&b), &store), KD_OK);
    for (int right = 1; right >= 0; right--) {
        struct kd_buf forged;
        for (size_t i = 0; i < store.n_keys; i++)
            if (s->keys[i]->secret != NULL)
                secrets[i] = s->keys[i]->secret->copy[0];
        if (!right)
            secrets[1] = seed; /* the POK's place, another key's seed */
        kd_buf_init(&forged, KD_STORE_MAX);
        assert_int_equal(kd_store_seal(&store, secrets, s->master->copy[0], &forged),
                         KD_OK);
        assert_int_equal(try_open(kd_buf_slice(&forged), &credential),
                         right ? KD_OK : KD_INVALID);
        kd_buf_free(&forged);
    }
    kd_secret_free(seed, 32);
    kd_buf_free(&b);
    kd_token_free(t);
}

static void
rotten_memory_is_never_written(void **state)
{
    struct kd_token *t = make_token();
    struct kd_soft *s = kd_soft_of(t);
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_STORE_MAX);
    for (unsigned i = 0; i < 2 * 32 * 8; i++) {
        uint8_t *copies = s->keys[0]->secret->copy[0];
        copies[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(kd_soft_serialise(t, &b), KD_FAILED);
        copies[i / 8] ^= (uint8_t)(1u << i % 8);
        uint8_t *master = s->master->copy[0];
        master[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(kd_soft_serialise(t, &b), KD_FAILED);
        assert_int_equal(kd_soft_add_slot(t, &credential, NULL), KD_FAILED);
        master[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_int_equal(b.n, 0);
    assert_int_equal(kd_soft_generation(t), 0);
    assert_int_equal(kd_soft_serialise(t, &b), KD_OK);
    kd_buf_free(&b);
    kd_token_free(t);
}

/* ---- limits ---- */

static long
peak_kib(void)
{
    struct rusage u;

    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_maxrss;
}

/* A store whose slot is turned into a passphrase slot of these costs. */
static kd_err
open_with_cost(struct kd_buf *b, uint32_t passes, uint32_t kib)
{
    uint8_t *slot = b->p + AT_SLOT;

    slot[0] = KD_SLOT_PASSPHRASE;
    slot[IN_SLOT_KDF] = 1;
    kd_put_be32(slot + IN_SLOT_PASSES, passes);
    kd_put_be32(slot + IN_SLOT_KIB, kib);
    return try_open(kd_buf_slice(b), &passphrase);
}

static void
cost_past_its_ceiling_is_refused_before_anything_is_allocated(void **state)
{
    struct kd_buf b;

    (void)state;
    make_store(&b);
    long before = peak_kib();
    int64_t started = kd_clock_ms();
    assert_int_equal(open_with_cost(&b, 3, 1048577), KD_TOO_LARGE);
    assert_int_equal(open_with_cost(&b, 3, UINT32_MAX), KD_TOO_LARGE);
    assert_int_equal(open_with_cost(&b, 11, 262144), KD_TOO_LARGE);
    assert_int_equal(open_with_cost(&b, UINT32_MAX, 262144), KD_TOO_LARGE);
    assert_int_equal(open_with_cost(&b, UINT32_MAX, UINT32_MAX), KD_TOO_LARGE);
    assert_int_equal(open_with_cost(&b, 2, 262144), KD_INVALID); /* the floor */
    assert_int_equal(open_with_cost(&b, 3, 262143), KD_INVALID);
    assert_int_equal(open_with_cost(&b, 0, 0), KD_INVALID);
    assert_true(kd_clock_ms() - started < 200);
    assert_true(peak_kib() - before < 4096);
    kd_buf_free(&b);
}

static void
impossible_headers_are_refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        kd_err err;
    } cases[] = {
        {0, 'k', KD_MALFORMED},
        {AT_VERSION + 1, 3, KD_UNSUPPORTED},
        {AT_VERSION + 1, 0, KD_UNSUPPORTED},
        {AT_GENERATION + 7, 0, KD_INVALID},
        {AT_N_SLOTS, 0, KD_INVALID},
        {AT_N_SLOTS, 9, KD_TOO_LARGE},
        {AT_N_SLOTS, 255, KD_TOO_LARGE},
        {AT_SLOT, 0, KD_INVALID},
        {AT_SLOT, 3, KD_UNSUPPORTED}, /* shares */
        {AT_SLOT, 4, KD_INVALID},
        {AT_SLOT + 17, 0x80, KD_MALFORMED},
        {AT_SLOT + IN_SLOT_KDF, 1, KD_MALFORMED},
        {AT_SLOT + IN_SLOT_KIB, 1, KD_MALFORMED},
        {AT_SLOT + SLOT_SIZE, 0x81, KD_TOO_LARGE}, /* size of the policy area */
        /* after it (2 + 15): number of keys, then the first key */
        {AT_SLOT + SLOT_SIZE + 17, 2, KD_TOO_LARGE},
        {AT_SLOT + SLOT_SIZE + 19, 0, KD_INVALID}, /* role */
        {AT_SLOT + SLOT_SIZE + 19, 6, KD_INVALID},
        {AT_SLOT + SLOT_SIZE + 19, 3, KD_INVALID},     /* an Ed25519 key for ECDH */
        {AT_SLOT + SLOT_SIZE + 20, 0, KD_UNSUPPORTED}, /* algorithm */
        {AT_SLOT + SLOT_SIZE + 20, 2, KD_INVALID},
        {AT_SLOT + SLOT_SIZE + 20, 3, KD_UNSUPPORTED}, /* RSA is not sealed here */
        {AT_SLOT + SLOT_SIZE + 21, 0, KD_INVALID},     /* state */
        {AT_SLOT + SLOT_SIZE + 21, 6, KD_INVALID},
        {AT_SLOT + SLOT_SIZE + 22, 0, KD_INVALID}, /* permissions */
        {AT_SLOT + SLOT_SIZE + 22, 16, KD_INVALID},
        {AT_SLOT + SLOT_SIZE + 23, 0xff, KD_MALFORMED},
        {AT_SLOT + SLOT_SIZE + 32, 'E', KD_INVALID}, /* domain */
    };
    struct kd_buf b;
    static struct kd_store s;

    (void)state;
    make_store(&b);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t old = b.p[cases[i].at];
        b.p[cases[i].at] = cases[i].value;
        kd_err err = kd_store_parse(kd_buf_slice(&b), &s);
        b.p[cases[i].at] = old;
        if (err != cases[i].err)
            fail_msg("case %zu: %s", i, kd_err_text(err));
    }
    kd_buf_free(&b);
}

static void
repeated_keys_and_salts_are_refused(void **state)
{
    struct kd_token *t = make_token();
    struct kd_buf b, forged;
    static struct kd_store s, again;
    static const uint8_t rest[2048];

    (void)state;
    assert_int_equal(kd_soft_add_slot(t, &credential, NULL), KD_OK);
    store_of(t, &b);
    assert_int_equal(kd_store_parse(kd_buf_slice(&b), &s), KD_OK);
    for (int i = 0; i < 3; i++) {
        struct kd_store twice = s;
        if (i == 1)
            twice.keys[1].public_key = s.keys[0].public_key; /* POK and SOK */
        if (i == 2)
            memcpy(twice.slots[1].salt, s.slots[0].salt, sizeof s.slots[0].salt);
        kd_buf_init(&forged, KD_STORE_MAX);
        kd_store_put_header(&twice, &forged);
        kd_buf_put(&forged, kd_slice(rest, s.sealed.n + s.tag.n));
        assert_int_equal(kd_store_parse(kd_buf_slice(&forged), &again),
                         i == 0 ? KD_OK : KD_INVALID);
        kd_buf_free(&forged);
    }
    kd_buf_free(&b);
    kd_token_free(t);
}

static void
largest_store_fits_and_no_key_more(void **state)
{
    struct kd_token *t;
    struct kd_token *again;
    struct kd_key_spec spec = {.role = KD_KEY_ROLE_ENC,
                               .alg = KD_ALG_SECP256K1,
                               .permissions = 0,
                               .domain = DOMAIN};
    struct kd_key_info key;
    struct kd_buf b;
    static uint8_t policy[KD_STORE_POLICY_MAX + 1];

    (void)state;
    assert_int_equal(kd_soft_create(&credential, &t), KD_OK);
    assert_int_equal(kd_soft_set_policy(t, kd_slice(policy, sizeof policy)),
                     KD_TOO_LARGE);
    assert_int_equal(kd_soft_set_policy(t, kd_slice(policy, sizeof policy - 1)), KD_OK);
    for (int i = 0; i < KD_STORE_KEYS_MAX; i++)
        assert_int_equal(kd_token_generate(t, &spec, &key), KD_OK);
    assert_int_equal(kd_token_generate(t, &spec, &key), KD_BUSY);
    store_of(t, &b);
    assert_int_equal(kd_soft_open(kd_buf_slice(&b), &credential, &again), KD_OK);
    assert_int_equal(kd_token_count(again), KD_STORE_KEYS_MAX);
    kd_token_free(again);
    kd_token_free(t);
    kd_buf_free(&b);

    static uint8_t huge[KD_STORE_MAX + 1];
    static struct kd_store s;
    assert_int_equal(kd_store_parse(kd_slice(huge, sizeof huge), &s), KD_TOO_LARGE);
}

static void
secret_memory_used_up_is_an_error(void **state)
{
    struct kd_token *t = make_token();
    struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                               .alg = KD_ALG_ED25519,
                               .permissions = 1,
                               .domain = DOMAIN};
    struct kd_key_info key;
    struct kd_buf b;
    static void *taken[8192];
    size_t n = 0;

    (void)state;
    store_of(t, &b);
    while (n < 8192 && (taken[n] = kd_secret_new(64)) != NULL)
        n++;
    assert_true(n < 8192);
    assert_int_equal(kd_token_generate(t, &spec, &key), KD_NOMEM);
    assert_int_equal(try_open(kd_buf_slice(&b), &credential), KD_NOMEM);
    /* with ever more of it again, some step fails, and then none */
    size_t freed = 0;
    kd_err err;
    while ((err = try_open(kd_buf_slice(&b), &credential)) == KD_NOMEM) {
        assert_true(freed < n);
        kd_secret_free(taken[freed++], 64);
    }
    assert_int_equal(err, KD_OK);
    assert_true(freed > 10);
    while (freed < n)
        kd_secret_free(taken[freed++], 64);
    kd_buf_free(&b);
    kd_token_free(t);
}

static void
a_change_that_is_not_stored_is_undone_whole(void **state)
{
    struct kd_token *t = make_token();
    struct kd_soft_mark mark;
    struct kd_store_slot slots[KD_STORE_SLOTS_MAX];
    struct kd_key_info key;
    struct kd_buf before, changed, after;

    (void)state;
    store_of(t, &before);
    struct kd_store *stored = malloc(sizeof *stored);
    struct kd_store *again = malloc(sizeof *again);
    assert_non_null(stored);
    assert_non_null(again);
    assert_int_equal(kd_store_parse(kd_buf_slice(&before), stored), KD_OK);
    assert_int_equal(kd_soft_mark(t, &mark), KD_OK);
    add_key(t, KD_KEY_ROLE_SOK, KD_PERM_SIGNET, KD_KEY_ACTIVE);
    assert_int_equal(kd_soft_add_slot(t, &other_credential, NULL), KD_OK);
    assert_int_equal(kd_token_at(t, 2, &key), KD_OK);
    assert_int_equal(kd_token_set_state(t, &key.id, KD_KEY_RETAINED), KD_OK);
    store_of(t, &changed);
    assert_int_equal(kd_soft_return(t, &mark), KD_OK);
    assert_int_equal(kd_soft_generation(t), 1);
    assert_int_equal(kd_soft_slots(t, slots), 1);
    assert_int_equal(kd_token_at(t, 2, &key), KD_OK);
    assert_int_equal(key.state, KD_KEY_ACTIVE);

    store_of(t, &after);
    assert_int_equal(kd_store_parse(kd_buf_slice(&after), again), KD_OK);
    assert_int_equal(again->generation, 2);
    assert_int_equal(again->n_keys, stored->n_keys);
    assert_int_equal(again->n_slots, 1);
    /* Only generation differs in what is public. */
    again->generation = stored->generation;
    struct kd_buf header;
    kd_buf_init(&header, KD_STORE_MAX);
    kd_store_put_header(again, &header);
    assert_true(kd_slice_eq(kd_buf_slice(&header), stored->header));
    kd_token_seal(t);
    assert_int_equal(kd_soft_return(t, &mark), KD_SEALED);
    kd_buf_free(&header);
    kd_buf_free(&before);
    kd_buf_free(&changed);
    kd_buf_free(&after);
    free(stored);
    free(again);
    kd_token_free(t);
}

static void
sealed_token_writes_nothing(void **state)
{
    struct kd_token *t = make_token();
    struct kd_buf b;
    struct kd_store_slot slots[KD_STORE_SLOTS_MAX];

    (void)state;
    kd_token_seal(t);
    kd_buf_init(&b, KD_STORE_MAX);
    assert_int_equal(kd_soft_serialise(t, &b), KD_SEALED);
    assert_int_equal(kd_soft_add_slot(t, &credential, NULL), KD_SEALED);
    assert_int_equal(kd_soft_slots(t, slots), 1);
    assert_int_equal(kd_soft_remove_slot(t, slots[0].salt), KD_SEALED);
    assert_int_equal(kd_soft_set_policy(t, kd_slice_str("x")), KD_SEALED);
    assert_int_equal(b.n, 0);
    kd_token_free(t);
}

/* ---- what stays in memory ---- */

/* What is looked for, masked, so that the list itself is not found. */
enum { N_NEEDLES = 9, NEEDLE_SIZE = 32, MASK = 0xa5, BELOW = 49152 };
struct needles {
    uint8_t masked[N_NEEDLES][NEEDLE_SIZE];
    size_t n;
};

static void
look_for(struct needles *needles, const uint8_t *secret)
{
    for (size_t i = 0; i < NEEDLE_SIZE; i++)
        needles->masked[needles->n][i] = secret[i] ^ MASK;
    needles->n++;
}

/* Shadow memory goes to terabytes, and the checkers call reading free memory an error,
 * which here is the point. */
static bool
may_search(void)
{
    return !SANITIZED && !RUNNING_ON_VALGRIND;
}

static bool
matches(const uint8_t *p, const uint8_t *masked)
{
    for (size_t i = 0; i < NEEDLE_SIZE; i++)
        if (p[i] != (masked[i] ^ MASK))
            return false;
    return true;
}

static size_t
hits_in(const uint8_t *p, size_t size, const struct needles *needles)
{
    size_t hits = 0;

    for (size_t i = 0; size >= NEEDLE_SIZE && i <= size - NEEDLE_SIZE; i++)
        for (size_t k = 0; k < needles->n; k++)
            if (p[i] == (needles->masked[k][0] ^ MASK) &&
                matches(p + i, needles->masked[k]) && !kd_secret_holds(p + i, 1))
                hits++;
    return hits;
}

/* What calls have left on the stack below the caller; to be asked at once, before
 * anything else is written there. */
static size_t
hits_on_the_stack(const struct needles *needles)
{
    const uint8_t *here = __builtin_frame_address(0);

    return hits_in(here - BELOW, BELOW, needles);
}

/* The same for a search that is made later. */
static void
keep_the_stack(uint8_t *out)
{
    const uint8_t *here = __builtin_frame_address(0);

    memcpy(out, here - BELOW, BELOW);
}

/* Over every readable and writable mapping of this process. */
static size_t
hits_outside_secret_memory(const struct needles *needles)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    size_t hits = 0;
    size_t scanned = 0;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        char *end; /* "from-to rw-p ..." */
        uintptr_t from = strtoul(line, &end, 16);
        uintptr_t to = strtoul(end + 1, &end, 16);
        if (strncmp(end, " rw", 3) != 0 || strstr(line, "[v") != NULL)
            continue;
        /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
        hits += hits_in((const uint8_t *)from, to - from, needles);
        scanned += to - from;
    }
    assert_int_equal(fclose(f), 0);
    assert_true(scanned > 65536);
    return hits;
}

/* The keys made from the master key and from the credential, by the description. */
static void
look_for_derived(struct needles *needles, const struct kd_soft *s)
{
    uint8_t *work = kd_secret_new(128);

    assert_non_null(work);
    subkey(s->master->copy[0], "keyd seal v1", s->instance, work);
    look_for(needles, work);
    subkey(s->master->copy[0], "keyd store v1", s->instance, work);
    look_for(needles, work);
    memcpy(work, s->instance, 16);
    memcpy(work + 16, s->slots[0].salt, 16);
    crypto_generichash(work + 64, 64, credential.octets.p, credential.octets.n,
                       (const uint8_t *)"keyd credential v1", 18);
    crypto_generichash(work + 32, 32, work, 32, work + 64, 64);
    look_for(needles, work + 32);
    kd_secret_free(work, 128);
    sodium_stackzero(32768);
}

static void
nothing_secret_stays_outside_secret_memory(void **state)
{
    struct kd_token *t = make_token();
    struct kd_token *again;
    struct kd_buf b;
    struct kd_key_info sok, enc;
    struct kd_token_sig sig;
    struct needles needles = {.n = 0};
    uint8_t *z = kd_secret_new(32);
    static const uint8_t message[80] = {2, 0, 0, 33, [37] = 4};

    (void)state;
    if (!may_search()) {
        kd_secret_free(z, 32);
        kd_token_free(t);
        skip();
    }
    store_of(t, &b);
    struct kd_soft *s = kd_soft_of(t);
    look_for(&needles, s->keys[0]->secret->copy[0]);
    look_for(&needles, s->keys[0]->secret->ed.use.a);
    look_for(&needles, s->keys[0]->secret->ed.use.prefix);
    look_for(&needles, s->keys[2]->secret->copy[0]); /* a secp256k1 scalar */
    look_for(&needles, s->master->copy[0]);
    look_for_derived(&needles, s);
    assert_int_equal(kd_token_at(t, 0, &sok), KD_OK);
    assert_int_equal(kd_token_at(t, 2, &enc), KD_OK);

    kd_err opened = kd_soft_open(kd_buf_slice(&b), &credential, &again);
    assert_int_equal(hits_on_the_stack(&needles), 0);
    assert_int_equal(opened, KD_OK);
    assert_int_equal(kd_token_set_state(again, &sok.id, KD_KEY_ACTIVE), KD_OK);
    kd_err signed_ = kd_token_sign(again, &sok.id, KD_SIGN_MESSAGE,
                                   kd_slice(message, sizeof message), &sig);
    assert_int_equal(hits_on_the_stack(&needles), 0);
    assert_int_equal(signed_, KD_OK);
    kd_err agreed =
        kd_token_ecdh(again, &enc.id, kd_slice(enc.public_key, enc.public_size), z);
    look_for(&needles, z);
    assert_int_equal(hits_on_the_stack(&needles), 0);
    assert_int_equal(agreed, KD_OK);
    kd_buf_reset(&b);
    kd_err written = kd_soft_serialise(again, &b);
    assert_int_equal(hits_on_the_stack(&needles), 0);
    assert_int_equal(written, KD_OK);
    assert_int_equal(hits_outside_secret_memory(&needles), 0);

    /* the search finds what is there */
    uint8_t *planted = malloc(100);
    assert_non_null(planted);
    memcpy(planted + 13, s->keys[0]->secret->copy[0], 32);
    assert_int_equal(hits_outside_secret_memory(&needles), 1);
    sodium_memzero(planted, 100);
    free(planted);
    kd_secret_free(z, 32);
    kd_buf_free(&b);
    kd_token_free(t);
    kd_token_free(again);
}

static void
key_from_a_passphrase_does_not_stay(void **state)
{
    struct kd_token *t = NULL;
    struct kd_token *again = NULL;
    struct kd_store_slot slots[KD_STORE_SLOTS_MAX];
    struct kd_buf b;
    struct needles needles = {.n = 0};
    static uint8_t left[BELOW];

    (void)state;
    if (!may_search())
        skip();
    kd_err created = kd_soft_create(&passphrase, &t);
    keep_the_stack(left);
    assert_int_equal(created, KD_OK);
    assert_int_equal(kd_soft_slots(t, slots), 1);
    store_of(t, &b);
    uint8_t *key = kd_secret_new(32);
    assert_int_equal(crypto_pwhash_argon2id(key, 32, "correct horse battery", 21,
                                            slots[0].salt, 3, (size_t)256 << 20,
                                            crypto_pwhash_argon2id_ALG_ARGON2ID13),
                     0);
    look_for(&needles, key);
    kd_secret_free(key, 32);
    /* it does stay after libsodium alone, or the search is blind */
    assert_true(hits_on_the_stack(&needles) > 0);
    assert_int_equal(hits_in(left, sizeof left, &needles), 0);
    sodium_stackzero(32768);
    kd_err opened = kd_soft_open(kd_buf_slice(&b), &passphrase, &again);
    assert_int_equal(hits_on_the_stack(&needles), 0);
    assert_int_equal(opened, KD_OK);
    assert_int_equal(hits_outside_secret_memory(&needles), 0);
    kd_buf_free(&b);
    kd_token_free(t);
    kd_token_free(again);
}

/* The region is the test's own; sealing leaves it as if no token had been. */
static void
sealing_wipes_every_secret(void **state)
{
    struct kd_token *t = make_token();
    struct kd_soft *s = kd_soft_of(t);
    const uint8_t *blocks[7] = {(const uint8_t *)s->master};
    size_t n = 1;

    (void)state;
    for (size_t i = 0; i < s->n_keys; i++)
        if (s->keys[i]->secret != NULL)
            blocks[n++] = s->keys[i]->secret->copy[0];
    assert_int_equal(n, 6);
    assert_false(sodium_is_zero(blocks[1], 64));
    kd_token_seal(t);
    for (size_t i = 0; i < n; i++)
        assert_true(sodium_is_zero(blocks[i], 64));
    kd_token_free(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_comes_back_from_its_octets),
        cmocka_unit_test(generation_grows_and_nonces_are_fresh),
        cmocka_unit_test(parsing_shows_the_public_part_without_a_secret),
        cmocka_unit_test(layout_is_as_documented),
        cmocka_unit_test(wrong_secret_is_denied),
        cmocka_unit_test(secrets_out_of_bounds_are_invalid),
        cmocka_unit_test(cost_past_its_ceiling_is_refused_before_anything_is_allocated),
        cmocka_unit_test(passphrase_opens_and_a_wrong_one_does_not),
        cmocka_unit_test(slots_come_and_go_but_never_the_last),
        cmocka_unit_test(every_flipped_octet_is_detected),
        cmocka_unit_test(every_flipped_octet_is_detected_without_keys),
        cmocka_unit_test(every_truncation_is_malformed),
        cmocka_unit_test(secret_opens_only_in_its_own_header),
        cmocka_unit_test(sealed_secrets_do_not_change_places),
        cmocka_unit_test(secrets_of_another_generation_do_not_open),
        cmocka_unit_test(slot_of_another_store_does_not_open),
        cmocka_unit_test(public_key_that_is_not_the_secrets_is_refused),
        cmocka_unit_test(rotten_memory_is_never_written),
        cmocka_unit_test(impossible_headers_are_refused),
        cmocka_unit_test(repeated_keys_and_salts_are_refused),
        cmocka_unit_test(largest_store_fits_and_no_key_more),
        cmocka_unit_test(secret_memory_used_up_is_an_error),
        cmocka_unit_test(a_change_that_is_not_stored_is_undone_whole),
        cmocka_unit_test(sealed_token_writes_nothing),
        cmocka_unit_test(nothing_secret_stays_outside_secret_memory),
        cmocka_unit_test(key_from_a_passphrase_does_not_stay),
        cmocka_unit_test(sealing_wipes_every_secret),
    };

    if (kd_secret_setup((size_t)256 * 1024) != KD_OK) {
        fprintf(stderr, "no locked memory\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
