/* Keys that tokens hold, and keys sealed under tokens, as the key store composes them:
 * devices that answer wrongly, are away, or take long; nothing wrong leaves, nothing is
 * lost, and what was retired or sealed meanwhile is not given. */
#include "../support/fake_device.h"
#include "../support/test.h"

#include <dime/ed25519.h>
#include <dime/secp.h>
#include <keyd/base/secret.h>
#include <keyd/token/soft_store.h>

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t credential[48] = {7};
static const struct kd_slot_secret slot = {.type = KD_SLOT_CREDENTIAL,
                                           .octets = {credential, sizeof credential}};
static struct fake_device alpha, beta;
static struct kd_token *t;
static uint8_t *z, *z2, *secret;

/* What a message begins with. */
static uint8_t text[200];

/* --- set up --- */

static void
attach(struct kd_token *to)
{
    assert_int_equal(kd_soft_attach(to, "alpha", &alpha.device), KD_OK);
    assert_int_equal(kd_soft_attach(to, "beta", &beta.device), KD_OK);
}

static int
begin(void **state)
{
    (void)state;
    fake_device_init(&alpha, "alpha");
    fake_device_init(&beta, "beta");
    assert_int_equal(kd_soft_create(&slot, &t), KD_OK);
    attach(t);
    assert_int_equal(kd_soft_adopt(t, "alpha", "A1", "fake"), KD_OK);
    assert_int_equal(kd_soft_adopt(t, "beta", "B1", "fake"), KD_OK);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    kd_token_free(t);
    t = NULL;
    return 0;
}

static struct kd_key_spec
spec_of(enum kd_key_role role, const char *one, const char *two)
{
    struct kd_key_spec s = {
        .role = role,
        .alg = role == KD_KEY_ROLE_ENC ? KD_ALG_SECP256K1 : KD_ALG_ED25519,
        .permissions = role == KD_KEY_ROLE_SOK ? KD_PERM_MESSAGE : 0,
        .domain = kd_slice_str("example.com")};

    if (one != NULL)
        s.tokens[0] = kd_slice_str(one);
    if (two != NULL)
        s.tokens[1] = kd_slice_str(two);
    return s;
}

/* Made, taken, stored for good, active. */
static struct kd_key_info
make(const struct kd_key_spec *spec, struct kd_slice from)
{
    struct kd_made *made = NULL;
    struct kd_key_info info;

    assert_int_equal(kd_token_make(t, spec, from, &made), KD_OK);
    assert_int_equal(kd_token_take(t, made, &info), KD_OK);
    kd_token_drop(made);
    assert_int_equal(kd_token_set_state(t, &info.id, KD_KEY_ACTIVE), KD_OK);
    return info;
}

static struct kd_slice
fresh_secret(void)
{
    dime_secp_random(secret);
    return kd_slice(secret, 32);
}

static kd_err
sign(const struct kd_key_info *key)
{
    struct kd_token_sig sig;
    kd_err err =
        kd_token_sign(t, &key->id, KD_SIGN_MESSAGE, kd_slice(text, sizeof text), &sig);

    if (err == KD_OK)
        assert_int_equal(dime_ed25519_verify(key->public_key,
                                             kd_slice(text, sizeof text), sig.octets),
                         KD_OK);
    return err;
}

static kd_err
agree(const struct kd_key_info *key)
{
    uint8_t point[33];

    dime_secp_random(secret);
    assert_int_equal(dime_secp_public(secret, point), KD_OK);
    kd_err err = kd_token_ecdh(t, &key->id, kd_slice(point, 33), z);
    if (err == KD_OK) {
        assert_int_equal(dime_secp_ecdh(secret, key->public_key, z2), KD_OK);
        assert_memory_equal(z, z2, KD_ECDH_SIZE);
    }
    return err;
}

/* Written, and opened again with the same devices. */
static void
store_and_open(void)
{
    struct kd_buf b;

    kd_buf_init(&b, KD_STORE_MAX);
    assert_int_equal(kd_soft_serialise(t, &b), KD_OK);
    kd_token_free(t);
    assert_int_equal(kd_soft_open(kd_buf_slice(&b), &slot, &t), KD_OK);
    kd_buf_free(&b);
    attach(t);
}

/* --- using --- */

