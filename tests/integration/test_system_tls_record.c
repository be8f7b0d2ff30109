/* SignTlsRecord on a running daemon: what a management record says of a certificate
 * (tls=), made by the POK in both forms (D-025), recorded before it leaves, and made of
 * nothing but certificates. */
#include "ask.h"
#include "certs.h"
#include "test.h"

#include <dime/certificate.h>
#include <dime/mrec.h>
#include <dime/signet.h>
#include <keyd/base/secret.h>
#include <keyd/ledger/audit.h>

#include <openssl/x509.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static struct daemon keyd;
static struct daemon_org com, net;
static keyd_client *admin;
static uint8_t pok[32];

/* DER of a certificate of the kind that mail servers have. */
static uint8_t der[DIME_CERTIFICATE_MAX];
static size_t der_size;

static void
make_certificate(void)
{
    struct identity root, mx;
    uint8_t *p = der;

    identity_root(&root, "authority");
    identity_make(&mx, &(struct cert_spec){.issuer = &root,
                                           .key = "rsa2048",
                                           .cn = "mx.example.com",
                                           .san = "DNS:mx.example.com",
                                           .eku = "serverAuth"});
    int n = i2d_X509(mx.cert, NULL);
    assert_true(n > 0 && (size_t)n <= sizeof der);
    der_size = (size_t)i2d_X509(mx.cert, &p);
    identity_clear(&mx);
    identity_clear(&root);
}

static void
learn_pok(void)
{
    struct keyd_answer *a =
        ask(admin, &(struct keyd_request){.op = KEYD_OP_PUBLIC_KEYS});

    assert_int_equal(a->status, KEYD_OK);
    for (size_t i = 0; i < a->out.keys.n_keys; i++)
        if (memcmp(a->out.keys.keys[i].id.p, com.pok, 16) == 0)
            memcpy(pok, a->out.keys.keys[i].public_key.p, sizeof pok);
    keyd_client_answer_free(a);
    assert_false(sodium_is_zero(pok, sizeof pok));
}

static int
start(void **state)
{
    (void)state;
    assert_true(daemon_start(&keyd, NULL));
    assert_true(daemon_init_token(&keyd));
    assert_true(daemon_provision_domain(&keyd, "example.com", &com));
    assert_true(daemon_provision_domain(&keyd, "example.net", &net));
    admin = ask_connect(&keyd, "admin");
    make_certificate();
    learn_pok();
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    keyd_client_free(admin);
    daemon_clear(&keyd);
    return 0;
}

static struct keyd_request
request(const uint8_t id[16], const void *octets, size_t n)
{
    return (struct keyd_request){
        .op = KEYD_OP_SIGN_TLS_RECORD,
        .in.sign_tls_record = {KEYD_STR("example.com"), {id, 16}, {octets, n}}};
}

static struct keyd_answer *
sign(const uint8_t *key)
{
    struct keyd_request q = request(com.pok, der, der_size);

    q.idempotency_key = key;
    return ask(admin, &q);
}

/* How many records there are of it, and the last one. */
static unsigned
recorded(struct kd_audit_record *last)
{
    struct kd_audit_record r;
    struct keyd_answer *a;
    unsigned n = 0;

    for (uint64_t from = 1; from != 0;) {
        assert_int_equal(keyd_client_audit_read(admin, from, 0, &a), KEYD_OK);
        for (size_t i = 0; i < a->out.audit.n_records; i++) {
            assert_int_equal(
                kd_audit_decode(ask_slice(a->out.audit.records[i].octets), &r), KD_OK);
            if (r.op != KD_AUDIT_SIGN_TLS_RECORD)
                continue;
            n++;
            if (last != NULL)
                *last = r; /* but for what it borrows */
            assert_true(kd_slice_eq(r.domain, kd_slice_str("example.com")));
        }
        from = a->out.audit.next_seq;
        keyd_client_answer_free(a);
    }
    return n;
}

static kd_err
matches(struct keyd_octets value)
{
    static struct dime_mrec m;

    assert_int_equal(value.n, sizeof m.tls[0]);
    m = (struct dime_mrec){.n_poks = 1, .n_tls = 1};
    memcpy(m.poks[0], pok, sizeof pok);
    memcpy(m.tls[0], value.p, value.n);
    return dime_mrec_tls_match(&m, kd_slice(der, der_size), NULL);
}

