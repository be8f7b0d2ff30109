/* Keys and one-shot signatures. Every verdict is asked of the streams too. */
#include "ed25519_check.h"
#include "ed25519_points.h"
#include "ed25519_vectors.h"
#include "order.h"

#include <keyd/base/secret.h>

#include <openssl/evp.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka.h wants the two above first */
#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static size_t
unhex(const char *hex, uint8_t *out, size_t size)
{
    size_t n;

    assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &n, NULL), 0);
    assert_int_equal(n * 2, strlen(hex));
    return n;
}

/* A key of our own; every call gives another. */
static struct dime_ed25519_secret *
new_secret(uint8_t seed[DIME_SEED_SIZE])
{
    struct dime_ed25519_secret *secret = kd_secret_new(sizeof *secret);

    assert_non_null(secret);
    randombytes_buf(seed, DIME_SEED_SIZE);
    dime_ed25519_secret_init(secret, seed);
    return secret;
}

/* --- keys ---------------------------------------------------------------- */

static void
points_of_small_order_are_the_multiples_of_one(void **state)
{
    bool seen[SMALL_ORDER_CANONICAL] = {false};

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        uint8_t point[32];
        unsigned at = 0;
        torsion_point(i, point);
        while (at < SMALL_ORDER_CANONICAL && memcmp(small_order[at], point, 32) != 0)
            at++;
        assert_true(at < SMALL_ORDER_CANONICAL);
        assert_false(seen[at]);
        seen[at] = true;
    }
}

static void
keys_of_small_order_are_refused_in_all_fourteen_encodings(void **state)
{
    (void)state;
    for (size_t i = 0; i < SMALL_ORDER_ALL; i++) {
        assert_false(dime_ed25519_key_valid(small_order[i]));
        assert_false(order_is_prime(small_order[i]));
    }
}

static void
keys_with_y_beyond_the_field_are_refused(void **state)
{
    uint8_t key[32];
    unsigned n_points = 0;

    (void)state;
    for (unsigned y = 0; y < 19; y++) {
        for (unsigned sign = 0; sign < 2; sign++) {
            memset(key, 0, sizeof key);
            key[0] = (uint8_t)y;
            key[31] = (uint8_t)(sign << 7);
            uint8_t sum[32];
            n_points += crypto_core_ed25519_add(sum, key, small_order[0]) == 0;
            memset(key, 0xff, sizeof key);
            key[0] = (uint8_t)(0xed + y);
            key[31] = (uint8_t)(0x7f | sign << 7);
            assert_false(dime_ed25519_key_valid(key));
        }
    }
    assert_true(n_points > 8); /* points, not just numbers, in another encoding */
}

static void
keys_off_the_curve_are_refused(void **state)
{
    unsigned n_off = 0;

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        uint8_t key[32];
        uint8_t sum[32];
        randombytes_buf(key, sizeof key);
        if (crypto_core_ed25519_add(sum, key, small_order[0]) == 0)
            continue;
        n_off++;
        assert_false(dime_ed25519_key_valid(key));
    }
    assert_true(n_off > 10);
}

static void
keys_of_mixed_order_are_refused(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 10; n++) {
        uint8_t seed[DIME_SEED_SIZE];
        struct dime_ed25519_secret *secret = new_secret(seed);
        const uint8_t *key = secret->use.key;
        assert_true(dime_ed25519_key_valid(key));
        assert_true(order_is_prime(key));
        for (unsigned i = 1; i < 8; i++) {
            uint8_t torsion[32];
            uint8_t mixed[32];
            torsion_point(i, torsion);
            point_add(key, torsion, mixed);
            assert_false(dime_ed25519_key_valid(mixed));
            assert_false(order_is_prime(mixed));
        }
        kd_secret_free(secret, sizeof *secret);
    }
}

/* G of secp256k1 */
static const char secp_x[] =
    "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
static const char secp_y[] =
    "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";

static void
secp_points_have_33_octets_and_02_or_03(void **state)
{
    uint8_t point[66] = {2};

    (void)state;
    unhex(secp_x, point + 1, 32);
    unhex(secp_y, point + 33, 32);
    for (unsigned form = 0; form < 256; form++) {
        point[0] = (uint8_t)form;
        bool right = form == 2 || form == 3;
        assert_int_equal(dime_secp_point_valid(kd_slice(point, 33)), right);
        /* 04 is right elsewhere, and 06 is what libsecp256k1 takes for an even y */
        assert_false(dime_secp_point_valid(kd_slice(point, 65)));
    }
    point[0] = 2;
    for (size_t n = 0; n < sizeof point; n++)
        assert_int_equal(dime_secp_point_valid(kd_slice(point, n)), n == 33);
    assert_false(dime_secp_point_valid(kd_slice(NULL, 0)));
}