static void
a_held_key_signs_and_agrees(void **state)
{
    (void)state;
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    struct kd_key_spec e = spec_of(KD_KEY_ROLE_ENC, "beta", NULL);
    struct kd_key_info sok = make(&s, kd_slice(NULL, 0));
    struct kd_key_info enc = make(&e, kd_slice(NULL, 0));
    struct kd_held held;

    assert_int_equal(sign(&sok), KD_OK);
    assert_int_equal(agree(&enc), KD_OK);
    assert_int_equal(alpha.n_sign, 1);
    assert_int_equal(beta.n_ecdh, 1);
    assert_int_equal(kd_token_held(t, &sok.id, &held), KD_OK);
    assert_int_equal(held.holding, KD_HELD);
    assert_int_equal(held.flags, KD_HELD_MADE_INSIDE | KD_HELD_NEVER_EXTRACTABLE);
    assert_int_equal(kd_token_waits(t, &sok.id, 1), 1);
    assert_int_equal(kd_token_waits(t, &enc.id, 1), 2);
    assert_int_equal(kd_token_probe(t, &sok.id), KD_OK);
    /* The same rules as for keys of the store's own. */
    assert_int_equal(agree(&sok), KD_DENIED);
    assert_int_equal(kd_token_set_state(t, &sok.id, KD_KEY_RETAINED), KD_OK);
    assert_int_equal(sign(&sok), KD_DENIED);
    assert_int_equal(alpha.n_sign, 1);
}

/* Canonical compressed points alone get as far as a token; the rest says nothing about
 * it. */
static void
bad_points_never_reach_a_token(void **state)
{
    static const char *const points[] = {
        /* infinity, uncompressed, hybrids, no tag, others */
        "000000000000000000000000000000000000000000000000000000000000000000",
        "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "0679be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "0779be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "0179be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "ff79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        /* x 0 and 5: on the twist; x = p, p + 1, 2^256 - 1 */
        "020000000000000000000000000000000000000000000000000000000000000000",
        "030000000000000000000000000000000000000000000000000000000000000005",
        "02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
        "03fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30",
        "02ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "03ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    struct kd_key_spec e = spec_of(KD_KEY_ROLE_ENC, "alpha", NULL);
    struct kd_key_info enc = make(&e, kd_slice(NULL, 0));
    uint8_t point[70];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        assert_int_equal(sodium_hex2bin(point, sizeof point, points[i],
                                        strlen(points[i]), NULL, &n, NULL),
                         0);
        if (kd_token_ecdh(t, &enc.id, kd_slice(point, n), z) != KD_INVALID)
            fail_msg("%s", points[i]);
    }
    for (n = 0; n < sizeof point; n++)
        if (n != 33)
            assert_int_equal(kd_token_ecdh(t, &enc.id, kd_slice(point, n), z),
                             KD_INVALID);
    assert_int_equal(alpha.n_ecdh, 0);
    assert_int_equal(alpha.n_bad, 0);
    assert_int_equal(kd_token_faults(t), 0);
}

