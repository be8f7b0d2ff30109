#include "certs.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MUST(x)                                                                        \
    do {                                                                               \
        if (!(x)) {                                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static EVP_PKEY *
make_key(const char *kind)
{
    EVP_PKEY *key = NULL;

    if (kind == NULL || strcmp(kind, "ed25519") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else if (strncmp(kind, "rsa", 3) == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)atoi(kind + 3));
    else if (strcmp(kind, "p256") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    else if (strcmp(kind, "p384") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    else if (strcmp(kind, "p521") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-521");
    MUST(key != NULL);
    return key;
}

static void
add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *e;

    if (value == NULL)
        return;
    e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    MUST(e != NULL && X509_add_ext(cert, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static void
add_octets(X509 *cert, int nid, struct kd_slice value)
{
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
    X509_EXTENSION *e;

    if (value.n != 0) {
        MUST(s != NULL && ASN1_OCTET_STRING_set(s, value.p, (int)value.n) == 1);
        e = X509_EXTENSION_create_by_NID(NULL, nid, 0, s);
        MUST(e != NULL && X509_add_ext(cert, e, -1) == 1);
        X509_EXTENSION_free(e);
    }
    ASN1_OCTET_STRING_free(s);
}

static void
add_extensions(X509 *cert, X509 *issuer, const struct cert_spec *s)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    if (!s->no_basic)
        add_extension(cert, &ctx, NID_basic_constraints,
                      s->basic != NULL ? s->basic
                      : s->is_ca       ? "critical,CA:TRUE"
                                       : "CA:FALSE");
    if (!s->no_usage)
        add_extension(cert, &ctx, NID_key_usage,
                      s->usage != NULL ? s->usage
                      : s->is_ca       ? "critical,keyCertSign,cRLSign"
                                       : "digitalSignature");
    add_extension(cert, &ctx, NID_subject_key_identifier, "hash");
    add_extension(cert, &ctx, NID_authority_key_identifier, "keyid:always");
    if (!s->is_ca && !s->no_eku)
        add_extension(cert, &ctx, NID_ext_key_usage,
                      s->eku == NULL ? "clientAuth" : s->eku);
    add_extension(cert, &ctx, NID_subject_alt_name, s->san);
    add_octets(cert, NID_subject_alt_name, s->san_der);
    add_extension(cert, &ctx, NID_subject_alt_name, s->san_again);
    add_extension(cert, &ctx, NID_name_constraints, s->constraints);
    add_extension(cert, &ctx, NID_info_access, s->aia);
    add_extension(cert, &ctx, NID_crl_distribution_points, s->crl);
}

static void
set_serial(X509 *cert)
{
    uint64_t n;

    MUST(RAND_bytes((uint8_t *)&n, sizeof n) == 1);
    MUST(ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), n >> 1 | 1) == 1);
}

void
identity_make(struct identity *out, const struct cert_spec *s)
{
    time_t now = time(NULL);
    X509 *cert = X509_new();
    X509_NAME *name = X509_NAME_new();

    out->key = s->with_key != NULL ? s->with_key : make_key(s->key);
    if (s->with_key != NULL)
        EVP_PKEY_up_ref(out->key);
    out->cert = cert;
    const struct identity *issuer = s->issuer == NULL ? out : s->issuer;
    MUST(cert != NULL && name != NULL);
    MUST(X509_NAME_add_entry_by_txt(
             name, "CN", MBSTRING_ASC,
             (const unsigned char *)(s->cn == NULL ? "test" : s->cn), -1, -1, 0) == 1);
    MUST(X509_set_subject_name(cert, name) == 1 &&
         X509_set_pubkey(cert, out->key) == 1);
    MUST(X509_set_issuer_name(cert, X509_get_subject_name(issuer->cert)) == 1);
    MUST(X509_set_version(cert, s->is_version_1 ? X509_VERSION_1 : X509_VERSION_3) ==
         1);
    set_serial(cert);
    MUST(ASN1_TIME_set(X509_getm_notBefore(cert),
                       now + (s->from == 0 ? -3600 : s->from)));
    MUST(ASN1_TIME_set(X509_getm_notAfter(cert),
                       now + (s->to == 0 ? 30 * 86400 : s->to)));
    if (!s->is_version_1)
        add_extensions(cert, issuer->cert, s);
    const EVP_MD *md =
        EVP_PKEY_get_base_id(issuer->key) == EVP_PKEY_ED25519
            ? NULL
            : EVP_get_digestbyname(s->digest == NULL ? "SHA256" : s->digest);
    MUST(X509_sign(cert, issuer->key, md) > 0);
    X509_NAME_free(name);
}

void
identity_clear(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
    *id = (struct identity){0};
}

void
identity_root(struct identity *out, const char *cn)
{
    identity_make(out, &(struct cert_spec){.is_ca = true, .cn = cn});
}

size_t
san_make(uint8_t tag, const void *name, size_t n, uint8_t out[300])
{
    size_t at = 0, inner = n + (n < 128 ? 2 : 3);

    MUST(n < 256 && inner < 280);
    out[at++] = 0x30;
    if (inner >= 256)
        out[at++] = 0x82, out[at++] = (uint8_t)(inner >> 8);
    else if (inner >= 128)
        out[at++] = 0x81;
    out[at++] = (uint8_t)inner;
    out[at++] = tag;
    if (n >= 128)
        out[at++] = 0x81;
    out[at++] = (uint8_t)n;
    if (n != 0)
        memcpy(out + at, name, n);
    return at + n;
}

void
identity_pin(const struct identity *id, uint8_t pin[32])
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(id->key, &der);

    MUST(n > 0);
    SHA256(der, (size_t)n, pin);
    OPENSSL_free(der);
}

void
identity_pin_text(const struct identity *id, char text[65])
{
    uint8_t pin[32];

    identity_pin(id, pin);
    for (size_t i = 0; i < sizeof pin; i++)
        snprintf(text + 2 * i, 3, "%02x", pin[i]);
}

static FILE *
open_file(const char *path, mode_t mode)
{
    char fresh[4096];
    int n = snprintf(fresh, sizeof fresh, "%s.new", path);

    MUST(n > 0 && (size_t)n < sizeof fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    MUST(fd >= 0 && fchmod(fd, mode) == 0);
    FILE *f = fdopen(fd, "w");
    MUST(f != NULL);
    return f;
}

/* In one step, as a renewal does. */
static void
close_file(FILE *f, const char *path)
{
    char fresh[4096];

    snprintf(fresh, sizeof fresh, "%s.new", path);
    MUST(fclose(f) == 0 && rename(fresh, path) == 0);
}

void
certs_write(const char *path, const struct identity *const *list, size_t n)
{
    FILE *f = open_file(path, 0644);

    for (size_t i = 0; i < n; i++)
        MUST(PEM_write_X509(f, list[i]->cert) == 1);
    close_file(f, path);
}

void
key_write(const char *path, const struct identity *id)
{
    FILE *f = open_file(path, 0600);

    MUST(PEM_write_PKCS8PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL) == 1);
    close_file(f, path);
}
