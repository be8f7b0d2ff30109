#include "token_suite.h"

#include <keyd/base/secret.h>

#include <pthread.h>
#include <secp256k1.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
/* cmocka.h wants setjmp.h and stdarg.h first */
#include <cmocka.h>

#define DOMAIN kd_slice_str("example.com")

static const struct token_backend *backend;

struct kd_key_info
token_key_at(struct kd_token *t, size_t at)
{
    struct kd_key_info key;

    assert_int_equal(kd_token_at(t, at, &key), KD_OK);
    return key;
}

struct kd_slice
token_message_for(enum kd_sign_purpose purpose)
{
    static const uint8_t signet[80] = {1, 32};
    static const uint8_t chunks[80] = {2, 0, 0, 33, [37] = 4};
    static const uint8_t bounce[80] = {2, 0, 0, 33, [37] = 6};
    static const uint8_t naked[80] = {2, 0, 0, 65, [69] = 33};
    static const uint8_t report[80] = {0, 0, 180};
    static const uint8_t der[80] = {0x30, 78};
    static const uint8_t hash[64] = {9};
    static const uint8_t digest[32] = {7};
    static const char checkpoint[] = "keyd checkpoint\nexample.com\n17\n";
    static const char probe[KD_PROBE_SIZE + 1] =
        "keyd probe01234567890123456789012345678901";

    switch (purpose) {
    case KD_SIGN_ORG_SIGNET:
    case KD_SIGN_USER_SIGNET:
        return kd_slice(signet, sizeof signet);
    case KD_SIGN_MESSAGE:
        return kd_slice(chunks, sizeof chunks);
    case KD_SIGN_BOUNCE:
        return kd_slice(bounce, sizeof bounce);
    case KD_SIGN_NAKED:
        return kd_slice(naked, sizeof naked);
    case KD_SIGN_REPORT:
        return kd_slice(report, sizeof report);
    case KD_SIGN_TLS_HASH:
    case KD_SIGN_CERTIFICATE_HASH:
        return kd_slice(hash, sizeof hash);
    case KD_SIGN_TLS_DER:
    case KD_SIGN_CERTIFICATE_DER:
        return kd_slice(der, sizeof der);
    case KD_SIGN_DKIM:
        return kd_slice(digest, sizeof digest);
    case KD_SIGN_AUDIT:
        return kd_slice_str(checkpoint);
    case KD_SIGN_PROBE:
        return kd_slice(probe, KD_PROBE_SIZE);
    case KD_SIGN_COUNT:
        break;
    }
    return kd_slice(NULL, 0);
}

/* A line for each kind of key, a letter for each purpose in the order of the enum:
 * X signs, - is denied. Written out, not derived: it is what purposes and roles must
 * come to (OP-13, OP-14, D-026, D-082, D-083). */
static const struct row {
    enum kd_key_role role;
    enum kd_key_alg alg;
    uint8_t permissions;
    const char *cells; /* org user msg naked report bounce tlsh tlsd certh certd dkim
                           audit probe */
} matrix[] = {
    {KD_KEY_ROLE_POK, KD_ALG_ED25519, 0, "X-----XX----X"},
    {KD_KEY_ROLE_POK, KD_ALG_ED25519, 2, "X-XXXXXX----X"},
    {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, "-X----------X"},
    {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 2, "--XXXX------X"},
    {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 3, "-XXXXX------X"},
    {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 4, "--------XX--X"},
    {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 5, "-X------XX--X"},
    {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 6, "--XXXX--XX--X"},
    {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 7, "-XXXXX--XX--X"},
    {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 9, "-X----------X"},
    {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 10, "--XXXX------X"},
    {KD_KEY_ROLE_ENC, KD_ALG_SECP256K1, 0, "-------------"},
    {KD_KEY_ROLE_DKIM, KD_ALG_ED25519, 0, "----------X-X"},
    {KD_KEY_ROLE_AUDIT, KD_ALG_ED25519, 0, "-----------XX"},
};
enum { N_ROWS = sizeof matrix / sizeof matrix[0], N_CELLS = 13 };
_Static_assert((int)KD_SIGN_COUNT == (int)N_CELLS,
               "a new purpose needs its column here");