static void
a_wrong_signature_never_leaves_and_the_clone_is_asked(void **state)
{
    struct kd_key_spec one = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    struct kd_key_spec both = spec_of(KD_KEY_ROLE_SOK, "alpha", "beta");
    struct kd_key_info alone = make(&one, kd_slice(NULL, 0));
    struct kd_key_info cloned = make(&both, fresh_secret());

    (void)state;
    alpha.signs_wrong = true;
    assert_int_equal(sign(&alone), KD_UNAVAILABLE);
    assert_int_equal(alpha.n_bad, 1);
    assert_int_equal(kd_token_faults(t), 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(sign(&cloned), KD_OK); /* whoever was asked first */
    beta.signs_wrong = true;
    assert_int_equal(sign(&cloned), KD_UNAVAILABLE);
}

static void
while_one_is_away_the_clone_serves(void **state)
{
    struct kd_key_spec both = spec_of(KD_KEY_ROLE_ENC, "alpha", "beta");
    struct kd_key_info enc = make(&both, fresh_secret());

    (void)state;
    alpha.away = true;
    for (int i = 0; i < 10; i++)
        assert_int_equal(agree(&enc), KD_OK);
    assert_int_equal(alpha.n_ecdh, 0); /* known to be away: not asked */
    assert_int_equal(kd_token_usable(t, &enc.id), KD_OK);
    beta.away = true;
    assert_int_equal(kd_token_usable(t, &enc.id), KD_UNAVAILABLE);
    assert_int_equal(agree(&enc), KD_UNAVAILABLE);
    alpha.away = false;
    assert_int_equal(agree(&enc), KD_OK);
}

/* What was derived wrongly is not seen, but can be doubted. */
static void
a_doubt_is_settled_by_a_trial(void **state)
{
    struct kd_key_spec e = spec_of(KD_KEY_ROLE_ENC, "alpha", NULL);
    struct kd_key_info enc = make(&e, kd_slice(NULL, 0));
    uint8_t point[33];

    (void)state;
    assert_int_equal(agree(&enc), KD_OK);
    assert_int_equal(kd_token_confirm(t, &enc.id), KD_OK);
    alpha.agrees_wrong = true;
    dime_secp_random(secret);
    assert_int_equal(dime_secp_public(secret, point), KD_OK);
    assert_int_equal(kd_token_ecdh(t, &enc.id, kd_slice(point, 33), z), KD_OK);
    assert_int_equal(kd_token_confirm(t, &enc.id), KD_UNAVAILABLE);
}

static void
no_more_than_a_token_takes_is_given_to_it(void **state)
{
    static uint8_t large[2001];
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    struct kd_key_info sok = make(&s, kd_slice(NULL, 0));
    struct kd_token_sig sig;

    (void)state;
    memcpy(large, text, sizeof text);
    alpha.limit = 2000;
    assert_int_equal(kd_token_key_limit(t, &sok.id), 2000);
    assert_int_equal(
        kd_token_sign(t, &sok.id, KD_SIGN_MESSAGE, kd_slice(large, 2000), &sig), KD_OK);
    assert_int_equal(
        kd_token_sign(t, &sok.id, KD_SIGN_MESSAGE, kd_slice(large, 2001), &sig),
        KD_TOO_LARGE);
    assert_int_equal(alpha.n_sign, 1);
}

/* --- making --- */

static void
what_is_not_stored_is_removed_again(void **state)
{
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    struct kd_soft_mark mark;
    struct kd_made *made = NULL;
    struct kd_key_info info;

    (void)state;
    assert_int_equal(kd_token_make(t, &s, kd_slice(NULL, 0), &made), KD_OK);
    assert_int_equal(kd_token_count(t), 0);
    kd_token_drop(made); /* never taken */
    assert_int_equal(alpha.n_keys, 0);
    assert_int_equal(alpha.n_unmake, 1);
    assert_int_equal(kd_soft_mark(t, &mark), KD_OK);
    assert_int_equal(kd_token_make(t, &s, kd_slice(NULL, 0), &made), KD_OK);
    assert_int_equal(kd_token_take(t, made, &info), KD_OK);
    assert_int_equal(alpha.n_held, 1);
    assert_int_equal(kd_soft_return(t, &mark), KD_OK); /* taken, and not stored */
    assert_int_equal(kd_token_count(t), 0);
    assert_int_equal(alpha.n_held, 0);
    kd_token_drop(made);
    assert_int_equal(alpha.n_keys, 0);
    assert_int_equal(kd_token_make(t, &s, kd_slice(NULL, 0), &made), KD_OK);
    assert_int_equal(kd_token_take(t, made, &info), KD_OK);
    kd_token_drop(made); /* stored: it stays */
    assert_int_equal(alpha.n_keys, 1);
    assert_int_equal(kd_token_count(t), 1);
}

static void
a_pair_that_only_one_token_took_is_removed_from_it(void **state)
{
    struct kd_key_spec both = spec_of(KD_KEY_ROLE_SOK, "alpha", "beta");
    struct kd_made *made = NULL;

    (void)state;
    beta.makes_nothing = true;
    assert_int_equal(kd_token_make(t, &both, fresh_secret(), &made), KD_FAILED);
    assert_int_equal(alpha.n_keys, 0);
    assert_int_equal(alpha.n_unmake, 1);
}

static void
what_cannot_be_made_is_refused_before_a_token_is_asked(void **state)
{
    struct kd_key_spec both = spec_of(KD_KEY_ROLE_SOK, "alpha", "beta");
    struct kd_key_spec twice = spec_of(KD_KEY_ROLE_SOK, "alpha", "alpha");
    struct kd_key_spec unknown = spec_of(KD_KEY_ROLE_SOK, "gamma", NULL);
    struct kd_key_spec enc = spec_of(KD_KEY_ROLE_ENC, "alpha", NULL);
    struct kd_key_spec sok = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    struct kd_key_spec rsa = spec_of(KD_KEY_ROLE_DKIM, NULL, NULL);
    struct kd_key_spec seal = {.role = KD_KEY_ROLE_SEAL,
                               .alg = KD_ALG_SECP256K1,
                               .tokens = {kd_slice_str("alpha")}};
    struct kd_made *made = NULL;
    struct kd_slice none = kd_slice(NULL, 0);

    (void)state;
    rsa.alg = KD_ALG_RSA;
    enc.is_sealed = true;
    assert_int_equal(kd_token_make(t, &both, none, &made), KD_UNSUPPORTED);
    assert_int_equal(kd_token_make(t, &twice, fresh_secret(), &made), KD_INVALID);
    assert_int_equal(kd_token_make(t, &unknown, none, &made), KD_NOT_FOUND);
    assert_int_equal(kd_token_make(t, &enc, none, &made), KD_INVALID);
    assert_int_equal(kd_token_make(t, &rsa, none, &made), KD_UNSUPPORTED);
    assert_int_equal(kd_token_make(t, &seal, none, &made), KD_UNSUPPORTED);
    assert_int_equal(alpha.n_make, 0);
    /* A key that is listed, in whatever state, is never taken in again. */
    struct kd_slice from = fresh_secret();
    struct kd_key_info info = make(&sok, from);
    assert_int_equal(alpha.n_make, 1);
    assert_int_equal(kd_token_make(t, &sok, from, &made), KD_CONFLICT);
    assert_int_equal(kd_token_set_state(t, &info.id, KD_KEY_REVOKED), KD_OK);
    assert_int_equal(kd_token_make(t, &sok, from, &made), KD_CONFLICT);
    assert_int_equal(alpha.n_make, 1);
}

static void
devices_are_told_whatever_changes(void **state)
{
    static const uint8_t good[16] = {1}, tried[16] = {2};
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    struct kd_key_info sok = make(&s, kd_slice(NULL, 0));

    (void)state;
    assert_int_equal(alpha.n_held, 1);
    assert_int_equal(beta.n_held, 0);
    assert_string_equal(alpha.serial, "A1");
    assert_false(alpha.is_sealed);
    assert_memory_not_equal(alpha.latch, beta.latch, sizeof alpha.latch);
    assert_int_equal(kd_soft_set_tags(t, "alpha", good, tried), KD_OK);
    assert_memory_equal(alpha.good, good, 16);
    assert_memory_equal(alpha.tried, tried, 16);
    assert_int_equal(alpha.n_probes, 1);
    assert_int_equal(kd_token_set_state(t, &sok.id, KD_KEY_REVOKED), KD_OK);
    assert_int_equal(alpha.n_held, 1);
    assert_int_equal(alpha.n_probes, 0); /* it does nothing any more */
    assert_int_equal(kd_token_set_state(t, &sok.id, KD_KEY_DESTROYED), KD_OK);
    assert_int_equal(alpha.n_held, 0);
    kd_token_seal(t);
    assert_true(alpha.is_sealed);
    assert_true(sodium_is_zero(alpha.good, 16) && alpha.serial[0] == '\0');
}

static void
a_token_with_keys_is_not_changed_for_another(void **state)
{
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    static const uint8_t good[16] = {1}, none[16];
    struct kd_store_token table[KD_TOKENS_MAX];

    (void)state;
    assert_int_equal(kd_soft_set_tags(t, "beta", good, none), KD_OK);
    assert_int_equal(kd_soft_adopt(t, "beta", "B2", "fake"), KD_OK);
    assert_int_equal(kd_soft_tokens(t, table), 2);
    assert_string_equal(table[1].serial, "B2");
    assert_true(sodium_is_zero(table[1].good, 16)); /* nothing is known of its PIN */
    make(&s, kd_slice(NULL, 0));
    assert_int_equal(kd_soft_adopt(t, "alpha", "A2", "fake"), KD_CONFLICT);
    assert_int_equal(kd_soft_adopt(t, "alpha", "A1", "fake"), KD_OK);
    assert_int_equal(kd_soft_adopt(t, "gamma", "", "fake"), KD_INVALID);
    assert_int_equal(kd_soft_adopt(t, "Gamma", "G", "fake"), KD_INVALID);
    assert_int_equal(kd_soft_adopt(t, "gamma", "G", ""), KD_OK);
    assert_int_equal(kd_soft_adopt(t, "delta", "D", ""), KD_OK);
    assert_int_equal(kd_soft_adopt(t, "epsilon", "E", ""), KD_BUSY);
}

static void
one_token_is_not_adopted_under_two_names(void **state)
{
    struct kd_store_token table[KD_TOKENS_MAX];

    (void)state;
    assert_int_equal(kd_soft_adopt(t, "gamma", "A1", "fake"), KD_CONFLICT);
    assert_int_equal(kd_soft_adopt(t, "beta", "A1", "fake"), KD_CONFLICT);
    assert_int_equal(kd_soft_tokens(t, table), 2);
    assert_string_equal(table[1].serial, "B1");
    assert_int_equal(kd_soft_adopt(t, "gamma", "A1", "other"), KD_OK);
    /* a name that nothing stands for and that has no keys keeps nobody out */
    assert_int_equal(kd_soft_adopt(t, "delta", "A1", "other"), KD_OK);
}

static void
a_second_place_is_added_to_a_key_that_was_cloned(void **state)
{
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    struct kd_slice from = fresh_secret();
    struct kd_key_info sok = make(&s, from);
    struct kd_place place = {.id_size = 0};
    struct kd_held held;
    uint8_t flags, key[33];
    size_t n;

    (void)state;
    struct kd_device *d = &beta.device;
    assert_int_equal(d->ops->make(d, &s, from, &place, &flags, key, &n), KD_OK);
    assert_int_equal(kd_soft_add_place(t, &sok.id, "alpha", &place, 0), KD_CONFLICT);
    assert_int_equal(kd_soft_add_place(t, &sok.id, "beta", &place, KD_HELD_ADOPTED),
                     KD_OK);
    assert_int_equal(kd_soft_add_place(t, &sok.id, "beta", &place, 0), KD_CONFLICT);
    assert_int_equal(kd_token_held(t, &sok.id, &held), KD_OK);
    assert_int_equal(held.n_places, 2);
    assert_int_equal(held.flags, KD_HELD_IMPORTED | KD_HELD_ADOPTED);
    alpha.away = true;
    assert_int_equal(sign(&sok), KD_OK);
}

/* --- stored --- */

static void
a_store_has_them_again_when_it_is_opened(void **state)
{
    static const uint8_t good[16] = {1}, tried[16] = {2};
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", "beta");
    struct kd_key_spec e = spec_of(KD_KEY_ROLE_ENC, "beta", NULL);
    struct kd_key_spec own = spec_of(KD_KEY_ROLE_POK, NULL, NULL);
    struct kd_key_info sok = make(&s, fresh_secret()),
                       enc = make(&e, kd_slice(NULL, 0));
    struct kd_key_info pok = make(&own, kd_slice(NULL, 0));
    struct kd_store_token table[KD_TOKENS_MAX];
    struct kd_held held;

    (void)state;
    assert_int_equal(kd_soft_set_tags(t, "beta", good, tried), KD_OK);
    store_and_open();
    assert_int_equal(kd_soft_tokens(t, table), 2);
    assert_string_equal(table[0].name, "alpha");
    assert_memory_equal(table[1].good, good, 16);
    assert_int_equal(sign(&sok), KD_OK);
    assert_int_equal(agree(&enc), KD_OK);
    assert_int_equal(kd_token_held(t, &sok.id, &held), KD_OK);
    assert_int_equal(held.n_places, 2);
    assert_int_equal(held.flags, KD_HELD_IMPORTED);
    assert_int_equal(kd_token_held(t, &pok.id, &held), KD_OK);
    assert_int_equal(held.holding, KD_OWN);
}

static void
version_1_is_written_until_a_token_is_adopted(void **state)
{
    struct kd_token *plain;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_STORE_MAX);
    assert_int_equal(kd_soft_create(&slot, &plain), KD_OK);
    assert_int_equal(kd_soft_serialise(plain, &b), KD_OK);
    assert_int_equal(b.p[9], 1);
    kd_buf_reset(&b);
    assert_int_equal(kd_soft_adopt(plain, "alpha", "A1", ""), KD_OK);
    assert_int_equal(kd_soft_serialise(plain, &b), KD_OK);
    assert_int_equal(b.p[9], 2);
    kd_buf_free(&b);
    kd_token_free(plain);
}

