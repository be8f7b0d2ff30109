/* client/resolver/src/cert.h and revoked.h, without a handshake. */
#include <cert.h>
#include <fetch.h>
#include <revoked.h>

#include "../support/authority.h"
#include "../support/test.h"

#include <keyd/base/clock.h>
#include <openssl/ocsp.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define HOST "mx1.example.com"
#define DOMAIN "example.com"

static struct {
    struct identity root, other_root, middle;
    EVP_PKEY *rsa; /* 2048 bits, of most certificates */
    X509_STORE *store;
    uint8_t pok[2][64], sok[64]; /* secret keys as libsodium has them */
    uint8_t pok_public[2][32];
} world;

static int
world_begin(void **state)
{
    uint8_t sok_public[32];

    (void)state;
    if (sodium_init() < 0)
        return -1;
    identity_make(&world.root,
                  &(struct cert_spec){.is_ca = true, .cn = "root", .key = "p256"});
    identity_make(&world.other_root,
                  &(struct cert_spec){.is_ca = true, .cn = "other", .key = "p256"});
    identity_make(&world.middle, &(struct cert_spec){.is_ca = true,
                                                     .cn = "middle",
                                                     .key = "p256",
                                                     .issuer = &world.root});
    world.rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    world.store = X509_STORE_new();
    for (int i = 0; i < 2; i++)
        crypto_sign_keypair(world.pok_public[i], world.pok[i]);
    crypto_sign_keypair(sok_public, world.sok);
    return world.store != NULL && world.rsa != NULL &&
                   X509_STORE_add_cert(world.store, world.root.cert) == 1
               ? 0
               : -1;
}

static int
world_end(void **state)
{
    (void)state;
    identity_clear(&world.root);
    identity_clear(&world.other_root);
    identity_clear(&world.middle);
    EVP_PKEY_free(world.rsa);
    X509_STORE_free(world.store);
    return 0;
}

/* A host's certificate by the root, unless s says otherwise. */
static void
make_leaf(struct identity *out, struct cert_spec s)
{
    if (s.key == NULL && s.with_key == NULL)
        s.with_key = world.rsa;
    if (s.san == NULL)
        s.san = "DNS:" HOST;
    if (s.eku == NULL)
        s.eku = "serverAuth";
    if (s.issuer == NULL)
        s.issuer = &world.root;
    identity_make(out, &s);
}

static void
make_record(struct dime_mrec *m, size_t n_poks)
{
    memset(m, 0, sizeof *m);
    m->n_poks = n_poks;
    for (size_t i = 0; i < n_poks; i++)
        memcpy(m->poks[i], world.pok_public[i], 32);
}

/* A tls value: over SHA-512 of the DER, as libdime has it, or over the DER. */
static void
add_tls(struct dime_mrec *m, const struct identity *id, const uint8_t secret[64],
        bool is_hashed)
{
    unsigned char *der = NULL;
    uint8_t hash[64];
    int n = i2d_X509(id->cert, &der);

    assert_true(n > 0);
    crypto_hash_sha512(hash, der, (unsigned long long)n);
    if (is_hashed)
        crypto_sign_detached(m->tls[m->n_tls], NULL, hash, sizeof hash, secret);
    else
        crypto_sign_detached(m->tls[m->n_tls], NULL, der, (unsigned long long)n,
                             secret);
    m->n_tls++;
    OPENSSL_free(der);
}

static struct cert_question
question(const struct dime_mrec *m, const struct identity *id, bool is_secure)
{
    return (struct cert_question){.record = m,
                                  .is_secure = is_secure,
                                  .host = HOST,
                                  .domain = DOMAIN,
                                  .cert = id->cert,
                                  .authorities = world.store,
                                  .is_tls13 = true,
                                  .now = time(NULL)};
}

static enum cert_why
judge(struct cert_question q)
{
    struct cert_verdict v;

    cert_judge(&q, &v);
    enum cert_why why = v.why;
    assert_string_not_equal(cert_text(&v), "?");
    assert_int_equal(cert_wants_revocation(&v), why == CERT_VALID);
    cert_verdict_clear(&v);
    return why;
}

static enum cert_why
verdict(const struct dime_mrec *m, const struct identity *id, bool is_secure)
{
    return judge(question(m, id, is_secure));
}