static struct kd_token *
make_matrix(void)
{
    struct kd_key_spec specs[N_ROWS];

    for (size_t i = 0; i < N_ROWS; i++)
        specs[i] = (struct kd_key_spec){.role = matrix[i].role,
                                        .alg = matrix[i].alg,
                                        .permissions = matrix[i].permissions,
                                        .domain = DOMAIN};
    struct kd_token *t = backend->make(specs, N_ROWS);
    assert_non_null(t);
    assert_int_equal(kd_token_count(t), N_ROWS);
    return t;
}

static struct kd_token *
make_one(enum kd_key_role role, uint8_t permissions, struct kd_key_info *key)
{
    struct kd_key_spec spec = {.role = role,
                               .alg = role == KD_KEY_ROLE_ENC ? KD_ALG_SECP256K1
                                                              : KD_ALG_ED25519,
                               .permissions = permissions,
                               .domain = DOMAIN};
    struct kd_token *t = backend->make(&spec, 1);

    assert_non_null(t);
    *key = token_key_at(t, 0);
    return t;
}

/* By libsodium itself, not by the code under test. */
static bool
good(const struct kd_key_info *key, struct kd_slice m, const struct kd_token_sig *sig)
{
    return sig->n == 64 &&
           crypto_sign_verify_detached(sig->octets, m.p, m.n, key->public_key) == 0;
}

static void
T_OP_2_each_role_signs_its_purposes_and_nothing_else(void **state)
{
    struct kd_token *t = make_matrix();
    struct kd_token_sig sig;

    (void)state; /* T-OP-2 */
    for (size_t i = 0; i < N_ROWS; i++) {
        struct kd_key_info key = token_key_at(t, i);
        for (int p = 0; p < N_CELLS; p++) {
            enum kd_sign_purpose purpose = (enum kd_sign_purpose)p;
            struct kd_slice m = token_message_for(purpose);
            bool allowed = matrix[i].cells[p] == 'X';
            memset(&sig, 0xee, sizeof sig);
            kd_err err = kd_token_sign(t, &key.id, purpose, m, &sig);
            if (err != (allowed ? KD_OK : KD_DENIED))
                fail_msg("%s %d %s: %s", kd_key_role_name(key.role), key.permissions,
                         kd_purpose_name(purpose), kd_err_text(err));
            if (allowed)
                assert_true(good(&key, m, &sig));
            else
                assert_int_equal(sig.octets[5], 0xee); /* untouched */
        }
    }
    kd_token_free(t);
}

static void
keys_are_listed_and_found_by_what_they_are(void **state)
{
    struct kd_token *t = make_matrix();
    struct kd_key_info found;

    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        struct kd_key_info key = token_key_at(t, i);
        uint8_t in[1 + 33];
        uint8_t hash[32];
        assert_int_equal(key.role, matrix[i].role);
        assert_int_equal(key.permissions, matrix[i].permissions);
        assert_int_equal(key.state, KD_KEY_ACTIVE);
        assert_string_equal(key.domain, "example.com");
        in[0] = matrix[i].alg == KD_ALG_ED25519 ? 1 : 2;
        memcpy(in + 1, key.public_key, key.public_size);
        assert_int_equal(crypto_hash_sha256(hash, in, 1 + key.public_size), 0);
        assert_memory_equal(hash, key.id.octets, KD_TOKEN_ID_SIZE);
        assert_int_equal(kd_token_get(t, &key.id, &found), KD_OK);
        assert_memory_equal(&found, &key, sizeof key);
    }
    assert_int_equal(kd_token_at(t, N_ROWS, &found), KD_NOT_FOUND);
    kd_token_free(t);
}

static void
unknown_key_is_not_found(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_one(KD_KEY_ROLE_SOK, 1, &key);
    struct kd_token_sig sig;
    uint8_t *z = kd_secret_new(32);
    struct kd_slice point =
        kd_slice("\2\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95"
                 "\xce\x87\x0b\x07\x02\x9b\xfc\xdb\x2d\xce\x28\xd9"
                 "\x59\xf2\x81\x5b\x16\xf8\x17\x98",
                 33);

    (void)state;
    key.id.octets[15] ^= 1;
    assert_int_equal(kd_token_get(t, &key.id, &key), KD_NOT_FOUND);
    assert_int_equal(kd_token_sign(t, &key.id, KD_SIGN_USER_SIGNET,
                                   token_message_for(KD_SIGN_USER_SIGNET), &sig),
                     KD_NOT_FOUND);
    assert_int_equal(kd_token_ecdh(t, &key.id, point, z), KD_NOT_FOUND);
    assert_int_equal(kd_token_probe(t, &key.id), KD_NOT_FOUND);
    kd_secret_free(z, 32);
    kd_token_free(t);
}