static void
every_flipped_bit_of_a_store_is_found(void **state)
{
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", "beta");
    struct kd_key_spec sealed = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    struct kd_token *other;
    struct kd_buf b;

    (void)state;
    sealed.is_sealed = true;
    make(&s, fresh_secret());
    make(&sealed, kd_slice(NULL, 0));
    kd_buf_init(&b, KD_STORE_MAX);
    assert_int_equal(kd_soft_serialise(t, &b), KD_OK);
    for (size_t i = 0; i < b.n; i++) {
        b.p[i] ^= (uint8_t)(1 << i % 8);
        if (kd_soft_open(kd_buf_slice(&b), &slot, &other) == KD_OK)
            fail_msg("octet %zu", i);
        b.p[i] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = 0; n < b.n; n += 7)
        assert_int_not_equal(kd_soft_open(kd_slice(b.p, n), &slot, &other), KD_OK);
    kd_buf_free(&b);
}

static void
what_came_of_a_store_is_inherited_without_its_pins(void **state)
{
    static const uint8_t good[16] = {1}, none[16];
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    struct kd_key_info sok = make(&s, kd_slice(NULL, 0)), info;
    struct kd_store_token table[KD_TOKENS_MAX];
    struct kd_token *next;
    struct kd_buf b;

    (void)state;
    assert_int_equal(kd_soft_set_tags(t, "alpha", good, none), KD_OK);
    kd_buf_init(&b, KD_STORE_MAX);
    assert_int_equal(kd_soft_serialise(t, &b), KD_OK);
    assert_int_equal(kd_soft_create(&slot, &next), KD_OK);
    assert_int_equal(kd_soft_inherit(next, kd_buf_slice(&b)), KD_OK);
    assert_int_equal(kd_soft_tokens(next, table), 2);
    assert_true(sodium_is_zero(table[0].good, 16));
    assert_int_equal(kd_token_get(next, &sok.id, &info), KD_OK);
    assert_int_equal(info.state, KD_KEY_DESTROYED);
    kd_token_free(next);
    kd_buf_free(&b);
}