/* ---- the table */

static bool
passes(bool is_secure, enum cert_tls tls, enum cert_why x509)
{
    struct cert_verdict v = {.why = cert_table(is_secure, tls, x509)};

    return cert_passes(&v);
}

static bool
asks(bool is_secure, enum cert_tls tls, enum cert_why x509)
{
    struct cert_verdict v = {.why = cert_table(is_secure, tls, x509)};

    return cert_wants_revocation(&v);
}

static void
TR_44_to_52_the_table(void **state)
{
    static const enum cert_why bad[] = {CERT_CHAIN, CERT_HOST, CERT_STRANGER,
                                        CERT_NO_MEMORY};

    (void)state;
    assert_true(passes(true, CERT_TLS_MATCH, CERT_VALID)); /* TR-44 */
    assert_false(asks(true, CERT_TLS_MATCH, CERT_VALID));
    assert_true(passes(true, CERT_TLS_NONE, CERT_VALID)); /* TR-45 */
    assert_true(asks(true, CERT_TLS_NONE, CERT_VALID));
    assert_false(passes(true, CERT_TLS_DIFFERS, CERT_VALID)); /* TR-47 */
    assert_true(passes(false, CERT_TLS_MATCH, CERT_VALID));   /* TR-48 */
    assert_false(asks(false, CERT_TLS_MATCH, CERT_VALID));
    assert_true(passes(false, CERT_TLS_NONE, CERT_VALID)); /* TR-50 */
    assert_true(asks(false, CERT_TLS_NONE, CERT_VALID));
    assert_false(passes(false, CERT_TLS_DIFFERS, CERT_VALID)); /* TR-52 */
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(passes(true, CERT_TLS_MATCH, bad[i])); /* TR-44 */
        assert_false(passes(true, CERT_TLS_NONE, bad[i])); /* TR-46 */
        assert_false(passes(true, CERT_TLS_DIFFERS, bad[i]));
        assert_false(passes(false, CERT_TLS_MATCH, bad[i])); /* TR-49 */
        assert_false(passes(false, CERT_TLS_NONE, bad[i]));  /* TR-51 */
        assert_false(passes(false, CERT_TLS_DIFFERS, bad[i]));
    }
}

/* ---- tls values */

static void
T_MR_77_to_81_which_values_match(void **state)
{
    struct identity leaf, other;
    struct dime_mrec m;

    (void)state;
    make_leaf(&leaf, (struct cert_spec){0});
    make_leaf(&other, (struct cert_spec){0});
    make_record(&m, 1);
    add_tls(&m, &leaf, world.pok[0], true); /* T-MR-77 */
    assert_int_equal(verdict(&m, &leaf, true), CERT_PINNED);
    assert_int_equal(verdict(&m, &other, true), CERT_MISMATCH);
    make_record(&m, 1);
    add_tls(&m, &leaf, world.pok[0], false); /* T-MR-78 */
    assert_int_equal(verdict(&m, &leaf, true), CERT_PINNED);
    assert_int_equal(verdict(&m, &leaf, false), CERT_PINNED_VALID);
    make_record(&m, 2);
    add_tls(&m, &leaf, world.pok[1], true); /* T-MR-79 */
    assert_int_equal(verdict(&m, &leaf, true), CERT_PINNED);
    make_record(&m, 1); /* the same value without its key */
    add_tls(&m, &leaf, world.pok[1], true);
    assert_int_equal(verdict(&m, &leaf, true), CERT_MISMATCH);
    make_record(&m, 2); /* T-MR-80 */
    add_tls(&m, &other, world.pok[0], true);
    add_tls(&m, &other, world.pok[1], false);
    add_tls(&m, &leaf, world.pok[0], false);
    assert_int_equal(verdict(&m, &leaf, true), CERT_PINNED);
    make_record(&m, 2); /* T-MR-81 */
    add_tls(&m, &leaf, world.sok, true);
    add_tls(&m, &leaf, world.sok, false);
    assert_int_equal(verdict(&m, &leaf, true), CERT_MISMATCH);
    assert_int_equal(verdict(&m, &leaf, false), CERT_MISMATCH); /* T-TR-20 */
    identity_clear(&leaf);
    identity_clear(&other);
}

