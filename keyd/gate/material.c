#include "material.h"

#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <openssl/err.h>
#include <stdlib.h>

enum { PEER_CERTS_MAX = 16 * 1024 }; /* octets of all that a client sends of them */

/* Literals: OpenSSL's macros cast to char *, which a const array may not be. */
#define SUITES                                                                         \
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
#define GROUPS "X25519:P-256:P-384"
#define SIGNATURES                                                                     \
    "ed25519:ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:rsa_pss_rsae_sha256:"       \
    "rsa_pss_rsae_sha384:rsa_pss_rsae_sha512"

/* TLS 1.3, every connection with a full handshake and the client's certificate: nothing
 * is resumed, no ticket given, no data taken before the handshake is over. */
static bool
set_rules(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_cert_list(ctx, PEER_CERTS_MAX);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, SUITES) == 1 &&
           SSL_CTX_set1_groups_list(ctx, GROUPS) == 1 &&
           SSL_CTX_set1_sigalgs_list(ctx, SIGNATURES) == 1 &&
           SSL_CTX_set1_client_sigalgs_list(ctx, SIGNATURES) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
           SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
           SSL_CTX_set_recv_max_early_data(ctx, 0) == 1;
}

static bool
set_identity(SSL_CTX *ctx, const struct kd_tls_conf *conf)
{
    const unsigned char *p = conf->key.p;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)conf->key.n);
    EVP_PKEY *key = info == NULL ? NULL : EVP_PKCS82PKEY(info);
    X509 *cert = NULL;
    bool ok = key != NULL && p == conf->key.p + conf->key.n &&
              cert_parse(conf->chain[0], &cert) == CERT_GOOD &&
              SSL_CTX_use_certificate(ctx, cert) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
              SSL_CTX_check_private_key(ctx) == 1;

    X509_free(cert);
    EVP_PKEY_free(key);
    PKCS8_PRIV_KEY_INFO_free(info);
    for (size_t i = 1; i < conf->n_chain && ok; i++) {
        X509 *above = NULL;
        ok = cert_parse(conf->chain[i], &above) == CERT_GOOD &&
             SSL_CTX_add1_chain_cert(ctx, above) == 1;
        X509_free(above);
    }
    return ok;
}

/* The octets hold the key: read in one piece of memory, which is wiped. */
static kd_err
read_octets(int fd, struct material *m)
{
    size_t size;
    kd_err err = kd_memfd_check(fd, KD_TLS_CONF_SIZE_MAX, &size);

    if (err != KD_OK)
        return err;
    uint8_t *p = kd_buf_add(&m->octets, size);
    if (p == NULL)
        return m->octets.err == KD_OK ? KD_MALFORMED : m->octets.err;
    return kd_memfd_read(fd, 0, p, size);
}

static void
wipe_key(struct material *m)
{
    if (m->conf.key.n != 0) {
        size_t at = (size_t)(m->conf.key.p - m->octets.p);
        kd_secret_wipe(m->octets.p + at, m->conf.key.n);
    }
    m->conf.key = kd_slice(NULL, 0);
}

kd_err
material_new(int fd, uint32_t serial, int (*verify)(X509_STORE_CTX *ctx, void *arg),
             struct material **out)
{
    struct material *m = calloc(1, sizeof *m);
    kd_err err;

    if (m == NULL)
        return KD_NOMEM;
    m->serial = serial;
    kd_buf_init(&m->octets, KD_TLS_CONF_SIZE_MAX);
    if ((err = read_octets(fd, m)) != KD_OK ||
        (err = kd_tls_conf_decode(kd_buf_slice(&m->octets), &m->conf)) != KD_OK)
        goto out;
    err = KD_INVALID;
    m->ctx = SSL_CTX_new(TLS_server_method());
    if (m->ctx == NULL || !set_rules(m->ctx) || !set_identity(m->ctx, &m->conf))
        goto out;
    m->rules.conf = &m->conf;
    if (m->conf.n_roots != 0 && (m->rules.roots = cert_roots(&m->conf)) == NULL)
        goto out;
    SSL_CTX_set_verify(m->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(m->ctx, verify, NULL);
    err = KD_OK;
out:
    wipe_key(m);
    ERR_clear_error();
    if (err == KD_OK)
        *out = m;
    else
        material_free(m);
    return err;
}

void
material_free(struct material *m)
{
    if (m == NULL)
        return;
    SSL_CTX_free(m->ctx);
    X509_STORE_free(m->rules.roots);
    if (m->octets.p != NULL)
        kd_secret_wipe(m->octets.p, m->octets.cap);
    kd_buf_free(&m->octets);
    free(m);
}
