#include "tls_files.h"

#include "../gate/cert.h"

#include <keyd/base/log.h>
#include <keyd/base/secret.h>
#include <keyd/conf/tls_conf.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILE_MAX = 512 * 1024,
    SOON = 7 * 24 * 3600 /* seconds: an end of validity that an operator should know */
};

/* What the slices of the result borrow from. */
struct material {
    struct kd_buf file, key_file; /* one piece of memory each */
    X509 *chain[KD_TLS_CHAIN_MAX], *roots[KD_TLS_ROOTS_MAX];
    size_t n_chain, n_roots;
    EVP_PKEY *key;
    unsigned char *der[KD_TLS_CHAIN_MAX + KD_TLS_ROOTS_MAX + 1];
    size_t der_size[KD_TLS_CHAIN_MAX + KD_TLS_ROOTS_MAX + 1];
    size_t n_der;
    uint8_t denied[KD_TLS_DENIED_MAX][KD_PIN_SIZE];
    size_t n_denied;
    struct kd_tls_conf conf;
};

static kd_err
refuse(const char *path, const char *why)
{
    kd_log(KD_WARN, "%s: %s", path, why);
    ERR_clear_error();
    return KD_INVALID;
}

/* --- files --- */

/* Whose it is and who can change it; a key's is for its owner and group alone. */
static const char *
bad_about(const struct stat *st, bool is_secret)
{
    if (!S_ISREG(st->st_mode))
        return "not a regular file";
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return "belongs to another user";
    if ((st->st_mode & 022) != 0)
        return "others can write it";
    if (is_secret && (st->st_mode & 07) != 0)
        return "others can read it";
    return st->st_size > FILE_MAX ? "too large" : NULL;
}

static kd_err
read_all(int fd, struct kd_buf *out)
{
    uint8_t *p = kd_buf_add(out, FILE_MAX); /* at once: it may be a key */
    size_t n = 0;
    ssize_t got = 0;

    if (p == NULL)
        return KD_NOMEM;
    while (n < FILE_MAX && (got = read(fd, p + n, FILE_MAX - n)) > 0)
        n += (size_t)got;
    out->n = n;
    return got < 0 ? KD_IO : KD_OK;
}

static kd_err
read_file(const char *path, bool is_secret, struct kd_buf *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    kd_err err = KD_OK;

    kd_buf_reset(out);
    if (fd < 0 || fstat(fd, &st) != 0) {
        kd_log(KD_WARN, "%s: %s", path, strerror(errno));
        err = KD_IO;
        goto out;
    }
    const char *bad = bad_about(&st, is_secret);
    if (bad != NULL)
        err = refuse(path, bad);
    else if ((err = read_all(fd, out)) != KD_OK)
        kd_log(KD_WARN, "%s: %s", path, strerror(errno));
out:
    if (fd >= 0)
        close(fd);
    return err;
}

/* --- certificates --- */