/* D-085: a message made for one purpose is refused for another unless the starts
 * agree; which do is written out. Same order as the matrix. */
static void
messages_of_one_purpose_do_not_fit_another(void **state)
{
    static const char *const fits[N_CELLS] = {
        "XX-----------", "XX-----------", "--X----------", "---X---------",
        "----X--------", "-----X-------", "------X-X----", "-------X-X---",
        "------X-X----", "-------X-X---", "----------X--", "-----------X-",
        "------------X",
    };

    (void)state;
    for (int p = 0; p < N_CELLS; p++)
        for (int m = 0; m < N_CELLS; m++) {
            struct kd_slice message = token_message_for((enum kd_sign_purpose)m);
            kd_err err = kd_purpose_fits((enum kd_sign_purpose)p, message);
            if (err != (fits[p][m] == 'X' ? KD_OK : KD_INVALID))
                fail_msg("purpose %d, message %d: %s", p, m, kd_err_text(err));
        }
}

static void
message_that_does_not_fit_is_not_signed(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_one(KD_KEY_ROLE_SOK, 7, &key);
    struct kd_token_sig sig;
    uint8_t m[200] = {1, 0, 0, 33, [37] = 4};

    (void)state;
    for (size_t first = 0; first < 256; first++) {
        m[0] = (uint8_t)first;
        assert_int_equal(
            kd_token_sign(t, &key.id, KD_SIGN_USER_SIGNET, kd_slice(m, sizeof m), &sig),
            first == 1 ? KD_OK : KD_INVALID);
        assert_int_equal(
            kd_token_sign(t, &key.id, KD_SIGN_MESSAGE, kd_slice(m, sizeof m), &sig),
            first == 2 ? KD_OK : KD_INVALID);
        assert_int_equal(kd_token_sign(t, &key.id, KD_SIGN_CERTIFICATE_DER,
                                       kd_slice(m, sizeof m), &sig),
                         first == 0x30 ? KD_OK : KD_INVALID);
    }
    m[0] = 1;
    /* 64 octets would pass for the hash of a certificate */
    for (size_t n = 0; n <= 64; n++)
        assert_int_equal(
            kd_token_sign(t, &key.id, KD_SIGN_USER_SIGNET, kd_slice(m, n), &sig),
            KD_INVALID);
    for (size_t n = 0; n < 200; n++)
        assert_int_equal(
            kd_token_sign(t, &key.id, KD_SIGN_CERTIFICATE_HASH, kd_slice(m, n), &sig),
            n == 64 ? KD_OK : KD_INVALID);
    assert_int_equal(
        kd_token_sign(t, &key.id, KD_SIGN_COUNT, kd_slice(m, sizeof m), &sig),
        KD_DENIED);
    kd_token_free(t);
}

static void
message_past_the_stated_limit_is_too_large(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make_one(KD_KEY_ROLE_SOK, 7, &key);
    struct kd_token_sig sig;
    struct kd_slice m = token_message_for(KD_SIGN_USER_SIGNET);

    (void)state;
    /* only the start is there, and only the start may be read */
    m.n = kd_token_caps(t).max_message + 1;
    assert_int_equal(kd_token_sign(t, &key.id, KD_SIGN_USER_SIGNET, m, &sig),
                     KD_TOO_LARGE);
    kd_token_free(t);
}

/* Both sides of ECDH, ours by libsecp256k1's point multiplication rather than by its
 * ECDH. */
