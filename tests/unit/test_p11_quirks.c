/* Where tokens differ: each way in which one may write a public key, name a curve, want
 * a mechanism's parameters or a peer's point, and the ways that are nobody's. */
#include "../../pkcs11/host/make.h"
#include "../../pkcs11/host/objects.h"
#include "../support/test.h"

#include <dime/ed25519.h>
#include <dime/secp.h>
#include <keyd/base/secret.h>
#include <keyd/p11/marks.h>

#include <sodium.h>
#include <string.h>

static uint8_t ed[32], k1[33], k1_whole[65], seed[32] = {1, 2, 3};

static void
widen(void)
{
    uint8_t der[67];

    assert_int_equal(quirk_point_write(KD_ALG_SECP256K1, kd_slice(k1, 33), der), 67);
    memcpy(k1_whole, der + 2, 65);
}

/* --- points --- */

static bool
reads(enum kd_key_alg alg, const uint8_t *head, size_t n_head, const uint8_t *rest,
      size_t n_rest, uint32_t quirks)
{
    uint8_t text[100], out[KD_KEY_PUBLIC_MAX];
    uint32_t seen = 0;
    size_t n = 0;

    if (n_head != 0)
        memcpy(text, head, n_head);
    memcpy(text + n_head, rest, n_rest);
    if (!quirk_point_read(alg, kd_slice(text, n_head + n_rest), out, &n, &seen))
        return false;
    assert_int_equal(seen, quirks);
    if (alg == KD_ALG_ED25519) {
        assert_int_equal(n, 32);
        assert_memory_equal(out, ed, 32);
    } else {
        assert_int_equal(n, 33);
        assert_memory_equal(out, k1, 33);
    }
    return true;
}

#define H(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define NONE NULL, 0

static void
every_form_of_an_ed25519_point_is_read(void **state)
{
    (void)state;
    assert_true(reads(KD_ALG_ED25519, H(4, 32), ed, 32, 0));
    assert_true(reads(KD_ALG_ED25519, NONE, ed, 32, QUIRK_POINT_RAW));
    assert_true(reads(KD_ALG_ED25519, H(3, 33, 0), ed, 32, QUIRK_POINT_BITS));
    /* and no other: a cut one, one with something behind it, other tags */
    assert_false(reads(KD_ALG_ED25519, H(4, 32), ed, 31, 0));
    assert_false(reads(KD_ALG_ED25519, H(4, 33, 0), ed, 32, 0));
    assert_false(reads(KD_ALG_ED25519, H(3, 33, 1), ed, 32, 0));
    assert_false(reads(KD_ALG_ED25519, H(4, 31), ed, 32, 0));
    assert_false(reads(KD_ALG_ED25519, H(5, 32), ed, 32, 0));
    assert_false(reads(KD_ALG_ED25519, NONE, ed, 0, 0));
}

static void
every_form_of_a_secp256k1_point_is_read_and_becomes_the_compressed_one(void **state)
{
    uint8_t bad[65];

    (void)state;
    assert_true(reads(KD_ALG_SECP256K1, H(4, 65), k1_whole, 65, 0));
    assert_true(reads(KD_ALG_SECP256K1, NONE, k1_whole, 65, QUIRK_POINT_RAW));
    assert_true(reads(KD_ALG_SECP256K1, H(4, 33), k1, 33, QUIRK_POINT_COMPRESSED));
    assert_true(reads(KD_ALG_SECP256K1, NONE, k1, 33,
                      QUIRK_POINT_RAW | QUIRK_POINT_COMPRESSED));
    /* Hybrids, a point beside the curve, infinity */
    memcpy(bad, k1_whole, 65);
    bad[0] = (uint8_t)(6 + (bad[64] & 1));
    assert_false(reads(KD_ALG_SECP256K1, NONE, bad, 65, 0));
    assert_false(reads(KD_ALG_SECP256K1, H(4, 65), bad, 65, 0));
    bad[0] = 4;
    bad[64] ^= 1;
    assert_false(reads(KD_ALG_SECP256K1, NONE, bad, 65, 0));
    memset(bad, 0, sizeof bad);
    assert_false(reads(KD_ALG_SECP256K1, NONE, bad, 65, 0));
    assert_false(reads(KD_ALG_SECP256K1, NONE, bad, 33, 0));
    assert_false(reads(KD_ALG_SECP256K1, NONE, bad, 1, 0));
    assert_false(reads(KD_ALG_SECP256K1, NONE, k1_whole, 64, 0));
}

