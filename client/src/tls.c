#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <keyd/base/err.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct tls_setup {
    char *certificate, *key, *ca; /* paths */
    char *name;                   /* to check; NULL: any */
    uint8_t pin[KEYD_HASH_SIZE];
    bool has_pin;
    SSL_CTX *ctx;
};

struct tls_session {
    SSL *ssl;
    int sock;
    bool wants_write;
    bool is_broken; /* a fatal error: nothing more may be sent */
    kd_err ended;   /* behind octets that were given out first; KD_OK: not yet */
    const char *why;
};

/* ---- the socket below: SIGPIPE is not for a library to raise */

static int
sock_write(BIO *b, const char *p, int n)
{
    const struct tls_session *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    ssize_t sent = send(t->sock, p, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(b);
    return (int)sent;
}

static int
sock_read(BIO *b, char *p, int n)
{
    const struct tls_session *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    ssize_t got = recv(t->sock, p, (size_t)n, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(b);
    return (int)got;
}

static long
sock_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

/* Made once and kept: OpenSSL has a limited number of BIO types. Two threads that both
 * come first make two of them. */
static BIO_METHOD *
sock_method(void)
{
    static BIO_METHOD *kept;
    BIO_METHOD *m = __atomic_load_n(&kept, __ATOMIC_ACQUIRE);

    if (m != NULL)
        return m;
    if ((m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "keyd socket")) == NULL)
        return NULL;
    BIO_meth_set_write(m, sock_write);
    BIO_meth_set_read(m, sock_read);
    BIO_meth_set_ctrl(m, sock_ctrl);
    BIO_METHOD *none = NULL;
    if (__atomic_compare_exchange_n(&kept, &none, m, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return m;
    BIO_meth_free(m);
    return none;
}

/* ---- who the server is */

static bool
is_pinned_key(const struct tls_setup *s, const X509 *certificate)
{
    unsigned char *der = NULL;
    uint8_t hash[KEYD_HASH_SIZE];
    unsigned size = 0;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);

    bool ok = n > 0 &&
              EVP_Digest(der, (size_t)n, hash, &size, EVP_sha256(), NULL) == 1 &&
              size == sizeof hash && memcmp(hash, s->pin, sizeof hash) == 0;
    OPENSSL_free(der);
    return ok;
}

static bool
is_address(const char *name)
{
    uint8_t octets[16];

    return inet_pton(AF_INET, name, octets) == 1 ||
           inet_pton(AF_INET6, name, octets) == 1;
}

static bool
has_name(const char *name, X509 *certificate)
{
    enum { EXACT = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT };

    if (is_address(name))
        return X509_check_ip_asc(certificate, name, 0) == 1;
    return X509_check_host(certificate, name, strlen(name), EXACT, NULL) == 1;
}

/* Instead of OpenSSL's own: chain, name and key are three questions, and the one that
 * failed is told. */
static int
verify_server(X509_STORE_CTX *store, void *arg)
{
    const struct tls_setup *s = arg;
    X509 *certificate = X509_STORE_CTX_get0_cert(store);

    if (certificate == NULL)
        return 0;
    if (s->ca != NULL && X509_verify_cert(store) != 1)
        return 0;
    if (s->has_pin && !is_pinned_key(s, certificate)) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_DANE_NO_MATCH);
        return 0;
    }
    if (s->name != NULL && !has_name(s->name, certificate)) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
        return 0;
    }
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

static const char *
verify_word(long error)
{
    switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return "tls-server-name";
    case X509_V_ERR_DANE_NO_MATCH:
        return "tls-server-key";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "tls-server-dates";
    default:
        return "tls-server-certificate";
    }
}

/* ---- setting up */

static const char *
fill_ctx(struct tls_setup *s, SSL_CTX *ctx)
{
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1)
        return "tls-version";
    if (SSL_CTX_use_certificate_chain_file(ctx, s->certificate) != 1)
        return "tls-own-certificate";
    if (SSL_CTX_use_PrivateKey_file(ctx, s->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return "tls-own-key";
    if (s->ca != NULL && SSL_CTX_load_verify_file(ctx, s->ca) != 1)
        return "tls-ca";
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(ctx),
                                      X509_PURPOSE_SSL_SERVER) != 1)
        return "tls-ca";
    SSL_CTX_set_cert_verify_callback(ctx, verify_server, s);
    return NULL;
}

enum keyd_status
tls_setup_reload(struct tls_setup *s, const char **why)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL)
        return KEYD_NOMEM;
    *why = fill_ctx(s, ctx);
    ERR_clear_error();
    if (*why != NULL) {
        SSL_CTX_free(ctx);
        return KEYD_DENIED;
    }
    SSL_CTX_free(s->ctx);
    s->ctx = ctx;
    return KEYD_OK;
}

/* True if there was nothing to copy or it was copied. */
static bool
copy(char **to, const char *from)
{
    return from == NULL || (*to = strdup(from)) != NULL;
}

