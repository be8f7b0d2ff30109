/* Certificates for tests: good ones and every kind of bad one. What cannot be made ends
 * the test program. */
#ifndef KEYD_TESTS_CERTS_H
#define KEYD_TESTS_CERTS_H

#include <keyd/base/slice.h>

#include <openssl/x509.h>

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

/* What is 0 or NULL has the value of a good client's certificate, or is left out. */
struct cert_spec {
    const struct identity *issuer; /* NULL: signed by itself */
    const char *key;         /* "ed25519", "p256", "p384", "p521", "rsa2048", ... */
    EVP_PKEY *with_key;      /* this one instead */
    const char *cn;          /* "test" */
    const char *san;         /* as in openssl.cnf: "DNS:mx1.example.com,IP:192.0.2.1" */
    struct kd_slice san_der; /* the value of the extension as it is, instead */
    const char *san_again;   /* a second extension of names */
    const char *eku;         /* "clientAuth" */
    const char *usage;       /* "digitalSignature", of a CA "keyCertSign" */
    const char *basic;       /* "CA:FALSE"; of a CA "critical,CA:TRUE" */
    const char *constraints; /* nameConstraints */
    const char *aia;         /* authorityInfoAccess: "OCSP;URI:http://..." */
    const char *crl;         /* crlDistributionPoints: "URI:http://..." */
    const char *digest;      /* of RSA and EC: "SHA256" */
    long from, to;           /* seconds from now: -3600, 86400 */
    bool is_ca, no_eku, no_basic, no_usage, is_version_1;
};

void identity_make(struct identity *out, const struct cert_spec *spec);
void identity_clear(struct identity *id);

/* A CA with a key of its own. */
void identity_root(struct identity *out, const char *cn);

/* A subjectAltName of one name with that tag, whatever is in it. */
size_t san_make(uint8_t tag, const void *name, size_t n, uint8_t out[300]);

/* SHA-256 of its public key; the same as 64 digits. */
void identity_pin(const struct identity *id, uint8_t pin[32]);
void identity_pin_text(const struct identity *id, char text[65]);

/* PEM: n certificates, or a key. */
void certs_write(const char *path, const struct identity *const *list, size_t n);
void key_write(const char *path, const struct identity *id);

#endif
