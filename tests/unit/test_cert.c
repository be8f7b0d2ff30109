/* From certificate to principal: who is found, and everything that is nobody. */
#include "cert.h"
#include "certs.h"
#include "test.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* mx1 is known by name, mx2 by name and key, mx3 by key alone, mx4 by a URI. */
static struct identity root, other_root, mx2, mx2_next, mx3;
static struct kd_tls_conf conf;
static struct cert_rules rules;
static uint8_t denied[2][KD_PIN_SIZE];

static void
add_client(const char *name, const char *san, const struct identity *key,
           const struct identity *next)
{
    struct kd_tls_client *c = &conf.clients[conf.n_clients++];

    *c = (struct kd_tls_client){.name = kd_slice_str(name)};
    if (san != NULL)
        c->san = kd_slice_str(san);
    if (key != NULL)
        identity_pin(key, c->pins[c->n_pins++]);
    if (next != NULL)
        identity_pin(next, c->pins[c->n_pins++]);
}

static int
make_rules(void **state)
{
    static unsigned char *der;

    (void)state;
    identity_root(&root, "root");
    identity_root(&other_root, "other root");
    identity_make(&mx2,
                  &(struct cert_spec){.issuer = &root, .san = "DNS:mx2.example.com"});
    identity_make(&mx2_next,
                  &(struct cert_spec){.issuer = &root, .san = "DNS:mx2.example.com"});
    identity_make(&mx3, &(struct cert_spec){.cn = "mx3", .no_eku = true});
    add_client("mx1", "mx1.example.com", NULL, NULL);
    add_client("mx2", "mx2.example.com", &mx2, &mx2_next);
    add_client("mx3", NULL, &mx3, NULL);
    add_client("mx4", "uri:spiffe://example.com/mx4", NULL, NULL);
    conf.allow_unpinned = true;
    int n = i2d_X509(root.cert, &der);
    conf.roots[conf.n_roots++] = kd_slice(der, (size_t)n);
    rules.conf = &conf;
    rules.roots = cert_roots(&conf);
    return rules.roots == NULL;
}

static struct cert_answer
judge_with(const struct identity *id, STACK_OF(X509) * others)
{
    struct cert_answer a;

    cert_judge(&rules, id->cert, others, time(NULL), &a);
    ERR_clear_error();
    assert_true((a.verdict == CERT_GOOD) == (a.client != NULL));
    return a;
}

/* Asserts what becomes of a certificate like that, and who it is. */
static void
is_judged(const struct cert_spec *spec, enum cert_verdict want, const char *name)
{
    struct identity id;

    identity_make(&id, spec);
    struct cert_answer a = judge_with(&id, NULL);
    if (a.verdict != want)
        fail_msg("%s (%d), not %s", cert_verdict_text(a.verdict), a.chain_error,
                 cert_verdict_text(want));
    if (name != NULL)
        assert_true(kd_slice_eq(a.client->name, kd_slice_str(name)));
    identity_clear(&id);
}

/* The same with the good name, under the root. */
#define REFUSED(want, ...)                                                             \
    is_judged(&(struct cert_spec){.issuer = &root, __VA_ARGS__}, want, NULL)
#define MX1 .san = "DNS:mx1.example.com"

static void
a_name_under_the_root_finds_its_principal(void **state)
{
    static const char *const keys[] = {"ed25519", "p256", "p384", "rsa2048", "rsa3072"};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        is_judged(&(struct cert_spec){.issuer = &root, MX1, .key = keys[i]}, CERT_GOOD,
                  "mx1");
    is_judged(
        &(struct cert_spec){.issuer = &root, .san = "URI:spiffe://example.com/mx4"},
        CERT_GOOD, "mx4");
    is_judged(&(struct cert_spec){.issuer = &root,
                                  .san = "DNS:mx1.example.com,DNS:x.example.com"},
              CERT_GOOD, "mx1");
    is_judged(&(struct cert_spec){.issuer = &root, MX1, .eku = "serverAuth,clientAuth"},
              CERT_GOOD, "mx1");
}

static void
a_pinned_name_takes_its_keys_and_no_other(void **state)
{
    (void)state;
    assert_int_equal(judge_with(&mx2, NULL).verdict, CERT_GOOD);
    assert_int_equal(judge_with(&mx2_next, NULL).verdict, CERT_GOOD);
    REFUSED(CERT_OTHER_KEY, .san = "DNS:mx2.example.com");
    /* the key under the name of another */
    is_judged(&(struct cert_spec){.issuer = &root, MX1, .with_key = mx2.key}, CERT_GOOD,
              "mx1");
}