static void
curves_are_known_by_their_names_and_numbers(void **state)
{
    static const uint8_t oid[] = {6, 3, 0x2b, 0x65, 0x70};
    static const uint8_t old[] = {6, 9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1};
    static const uint8_t k[] = {6, 5, 0x2b, 0x81, 4, 0, 0x0a};
    static const char name[] = "\x13\x0c"
                               "edwards25519";

    (void)state;
    assert_true(quirk_params_match(KD_ALG_ED25519, kd_slice(oid, sizeof oid)));
    assert_true(quirk_params_match(KD_ALG_ED25519, kd_slice(old, sizeof old)));
    assert_true(quirk_params_match(KD_ALG_ED25519, kd_slice(name, 14)));
    assert_true(quirk_params_match(KD_ALG_SECP256K1, kd_slice(k, sizeof k)));
    assert_false(quirk_params_match(KD_ALG_SECP256K1, kd_slice(oid, sizeof oid)));
    assert_false(quirk_params_match(KD_ALG_ED25519, kd_slice(k, sizeof k)));
    assert_false(quirk_params_match(KD_ALG_ED25519, kd_slice(oid, 4)));
    assert_false(quirk_params_match(KD_ALG_ED25519, kd_slice(NULL, 0)));
    /* X25519's, one number away */
    static const uint8_t x[] = {6, 3, 0x2b, 0x65, 0x6e};
    assert_false(quirk_params_match(KD_ALG_ED25519, kd_slice(x, sizeof x)));
}

static void
rsa_keys_are_written_as_der_and_only_in_sizes_that_we_take(void **state)
{
    static const uint8_t e[] = {1, 0, 1}, three[] = {3}, padded[] = {0, 1, 0, 1};
    uint8_t modulus[513], out[KD_KEY_PUBLIC_MAX];
    struct kd_slice back;

    (void)state;
    memset(modulus, 0xa5, sizeof modulus);
    static const size_t good[] = {256, 384, 512};
    for (size_t i = 0; i < 3; i++) {
        size_t n = quirk_rsa_write(kd_slice(modulus, good[i]), kd_slice(e, 3), out);
        assert_true(n > good[i]);
        assert_true(quirk_rsa_read(kd_slice(out, n), &back));
        assert_true(kd_slice_eq(back, kd_slice(modulus, good[i])));
        assert_false(quirk_rsa_read(kd_slice(out, n - 1), &back));
    }
    assert_int_equal(quirk_rsa_write(kd_slice(modulus, 256), kd_slice(padded, 4), out),
                     quirk_rsa_write(kd_slice(modulus, 256), kd_slice(e, 3), out));
    assert_int_equal(quirk_rsa_write(kd_slice(modulus, 128), kd_slice(e, 3), out), 0);
    assert_int_equal(quirk_rsa_write(kd_slice(modulus, 513), kd_slice(e, 3), out), 0);
    assert_int_equal(quirk_rsa_write(kd_slice(modulus, 256), kd_slice(three, 1), out),
                     0);
}

/* --- a module that is particular --- */

static struct {
    bool wants_eddsa_params, wants_der_peer, short_z, no_length;
    int least_template; /* attributes that it does not take are refused one by one */
    CK_RV sign_rv;
    CK_ULONG sig_size;
    unsigned n_init, n_derive, n_generate, n_destroyed;
    bool has_params;
} it;

static CK_RV
sign_init(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE h)
{
    (void)s;
    (void)h;
    it.n_init++;
    it.has_params = m->ulParameterLen != 0;
    return it.wants_eddsa_params && !it.has_params ? CKR_MECHANISM_PARAM_INVALID
                                                   : CKR_OK;
}

static CK_RV
do_sign(CK_SESSION_HANDLE s, CK_BYTE_PTR text, CK_ULONG n_text, CK_BYTE_PTR sig,
        CK_ULONG_PTR n)
{
    (void)s;
    (void)text;
    (void)n_text;
    memset(sig, 1, 64);
    *n = it.sig_size;
    return it.sign_rv;
}

static CK_RV
derive(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE h,
       CK_ATTRIBUTE_PTR list, CK_ULONG n, CK_OBJECT_HANDLE_PTR out)
{
    const CK_ECDH1_DERIVE_PARAMS *p = m->pParameter;

    (void)s;
    (void)h;
    it.n_derive++;
    assert_int_equal(p->kdf, CKD_NULL);
    assert_null(p->pSharedData);
    if (it.wants_der_peer && p->ulPublicDataLen != 67)
        return CKR_MECHANISM_PARAM_INVALID;
    if (it.no_length && list[n - 1].type == CKA_VALUE_LEN)
        return CKR_TEMPLATE_INCONSISTENT;
    *out = 9;
    return CKR_OK;
}