static void
ecdh_comes_to_the_same_on_both_sides(void **state)
{
    secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    struct kd_key_info key;
    struct kd_token *t = make_one(KD_KEY_ROLE_ENC, 0, &key);
    uint8_t *z = kd_secret_new(32);

    (void)state;
    for (int i = 0; i < 50; i++) {
        secp256k1_pubkey ours, theirs;
        uint8_t scalar[32], peer[33], product[33];
        size_t n = sizeof peer;
        do
            randombytes_buf(scalar, sizeof scalar);
        while (secp256k1_ec_pubkey_create(ctx, &ours, scalar) != 1);
        secp256k1_ec_pubkey_serialize(ctx, peer, &n, &ours, SECP256K1_EC_COMPRESSED);
        assert_int_equal(
            secp256k1_ec_pubkey_parse(ctx, &theirs, key.public_key, key.public_size),
            1);
        assert_int_equal(secp256k1_ec_pubkey_tweak_mul(ctx, &theirs, scalar), 1);
        secp256k1_ec_pubkey_serialize(ctx, product, &n, &theirs,
                                      SECP256K1_EC_COMPRESSED);
        assert_int_equal(kd_token_ecdh(t, &key.id, kd_slice(peer, 33), z), KD_OK);
        assert_memory_equal(z, product + 1, 32);
        peer[0] ^= 1; /* the other y: the same x (D-032) */
        assert_int_equal(kd_token_ecdh(t, &key.id, kd_slice(peer, 33), z), KD_OK);
        assert_memory_equal(z, product + 1, 32);
    }
    kd_secret_free(z, 32);
    kd_token_free(t);
    secp256k1_context_destroy(ctx);
}

static void
bad_points_are_refused_before_the_key_is_used(void **state)
{
    /* x = 5 has no point; x = p and above are not canonical */
    static const struct {
        const char *octets;
        size_t n;
    } bad[] = {
        {"", 0},
        {"\0", 1},
        {"\2", 1},
        {"\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5", 33},
        {"\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5", 33},
        {"\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
         "\xff\xff"
         "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
         33},
        {"\6\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b"
         "\xfc\xdb"
         "\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98"
         "\x48\x3a\xda\x77\x26\xa3\xc4\x65\x5d\xa4\xfb\xfc\x0e\x11\x08\xa8\xfd\x17\xb4"
         "\x48\xa6\x85\x54\x19\x9c\x47\xd0\x8f\xfb\x10\xd4\xb8",
         65},
        {"\4\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b"
         "\xfc\xdb"
         "\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98"
         "\x48\x3a\xda\x77\x26\xa3\xc4\x65\x5d\xa4\xfb\xfc\x0e\x11\x08\xa8\xfd\x17\xb4"
         "\x48\xa6\x85\x54\x19\x9c\x47\xd0\x8f\xfb\x10\xd4\xb8",
         65},
        {"\1\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b"
         "\xfc\xdb"
         "\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98",
         33},
        {"\2\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b"
         "\xfc\xdb"
         "\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17",
         32},
    };
    struct kd_key_info key;
    struct kd_token *t = make_one(KD_KEY_ROLE_ENC, 0, &key);
    uint8_t *z = kd_secret_new(32);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(
            kd_token_ecdh(t, &key.id, kd_slice(bad[i].octets, bad[i].n), z),
            KD_INVALID);
    assert_int_equal(kd_token_faults(t), 0);
    assert_int_equal(kd_token_probe(t, &key.id), KD_OK);
    kd_secret_free(z, 32);
    kd_token_free(t);
}

static void
ecdh_needs_the_encryption_role_and_secret_memory(void **state)
{
    struct kd_token *t = make_matrix();
    uint8_t *z = kd_secret_new(32);
    uint8_t outside[32] = {0};

    (void)state;
    struct kd_key_info enc = token_key_at(t, 11);
    struct kd_slice peer = kd_slice(enc.public_key, enc.public_size);
    for (size_t i = 0; i < N_ROWS; i++) {
        struct kd_key_info key = token_key_at(t, i);
        assert_int_equal(kd_token_ecdh(t, &key.id, peer, z),
                         key.role == KD_KEY_ROLE_ENC ? KD_OK : KD_DENIED);
    }
    assert_int_equal(kd_token_ecdh(t, &enc.id, peer, outside), KD_FAILED);
    assert_true(sodium_is_zero(outside, sizeof outside));
    kd_secret_free(z, 32);
    kd_token_free(t);
}

static void
probe_works_for_every_key(void **state)
{
    struct kd_token *t = make_matrix();

    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        struct kd_key_info key = token_key_at(t, i);
        assert_int_equal(kd_token_probe(t, &key.id), KD_OK);
    }
    kd_token_free(t);
}