static void
secp_x_off_the_curve_or_beyond_the_field_is_refused(void **state)
{
    static const char *const bad[] = {
        /* 5: x^3 + 7 is no square */
        "0000000000000000000000000000000000000000000000000000000000000005",
        "0000000000000000000000000000000000000000000000000000000000000000",
        /* p, p + 1 (1 is an x of the curve), the largest */
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    uint8_t point[33];
    uint8_t lifted[33] = {9};

    (void)state;
    for (size_t i = 0; i < N(bad); i++) {
        unhex(bad[i], point + 1, 32);
        point[0] = 2;
        assert_false(dime_secp_point_valid(kd_slice(point, 33)));
        point[0] = 3;
        assert_false(dime_secp_point_valid(kd_slice(point, 33)));
        assert_int_equal(dime_secp_lift_x(point + 1, lifted), KD_INVALID);
        assert_int_equal(lifted[0], 9);
    }
    memset(point, 0, sizeof point);
    point[0] = 2;
    point[32] = 1;
    assert_true(dime_secp_point_valid(kd_slice(point, 33)));
}

static void
secp_x_is_lifted_to_the_even_y(void **state)
{
    uint8_t x[32];
    uint8_t point[33];

    (void)state;
    unhex(secp_x, x, 32);
    assert_int_equal(dime_secp_lift_x(x, point), KD_OK);
    assert_int_equal(point[0], 2);
    assert_memory_equal(point + 1, x, 32);
}

/* --- signatures ---------------------------------------------------------- */

static void
openssl_agrees(const uint8_t seed[32], const uint8_t key[32], struct kd_slice message,
               const uint8_t sig[64])
{
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t theirs[64];
    size_t n = sizeof theirs;

    assert_non_null(pair);
    assert_non_null(ctx);
    assert_int_equal(EVP_PKEY_get_raw_public_key(pair, theirs, &n), 1);
    assert_memory_equal(theirs, key, 32);
    n = sizeof theirs;
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, pair), 1);
    assert_int_equal(EVP_DigestSign(ctx, theirs, &n, message.p, message.n), 1);
    assert_memory_equal(theirs, sig, 64);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pair);
}

static void
rfc8032_vectors_hold(void **state)
{
    struct dime_ed25519_secret *secret = kd_secret_new(sizeof *secret);

    (void)state;
    assert_non_null(secret);
    for (size_t i = 0; i < N(rfc8032); i++) {
        uint8_t seed[32];
        uint8_t key[32];
        uint8_t octets[1024];
        uint8_t want[64];
        uint8_t sig[64];
        unhex(rfc8032[i].seed, seed, sizeof seed);
        unhex(rfc8032[i].key, key, sizeof key);
        unhex(rfc8032[i].sig, want, sizeof want);
        size_t n = unhex(rfc8032[i].message, octets, sizeof octets);
        struct kd_slice message = kd_slice(octets, n);

        openssl_agrees(seed, key, message, want);
        dime_ed25519_public(seed, sig);
        assert_memory_equal(sig, key, 32);
        assert_int_equal(dime_ed25519_sign(seed, key, message, sig), KD_OK);
        assert_memory_equal(sig, want, 64);
        memset(sig, 0, sizeof sig);
        dime_ed25519_secret_init(secret, seed);
        assert_memory_equal(secret->use.key, key, 32);
        assert_int_equal(dime_ed25519_secret_sign(secret, message, sig), KD_OK);
        assert_memory_equal(sig, want, 64);
        assert_int_equal(verdict(key, message, want), KD_OK);
        assert_int_equal(dime_ed25519_verify_trusted_key(key, message, want), KD_OK);
    }
    kd_secret_free(secret, sizeof *secret);
}

static void
signatures_are_libsodiums(void **state)
{
    uint8_t octets[700];

    (void)state;
    for (size_t n = 0; n < sizeof octets; n += n < 300 ? 1 : 97) {
        uint8_t seed[32];
        uint8_t key[32];
        uint8_t pair[64];
        uint8_t want[64];
        uint8_t sig[64];
        struct dime_ed25519_secret *secret = new_secret(seed);
        randombytes_buf(octets, n);
        crypto_sign_seed_keypair(key, pair, seed);
        crypto_sign_detached(want, NULL, octets, n, pair);
        assert_int_equal(dime_ed25519_secret_sign(secret, kd_slice(octets, n), sig),
                         KD_OK);
        assert_memory_equal(sig, want, 64);
        assert_int_equal(dime_ed25519_verify(key, kd_slice(octets, n), sig), KD_OK);
        kd_secret_free(secret, sizeof *secret);
    }
}