/* --- sealed under tokens --- */

static struct kd_key_info
make_sealed(const char *one, const char *two)
{
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, one, two);

    s.is_sealed = true;
    return make(&s, kd_slice(NULL, 0));
}

static void
a_sealed_key_opens_with_its_token_and_then_needs_it_no_more(void **state)
{
    struct kd_key_info sok = make_sealed("alpha", NULL);
    struct kd_key_info again = make_sealed("alpha", NULL);

    (void)state;
    assert_int_equal(alpha.n_make, 1); /* one key seals for all */
    assert_int_equal(sign(&sok), KD_OK);
    assert_int_equal(alpha.n_sign, 0);
    alpha.away = true;
    store_and_open();
    assert_int_equal(kd_token_usable(t, &sok.id), KD_UNAVAILABLE);
    assert_int_equal(sign(&sok), KD_UNAVAILABLE);
    assert_int_equal(kd_soft_open_sealed(t), KD_UNAVAILABLE);
    alpha.away = false;
    assert_int_equal(kd_soft_open_sealed(t), KD_OK);
    assert_int_equal(kd_token_usable(t, &sok.id), KD_OK);
    alpha.away = true;
    assert_int_equal(sign(&sok), KD_OK);
    assert_int_equal(sign(&again), KD_OK);
    assert_int_equal(kd_token_waits(t, &sok.id, 1), 0);
    assert_true(kd_token_key_limit(t, &sok.id) >= 64u << 20);
    store_and_open(); /* what was open is written as it lies under the token */
    assert_int_equal(sign(&sok), KD_UNAVAILABLE);
}