static void
a_key_alone_finds_its_principal_whoever_signed(void **state)
{
    (void)state;
    is_judged(&(struct cert_spec){.with_key = mx3.key}, CERT_GOOD, "mx3");
    is_judged(&(struct cert_spec){.with_key = mx3.key,
                                  .issuer = &other_root,
                                  .san = "DNS:*.example.org"},
              CERT_GOOD, "mx3");
    is_judged(&(struct cert_spec){.with_key = mx3.key, .is_version_1 = true}, CERT_GOOD,
              "mx3");
    is_judged(&(struct cert_spec){.with_key = mx3.key, .is_ca = true}, CERT_GOOD,
              "mx3");
    is_judged(&(struct cert_spec){.with_key = mx3.key, .from = -100, .to = -50},
              CERT_EXPIRED, NULL);
    is_judged(&(struct cert_spec){.with_key = mx3.key, .from = 50}, CERT_NOT_YET_VALID,
              NULL);
}

static void
what_fits_two_principals_is_nobody(void **state)
{
    (void)state;
    REFUSED(CERT_AMBIGUOUS, .san = "DNS:mx1.example.com,DNS:mx2.example.com");
    REFUSED(CERT_AMBIGUOUS, .san = "DNS:mx1.example.com,URI:spiffe://example.com/mx4");
    REFUSED(CERT_AMBIGUOUS, MX1, .with_key = mx3.key);
    is_judged(&(struct cert_spec){MX1, .with_key = mx3.key}, CERT_AMBIGUOUS, NULL);
}

static void
times_are_those_of_the_certificate(void **state)
{
    (void)state;
    REFUSED(CERT_EXPIRED, MX1, .from = -7200, .to = -1);
    REFUSED(CERT_NOT_YET_VALID, MX1, .from = 60);
    struct cert_answer a = judge_with(&mx2, NULL);
    int64_t end;
    assert_true(cert_time(X509_get0_notAfter(mx2.cert), &end));
    assert_true(a.good_until == end);
    /* to the second */
    cert_judge(&rules, mx2.cert, NULL, end, &a);
    assert_int_equal(a.verdict,
                     CERT_UNTRUSTED); /* the root has ended a second before */
    cert_judge(&rules, mx2.cert, NULL, end + 1, &a);
    assert_int_equal(a.verdict, CERT_EXPIRED);
    ERR_clear_error();
}

static void
only_the_root_signs(void **state)
{
    struct identity weak, constrained;

    (void)state;
    is_judged(&(struct cert_spec){.issuer = &other_root, MX1}, CERT_UNTRUSTED, NULL);
    is_judged(&(struct cert_spec){MX1}, CERT_UNTRUSTED, NULL);
    /* an end certificate that signs */
    is_judged(&(struct cert_spec){.issuer = &mx2, MX1}, CERT_UNTRUSTED, NULL);
    /* a root of the right name and the wrong key */
    identity_root(&weak, "root");
    is_judged(&(struct cert_spec){.issuer = &weak, MX1}, CERT_UNTRUSTED, NULL);
    identity_clear(&weak);
    (void)constrained;
}

static STACK_OF(X509) * stack_of(X509 *a, X509 *b)
{
    STACK_OF(X509) *s = sk_X509_new_null();

    assert_non_null(s);
    assert_true(sk_X509_push(s, a) > 0);
    if (b != NULL)
        assert_true(sk_X509_push(s, b) > 0);
    return s;
}

/* What becomes of a good leaf under this intermediate. */
static struct cert_answer
under(const struct cert_spec *above, const struct cert_spec *leaf_spec, bool is_shown)
{
    struct identity middle, leaf;
    struct cert_spec spec = *leaf_spec;

    identity_make(&middle, above);
    spec.issuer = &middle;
    identity_make(&leaf, &spec);
    STACK_OF(X509) *others = stack_of(middle.cert, NULL);
    struct cert_answer a = judge_with(&leaf, is_shown ? others : NULL);
    sk_X509_free(others);
    identity_clear(&leaf);
    identity_clear(&middle);
    return a;
}