static void
one_flipped_bit_is_refused(void **state)
{
    uint8_t seed[32];
    uint8_t octets[32 + 64 + 40]; /* key, signature, message */
    struct dime_ed25519_secret *secret = new_secret(seed);

    (void)state;
    randombytes_buf(octets, sizeof octets);
    memcpy(octets, secret->use.key, 32);
    struct kd_slice message = kd_slice(octets + 96, 40);
    assert_int_equal(dime_ed25519_secret_sign(secret, message, octets + 32), KD_OK);
    assert_int_equal(verdict(octets, message, octets + 32), KD_OK);
    for (size_t bit = 0; bit < sizeof octets * 8; bit++) {
        octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(verdict(octets, message, octets + 32), KD_INVALID);
        octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(verdict(octets, message, octets + 32), KD_OK);
    kd_secret_free(secret, sizeof *secret);
}

static void
speccheck_cases_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(speccheck); i++) {
        uint8_t octets[32];
        uint8_t key[32];
        uint8_t sig[64];
        unhex(speccheck[i].message, octets, sizeof octets);
        unhex(speccheck[i].key, key, sizeof key);
        unhex(speccheck[i].sig, sig, sizeof sig);
        struct kd_slice message = kd_slice(octets, sizeof octets);
        bool valid = dime_ed25519_key_valid(key);
        bool accepted = dime_ed25519_verify_trusted_key(key, message, sig) == KD_OK;
        if (verdict(key, message, sig) != KD_INVALID ||
            valid != speccheck[i].key_valid ||
            accepted != speccheck[i].trusted_key_accepts)
            fail_msg("%s: key valid %d, accepted if trusted %d", speccheck[i].why,
                     valid, accepted);
    }
}

/* The published cases nearly all fall by their key already. These have a good key,
 * and each breaks one rule only. */
struct forgery {
    uint8_t seed[32];
    struct dime_ed25519_secret *secret;
    uint8_t r[32];
    uint8_t R[32];
    struct kd_slice message;
};

static void
forgery_init(struct forgery *f)
{
    f->secret = new_secret(f->seed);
    f->message = kd_slice_str("the same words under every seal");
    crypto_core_ed25519_scalar_random(f->r);
    assert_int_equal(crypto_scalarmult_ed25519_base_noclamp(f->R, f->r), 0);
}

static void
forgery_clear(struct forgery *f)
{
    kd_secret_free(f->secret, sizeof *f->secret);
}

static void
any_nonce_makes_a_good_signature(void **state)
{
    struct forgery f;
    uint8_t sig[64];

    (void)state;
    forgery_init(&f);
    const uint8_t *key = f.secret->use.key;
    forge(f.secret->use.a, f.r, f.R, key, f.message, sig);
    assert_int_equal(verdict(key, f.message, sig), KD_OK);
    forgery_clear(&f);
}

static void
R_of_mixed_order_is_refused_though_the_cofactored_equation_holds(void **state)
{
    struct forgery f;
    uint8_t torsion[32];
    uint8_t R[32];
    uint8_t sig[64];

    (void)state;
    forgery_init(&f);
    const uint8_t *key = f.secret->use.key;
    for (unsigned i = 1; i < 8; i++) {
        torsion_point(i, torsion);
        point_add(f.R, torsion, R);
        forge(f.secret->use.a, f.r, R, key, f.message, sig);
        assert_int_equal(verdict(key, f.message, sig), KD_INVALID);
        assert_int_equal(dime_ed25519_verify_trusted_key(key, f.message, sig),
                         KD_INVALID);
    }
    forgery_clear(&f);
}

static void
R_of_small_order_is_refused_in_every_encoding(void **state)
{
    static const uint8_t zero[32];
    struct forgery f;
    uint8_t sig[64];

    (void)state;
    forgery_init(&f);
    const uint8_t *key = f.secret->use.key;
    for (size_t i = 0; i < SMALL_ORDER_ALL; i++) {
        /* for the neutral point, in its three encodings, the equation of points holds
         */
        forge(f.secret->use.a, zero, small_order[i], key, f.message, sig);
        assert_int_equal(verdict(key, f.message, sig), KD_INVALID);
        assert_int_equal(dime_ed25519_verify_trusted_key(key, f.message, sig),
                         KD_INVALID);
    }
    forgery_clear(&f);
}

static void
S_plus_multiples_of_the_order_is_refused(void **state)
{
    struct forgery f;
    uint8_t sig[64];
    unsigned n = 0;

    (void)state;
    forgery_init(&f);
    const uint8_t *key = f.secret->use.key;
    assert_int_equal(dime_ed25519_secret_sign(f.secret, f.message, sig), KD_OK);
    for (;;) {
        uint8_t before = sig[63];
        sodium_add(sig + 32, group_order, 32);
        if (sig[63] < before) /* wrapped: no longer congruent */
            break;
        n++;
        assert_int_equal(verdict(key, f.message, sig), KD_INVALID);
        assert_int_equal(dime_ed25519_verify_trusted_key(key, f.message, sig),
                         KD_INVALID);
    }
    assert_true(n >= 15);
    forgery_clear(&f);
}

