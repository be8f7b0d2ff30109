/* TLS 1.3 with a certificate on both sides: the caller is the principal that the
 * client's certificate names, known to the vault by that name. No descriptors; objects
 * travel in parts (part.h).
 *
 * Certificate, key and rules come from the supervisor (ctl_tls), at start and whenever
 * it has read them anew. What is established stays; but who is there is asked for again
 * before the first request after that, and when the certificate's time is over. */
#include "serve.h"
#include "shake.h"
#include "transport.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

/* What is kept of a connection. */
struct stream {
    SSL *ssl;
    uint32_t serial;    /* of the material that its certificate was held against */
    int64_t good_until; /* seconds since 1970 */
};

/* In use, and what comes into use with the configuration it was sent for. */
static struct material *newest, *next;

/* --- octets --- */

static kd_err
error_of(SSL *ssl, int r)
{
    switch (SSL_get_error(ssl, r)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return KD_UNAVAILABLE;
    case SSL_ERROR_ZERO_RETURN:
        return KD_CLOSED;
    default:
        ERR_clear_error();
        return KD_IO;
    }
}

static kd_err
receive(struct gate *g, struct conn *c, bool *again)
{
    struct stream *s = c->stream;
    uint8_t *octets = g->scratch.octets;
    size_t n = 0, size = sizeof g->scratch.octets, got;
    kd_err err = KD_OK;

    /* All that the SSL has read ahead, and what the socket has where that is not enough
     * for a record; of the rest of the socket's a poll tells. */
    do {
        ERR_clear_error();
        int r = SSL_read_ex(s->ssl, octets + n, size - n, &got);
        if (r == 1)
            n += got;
        else
            err = error_of(s->ssl, r);
    } while (n < size && err == KD_OK && SSL_has_pending(s->ssl) == 1);
    /* More may wait within the SSL, where no poll sees it; and what ended the stream
     * behind these octets is said again when asked for again. */
    *again =
        n != 0 && (err == KD_OK ? SSL_has_pending(s->ssl) == 1 : err != KD_UNAVAILABLE);
    if (n != 0)
        return kd_frame_feed(&c->in, kd_slice(octets, n), -1);
    return err == KD_CLOSED && kd_frame_is_partial(&c->in) ? KD_IO : err;
}

static kd_err
flush(struct conn *c)
{
    struct stream *s = c->stream;
    struct kd_slice waiting;
    size_t n;
    kd_err err;

    for (;;) {
        if ((err = kd_frame_out_peek(&c->out, &waiting)) != KD_OK || waiting.n == 0)
            return err;
        ERR_clear_error();
        int r = SSL_write_ex(s->ssl, waiting.p, waiting.n, &n);
        if (r != 1)
            return error_of(s->ssl, r);
        kd_frame_out_drop(&c->out, n);
    }
}

static void
clear(struct conn *c)
{
    struct stream *s = c->stream;

    if (s == NULL)
        return;
    ERR_clear_error();
    kd_ignore(SSL_shutdown(s->ssl)); /* says that this is the end, if it still can */
    ERR_clear_error();
    SSL_free(s->ssl);
    free(s);
    c->stream = NULL;
}

/* --- who is there --- */

static void
connected(struct gate *g, struct shaken *done)
{
    struct kd_caller who = kd_caller_remote(done->name);
    struct stream *s = calloc(1, sizeof *s);
    struct conn *c = s == NULL ? NULL : serve_open(g, done->fd, &who);

    if (c == NULL) {
        if (s == NULL)
            close(done->fd);
        SSL_free(done->ssl);
        free(s);
        return;
    }
    *s = (struct stream){
        .ssl = done->ssl, .serial = done->serial, .good_until = done->good_until};
    c->stream = s;
    c->has_more = true; /* a request may have come with the handshake's last octets */
    serve_later(g, c);
}

/* The rules have changed since: is it the same principal under the new ones? */
static bool
is_same(struct conn *c, struct stream *s)
{
    struct cert_answer answer;
    X509 *leaf = SSL_get0_peer_certificate(s->ssl);

    if (leaf == NULL)
        return false;
    cert_judge(&newest->rules, leaf, SSL_get_peer_cert_chain(s->ssl),
               kd_clock_wall_ms() / 1000, &answer);
    ERR_clear_error();
    if (answer.verdict == CERT_GOOD &&
        kd_slice_eq(answer.client->name, c->caller.name)) {
        s->serial = newest->serial;
        s->good_until = answer.good_until;
        return true;
    }
    char name[KD_POLICY_NAME_MAX + 1];
    kd_log(KD_WARN, "connection ended: principal=%s reason=\"%s\"",
           kd_log_text(c->caller.name, name, sizeof name),
           answer.verdict == CERT_GOOD ? "its certificate is another principal's now"
                                       : cert_verdict_text(answer.verdict));
    return false;
}

static kd_err
may_ask(struct gate *g, struct conn *c)
{
    struct stream *s = c->stream;

    (void)g;
    if (s->serial != newest->serial && !is_same(c, s))
        return KD_DENIED;
    return kd_clock_wall_ms() / 1000 > s->good_until ? KD_UNAVAILABLE : KD_OK;
}

/* --- the supervisor, and the loop --- */

static void
start(struct gate *g)
{
    /* Else the first use of an algorithm reads a file, which the sandbox forbids. */
    if (g->conf.klass != KD_CLASS_TLS ||
        OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1 ||
        OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        kd_role_die("TLS", KD_FAILED);
    shakes_setup(g, connected);
}

static void
taken(struct gate *g)
{
    if (next == NULL)
        return;
    shakes_rules(g, next);
    material_free(newest);
    newest = next;
    next = NULL;
    kd_log(KD_INFO, "certificates loaded: serial=%u principals=%zu denied=%zu",
           newest->serial, newest->conf.n_clients, newest->conf.denied.n / KD_PIN_SIZE);
}

static kd_err
control(struct gate *g, uint16_t type, struct kd_slice body, int fd)
{
    struct kd_ctl_tls m;
    struct material *fresh;
    kd_err err = KD_UNSUPPORTED;

    if (type == KD_MSG_ctl_tls)
        err = fd < 0 ? KD_MALFORMED : kd_ctl_tls_get(body, &m);
    if (err == KD_OK)
        err = material_new(fd, m.serial, shake_verify, &fresh);
    if (fd >= 0)
        close(fd);
    if (err == KD_OK) {
        material_free(next);
        next = fresh;
        if (newest == NULL)
            taken(g); /* the first, for the configuration it was started with */
    } else if (err != KD_UNSUPPORTED && newest != NULL) {
        kd_log(KD_WARN, "certificates not taken, going on with those before: %s",
               kd_err_text(err));
        return KD_OK;
    }
    return err;
}

static void
accepted(struct gate *g, int fd, const struct sockaddr *from)
{
    if (newest == NULL)
        close(fd);
    else
        shake_begin(g, newest, fd, from);
}

const struct transport gate_transport = {.program = "keyd-gate-tls",
                                         .role = KD_ROLE_GATE,
                                         .start = start,
                                         .accepted = accepted,
                                         .recv = receive,
                                         .flush = flush,
                                         .clear = clear,
                                         .may_ask = may_ask,
                                         .control = control,
                                         .taken = taken,
                                         .turn = shakes_turn,
                                         .tick = shakes_tick};
