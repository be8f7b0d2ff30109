#include "cert.h"

#include <keyd/base/cur.h>

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <time.h>

enum {
    NAMES_MAX = 16,
    DEPTH_MAX = 3,  /* certificates between leaf and root */
    AUTH_LEVEL = 2, /* 112 bits: RSA of 2048, SHA-256 */
    RSA_MIN = 2048,
    RSA_MAX = 8192, /* what verifying may cost */
    URI_PREFIX = 4, /* "uri:" */
};

const char *
cert_verdict_text(enum cert_verdict verdict)
{
    static const char *const texts[] = {
#define CERT_VERDICT(id, text) text,
#include "cert_verdicts.def"
#undef CERT_VERDICT
    };

    return (size_t)verdict < sizeof texts / sizeof *texts ? texts[verdict] : "?";
}

enum cert_verdict
cert_parse(struct kd_slice der, X509 **out)
{
    const unsigned char *p = der.p;

    if (der.n > KD_TLS_CERT_MAX)
        return CERT_TOO_LARGE;
    X509 *cert = der.n == 0 ? NULL : d2i_X509(NULL, &p, (long)der.n);
    if (cert == NULL)
        return CERT_MALFORMED;
    if (p != der.p + der.n) {
        X509_free(cert);
        return CERT_MALFORMED;
    }
    *out = cert;
    return CERT_GOOD;
}

kd_err
cert_pin(const X509 *cert, uint8_t pin[KD_PIN_SIZE])
{
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

    if (n <= 0)
        return KD_INVALID;
    SHA256(der, (size_t)n, pin);
    OPENSSL_free(der);
    return KD_OK;
}

bool
cert_key_is_allowed(const X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    char group[32];
    size_t n;

    if (key == NULL)
        return false;
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519:
        return true;
    case EVP_PKEY_RSA:
        return EVP_PKEY_get_bits(key) >= RSA_MIN && EVP_PKEY_get_bits(key) <= RSA_MAX;
    case EVP_PKEY_EC:
        return EVP_PKEY_get_group_name(key, group, sizeof group, &n) == 1 &&
               (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0);
    default:
        return false;
    }
}

bool
cert_time(const ASN1_TIME *t, int64_t *out)
{
    struct tm tm = {0};

    /* NULL would be the present. */
    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *out = timegm(&tm);
    return true;
}

static enum cert_verdict
check_validity(const X509 *leaf, int64_t now, int64_t *good_until)
{
    int64_t from, to;

    if (!cert_time(X509_get0_notBefore(leaf), &from) ||
        !cert_time(X509_get0_notAfter(leaf), &to))
        return CERT_MALFORMED;
    *good_until = to;
    return now < from ? CERT_NOT_YET_VALID : now > to ? CERT_EXPIRED : CERT_GOOD;
}

/* --- keys --- */

