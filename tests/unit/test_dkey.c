/* dime/dkey.h and dime/dkey_write.h: private key files. */
#include <dime/armor.h>
#include <dime/dkey.h>
#include <dime/dkey_write.h>
#include <keyd/base/be.h>
#include <keyd/base/buf.h>
#include <keyd/base/secret.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

#include "../support/vector.h"

#define SIGNETS KEYD_VECTORS "/libdime/signets"
#define PRIME KEYD_VECTORS "/prime"
#define UPSTREAM KEYD_SHARED_VECTORS "/upstream"

static void
from_hex(const char *hex, struct kd_buf *out)
{
    for (; *hex != '\0'; hex += 2) {
        unsigned octet;
        assert_int_equal(sscanf(hex, "%2x", &octet), 1);
        kd_buf_u8(out, (uint8_t)octet);
    }
}

static void
assert_hex(const uint8_t *p, size_t n, const char *hex)
{
    struct kd_buf b;

    kd_buf_init(&b, 256);
    from_hex(hex, &b);
    assert_int_equal(b.n, n);
    assert_memory_equal(b.p, p, n);
    kd_buf_free(&b);
}

static void
key_files_of_libdime_give_their_public_keys(void **state)
{
    static const struct {
        const char *name;
        enum dime_dkey_kind kind;
        const char *sign, *enc;
    } t[] = {
        {"orga.key", DIME_DKEY_ORG,
         "e73c8624309431aef4079675df2b2dc11bbfe3c1a51bda2840803ccdeffabc03",
         "02f7678a997a5d0d077d13f3bc84294a92f44451f3129b53aa8fc0903d1bb8108c"},
        {"orgb.key", DIME_DKEY_ORG,
         "3143051ea4a0f80ac7c030f78a053c36adad4a39b73515e049362149472cf8dc",
         "021ae328ce674685f62d67199efef9cebf67d9367920b71d828f8ee03800969865"},
        {"alice.key", DIME_DKEY_USER,
         "3f5dc023aa86c4d0683b858416f5cf3ab25bd7400836fa261a5a7ed49cfa8989",
         "0271d40f38ca1f90b48b89938627fd4f37a28c27353d4a0621f6cee2c325bc3091"},
        {"bob.key", DIME_DKEY_USER,
         "adf9ac6e1b242b611321b05eb5d7632213a2a7d5f8b507c65647d58c65ba8877",
         "03c817c3ea95db27de565fb8507b0668a4422c8835777d529525b19a67c64252ca"},
        {"carol.key", DIME_DKEY_USER,
         "3ebc89b16b48c12e48f35251e31f73b517c8ff86e6729a0116f99dba608770e5",
         "0292ead2b45abe6a28defd97fdc910701f938d0d268e16183ddde92fe6baa792d8"},
        {"alice2.key", DIME_DKEY_USER,
         "3e168d6120a262f942cad99817e245ac9989d3e75f3450a4577d2e38d710fbd5",
         "022b2c36235af7ab101abcf40b29c5b46c44c538969c0ba69bc3d6c524db46ee9e"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct kd_slice file = vector_read(SIGNETS, t[i].name);
        struct dime_dkey *key = NULL;
        assert_true(file.n != 0);
        assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
        assert_int_equal(key->kind, t[i].kind);
        assert_hex(key->sign_pk, sizeof key->sign_pk, t[i].sign);
        assert_hex(key->enc_pk, sizeof key->enc_pk, t[i].enc);
        dime_dkey_free(key);
        vector_free(file);
    }
}

/* A signet in layout P or M: both keys stand at places known from the layout. */
static void
assert_keys_of_signet(const struct dime_dkey *key, struct kd_slice signet,
                      size_t sign_at, size_t enc_at)
{
    assert_true(signet.n >= enc_at + 33);
    assert_memory_equal(signet.p + sign_at, key->sign_pk, 32);
    assert_memory_equal(signet.p + enc_at, key->enc_pk, 33);
}

static void
key_files_of_magma_are_read(void **state)
{
    static const char *const names[] = {"org.key", "org.key.bin"};
    struct kd_slice signet = vector_read(PRIME, "org.signet.bin");

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct kd_slice file = vector_read(PRIME, names[i]);
        struct dime_dkey *key = NULL;
        assert_true(file.n != 0);
        assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
        assert_int_equal(key->kind, DIME_DKEY_ORG);
        /* header 5, 01 20 k32, 03 21 k33 */
        assert_keys_of_signet(key, signet, 5 + 2, 5 + 2 + 32 + 2);
        dime_dkey_free(key);
        vector_free(file);
    }
    vector_free(signet);
}