static CK_RV
get_value(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h, CK_ATTRIBUTE_PTR list, CK_ULONG n)
{
    (void)s;
    assert_int_equal(h, 9);
    assert_int_equal(n, 1);
    assert_int_equal(list->type, CKA_VALUE);
    list->ulValueLen = it.short_z ? 31 : 32;
    memset(list->pValue, 7, list->ulValueLen);
    return CKR_OK;
}

static CK_RV
destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h)
{
    (void)s;
    (void)h;
    it.n_destroyed++;
    return CKR_OK;
}

static CK_FUNCTION_LIST functions = {.C_SignInit = sign_init,
                                     .C_Sign = do_sign,
                                     .C_DeriveKey = derive,
                                     .C_GetAttributeValue = get_value,
                                     .C_DestroyObject = destroy};
static const struct module module = {.f = &functions};
static struct session session;
static uint8_t *z;

static int
begin(void **state)
{
    (void)state;
    memset(&it, 0, sizeof it);
    it.sig_size = 64;
    memset(&session, 0, sizeof session);
    session.m = &module;
    session.keys[0] = (struct bound){.is_bound = true, .alg = KD_ALG_ED25519};
    session.keys[1] = (struct bound){.is_bound = true, .alg = KD_ALG_SECP256K1};
    return 0;
}

static void
parameters_of_eddsa_are_given_to_who_asks_and_remembered(void **state)
{
    uint8_t sig[SESSION_SIG_MAX];
    size_t n;

    (void)state;
    assert_int_equal(session_sign(&session, 0, kd_slice("x", 1), sig, &n), CKR_OK);
    assert_false(it.has_params);
    it.wants_eddsa_params = true;
    it.n_init = 0;
    assert_int_equal(session_sign(&session, 0, kd_slice("x", 1), sig, &n), CKR_OK);
    assert_int_equal(it.n_init, 2);
    assert_int_equal(session_sign(&session, 0, kd_slice("x", 1), sig, &n), CKR_OK);
    assert_int_equal(it.n_init, 3); /* at once */
    assert_int_equal(n, 64);
}

static void
a_length_that_cannot_be_is_none(void **state)
{
    static const CK_ULONG odd[] = {SESSION_SIG_MAX + 1, 1UL << 40,
                                   CK_UNAVAILABLE_INFORMATION};
    uint8_t sig[SESSION_SIG_MAX];
    size_t n = 5;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        it.sig_size = odd[i];
        assert_int_equal(session_sign(&session, 0, kd_slice("x", 1), sig, &n), CKR_OK);
        assert_int_equal(n, 0);
    }
    it.sig_size = 64;
    it.sign_rv = CKR_DEVICE_ERROR;
    n = 5;
    assert_int_equal(session_sign(&session, 0, kd_slice("x", 1), sig, &n),
                     CKR_DEVICE_ERROR);
    assert_int_equal(n, 0);
}

static void
peers_are_given_raw_or_as_der_as_the_token_takes_them(void **state)
{
    size_t n;

    (void)state;
    assert_int_equal(session_derive(&session, 1, k1_whole, z, &n), CKR_OK);
    assert_int_equal(it.n_derive, 1);
    it.wants_der_peer = true;
    assert_int_equal(session_derive(&session, 1, k1_whole, z, &n), CKR_OK);
    assert_int_equal(it.n_derive, 3);
    assert_int_equal(session_derive(&session, 1, k1_whole, z, &n), CKR_OK);
    assert_int_equal(it.n_derive, 4);    /* remembered */
    assert_int_equal(it.n_destroyed, 3); /* what was derived does not stay */
}

static void
zeros_that_were_left_out_are_put_back_in_front(void **state)
{
    size_t n;

    (void)state;
    it.short_z = true;
    assert_int_equal(session_derive(&session, 1, k1_whole, z, &n), CKR_OK);
    assert_int_equal(n, 32);
    assert_int_equal(z[0], 0);
    assert_int_equal(z[1], 7);
    assert_int_equal(z[31], 7);
}

static void
a_length_that_is_not_wanted_is_left_out(void **state)
{
    size_t n;

    (void)state;
    it.no_length = true;
    assert_int_equal(session_derive(&session, 1, k1_whole, z, &n), CKR_OK);
    assert_int_equal(n, 32);
}