static bool
is_denied(const struct kd_tls_conf *conf, const uint8_t pin[KD_PIN_SIZE])
{
    size_t low = 0, high = conf->denied.n / KD_PIN_SIZE;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = memcmp(pin, conf->denied.p + middle * KD_PIN_SIZE, KD_PIN_SIZE);
        if (c == 0)
            return true;
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static bool
has_pin(const struct kd_tls_client *client, const uint8_t pin[KD_PIN_SIZE])
{
    for (size_t i = 0; i < client->n_pins; i++)
        if (memcmp(client->pins[i], pin, KD_PIN_SIZE) == 0)
            return true;
    return false;
}

/* --- names --- */

/* Who is found, and whether by two ways that lead to different ones. */
struct finding {
    const struct kd_tls_client *client;
    bool is_ambiguous;
};

static void
found(struct finding *f, const struct kd_tls_client *client)
{
    f->is_ambiguous |= f->client != NULL && f->client != client;
    f->client = client;
}

static void
find_by_name(const struct kd_tls_conf *conf, struct kd_slice name, struct finding *f)
{
    for (size_t i = 0; i < conf->n_clients; i++)
        if (conf->clients[i].san.n != 0 && kd_slice_eq(conf->clients[i].san, name))
            found(f, &conf->clients[i]);
}

static void
find_by_key(const struct kd_tls_conf *conf, const uint8_t pin[KD_PIN_SIZE],
            struct finding *f)
{
    for (size_t i = 0; i < conf->n_clients; i++)
        if (conf->clients[i].san.n == 0 && has_pin(&conf->clients[i], pin))
            found(f, &conf->clients[i]);
}

/* Tag and content of the next element: one octet of tag, definite length in its
 * shortest form. */
static struct kd_slice
take_element(struct kd_cur *c, uint8_t *tag)
{
    *tag = kd_cur_u8(c);
    size_t n = kd_cur_u8(c);

    if (n == 0x81) {
        n = kd_cur_u8(c);
        if (n < 0x80)
            kd_cur_fail(c, KD_MALFORMED);
    } else if (n == 0x82) {
        n = kd_cur_u16(c);
        if (n <= UINT8_MAX)
            kd_cur_fail(c, KD_MALFORMED);
    } else if (n >= 0x80) {
        kd_cur_fail(c, KD_MALFORMED);
    }
    return kd_cur_take(c, n);
}

static enum cert_verdict
take_name(const struct kd_tls_conf *conf, uint8_t tag, struct kd_slice name,
          struct finding *f)
{
    enum { DNS_NAME = 0x82, URI = 0x86 };
    uint8_t text[KD_REMOTE_MAX];

    if (tag == URI) {
        if (name.n > sizeof text - URI_PREFIX)
            return CERT_BAD_NAME;
        memcpy(text, "uri:", URI_PREFIX);
        if (name.n != 0)
            memcpy(text + URI_PREFIX, name.p, name.n);
        name = kd_slice(text, URI_PREFIX + name.n);
        if (!kd_remote_name_is_valid(name))
            return CERT_BAD_NAME;
    } else if (tag == DNS_NAME) {
        if (!kd_domain_is_valid(name))
            return CERT_BAD_NAME;
    } else {
        return CERT_OTHER_NAME;
    }
    find_by_name(conf, name, f);
    return CERT_GOOD;
}

/* All names are good ones, whether they are anybody's or not: what signs others is not
 * to be relied on for these. Read from the octets, since a NUL in a name must not end
 * it and no name costs memory. */
static enum cert_verdict
find_by_names(const struct kd_tls_conf *conf, const X509 *leaf, struct finding *f)
{
    enum { SEQUENCE = 0x30 };
    int at = X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1);
    uint8_t tag;

    if (at < 0)
        return CERT_NO_NAME;
    if (X509_get_ext_by_NID(leaf, NID_subject_alt_name, at) >= 0)
        return CERT_MALFORMED;
    const ASN1_OCTET_STRING *s = X509_EXTENSION_get_data(X509_get_ext(leaf, at));
    struct kd_cur outer =
        kd_cur(kd_slice(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)));
    struct kd_cur c = kd_cur(take_element(&outer, &tag));
    if (kd_cur_end(&outer) != KD_OK || tag != SEQUENCE)
        return CERT_MALFORMED;
    if (kd_cur_left(&c) == 0)
        return CERT_NO_NAME;
    for (unsigned n = 0; kd_cur_left(&c) != 0; n++) {
        struct kd_slice name = take_element(&c, &tag);
        if (c.err != KD_OK)
            return CERT_MALFORMED;
        if (n == NAMES_MAX)
            return CERT_TOO_MANY_NAMES;
        enum cert_verdict v = take_name(conf, tag, name, f);
        if (v != CERT_GOOD)
            return v;
    }
    return kd_cur_end(&c) == KD_OK ? CERT_GOOD : CERT_MALFORMED;
}

/* --- the chain --- */

static enum cert_verdict
check_form(X509 *leaf)
{
    if (X509_get_version(leaf) != X509_VERSION_3)
        return CERT_NOT_VERSION_3;
    /* Reads the extensions, which the calls below rely on. */
    if (X509_check_purpose(leaf, -1, 0) != 1 ||
        (X509_get_extension_flags(leaf) & EXFLAG_INVALID) != 0)
        return CERT_MALFORMED;
    /* The first alone takes one that may not sign certificates for none. */
    if (X509_check_ca(leaf) != 0 || (X509_get_extension_flags(leaf) & EXFLAG_CA) != 0)
        return CERT_IS_CA;
    if ((X509_get_extension_flags(leaf) & EXFLAG_XKUSAGE) == 0 ||
        (X509_get_extended_key_usage(leaf) & XKU_SSL_CLIENT) == 0)
        return CERT_NO_CLIENT_AUTH;
    return CERT_GOOD;
}