static void
TR_41_a_pin_under_dnssec_is_enough(void **state)
{
    struct cert_spec kinds[] = {
        {.issuer = &world.other_root},   {.from = -7200, .to = -3600}, {.from = 3600},
        {.san = "DNS:else.example.org"}, {.eku = "clientAuth"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct identity leaf;
        struct dime_mrec m;
        make_leaf(&leaf, kinds[i]);
        make_record(&m, 1);
        assert_int_not_equal(verdict(&m, &leaf, true), CERT_VALID);
        assert_int_not_equal(verdict(&m, &leaf, true), CERT_PINNED);
        add_tls(&m, &leaf, world.pok[0], true);
        assert_int_equal(verdict(&m, &leaf, true), CERT_PINNED);
        /* T-MR-84 and its like: without DNSSEC it must be good, too */
        enum cert_why why = verdict(&m, &leaf, false);
        assert_true(why == CERT_CHAIN || why == CERT_HOST);
        identity_clear(&leaf);
    }
}

/* ---- X.509 */

static void
T_MR_83_a_self_signed_certificate_needs_a_pin(void **state)
{
    struct identity self;
    struct dime_mrec m;

    (void)state;
    identity_make(&self, &(struct cert_spec){.with_key = world.rsa,
                                             .san = "DNS:" HOST,
                                             .eku = "serverAuth"});
    make_record(&m, 1);
    assert_int_equal(verdict(&m, &self, true), CERT_CHAIN);
    assert_int_equal(verdict(&m, &self, false), CERT_CHAIN);
    add_tls(&m, &self, world.pok[0], true);
    assert_int_equal(verdict(&m, &self, true), CERT_PINNED);
    assert_int_equal(verdict(&m, &self, false), CERT_CHAIN);
    identity_clear(&self);
}

static void
issuers_that_came_along_are_used(void **state)
{
    struct identity leaf;
    struct dime_mrec m;
    STACK_OF(X509) *others = sk_X509_new_null();

    (void)state;
    make_leaf(&leaf, (struct cert_spec){.issuer = &world.middle});
    make_record(&m, 1);
    struct cert_question q = question(&m, &leaf, true);
    assert_int_equal(judge(q), CERT_CHAIN);
    sk_X509_push(others, leaf.cert);
    sk_X509_push(others, world.middle.cert);
    q.others = others;
    assert_int_equal(judge(q), CERT_VALID);
    sk_X509_free(others);
    identity_clear(&leaf);
}

/* Whoever breaks a link of it is an authority. */
static void
chains_are_as_strong_as_all_links(void **state)
{
    struct identity leaf, weak;
    struct dime_mrec m;
    STACK_OF(X509) *others = sk_X509_new_null();

    (void)state;
    make_record(&m, 1);
    make_leaf(&leaf, (struct cert_spec){.digest = "SHA1"});
    assert_int_equal(verdict(&m, &leaf, true), CERT_CHAIN);
    identity_clear(&leaf);
    identity_make(&weak, &(struct cert_spec){.is_ca = true,
                                             .cn = "weak",
                                             .key = "rsa1024",
                                             .issuer = &world.root});
    make_leaf(&leaf, (struct cert_spec){.issuer = &weak});
    sk_X509_push(others, weak.cert);
    struct cert_question q = question(&m, &leaf, true);
    q.others = others;
    assert_int_equal(judge(q), CERT_CHAIN);
    sk_X509_free(others);
    identity_clear(&leaf);
    identity_clear(&weak);
}

/* One that an authority vouches for is none itself. */
static void
a_host_issues_nothing(void **state)
{
    struct identity leaf, host;
    struct dime_mrec m;
    STACK_OF(X509) *others = sk_X509_new_null();

    (void)state;
    make_record(&m, 1);
    make_leaf(&host, (struct cert_spec){.cn = "host", .san = "DNS:else.example.org"});
    make_leaf(&leaf, (struct cert_spec){.issuer = &host});
    sk_X509_push(others, host.cert);
    struct cert_question q = question(&m, &leaf, true);
    q.others = others;
    assert_int_equal(judge(q), CERT_CHAIN);
    sk_X509_free(others);
    identity_clear(&leaf);
    identity_clear(&host);
}

static void
now_is_what_the_caller_says(void **state)
{
    struct identity leaf;
    struct dime_mrec m;

    (void)state;
    make_leaf(&leaf, (struct cert_spec){.to = 86400});
    make_record(&m, 1);
    struct cert_question q = question(&m, &leaf, true);
    q.now += 86400 + 60;
    assert_int_equal(judge(q), CERT_CHAIN);
    q.now -= 120;
    assert_int_equal(judge(q), CERT_VALID);
    identity_clear(&leaf);
}

static enum cert_why
named(const char *san, const char *host, bool is_secure, bool is_relaxed)
{
    struct identity leaf;
    struct dime_mrec m;

    make_leaf(&leaf, (struct cert_spec){.san = san});
    make_record(&m, 1);
    struct cert_question q = question(&m, &leaf, is_secure);
    q.host = host;
    q.is_relaxed = is_relaxed;
    enum cert_why why = judge(q);
    identity_clear(&leaf);
    return why;
}

static void
D_029_without_dnssec_the_host_is_the_domains(void **state)
{
    static const char mx[] = "DNS:mx.example.net",
                      both[] = "DNS:mx.example.net,DNS:example.com";

    (void)state;
    assert_int_equal(named("DNS:" HOST, HOST, false, false), CERT_VALID);
    assert_int_equal(named("DNS:" DOMAIN, DOMAIN, false, false), CERT_VALID);
    assert_int_equal(named("DNS:*.example.com", HOST, false, false), CERT_VALID);
    assert_int_equal(named(mx, "mx.example.net", true, false), CERT_VALID);
    assert_int_equal(named(mx, "mx.example.net", false, false), CERT_STRANGER);
    assert_int_equal(named(mx, "mx.example.net", false, true), CERT_VALID);
    assert_int_equal(named(both, "mx.example.net", false, false), CERT_VALID);
    /* the domain's alone is not the host's */
    assert_int_equal(named("DNS:" DOMAIN, "mx.example.net", false, false), CERT_HOST);
    assert_int_equal(named("DNS:" DOMAIN, HOST, true, false), CERT_HOST);
    assert_int_equal(named("DNS:" DOMAIN, HOST, true, true), CERT_HOST);
    /* ends alike, lies elsewhere */
    assert_int_equal(named("DNS:notexample.com", "notexample.com", false, false),
                     CERT_STRANGER);
    assert_int_equal(
        named("DNS:example.com.example.org", "example.com.example.org", false, false),
        CERT_STRANGER);
    assert_int_equal(named("DNS:com", "com", false, false), CERT_STRANGER);
}

/* A pin of a record that DNSSEC does not secure is as much an attacker's. */
static void
D_029_holds_for_pins_without_dnssec(void **state)
{
    struct identity leaf;
    struct dime_mrec m;

    (void)state;
    make_leaf(&leaf, (struct cert_spec){.san = "DNS:mx.example.net"});
    make_record(&m, 1);
    add_tls(&m, &leaf, world.pok[0], true);
    struct cert_question q = question(&m, &leaf, false);
    q.host = "mx.example.net";
    assert_int_equal(judge(q), CERT_STRANGER);
    q.is_secure = true;
    assert_int_equal(judge(q), CERT_PINNED);
    identity_clear(&leaf);
}

/* ---- keys */

static enum cert_why
keyed(const char *key, bool is_pinned, bool is_tls13)
{
    struct identity leaf;
    struct dime_mrec m;

    make_leaf(&leaf, (struct cert_spec){.key = key});
    make_record(&m, 1);
    if (is_pinned)
        add_tls(&m, &leaf, world.pok[0], true);
    struct cert_question q = question(&m, &leaf, true);
    q.is_tls13 = is_tls13;
    enum cert_why why = judge(q);
    identity_clear(&leaf);
    return why;
}

static void
D_133_keys(void **state)
{
    (void)state;
    assert_int_equal(keyed("rsa1024", false, true), CERT_WEAK_KEY);
    assert_int_equal(keyed("rsa1024", true, true), CERT_WEAK_KEY);
    assert_int_equal(keyed("rsa2040", true, false), CERT_WEAK_KEY);
    assert_int_equal(keyed("rsa2048", true, false), CERT_PINNED);
    assert_int_equal(keyed("p256", false, true), CERT_VALID);
    assert_int_equal(keyed("p384", true, true), CERT_PINNED);
    assert_int_equal(keyed("p256", true, false), CERT_KEY_KIND);
    assert_int_equal(keyed("ed25519", true, true), CERT_KEY_KIND);
    struct dime_mrec m;
    make_record(&m, 1);
    struct identity none = {0};
    assert_int_equal(verdict(&m, &none, true), CERT_ABSENT);
}

/* ---- revocation */

static STACK_OF(X509) * chain_of(const struct identity *leaf)
{
    STACK_OF(X509) *chain = sk_X509_new_null();

    sk_X509_push(chain, leaf->cert);
    sk_X509_push(chain, world.root.cert);
    return chain;
}

static enum revoked
check(const struct identity *leaf, struct kd_slice staple, int64_t ms)
{
    STACK_OF(X509) *chain = chain_of(leaf);

    enum revoked r =
        revoked_check(chain, world.store, staple, time(NULL), kd_clock_ms() + ms, NULL);
    sk_X509_free(chain);
    return r;
}

static enum revoked
stapled(const struct identity *leaf, struct ocsp_spec s)
{
    struct kd_buf b;

    kd_buf_init(&b, 65536);
    s.cert = s.cert == NULL ? leaf : s.cert;
    s.issuer = s.issuer == NULL ? &world.root : s.issuer;
    s.signer = s.signer == NULL ? &world.root : s.signer;
    s.from = s.from == 0 ? -60 : s.from;
    s.to = s.to == 0 ? 3600 : s.to;
    ocsp_make(&b, &s);
    enum revoked r = check(leaf, kd_buf_slice(&b), 3000);
    kd_buf_free(&b);
    return r;
}

static void
D_134_a_staple_must_be_good(void **state)
{
    struct identity leaf, twin, delegate, server;
    const int good = V_OCSP_CERTSTATUS_GOOD;

    (void)state;
    make_leaf(&leaf, (struct cert_spec){0});
    make_leaf(&twin, (struct cert_spec){0});
    make_leaf(&delegate, (struct cert_spec){.eku = "OCSPSigning", .cn = "responder"});
    make_leaf(&server, (struct cert_spec){.cn = "no responder"});
    assert_int_equal(stapled(&leaf, (struct ocsp_spec){.status = good}), REVOKED_NOT);
    assert_int_equal(
        stapled(&leaf, (struct ocsp_spec){.status = good, .uses_sha256 = true}),
        REVOKED_NOT);
    assert_int_equal(
        stapled(&leaf, (struct ocsp_spec){.status = V_OCSP_CERTSTATUS_REVOKED}),
        REVOKED_IS);
    assert_int_equal(
        stapled(&leaf, (struct ocsp_spec){.status = V_OCSP_CERTSTATUS_UNKNOWN}),
        REVOKED_BAD_STAPLE);
    assert_int_equal(stapled(&leaf, (struct ocsp_spec){.from = -7200, .to = -3600}),
                     REVOKED_BAD_STAPLE);
    assert_int_equal(stapled(&leaf, (struct ocsp_spec){.from = 3600, .to = 7200}),
                     REVOKED_BAD_STAPLE);
    assert_int_equal(stapled(&leaf, (struct ocsp_spec){.cert = &twin}),
                     REVOKED_BAD_STAPLE);
    assert_int_equal(stapled(&leaf, (struct ocsp_spec){.signer = &world.other_root}),
                     REVOKED_BAD_STAPLE);
    assert_int_equal(stapled(&leaf, (struct ocsp_spec){.signer = &delegate}),
                     REVOKED_NOT);
    assert_int_equal(stapled(&leaf, (struct ocsp_spec){.signer = &server}),
                     REVOKED_BAD_STAPLE);
    /* by the certificate itself */
    assert_int_equal(stapled(&leaf, (struct ocsp_spec){.signer = &leaf}),
                     REVOKED_BAD_STAPLE);
    assert_int_equal(check(&leaf, kd_slice_str("nonsense"), 3000), REVOKED_BAD_STAPLE);
    identity_clear(&leaf);
    identity_clear(&twin);
    identity_clear(&delegate);
    identity_clear(&server);
}

static void
make_asking(struct identity *leaf, struct authority *a, bool has_responder,
            bool has_list)
{
    char aia[100], crl[100];

    snprintf(aia, sizeof aia, "OCSP;URI:http://127.0.0.1:%u/ocsp", authority_port(a));
    snprintf(crl, sizeof crl, "URI:http://localhost:%u/list", authority_port(a));
    make_leaf(leaf, (struct cert_spec){.aia = has_responder ? aia : NULL,
                                       .crl = has_list ? crl : NULL});
}

static void
D_134_a_responder_is_asked(void **state)
{
    static const char type[] = "application/ocsp-response";
    struct authority *a = authority_start();
    struct kd_slice none = kd_slice(NULL, 0);
    struct identity leaf;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, 65536);
    make_asking(&leaf, a, true, true);
    struct ocsp_spec s = {.cert = &leaf,
                          .issuer = &world.root,
                          .signer = &world.root,
                          .from = -60,
                          .to = 3600};
    ocsp_make(&b, &s);
    authority_say(a, AUTHORITY_ANSWERS, type, kd_buf_slice(&b));
    assert_int_equal(check(&leaf, none, 5000), REVOKED_NOT);
    assert_int_equal(authority_asked(a), 1);
    s.status = V_OCSP_CERTSTATUS_REVOKED;
    ocsp_make(&b, &s);
    authority_say(a, AUTHORITY_ANSWERS, type, kd_buf_slice(&b));
    assert_int_equal(check(&leaf, none, 5000), REVOKED_IS);
    /* Nobody on the way can revoke, nor say that it is good. */
    s.signer = &world.other_root;
    ocsp_make(&b, &s);
    authority_say(a, AUTHORITY_ANSWERS, type, kd_buf_slice(&b));
    assert_int_equal(check(&leaf, none, 5000), REVOKED_UNKNOWN);
    authority_say(a, AUTHORITY_ANSWERS, type, kd_slice_str("0\x03zzz"));
    assert_int_equal(check(&leaf, none, 5000), REVOKED_UNKNOWN);
    authority_say(a, AUTHORITY_ANSWERS, "text/html", kd_buf_slice(&b));
    assert_int_equal(check(&leaf, none, 5000), REVOKED_UNKNOWN);
    authority_stop(a);
    kd_buf_free(&b);
    identity_clear(&leaf);
}

