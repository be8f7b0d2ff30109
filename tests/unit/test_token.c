/* The software token: the suite of every backend, and faults in memory and arithmetic.
 */
#include "soft_impl.h"
#include "tables.h"
#include "token_suite.h"

#include <keyd/base/secret.h>
#include <keyd/token/soft_store.h>

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
/* cmocka.h wants setjmp.h and stdarg.h first */
#include <cmocka.h>

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

/* Faults in the arithmetic. The linker puts these before the real function (--wrap);
 * the library has no hook. */
enum fault { NO_FAULT, FLIP_SIGNATURE, FLIP_WORKING_COPY };
static enum fault fault;
static atomic_uint n_signed;

kd_err __real_dime_ed25519_secret_sign(const struct dime_ed25519_secret *secret,
                                       struct kd_slice message,
                                       uint8_t sig[DIME_SIG_SIZE]);
kd_err __wrap_dime_ed25519_secret_sign(const struct dime_ed25519_secret *secret,
                                       struct kd_slice message,
                                       uint8_t sig[DIME_SIG_SIZE]);

static void
flip(void *p, size_t size)
{
    uint32_t bit = randombytes_uniform((uint32_t)size * 8);

    ((uint8_t *)p)[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* The same in both halves, so that only the signature tells. */
static kd_err
sign_with_a_wrong_copy(const struct dime_ed25519_secret *secret,
                       struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    struct dime_ed25519_secret *wrong = kd_secret_new(sizeof *wrong);
    kd_err err;

    assert_non_null(wrong);
    *wrong = *secret;
    flip(&wrong->use, sizeof wrong->use);
    wrong->check = wrong->use;
    err = __real_dime_ed25519_secret_sign(wrong, message, sig);
    kd_secret_free(wrong, sizeof *wrong);
    return err;
}

kd_err
__wrap_dime_ed25519_secret_sign(const struct dime_ed25519_secret *secret,
                                struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    kd_err err;

    n_signed++;
    if (fault == FLIP_WORKING_COPY)
        return sign_with_a_wrong_copy(secret, message, sig);
    err = __real_dime_ed25519_secret_sign(secret, message, sig);
    if (fault == FLIP_SIGNATURE)
        flip(sig, DIME_SIG_SIZE);
    return err;
}

static struct kd_token *
make_signer(struct kd_key_info *key)
{
    static const struct kd_key_spec specs[2] = {
        {.role = KD_KEY_ROLE_SOK,
         .alg = KD_ALG_ED25519,
         .permissions = 3,
         .domain = {(const uint8_t *)"example.com", 11}},
        {.role = KD_KEY_ROLE_ENC,
         .alg = KD_ALG_SECP256K1,
         .permissions = 0,
         .domain = {(const uint8_t *)"example.com", 11}},
    };
    struct kd_token *t = make_soft(specs, 2);

    assert_non_null(t);
    *key = token_key_at(t, 0);
    return t;
}

static struct soft_secret *
secret_at(struct kd_token *t, size_t at)
{
    return kd_soft_of(t)->keys[at]->secret;
}

static bool
released(struct kd_token *t, const struct kd_key_info *key,
         enum kd_sign_purpose purpose)
{
    struct kd_slice m = token_message_for(purpose);
    struct kd_token_sig sig;
    kd_err err = kd_token_sign(t, &key->id, purpose, m, &sig);

    if (err == KD_OK) /* then it has to be good */
        assert_int_equal(
            crypto_sign_verify_detached(sig.octets, m.p, m.n, key->public_key), 0);
    else
        assert_int_equal(err, KD_FAILED);
    return err == KD_OK;
}

enum { N_FLIPS = 5000 };

static void
flipped_bit_in_either_copy_stops_every_signature(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_signer(&key);
    struct soft_secret *x = secret_at(t, 0);
    struct soft_secret *sound = kd_secret_new(sizeof *sound);

    (void)state;
    *sound = *x;
    kd_token_set_verify(t, 1000); /* the copies alone have to do it */
    for (unsigned i = 0; i < N_FLIPS; i++) {
        flip(x, sizeof *x);
        assert_false(
            released(t, &key, i % 2 == 0 ? KD_SIGN_MESSAGE : KD_SIGN_USER_SIGNET));
        *x = *sound;
    }
    assert_int_equal(kd_token_faults(t), N_FLIPS);
    assert_true(released(t, &key, KD_SIGN_MESSAGE));
    kd_secret_free(sound, sizeof *sound);
    kd_token_free(t);
}

static void
wrong_signature_is_never_released(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_signer(&key);

    (void)state;
    fault = FLIP_SIGNATURE;
    for (unsigned i = 0; i < N_FLIPS; i++)
        assert_false(released(t, &key, KD_SIGN_USER_SIGNET));
    assert_int_equal(kd_token_faults(t), N_FLIPS);
    fault = NO_FAULT;
    assert_true(released(t, &key, KD_SIGN_USER_SIGNET));
    kd_token_free(t);
}

/* A wrong scalar or public key gives a wrong signature, and that one the key. A wrong
 * nonce prefix gives another good signature, which may go. */
static void
signature_made_with_a_wrong_secret_is_never_released(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_signer(&key);
    unsigned n = 0;

    (void)state;
    fault = FLIP_WORKING_COPY;
    for (unsigned i = 0; i < N_FLIPS; i++)
        n += released(t, &key, KD_SIGN_MESSAGE);
    fault = NO_FAULT;
    assert_int_equal(kd_token_faults(t) + n, N_FLIPS);
    assert_true(n < N_FLIPS / 2); /* the prefix is a third of what was flipped */
    kd_token_free(t);
}

static void
sampling_verifies_some_and_what_must_always(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_signer(&key);
    struct kd_slice m = token_message_for(KD_SIGN_MESSAGE);
    struct kd_token_sig sig;
    unsigned n_stopped = 0;

    (void)state;
    kd_token_set_verify(t, 10);
    fault = FLIP_SIGNATURE;
    for (unsigned i = 0; i < 1000; i++)
        n_stopped += kd_token_sign(t, &key.id, KD_SIGN_MESSAGE, m, &sig) == KD_FAILED;
    assert_int_equal(n_stopped, 100);
    for (unsigned i = 0; i < 100; i++)
        assert_false(released(t, &key, KD_SIGN_USER_SIGNET));
    kd_token_set_verify(t, 0); /* never none */
    assert_int_equal(kd_token_sign(t, &key.id, KD_SIGN_MESSAGE, m, &sig), KD_FAILED);
    fault = NO_FAULT;
    kd_token_free(t);
}

static void
flipped_scalar_stops_every_agreement(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_signer(&key);
    struct kd_key_info enc = token_key_at(t, 1);
    struct soft_secret *x = secret_at(t, 1);
    struct soft_secret *sound = kd_secret_new(sizeof *sound);
    uint8_t *z = kd_secret_new(32);

    (void)state;
    *sound = *x;
    for (unsigned i = 0; i < 500; i++) {
        flip(x->copy, sizeof x->copy);
        memset(z, 0xee, 32);
        assert_int_equal(
            kd_token_ecdh(t, &enc.id, kd_slice(enc.public_key, enc.public_size), z),
            KD_FAILED);
        assert_true(sodium_is_zero(z, 32));
        assert_int_equal(kd_token_probe(t, &enc.id), KD_FAILED);
        *x = *sound;
    }
    assert_int_equal(kd_token_probe(t, &enc.id), KD_OK);
    /* the same in both copies shows in the probe: the other side differs */
    x->copy[0][17] ^= 4;
    x->copy[1][17] ^= 4;
    assert_int_equal(kd_token_probe(t, &enc.id), KD_FAILED);
    kd_secret_free(z, 32);
    kd_secret_free(sound, sizeof *sound);
    kd_token_free(t);
}

static void
probe_really_signs(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_signer(&key);

    (void)state;
    kd_token_set_verify(t, 1000);
    unsigned before = n_signed;
    assert_int_equal(kd_token_probe(t, &key.id), KD_OK);
    assert_int_equal(n_signed, before + 1);
    fault = FLIP_SIGNATURE;
    assert_int_equal(kd_token_probe(t, &key.id), KD_FAILED);
    fault = NO_FAULT;
    kd_token_free(t);
}

static void
faulty_pair_is_not_taken_in(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_signer(&key);
    struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                               .alg = KD_ALG_ED25519,
                               .permissions = 1,
                               .domain = kd_slice_str("a.example")};

    (void)state;
    fault = FLIP_SIGNATURE;
    assert_int_equal(kd_token_generate(t, &spec, &key), KD_FAILED);
    fault = NO_FAULT;
    assert_int_equal(kd_token_count(t), 2);
    kd_token_free(t);
}

/* True if no octets fit both: told by size, by how they start, or by what is next. */
static bool
are_disjoint(const struct kd_purpose_row *a, const struct kd_purpose_row *b)
{
    size_t n = a->start.n < b->start.n ? a->start.n : b->start.n;

    if (a->max < b->min || b->max < a->min)
        return true;
    if (n != 0 && memcmp(a->start.p, b->start.p, n) != 0)
        return true;
    if (a->next.n == 0 || b->next.n == 0 || a->next_at != b->next_at)
        return false;
    for (size_t i = 0; i < a->next.n; i++)
        if (memchr(b->next.p, a->next.p[i], b->next.n) != NULL)
            return false;
    return true;
}

static bool
may_be_of_one_key(enum kd_sign_purpose a, enum kd_sign_purpose b)
{
    for (unsigned role = 1; kd_role_row(role) != NULL; role++)
        for (unsigned bits = 0; bits < 16; bits++) {
            const struct kd_key_info key = {.role = (enum kd_key_role)role,
                                            .alg = KD_ALG_ED25519,
                                            .state = KD_KEY_ACTIVE,
                                            .permissions = (uint8_t)bits};
            if (kd_key_allows(&key, a) == KD_OK && kd_key_allows(&key, b) == KD_OK)
                return true;
        }
    return false;
}

/* Proven from the table, not by samples (D-085): whatever a key signs for one purpose,
 * it does not sign for another. */
static void
purposes_of_one_key_have_no_octets_in_common(void **state)
{
    unsigned n_pairs = 0;

    (void)state;
    for (unsigned a = 0; a < KD_SIGN_COUNT; a++)
        for (unsigned b = 0; b < a; b++) {
            if (!may_be_of_one_key((enum kd_sign_purpose)a, (enum kd_sign_purpose)b))
                continue;
            n_pairs++;
            if (!are_disjoint(kd_purpose_row(a), kd_purpose_row(b)))
                fail_msg("%s and %s", kd_purpose_name((enum kd_sign_purpose)a),
                         kd_purpose_name((enum kd_sign_purpose)b));
        }
    assert_true(n_pairs > 30);
    /* and where keys do not tell, these do not either */
    assert_false(are_disjoint(kd_purpose_row(KD_SIGN_ORG_SIGNET),
                              kd_purpose_row(KD_SIGN_USER_SIGNET)));
}

int
main(void)
{
    static const struct token_backend soft = {"soft", make_soft};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bit_in_either_copy_stops_every_signature),
        cmocka_unit_test(wrong_signature_is_never_released),
        cmocka_unit_test(signature_made_with_a_wrong_secret_is_never_released),
        cmocka_unit_test(sampling_verifies_some_and_what_must_always),
        cmocka_unit_test(flipped_scalar_stops_every_agreement),
        cmocka_unit_test(probe_really_signs),
        cmocka_unit_test(faulty_pair_is_not_taken_in),
        cmocka_unit_test(purposes_of_one_key_have_no_octets_in_common),
    };

    if (kd_secret_setup((size_t)128 * 1024) != KD_OK) {
        fprintf(stderr, "no locked memory\n");
        return 77;
    }
    int failed = token_suite_run(&soft);
    return failed + cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