static enum cert_verdict
check_chain(const struct kd_tls_conf *conf, STACK_OF(X509) * chain, int64_t *good_until)
{
    for (int i = 1; i < sk_X509_num(chain); i++) {
        const X509 *cert = sk_X509_value(chain, i);
        uint8_t pin[KD_PIN_SIZE];
        int64_t to;
        if (cert_pin(cert, pin) != KD_OK || !cert_time(X509_get0_notAfter(cert), &to))
            return CERT_MALFORMED;
        if (is_denied(conf, pin))
            return CERT_DENIED_ISSUER;
        if (to < *good_until)
            *good_until = to;
    }
    return CERT_GOOD;
}

static enum cert_verdict
check_trust(const struct cert_rules *rules, X509 *leaf, STACK_OF(X509) * others,
            int64_t now, struct cert_answer *out)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    enum cert_verdict v = CERT_NO_MEMORY;

    if (ctx == NULL || X509_STORE_CTX_init(ctx, rules->roots, leaf, others) != 1)
        goto out;
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)now);
    X509_VERIFY_PARAM_set_depth(param, DEPTH_MAX);
    X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
    if (X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT) != 1 ||
        X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) != 1)
        goto out;
    if (X509_verify_cert(ctx) != 1) {
        out->chain_error = X509_STORE_CTX_get_error(ctx);
        v = CERT_UNTRUSTED;
        goto out;
    }
    v = check_chain(rules->conf, X509_STORE_CTX_get0_chain(ctx), &out->good_until);
out:
    X509_STORE_CTX_free(ctx);
    return v;
}

/* --- all of it --- */

static enum cert_verdict
judge_named(const struct cert_rules *rules, X509 *leaf, STACK_OF(X509) * others,
            int64_t now, const uint8_t pin[KD_PIN_SIZE], enum cert_verdict names,
            struct finding *f, struct cert_answer *out)
{
    enum cert_verdict v = check_form(leaf);

    if (v != CERT_GOOD)
        return v;
    if (names != CERT_GOOD)
        return names;
    if (f->client == NULL)
        return CERT_UNKNOWN;
    if (rules->roots == NULL) {
        out->chain_error = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT;
        return CERT_UNTRUSTED;
    }
    if ((v = check_trust(rules, leaf, others, now, out)) != CERT_GOOD)
        return v;
    if (f->client->n_pins == 0)
        return rules->conf->allow_unpinned ? CERT_GOOD : CERT_UNPINNED;
    return has_pin(f->client, pin) ? CERT_GOOD : CERT_OTHER_KEY;
}

void
cert_judge(const struct cert_rules *rules, X509 *leaf, STACK_OF(X509) * others,
           int64_t now, struct cert_answer *out)
{
    struct finding f = {0};
    uint8_t pin[KD_PIN_SIZE];
    enum cert_verdict names;

    *out = (struct cert_answer){.verdict = CERT_MALFORMED};
    if (cert_pin(leaf, pin) != KD_OK)
        return;
    out->verdict = check_validity(leaf, now, &out->good_until);
    if (out->verdict == CERT_GOOD && is_denied(rules->conf, pin))
        out->verdict = CERT_DENIED_KEY;
    if (out->verdict == CERT_GOOD && !cert_key_is_allowed(leaf))
        out->verdict = CERT_WEAK_KEY;
    if (out->verdict != CERT_GOOD)
        return;
    find_by_key(rules->conf, pin, &f);
    bool by_key = f.client != NULL;
    names = find_by_names(rules->conf, leaf, &f);
    if (f.is_ambiguous)
        out->verdict = CERT_AMBIGUOUS;
    else if (!by_key)
        out->verdict = judge_named(rules, leaf, others, now, pin, names, &f, out);
    out->client = out->verdict == CERT_GOOD ? f.client : NULL;
}

X509_STORE *
cert_roots(const struct kd_tls_conf *conf)
{
    X509_STORE *store = X509_STORE_new();

    for (size_t i = 0; i < conf->n_roots && store != NULL; i++) {
        X509 *root = NULL;
        if (cert_parse(conf->roots[i], &root) != CERT_GOOD ||
            X509_STORE_add_cert(store, root) != 1) {
            X509_STORE_free(store);
            store = NULL;
        }
        X509_free(root);
    }
    return store;
}