static void
D_134_who_cannot_be_reached_holds_nobody_up(void **state)
{
    static const enum authority_manner manners[] = {
        AUTHORITY_IS_SILENT, AUTHORITY_HANGS_UP, AUTHORITY_NEVER_ENDS,
        AUTHORITY_IS_WRONG};
    struct kd_slice none = kd_slice(NULL, 0);
    struct identity leaf;

    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++) {
        struct authority *a = authority_start();
        make_asking(&leaf, a, true, false);
        authority_say(a, manners[i], "", none);
        int64_t begun = kd_clock_ms();
        assert_int_equal(check(&leaf, none, 600), REVOKED_UNKNOWN);
        assert_true(kd_clock_ms() - begun < 3000);
        assert_int_equal(authority_asked(a), 1);
        authority_stop(a);
        identity_clear(&leaf);
    }
    struct authority *a = authority_start();
    make_asking(&leaf, a, true, false);
    authority_stop(a); /* nobody there */
    assert_int_equal(check(&leaf, none, 600), REVOKED_UNKNOWN);
    identity_clear(&leaf);
    make_leaf(&leaf, (struct cert_spec){.aia = "OCSP;URI:https://127.0.0.1/x"});
    assert_int_equal(check(&leaf, none, 600), REVOKED_UNKNOWN);
    identity_clear(&leaf);
    make_leaf(&leaf, (struct cert_spec){0}); /* nobody to ask */
    assert_int_equal(check(&leaf, none, 600), REVOKED_UNKNOWN);
    identity_clear(&leaf);
}