/* What each state lets a key do: S signs, E agrees, P is probed. */
static void
check_state(struct kd_token *t, const struct kd_key_info *sok,
            const struct kd_key_info *enc, const char *can)
{
    struct kd_token_sig sig;
    uint8_t *z = kd_secret_new(32);
    struct kd_slice m = token_message_for(KD_SIGN_MESSAGE);
    struct kd_slice peer = kd_slice(enc->public_key, enc->public_size);

    assert_int_equal(kd_token_sign(t, &sok->id, KD_SIGN_MESSAGE, m, &sig),
                     strchr(can, 'S') ? KD_OK : KD_DENIED);
    assert_int_equal(kd_token_ecdh(t, &enc->id, peer, z),
                     strchr(can, 'E') ? KD_OK : KD_DENIED);
    kd_err probed = strchr(can, 'P') ? KD_OK : KD_DENIED;
    assert_int_equal(kd_token_probe(t, &sok->id), probed);
    assert_int_equal(kd_token_probe(t, &enc->id), probed);
    kd_secret_free(z, 32);
}

static void
both(struct kd_token *t, const struct kd_key_info *a, const struct kd_key_info *b,
     enum kd_key_state state)
{
    assert_int_equal(kd_token_set_state(t, &a->id, state), KD_OK);
    assert_int_equal(kd_token_set_state(t, &b->id, state), KD_OK);
}

static void
states_bound_what_a_key_does(void **state)
{
    static const struct kd_key_spec specs[2] = {
        {.role = KD_KEY_ROLE_SOK,
         .alg = KD_ALG_ED25519,
         .permissions = 2,
         .domain = {(const uint8_t *)"a.example", 9}},
        {.role = KD_KEY_ROLE_ENC,
         .alg = KD_ALG_SECP256K1,
         .permissions = 0,
         .domain = {(const uint8_t *)"a.example", 9}},
    };
    struct kd_token *t = backend->make(specs, 2);
    struct kd_key_info made[2];

    (void)state;
    if ((kd_token_caps(t).flags & KD_TOKEN_SETS_STATE) == 0 ||
        (kd_token_caps(t).flags & KD_TOKEN_GENERATES) == 0) {
        kd_token_free(t);
        skip();
    }
    assert_int_equal(kd_token_generate(t, &specs[0], &made[0]), KD_OK);
    assert_int_equal(kd_token_generate(t, &specs[1], &made[1]), KD_OK);
    assert_int_equal(made[0].state, KD_KEY_PRE_ACTIVE);
    check_state(t, &made[0], &made[1], "P");
    both(t, &made[0], &made[1], KD_KEY_ACTIVE);
    check_state(t, &made[0], &made[1], "SEP");
    both(t, &made[0], &made[1], KD_KEY_RETAINED);
    check_state(t, &made[0], &made[1], "EP");
    both(t, &made[0], &made[1], KD_KEY_REVOKED);
    check_state(t, &made[0], &made[1], "");
    both(t, &made[0], &made[1], KD_KEY_DESTROYED);
    check_state(t, &made[0], &made[1], "");
    assert_int_equal(token_key_at(t, 2).state, KD_KEY_DESTROYED);
    kd_token_free(t);
}

static void
only_steps_of_a_keys_life_are_taken(void **state)
{
    /* rows from, columns to: pre-active active retained revoked destroyed */
    static const char *const steps[5] = {"-X-XX", "--XX-", "---XX", "----X", "-----"};
    static const enum kd_key_state reach[5][3] = {
        {0},
        {KD_KEY_ACTIVE},
        {KD_KEY_ACTIVE, KD_KEY_RETAINED},
        {KD_KEY_ACTIVE, KD_KEY_REVOKED},
        {KD_KEY_ACTIVE, KD_KEY_REVOKED, KD_KEY_DESTROYED},
    };
    struct kd_key_info key;
    struct kd_token *t = make_one(KD_KEY_ROLE_SOK, 1, &key);
    struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                               .alg = KD_ALG_ED25519,
                               .permissions = 1,
                               .domain = DOMAIN};

    (void)state;
    unsigned needed = KD_TOKEN_SETS_STATE | KD_TOKEN_GENERATES;
    if ((kd_token_caps(t).flags & needed) != needed) {
        kd_token_free(t);
        skip();
    }
    for (size_t from = 0; from < 5; from++)
        for (size_t to = 0; to < 5; to++) {
            assert_int_equal(kd_token_generate(t, &spec, &key), KD_OK);
            for (size_t i = 0; i < 3 && reach[from][i] != 0; i++)
                assert_int_equal(kd_token_set_state(t, &key.id, reach[from][i]), KD_OK);
            kd_err err = kd_token_set_state(t, &key.id, (enum kd_key_state)(to + 1));
            assert_int_equal(err, steps[from][to] == 'X' ? KD_OK : KD_DENIED);
        }
    assert_int_equal(kd_token_set_state(t, &key.id, (enum kd_key_state)9), KD_INVALID);
    kd_token_free(t);
}