static void
intermediates_are_held_to_what_they_may(void **state)
{
    const struct cert_spec leaf = {MX1};
    struct cert_spec middle = {.issuer = &root, .is_ca = true, .cn = "middle"};

    (void)state;
    assert_int_equal(under(&middle, &leaf, true).verdict, CERT_GOOD);
    assert_int_equal(under(&middle, &leaf, false).verdict, CERT_UNTRUSTED);
    middle.to = 600;
    struct cert_answer a = under(&middle, &leaf, true);
    assert_int_equal(a.verdict, CERT_GOOD);
    assert_true(a.good_until <= time(NULL) + 600); /* not the leaf's, which is longer */
    middle.from = -100;
    middle.to = -50;
    assert_int_equal(under(&middle, &leaf, true).verdict, CERT_UNTRUSTED);
    middle.from = middle.to = 0;
    middle.constraints = "critical,permitted;DNS:example.net";
    assert_int_equal(under(&middle, &leaf, true).chain_error,
                     X509_V_ERR_PERMITTED_VIOLATION);
    middle.constraints = "critical,excluded;DNS:mx1.example.com";
    assert_int_equal(under(&middle, &leaf, true).chain_error,
                     X509_V_ERR_EXCLUDED_VIOLATION);
    middle.constraints = "critical,permitted;DNS:example.com";
    assert_int_equal(under(&middle, &leaf, true).verdict, CERT_GOOD);
    middle.constraints = NULL;
    middle.basic = "critical,CA:FALSE";
    assert_int_equal(under(&middle, &leaf, true).verdict, CERT_UNTRUSTED);
    middle.basic = NULL;
    middle.usage = "critical,digitalSignature";
    assert_int_equal(under(&middle, &leaf, true).verdict, CERT_UNTRUSTED);
    middle.usage = NULL;
    middle.key = "rsa1024";
    assert_int_equal(under(&middle, &leaf, true).chain_error,
                     X509_V_ERR_CA_KEY_TOO_SMALL);
    middle.key = "rsa2048";
    struct cert_spec sha1 = {MX1, .digest = "SHA1"};
    assert_int_equal(under(&middle, &sha1, true).chain_error,
                     X509_V_ERR_CA_MD_TOO_WEAK);
    assert_int_equal(under(&middle, &leaf, true).verdict, CERT_GOOD);
}

static void
a_path_longer_than_allowed_is_refused(void **state)
{
    struct identity first, second, leaf;

    (void)state;
    for (int shorter = 0; shorter <= 1; shorter++) {
        identity_make(&first, &(struct cert_spec){
                                  .issuer = &root,
                                  .is_ca = true,
                                  .cn = "first",
                                  .basic = shorter ? "critical,CA:TRUE,pathlen:1"
                                                   : "critical,CA:TRUE,pathlen:0"});
        identity_make(&second, &(struct cert_spec){
                                   .issuer = &first, .is_ca = true, .cn = "second"});
        identity_make(&leaf, &(struct cert_spec){.issuer = &second, MX1});
        STACK_OF(X509) *others = stack_of(second.cert, first.cert);
        struct cert_answer a = judge_with(&leaf, others);
        assert_int_equal(a.verdict, shorter ? CERT_GOOD : CERT_UNTRUSTED);
        assert_true(shorter || a.chain_error == X509_V_ERR_PATH_LENGTH_EXCEEDED);
        sk_X509_free(others);
        identity_clear(&first);
        identity_clear(&second);
        identity_clear(&leaf);
    }
}

static void
a_chain_of_more_than_three_between_is_refused(void **state)
{
    enum { N = 5 };
    struct identity list[N], leaf;
    STACK_OF(X509) *others = sk_X509_new_null();

    (void)state;
    for (size_t i = 0; i < N; i++) {
        char cn[16];
        snprintf(cn, sizeof cn, "step %zu", i);
        identity_make(&list[i],
                      &(struct cert_spec){.issuer = i == 0 ? &root : &list[i - 1],
                                          .is_ca = true,
                                          .cn = cn});
        assert_true(sk_X509_push(others, list[i].cert) > 0);
        identity_make(&leaf, &(struct cert_spec){.issuer = &list[i], MX1});
        assert_int_equal(judge_with(&leaf, others).verdict,
                         i < 3 ? CERT_GOOD : CERT_UNTRUSTED);
        identity_clear(&leaf);
    }
    sk_X509_free(others);
    for (size_t i = 0; i < N; i++)
        identity_clear(&list[i]);
}

static void
forms_that_are_no_clients_are_refused(void **state)
{
    (void)state;
    REFUSED(CERT_IS_CA, MX1, .is_ca = true);
    REFUSED(CERT_IS_CA, MX1, .basic = "critical,CA:TRUE");
    REFUSED(CERT_IS_CA, MX1, .usage = "keyCertSign", .no_basic = true);
    REFUSED(CERT_NO_CLIENT_AUTH, MX1, .eku = "serverAuth");
    REFUSED(CERT_NO_CLIENT_AUTH, MX1, .eku = "anyExtendedKeyUsage");
    REFUSED(CERT_NO_CLIENT_AUTH, MX1, .no_eku = true);
    REFUSED(CERT_NOT_VERSION_3, .is_version_1 = true);
    REFUSED(CERT_UNTRUSTED, MX1, .usage = "keyEncipherment");
    REFUSED(CERT_WEAK_KEY, MX1, .key = "rsa1024");
    REFUSED(CERT_WEAK_KEY, MX1, .key = "p521");
}