static void
encrypted_files_of_magma_are_refused_by_name(void **state)
{
    static const char *const names[] = {"org.key.encrypted", "org.key.encrypted.bin"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct kd_slice file = vector_read(PRIME, names[i]);
        struct dime_dkey *key = NULL;
        const char *why = "";
        assert_true(file.n != 0);
        assert_int_equal(dime_dkey_load(file, &key, &why), KD_UNSUPPORTED);
        assert_null(key);
        assert_non_null(strstr(why, "encrypted"));
        vector_free(file);
    }
}

static void
key_files_that_magma_ships_are_read(void **state)
{
    static const struct {
        const char *name;
        enum dime_dkey_kind kind;
    } t[] = {{"magma-check.org_key.bin", DIME_DKEY_ORG},
             {"magma-check.user_key.bin", DIME_DKEY_USER},
             {"magma-sandbox.key", DIME_DKEY_ORG}};
    struct kd_slice text = vector_read(UPSTREAM, "magma-sandbox.signet");
    struct kd_slice signet;
    struct kd_buf b;
    enum dime_armor_label label;
    struct dime_dkey *key = NULL;

    (void)state;
    if (text.n == 0) {
        print_message("skipped: the upstream vectors are not beside the tree\n");
        skip();
    }
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct kd_slice file = vector_read(UPSTREAM, t[i].name);
        dime_dkey_free(key);
        key = NULL;
        assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
        assert_int_equal(key->kind, t[i].kind);
        vector_free(file);
    }
    kd_buf_init(&b, 4096);
    assert_int_equal(dime_object_load(text, &b, &signet, &label, NULL), KD_OK);
    assert_keys_of_signet(key, signet, 5 + 2, 5 + 2 + 32 + 2);
    dime_dkey_free(key);
    kd_buf_free(&b);
    vector_free(text);
}

/* Key objects are made from parts here. scalar: the second field behind its type. */
#define SEED "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"
#define SEED_PK "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
#define SCALAR "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
#define POINT_X "84bf7562262bbd6940085748f3be6afa52ae317155181ece31b66351ccffa4b0"
#define POINT_Y "8cc43d63b2859d469fee15f31c9edb5324266e6fd0407e87382d60fc4511acd8"
#define NAMED "a00706052b8104000a"

static kd_err
load_parts(const char *magic, const char *first, const char *type, const char *scalar,
           struct dime_dkey **out)
{
    struct kd_buf b;

    kd_buf_init(&b, 4096);
    from_hex(magic, &b);
    kd_buf_u24(&b, 0);
    from_hex(first, &b);
    from_hex(type, &b);
    from_hex(scalar, &b);
    kd_put_be24(b.p + 2, (uint32_t)b.n - 5);
    kd_err err = dime_dkey_load(kd_buf_slice(&b), out, NULL);
    kd_buf_free(&b);
    return err;
}

static kd_err
user_with(const char *first, const char *scalar)
{
    struct dime_dkey *key = NULL;
    kd_err err = load_parts("07dd", first, "02", scalar, &key);

    if (err == KD_OK) {
        assert_int_equal(key->kind, DIME_DKEY_USER);
        assert_hex(key->sign_pk, 32, SEED_PK);
    } else {
        assert_null(key);
    }
    dime_dkey_free(key);
    return err;
}