enum keyd_status
tls_setup_new(const struct keyd_tls *tls, const char *host, struct tls_setup **out,
              const char **why)
{
    const char *name = tls->server_name;
    enum keyd_status status = KEYD_NOMEM;

    *why = "tls-settings";
    if (tls->certificate == NULL || tls->key == NULL ||
        (tls->ca == NULL && tls->server_key == NULL))
        return KEYD_USAGE;
    struct tls_setup *s = calloc(1, sizeof *s);
    if (s == NULL)
        return KEYD_NOMEM;
    if (name == NULL && tls->ca != NULL)
        name = host;
    s->has_pin = tls->server_key != NULL;
    if (s->has_pin)
        memcpy(s->pin, tls->server_key, sizeof s->pin);
    if (copy(&s->certificate, tls->certificate) && copy(&s->key, tls->key) &&
        copy(&s->ca, tls->ca) && copy(&s->name, name))
        status = tls_setup_reload(s, why);
    if (status != KEYD_OK) {
        tls_setup_free(s);
        return status;
    }
    *out = s;
    return KEYD_OK;
}

void
tls_setup_free(struct tls_setup *s)
{
    if (s == NULL)
        return;
    SSL_CTX_free(s->ctx);
    free(s->certificate);
    free(s->key);
    free(s->ca);
    free(s->name);
    free(s);
}

/* ---- a connection */

struct tls_session *
tls_new(const struct tls_setup *s, int sock)
{
    struct tls_session *t = calloc(1, sizeof *t);
    BIO_METHOD *method = sock_method();
    BIO *b;

    if (t == NULL)
        return NULL;
    ERR_clear_error();
    t->ssl = SSL_new(s->ctx);
    if (t->ssl == NULL || method == NULL || (b = BIO_new(method)) == NULL) {
        tls_free(t);
        return NULL;
    }
    t->sock = sock;
    t->why = "";
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    if (s->name != NULL && !is_address(s->name) &&
        SSL_set_tlsext_host_name(t->ssl, s->name) != 1) {
        tls_free(t);
        return NULL;
    }
    SSL_set_connect_state(t->ssl);
    return t;
}

void
tls_free(struct tls_session *t)
{
    if (t == NULL)
        return;
    if (t->ssl != NULL && !t->is_broken && SSL_is_init_finished(t->ssl))
        kd_ignore(SSL_shutdown(t->ssl)); /* a courtesy */
    SSL_free(t->ssl);
    ERR_clear_error();
    free(t);
}

/* An alert is what the peer says of us. */
static kd_err
protocol_error(struct tls_session *t)
{
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);

    if (SSL_get_verify_result(t->ssl) != X509_V_OK &&
        reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        t->why = verify_word(SSL_get_verify_result(t->ssl));
        return KD_DENIED;
    }
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        t->why = "tls-refused";
        return KD_DENIED;
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
        t->why = "tls-version";
        return KD_IO;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return KD_CLOSED;
    default:
        t->why = "tls-failed";
        return KD_IO;
    }
}

static kd_err
result(struct tls_session *t, int rc)
{
    kd_err err;

    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        t->wants_write = false;
        return KD_UNAVAILABLE;
    case SSL_ERROR_WANT_WRITE:
        t->wants_write = true;
        return KD_UNAVAILABLE;
    case SSL_ERROR_ZERO_RETURN:
        return KD_CLOSED;
    case SSL_ERROR_SYSCALL:
        t->is_broken = true;
        return KD_CLOSED;
    default:
        t->is_broken = true;
        err = protocol_error(t);
        ERR_clear_error();
        return err;
    }
}

kd_err
tls_shake(struct tls_session *t)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    if (rc != 1)
        return result(t, rc);
    t->wants_write = false;
    return KD_OK;
}

kd_err
tls_recv(struct tls_session *t, uint8_t *to, size_t max, size_t *n)
{
    kd_err err = t->ended;
    size_t got;

    *n = 0;
    if (err != KD_OK)
        return err;
    do {
        ERR_clear_error();
        int rc = SSL_read_ex(t->ssl, to + *n, max - *n, &got);
        if (rc == 1)
            *n += got;
        else
            err = result(t, rc);
    } while (*n < max && err == KD_OK && SSL_has_pending(t->ssl) == 1);
    if (err != KD_OK && err != KD_UNAVAILABLE)
        t->ended = err;
    return *n > 0 ? KD_OK : err;
}

bool
tls_has_more(const struct tls_session *t)
{
    return t->ended != KD_OK || SSL_has_pending(t->ssl) == 1;
}

kd_err
tls_send(struct tls_session *t, struct kd_slice octets, size_t *n)
{
    ERR_clear_error();
    int rc = SSL_write_ex(t->ssl, octets.p, octets.n, n);
    if (rc != 1)
        return result(t, rc);
    t->wants_write = false;
    return KD_OK;
}

bool
tls_wants_write(const struct tls_session *t)
{
    return t->wants_write;
}

const char *
tls_why(const struct tls_session *t)
{
    return t->why;
}