static void
S_equal_to_the_order_or_zero_is_refused(void **state)
{
    struct forgery f;
    uint8_t sig[64] = {0};

    (void)state;
    forgery_init(&f);
    memcpy(sig, f.R, 32);
    assert_int_equal(verdict(f.secret->use.key, f.message, sig), KD_INVALID);
    memcpy(sig + 32, group_order, 32);
    assert_int_equal(verdict(f.secret->use.key, f.message, sig), KD_INVALID);
    forgery_clear(&f);
}

/* A key with torsion and messages whose hash happens to cancel it: libsodium takes
 * them, one in eight, and so would a verifier that looks at small order only. */
static void
keys_of_mixed_order_are_refused_even_when_the_equation_holds(void **state)
{
    struct forgery f;
    uint8_t torsion[32];
    uint8_t mixed[32];
    unsigned n_hold = 0;

    (void)state;
    forgery_init(&f);
    torsion_point(1, torsion);
    point_add(f.secret->use.key, torsion, mixed);
    for (uint32_t i = 0; i < 100; i++) {
        uint8_t sig[64];
        struct kd_slice message = kd_slice(&i, sizeof i);
        forge(f.secret->use.a, f.r, f.R, mixed, message, sig);
        assert_int_equal(verdict(mixed, message, sig), KD_INVALID);
        n_hold += crypto_sign_verify_detached(sig, message.p, message.n, mixed) == 0;
    }
    assert_true(n_hold > 0);
    forgery_clear(&f);
}

static void
damaged_secret_does_not_sign(void **state)
{
    uint8_t seed[32];
    uint8_t sig[64] = {9};
    struct kd_slice message = kd_slice_str("x");
    struct dime_ed25519_secret *secret = new_secret(seed);
    uint8_t *octets = (uint8_t *)secret;

    (void)state;
    for (size_t i = 0; i < sizeof *secret; i++) {
        octets[i] ^= 0x10;
        assert_int_equal(dime_ed25519_secret_check(secret), KD_FAILED);
        assert_int_equal(dime_ed25519_secret_sign(secret, message, sig), KD_FAILED);
        octets[i] ^= 0x10;
    }
    assert_int_equal(sig[0], 9);
    assert_int_equal(dime_ed25519_secret_sign(secret, message, sig), KD_OK);
    kd_secret_free(secret, sizeof *secret);
}

/* security.md F8: two signatures of one nonce under two public keys give the scalar. */
static void
foreign_public_key_is_never_hashed(void **state)
{
    uint8_t seed[32];
    uint8_t key[32];
    uint8_t sig[64] = {9};
    struct kd_slice message = kd_slice_str("x");

    (void)state;
    randombytes_buf(seed, sizeof seed);
    dime_ed25519_public(seed, key);
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] ^= 1;
        assert_int_equal(dime_ed25519_sign(seed, key, message, sig), KD_FAILED);
        key[i] ^= 1;
    }
    assert_int_equal(sig[0], 9);
    assert_int_equal(dime_ed25519_sign(seed, key, message, sig), KD_OK);
}

static int
setup(void **state)
{
    (void)state;
    return kd_secret_setup(1 << 16) == KD_OK ? 0 : -1;
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_of_small_order_are_the_multiples_of_one),
        cmocka_unit_test(keys_of_small_order_are_refused_in_all_fourteen_encodings),
        cmocka_unit_test(keys_with_y_beyond_the_field_are_refused),
        cmocka_unit_test(keys_off_the_curve_are_refused),
        cmocka_unit_test(keys_of_mixed_order_are_refused),
        cmocka_unit_test(secp_points_have_33_octets_and_02_or_03),
        cmocka_unit_test(secp_x_off_the_curve_or_beyond_the_field_is_refused),
        cmocka_unit_test(secp_x_is_lifted_to_the_even_y),
        cmocka_unit_test(rfc8032_vectors_hold),
        cmocka_unit_test(signatures_are_libsodiums),
        cmocka_unit_test(one_flipped_bit_is_refused),
        cmocka_unit_test(speccheck_cases_are_refused),
        cmocka_unit_test(any_nonce_makes_a_good_signature),
        cmocka_unit_test(
            R_of_mixed_order_is_refused_though_the_cofactored_equation_holds),
        cmocka_unit_test(R_of_small_order_is_refused_in_every_encoding),
        cmocka_unit_test(S_plus_multiples_of_the_order_is_refused),
        cmocka_unit_test(S_equal_to_the_order_or_zero_is_refused),
        cmocka_unit_test(keys_of_mixed_order_are_refused_even_when_the_equation_holds),
        cmocka_unit_test(damaged_secret_does_not_sign),
        cmocka_unit_test(foreign_public_key_is_never_hashed),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
