/* Conformance: private key files (SG-6, SG-7, SG-165; D-055). */
#include <dime/armor.h>
#include <dime/dkey.h>
#include <dime/info.h>
#include <dime/signet.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>

#include "sg.h"
#include "test.h"

#include <sodium.h>

/* The POK's seed of the test vectors and the scalar of "keyd-test origin enc". */
static const char seed_hex[] =
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

struct file {
    struct kd_buf object;
    struct kd_buf text;
};

/* A key object: header, seed of so many octets, scalar behind its length. */
static void
make(struct file *f, enum dime_dkey_kind kind, size_t seed_size, bool magma)
{
    static const char scalar_text[] = "keyd-test origin enc";
    uint8_t seed[32], scalar[32];
    bool org = kind == DIME_DKEY_ORG;

    assert_int_equal(sodium_hex2bin(seed, sizeof seed, seed_hex, sizeof seed_hex - 1,
                                    NULL, NULL, NULL),
                     0);
    crypto_hash_sha256(scalar, (const uint8_t *)scalar_text, sizeof scalar_text - 1);
    kd_buf_init(&f->object, 4096);
    kd_buf_init(&f->text, 4096);
    kd_buf_u16(&f->object, org ? 1952 : 2013);
    kd_buf_u24(&f->object, (uint32_t)(2 + seed_size + 1 + (magma ? 1u : 2u) + 32));
    kd_buf_u8(&f->object, 1);
    kd_buf_u8(&f->object, (uint8_t)seed_size);
    kd_buf_put(&f->object, kd_slice(seed, seed_size));
    kd_buf_u8(&f->object, org ? 3 : 2);
    if (!magma)
        kd_buf_u8(&f->object, 0);
    kd_buf_u8(&f->object, 32);
    kd_buf_put(&f->object, kd_slice(scalar, sizeof scalar));
    dime_armor_put(&f->text, org ? DIME_ARMOR_ORG_KEY : DIME_ARMOR_USER_KEY,
                   DIME_ARMOR_FILE, kd_buf_slice(&f->object));
}

static void
drop(struct file *f)
{
    kd_buf_free(&f->object);
    kd_buf_free(&f->text);
}

static void
assert_imported(struct kd_slice octets, enum dime_dkey_kind kind)
{
    const struct sg_world *w = sg_world();
    struct dime_dkey *key = NULL;

    assert_int_equal(dime_dkey_load(octets, &key, NULL), KD_OK);
    assert_int_equal(key->kind, kind);
    assert_memory_equal(key->sign_pk, w->pok.key, 32);
    assert_memory_equal(key->enc_pk, w->org_enc, 33);
    dime_dkey_free(key);
}

/* T-SG-91 */
static void
T_SG_91_a_libdime_key_file_is_imported(void **state)
{
    static const enum dime_dkey_kind kinds[] = {DIME_DKEY_ORG, DIME_DKEY_USER};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct file f;
        make(&f, kinds[i], 32, false);
        assert_imported(kd_buf_slice(&f.object), kinds[i]);
        assert_imported(kd_buf_slice(&f.text), kinds[i]);
        drop(&f);
    }
}

/* T-SG-92 */
static void
T_SG_92_a_magma_key_file_is_imported(void **state)
{
    struct kd_slice file = sg_file("prime/org.key");
    struct kd_slice signet = sg_file("prime/org.signet.bin");
    struct dime_dkey *key = NULL;
    struct dime_signet org;
    enum dime_reason why;
    struct file f;

    (void)state;
    make(&f, DIME_DKEY_ORG, 32, true);
    assert_imported(kd_buf_slice(&f.object), DIME_DKEY_ORG);
    assert_imported(kd_buf_slice(&f.text), DIME_DKEY_ORG);
    assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
    assert_int_equal(dime_signet_parse(signet, &org, &why), KD_OK);
    assert_memory_equal(key->sign_pk, org.sign_key, 32);
    assert_memory_equal(key->enc_pk, org.enc_key, 33);
    dime_dkey_free(key);
    drop(&f);
    sg_free(signet);
    sg_free(file);
}

/* T-SG-93 */
static void
T_SG_93_a_wrong_crc_or_a_seed_of_31_octets_is_refused(void **state)
{
    struct file good, short_seed;
    struct dime_dkey *key = NULL;

    (void)state;
    make(&good, DIME_DKEY_ORG, 32, false);
    make(&short_seed, DIME_DKEY_ORG, 31, false);
    uint8_t *crc = memmem(good.text.p, good.text.n, "\n=", 2);
    assert_non_null(crc);
    crc[2] = crc[2] == 'A' ? 'B' : 'A';
    assert_int_equal(dime_dkey_load(kd_buf_slice(&good.text), &key, NULL),
                     KD_MALFORMED);
    assert_int_equal(dime_dkey_load(kd_buf_slice(&short_seed.text), &key, NULL),
                     KD_MALFORMED);
    assert_int_equal(dime_dkey_load(kd_buf_slice(&short_seed.object), &key, NULL),
                     KD_MALFORMED);
    assert_null(key);
    drop(&short_seed);
    drop(&good);
}

/* T-SG-94, the formats' half: what a front-end parses objects with takes no key. That
 * nothing but the user's tool can write one is tests/integration/test_key_writer.sh. */
static void
T_SG_94_nothing_that_parses_objects_takes_a_key_file(void **state)
{
    static const char *const names[] = {"libdime/signets/orga.key",
                                        "libdime/signets/alice.key", "prime/org.key",
                                        "prime/org.key.encrypted"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct kd_slice file = sg_file(names[i]);
        struct kd_slice octets;
        struct kd_buf b;
        struct dime_signet s;
        struct dime_walk w;
        struct dime_field f;
        enum dime_armor_label label;
        enum dime_reason why;

        kd_buf_init(&b, 65536);
        assert_int_equal(dime_object_load(file, &b, &octets, &label, NULL), KD_OK);
        assert_true(dime_dkey_is(octets));
        assert_int_equal(dime_signet_parse(octets, &s, &why), KD_MALFORMED);
        assert_int_equal(why, DIME_BAD_MAGIC);
        for (int kind = DIME_ORG; kind <= DIME_SSR; kind++)
            assert_int_equal(
                dime_signet_parse_as((enum dime_kind)kind, octets, &s, &why),
                KD_MALFORMED);
        dime_walk_info(&w, DIME_USER, octets);
        assert_false(dime_walk_next(&w, &f));
        assert_int_not_equal(w.why, DIME_FINE);
        kd_buf_free(&b);
        sg_free(file);
    }
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
        cmocka_unit_test(T_SG_91_a_libdime_key_file_is_imported),
        cmocka_unit_test(T_SG_92_a_magma_key_file_is_imported),
        cmocka_unit_test(T_SG_93_a_wrong_crc_or_a_seed_of_31_octets_is_refused),
        cmocka_unit_test(T_SG_94_nothing_that_parses_objects_takes_a_key_file),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
