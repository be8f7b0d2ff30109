/* Points before keys (D-090): what is taken for one is compared with a naive reading of
 * SEC 1, and what is none gets nowhere near a key. The classes are those that attacks
 * on ECDH are made of; every octet here is our own. */
#include "mailw.h"
#include "scale.h"
#include "test.h"

#include <keyd/base/secret.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { WHOLE = 1000000, WHOLE_ECDH = 10000, POINT = 33 };

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

#define FIELD_PRIME "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F"

static struct mailw *x;
static BN_CTX *bn;
static BIGNUM *prime;
static uint8_t *z; /* secret memory */

static int
set_up(void **state)
{
    (void)state;
    x = mailw(1024);
    assert_non_null(bn = BN_CTX_new());
    assert_true(BN_hex2bn(&prime, FIELD_PRIME) > 0);
    assert_non_null(z = kd_secret_new(32));
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    kd_secret_free(z, 32);
    BN_free(prime);
    BN_CTX_free(bn);
    return 0;
}

/* --- the naive reading --- */

/* 33 octets, 02 or 03, x below the prime, and x^3 + 7 is a square. */
static bool
is_point(struct kd_slice s)
{
    if (s.n != POINT || (s.p[0] != 2 && s.p[0] != 3))
        return false;
    BN_CTX_start(bn);
    BIGNUM *at = BN_CTX_get(bn), *rhs = BN_CTX_get(bn);
    assert_non_null(rhs);
    assert_non_null(BN_bin2bn(s.p + 1, POINT - 1, at));
    bool good = BN_cmp(at, prime) < 0;
    assert_true(BN_mod_sqr(rhs, at, prime, bn) == 1 &&
                BN_mod_mul(rhs, rhs, at, prime, bn) == 1 && BN_add_word(rhs, 7) == 1 &&
                BN_nnmod(rhs, rhs, prime, bn) == 1);
    good = good && BN_kronecker(rhs, prime, bn) == 1;
    BN_CTX_end(bn);
    return good;
}

/* --- classes --- */

