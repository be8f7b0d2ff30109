/* Like a gate: listeners it was given, libevent on epoll, TLS 1.3 on both sides' own
 * certificates, a client outside of the sandbox. */
#include "skeleton_sandbox.h"

#include <keyd/base/chan.h>
#include <keyd/base/log.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct identity {
    X509 *cert;
    EVP_PKEY *key;
};

static struct identity
identity_new(void)
{
    struct identity id = {X509_new(), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};

    MUST(id.cert != NULL && id.key != NULL);
    X509_NAME *name = X509_get_subject_name(id.cert);
    MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                    (const unsigned char *)"localhost", -1, -1,
                                    0) == 1);
    MUST(X509_set_issuer_name(id.cert, name) == 1);
    MUST(ASN1_INTEGER_set(X509_get_serialNumber(id.cert), 1) == 1);
    MUST(X509_set_version(id.cert, X509_VERSION_3) == 1);
    MUST(X509_gmtime_adj(X509_getm_notBefore(id.cert), -60) != NULL);
    MUST(X509_gmtime_adj(X509_getm_notAfter(id.cert), 3600) != NULL);
    MUST(X509_set_pubkey(id.cert, id.key) == 1);
    MUST(X509_sign(id.cert, id.key, NULL) > 0);
    return id;
}

/* Mutual TLS 1.3 where each side trusts exactly the other. */
static SSL_CTX *
tls_context(const SSL_METHOD *method, struct identity *id)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    MUST(ctx != NULL);
    MUST(SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1);
    MUST(SSL_CTX_use_certificate(ctx, id->cert) == 1);
    MUST(SSL_CTX_use_PrivateKey(ctx, id->key) == 1);
    MUST(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), id->cert) == 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    MUST(SSL_CTX_set_num_tickets(ctx, 0) == 1);
    return ctx;
}

static void
tls_talk(SSL_CTX *ctx, int fd, bool server)
{
    SSL *ssl = SSL_new(ctx);
    char text[5] = "";

    MUST(ssl != NULL && SSL_set_fd(ssl, fd) == 1);
    MUST((server ? SSL_accept(ssl) : SSL_connect(ssl)) == 1);
    if (server)
        MUST(SSL_read(ssl, text, 4) == 4 && SSL_write(ssl, text, 4) == 4);
    else
        MUST(SSL_write(ssl, "ping", 4) == 4 && SSL_read(ssl, text, 4) == 4 &&
             strcmp(text, "ping") == 0);
    kd_ignore(SSL_shutdown(ssl)); /* the peer may have gone */
    SSL_free(ssl);
    close(fd);
}

static int
listen_on(struct sockaddr_un *at, const char *directory)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    MUST(snprintf(at->sun_path, sizeof at->sun_path, "%s/sock", directory) < 100);
    MUST(fd >= 0 && bind(fd, (struct sockaddr *)at, sizeof *at) == 0);
    MUST(listen(fd, 16) == 0);
    return fd;
}

static int
connect_to(const struct sockaddr_un *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    MUST(fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) == 0);
    return fd;
}

enum { ECHO_SIZE = 200000, HANG_UP = 'Q' };

/* Outside of the sandbox: echo, hang-up, TLS, then "Q" which ends the gate. */
static _Noreturn void
client(const struct sockaddr_un *at, int tcp_port, struct identity *id)
{
    static char big[ECHO_SIZE], back[ECHO_SIZE];
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)tcp_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    MUST(fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof in) == 0);
    tls_talk(tls_context(TLS_client_method(), id), fd, false);
    fd = connect_to(at);
    for (size_t sent = 0, got = 0; got < sizeof big;) {
        ssize_t n = 0;
        if (sent < sizeof big && (n = write(fd, big + sent, 20000)) > 0)
            sent += (size_t)n;
        MUST(n >= 0 && (n = read(fd, back + got, sizeof back - got)) > 0);
        got += (size_t)n;
    }
    close(fd);
    close(connect_to(at)); /* a peer that leaves at once */
    fd = connect_to(at);
    MUST(write(fd, "Q", 1) == 1);
    MUST(read(fd, back, 1) == 0);
    _exit(0);
}

