#include "tls_peer.h"
#include "test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the listener --- */

/* Free now; the daemon takes it in a moment. */
static uint16_t
free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0 &&
                getsockname(fd, (struct sockaddr *)&in, &n) == 0);
    close(fd);
    return ntohs(in.sin_port);
}

static void
write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fchmod(fileno(f), 0644) == 0 && fclose(f) == 0);
}

void
tls_place_renew(struct tls_place *p)
{
    const struct identity *chain[] = {&p->server};

    identity_clear(&p->server);
    identity_make(&p->server, &(struct cert_spec){.issuer = &p->root,
                                                  .cn = "keyd",
                                                  .san = "DNS:localhost,IP:127.0.0.1",
                                                  .eku = "serverAuth"});
    certs_write(p->cert, chain, 1);
    key_write(p->key, &p->server);
}

void
tls_place_deny(struct tls_place *p, const char *text)
{
    write_text(p->denied, text);
}

void
tls_place_make(struct tls_place *p, const char *more)
{
    tls_place_make_of(p, more, "example.com");
}

void
tls_place_make_of(struct tls_place *p, const char *more, const char *domain)
{
    const struct identity *roots[] = {&p->root};
    const char *base = getenv("TMPDIR");
    char mx2[65], mx3[65];

    *p = (struct tls_place){.port = free_port()};
    snprintf(p->dir, sizeof p->dir, "%s/keyd-tls-XXXXXX",
             base == NULL || strlen(base) > 30 ? "/tmp" : base);
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->ca, sizeof p->ca, "%s/ca.pem", p->dir);
    snprintf(p->cert, sizeof p->cert, "%s/cert.pem", p->dir);
    snprintf(p->key, sizeof p->key, "%s/key.pem", p->dir);
    snprintf(p->denied, sizeof p->denied, "%s/denied", p->dir);
    identity_root(&p->root, "clients and servers");
    certs_write(p->ca, roots, 1);
    tls_place_renew(p);
    tls_place_deny(p, "# none\n");
    identity_make(
        &p->mx1, &(struct cert_spec){.issuer = &p->root, .san = "DNS:mx1.example.com"});
    identity_make(
        &p->mx2, &(struct cert_spec){.issuer = &p->root, .san = "DNS:mx2.example.com"});
    identity_make(&p->mx3, &(struct cert_spec){.cn = "mx3"});
    identity_pin_text(&p->mx2, mx2);
    identity_pin_text(&p->mx3, mx3);
    int n = snprintf(
        p->top, sizeof p->top,
        "%s\nlistener \"tls\" {\n address = \"127.0.0.1:%u\"\n certificate = \"%s\"\n"
        " key = \"%s\"\n client-ca = \"%s\"\n denied-keys = \"%s\"\n"
        " allow-unpinned = yes\n}\n"
        "principal \"mx1\" {\n class = \"tls\"\n san = \"mx1.example.com\"\n"
        " operations = { \"LookupSignet\", \"LookupHistory\", \"VerifyCurrent\", "
        "\"IssueUserSignet\", \"SignOutbound\", \"OpenEnvelope\", \"OpenBounce\", "
        "\"MakeBounce\", \"SealNaked\" }\n"
        " domains = { \"%s\" }\n}\n"
        "principal \"mx2\" {\n class = \"tls\"\n san = \"mx2.example.com\"\n pin = "
        "\"%s\"\n operations = { \"VerifyCurrent\" }\n domains = { \"%s\" "
        "}\n}\n"
        "principal \"mx3\" {\n class = \"tls\"\n pin = \"%s\"\n operations = { }\n}\n",
        more == NULL ? "" : more, p->port, p->cert, p->key, p->ca, p->denied, domain,
        mx2, domain, mx3);
    assert_true(n > 0 && (size_t)n < sizeof p->top);
}

void
tls_place_share(const struct tls_place *p, const char *dir)
{
    const struct identity *own[] = {&p->mx1}, *root[] = {&p->root};
    char path[160], port[16];

    snprintf(path, sizeof path, "%s/mx1.pem", dir);
    certs_write(path, own, 1);
    snprintf(path, sizeof path, "%s/mx1.key", dir);
    key_write(path, &p->mx1);
    snprintf(path, sizeof path, "%s/ca.pem", dir);
    certs_write(path, root, 1);
    snprintf(path, sizeof path, "%s/port", dir);
    snprintf(port, sizeof port, "%u\n", p->port);
    write_text(path, port);
}

void
tls_place_clear(struct tls_place *p)
{
    const char *const files[] = {p->ca, p->cert, p->key, p->denied};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    rmdir(p->dir);
    identity_clear(&p->root);
    identity_clear(&p->server);
    identity_clear(&p->mx1);
    identity_clear(&p->mx2);
    identity_clear(&p->mx3);
}

/* --- clients --- */

int
tls_tcp(uint16_t port, const char *from)
{
    static const struct timeval patience = {5, 0};
    static const int on = 1;
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(port)};
    struct sockaddr_in self = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    if (from != NULL) {
        assert_int_equal(inet_pton(AF_INET, from, &self.sin_addr), 1);
        assert_int_equal(bind(fd, (struct sockaddr *)&self, sizeof self), 0);
    }
    if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0)
        return fd;
    close(fd);
    return -1;
}

