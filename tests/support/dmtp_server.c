#include "dmtp_server.h"

#include <arpa/inet.h>
#include <dime/armor.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define MUST(x)                                                                        \
    do {                                                                               \
        if (!(x)) {                                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

enum { LINE = 1024, SLOW_MS = 50, PATIENCE_S = 10 };

struct dmtp_server {
    struct dmtp_server_conf conf;
    pthread_t thread;
    SSL_CTX *ctx;
    int listener, stop[2];
    uint16_t port;
    struct dmtp_server_seen seen; /* the thread's until it has ended */
};

/* A connection. */
struct link {
    struct dmtp_server *s;
    int sock;
    SSL *tls; /* NULL: in clear */
    bool is_over;
};

static bool
is_stopped(const struct dmtp_server *s, int ms)
{
    struct pollfd p = {.fd = s->stop[0], .events = POLLIN};

    return poll(&p, 1, ms) > 0;
}

static bool
put(struct link *l, const void *p, size_t n)
{
    size_t sent;

    if (n == 0)
        return true;
    bool ok = l->tls == NULL ? send(l->sock, p, n, MSG_NOSIGNAL) == (ssize_t)n
                             : SSL_write_ex(l->tls, p, n, &sent) == 1;
    l->is_over |= !ok;
    return ok;
}

static bool
put_text(struct link *l, const char *text)
{
    return put(l, text, strlen(text));
}

/* ---- trouble */

static void
be_slow(struct link *l)
{
    put_text(l, "250 ");
    while (!is_stopped(l->s, SLOW_MS) && put(l, "x", 1))
        ;
}

static void
never_end(struct link *l, const char *piece)
{
    char many[16384];
    size_t n = strlen(piece), at = 0;

    while (at + n <= sizeof many) {
        memcpy(many + at, piece, n);
        at += n;
    }
    while (!is_stopped(l->s, 0) && put(l, many, at))
        ;
}

/* Whoever is silent looks whether the other has gone. */
static void
be_silent(struct link *l)
{
    struct pollfd p[2] = {{.fd = l->sock, .events = POLLRDHUP},
                          {.fd = l->s->stop[0], .events = POLLIN}};

    kd_ignore(poll(p, 2, 30000));
}

/* True if there was some: then it is all. */
static bool
trouble(struct link *l, enum dmtp_stage stage)
{
    if (l->s->conf.at != stage)
        return false;
    switch (l->s->conf.trouble) {
    case DMTP_SAYS_421:
        put_text(l, "421 SHUTTING DOWN\n");
        break;
    case DMTP_IS_SILENT:
        be_silent(l);
        break;
    case DMTP_IS_SLOW:
        be_slow(l);
        break;
    case DMTP_ENDLESS_LINE:
        never_end(l, "250 xxxxxxxxxxxxxxxx");
        break;
    case DMTP_ENDLESS_LINES:
        never_end(l, "250-x\n");
        break;
    case DMTP_CUT_IN_HALF:
        put_text(l, "25");
        break;
    case DMTP_ENDS_TLS:
        if (l->tls != NULL)
            kd_ignore(SSL_shutdown(l->tls));
        break;
    case DMTP_HANGS_UP:
    default:
        break;
    }
    l->is_over = true;
    return true;
}

/* ---- lines */

static bool
get(struct link *l, char *c)
{
    size_t n = 0;

    if (l->tls == NULL)
        return recv(l->sock, c, 1, 0) == 1;
    if (SSL_read_ex(l->tls, c, 1, &n) == 1)
        return true;
    l->s->seen.ended_tls = SSL_get_error(l->tls, 0) == SSL_ERROR_ZERO_RETURN;
    ERR_clear_error();
    return false;
}

static bool
get_line(struct link *l, char line[LINE])
{
    struct dmtp_server_seen *seen = &l->s->seen;
    size_t n = 0, at = strlen(seen->text);
    char c;

    while (n < LINE - 1 && get(l, &c)) {
        if (c != '\n') {
            line[n++] = c;
            continue;
        }
        if (n > 0 && line[n - 1] == '\r') {
            seen->has_crlf = true;
            n--;
        }
        line[n] = '\0';
        snprintf(seen->text + at, sizeof seen->text - at, "%s\n", line);
        return true;
    }
    l->is_over = true;
    return false;
}

static void
answer(struct link *l, const char *line)
{
    struct kd_buf reply;

    if (trouble(l, DMTP_AT_COMMAND))
        return;
    kd_buf_init(&reply, 32 << 20);
    if (l->s->conf.answer != NULL)
        l->s->conf.answer(l->s->conf.arg, line, &reply);
    else
        kd_buf_printf(&reply, "250 OK\n");
    MUST(reply.err == KD_OK);
    put(l, reply.p, reply.n);
    kd_buf_free(&reply);
}

static void
converse(struct link *l)
{
    char line[LINE];

    kd_ignore(trouble(l, DMTP_AT_REST));
    while (!l->is_over && get_line(l, line)) {
        if (strcmp(line, "QUIT") == 0) {
            l->s->seen.said_quit = true;
            put_text(l, "221 BYE\n");
        } else {
            answer(l, line);
        }
    }
}

/* ---- a connection */

static const char *
either(const char *said, const char *usual)
{
    return said != NULL ? said : usual;
}

static bool
elevate(struct link *l)
{
    const struct dmtp_server_conf *c = &l->s->conf;
    char line[LINE];

    if (trouble(l, DMTP_AT_BANNER) ||
        !put_text(l, either(c->banner, "220 <mx.example.com> ESMTP DMTP DMTPv1\n")) ||
        !get_line(l, line) || strncmp(line, "STARTTLS ", 9) != 0 ||
        trouble(l, DMTP_AT_STARTTLS))
        return false;
    return c->is_mute_to_starttls || put_text(l, either(c->starttls, "220 READY\n"));
}

static bool
shake_hands(struct link *l)
{
    if (trouble(l, DMTP_AT_TLS))
        return false;
    SSL *tls = SSL_new(l->s->ctx);
    MUST(tls != NULL && SSL_set_fd(tls, l->sock) == 1);
    bool ok = SSL_accept(tls) == 1;
    ERR_clear_error();
    l->tls = tls;
    l->is_over = !ok;
    if (!ok)
        return false;
    const char *name = SSL_get_servername(tls, TLSEXT_NAMETYPE_host_name);
    snprintf(l->s->seen.sni, sizeof l->s->seen.sni, "%s", name == NULL ? "" : name);
    l->s->seen.handshakes++;
    return true;
}

static bool
greet(struct link *l)
{
    const struct dmtp_server_conf *c = &l->s->conf;

    if (c->is_dual)
        return !trouble(l, DMTP_AT_GREETING) &&
               put_text(l, either(c->greeting, "250 OK DMTPv1 hello\n"));
    return !trouble(l, DMTP_AT_BANNER) &&
           put_text(l, either(c->banner, "220 <mx.example.com> DMTP DMTPv1 hello\n"));
}

static void
serve(struct dmtp_server *s, int sock)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct link l = {.s = s, .sock = sock};

    s->seen.connections++;
    s->seen.ended_tls = s->seen.said_quit = false;
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if ((!s->conf.is_dual || elevate(&l)) && shake_hands(&l) && greet(&l))
        converse(&l);
    if (l.tls != NULL && s->seen.ended_tls)
        kd_ignore(SSL_shutdown(l.tls));
    SSL_free(l.tls);
    ERR_clear_error();
    close(sock);
}

static void *
run(void *arg)
{
    struct dmtp_server *s = arg;
    struct pollfd p[2] = {{.fd = s->listener, .events = POLLIN},
                          {.fd = s->stop[0], .events = POLLIN}};
    sigset_t pipes;

    /* Of this thread only: the library under test may not raise it. */
    sigemptyset(&pipes);
    sigaddset(&pipes, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipes, NULL);
    while (poll(p, 2, -1) > 0 && (p[0].revents != 0 || p[1].revents == 0)) {
        int sock = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (sock >= 0)
            serve(s, sock);
    }
    return NULL;
}

/* ---- start and stop */

static int
put_staple(SSL *tls, void *arg)
{
    const struct dmtp_server *s = arg;
    struct kd_slice staple = s->conf.staple;

    if (staple.n == 0)
        return SSL_TLSEXT_ERR_NOACK;
    void *copy = OPENSSL_memdup(staple.p, staple.n);
    MUST(copy != NULL &&
         SSL_set_tlsext_status_ocsp_resp(tls, copy, (int)staple.n) == 1);
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *
make_context(struct dmtp_server *s)
{
    const struct dmtp_server_conf *c = &s->conf;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    MUST(ctx != NULL);
    SSL_CTX_set_security_level(ctx, 0);
    MUST(SSL_CTX_use_certificate(ctx, c->id->cert) == 1);
    MUST(SSL_CTX_use_PrivateKey(ctx, c->id->key) == 1);
    if (c->issuer != NULL)
        MUST(SSL_CTX_add1_chain_cert(ctx, c->issuer->cert) == 1);
    MUST(SSL_CTX_set_min_proto_version(ctx, c->min_version) == 1);
    MUST(SSL_CTX_set_max_proto_version(ctx, c->max_version) == 1);
    if (c->ciphers != NULL)
        MUST(SSL_CTX_set_cipher_list(ctx, c->ciphers) == 1);
    SSL_CTX_set_tlsext_status_cb(ctx, put_staple);
    SSL_CTX_set_tlsext_status_arg(ctx, s);
    return ctx;
}

struct dmtp_server *
dmtp_server_start(const struct dmtp_server_conf *conf)
{
    struct dmtp_server *s = calloc(1, sizeof *s);
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t n = sizeof in;
    int one = 1;

    MUST(s != NULL && pipe(s->stop) == 0);
    s->conf = *conf;
    s->ctx = make_context(s);
    in.sin_port = htons(conf->port);
    MUST(inet_pton(AF_INET, either(conf->address, "127.0.0.1"), &in.sin_addr) == 1);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(s->listener >= 0);
    setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    MUST(bind(s->listener, (struct sockaddr *)&in, sizeof in) == 0);
    MUST(listen(s->listener, 16) == 0);
    MUST(getsockname(s->listener, (struct sockaddr *)&in, &n) == 0);
    s->port = ntohs(in.sin_port);
    MUST(pthread_create(&s->thread, NULL, run, s) == 0);
    return s;
}

uint16_t
dmtp_server_port(const struct dmtp_server *s)
{
    return s->port;
}

void
dmtp_server_stop(struct dmtp_server *s, struct dmtp_server_seen *seen)
{
    MUST(write(s->stop[1], "x", 1) == 1);
    pthread_join(s->thread, NULL);
    if (seen != NULL)
        *seen = s->seen;
    SSL_CTX_free(s->ctx);
    close(s->stop[0]);
    close(s->stop[1]);
    close(s->listener);
    free(s);
}

void
dmtp_say_objects(struct kd_buf *reply, unsigned code, const struct kd_slice *list,
                 size_t n)
{
    struct kd_buf text;

    kd_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < n; i++)
        dime_armor_put(&text,
                       code == 270 ? DIME_ARMOR_ORG_SIGNET : DIME_ARMOR_USER_SIGNET,
                       DIME_ARMOR_WIRE, list[i]);
    struct kd_slice s = kd_buf_slice(&text);
    for (size_t at = 0, end; at < s.n; at = end + 1) {
        for (end = at; end < s.n && s.p[end] != '\n'; end++)
            ;
        kd_buf_printf(reply, "%u-%.*s\n", code, (int)(end - at),
                      (const char *)s.p + at);
    }
    kd_buf_printf(reply, "%u OK\n", code);
    kd_buf_free(&text);
}