static void
both_lengths_of_the_scalar_are_read(void **state)
{
    struct dime_dkey *key = NULL;

    (void)state;
    assert_int_equal(user_with("0120" SEED, "0020" SCALAR), KD_OK);
    assert_int_equal(user_with("0120" SEED, "20" SCALAR), KD_OK);
    assert_int_equal(load_parts("07a0", "0120" SEED, "03", "0020" SCALAR, &key), KD_OK);
    assert_int_equal(key->kind, DIME_DKEY_ORG);
    assert_hex(key->seed, 32, SEED);
    assert_hex(key->scalar, 32, SCALAR);
    assert_hex(key->enc_pk, 33, "02" POINT_X);
    dime_dkey_free(key);
}

#define EXPLICIT_PARAMETERS                                                            \
    "a081e33081e0020101302c06072a8648ce3d0101022100ffffffffffffffffffffffffffffffffff" \
    "fffffffffffffffffffffefffffc2f304404200000000000000000000000000000000000000000"   \
    "000000000000000000000000042000000000000000000000000000000000000000000000000000"   \
    "0000000000000704410479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f"  \
    "81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8022100ffff"  \
    "fffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141020101"

static void
scalars_in_der_are_read(void **state)
{
    static const char *const good[] = {
        /* curve named, both forms of the point, none; with both lengths of the field */
        "0076307402010104 20" SCALAR NAMED "a144034200 04" POINT_X POINT_Y,
        "76307402010104 20" SCALAR NAMED "a144034200 04" POINT_X POINT_Y,
        "0056305402010104 20" SCALAR NAMED "a124032200 02" POINT_X,
        "0030302e02010104 20" SCALAR NAMED,
        "30302e02010104 20" SCALAR NAMED,
        /* no curve or an explicit one: the point says that it is ours */
        "006d306b02010104 20" SCALAR "a144034200 04" POINT_X POINT_Y,
        "0155 3082015102010104 20" SCALAR EXPLICIT_PARAMETERS
        "a144034200 04" POINT_X POINT_Y,
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char hex[1024];
        size_t n = 0;
        for (const char *c = good[i]; *c != '\0'; c++) {
            if (*c != ' ')
                hex[n++] = *c;
        }
        hex[n] = '\0';
        assert_int_equal(user_with("0120" SEED, hex), KD_OK);
    }
}