static kd_err
read_certs(struct material *m, const char *path, X509 **list, size_t most, size_t *n)
{
    kd_err err = read_file(path, false, &m->file);
    BIO *bio;

    if (err != KD_OK)
        return err;
    if ((bio = BIO_new_mem_buf(m->file.p, (int)m->file.n)) == NULL)
        return KD_NOMEM;
    X509 *cert;
    while (*n < most && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
        list[(*n)++] = cert;
    unsigned long e = ERR_peek_last_error();
    bool is_end = *n < most && ERR_GET_LIB(e) == ERR_LIB_PEM &&
                  ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
    bool is_full = *n == most && PEM_read_bio_X509(bio, NULL, NULL, NULL) == NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (*n == 0)
        return refuse(path, "no certificate in it");
    return is_end || is_full ? KD_OK
           : *n == most      ? refuse(path, "too many certificates")
                             : refuse(path, "a certificate that does not parse");
}

static kd_err
check_time(const char *path, const X509 *cert, int64_t now)
{
    int64_t from, to;

    if (!cert_time(X509_get0_notBefore(cert), &from) ||
        !cert_time(X509_get0_notAfter(cert), &to))
        return refuse(path, "a time that is none");
    if (now < from)
        return refuse(path, "a certificate that is not valid yet");
    if (now > to)
        return refuse(path, "a certificate that has expired");
    if (to - now < SOON)
        kd_log(KD_WARN, "%s: a certificate expires in %lld hours", path,
               (long long)(to - now) / 3600);
    return KD_OK;
}

/* The listener's own certificate. */
static kd_err
check_own(const char *path, X509 *cert)
{
    if (!cert_key_is_allowed(cert))
        return refuse(path, "kind or size of its key not allowed");
    if (X509_check_purpose(cert, -1, 0) != 1 ||
        (X509_get_extension_flags(cert) & EXFLAG_INVALID) != 0)
        return refuse(path, "a certificate with a bad extension");
    if ((X509_get_extension_flags(cert) & EXFLAG_XKUSAGE) != 0 &&
        (X509_get_extended_key_usage(cert) & XKU_SSL_SERVER) == 0)
        return refuse(path, "its extended key usage lacks serverAuth");
    return KD_OK;
}

static kd_err
read_chain(struct material *m, const char *path, int64_t now)
{
    kd_err err = read_certs(m, path, m->chain, KD_TLS_CHAIN_MAX, &m->n_chain);

    for (size_t i = 0; i < m->n_chain && err == KD_OK; i++) {
        err = check_time(path, m->chain[i], now);
        if (err == KD_OK && i > 0 &&
            X509_check_issued(m->chain[i], m->chain[i - 1]) != X509_V_OK)
            err = refuse(path, "not in order: each certificate is followed by that "
                               "which signed it");
    }
    return err == KD_OK ? check_own(path, m->chain[0]) : err;
}

static kd_err
check_root(const char *path, X509 *cert)
{
    if (X509_check_ca(cert) != 1)
        return refuse(path, "a certificate that is no CA");
    /* Without it every client would be refused, with a word in the log alone. */
    if ((X509_get_extension_flags(cert) & EXFLAG_KUSAGE) == 0 ||
        (X509_get_key_usage(cert) & KU_KEY_CERT_SIGN) == 0)
        return refuse(path, "a CA's certificate without the key usage keyCertSign");
    if (X509_self_signed(cert, 1) != 1)
        return refuse(path,
                      "a certificate that is no root: it is not signed by itself");
    return cert_key_is_allowed(cert)
               ? KD_OK
               : refuse(path, "kind or size of a key not allowed");
}

static kd_err
read_roots(struct material *m, const char *path, int64_t now)
{
    kd_err err = read_certs(m, path, m->roots, KD_TLS_ROOTS_MAX, &m->n_roots);

    for (size_t i = 0; i < m->n_roots && err == KD_OK; i++) {
        err = check_time(path, m->roots[i], now);
        if (err == KD_OK)
            err = check_root(path, m->roots[i]);
    }
    return err;
}

/* --- the key --- */

/* There is nobody to ask for a passphrase. */
static int
no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static kd_err
read_key(struct material *m, const char *path)
{
    kd_err err = read_file(path, true, &m->key_file);
    BIO *bio;

    if (err != KD_OK)
        return err;
    if ((bio = BIO_new_mem_buf(m->key_file.p, (int)m->key_file.n)) == NULL)
        return KD_NOMEM;
    m->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (m->key == NULL)
        return refuse(path, "no key in it that can be read without a passphrase");
    if (X509_check_private_key(m->chain[0], m->key) != 1)
        return refuse(path, "not the key of the certificate");
    return KD_OK;
}

/* --- denied keys --- */

static bool
is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* A line without its comment and the spaces around it. */
static struct kd_slice
trim(const uint8_t *p, size_t n)
{
    const uint8_t *comment = memchr(p, '#', n);

    if (comment != NULL)
        n = (size_t)(comment - p);
    while (n > 0 && is_space(p[n - 1]))
        n--;
    while (n > 0 && is_space(*p)) {
        p++;
        n--;
    }
    return kd_slice(p, n);
}

static int
compare_pins(const void *a, const void *b)
{
    return memcmp(a, b, KD_PIN_SIZE);
}

static void
sort_denied(struct material *m)
{
    size_t n = 0;

    qsort(m->denied, m->n_denied, sizeof *m->denied, compare_pins);
    for (size_t i = 0; i < m->n_denied; i++)
        if (i == 0 || memcmp(m->denied[n - 1], m->denied[i], KD_PIN_SIZE) != 0)
            memmove(m->denied[n++], m->denied[i], KD_PIN_SIZE);
    m->n_denied = n;
}

static kd_err
read_denied(struct material *m, const char *path)
{
    kd_err err = read_file(path, false, &m->file);

    if (err != KD_OK)
        return err;
    for (size_t at = 0; at < m->file.n;) {
        const uint8_t *line = m->file.p + at;
        const uint8_t *end = memchr(line, '\n', m->file.n - at);
        size_t size = end == NULL ? m->file.n - at : (size_t)(end - line);
        struct kd_slice text = trim(line, size);
        at += size + 1;
        if (text.n == 0)
            continue;
        if (m->n_denied == KD_TLS_DENIED_MAX)
            return refuse(path, "too many keys");
        if (!kd_conf_pin_parse(text, m->denied[m->n_denied++]))
            return refuse(path, "a line that is not 64 hexadecimal digits");
    }
    sort_denied(m);
    return KD_OK;
}

/* --- all of it --- */

static int
compare_names(const void *a, const void *b)
{
    const struct kd_tls_client *x = a, *y = b;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int c = memcmp(x->name.p, y->name.p, n);

    return c != 0 ? c : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static void
put_pin(struct kd_tls_client *client, const struct kd_conf_pin *pin)
{
    if (pin->is_set)
        memcpy(client->pins[client->n_pins++], pin->sha256, KD_PIN_SIZE);
}

static void
put_clients(const struct kd_conf *conf, struct kd_tls_conf *out)
{
    for (size_t i = 0; i < conf->n_principals; i++) {
        const struct kd_conf_principal *p = &conf->principals[i];
        if (p->klass != KD_CLASS_TLS)
            continue;
        struct kd_tls_client *client = &out->clients[out->n_clients++];
        client->name = kd_slice_str(p->name);
        if (p->san != NULL)
            client->san = kd_slice_str(p->san);
        put_pin(client, &p->pin);
        put_pin(client, &p->next_pin);
    }
    qsort(out->clients, out->n_clients, sizeof *out->clients, compare_names);
}

/* Keeps DER that OpenSSL made; empty if it could not. */
static struct kd_slice
keep_der(struct material *m, unsigned char *der, int n)
{
    if (n <= 0 || der == NULL)
        return kd_slice(NULL, 0);
    m->der[m->n_der] = der;
    m->der_size[m->n_der++] = (size_t)n;
    return kd_slice(der, (size_t)n);
}

static struct kd_slice
cert_der(struct material *m, X509 *cert)
{
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);

    return keep_der(m, der, n);
}

static struct kd_slice
key_der(struct material *m)
{
    unsigned char *der = NULL;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(m->key);
    int n = info == NULL ? 0 : i2d_PKCS8_PRIV_KEY_INFO(info, &der);

    PKCS8_PRIV_KEY_INFO_free(info);
    return keep_der(m, der, n);
}

/* The octets, read back as the gate will. */
static kd_err
put_octets(const struct kd_conf *conf, struct material *m, struct kd_buf *out)
{
    struct kd_tls_conf *c = &m->conf, *again = calloc(1, sizeof *again);

    c->allow_unpinned = conf->listeners[KD_CLASS_TLS].allow_unpinned;
    for (; c->n_chain < m->n_chain; c->n_chain++)
        c->chain[c->n_chain] = cert_der(m, m->chain[c->n_chain]);
    for (; c->n_roots < m->n_roots; c->n_roots++)
        c->roots[c->n_roots] = cert_der(m, m->roots[c->n_roots]);
    c->key = key_der(m);
    c->denied = kd_slice(m->denied, m->n_denied * KD_PIN_SIZE);
    put_clients(conf, c);
    kd_tls_conf_encode(c, out);
    kd_err err = again == NULL ? KD_NOMEM : out->err;
    if (err == KD_OK)
        err = kd_tls_conf_decode(kd_buf_slice(out), again);
    free(again);
    if (err == KD_OK)
        return KD_OK;
    kd_log(KD_WARN, "certificates of listener \"tls\": %s",
           err == KD_NOMEM ? kd_err_text(err) : "one of them is too large");
    return err == KD_NOMEM ? err : KD_INVALID;
}

static void
clear(struct material *m)
{
    for (size_t i = 0; i < m->n_chain; i++)
        X509_free(m->chain[i]);
    for (size_t i = 0; i < m->n_roots; i++)
        X509_free(m->roots[i]);
    for (size_t i = 0; i < m->n_der; i++)
        OPENSSL_clear_free(m->der[i], m->der_size[i]);
    EVP_PKEY_free(m->key);
    if (m->key_file.p != NULL)
        kd_secret_wipe(m->key_file.p, m->key_file.cap);
    kd_buf_free(&m->key_file);
    kd_buf_free(&m->file);
    free(m);
}

kd_err
tls_files_read(const struct kd_conf *conf, int64_t now, struct kd_buf *out)
{
    const struct kd_conf_listener *l = &conf->listeners[KD_CLASS_TLS];
    struct material *m = calloc(1, sizeof *m);
    kd_err err;

    if (m == NULL)
        return KD_NOMEM;
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1) {
        free(m);
        return KD_FAILED;
    }
    kd_buf_init(&m->file, FILE_MAX);
    kd_buf_init(&m->key_file, FILE_MAX);
    err = read_chain(m, l->certificate, now);
    if (err == KD_OK)
        err = read_key(m, l->key);
    if (err == KD_OK && l->client_ca != NULL)
        err = read_roots(m, l->client_ca, now);
    if (err == KD_OK && l->denied_keys != NULL)
        err = read_denied(m, l->denied_keys);
    if (err == KD_OK)
        err = put_octets(conf, m, out);
    clear(m);
    return err;
}
