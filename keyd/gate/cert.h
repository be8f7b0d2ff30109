/* From a client's certificate to a principal: a function of the certificates shown, the
 * rules and the time, without any state. That the client has the key is TLS's part.
 *
 * A principal that has a name is found by it, in a certificate that leads to one of the
 * roots; one that has keys must moreover use one of them. One that has keys alone is
 * found by them, and only the certificate's validity counts. A certificate that fits
 * two principals is nobody's. Sources: RFC 5280, RFC 6125 6.4 (without wildcards). */
#ifndef KEYD_GATE_CERT_H
#define KEYD_GATE_CERT_H

#include <keyd/conf/tls_conf.h>

#include <openssl/x509.h>

enum cert_verdict {
#define CERT_VERDICT(id, text) CERT_##id,
#include "cert_verdicts.def"
#undef CERT_VERDICT
};

const char *cert_verdict_text(enum cert_verdict verdict);

struct cert_rules {
    const struct kd_tls_conf *conf; /* its clients, denied keys, allow_unpinned */
    X509_STORE *roots;              /* of the configuration; NULL: there are none */
};

struct cert_answer {
    enum cert_verdict verdict;
    int chain_error; /* of UNTRUSTED: X509_V_ERR_* */
    /* Of GOOD: who it is, borrowed from the rules, and the earliest end of validity in
     * the chain, seconds since 1970. */
    const struct kd_tls_client *client;
    int64_t good_until;
};

/* DER, whole, at most KD_TLS_CERT_MAX: GOOD and *out, MALFORMED or TOO_LARGE. */
enum cert_verdict cert_parse(struct kd_slice der, X509 **out);

/* others: what else the client sent, or NULL; now: seconds since 1970. */
void cert_judge(const struct cert_rules *rules, X509 *leaf, STACK_OF(X509) * others,
                int64_t now, struct cert_answer *out);

/* The roots as a store; NULL without memory or if one does not parse. */
X509_STORE *cert_roots(const struct kd_tls_conf *conf);

/* SHA-256 of the SubjectPublicKeyInfo. */
kd_err cert_pin(const X509 *cert, uint8_t pin[KD_PIN_SIZE]) KD_MUST_USE;

/* RSA of 2048 to 8192 bits, P-256, P-384, Ed25519. */
bool cert_key_is_allowed(const X509 *cert);

/* Seconds since 1970; false if it is no time. */
bool cert_time(const ASN1_TIME *t, int64_t *out);

#endif