static void
T_MR_103_both_forms_are_the_certificates_and_the_primary_keys(void **state)
{
    uint8_t hash[64];

    (void)state;
    struct keyd_answer *a = sign(NULL);
    assert_int_equal(a->status, KEYD_OK);
    const struct keyd_octets of_hash = a->out.tls_record.of_hash;
    const struct keyd_octets of_der = a->out.tls_record.of_der;
    assert_int_equal(matches(of_hash), KD_OK);
    assert_int_equal(matches(of_der), KD_OK);
    /* Which is which. */
    crypto_hash_sha512(hash, der, der_size);
    assert_int_equal(crypto_sign_verify_detached(of_hash.p, hash, sizeof hash, pok), 0);
    assert_int_equal(crypto_sign_verify_detached(of_der.p, der, der_size, pok), 0);
    /* And of no other certificate. */
    der[der_size - 1] ^= 1;
    assert_int_equal(matches(of_hash), KD_NOT_FOUND);
    assert_int_equal(matches(of_der), KD_NOT_FOUND);
    der[der_size - 1] ^= 1;
    keyd_client_answer_free(a);
}

static void
what_was_signed_is_recorded(void **state)
{
    struct kd_audit_record r;
    uint8_t hash[64], digest[32];
    unsigned before = recorded(NULL);

    (void)state;
    ask_ends(sign(NULL), KEYD_OK, NULL);
    assert_int_equal(recorded(&r), before + 1);
    assert_int_equal(r.outcome, KD_OUTCOME_DONE);
    assert_true(r.has_key);
    assert_memory_equal(r.key_id, com.pok, 16);
    assert_int_equal(r.n_digests, 2);
    crypto_hash_sha512(hash, der, der_size);
    crypto_hash_sha256(digest, hash, sizeof hash);
    assert_memory_equal(r.digests[0], digest, sizeof digest);
    crypto_hash_sha256(digest, der, der_size);
    assert_memory_equal(r.digests[1], digest, sizeof digest);
}

static void
refused(const void *octets, size_t n)
{
    const struct keyd_request q = request(com.pok, octets, n);

    ask_ends(ask(admin, &q), KEYD_INVALID, "bad-certificate");
}

/* Above or below the protocol's limits. */
static void
is_no_request(const void *octets, size_t n)
{
    const struct keyd_request q = request(com.pok, octets, n);
    struct keyd_answer *a = NULL;

    assert_int_equal(keyd_client_call(admin, &q, &a), KEYD_USAGE);
    keyd_client_answer_free(a);
}

/* A POK signs signets, too, and 64 octets are what it signs of a certificate. */
static void
nothing_but_a_certificate_is_signed(void **state)
{
    static uint8_t other[DIME_CERTIFICATE_MAX + 1];
    unsigned before = recorded(NULL);

    (void)state;
    /* As the caller would like to choose them, or more than is taken: no request. */
    is_no_request(other, 64);
    is_no_request(other, sizeof other);
    /* Our own signet, and its fields. */
    refused(com.signet, com.size);
    refused(com.signet + 5, com.size - 5);
    memset(other, 0, sizeof other);
    refused(other, 200);
    /* More than one certificate, or less, and one that ends in itself. */
    memcpy(other, der, der_size);
    memcpy(other + der_size, der, der_size);
    refused(other, der_size + 1);
    refused(other, 2 * der_size);
    refused(other, der_size - 1);
    other[1] = 0x80;
    refused(other, der_size);
    memset(other, 'A', 256); /* PEM, as a hand would send it */
    memcpy(other, "-----BEGIN CERTIFICATE-----\n", 28);
    refused(other, 256);
    assert_int_equal(recorded(NULL), before);
}

static void
ends_with_key(const uint8_t id[16], enum keyd_status status, const char *detail)
{
    const struct keyd_request q = request(id, der, der_size);

    ask_ends(ask(admin, &q), status, detail);
}

static void
only_an_active_primary_key_of_the_domain_does_it(void **state)
{
    static const uint8_t nobody[16];
    unsigned before = recorded(NULL);
    uint8_t old[16];

    (void)state;
    ends_with_key(nobody, KEYD_NOT_FOUND, "no-such-key");
    ends_with_key(com.sok, KEYD_INVALID, "key-spec");
    ends_with_key(com.enc, KEYD_INVALID, "key-spec");
    ends_with_key(net.pok, KEYD_INVALID, "key-spec");
    struct keyd_answer *a;
    struct keyd_request make = {.op = KEYD_OP_GENERATE_KEY};
    make.in.generate_key.role = KEYD_ROLE_POK;
    make.in.generate_key.algorithm = KEYD_ED25519;
    make.in.generate_key.domain = KEYD_STR("example.com");
    a = ask(admin, &make);
    assert_int_equal(a->status, KEYD_OK);
    memcpy(old, a->out.keys.keys[0].id.p, 16);
    keyd_client_answer_free(a);
    ends_with_key(old, KEYD_OK, NULL);
    assert_int_equal(keyd_client_retire_key(admin, (struct keyd_octets){old, 16}, &a),
                     KEYD_OK);
    keyd_client_answer_free(a);
    ends_with_key(old, KEYD_CONFLICT, "key-state");
    assert_int_equal(recorded(NULL), before + 1);
}