static void
names_that_are_none_are_refused(void **state)
{
    static const char *const dns[] = {"*.example.com",
                                      "mx*.example.com",
                                      "mx1.example.com.",
                                      "MX1.example.com",
                                      "mx1.Example.com",
                                      "mx1.example.com ",
                                      " mx1.example.com",
                                      "",
                                      ".",
                                      "mx1..example.com",
                                      ".example.com",
                                      "mx1_.example.com",
                                      "xn--\xc3\xa4.com",
                                      "192.0.2.1",
                                      "mx1.example.com:1"};
    uint8_t der[300];

    (void)state;
    REFUSED(CERT_NO_NAME, .cn = "mx1.example.com");
    for (size_t i = 0; i < sizeof dns / sizeof *dns; i++) {
        size_t n = san_make(0x82, dns[i], strlen(dns[i]), der);
        REFUSED(CERT_BAD_NAME, .san_der = kd_slice(der, n));
    }
    static const char nul[] = "mx1.example.com\0.evil.example";
    for (size_t size = 16; size < sizeof nul; size += sizeof nul - 17) {
        size_t n = san_make(0x82, nul, size, der);
        REFUSED(CERT_BAD_NAME, .san_der = kd_slice(der, n));
    }
    REFUSED(CERT_OTHER_NAME, .san = "IP:192.0.2.1");
    REFUSED(CERT_OTHER_NAME, .san = "email:mx1@example.com");
    REFUSED(CERT_OTHER_NAME, .san = "DNS:mx1.example.com,email:mx1@example.com");
    REFUSED(CERT_OTHER_NAME, .san = "RID:1.2.3.4");
    REFUSED(CERT_BAD_NAME, .san = "URI:mx1.example.com");
    /* good names beside a bad one */
    REFUSED(CERT_BAD_NAME, .san = "DNS:mx1.example.com,DNS:*.example.com");
    REFUSED(CERT_UNKNOWN, .san = "DNS:mx9.example.com");
    REFUSED(CERT_UNKNOWN, .san = "DNS:example.com");
    REFUSED(CERT_UNKNOWN, .san = "URI:spiffe://example.com/MX4");
    REFUSED(CERT_MALFORMED, MX1, .san_again = "DNS:mx1.example.com");
}

static void
names_that_do_not_parse_are_refused(void **state)
{
    static const struct {
        const char *octets;
        size_t n;
        enum cert_verdict want;
    } bad[] = {
#define BAD(text, want) {text, sizeof text - 1, want}
        BAD("\x30\x00", CERT_NO_NAME),
        BAD("\x30\x80\x00\x00", CERT_MALFORMED),
        BAD("\x30\x03\x82\x05\x61", CERT_MALFORMED),
        BAD("\x30\x05\x82\x81\x02\x61\x62", CERT_MALFORMED), /* a length too long */
        BAD("\x30\x03\x82\x01\x61\x00", CERT_MALFORMED),     /* something follows */
        BAD("\x31\x03\x82\x01\x61", CERT_MALFORMED),
        BAD("\x04\x03\x82\x01\x61", CERT_MALFORMED),
        BAD("\x30", CERT_MALFORMED)};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct identity id;
        identity_make(
            &id, &(struct cert_spec){.issuer = &root,
                                     .san_der = kd_slice(bad[i].octets, bad[i].n)});
        struct cert_answer a = judge_with(&id, NULL);
        assert_true(a.verdict == bad[i].want || a.verdict == CERT_MALFORMED);
        identity_clear(&id);
    }
}

static void
more_names_than_sixteen_are_refused(void **state)
{
    char san[1024] = "DNS:mx1.example.com";

    (void)state;
    for (int i = 1; i <= 16; i++) {
        is_judged(&(struct cert_spec){.issuer = &root, .san = san}, CERT_GOOD, "mx1");
        size_t at = strlen(san);
        snprintf(san + at, sizeof san - at, ",DNS:n%d.example.com", i);
    }
    REFUSED(CERT_TOO_MANY_NAMES, .san = san);
}

static int
compare(const void *a, const void *b)
{
    return memcmp(a, b, KD_PIN_SIZE);
}