static void
on_read(struct bufferevent *bev, void *base)
{
    struct evbuffer *in = bufferevent_get_input(bev);
    const unsigned char *first = evbuffer_pullup(in, 1);

    if (first != NULL && *first == HANG_UP)
        MUST(event_base_loopexit(base, NULL) == 0);
    else
        MUST(bufferevent_write_buffer(bev, in) == 0);
}

static void
on_end(struct bufferevent *bev, short what, void *base)
{
    (void)what;
    (void)base;
    bufferevent_free(bev);
}

static void
on_timer(evutil_socket_t fd, short what, void *n)
{
    (void)fd;
    (void)what;
    ++*(unsigned *)n;
}

static void
on_connection(struct evconnlistener *listener, evutil_socket_t fd,
              struct sockaddr *address, int size, void *base)
{
    struct ucred who;
    socklen_t n = sizeof who;

    (void)listener;
    (void)address;
    (void)size;
    MUST(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && n == sizeof who);
    struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    MUST(bev != NULL);
    bufferevent_setcb(bev, on_read, NULL, on_end, base);
    MUST(bufferevent_enable(bev, EV_READ | EV_WRITE) == 0);
}

static int
listen_tcp(int *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    MUST(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0);
    MUST(listen(fd, 16) == 0 && getsockname(fd, (struct sockaddr *)&in, &n) == 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static void
gate_serve_tls(SSL_CTX *ctx, int listener)
{
    struct sockaddr_in peer;
    socklen_t n = sizeof peer;
    int fd = accept4(listener, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC);

    MUST(fd >= 0);
    MUST(evutil_make_socket_nonblocking(fd) == 0);
    MUST(fcntl(fd, F_SETFL, O_RDWR) == 0);
    tls_talk(ctx, fd, true);
}

void
gate_works(const char *directory)
{
    struct sockaddr_un at;
    struct identity id = identity_new();
    SSL_CTX *tls = tls_context(TLS_server_method(), &id);
    int pair[2], port = 0;
    int unix_listener = listen_on(&at, directory), tcp_listener = listen_tcp(&port);
    pid_t pid = fork();

    MUST(pid >= 0);
    if (pid == 0)
        client(&at, port, &id);
    prepare();
    MUST(kd_chan_pair(pair) == KD_OK);
    struct event_base *base = event_base_new();
    MUST(base != NULL && strcmp(event_base_get_method(base), "epoll") == 0);
    MUST(kd_sandbox_enter(KD_ROLE_GATE, NULL, KD_SANDBOX_STRICT) == KD_OK);
    kd_log(KD_INFO, "%s", kd_sandbox_describe());

    unsigned ticks = 0;
    const struct timeval soon = {0, 1000};
    struct event *timer = event_new(base, -1, EV_PERSIST, on_timer, &ticks);
    MUST(timer != NULL && event_add(timer, &soon) == 0);
    struct evconnlistener *listener = evconnlistener_new(
        base, on_connection, base, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0,
        unix_listener);
    MUST(listener != NULL);
    gate_serve_tls(tls, tcp_listener);
    MUST(event_base_dispatch(base) == 0 && ticks > 0);
    evconnlistener_free(listener);
    event_free(timer);
    event_base_free(base);
    SSL_CTX_free(tls);
    make_and_read_memfd();
    pass_memfd(pair);
    allocate_all_sizes();
    tell_the_time();
    exit(0);
}

void
gate_aborts(const char *directory)
{
    (void)directory;
    prepare();
    MUST(kd_sandbox_enter(KD_ROLE_GATE, NULL, KD_SANDBOX_STRICT) == KD_OK);
    abort();
}