static void
under_a_key_that_was_used_it_is_made_again_and_recorded_again(void **state)
{
    static const uint8_t key[16] = {0x54, 0x4c, 0x53};
    static uint8_t first[64];
    unsigned before = recorded(NULL);

    (void)state;
    struct keyd_answer *a = sign(key);
    assert_int_equal(a->status, KEYD_OK);
    memcpy(first, a->out.tls_record.of_hash.p, sizeof first);
    keyd_client_answer_free(a);
    a = sign(key);
    assert_int_equal(a->status, KEYD_OK);
    assert_memory_equal(first, a->out.tls_record.of_hash.p, sizeof first);
    keyd_client_answer_free(a);
    assert_int_equal(recorded(NULL), before + 2);

    der[der_size - 1] ^= 1;
    ask_ends(sign(key), KEYD_INVALID, "idempotency-key-used");
    der[der_size - 1] ^= 1;
    assert_int_equal(recorded(NULL), before + 2);
}

enum { PAIRS = 40 };
static struct keyd_answer *both[2];

static void
keep(void *cookie, struct keyd_answer *a)
{
    both[cookie == NULL ? 0 : 1] = a;
}

/* Whoever comes second finds the first, or is told to come again. */
static void
two_of_one_key_at_once_do_no_harm(void **state)
{
    uint8_t key[16] = {0x32};
    unsigned before = recorded(NULL), n_done = 0;

    (void)state;
    for (uint8_t i = 0; i < PAIRS; i++) {
        struct keyd_request q = request(com.pok, der, der_size);
        key[1] = i;
        q.idempotency_key = key;
        both[0] = both[1] = NULL;
        assert_int_equal(keyd_client_submit(admin, &q, keep, NULL, NULL), KEYD_OK);
        assert_int_equal(keyd_client_submit(admin, &q, keep, key, NULL), KEYD_OK);
        while (keyd_client_pending(admin) != 0)
            assert_int_equal(keyd_client_process(admin, -1), KEYD_OK);
        for (int k = 0; k < 2; k++) {
            if (both[k]->status == KEYD_OK) {
                n_done++;
                assert_int_equal(matches(both[k]->out.tls_record.of_hash), KD_OK);
                keyd_client_answer_free(both[k]);
            } else {
                ask_ends(both[k], KEYD_CONFLICT, "lost-race");
            }
        }
    }
    assert_true(n_done >= PAIRS);
    assert_int_equal(recorded(NULL), before + 2 * PAIRS); /* each use of the key */
}

/* What is published beside it: the signet is the same key's. */
static void
T_MR_41_the_org_signets_signatures_verify_under_the_published_key(void **state)
{
    static const uint8_t types[] = {4, 253, 255};
    struct dime_signet s;
    enum dime_reason why;

    (void)state;
    assert_int_equal(
        dime_signet_parse_as(DIME_ORG, kd_slice(com.signet, com.size), &s, &why),
        KD_OK);
    for (size_t i = 0; i < sizeof types; i++) {
        struct kd_slice covered = dime_signet_covered(&s, types[i]);
        struct dime_field f;
        assert_true(covered.n != 0);
        assert_int_equal(dime_signet_find(&s, types[i], &f), KD_OK);
        assert_int_equal(f.value.n, DIME_SIG_SIZE);
        assert_int_equal(
            crypto_sign_verify_detached(f.value.p, covered.p, covered.n, pok), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_MR_103_both_forms_are_the_certificates_and_the_primary_keys),
        cmocka_unit_test(what_was_signed_is_recorded),
        cmocka_unit_test(nothing_but_a_certificate_is_signed),
        cmocka_unit_test(only_an_active_primary_key_of_the_domain_does_it),
        cmocka_unit_test(under_a_key_that_was_used_it_is_made_again_and_recorded_again),
        cmocka_unit_test(two_of_one_key_at_once_do_no_harm),
        cmocka_unit_test(
            T_MR_41_the_org_signets_signatures_verify_under_the_published_key),
    };

    if (sodium_init() < 0 || kd_secret_setup(64 * 1024) != KD_OK)
        return 1;
    return cmocka_run_group_tests(tests, start, stop);
}
