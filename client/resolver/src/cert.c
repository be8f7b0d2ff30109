#include "cert.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { AUTH_LEVEL = 2, DEPTH_MAX = 8 }; /* 112 bits: of issuers and signatures */

/* ---- the key */

static enum cert_why
judge_key(const X509 *cert, bool is_tls13)
{
    EVP_PKEY *key = cert == NULL ? NULL : X509_get0_pubkey(cert);

    if (key == NULL)
        return CERT_ABSENT;
    int bits = EVP_PKEY_get_bits(key);
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        return bits < CERT_RSA_MIN   ? CERT_WEAK_KEY
               : bits > CERT_RSA_MAX ? CERT_KEY_KIND
                                     : CERT_VALID;
    case EVP_PKEY_EC:
        return is_tls13 && bits >= 256 ? CERT_VALID : CERT_KEY_KIND;
    default:
        return CERT_KEY_KIND;
    }
}

/* ---- the record */

static enum cert_tls
judge_tls(const struct dime_mrec *record, const X509 *cert)
{
    unsigned char *der = NULL;

    if (record->n_tls == 0)
        return CERT_TLS_NONE;
    int n = i2d_X509(cert, &der);
    bool matches =
        n > 0 && dime_mrec_tls_match(record, kd_slice(der, (size_t)n), NULL) == KD_OK;
    OPENSSL_free(der);
    return matches ? CERT_TLS_MATCH : CERT_TLS_DIFFERS;
}

/* ---- X.509 */

static bool
is_at_or_under(const char *host, const char *domain)
{
    size_t n = strlen(host), k = strlen(domain);

    return n >= k && strcmp(host + (n - k), domain) == 0 &&
           (n == k || host[n - k - 1] == '.');
}

static bool
has_name(X509 *cert, const char *name)
{
    return X509_check_host(cert, name, strlen(name),
                           X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

static enum cert_why
judge_names(const struct cert_question *q)
{
    if (!has_name(q->cert, q->host))
        return CERT_HOST;
    if (!q->is_secure && !q->is_relaxed && !is_at_or_under(q->host, q->domain) &&
        !has_name(q->cert, q->domain))
        return CERT_STRANGER;
    return CERT_VALID;
}

static enum cert_why
judge_chain(const struct cert_question *q, struct cert_verdict *v)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    /* The library takes the stack without const and does not change it. */
    STACK_OF(X509) *others = q->others == NULL ? NULL : sk_X509_dup(q->others);
    enum cert_why why = CERT_NO_MEMORY;

    if (ctx != NULL && X509_STORE_CTX_init(ctx, q->authorities, q->cert, others) == 1) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
        X509_VERIFY_PARAM_set_depth(param, DEPTH_MAX);
        X509_VERIFY_PARAM_set_time(param, (time_t)q->now);
        if (X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER) == 1 &&
            X509_verify_cert(ctx) == 1) {
            v->chain = X509_STORE_CTX_get1_chain(ctx);
            why = v->chain != NULL ? CERT_VALID : CERT_NO_MEMORY;
        } else {
            v->x509_error = X509_STORE_CTX_get_error(ctx);
            why = v->x509_error == X509_V_ERR_OUT_OF_MEM ? CERT_NO_MEMORY : CERT_CHAIN;
        }
    }
    X509_STORE_CTX_free(ctx);
    sk_X509_free(others);
    return why;
}

static enum cert_why
judge_x509(const struct cert_question *q, struct cert_verdict *v)
{
    enum cert_why why = judge_chain(q, v);

    return why == CERT_VALID ? judge_names(q) : why;
}

/* ---- together */

enum cert_why
cert_table(bool is_secure, enum cert_tls tls, enum cert_why x509)
{
    if (tls == CERT_TLS_DIFFERS)
        return CERT_MISMATCH;
    if (tls == CERT_TLS_MATCH && is_secure)
        return CERT_PINNED;
    if (tls == CERT_TLS_MATCH && x509 == CERT_VALID)
        return CERT_PINNED_VALID;
    return x509;
}

void
cert_judge(const struct cert_question *q, struct cert_verdict *out)
{
    *out = (struct cert_verdict){.why = judge_key(q->cert, q->is_tls13)};
    if (out->why != CERT_VALID)
        return;
    enum cert_tls tls = judge_tls(q->record, q->cert);
    bool asks_x509 = tls == CERT_TLS_NONE || (tls == CERT_TLS_MATCH && !q->is_secure);
    enum cert_why x509 = asks_x509 ? judge_x509(q, out) : CERT_CHAIN;
    out->why = cert_table(q->is_secure, tls, x509);
}

void
cert_verdict_clear(struct cert_verdict *v)
{
    sk_X509_pop_free(v->chain, X509_free);
    v->chain = NULL;
}

bool
cert_why_passes(enum cert_why why)
{
    return why == CERT_PINNED || why == CERT_PINNED_VALID || why == CERT_VALID;
}

bool
cert_passes(const struct cert_verdict *v)
{
    return cert_why_passes(v->why);
}

bool
cert_wants_revocation(const struct cert_verdict *v)
{
    return v->why == CERT_VALID;
}

const char *
cert_text(const struct cert_verdict *v)
{
    static const char *const texts[CERT_WHYS] = {
        [CERT_PINNED] = "matches the record, which DNSSEC secures",
        [CERT_PINNED_VALID] = "matches the record, and a recognised authority vouches",
        [CERT_VALID] = "a recognised authority vouches for it",
        [CERT_ABSENT] = "there is none",
        [CERT_WEAK_KEY] = "its RSA key has less than 2048 bits",
        [CERT_KEY_KIND] = "its key is of a kind that is not allowed here",
        [CERT_MISMATCH] = "none of the record's tls values is its",
        [CERT_HOST] = "it is not the host's",
        [CERT_STRANGER] = "without DNSSEC, its host has nothing to do with the domain",
        [CERT_NO_MEMORY] = "out of memory",
    };

    if (v->why == CERT_CHAIN)
        return X509_verify_cert_error_string(v->x509_error);
    return (unsigned)v->why < CERT_WHYS && texts[v->why] != NULL ? texts[v->why] : "?";
}