static void
contradictory_specs_are_refused(void **state)
{
    static const struct {
        enum kd_key_role role;
        enum kd_key_alg alg;
        uint8_t permissions;
        const char *domain;
    } bad[] = {
        {KD_KEY_ROLE_POK, KD_ALG_SECP256K1, 0, "example.com"},
        {KD_KEY_ROLE_POK, KD_ALG_ED25519, 1, "example.com"},
        {KD_KEY_ROLE_POK, KD_ALG_ED25519, 4, "example.com"},
        {KD_KEY_ROLE_POK, KD_ALG_ED25519, 0, ""},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 0, "example.com"},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 8, "example.com"},  /* software only: void */
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 17, "example.com"}, /* D-034 */
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 128, "example.com"},
        {KD_KEY_ROLE_ENC, KD_ALG_ED25519, 0, "example.com"},
        {KD_KEY_ROLE_ENC, KD_ALG_SECP256K1, 2, "example.com"},
        {KD_KEY_ROLE_DKIM, KD_ALG_ED25519, 2, "example.com"},
        {KD_KEY_ROLE_AUDIT, KD_ALG_SECP256K1, 0, ""},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, "Example.com"},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, "example.com."},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, ".example.com"},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, "example..com"},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, "-example.com"},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, "example-.com"},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, "example.com-"},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, "exam ple.com"},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1, "ex\xc3\xa4mple.com"},
        {KD_KEY_ROLE_SOK, KD_ALG_ED25519, 1,
         "a123456789012345678901234567890123456789012345678901234567890123.com"},
        {(enum kd_key_role)0, KD_ALG_ED25519, 1, "example.com"},
        {(enum kd_key_role)6, KD_ALG_ED25519, 1, "example.com"},
        {KD_KEY_ROLE_SOK, (enum kd_key_alg)0, 1, "example.com"},
        {KD_KEY_ROLE_SOK, (enum kd_key_alg)99, 1, "example.com"},
    };
    struct kd_key_info key;
    struct kd_token *t = make_one(KD_KEY_ROLE_SOK, 1, &key);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kd_key_spec spec = {.role = bad[i].role,
                                   .alg = bad[i].alg,
                                   .permissions = bad[i].permissions,
                                   .domain = kd_slice_str(bad[i].domain)};
        if (kd_key_spec_check(&spec) != KD_INVALID)
            fail_msg("spec %zu was taken", i);
        assert_int_equal(kd_token_generate(t, &spec, &key), KD_INVALID);
    }
    char longest[256];
    memset(longest, 'a', sizeof longest);
    for (size_t i = 63; i < sizeof longest; i += 64)
        longest[i] = '.';
    struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                               .alg = KD_ALG_ED25519,
                               .permissions = 1,
                               .domain = kd_slice(longest, 254)};
    assert_int_equal(kd_key_spec_check(&spec), KD_OK);
    spec.domain.n = 255;
    assert_int_equal(kd_key_spec_check(&spec), KD_INVALID);
    assert_int_equal(kd_token_count(t), 1);
    kd_token_free(t);
}