static void
keys_do_what_they_are_for(void **state)
{
    uint8_t sig[SESSION_SIG_MAX];
    size_t n;

    (void)state;
    assert_int_equal(session_sign(&session, 1, kd_slice("x", 1), sig, &n),
                     CKR_KEY_HANDLE_INVALID);
    assert_int_equal(session_derive(&session, 0, k1_whole, z, &n),
                     CKR_KEY_HANDLE_INVALID);
    assert_int_equal(session_sign(&session, 2, kd_slice("x", 1), sig, &n),
                     CKR_KEY_HANDLE_INVALID);
    assert_int_equal(session_sign(&session, 5000, kd_slice("x", 1), sig, &n),
                     CKR_KEY_HANDLE_INVALID);
    assert_int_equal(it.n_init + it.n_derive, 0);
}

/* By the flags of the token: a last try is nobody's but an operator's. */
static void
a_pin_is_tried_only_where_it_may_be(void **state)
{
    static const struct {
        CK_FLAGS flags;
        enum p11_finding_code new_one, known_one;
    } rows[] = {{0, P11_PIN_NOT_SET, P11_PIN_NOT_SET},
                {CKF_USER_PIN_INITIALIZED, P11_FINE, P11_FINE},
                {CKF_USER_PIN_INITIALIZED | CKF_USER_PIN_COUNT_LOW, P11_PIN_COUNT_LOW,
                 P11_FINE},
                {CKF_USER_PIN_INITIALIZED | CKF_USER_PIN_FINAL_TRY, P11_PIN_FINAL_TRY,
                 P11_PIN_FINAL_TRY},
                {CKF_USER_PIN_INITIALIZED | CKF_USER_PIN_LOCKED, P11_PIN_LOCKED,
                 P11_PIN_LOCKED},
                {CKF_USER_PIN_INITIALIZED | CKF_USER_PIN_TO_BE_CHANGED,
                 P11_PIN_TO_BE_CHANGED, P11_PIN_TO_BE_CHANGED},
                {CKF_USER_PIN_INITIALIZED | CKF_PROTECTED_AUTHENTICATION_PATH,
                 P11_PIN_PAD, P11_PIN_PAD},
                {CKF_USER_PIN_INITIALIZED | CKF_SO_PIN_LOCKED, P11_FINE, P11_FINE}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(p11_pin_state(rows[i].flags, false), rows[i].new_one);
        assert_int_equal(p11_pin_state(rows[i].flags, true), rows[i].known_one);
    }
}

/* An operator reads it at three in the morning. */
static void
every_finding_says_what_it_is_and_what_to_do(void **state)
{
    (void)state;
    for (unsigned i = P11_FINE + 1; i < P11_FINDINGS; i++) {
        enum p11_finding_code code = (enum p11_finding_code)i;
        assert_int_not_equal(p11_finding_word(code)[0], '\0');
        assert_int_not_equal(p11_finding_text(code)[0], '\0');
        if (p11_finding_advice(code)[0] == '\0')
            fail_msg("%s has no advice", p11_finding_word(code));
        for (unsigned k = P11_FINE; k < i; k++)
            assert_string_not_equal(p11_finding_word(code),
                                    p11_finding_word((enum p11_finding_code)k));
    }
    assert_string_equal(p11_finding_word(P11_FINDINGS), "");
    assert_false(p11_finding_is_note(P11_SECTION_GONE));
    assert_true(p11_finding_is_note(P11_OTHERS_KEY));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_an_ed25519_point_is_read),
        cmocka_unit_test(
            every_form_of_a_secp256k1_point_is_read_and_becomes_the_compressed_one),
        cmocka_unit_test(curves_are_known_by_their_names_and_numbers),
        cmocka_unit_test(rsa_keys_are_written_as_der_and_only_in_sizes_that_we_take),
        cmocka_unit_test_setup(parameters_of_eddsa_are_given_to_who_asks_and_remembered,
                               begin),
        cmocka_unit_test_setup(a_length_that_cannot_be_is_none, begin),
        cmocka_unit_test_setup(peers_are_given_raw_or_as_der_as_the_token_takes_them,
                               begin),
        cmocka_unit_test_setup(zeros_that_were_left_out_are_put_back_in_front, begin),
        cmocka_unit_test_setup(a_length_that_is_not_wanted_is_left_out, begin),
        cmocka_unit_test_setup(keys_do_what_they_are_for, begin),
        cmocka_unit_test(a_pin_is_tried_only_where_it_may_be),
        cmocka_unit_test(every_finding_says_what_it_is_and_what_to_do),
    };

    if (sodium_init() < 0 || kd_secret_setup(1 << 16) != KD_OK ||
        (z = kd_secret_new(KD_ECDH_SIZE)) == NULL)
        return 1;
    dime_ed25519_public(seed, ed);
    if (dime_secp_public(seed, k1) != KD_OK)
        return 1;
    widen();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