bool
tls_open_from(struct tls_peer *t, uint16_t port, const char *from,
              const struct identity *id, const struct identity *others)
{
    *t = (struct tls_peer){.fd = tls_tcp(port, from)};
    kd_frame_in_init(&t->in, KD_FRAME_MAX);
    kd_frame_out_init(&t->out, 4 * 1024 * 1024);
    kd_arena_init(&t->arena);
    if (t->fd < 0)
        return false;
    t->ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(t->ctx);
    SSL_CTX_set_security_level(t->ctx, 0); /* what is weak is the server's to refuse */
    if (id != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(t->ctx, id->cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(t->ctx, id->key), 1);
    }
    if (others != NULL)
        assert_int_equal(SSL_CTX_add1_chain_cert(t->ctx, others->cert), 1);
    t->ssl = SSL_new(t->ctx);
    assert_true(t->ssl != NULL && SSL_set_fd(t->ssl, t->fd) == 1);
    bool ok = SSL_connect(t->ssl) == 1;
    ERR_clear_error();
    return ok;
}

bool
tls_open(struct tls_peer *t, uint16_t port, const struct identity *id)
{
    return tls_open_from(t, port, NULL, id, NULL);
}

void
tls_close(struct tls_peer *t)
{
    SSL_free(t->ssl);
    SSL_CTX_free(t->ctx);
    if (t->fd >= 0)
        close(t->fd);
    kd_frame_in_clear(&t->in);
    kd_frame_out_clear(&t->out);
    kd_arena_free(&t->arena);
    ERR_clear_error();
    t->ssl = NULL;
    t->ctx = NULL;
    t->fd = -1;
}

static bool
send_all(struct tls_peer *t)
{
    struct kd_slice s;
    size_t n;

    for (;;) {
        assert_int_equal(kd_frame_out_peek(&t->out, &s), KD_OK);
        if (s.n == 0)
            return true;
        if (SSL_write_ex(t->ssl, s.p, s.n, &n) != 1) {
            ERR_clear_error();
            return false;
        }
        kd_frame_out_drop(&t->out, n);
    }
}

bool
tls_put(struct tls_peer *t, Keyd__V1__Request *r)
{
    struct kd_rpc_fault fault = {0};

    r->id = ++t->id;
    kd_err err = kd_rpc_put_request(&t->out, r, -1, &fault);
    if (err != KD_OK)
        fail_msg("%s.%s", fault.message, fault.field);
    return send_all(t);
}

const Keyd__V1__Response *
tls_receive(struct tls_peer *t)
{
    struct kd_frame frame;
    struct kd_rpc_fault fault = {0};
    const Keyd__V1__Response *r;
    kd_err err;
    size_t n;

    while ((err = kd_frame_next(&t->in, &frame)) == KD_NOT_FOUND) {
        if (SSL_read_ex(t->ssl, t->scratch.octets, sizeof t->scratch.octets, &n) != 1) {
            ERR_clear_error();
            return NULL;
        }
        assert_int_equal(kd_frame_feed(&t->in, kd_slice(t->scratch.octets, n), -1),
                         KD_OK);
    }
    assert_int_equal(err, KD_OK);
    err = kd_rpc_decode_response(&t->arena, frame.body, false, &r, &fault);
    if (err != KD_OK)
        fail_msg("answer: %s.%s", fault.message, fault.field);
    /* What was fed is read over by the next call: a caller looks at one at a time. */
    assert_int_equal(kd_frame_hold(&t->in), KD_OK);
    return r;
}

const Keyd__V1__Response *
tls_ask(struct tls_peer *t, Keyd__V1__Request *r)
{
    return tls_put(t, r) ? tls_receive(t) : NULL;
}

bool
tls_hello(struct tls_peer *t)
{
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;

    hello.min_version = hello.max_version = 1;
    r.op_case = KEYD__V1__REQUEST__OP_HELLO;
    r.hello = &hello;
    const Keyd__V1__Response *a = tls_ask(t, &r);
    return a != NULL && a->status == KEYD__V1__STATUS__STATUS_OK &&
           kd_slice_eq(kd_rpc_slice(a->hello->class_name), kd_slice_str("tls"));
}

bool
tls_greet(struct tls_peer *t, uint16_t port, const struct identity *id)
{
    if (tls_open(t, port, id) && tls_hello(t))
        return true;
    tls_close(t);
    return false;
}

bool
tls_status(struct tls_peer *t)
{
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;

    r.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    r.service_status = &status;
    const Keyd__V1__Response *a = tls_ask(t, &r);
    return a != NULL && a->status == KEYD__V1__STATUS__STATUS_OK;
}

Keyd__V1__Status
tls_upload(struct tls_peer *t, const uint8_t id[16], struct kd_slice octets)
{
    Keyd__V1__UploadPartRequest part = KEYD__V1__UPLOAD_PART_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    Keyd__V1__Status status = KEYD__V1__STATUS__STATUS_OK;

    r.op_case = KEYD__V1__REQUEST__OP_UPLOAD_PART;
    r.upload_part = &part;
    part.upload_id = kd_rpc_data(kd_slice(id, 16));
    part.total = (uint32_t)octets.n;
    for (size_t at = 0; at < octets.n && status == KEYD__V1__STATUS__STATUS_OK;) {
        size_t n =
            octets.n - at < KD_RPC_INLINE_MAX ? octets.n - at : KD_RPC_INLINE_MAX;
        part.offset = at;
        part.data = kd_rpc_data(kd_slice(octets.p + at, n));
        const Keyd__V1__Response *a = tls_ask(t, &r);
        assert_non_null(a);
        status = a->status;
        at += n;
        if (status == KEYD__V1__STATUS__STATUS_OK)
            assert_true(a->upload_part->received == at);
    }
    return status;
}