static void
der_that_is_not_our_key_is_refused(void **state)
{
    static const struct {
        kd_err err;
        const char *hex;
    } bad[] = {
        /* the point of another scalar, of the other sign */
        {KD_INVALID, "0056305402010104 20" SCALAR NAMED "a124032200 03" POINT_X},
        {KD_INVALID, "0056305402010104 20" SCALAR NAMED "a124032200 02" POINT_Y},
        /* another curve (prime256v1), or none, without a point */
        {KD_INVALID, "0031302f02010104 20" SCALAR "a00806062a8648ce3d03"},
        {KD_INVALID, "0027302502010104 20" SCALAR},
        /* version 2, scalar of 31 octets, trailing octet inside, lengths not shortest
         */
        {KD_MALFORMED, "0030302e02010204 20" SCALAR NAMED},
        {KD_MALFORMED, "002f302d02010104 1f"
                       "0102030405060708090a0b0c0d0e0f10111213"
                       "1415161718191a1b1c1d1e1f" NAMED},
        {KD_MALFORMED, "0031302f02010104 20" SCALAR NAMED "00"},
        {KD_MALFORMED, "003130812e02010104 20" SCALAR NAMED},
        {KD_MALFORMED, "0032 3082002e02010104 20" SCALAR NAMED},
        {KD_MALFORMED, "0031302e02010104 20" SCALAR NAMED "00"},
        {KD_MALFORMED, "0030 3080 02010104 20" SCALAR NAMED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char hex[1024];
        size_t n = 0;
        for (const char *c = bad[i].hex; *c != '\0'; c++) {
            if (*c != ' ')
                hex[n++] = *c;
        }
        hex[n] = '\0';
        assert_int_equal(user_with("0120" SEED, hex), bad[i].err);
    }
}

static void
scalars_out_of_range_are_refused(void **state)
{
    static const char zero[] =
        "00200000000000000000000000000000000000000000000000000000000000000000";
    static const char order[] =
        "0020fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    static const char last[] =
        "0020fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140";
    static const char ones[] =
        "0020ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    (void)state;
    assert_int_equal(user_with("0120" SEED, zero), KD_INVALID);
    assert_int_equal(user_with("0120" SEED, order), KD_INVALID);
    assert_int_equal(user_with("0120" SEED, ones), KD_INVALID);
    assert_int_equal(user_with("0120" SEED, last), KD_OK);
}

static void
other_shapes_are_refused(void **state)
{
    struct dime_dkey *key = NULL;

    (void)state;
    /* the seed: 31 and 33 octets, layout L's 21 40, another type */
    assert_int_equal(user_with("011f"
                               "aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85"
                               "ce3a2e0b4458f7",
                               "0020" SCALAR),
                     KD_MALFORMED);
    assert_int_equal(user_with("0121" SEED "00", "0020" SCALAR), KD_MALFORMED);
    assert_int_equal(user_with("012140" SEED, "0020" SCALAR), KD_MALFORMED);
    assert_int_equal(user_with("0220" SEED, "0020" SCALAR), KD_MALFORMED);
    /* the scalar: 31 and 33 octets, trailing octet, nothing */
    assert_int_equal(user_with("0120" SEED, "001f"
                                            "02030405060708090a0b0c0d0e0f1011"
                                            "12131415161718191a1b1c1d1e1f20"),
                     KD_MALFORMED);
    assert_int_equal(user_with("0120" SEED, "0021" SCALAR "00"), KD_MALFORMED);
    assert_int_equal(user_with("0120" SEED, "0020" SCALAR "00"), KD_MALFORMED);
    assert_int_equal(user_with("0120" SEED, "20" SCALAR "00"), KD_MALFORMED);
    assert_int_equal(user_with("0120" SEED, ""), KD_MALFORMED);
    /* fields of the other kind, and a third field */
    assert_int_equal(load_parts("07dd", "0120" SEED, "03", "0020" SCALAR, &key),
                     KD_MALFORMED);
    assert_int_equal(load_parts("07a0", "0120" SEED, "02", "0020" SCALAR, &key),
                     KD_MALFORMED);
    assert_int_equal(
        load_parts("07dd", "0120" SEED, "02", "0020" SCALAR "030100", &key),
        KD_MALFORMED);
    /* a signet's magic, none at all */
    assert_int_equal(load_parts("06fd", "0120" SEED, "02", "0020" SCALAR, &key),
                     KD_MALFORMED);
    assert_int_equal(dime_dkey_load(kd_slice(NULL, 0), &key, NULL), KD_MALFORMED);
    assert_null(key);
}

static void
every_cut_and_every_length_but_the_right_one_is_refused(void **state)
{
    uint8_t octets[74 + 1] = {0};
    struct kd_slice file = vector_read(PRIME, "org.key.bin");
    struct dime_dkey *key = NULL;

    (void)state;
    assert_int_equal(file.n, 73);
    memcpy(octets, file.p, file.n);
    for (size_t n = 0; n < file.n; n++)
        assert_int_equal(dime_dkey_load(kd_slice(octets, n), &key, NULL), KD_MALFORMED);
    assert_int_equal(dime_dkey_load(kd_slice(octets, file.n + 1), &key, NULL),
                     KD_MALFORMED);
    for (int by = -1; by <= 1; by += 2) {
        kd_put_be24(octets + 2, (uint32_t)(68 + by));
        assert_int_equal(dime_dkey_load(kd_slice(octets, file.n), &key, NULL),
                         KD_MALFORMED);
    }
    assert_null(key);
    vector_free(file);
}

static void
what_is_written_is_libdimes_form_octet_for_octet(void **state)
{
    static const char *const names[] = {"alice.key", "bob.key", "orga.key", "orgb.key"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct kd_slice file = vector_read(SIGNETS, names[i]);
        struct dime_dkey *key = NULL;
        char *text = kd_secret_new(DIME_DKEY_TEXT_MAX);
        size_t n = 0;
        assert_non_null(text);
        assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
        assert_int_equal(dime_dkey_write(key, text, &n), KD_OK);
        assert_true(kd_slice_eq(kd_slice(text, n), file));
        kd_secret_free(text, DIME_DKEY_TEXT_MAX);
        dime_dkey_free(key);
        vector_free(file);
    }
}

static void
new_keys_differ_and_are_read_back(void **state)
{
    struct dime_dkey *a = NULL, *b = NULL, *back = NULL;
    char *text = kd_secret_new(DIME_DKEY_TEXT_MAX);
    size_t n = 0;

    (void)state;
    assert_int_equal(dime_dkey_generate(DIME_DKEY_USER, &a), KD_OK);
    assert_int_equal(dime_dkey_generate(DIME_DKEY_ORG, &b), KD_OK);
    assert_int_not_equal(memcmp(a->seed, b->seed, 32), 0);
    assert_int_not_equal(memcmp(a->scalar, b->scalar, 32), 0);
    assert_int_not_equal(memcmp(a->seed, a->scalar, 32), 0);
    assert_int_equal(dime_dkey_write(b, text, &n), KD_OK);
    assert_int_equal(dime_dkey_load(kd_slice(text, n), &back, NULL), KD_OK);
    assert_memory_equal(back, b, sizeof *b);
    dime_dkey_free(back);
    dime_dkey_free(b);
    dime_dkey_free(a);
    kd_secret_free(text, DIME_DKEY_TEXT_MAX);
}

static void
nothing_of_a_key_stays_in_released_memory(void **state)
{
    struct kd_slice file = vector_read(SIGNETS, "alice.key");
    static const uint8_t zero[sizeof(struct dime_dkey)];
    struct dime_dkey *key = NULL;
    uint8_t *probe = kd_secret_new(16384);

    (void)state;
    kd_secret_free(probe, 16384);
    assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
    const uint8_t *was = (const uint8_t *)key;
    dime_dkey_free(key);
    assert_memory_equal(was, zero, sizeof zero);
    /* the whole region is free again and zero, the decoded object's block included */
    for (size_t i = 0; i < 16384; i++)
        assert_int_equal(probe[i], 0);
    vector_free(file);
}

static void
key_files_are_recognised_for_refusal(void **state)
{
    struct kd_slice sealed = vector_read(PRIME, "org.key.encrypted.bin");
    struct kd_slice plain = vector_read(PRIME, "org.key.bin");
    struct kd_slice signet = vector_read(PRIME, "org.signet.bin");

    (void)state;
    assert_true(dime_dkey_is(sealed));
    assert_true(dime_dkey_is(plain));
    assert_false(dime_dkey_is(signet));
    assert_false(dime_dkey_is(kd_slice(NULL, 0)));
    vector_free(signet);
    vector_free(plain);
    vector_free(sealed);
}

static int
set_up(void **state)
{
    (void)state;
    return kd_secret_setup(65536) == KD_OK ? 0 : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_files_of_libdime_give_their_public_keys),
        cmocka_unit_test(key_files_of_magma_are_read),
        cmocka_unit_test(encrypted_files_of_magma_are_refused_by_name),
        cmocka_unit_test(key_files_that_magma_ships_are_read),
        cmocka_unit_test(both_lengths_of_the_scalar_are_read),
        cmocka_unit_test(scalars_in_der_are_read),
        cmocka_unit_test(der_that_is_not_our_key_is_refused),
        cmocka_unit_test(scalars_out_of_range_are_refused),
        cmocka_unit_test(other_shapes_are_refused),
        cmocka_unit_test(every_cut_and_every_length_but_the_right_one_is_refused),
        cmocka_unit_test(what_is_written_is_libdimes_form_octet_for_octet),
        cmocka_unit_test(new_keys_differ_and_are_read_back),
        cmocka_unit_test(nothing_of_a_key_stays_in_released_memory),
        cmocka_unit_test(key_files_are_recognised_for_refusal),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