static void
D_134_without_a_responder_a_list_is_read(void **state)
{
    struct authority *a = authority_start();
    struct kd_slice none = kd_slice(NULL, 0);
    struct identity leaf;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, 65536);
    make_asking(&leaf, a, false, true);
    struct {
        const struct identity *issuer, *signer, *revoked;
        long to;
        enum revoked verdict;
    } lists[] = {
        {&world.root, &world.root, NULL, 3600, REVOKED_NOT},
        {&world.root, &world.root, &leaf, 3600, REVOKED_IS},
        {&world.root, &world.root, &leaf, -1800, REVOKED_UNKNOWN},
        {&world.root, &world.other_root, &leaf, 3600, REVOKED_UNKNOWN},
        {&world.other_root, &world.other_root, &leaf, 3600, REVOKED_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        crl_make(&b, lists[i].issuer, lists[i].signer, lists[i].revoked, lists[i].to);
        authority_say(a, AUTHORITY_ANSWERS, "application/pkix-crl", kd_buf_slice(&b));
        assert_int_equal(check(&leaf, none, 5000), lists[i].verdict);
        assert_int_equal(authority_asked(a), i + 1);
    }
    authority_stop(a);
    kd_buf_free(&b);
    identity_clear(&leaf);
}

static kd_err
fetch_max(const char *url, size_t max, int64_t ms)
{
    const char *why = "";
    BIO *out = NULL;

    kd_err err =
        fetch(url, NULL, kd_slice(NULL, 0), max, kd_clock_ms() + ms, &out, &why);
    assert_int_equal(err == KD_OK, out != NULL);
    assert_int_equal(err != KD_OK, why[0] != '\0' && out == NULL);
    BIO_free(out);
    return err;
}

