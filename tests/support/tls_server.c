#include "tls_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <keyd/base/clock.h>
#include <keyd/base/err.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void
must(bool x, const char *what)
{
    if (x)
        return;
    fprintf(stderr, "tls_server: %s\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

static void
path_of(char to[256], const char *dir, const char *name, const char *suffix)
{
    must(snprintf(to, 256, "%s/%s.%s", dir, name, suffix) < 256, "path");
}

static SSL_CTX *
make_ctx(const struct tls_server *p)
{
    char path[256];
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    must(ctx != NULL, "context");
    path_of(path, p->dir, p->own, "pem");
    must(SSL_CTX_use_certificate_chain_file(ctx, path) == 1, path);
    path_of(path, p->dir, p->own, "key");
    must(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1, path);
    path_of(path, p->dir, p->ca, "pem");
    must(SSL_CTX_load_verify_file(ctx, path) == 1, path);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    must(SSL_CTX_set_max_proto_version(
             ctx, p->manner == TLS_MANNER_OLD ? TLS1_2_VERSION : TLS1_3_VERSION) == 1,
         "version");
    /* Tickets stay on: a client that resumes would be seen. */
    must(SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"t", 1) == 1, "id");
    return ctx;
}

/* Octets from one side to the other until either ends. */
static bool
from_client(SSL *ssl, int far)
{
    uint8_t octets[16384];
    int n;

    do {
        n = SSL_read(ssl, octets, sizeof octets);
        if (n <= 0)
            return SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ;
        if (send(far, octets, (size_t)n, MSG_NOSIGNAL) != n)
            return false;
    } while (SSL_pending(ssl) > 0);
    return true;
}

static bool
to_client(SSL *ssl, int far)
{
    uint8_t octets[16384];
    ssize_t n = recv(far, octets, sizeof octets, 0);

    return n > 0 && SSL_write(ssl, octets, (int)n) == n;
}

static bool
should_stop(struct tls_server *p)
{
    pthread_mutex_lock(&p->lock);
    bool stop = p->stop;
    pthread_mutex_unlock(&p->lock);
    return stop;
}

static void
relay(struct tls_server *p, SSL *ssl, int sock, int far)
{
    struct pollfd polled[2] = {{sock, POLLIN, 0}, {far, POLLIN, 0}};
    bool ok = true;

    while (ok && !should_stop(p)) {
        if (poll(polled, 2, 20) < 0)
            return;
        if (polled[0].revents != 0)
            ok = from_client(ssl, far);
        if (ok && polled[1].revents != 0)
            ok = to_client(ssl, far);
    }
}

static void
serve(struct tls_server *p, SSL *ssl, int sock)
{
    int pair[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "pair");
    pthread_mutex_lock(&p->lock);
    if (p->inner >= 0)
        close(p->inner);
    p->inner = pair[0];
    p->was_resumed = SSL_session_reused(ssl) == 1;
    p->n_shaken++;
    pthread_mutex_unlock(&p->lock);
    relay(p, ssl, sock, pair[1]);
    close(pair[1]);
}

static void
misbehave(struct tls_server *p, int sock)
{
    if (p->manner == TLS_MANNER_GARBAGE)
        must(send(sock, "220 mail.example.net ESMTP\r\n", 28, MSG_NOSIGNAL) == 28,
             "send");
    while (p->manner == TLS_MANNER_SILENT && !should_stop(p))
        kd_ignore(usleep(1000)); /* however long */
}

static void *
run(void *arg)
{
    struct tls_server *p = arg;
    SSL_CTX *ctx = make_ctx(p);
    struct pollfd polled = {p->listener, POLLIN, 0};

    while (!should_stop(p)) {
        if (poll(&polled, 1, 20) != 1)
            continue;
        int sock = accept(p->listener, NULL, NULL);
        SSL *ssl = SSL_new(ctx);
        must(sock >= 0 && ssl != NULL && SSL_set_fd(ssl, sock) == 1, "accept");
        if (p->manner > TLS_MANNER_OLD)
            misbehave(p, sock);
        else if (SSL_accept(ssl) == 1)
            serve(p, ssl, sock);
        if (SSL_is_init_finished(ssl))
            SSL_shutdown(ssl);
        ERR_clear_error();
        SSL_free(ssl);
        close(sock);
    }
    SSL_CTX_free(ctx);
    return NULL;
}

void
tls_server_start(struct tls_server *p)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    sigset_t set, old;

    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(p->listener, (struct sockaddr *)&at, sizeof at) == 0 &&
             listen(p->listener, 8) == 0 &&
             getsockname(p->listener, (struct sockaddr *)&at, &size) == 0,
         "listen");
    p->port = ntohs(at.sin_port);
    p->inner = -1;
    p->stop = false;
    pthread_mutex_init(&p->lock, NULL);
    /* Its writes to a client that has gone must not end the test; the client's own
     * must not raise it at all, which is why it is not ignored everywhere. */
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    must(pthread_create(&p->thread, NULL, run, p) == 0, "thread");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

int
tls_server_take(struct tls_server *p, int wait_ms)
{
    int64_t until = kd_clock_ms() + wait_ms;
    int fd;

    for (;;) {
        pthread_mutex_lock(&p->lock);
        fd = p->inner;
        p->inner = -1;
        pthread_mutex_unlock(&p->lock);
        if (fd >= 0 || kd_clock_ms() >= until)
            return fd;
        kd_ignore(usleep(1000)); /* the thread is at work */
    }
}

void
tls_server_stop(struct tls_server *p)
{
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    if (p->inner >= 0)
        close(p->inner);
    close(p->listener);
    pthread_mutex_destroy(&p->lock);
}