static void
imported_key_is_the_key_of_its_secret(void **state)
{
    /* RFC 8032, 7.1, test 2; secp256k1: the scalar 1, whose point is the generator */
    static const uint8_t seed[32] =
        "\x4c\xcd\x08\x9b\x28\xff\x96\xda\x9d\xb6\xc3\x46\xec\x11\x4e\x0f"
        "\x5b\x8a\x31\x9f\x35\xab\xa6\x24\xda\x8c\xf6\xed\x4f\xb8\xa6\xfb";
    static const uint8_t seed_public[32] =
        "\x3d\x40\x17\xc3\xe8\x43\x89\x5a\x92\xb7\x0a\xa7\x4d\x1b\x7e\xbc"
        "\x9c\x98\x2c\xcf\x2e\xc4\x96\x8c\xc0\xcd\x55\xf1\x2a\xf4\x66\x0c";
    static const uint8_t generator[33] =
        "\2\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b\xfc"
        "\xdb\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98";
    uint8_t one[32] = {[31] = 1};
    uint8_t zero[32] = {0};
    struct kd_key_info key;
    struct kd_token *t = make_one(KD_KEY_ROLE_SOK, 1, &key);
    struct kd_key_spec sok = {.role = KD_KEY_ROLE_SOK,
                              .alg = KD_ALG_ED25519,
                              .permissions = 2,
                              .domain = DOMAIN};
    struct kd_key_spec pok = {.role = KD_KEY_ROLE_POK,
                              .alg = KD_ALG_ED25519,
                              .permissions = 0,
                              .domain = DOMAIN};
    struct kd_key_spec enc = {.role = KD_KEY_ROLE_ENC,
                              .alg = KD_ALG_SECP256K1,
                              .permissions = 0,
                              .domain = DOMAIN};

    (void)state;
    if ((kd_token_caps(t).flags & KD_TOKEN_IMPORTS) == 0) {
        kd_token_free(t);
        skip();
    }
    assert_int_equal(kd_token_import(t, &sok, kd_slice(seed, 32), &key), KD_OK);
    assert_memory_equal(key.public_key, seed_public, 32);
    assert_int_equal(kd_token_probe(t, &key.id), KD_OK);
    assert_int_equal(kd_token_import(t, &sok, kd_slice(seed, 32), &key), KD_CONFLICT);
    /* the same key as POK and SOK */
    assert_int_equal(kd_token_import(t, &pok, kd_slice(seed, 32), &key), KD_CONFLICT);
    assert_int_equal(kd_token_import(t, &sok, kd_slice(seed, 31), &key), KD_INVALID);
    assert_int_equal(kd_token_import(t, &enc, kd_slice(one, 32), &key), KD_OK);
    assert_memory_equal(key.public_key, generator, 33);
    assert_int_equal(kd_token_import(t, &enc, kd_slice(zero, 32), &key), KD_INVALID);
    memset(one, 0xff, sizeof one); /* above the group order */
    assert_int_equal(kd_token_import(t, &enc, kd_slice(one, 32), &key), KD_INVALID);
    assert_int_equal(kd_token_count(t), 3);
    kd_token_free(t);
}

static void
sealed_token_refuses(void **state)
{
    struct kd_token *t = make_matrix();
    struct kd_token_sig sig;
    uint8_t *z = kd_secret_new(32);
    struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                               .alg = KD_ALG_ED25519,
                               .permissions = 1,
                               .domain = DOMAIN};
    struct kd_key_info key;

    (void)state;
    struct kd_key_info sok = token_key_at(t, 2);
    struct kd_key_info enc = token_key_at(t, 11);
    kd_token_seal(t);
    assert_int_equal(kd_token_sign(t, &sok.id, KD_SIGN_USER_SIGNET,
                                   token_message_for(KD_SIGN_USER_SIGNET), &sig),
                     KD_SEALED);
    assert_int_equal(
        kd_token_ecdh(t, &enc.id, kd_slice(enc.public_key, enc.public_size), z),
        KD_SEALED);
    assert_int_equal(kd_token_probe(t, &sok.id), KD_SEALED);
    assert_int_equal(kd_token_probe(t, &enc.id), KD_SEALED);
    unsigned flags = kd_token_caps(t).flags;
    if ((flags & KD_TOKEN_GENERATES) != 0)
        assert_int_equal(kd_token_generate(t, &spec, &key), KD_SEALED);
    if ((flags & KD_TOKEN_IMPORTS) != 0)
        assert_int_equal(kd_token_import(t, &spec, kd_slice(sok.public_key, 32), &key),
                         KD_SEALED);
    if ((flags & KD_TOKEN_SETS_STATE) != 0)
        assert_int_equal(kd_token_set_state(t, &sok.id, KD_KEY_REVOKED), KD_SEALED);
    assert_int_equal(kd_token_count(t), N_ROWS); /* what is public stays */
    kd_token_seal(t);                            /* twice does no harm */
    kd_secret_free(z, 32);
    kd_token_free(t);
}

enum { N_THREADS = 4, N_ROUNDS = 100 };