static void
either_of_two_tokens_opens_what_is_sealed_under_both(void **state)
{
    struct kd_key_info sok = make_sealed("alpha", "beta");

    (void)state;
    alpha.away = true;
    store_and_open();
    assert_int_equal(kd_soft_open_sealed(t), KD_OK);
    assert_int_equal(sign(&sok), KD_OK);
}

static void
what_a_token_derives_wrongly_opens_nothing(void **state)
{
    struct kd_key_info sok = make_sealed("alpha", NULL);

    (void)state;
    store_and_open();
    alpha.agrees_wrong = true;
    assert_int_equal(kd_soft_open_sealed(t), KD_FAILED);
    assert_int_equal(sign(&sok), KD_UNAVAILABLE);
    alpha.agrees_wrong = false;
    assert_int_equal(kd_soft_open_sealed(t), KD_OK);
    assert_int_equal(sign(&sok), KD_OK);
}

/* The key that seals is for nothing else. */
static void
nobody_agrees_with_a_key_that_seals(void **state)
{
    struct kd_key_info info;
    uint8_t point[33];

    (void)state;
    make_sealed("alpha", NULL);
    dime_secp_random(secret);
    assert_int_equal(dime_secp_public(secret, point), KD_OK);
    for (size_t i = 0; kd_token_at(t, i, &info) == KD_OK; i++) {
        if (info.role != KD_KEY_ROLE_SEAL)
            continue;
        assert_int_equal(info.state, KD_KEY_ACTIVE);
        assert_int_equal(kd_token_ecdh(t, &info.id, kd_slice(point, 33), z), KD_DENIED);
        assert_int_equal(kd_token_probe(t, &info.id), KD_OK);
        return;
    }
    fail_msg("there is none");
}

