/* abuse.h: the remote listener. The abuser has a good certificate and many addresses:
 * SOURCES from which it has shown it before, and as many from which it never does, for
 * half of the links that do not end their handshake. */
#include "abuse.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* More handshakes at once than AT_ONCE push each other out. */
enum { SOURCES = 64, LINKS = 2000, AT_ONCE = 192 };

static struct sockaddr_in to = {.sin_family = AF_INET};
static SSL_CTX *ctx;

/* --- start --- */

void
tls_abuse_setup(const struct tls_place *place, const struct identity *abuser)
{
    char from[32];
    struct tls_peer t;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(place->port);
    ctx = SSL_CTX_new(TLS_client_method());
    assert_true(ctx != NULL && SSL_CTX_use_certificate(ctx, abuser->cert) == 1 &&
                SSL_CTX_use_PrivateKey(ctx, abuser->key) == 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    for (unsigned i = 0; i < SOURCES; i++) {
        snprintf(from, sizeof from, "127.0.1.%u", i + 1);
        assert_true(tls_open_from(&t, place->port, from, abuser, NULL) &&
                    tls_hello(&t));
        tls_close(&t);
    }
}

void
tls_abuse_clear(void)
{
    SSL_CTX_free(ctx);
}

/* --- TCP --- */

static bool
connect_from(struct link *l, unsigned net)
{
    static const int on = 1, small = 8192;
    struct sockaddr_in from = {.sin_family = AF_INET};

    from.sin_addr.s_addr =
        htonl(0x7f000000 | net << 8 | (unsigned)(l->number / 2 % SOURCES + 1));
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    l->at_ms = (uint64_t)kd_clock_ms();
    l->n_sent = 0;
    if (l->fd >= 0 &&
        setsockopt(l->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0 &&
        setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
        /* What it does not read shall not lie in its own kernel. */
        setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0 &&
        setsockopt(l->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0 &&
        bind(l->fd, (const struct sockaddr *)&from, sizeof from) == 0 &&
        (connect(l->fd, (const struct sockaddr *)&to, sizeof to) == 0 ||
         errno == EINPROGRESS))
        return true;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    return false;
}

static bool
tcp_open(struct link *l)
{
    return connect_from(l, 1 + l->number % 2);
}

static int
tcp_go_on(struct link *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLOUT};

    if (poll(&p, 1, 0) <= 0)
        return 0;
    return (p.revents & (POLLERR | POLLHUP)) != 0 ? -1 : 1;
}

static ssize_t
tcp_send(struct link *l, const void *p, size_t n)
{
    return send(l->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t
tcp_recv(struct link *l, void *p, size_t n)
{
    return recv(l->fd, p, n, MSG_DONTWAIT);
}

static void
tcp_half_close(struct link *l)
{
    kd_ignore(shutdown(l->fd, SHUT_WR)); /* gone already: as good */
}

/* Now an end in order, now a reset. */
static void
tcp_close(struct link *l)
{
    static const struct linger reset = {.l_onoff = 1};

    if (l->fd < 0)
        return;
    if (randombytes_uniform(2) == 0)
        kd_ignore(setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
    close(l->fd);
    l->fd = -1;
}

const struct transport tcp_transport = {.name = "tcp",
                                        .bit = ON_TCP,
                                        .most = LINKS,
                                        .is_far = true,
                                        .open = tcp_open,
                                        .go_on = tcp_go_on,
                                        .send = tcp_send,
                                        .recv = tcp_recv,
                                        .half_close = tcp_half_close,
                                        .close = tcp_close};

/* --- TLS --- */

static void
tls_close_link(struct link *l)
{
    SSL_free(l->ssl);
    l->ssl = NULL;
    tcp_close(l);
}

static bool
tls_open_link(struct link *l)
{
    if (!connect_from(l, 1))
        return false;
    l->ssl = SSL_new(ctx);
    if (l->ssl != NULL && SSL_set_fd(l->ssl, l->fd) == 1)
        return true;
    tls_close_link(l);
    return false;
}

/* r of an SSL function, in terms of recv(2). */
static ssize_t
result_of(struct link *l, int r, size_t n)
{
    int e = r == 1 ? SSL_ERROR_NONE : SSL_get_error(l->ssl, r);

    ERR_clear_error();
    if (e == SSL_ERROR_NONE)
        return (ssize_t)n;
    if (e == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return -1;
}

static int
tls_go_on(struct link *l)
{
    int tcp = tcp_go_on(l);

    if (tcp <= 0)
        return tcp;
    if (result_of(l, SSL_connect(l->ssl), 1) == 1)
        return 1;
    return errno == EAGAIN ? 0 : -1;
}

static ssize_t
tls_send(struct link *l, const void *p, size_t n)
{
    size_t sent = 0;
    int r = SSL_write_ex(l->ssl, p, n, &sent);

    return result_of(l, r, sent);
}

static ssize_t
tls_recv(struct link *l, void *p, size_t n)
{
    size_t got = 0;
    int r = SSL_read_ex(l->ssl, p, n, &got);

    return result_of(l, r, got);
}

static void
tls_half_close(struct link *l)
{
    kd_ignore(SSL_shutdown(l->ssl)); /* gone already: as good */
    ERR_clear_error();
    tcp_half_close(l);
}

const struct transport tls_transport = {.name = "tls",
                                        .bit = ON_TLS,
                                        .most_new = AT_ONCE,
                                        .most = LINKS,
                                        .is_far = true,
                                        .open = tls_open_link,
                                        .go_on = tls_go_on,
                                        .send = tls_send,
                                        .recv = tls_recv,
                                        .half_close = tls_half_close,
                                        .close = tls_close_link};

/* --- handshakes that stop, each at one of the steps --- */

enum step {
    STEP_HALF_HELLO,   /* in the middle of the ClientHello */
    STEP_HELLO,        /* behind it, and nothing is read */
    STEP_ANSWERED,     /* the server's flight has come and is not answered */
    STEP_HALF_ANSWER,  /* in the middle of certificate and signature */
    STEP_WHOLE_ANSWER, /* behind all that the client has to say */
    STEPS
};

/* What the SSL writes stays in memory, to be sent as far as the step goes. */
static bool
steps_open(struct link *l)
{
    BIO *in, *out;

    if (!tcp_open(l))
        return false;
    l->ssl = SSL_new(ctx);
    in = BIO_new_socket(l->fd, BIO_NOCLOSE);
    out = BIO_new(BIO_s_mem());
    if (l->ssl != NULL && in != NULL && out != NULL) {
        SSL_set_bio(l->ssl, in, out);
        return true;
    }
    BIO_free(in);
    BIO_free(out);
    tls_close_link(l);
    return false;
}

/* Sends what was written, or half of it; false: the link is gone. */
static bool
send_flight(struct link *l, bool half)
{
    uint8_t octets[4096];
    int n = BIO_read(SSL_get_wbio(l->ssl), octets, sizeof octets);

    if (n <= 0)
        return true;
    l->n_sent += (size_t)n;
    size_t some = (size_t)(half ? n / 2 : n);
    return tcp_send(l, octets, some) == (ssize_t)some;
}

/* 1: it is where it stops. */
static int
steps_go_on(struct link *l)
{
    enum step step = (enum step)(l->number / 2 % STEPS);
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    int tcp = tcp_go_on(l);

    if (tcp <= 0)
        return tcp;
    if (l->n_sent == 0) {
        kd_ignore(SSL_connect(l->ssl)); /* wants the answer */
        ERR_clear_error();
        if (!send_flight(l, step == STEP_HALF_HELLO))
            return -1;
        return step <= STEP_HELLO;
    }
    if (poll(&p, 1, 0) <= 0)
        return 0;
    if (step == STEP_ANSWERED)
        return 1;
    bool done = result_of(l, SSL_connect(l->ssl), 1) == 1;
    if (!done && errno != EAGAIN)
        return -1;
    return !send_flight(l, step == STEP_HALF_ANSWER) ? -1 : done ? 1 : 0;
}

const struct transport steps_transport = {.name = "tls",
                                          .bit = ON_STEPS,
                                          .most = LINKS,
                                          .is_far = true,
                                          .open = steps_open,
                                          .go_on = steps_go_on,
                                          .send = tcp_send,
                                          .recv = tcp_recv,
                                          .half_close = tcp_half_close,
                                          .close = tls_close_link};
