#include "certificates.h"
#include "keydctl_policy.h"

#include <dime/certificate.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    FILE_LARGEST = 1 << 20, /* a chain with its texts */
    RSA_MIN = 2048,         /* bits (TR-34) */
};

static const char installed[] = "/etc/dime-keyd/keyd.conf";

/* The octets as they stand in the file: what a server sends is not encoded anew. */
static bool
der_of_pem(struct kd_slice text, struct kd_buf *der)
{
    BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
    unsigned char *octets = NULL;
    long n = 0;
    bool good = bio != NULL && PEM_bytes_read_bio(&octets, &n, NULL, PEM_STRING_X509,
                                                  bio, NULL, NULL) == 1;

    if (good)
        kd_buf_put(der, kd_slice(octets, (size_t)n));
    OPENSSL_free(octets);
    BIO_free(bio);
    ERR_clear_error();
    return good && der->err == KD_OK;
}

static bool
seconds_of(const ASN1_TIME *t, int64_t *out)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *out = timegm(&tm);
    return true;
}

/* What is wrong with it, or NULL. */
static const char *
look_at(struct certificate *c, X509 *x)
{
    const EVP_PKEY *key = X509_get0_pubkey(x);

    if (key == NULL)
        return "its key is of no kind that is known";
    int type = EVP_PKEY_get_base_id(key);
    if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
        return "senders take RSA keys, and ECDSA ones, but none of this kind";
    if (type == EVP_PKEY_EC)
        complain(c->path,
                 "warning: an ECDSA key, which senders with TLS 1.2 do not take");
    if (type == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) < RSA_MIN)
        return "an RSA key of less than 2048 bits, which senders refuse";
    if (!seconds_of(X509_get0_notBefore(x), &c->from) ||
        !seconds_of(X509_get0_notAfter(x), &c->until))
        return "its times cannot be read";
    kd_ignore(X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName,
                                        c->name, sizeof c->name));
    for (char *p = c->name; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    return NULL;
}

/* What is wrong with the octets, or NULL. */
static const char *
parse(struct kd_slice file, struct certificate *c)
{
    static const char mark[] = "-----BEGIN ";
    const uint8_t *p;
    const char *why;

    if (file.n == 0)
        return "empty";
    if (memmem(file.p, file.n, mark, sizeof mark - 1) == NULL)
        kd_buf_put(&c->der, file);
    else if (!der_of_pem(file, &c->der))
        return "no certificate in it";
    if (c->der.err != KD_OK)
        return kd_err_text(c->der.err);
    p = c->der.p;
    X509 *x = d2i_X509(NULL, &p, (long)c->der.n);
    if (x == NULL || p != c->der.p + c->der.n)
        why = "not an X.509 certificate";
    else if (!dime_certificate_ok(kd_buf_slice(&c->der)))
        why = "longer than 16384 octets, or not in DER";
    else
        why = look_at(c, x);
    X509_free(x);
    ERR_clear_error();
    return why;
}

int
certificates_add(struct certificates *all, const char *path)
{
    struct certificate *c = &all->list[all->n];
    struct kd_buf file;
    const char *why = NULL;

    if (all->n == CERTIFICATES_MAX)
        return usage_error("--certificate", "at most 32");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        kd_ignore(trouble(path));
        return EX_NOINPUT;
    }
    *c = (struct certificate){.path = path};
    kd_buf_init(&file, FILE_LARGEST);
    kd_buf_init(&c->der, FILE_LARGEST);
    int outcome = file_read(fd, path, &file, &why);
    close(fd);
    if (outcome == HOLDS)
        why = parse(kd_buf_slice(&file), c);
    kd_buf_free(&file);
    if (outcome == HOLDS && why == NULL) {
        all->n++;
        return EX_OK;
    }
    kd_buf_free(&c->der);
    if (outcome == TROUBLE)
        return EX_NOINPUT;
    complain(path, why);
    return EX_DATAERR;
}

void
certificates_free(struct certificates *all)
{
    for (size_t i = 0; i < all->n; i++)
        kd_buf_free(&all->list[i].der);
    all->n = 0;
}

bool
certificates_has(const struct certificates *all, const struct certificate *one)
{
    for (size_t i = 0; i < all->n; i++)
        if (kd_slice_eq(kd_buf_slice(&all->list[i].der), kd_buf_slice(&one->der)))
            return true;
    return false;
}

static int
add_all(const struct kd_conf *conf, const char *domain, struct certificates *all)
{
    int status = EX_OK;

    for (size_t i = 0; i < conf->n_domains; i++) {
        const struct kd_conf_domain *d = &conf->domains[i];
        for (size_t k = 0;
             status == EX_OK && strcmp(d->name, domain) == 0 && k < d->certificates.n;
             k++)
            status = certificates_add(all, d->certificates.list[k]);
    }
    return status;
}

int
certificates_configured(const char *path, const char *domain, struct certificates *all,
                        struct kd_conf **conf, bool *is_known)
{
    static struct kd_conf_problems problems;
    const char *file = path == NULL ? installed : path;

    *conf = NULL;
    *is_known = false;
    if (path == NULL && access(file, R_OK) != 0)
        return EX_OK;
    kd_err err = conf_read(file, conf, &problems);
    if (err != KD_OK) {
        conf_print_problems(stderr, file, &problems);
        return err == KD_INVALID ? EX_DATAERR : EX_NOINPUT;
    }
    *is_known = true;
    return add_all(*conf, domain, all);
}