static void
what_is_fetched_has_a_limit(void **state)
{
    struct authority *a = authority_start();
    struct kd_buf b;
    char url[64];

    (void)state;
    kd_buf_init(&b, 1 << 18);
    kd_buf_put(&b, kd_slice_str("\x30\x83\x01\x86\xa0")); /* 100,000 octets */
    while (b.n < 5 + 100000)
        kd_buf_u8(&b, 'x');
    authority_say(a, AUTHORITY_ANSWERS, "application/x", kd_buf_slice(&b));
    snprintf(url, sizeof url, "http://127.0.0.1:%u/x", authority_port(a));
    assert_int_equal(fetch_max(url, 120000, 5000), KD_OK);
    assert_int_equal(fetch_max(url, 64 << 10, 5000), KD_UNAVAILABLE);
    authority_stop(a);
    kd_buf_free(&b);
}

static void
what_cannot_be_fetched(void **state)
{
    (void)state;
    assert_int_equal(fetch_max("https://127.0.0.1/", 1000, 1000), KD_UNSUPPORTED);
    assert_int_equal(fetch_max("ldap://127.0.0.1/", 1000, 1000), KD_UNSUPPORTED);
    assert_int_equal(fetch_max("http://127.0.0.1:99999/", 1000, 1000), KD_UNSUPPORTED);
    assert_int_equal(fetch_max("http://", 1000, 1000), KD_UNSUPPORTED);
    assert_int_equal(fetch_max("http://127.0.0.1:1/", 1000, 1000), KD_UNAVAILABLE);
    /* whether or not there is anybody to ask for names */
    int64_t begun = kd_clock_ms();
    assert_int_equal(fetch_max("http://nobody.invalid/", 1000, 300), KD_UNAVAILABLE);
    assert_true(kd_clock_ms() - begun < 2000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(TR_44_to_52_the_table),
        cmocka_unit_test(T_MR_77_to_81_which_values_match),
        cmocka_unit_test(TR_41_a_pin_under_dnssec_is_enough),
        cmocka_unit_test(T_MR_83_a_self_signed_certificate_needs_a_pin),
        cmocka_unit_test(issuers_that_came_along_are_used),
        cmocka_unit_test(chains_are_as_strong_as_all_links),
        cmocka_unit_test(a_host_issues_nothing),
        cmocka_unit_test(now_is_what_the_caller_says),
        cmocka_unit_test(D_029_without_dnssec_the_host_is_the_domains),
        cmocka_unit_test(D_029_holds_for_pins_without_dnssec),
        cmocka_unit_test(D_133_keys),
        cmocka_unit_test(D_134_a_staple_must_be_good),
        cmocka_unit_test(D_134_a_responder_is_asked),
        cmocka_unit_test(D_134_who_cannot_be_reached_holds_nobody_up),
        cmocka_unit_test(D_134_without_a_responder_a_list_is_read),
        cmocka_unit_test(what_is_fetched_has_a_limit),
        cmocka_unit_test(what_cannot_be_fetched),
    };

    return cmocka_run_group_tests(tests, world_begin, world_end);
}