/* --- meanwhile --- */

static struct {
    struct kd_key_info key;
    kd_err err;
} waiting;

static void *
sign_slowly(void *arg)
{
    (void)arg;
    waiting.err = sign(&waiting.key);
    return NULL;
}

/* While a token works on it the key is retired, or the store sealed: nothing waits for
 * the token, and what it gives then is dropped. */
static void
what_was_decided_meanwhile_counts(void **state)
{
    struct kd_key_spec s = spec_of(KD_KEY_ROLE_SOK, "alpha", NULL);
    sem_t entered, may_leave;
    pthread_t thread;

    (void)state;
    assert_int_equal(sem_init(&entered, 0, 0), 0);
    assert_int_equal(sem_init(&may_leave, 0, 0), 0);
    for (int i = 0; i < 2; i++) {
        alpha.entered = alpha.may_leave = NULL;
        waiting.key = make(&s, kd_slice(NULL, 0));
        alpha.entered = &entered;
        alpha.may_leave = &may_leave;
        assert_int_equal(pthread_create(&thread, NULL, sign_slowly, NULL), 0);
        sem_wait(&entered);
        if (i == 0)
            assert_int_equal(kd_token_set_state(t, &waiting.key.id, KD_KEY_RETAINED),
                             KD_OK);
        else
            kd_token_seal(t);
        sem_post(&may_leave);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(waiting.err, i == 0 ? KD_DENIED : KD_SEALED);
    }
    alpha.entered = alpha.may_leave = NULL;
}

int
main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        IN_STORE(a_held_key_signs_and_agrees),
        IN_STORE(bad_points_never_reach_a_token),
        IN_STORE(a_wrong_signature_never_leaves_and_the_clone_is_asked),
        IN_STORE(while_one_is_away_the_clone_serves),
        IN_STORE(a_doubt_is_settled_by_a_trial),
        IN_STORE(no_more_than_a_token_takes_is_given_to_it),
        IN_STORE(what_is_not_stored_is_removed_again),
        IN_STORE(a_pair_that_only_one_token_took_is_removed_from_it),
        IN_STORE(what_cannot_be_made_is_refused_before_a_token_is_asked),
        IN_STORE(devices_are_told_whatever_changes),
        IN_STORE(a_token_with_keys_is_not_changed_for_another),
        IN_STORE(one_token_is_not_adopted_under_two_names),
        IN_STORE(a_second_place_is_added_to_a_key_that_was_cloned),
        IN_STORE(a_store_has_them_again_when_it_is_opened),
        IN_STORE(version_1_is_written_until_a_token_is_adopted),
        IN_STORE(every_flipped_bit_of_a_store_is_found),
        IN_STORE(what_came_of_a_store_is_inherited_without_its_pins),
        IN_STORE(a_sealed_key_opens_with_its_token_and_then_needs_it_no_more),
        IN_STORE(either_of_two_tokens_opens_what_is_sealed_under_both),
        IN_STORE(what_a_token_derives_wrongly_opens_nothing),
        IN_STORE(nobody_agrees_with_a_key_that_seals),
        IN_STORE(what_was_decided_meanwhile_counts),
    };

    if (sodium_init() < 0 || kd_secret_setup(1 << 18) != KD_OK)
        return 1;
    z = kd_secret_new(KD_ECDH_SIZE);
    z2 = kd_secret_new(KD_ECDH_SIZE);
    secret = kd_secret_new(32);
    memcpy(text, "\x02\x00\x00\x21", 4);
    text[37] = 4;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