static void
denied_keys_are_refused_and_what_they_sign(void **state)
{
    struct identity middle, leaf;

    (void)state;
    identity_make(&middle,
                  &(struct cert_spec){.issuer = &root, .is_ca = true, .cn = "middle"});
    identity_make(&leaf, &(struct cert_spec){.issuer = &middle, MX1});
    STACK_OF(X509) *others = stack_of(middle.cert, NULL);
    assert_int_equal(judge_with(&leaf, others).verdict, CERT_GOOD);
    identity_pin(&middle, denied[0]);
    identity_pin(&mx3, denied[1]);
    qsort(denied, 2, sizeof *denied, compare);
    conf.denied = kd_slice(denied, sizeof denied);
    assert_int_equal(judge_with(&leaf, others).verdict, CERT_DENIED_ISSUER);
    assert_int_equal(judge_with(&mx3, NULL).verdict, CERT_DENIED_KEY);
    assert_int_equal(judge_with(&mx2, NULL).verdict, CERT_GOOD);
    conf.denied = kd_slice(NULL, 0);
    sk_X509_free(others);
    identity_clear(&middle);
    identity_clear(&leaf);
}

static void
without_leave_a_name_alone_is_not_enough(void **state)
{
    (void)state;
    conf.allow_unpinned = false;
    REFUSED(CERT_UNPINNED, MX1);
    assert_int_equal(judge_with(&mx2, NULL).verdict, CERT_GOOD);
    conf.allow_unpinned = true;
    X509_STORE *roots = rules.roots;
    rules.roots = NULL;
    REFUSED(CERT_UNTRUSTED, MX1);
    assert_int_equal(judge_with(&mx3, NULL).verdict, CERT_GOOD);
    rules.roots = roots;
}

/* No change of one octet of a good certificate makes a good one, but for those that
 * only say the same otherwise; and none makes another principal. */
static void
no_flipped_octet_makes_a_good_certificate(void **state)
{
    unsigned char *der = NULL;
    unsigned good = 0;

    (void)state;
    int n = i2d_X509(mx2.cert, &der);
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            X509 *cert = NULL;
            der[i] ^= (unsigned char)(1 << bit);
            if (cert_parse(kd_slice(der, (size_t)n), &cert) == CERT_GOOD) {
                struct cert_answer a;
                cert_judge(&rules, cert, NULL, time(NULL), &a);
                good += a.verdict == CERT_GOOD;
                X509_free(cert);
            }
            ERR_clear_error();
            der[i] ^= (unsigned char)(1 << bit);
        }
    assert_int_equal(good, 0);
    for (int i = 0; i < n; i++) {
        X509 *cert = NULL;
        assert_int_equal(cert_parse(kd_slice(der, (size_t)i), &cert), CERT_MALFORMED);
    }
    ERR_clear_error();
    OPENSSL_free(der);
}

static void
what_is_too_large_is_not_looked_at(void **state)
{
    static uint8_t octets[KD_TLS_CERT_MAX + 1];
    X509 *cert = NULL;

    (void)state;
    assert_int_equal(cert_parse(kd_slice(octets, sizeof octets), &cert),
                     CERT_TOO_LARGE);
    assert_int_equal(cert_parse(kd_slice(octets, sizeof octets - 1), &cert),
                     CERT_MALFORMED);
    assert_int_equal(cert_parse(kd_slice(NULL, 0), &cert), CERT_MALFORMED);
    ERR_clear_error();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_under_the_root_finds_its_principal),
        cmocka_unit_test(a_pinned_name_takes_its_keys_and_no_other),
        cmocka_unit_test(a_key_alone_finds_its_principal_whoever_signed),
        cmocka_unit_test(what_fits_two_principals_is_nobody),
        cmocka_unit_test(times_are_those_of_the_certificate),
        cmocka_unit_test(only_the_root_signs),
        cmocka_unit_test(intermediates_are_held_to_what_they_may),
        cmocka_unit_test(a_path_longer_than_allowed_is_refused),
        cmocka_unit_test(a_chain_of_more_than_three_between_is_refused),
        cmocka_unit_test(forms_that_are_no_clients_are_refused),
        cmocka_unit_test(names_that_are_none_are_refused),
        cmocka_unit_test(names_that_do_not_parse_are_refused),
        cmocka_unit_test(more_names_than_sixteen_are_refused),
        cmocka_unit_test(denied_keys_are_refused_and_what_they_sign),
        cmocka_unit_test(without_leave_a_name_alone_is_not_enough),
        cmocka_unit_test(no_flipped_octet_makes_a_good_certificate),
        cmocka_unit_test(what_is_too_large_is_not_looked_at),
    };

    return cmocka_run_group_tests(tests, make_rules, NULL);
}