static const struct {
    const char *name, *octets;
    bool good;
} classes[] = {
    {"empty", "", false},
    {"infinity", "00", false},
    {"infinity, padded",
     "000000000000000000000000000000000000000000000000000000000000000000", false},
    {"the generator",
     "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", true},
    {"its negative",
     "0379be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", true},
    {"its x alone", "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
     false},
    {"one octet too many",
     "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f8179800", false},
    {"one too few", "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f817",
     false},
    {"uncompressed",
     "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c46"
     "55"
     "da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
     false},
    {"hybrid, even",
     "0679be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c46"
     "55"
     "da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
     false},
    {"hybrid, odd",
     "0779be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c46"
     "55"
     "da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
     false},
    {"compressed with 00",
     "0079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
    {"compressed with 01",
     "0179be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
    {"compressed with 04",
     "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
    {"compressed with 05",
     "0579be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
    {"compressed with 06",
     "0679be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
    {"compressed with 07",
     "0779be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
    {"compressed with 40",
     "4079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
    {"compressed with ff",
     "ff79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
    {"x is 0", "020000000000000000000000000000000000000000000000000000000000000000",
     false},
    {"x is 1", "020000000000000000000000000000000000000000000000000000000000000001",
     true},
    {"x is 5, on the twist",
     "020000000000000000000000000000000000000000000000000000000000000005", false},
    {"x is the prime",
     "02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f", false},
    {"x is the prime and 1",
     "02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30", false},
    {"x is the prime less 1",
     "02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2e", false},
    {"x is all ones",
     "02ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", false},
    {"x of the generator of P-256",
     "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296", true},
    {"the DER of a key",
     "3056301006072a8648ce3d020106052b8104000a03420004" /* head of one, cut */, false},
    {"an octet string in front of a point",
     "04210279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
};

static struct kd_slice
octets_of(const char *hex, uint8_t room[80])
{
    size_t n;

    assert_int_equal(sodium_hex2bin(room, 80, hex, strlen(hex), NULL, &n, NULL), 0);
    return kd_slice(room, n);
}

/* Refused there, the key untouched and no secret made; or agreed upon. */
static void
assert_token(struct kd_slice point, bool good)
{
    uint64_t faults = kd_token_faults(x->token);

    memset(z, 0x5a, 32);
    assert_int_equal(kd_token_ecdh(x->token, &x->destination_enc, point, z),
                     good ? KD_OK : KD_INVALID);
    if (!good) /* z is as it was, or wiped */
        assert_true(z[0] == 0x5a || mailw_is_zero(z, 32));
    assert_int_equal(kd_token_faults(x->token), faults);
}

static void
every_class_is_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(classes); i++) {
        uint8_t room[80];
        struct kd_slice point = octets_of(classes[i].octets, room);
        if (dime_secp_point_valid(point) != classes[i].good ||
            is_point(point) != classes[i].good)
            fail_msg("%s", classes[i].name);
        assert_token(point, classes[i].good);
    }
}

/* As the ephemeral key of a message, of a bounce and of what it returns. */
static void
no_walker_uses_a_key_with_what_is_no_point(void **state)
{
    struct mail_made_bounce made;
    struct kd_buf bounce;
    struct kd_slice msg = mailw_msg();
    const struct dime_source source = dime_source_of(msg);
    uint8_t *copy = malloc(msg.n);
    const struct dime_source message = dime_source_of(kd_slice(copy, msg.n));

    (void)state;
    assert_non_null(copy);
    kd_buf_init(&bounce, 1 << 20);
    assert_int_equal(
        mail_make_bounce(&x->destination, &source, &x->to_bounce, &made, &bounce),
        KD_OK);
    for (size_t i = 0; i < LEN(classes); i++) {
        uint8_t room[80], was[POINT];
        struct kd_slice point = octets_of(classes[i].octets, room);
        struct mail_opened opened;
        struct mail_signed signed_;
        struct mail_bounce out;
        if (classes[i].good || point.n != POINT)
            continue;
        memcpy(copy, msg.p, msg.n);
        memcpy(copy + 10, point.p, POINT);
        assert_int_equal(
            mail_open_inbound(&x->destination, &message, &x->inbound, &opened),
            KD_MALFORMED);
        assert_int_equal(opened.flaw, DIME_FLAW_EPHEMERAL);
        assert_false(opened.key_used);
        assert_int_equal(
            mail_sign_outbound(&x->origin, &message, &x->outbound, &signed_),
            KD_MALFORMED);
        assert_int_equal(signed_.flaw, DIME_FLAW_EPHEMERAL);
        assert_false(signed_.key_used);
        const struct dime_source b = dime_source_of(kd_buf_slice(&bounce));
        struct dime_bounce parsed;
        assert_int_equal(dime_bounce_parse(&b, UINT32_MAX, &parsed, NULL), KD_OK);
        const uint64_t places[] = {parsed.outer.begin, parsed.returned.begin};
        for (size_t k = 0; k < LEN(places); k++) {
            memcpy(was, bounce.p + places[k] + 4, POINT);
            memcpy(bounce.p + places[k] + 4, point.p, POINT);
            assert_int_equal(mail_open_bounce(&x->origin, &b, &x->bounced, &out),
                             KD_MALFORMED);
            assert_int_equal(out.flaw, DIME_FLAW_EPHEMERAL);
            assert_false(out.key_used);
            memcpy(bounce.p + places[k] + 4, was, POINT);
        }
    }
    kd_buf_free(&bounce);
    free(copy);
}

/* --- many --- */

static uint64_t counter;

static void
random_octets(uint8_t *out, size_t n)
{
    uint8_t seed[randombytes_SEEDBYTES] = {9};

    counter++;
    memcpy(seed + 8, &counter, sizeof counter);
    randombytes_buf_deterministic(out, n, seed);
}

/* The octets of the prime and of numbers near it. */
static void
near_prime(uint8_t *out, uint8_t random)
{
    BN_CTX_start(bn);
    BIGNUM *n = BN_CTX_get(bn);
    assert_non_null(BN_copy(n, prime));
    assert_int_equal(random % 2 != 0 ? BN_add_word(n, random) : BN_sub_word(n, random),
                     1);
    assert_int_equal(BN_bn2binpad(n, out, 32), 32);
    BN_CTX_end(bn);
}

/* 33 octets most of which come close to being a point. */
static struct kd_slice
make_one(uint8_t out[80])
{
    uint8_t random[80];
    size_t n = POINT;

    random_octets(random, sizeof random);
    memcpy(out, random, 80);
    out[0] = (uint8_t)(2 + random[1] % 2);
    switch (random[79] % 8) {
    case 0: /* anything as the first octet */
        out[0] = random[0];
        break;
    case 1:
        near_prime(out + 1, random[0]);
        break;
    case 2: /* few bits */
        memset(out + 1, 0, 32);
        out[1 + random[2] % 32] = random[3];
        out[1 + random[4] % 32] |= (uint8_t)(1u << random[5] % 8);
        break;
    case 3: /* many bits */
        memset(out + 1, 0xff, 32);
        out[1 + random[2] % 32] = random[3];
        break;
    case 4: /* a point of ours with a bit changed */
        memcpy(out, x->ours[random[2] % 3], POINT);
        out[random[3] % POINT] ^= (uint8_t)(1u << random[4] % 8);
        break;
    case 5: /* another size */
        n = random[2] % 80;
        break;
    default:
        break;
    }
    return kd_slice(out, n);
}

static void
points_are_those_of_the_naive_reading(void **state)
{
    size_t n = test_rounds(WHOLE), n_good = 0, n_twist = 0;

    (void)state;
    for (size_t i = 0; i < n; i++) {
        uint8_t room[80];
        struct kd_slice point = make_one(room);
        uint8_t *exact = malloc(point.n + (point.n == 0));
        assert_non_null(exact);
        memcpy(exact, point.p, point.n);
        bool good = dime_secp_point_valid(kd_slice(exact, point.n));
        if (good != is_point(point))
            fail_msg("point %zu", i);
        n_good += good;
        n_twist += !good && point.n == POINT && point.p[0] / 2 == 1;
        free(exact);
    }
    print_message("%zu: %zu points, %zu of the right form that are none\n", n, n_good,
                  n_twist);
    assert_true(n_good > n / 5 && n_twist > n / 5);
}

/* x of scalar times point, by OpenSSL. */
static void
multiply(const uint8_t scalar[32], struct kd_slice point, uint8_t out[32])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_secp256k1);
    EC_POINT *p = EC_POINT_new(group);
    BIGNUM *k = BN_bin2bn(scalar, 32, NULL), *at = BN_new();

    assert_true(group != NULL && p != NULL && k != NULL && at != NULL);
    assert_int_equal(EC_POINT_oct2point(group, p, point.p, point.n, bn), 1);
    assert_int_equal(EC_POINT_mul(group, p, NULL, p, k, bn), 1);
    assert_int_equal(EC_POINT_get_affine_coordinates(group, p, at, NULL, bn), 1);
    assert_int_equal(BN_bn2binpad(at, out, 32), 32);
    BN_free(at);
    BN_free(k);
    EC_POINT_free(p);
    EC_GROUP_free(group);
}

static void
a_token_agrees_with_points_and_with_nothing_else(void **state)
{
    size_t n = test_rounds(WHOLE_ECDH), n_good = 0;
    uint8_t scalar[32], want[32];

    (void)state;
    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test destination enc", 25);
    for (size_t i = 0; i < n; i++) {
        uint8_t room[80];
        struct kd_slice point = make_one(room);
        bool good = is_point(point);
        assert_token(point, good);
        if (!good)
            continue;
        multiply(scalar, point, want);
        assert_memory_equal(z, want, 32);
        n_good++;
    }
    print_message("%zu: %zu agreed upon\n", n, n_good);
    assert_true(n_good > n / 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_is_told_apart),
        cmocka_unit_test(no_walker_uses_a_key_with_what_is_no_point),
        cmocka_unit_test(points_are_those_of_the_naive_reading),
        cmocka_unit_test(a_token_agrees_with_points_and_with_nothing_else),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