struct worker {
    struct kd_token *token;
    struct kd_key_info sok;
    struct kd_key_info enc;
    unsigned number;
    unsigned n_good;
};

static void *
work(void *arg)
{
    struct worker *w = arg;
    uint8_t *z = kd_secret_new(32);
    uint8_t m[400] = {2, 0, 0, 33, [37] = 4};
    struct kd_slice peer = kd_slice(w->enc.public_key, w->enc.public_size);

    for (unsigned i = 0; i < N_ROUNDS; i++) {
        struct kd_token_sig sig;
        m[4] = (uint8_t)w->number;
        m[5] = (uint8_t)i;
        struct kd_slice message = kd_slice(m, sizeof m - i);
        if (kd_token_sign(w->token, &w->sok.id, KD_SIGN_MESSAGE, message, &sig) ==
                KD_OK &&
            good(&w->sok, message, &sig) &&
            kd_token_ecdh(w->token, &w->enc.id, peer, z) == KD_OK)
            w->n_good++;
    }
    kd_secret_free(z, 32);
    return NULL;
}

static void
four_threads_sign_and_agree_at_once(void **state)
{
    struct kd_token *t = make_matrix();
    struct worker workers[N_THREADS];
    pthread_t threads[N_THREADS];
    struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                               .alg = KD_ALG_ED25519,
                               .permissions = 1,
                               .domain = DOMAIN};
    struct kd_key_info key;

    (void)state;
    kd_token_set_verify(t, 16);
    for (unsigned i = 0; i < N_THREADS; i++) {
        workers[i] = (struct worker){t, token_key_at(t, 3), token_key_at(t, 11), i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    if ((kd_token_caps(t).flags & KD_TOKEN_GENERATES) != 0)
        for (int i = 0; i < 5; i++)
            assert_int_equal(kd_token_generate(t, &spec, &key), KD_OK);
    for (unsigned i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(workers[i].n_good, N_ROUNDS);
    }
    assert_int_equal(kd_token_faults(t), 0);
    kd_token_free(t);
}

static void
names_are_those_of_the_tables(void **state)
{
    (void)state;
    assert_string_equal(kd_key_role_name(KD_KEY_ROLE_SOK), "sok");
    assert_string_equal(kd_key_role_text(KD_KEY_ROLE_ENC),
                        "organizational encryption key");
    assert_string_equal(kd_state_name(KD_KEY_PRE_ACTIVE), "pre-active");
    assert_string_equal(kd_alg_name(KD_ALG_SECP256K1), "secp256k1");
    assert_string_equal(kd_purpose_name(KD_SIGN_AUDIT), "audit");
    assert_string_equal(kd_key_role_name((enum kd_key_role)77), "?");
    assert_string_equal(kd_state_name((enum kd_key_state)0), "?");
    assert_string_equal(kd_alg_name((enum kd_key_alg)0), "?");
    assert_string_equal(kd_purpose_name(KD_SIGN_COUNT), "?");
    assert_true(strlen(backend->name) > 0);
}

int
token_suite_run(const struct token_backend *b)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_OP_2_each_role_signs_its_purposes_and_nothing_else),
        cmocka_unit_test(keys_are_listed_and_found_by_what_they_are),
        cmocka_unit_test(unknown_key_is_not_found),
        cmocka_unit_test(messages_of_one_purpose_do_not_fit_another),
        cmocka_unit_test(message_that_does_not_fit_is_not_signed),
        cmocka_unit_test(message_past_the_stated_limit_is_too_large),
        cmocka_unit_test(ecdh_comes_to_the_same_on_both_sides),
        cmocka_unit_test(bad_points_are_refused_before_the_key_is_used),
        cmocka_unit_test(ecdh_needs_the_encryption_role_and_secret_memory),
        cmocka_unit_test(probe_works_for_every_key),
        cmocka_unit_test(states_bound_what_a_key_does),
        cmocka_unit_test(only_steps_of_a_keys_life_are_taken),
        cmocka_unit_test(contradictory_specs_are_refused),
        cmocka_unit_test(imported_key_is_the_key_of_its_secret),
        cmocka_unit_test(sealed_token_refuses),
        cmocka_unit_test(four_threads_sign_and_agree_at_once),
        cmocka_unit_test(names_are_those_of_the_tables),
    };

    backend = b;
    return cmocka_run_group_tests_name(b->name, tests, NULL, NULL);
}
