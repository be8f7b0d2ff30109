/* The remote listener of a whole daemon: who gets in and who does not, what a caller
 * may ask there, objects in parts, and its certificates changed under load. */
#include "people.h"
#include "png.h"
#include "suite.h"
#include "test.h"
#include "tls_peer.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct tls_place place;
static struct daemon keyd;

/* --- the log --- */

static long log_mark;

static void
mark_log(void)
{
    struct stat st;

    log_mark = stat(keyd.log, &st) == 0 ? (long)st.st_size : 0;
}

/* How often the text has come since the mark. */
static unsigned
logged(const char *text)
{
    static char octets[1 << 20];
    FILE *f = fopen(keyd.log, "re");
    unsigned found = 0;

    assert_non_null(f);
    assert_int_equal(fseek(f, log_mark, SEEK_SET), 0);
    size_t n = fread(octets, 1, sizeof octets - 1, f);
    octets[n] = '\0';
    fclose(f);
    for (const char *at = octets; (at = strstr(at, text)) != NULL; at++)
        found++;
    return found;
}

static void
wait_for_log(const char *text)
{
    for (int i = 0; i < 500; i++) {
        if (logged(text) > 0)
            return;
        usleep(10000);
    }
    fail_msg("the log does not say: %s", text);
}

/* --- who gets in --- */

static void
each_principal_gets_in_by_what_it_is_known_by(void **state)
{
    const struct identity *const good[] = {&place.mx1, &place.mx2, &place.mx3};
    struct tls_peer t;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(tls_greet(&t, place.port, good[i]));
        assert_true(tls_status(&t));
        assert_string_equal(SSL_get_version(t.ssl), "TLSv1.3");
        assert_string_equal(SSL_get_cipher(t.ssl), "TLS_AES_256_GCM_SHA384");
        tls_close(&t);
    }
}

static void
keys_of_all_kinds_that_are_allowed_get_in(void **state)
{
    static const char *const kinds[] = {"ed25519", "p256", "p384", "rsa2048",
                                        "rsa4096"};
    struct tls_peer t;

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct identity id;
        identity_make(&id, &(struct cert_spec){.issuer = &place.root,
                                               .key = kinds[i],
                                               .san = "DNS:mx1.example.com"});
        assert_true(tls_greet(&t, place.port, &id));
        tls_close(&t);
        identity_clear(&id);
    }
}

/* What the server sends after the client's half of the handshake, and how it ends. */
static size_t
octets_served(struct tls_peer *t)
{
    uint8_t octets[4096];
    size_t n, all = 0;

    kd_ignore(tls_hello(t)); /* sent before the refusal is here, or not */
    while (SSL_read_ex(t->ssl, octets, sizeof octets, &n) == 1)
        all += n;
    ERR_clear_error();
    return all;
}

/* Refused, with that reason in the log, and not one octet of the protocol served. */
static void
is_refused(const struct identity *id, const struct identity *others, const char *reason)
{
    char line[200];
    struct tls_peer t;

    usleep(60000); /* the log has twenty such lines a second */
    mark_log();
    if (tls_open_from(&t, place.port, NULL, id, others))
        assert_int_equal(octets_served(&t), 0);
    tls_close(&t);
    snprintf(line, sizeof line, "reason=\"%s", reason);
    wait_for_log(line);
}

static void
spec_is_refused(const struct cert_spec *spec, const char *reason)
{
    struct identity id;

    identity_make(&id, spec);
    is_refused(&id, NULL, reason);
    identity_clear(&id);
}

#define BAD(reason, ...)                                                               \
    spec_is_refused(&(struct cert_spec){.issuer = &place.root, __VA_ARGS__}, reason)
#define MX1 .san = "DNS:mx1.example.com"

static void
dns_is_refused(const char *name, size_t n)
{
    uint8_t der[300];
    size_t size = san_make(0x82, name, n, der);

    BAD("a name that is no plain domain", .san_der = kd_slice(der, size));
}

static void
bad_certificates_are_refused(void **state)
{
    static const char nul[] = "mx1.example.com\0.evil.example";
    struct identity other;

    (void)state;
    identity_root(&other, "other");
    BAD("expired", MX1, .from = -7200, .to = -3600);
    BAD("not valid yet", MX1, .from = 3600);
    spec_is_refused(&(struct cert_spec){.issuer = &other, MX1}, "not traced to a root");
    spec_is_refused(&(struct cert_spec){MX1}, "not traced to a root: self-signed");
    BAD("no subject alternative name", .cn = "mx1.example.com");
    dns_is_refused("*.example.com", 13);
    dns_is_refused("mx1.example.com.", 16);
    dns_is_refused(nul, sizeof nul - 1);
    dns_is_refused("MX1.example.com", 15);
    dns_is_refused("", 0);
    BAD("fits two principals", .san = "DNS:mx1.example.com,DNS:mx2.example.com");
    BAD("a name that is neither", .san = "IP:127.0.0.1");
    BAD("a name that is neither", .san = "email:mx1@example.com");
    BAD("no principal has its name", .san = "DNS:mx9.example.com");
    BAD("no extended key usage", MX1, .eku = "serverAuth");
    BAD("no extended key usage", MX1, .eku = "anyExtendedKeyUsage");
    BAD("no extended key usage", MX1, .no_eku = true);
    BAD("a CA", MX1, .is_ca = true);
    BAD("not version 3", .is_version_1 = true);
    BAD("kind or size", MX1, .key = "rsa1024");
    BAD("its key is not the principal's", .san = "DNS:mx2.example.com");
    BAD("too many names",
        .san = "DNS:a.test,DNS:b.test,DNS:c.test,DNS:d.test,DNS:e.test,DNS:f.test,"
               "DNS:g.test,DNS:h.test,DNS:i.test,DNS:j.test,DNS:k.test,DNS:l.test,"
               "DNS:m.test,DNS:n.test,DNS:o.test,DNS:p.test,DNS:q.test");
    BAD("does not parse", MX1, .san_again = "DNS:mx1.example.com");
    spec_is_refused(
        &(struct cert_spec){.with_key = place.mx3.key, .from = -50, .to = -10},
        "expired");
    identity_clear(&other);
}

/* A good leaf under this intermediate is refused. */
static void
chain_is_refused(const struct cert_spec *above, const char *digest, bool is_shown,
                 const char *reason)
{
    struct identity middle, leaf;

    identity_make(&middle, above);
    identity_make(&leaf, &(struct cert_spec){.issuer = &middle, MX1, .digest = digest});
    is_refused(&leaf, is_shown ? &middle : NULL, reason);
    identity_clear(&leaf);
    identity_clear(&middle);
}

#define UNDER(shown, digest, reason, ...)                                              \
    chain_is_refused(                                                                  \
        &(struct cert_spec){                                                           \
            .issuer = &place.root, .is_ca = true, .cn = "middle", __VA_ARGS__},        \
        digest, shown, "not traced to a root: " reason)

static void
bad_chains_are_refused(void **state)
{
    struct identity middle, leaf;
    struct tls_peer t;

    (void)state;
    UNDER(false, NULL, "unable to get local issuer", .key = NULL);
    UNDER(true, NULL, "permitted subtree violation",
          .constraints = "critical,permitted;DNS:example.net");
    UNDER(true, NULL, "CA certificate key too weak", .key = "rsa1024");
    UNDER(true, "SHA1", "CA signature digest algorithm too weak", .key = "rsa2048");
    UNDER(true, NULL, "certificate has expired", .from = -100, .to = -50);
    UNDER(true, NULL, "", .basic = "critical,CA:FALSE");
    identity_make(&middle, &(struct cert_spec){.issuer = &place.root,
                                               .is_ca = true,
                                               .cn = "middle",
                                               .basic = "critical,CA:TRUE,pathlen:0"});
    identity_make(&leaf, &(struct cert_spec){.issuer = &middle, MX1});
    assert_true(tls_open_from(&t, place.port, NULL, &leaf, &middle));
    assert_true(tls_hello(&t));
    tls_close(&t);
    identity_clear(&leaf);
    identity_clear(&middle);
}

static void
a_client_without_certificate_is_refused(void **state)
{
    struct tls_peer t;

    (void)state;
    mark_log();
    if (tls_open(&t, place.port, NULL))
        assert_int_equal(octets_served(&t), 0);
    tls_close(&t);
    wait_for_log("reason=\"peer did not return a certificate");
}

/* A client with another setting than it should have. */
static bool
handshakes_with(bool (*bend)(SSL_CTX *ctx))
{
    int fd = tls_tcp(place.port, NULL);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    uint8_t octet;
    size_t n;

    assert_true(fd >= 0 && ctx != NULL);
    SSL_CTX_set_security_level(ctx, 0);
    assert_int_equal(SSL_CTX_use_certificate(ctx, place.mx1.cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, place.mx1.key), 1);
    assert_true(bend(ctx));
    SSL *ssl = SSL_new(ctx);
    assert_true(ssl != NULL && SSL_set_fd(ssl, fd) == 1);
    bool ok = SSL_connect(ssl) == 1;
    /* Nothing comes unasked from a server that took us; an alert from one that did not.
     */
    if (ok) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 200) == 1)
            ok = SSL_read_ex(ssl, &octet, 1, &n) == 1;
    }
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return ok;
}

static bool
only_tls_1_2(SSL_CTX *ctx)
{
    return SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) == 1;
}

static bool
from_tls_1_0(SSL_CTX *ctx)
{
    return SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION) == 1;
}

static bool
only_ccm(SSL_CTX *ctx)
{
    return SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_CCM_SHA256") == 1;
}

static bool
only_chacha(SSL_CTX *ctx)
{
    return SSL_CTX_set_ciphersuites(ctx, "TLS_CHACHA20_POLY1305_SHA256") == 1;
}

static bool
only_aes_128(SSL_CTX *ctx)
{
    return SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") == 1;
}

static bool
only_p521(SSL_CTX *ctx)
{
    return SSL_CTX_set1_groups_list(ctx, "P-521") == 1;
}

static bool
only_p384(SSL_CTX *ctx)
{
    return SSL_CTX_set1_groups_list(ctx, "P-384") == 1;
}

static bool
only_x448(SSL_CTX *ctx)
{
    return SSL_CTX_set1_groups_list(ctx, "X448") == 1;
}

static void
only_what_is_listed_is_spoken(void **state)
{
    (void)state;
    assert_true(handshakes_with(from_tls_1_0));
    assert_true(handshakes_with(only_chacha));
    assert_true(handshakes_with(only_aes_128));
    assert_true(handshakes_with(only_p384));
    mark_log();
    assert_false(handshakes_with(only_tls_1_2));
    wait_for_log("reason=\"unsupported protocol");
    assert_false(handshakes_with(only_ccm));
    assert_false(handshakes_with(only_p521));
    assert_false(handshakes_with(only_x448));
}

/* --- nothing is resumed --- */

static SSL_SESSION *ticket;
static unsigned n_tickets;

static int
on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    (void)session;
    n_tickets++;
    return 0;
}

static void
no_ticket_is_given_and_none_is_taken(void **state)
{
    struct tls_peer t;
    size_t n;

    (void)state;
    assert_true(tls_open(&t, place.port, &place.mx1));
    SSL_CTX_set_session_cache_mode(t.ctx, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(t.ctx, on_session);
    assert_true(tls_hello(&t));
    assert_true(tls_status(&t));
    assert_int_equal(n_tickets, 0);
    ticket = SSL_get1_session(t.ssl);
    assert_false(SSL_SESSION_is_resumable(ticket));
    tls_close(&t);
    SSL_SESSION_free(ticket);

    /* A ticket of another server of ours, with everything right but the server. */
    struct identity own;
    identity_make(&own, &(struct cert_spec){.san = "DNS:own"});
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
        SSL_CTX_use_certificate(ctx, own.cert);
        SSL_CTX_use_PrivateKey(ctx, own.key);
        SSL_CTX_set_max_early_data(ctx, 1000);
        SSL *ssl = SSL_new(ctx);
        SSL_set_fd(ssl, pair[0]);
        _exit(SSL_accept(ssl) == 1 && SSL_write_ex(ssl, "x", 1, &n) == 1 ? 0 : 1);
    }
    close(pair[0]);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_use_certificate(ctx, place.mx1.cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, place.mx1.key), 1);
    SSL *ssl = SSL_new(ctx);
    uint8_t octet;
    assert_true(SSL_set_fd(ssl, pair[1]) == 1 && SSL_connect(ssl) == 1 &&
                SSL_read_ex(ssl, &octet, 1, &n) == 1);
    ticket = SSL_get1_session(ssl);
    assert_true(SSL_SESSION_is_resumable(ticket));
    SSL_free(ssl);
    close(pair[1]);
    waitpid(pid, NULL, 0);

    /* Shown to ours: a full handshake. */
    int fd = tls_tcp(place.port, NULL);
    ssl = SSL_new(ctx);
    assert_true(SSL_set_fd(ssl, fd) == 1 && SSL_set_session(ssl, ticket) == 1);
    assert_int_equal(SSL_connect(ssl), 1);
    assert_false(SSL_session_reused(ssl));
    SSL_free(ssl);
    close(fd);
    SSL_SESSION_free(ticket);
    SSL_CTX_free(ctx);
    identity_clear(&own);
    ERR_clear_error();
}

/* The client's first message alone. */
static size_t
client_hello(uint8_t *out, size_t size)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *sent = BIO_new(BIO_s_mem());

    assert_true(ssl != NULL && in != NULL && sent != NULL);
    SSL_set_bio(ssl, in, sent);
    assert_int_not_equal(SSL_connect(ssl), 1);
    int n = BIO_read(sent, out, (int)size);
    assert_true(n > 0);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return (size_t)n;
}

/* Whatever follows the first message before the handshake is over is not even skipped.
 */
static void
data_before_the_end_of_the_handshake_is_refused(void **state)
{
    static uint8_t octets[2048], answer[8192];
    size_t n = client_hello(octets, sizeof octets - 64);

    (void)state;
    memcpy(octets + n, "\x17\3\3\0\x30", 5);
    mark_log();
    int fd = tls_tcp(place.port, NULL);
    assert_true(send(fd, octets, n + 5 + 0x30, MSG_NOSIGNAL) > 0);
    while (recv(fd, answer, sizeof answer, 0) > 0)
        continue;
    close(fd);
    wait_for_log("handshake failed");
}

/* New keys within a connection are TLS 1.3's; a connection that does nothing else is
 * not kept for that. */
static void
renewed_keys_do_not_disturb(void **state)
{
    struct tls_peer t;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(SSL_key_update(t.ssl, i % 2 == 0
                                                   ? SSL_KEY_UPDATE_REQUESTED
                                                   : SSL_KEY_UPDATE_NOT_REQUESTED),
                         1);
        assert_true(tls_status(&t));
    }
    assert_int_not_equal(SSL_renegotiate(t.ssl), 1);
    ERR_clear_error();
    tls_close(&t);
}

/* --- what a principal may --- */

static Keyd__V1__Status
asks_for(struct tls_peer *t, const char *name, bool verify)
{
    Keyd__V1__LookupSignetRequest look = KEYD__V1__LOOKUP_SIGNET_REQUEST__INIT;
    Keyd__V1__VerifyCurrentRequest current = KEYD__V1__VERIFY_CURRENT_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    uint8_t fingerprint[64] = {1};

    if (verify) {
        r.op_case = KEYD__V1__REQUEST__OP_VERIFY_CURRENT;
        r.verify_current = &current;
        current.name = kd_rpc_data(kd_slice_str(name));
        current.fingerprint = kd_rpc_data(kd_slice(fingerprint, sizeof fingerprint));
    } else {
        r.op_case = KEYD__V1__REQUEST__OP_LOOKUP_SIGNET;
        r.lookup_signet = &look;
        look.name = kd_rpc_data(kd_slice_str(name));
    }
    const Keyd__V1__Response *a = tls_ask(t, &r);
    assert_non_null(a);
    return a->status;
}

static void
a_principal_may_what_its_section_lists_and_no_more(void **state)
{
    struct tls_peer t;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_int_equal(asks_for(&t, "example.com", false), KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(asks_for(&t, "nobody@example.com", false),
                     KEYD__V1__STATUS__STATUS_NOT_FOUND);
    assert_int_equal(asks_for(&t, "example.net", false),
                     KEYD__V1__STATUS__STATUS_DENIED);
    tls_close(&t);
    assert_true(tls_greet(&t, place.port, &place.mx2));
    assert_int_equal(asks_for(&t, "example.com", false),
                     KEYD__V1__STATUS__STATUS_DENIED);
    assert_int_equal(asks_for(&t, "example.com", true), KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(asks_for(&t, "example.net", true),
                     KEYD__V1__STATUS__STATUS_DENIED);
    tls_close(&t);
    assert_true(tls_greet(&t, place.port, &place.mx3));
    assert_int_equal(asks_for(&t, "example.com", true),
                     KEYD__V1__STATUS__STATUS_DENIED);
    assert_true(tls_status(&t));
    tls_close(&t);
}

static void
operations_of_operators_are_not_there(void **state)
{
    Keyd__V1__SealRequest seal = KEYD__V1__SEAL_REQUEST__INIT;
    Keyd__V1__AuditHeadRequest head = KEYD__V1__AUDIT_HEAD_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    struct tls_peer t;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    r.op_case = KEYD__V1__REQUEST__OP_SEAL;
    r.seal = &seal;
    assert_int_equal(tls_ask(&t, &r)->status, KEYD__V1__STATUS__STATUS_UNSUPPORTED);
    r.op_case = KEYD__V1__REQUEST__OP_AUDIT_HEAD;
    r.audit_head = &head;
    assert_int_equal(tls_ask(&t, &r)->status, KEYD__V1__STATUS__STATUS_UNSUPPORTED);
    tls_close(&t);
}

static void
a_frame_that_claims_a_descriptor_ends_the_connection(void **state)
{
    static const uint8_t frame[] = {0x80, 0, 0, 2, 8, 1};
    struct tls_peer t;
    size_t n;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_int_equal(SSL_write_ex(t.ssl, frame, sizeof frame, &n), 1);
    const Keyd__V1__Response *a = tls_receive(&t);
    assert_true(a != NULL && a->id == 0);
    assert_null(tls_receive(&t));
    tls_close(&t);
}

/* --- objects in parts --- */

/* Asks for a signet of a new person, with the image of that upload. */
static const Keyd__V1__Response *
issue(struct tls_peer *t, uint64_t person, const char *address, const uint8_t *upload)
{
    static struct kd_buf ssr;
    static uint8_t key[16];
    Keyd__V1__IssueUserSignetRequest in = KEYD__V1__ISSUE_USER_SIGNET_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;

    kd_buf_free(&ssr);
    person_request("tls", person, &ssr);
    key[0]++;
    r.op_case = KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET;
    r.issue_user_signet = &in;
    r.idempotency_key = kd_rpc_data(kd_slice(key, sizeof key));
    in.address = kd_rpc_data(kd_slice_str(address));
    in.ssr = kd_rpc_data(kd_buf_slice(&ssr));
    in.account_mode = KEYD__V1__ACCOUNT_MODE__ACCOUNT_MODE_TRUSTFUL;
    if (upload != NULL) {
        in.image_fd = true;
        r.upload_id = kd_rpc_data(kd_slice(upload, 16));
    }
    return tls_ask(t, &r);
}

static const Keyd__V1__Response *
fetch(struct tls_peer *t, const uint8_t id[16], uint64_t offset, uint32_t limit)
{
    Keyd__V1__FetchPartRequest part = KEYD__V1__FETCH_PART_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;

    r.op_case = KEYD__V1__REQUEST__OP_FETCH_PART;
    r.fetch_part = &part;
    part.object_id = kd_rpc_data(kd_slice(id, 16));
    part.offset = offset;
    part.limit = limit;
    const Keyd__V1__Response *a = tls_ask(t, &r);
    assert_non_null(a);
    return a;
}

/* All of an object. */
static void
fetch_all(struct tls_peer *t, const uint8_t id[16], size_t size, uint8_t *out)
{
    for (size_t at = 0; at < size;) {
        const Keyd__V1__Response *a = fetch(t, id, at, 48 * 1024);
        assert_int_equal(a->status, KEYD__V1__STATUS__STATUS_OK);
        assert_true(a->fetch_part->data.len > 0 &&
                    a->fetch_part->data.len <= size - at);
        memcpy(out + at, a->fetch_part->data.data, a->fetch_part->data.len);
        at += a->fetch_part->data.len;
    }
}

static bool
has_detail(const Keyd__V1__Response *a, Keyd__V1__Status status, const char *detail)
{
    if (a->status == status &&
        kd_slice_eq(kd_rpc_slice(a->detail), kd_slice_str(detail)))
        return true;
    print_error("%d %.*s\n", (int)a->status, (int)a->detail.len,
                (const char *)a->detail.data);
    return false;
}

enum { OBJECT_MAX = 512 * 1024 };

static void
an_image_goes_in_and_the_signet_comes_out_in_parts(void **state)
{
    static uint8_t signet[OBJECT_MAX];
    static const uint8_t upload[16] = {1};
    struct keyd_answer *found = NULL;
    struct tls_peer t;
    struct kd_buf png;
    uint8_t id[16];

    (void)state;
    make_png(&png, 200 * 1024);
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_int_equal(tls_upload(&t, upload, kd_buf_slice(&png)),
                     KEYD__V1__STATUS__STATUS_OK);
    const Keyd__V1__Response *a = issue(&t, 1, "image@example.com", upload);
    assert_non_null(a);
    assert_int_equal(a->status, KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(a->object_id.len, sizeof id);
    memcpy(id, a->object_id.data, sizeof id);
    size_t size = a->issue_user_signet->signet_fd_size;
    assert_true(size > png.n && size <= sizeof signet);
    fetch_all(&t, id, size, signet);
    assert_true(has_detail(fetch(&t, id, 0, 10), KEYD__V1__STATUS__STATUS_NOT_FOUND,
                           "object-gone"));
    tls_close(&t);

    keyd_client *c = daemon_connect(&keyd, "mta");
    assert_non_null(c);
    assert_int_equal(
        keyd_client_lookup_signet(c, KEYD_STR("image@example.com"), KEYD_NONE, &found),
        KEYD_OK);
    assert_int_equal(found->out.signet.signet.n, size);
    assert_memory_equal(found->out.signet.signet.p, signet, size);
    keyd_client_answer_free(found);
    keyd_client_free(c);
    kd_buf_free(&png);
}

static Keyd__V1__Status
looks_up_large(struct tls_peer *t, uint8_t id[16], size_t *size)
{
    Keyd__V1__LookupSignetRequest look = KEYD__V1__LOOKUP_SIGNET_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;

    r.op_case = KEYD__V1__REQUEST__OP_LOOKUP_SIGNET;
    r.lookup_signet = &look;
    look.name = kd_rpc_data(kd_slice_str("image@example.com"));
    const Keyd__V1__Response *a = tls_ask(t, &r);
    assert_non_null(a);
    if (a->status == KEYD__V1__STATUS__STATUS_OK) {
        assert_int_equal(a->object_id.len, 16);
        memcpy(id, a->object_id.data, 16);
        *size = a->lookup_signet->signet_fd_size;
    }
    return a->status;
}

static void
objects_that_are_not_fetched_are_bounded_and_given_back(void **state)
{
    uint8_t ids[3][16];
    size_t size = 0;
    struct tls_peer t, other;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_int_equal(looks_up_large(&t, ids[0], &size), KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(looks_up_large(&t, ids[1], &size), KEYD__V1__STATUS__STATUS_OK);
    assert_memory_not_equal(ids[0], ids[1], 16);
    assert_int_equal(looks_up_large(&t, ids[2], &size), KEYD__V1__STATUS__STATUS_BUSY);
    /* of another connection of the same principal it is neither seen nor counted apart
     */
    assert_true(tls_greet(&other, place.port, &place.mx1));
    assert_true(has_detail(fetch(&other, ids[0], 0, 10),
                           KEYD__V1__STATUS__STATUS_NOT_FOUND, "object-gone"));
    assert_int_equal(looks_up_large(&other, ids[2], &size),
                     KEYD__V1__STATUS__STATUS_BUSY);
    const Keyd__V1__Response *a = fetch(&t, ids[0], 7, 100);
    assert_int_equal(a->fetch_part->data.len, 100);
    assert_true(has_detail(fetch(&t, ids[0], size + 1, 10),
                           KEYD__V1__STATUS__STATUS_INVALID, "field-value"));
    assert_int_equal(fetch(&t, ids[0], size - 1, 48 * 1024)->fetch_part->data.len, 1);
    assert_int_equal(looks_up_large(&t, ids[2], &size), KEYD__V1__STATUS__STATUS_OK);
    tls_close(&t);
    /* What a connection held is given back when it ends. */
    Keyd__V1__Status status = KEYD__V1__STATUS__STATUS_BUSY;
    for (int i = 0; i < 200 && status == KEYD__V1__STATUS__STATUS_BUSY; i++) {
        usleep(5000);
        status = looks_up_large(&other, ids[0], &size);
    }
    assert_int_equal(status, KEYD__V1__STATUS__STATUS_OK);
    tls_close(&other);
}

/* One part as given; *detail valid until the next call. */
static const Keyd__V1__Response *
part(struct tls_peer *t, uint8_t name, uint64_t offset, uint32_t total, size_t n)
{
    static const uint8_t octets[KD_RPC_INLINE_MAX];
    Keyd__V1__UploadPartRequest in = KEYD__V1__UPLOAD_PART_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    uint8_t id[16] = {name};

    r.op_case = KEYD__V1__REQUEST__OP_UPLOAD_PART;
    r.upload_part = &in;
    in.upload_id = kd_rpc_data(kd_slice(id, sizeof id));
    in.offset = offset;
    in.total = total;
    in.data = kd_rpc_data(kd_slice(octets, n));
    const Keyd__V1__Response *a = tls_ask(t, &r);
    assert_non_null(a);
    return a;
}

#define IS(a, want, detail)                                                            \
    assert_true(has_detail(a, KEYD__V1__STATUS__STATUS_##want, detail))

static void
parts_out_of_order_lose_the_upload(void **state)
{
    static const uint8_t id[16] = {9};
    struct tls_peer t;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    IS(part(&t, 1, 0, 1000, 100), OK, "");
    IS(part(&t, 1, 200, 1000, 100), INVALID, "upload-order");
    IS(part(&t, 1, 100, 1000, 100), INVALID, "upload-unknown");
    IS(part(&t, 1, 0, 1000, 100), OK, "");
    IS(part(&t, 1, 100, 999, 100), INVALID, "upload-order"); /* another total */
    IS(part(&t, 1, 0, 1000, 100), OK, "");
    IS(part(&t, 1, 0, 1000, 100), INVALID, "upload-order"); /* the same again */
    IS(part(&t, 2, 0, 100, 100), OK, "");
    IS(part(&t, 2, 0, 100, 100), INVALID, "upload-order"); /* it was complete */
    IS(part(&t, 3, 50, 100, 50), INVALID, "upload-unknown");
    IS(part(&t, 3, 0, 1048577, 100), INVALID, "object-size");
    /* All of it is free again: two at once. */
    IS(part(&t, 4, 0, 1048576, 100), OK, "");
    IS(part(&t, 5, 0, 1048576, 100), OK, "");
    IS(part(&t, 6, 0, 1000, 100), BUSY, "");
    /* what is not whole is no object */
    IS(issue(&t, 2, "two@example.com", id), INVALID, "upload-unknown");
    const uint8_t four[16] = {4};
    IS(issue(&t, 2, "two@example.com", four), INVALID, "upload-unknown");
    IS(part(&t, 4, 100, 1048576, 100), INVALID, "upload-unknown"); /* it was used up */
    tls_close(&t);
}

static void
a_request_uses_its_upload_up_whatever_comes_of_it(void **state)
{
    static const uint8_t one[16] = {1};
    struct tls_peer t;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    for (int i = 0; i < 5; i++) { /* more than two: each is free afterwards */
        IS(part(&t, 1, 0, 100, 100), OK, "");
        IS(issue(&t, 3, "three@example.com", one), INVALID, "bad-image");
        IS(issue(&t, 3, "three@example.com", one), INVALID, "upload-unknown");
    }
    IS(part(&t, 1, 0, 100, 100), OK, "");
    IS(issue(&t, 3, "three@example.net", one), DENIED, "not-permitted");
    IS(issue(&t, 3, "three@example.com", one), INVALID, "upload-unknown");
    tls_close(&t);
}

static void
the_pool_is_for_all_and_given_back_at_the_end(void **state)
{
    struct tls_peer a, b;

    (void)state;
    assert_true(tls_greet(&a, place.port, &place.mx1));
    assert_true(tls_greet(&b, place.port, &place.mx3));
    IS(part(&a, 1, 0, 1048576, 1), OK, "");
    IS(part(&a, 2, 0, 1048576, 1), OK, "");
    IS(part(&b, 1, 0, 1, 1), BUSY, "");
    tls_close(&a);
    for (int i = 0; i < 400; i++) {
        if (part(&b, 1, 0, 100, 1)->status == KEYD__V1__STATUS__STATUS_OK)
            break;
        usleep(5000);
    }
    IS(part(&b, 1, 1, 100, 99), OK, "");
    tls_close(&b);
}

static void
an_upload_nobody_uses_is_dropped_in_time(void **state)
{
    struct tls_peer t;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx3));
    IS(part(&t, 1, 0, 100, 1), OK, "");
    IS(part(&t, 2, 0, 100, 100), OK, "");
    IS(part(&t, 3, 0, 100, 100), BUSY, "");
    sleep(4); /* upload-timeout is 3 s */
    IS(part(&t, 1, 1, 100, 1), INVALID, "upload-unknown");
    IS(part(&t, 3, 0, 100, 100), OK, "");
    tls_close(&t);
}

/* --- abuse --- */

/* Ends when told; counts. */
struct honest {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint good, bad;
    int64_t slowest;
};

/* Connects, asks, goes; again and again. */
static void *
be_honest(void *arg)
{
    struct honest *h = arg;

    while (!h->stop) {
        struct tls_peer t;
        int64_t from = kd_clock_ms();
        bool ok = tls_greet(&t, place.port, &place.mx1);
        if (ok) {
            ok = tls_status(&t);
            tls_close(&t);
        }
        if (ok)
            h->good++;
        else
            h->bad++;
        if (kd_clock_ms() - from > h->slowest)
            h->slowest = kd_clock_ms() - from;
        usleep(10000);
    }
    return NULL;
}

static void
start_honest(struct honest *h)
{
    *h = (struct honest){0};
    assert_int_equal(pthread_create(&h->thread, NULL, be_honest, h), 0);
}

/* All it asked was answered. */
static void
end_honest(struct honest *h)
{
    h->stop = true;
    pthread_join(h->thread, NULL);
    print_message("honest: %u good, %u bad, slowest %lld ms\n", h->good, h->bad,
                  (long long)h->slowest);
    assert_int_equal(h->bad, 0);
    assert_true(h->good > 10);
}

enum { HALF = 300 };

static void
half_handshakes_do_not_keep_others_out(void **state)
{
    static int fds[HALF];
    struct honest h;
    char from[32];

    (void)state;
    mark_log();
    start_honest(&h);
    for (int i = 0; i < HALF; i++) {
        snprintf(from, sizeof from, "127.0.%d.%d", 2 + i / 100, 1 + i % 100);
        fds[i] = tls_tcp(place.port, from);
        assert_true(fds[i] >= 0);
        usleep(2000);
    }
    sleep(4); /* handshake-timeout is 2 s */
    for (int i = 0; i < HALF; i++) {
        uint8_t octet;
        assert_int_equal(recv(fds[i], &octet, 1, MSG_DONTWAIT), 0); /* closed */
        close(fds[i]);
    }
    end_honest(&h);
    assert_true(logged("took too long") > 0 && logged("made room") > 0);
}

static void
slow_handshakes_are_ended(void **state)
{
    enum { N = 40 };
    /* the start of a record that announces a hello of 512 octets */
    static const uint8_t octets[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0};
    int fds[N];
    struct honest h;
    unsigned closed = 0;
    char from[32];

    (void)state;
    start_honest(&h);
    for (int i = 0; i < N; i++) {
        snprintf(from, sizeof from, "127.0.9.%d", 1 + i);
        fds[i] = tls_tcp(place.port, from);
        assert_true(fds[i] >= 0);
    }
    for (size_t k = 0; k < 5; k++) {
        for (int i = 0; i < N; i++)
            kd_ignore(send(fds[i], octets + k, 1, MSG_NOSIGNAL | MSG_DONTWAIT));
        sleep(1);
    }
    for (int i = 0; i < N; i++) {
        uint8_t octet;
        ssize_t n = recv(fds[i], &octet, 1, MSG_DONTWAIT);
        closed += n == 0 || (n < 0 && errno == ECONNRESET);
        close(fds[i]);
    }
    assert_int_equal(closed, N);
    end_honest(&h);
}

static void
one_source_has_its_share_of_unfinished_handshakes(void **state)
{
    enum { N = 30 };
    int fds[N];
    unsigned closed = 0;

    (void)state;
    mark_log();
    for (int i = 0; i < N; i++)
        fds[i] = tls_tcp(place.port, "127.0.10.1");
    usleep(300000);
    for (int i = 0; i < N; i++) {
        uint8_t octet;
        ssize_t n = recv(fds[i], &octet, 1, MSG_DONTWAIT);
        closed += n == 0 || (n < 0 && errno == ECONNRESET);
        close(fds[i]);
    }
    assert_int_equal(closed, N - 8); /* an eighth of max-handshakes, 64 */
    wait_for_log("too many unfinished ones of this source");
}

static void
what_is_no_tls_is_closed(void **state)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: keyd\r\n\r\n";
    static uint8_t large[5 + 65535] = {0x16, 3, 1, 0xff, 0xff};
    static const uint8_t hello_first[] = {0x17, 3, 3, 0, 5, 'h', 'e', 'l', 'l', 'o'};
    static const struct {
        const void *octets;
        size_t n;
    } sent[] = {{http, sizeof http - 1},
                {large, sizeof large},
                {hello_first, sizeof hello_first},
                {"\0\0\0\x0f\x08\1\xaa\6\x0a\x08\1\x10\1\x1a\4demo", 19},
                {"\x80\x2e\1\0\2", 5}};
    uint8_t answer[512];

    (void)state;
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
        int fd = tls_tcp(place.port, NULL);
        ssize_t n, all = 0;
        assert_true(fd >= 0);
        kd_ignore(send(fd, sent[i].octets, sent[i].n, MSG_NOSIGNAL));
        shutdown(fd, SHUT_WR);
        while ((n = recv(fd, answer, sizeof answer, 0)) > 0)
            all += n;
        assert_true(all <= 7); /* an alert at most */
        close(fd);
    }
}

static void
records_that_are_broken_end_the_connection(void **state)
{
    struct tls_peer t;
    uint8_t record[5 + 64] = {0x17, 3, 3, 0, 64};
    uint8_t huge[5 + 20000] = {0x17, 3, 3, 0x4e, 0x20};

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_int_equal(send(t.fd, record, sizeof record, MSG_NOSIGNAL), sizeof record);
    assert_null(tls_receive(&t));
    tls_close(&t);
    assert_true(tls_greet(&t, place.port, &place.mx1));
    kd_ignore(send(t.fd, huge, sizeof huge, MSG_NOSIGNAL));
    assert_null(tls_receive(&t));
    tls_close(&t);
}

static void
who_never_reads_is_ended_and_delays_nobody(void **state)
{
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    static const struct timeval short_patience = {0, 200000};
    struct honest h;
    struct tls_peer t;
    unsigned sent = 0;

    (void)state;
    start_honest(&h);
    assert_true(tls_greet(&t, place.port, &place.mx3));
    setsockopt(t.fd, SOL_SOCKET, SO_SNDTIMEO, &short_patience, sizeof short_patience);
    r.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    r.service_status = &status;
    int64_t until = kd_clock_ms() + 8000; /* write-timeout is 2 s */
    while (kd_clock_ms() < until && tls_put(&t, &r))
        sent++;
    print_message("asked %u times without reading\n", sent);
    usleep(3500000);
    uint8_t octet;
    size_t n;
    while (SSL_read_ex(t.ssl, &octet, 1, &n) == 1)
        continue; /* what was on its way */
    ERR_clear_error();
    tls_close(&t);
    end_honest(&h);
}

/* --- other programs as peers --- */

/* Says Hello by that program and finds the answer of the example in PROTOCOL.md. */
static void
peer_program_says_hello(const char *command)
{
    static const uint8_t hello[] = {0, 0,    0, 0x0f, 8, 1,   0xaa, 6,   0x0a, 8,
                                    1, 0x10, 1, 0x1a, 4, 'd', 'e',  'm', 'o'};
    uint8_t answer[4096];
    char line[1024];
    size_t n = 0;

    snprintf(line, sizeof line, "%s/hello", place.dir);
    FILE *f = fopen(line, "we");
    assert_true(f != NULL && fwrite(hello, 1, sizeof hello, f) == sizeof hello &&
                fclose(f) == 0);
    /* The pause keeps the connection until the answer is here. */
    snprintf(line, sizeof line, "(cat %s/hello; sleep 1) | timeout 20 %s 2>%s/peer.log",
             place.dir, command, place.dir);
    f = popen(line, "re");
    assert_non_null(f);
    n = fread(answer, 1, sizeof answer, f);
    pclose(f);
    const uint8_t *at = memmem(answer, n, "\x22\x03tls", 5);
    if (at == NULL)
        fail_msg("%s: no answer in %zu octets, see %s/peer.log", command, n, place.dir);
}

static bool
is_there(const char *program)
{
    char line[128];

    snprintf(line, sizeof line, "command -v %s >/dev/null 2>&1", program);
    return system(line) == 0; /* NOLINT(cert-env33-c): a fixed text */
}

static void
openssl_and_gnutls_are_good_peers(void **state)
{
    char cert[160], key[160], line[900];
    const struct identity *chain[] = {&place.mx1};

    (void)state;
    snprintf(cert, sizeof cert, "%s/mx1.pem", place.dir);
    snprintf(key, sizeof key, "%s/mx1.key", place.dir);
    certs_write(cert, chain, 1);
    key_write(key, &place.mx1);
    if (is_there("openssl")) {
        snprintf(line, sizeof line,
                 "openssl s_client -quiet -verify_return_error -CAfile %s -cert %s "
                 "-key %s -connect 127.0.0.1:%u",
                 place.ca, cert, key, place.port);
        peer_program_says_hello(line);
    } else {
        print_message("no openssl here: left out\n");
    }
    if (is_there("gnutls-cli")) {
        snprintf(line, sizeof line,
                 "gnutls-cli --logfile=%s/gnutls.log --x509cafile=%s --x509certfile=%s "
                 "--x509keyfile=%s --verify-hostname=localhost -p %u 127.0.0.1",
                 place.dir, place.ca, cert, key, place.port);
        peer_program_says_hello(line);
    } else {
        print_message("no gnutls-cli here: left out\n");
    }
    unlink(cert);
    unlink(key);
    snprintf(line, sizeof line, "%s/hello", place.dir);
    unlink(line);
    snprintf(line, sizeof line, "%s/peer.log", place.dir);
    unlink(line);
    snprintf(line, sizeof line, "%s/gnutls.log", place.dir);
    unlink(line);
}

/* --- new certificates --- */

static void
reload(const char *said)
{
    mark_log();
    assert_int_equal(kill(keyd.pid, SIGHUP), 0);
    wait_for_log(said);
}

static bool
shows(const struct identity *server)
{
    struct tls_peer t;
    bool same = false;

    if (tls_open(&t, place.port, &place.mx1))
        same = X509_cmp(SSL_get0_peer_certificate(t.ssl), server->cert) == 0;
    tls_close(&t);
    return same;
}

static void
certificates_change_under_load_and_nothing_fails(void **state)
{
    enum { CLIENTS = 3, RELOADS = 25 };
    struct honest h[CLIENTS];
    struct tls_peer old;

    (void)state;
    assert_true(tls_greet(&old, place.port, &place.mx2));
    for (int i = 0; i < CLIENTS; i++)
        start_honest(&h[i]);
    for (int i = 0; i < RELOADS; i++) {
        tls_place_renew(&place);
        reload("certificates loaded");
        assert_true(shows(&place.server));
        assert_true(tls_status(&old));
    }
    for (int i = 0; i < CLIENTS; i++)
        end_honest(&h[i]);
    tls_close(&old);
}

static void
bad_material_is_refused_and_the_old_goes_on(void **state)
{
    const struct identity *one[] = {&place.server};
    const struct identity *root[] = {&place.root};
    const struct identity *wrong_order[] = {&place.root, &place.server};
    struct identity expired, fresh;

    (void)state;
    identity_make(&fresh,
                  &(struct cert_spec){.issuer = &place.root, .eku = "serverAuth"});
    key_write(place.key, &fresh);
    reload("not the key of the certificate");
    wait_for_log("going on with those before");
    assert_true(shows(&place.server));
    key_write(place.key, &place.server);

    identity_make(&expired, &(struct cert_spec){.issuer = &place.root,
                                                .with_key = place.server.key,
                                                .eku = "serverAuth",
                                                .from = -100,
                                                .to = -50});
    one[0] = &expired;
    certs_write(place.cert, one, 1);
    reload("a certificate that has expired");
    assert_true(shows(&place.server));
    certs_write(place.cert, wrong_order, 2);
    reload("not in order");
    identity_clear(&expired);
    identity_make(&expired, &(struct cert_spec){.issuer = &place.root,
                                                .with_key = place.server.key});
    certs_write(place.cert, one, 1);
    reload("extended key usage lacks serverAuth");
    one[0] = &place.server;
    certs_write(place.cert, one, 1);

    assert_int_equal(unlink(place.ca), 0);
    reload("No such file");
    certs_write(place.ca, one, 1);
    reload("a certificate that is no CA");
    certs_write(place.ca, root, 1);
    assert_int_equal(chmod(place.key, 0604), 0);
    reload("others can read it");
    assert_int_equal(chmod(place.key, 0600), 0);
    assert_int_equal(chmod(place.cert, 0666), 0);
    reload("others can write it");
    assert_int_equal(chmod(place.cert, 0644), 0);
    tls_place_deny(&place, "0123\n");
    reload("a line that is not 64 hexadecimal digits");
    tls_place_deny(&place, "# none\n");
    assert_true(shows(&place.server));
    reload("certificates loaded");
    assert_true(shows(&place.server));
    identity_clear(&expired);
    identity_clear(&fresh);
}

static void
who_is_denied_by_a_reload_is_ended_at_the_next_request(void **state)
{
    struct tls_peer t, other;
    char pin[65], text[200];

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_true(tls_greet(&other, place.port, &place.mx2));
    identity_pin_text(&place.mx1, pin);
    snprintf(text, sizeof text, "# lost\n  %s  # mx1\n\n%s\n", pin, pin);
    tls_place_deny(&place, text);
    reload("certificates loaded: serial");
    wait_for_log("denied=1");
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    r.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    r.service_status = &status;
    const Keyd__V1__Response *a = tls_ask(&t, &r);
    assert_true(a != NULL && a->status == KEYD__V1__STATUS__STATUS_DENIED);
    assert_null(tls_receive(&t));
    assert_true(tls_status(&other));
    tls_close(&t);
    tls_close(&other);
    is_refused(&place.mx1, NULL, "its key is denied");
    tls_place_deny(&place, "");
    reload("denied=0");
    assert_true(tls_greet(&t, place.port, &place.mx1));
    tls_close(&t);
}

/* The configuration with one text in place of another of the same size. */
static void
change_conf(const char *from, const char *to)
{
    static char text[65536];
    FILE *f = fopen(keyd.conf, "r+e");

    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    char *at = strstr(text, from);
    assert_true(at != NULL && strlen(from) == strlen(to));
    memcpy(at, to, strlen(to));
    rewind(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void
a_principal_that_a_reload_removes_leaves_no_upload_behind(void **state)
{
    static const char before[] = "san = \"mx1.example.com\"";
    static const char after[] = "san = \"mx9.example.com\"";
    struct tls_peer t, other;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_true(tls_greet(&other, place.port, &place.mx3));
    IS(part(&t, 1, 0, 1048576, 1), OK, "");
    IS(part(&t, 2, 0, 1048576, 1), OK, "");
    IS(part(&other, 1, 0, 1, 1), BUSY, ""); /* the pool is taken */
    change_conf("principal \"mx1\"", "principal \"mx9\"");
    change_conf(before, after);
    reload("certificates loaded: serial");
    /* It belongs to nobody now: refused, and gone with all that it took. */
    IS(part(&t, 1, 1, 1048576, 1), DENIED, "not-permitted");
    assert_null(tls_receive(&t));
    tls_close(&t);
    assert_true(tls_status(&other)); /* the gate that served it still serves */
    IS(part(&other, 1, 0, 1, 1), OK, "");
    change_conf("principal \"mx9\"", "principal \"mx1\"");
    change_conf(after, before);
    reload("certificates loaded: serial");
    assert_true(tls_greet(&t, place.port, &place.mx1));
    IS(part(&t, 1, 0, 100, 100), OK, "");
    IS(part(&t, 2, 0, 100, 100), OK, "");
    tls_close(&t);
    tls_close(&other);
}

static void
a_connection_lasts_no_longer_than_its_certificate(void **state)
{
    struct identity id;
    struct tls_peer t;

    (void)state;
    identity_make(&id, &(struct cert_spec){.issuer = &place.root, MX1, .to = 3});
    assert_true(tls_greet(&t, place.port, &id));
    assert_true(tls_status(&t));
    sleep(5);
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    r.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    r.service_status = &status;
    const Keyd__V1__Response *a = tls_ask(&t, &r);
    assert_true(a != NULL && a->status == KEYD__V1__STATUS__STATUS_UNAVAILABLE);
    assert_null(tls_receive(&t));
    tls_close(&t);
    identity_clear(&id);
}

static void
a_gate_that_died_comes_back_with_its_certificates(void **state)
{
    struct daemon_child list[DAEMON_CHILDREN_MAX];
    size_t n = daemon_children(&keyd, list, DAEMON_CHILDREN_MAX);
    struct tls_peer t;
    bool killed = false;

    (void)state;
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, "keyd-gate-tls") == 0) {
            killed = true;
            assert_int_equal(kill(list[i].pid, SIGKILL), 0);
        }
    assert_true(killed);
    bool back = false;
    for (int i = 0; i < 200 && !back; i++) {
        usleep(20000);
        if ((back = tls_greet(&t, place.port, &place.mx1)))
            tls_close(&t);
    }
    assert_true(back);
}

static void
no_process_left_its_sandbox_or_crashed(void **state)
{
    (void)state;
    log_mark = 0;
    assert_int_equal(logged("a system call outside its sandbox"), 0);
    assert_int_equal(logged("ended by signal"), 1); /* the gate above */
    assert_int_equal(logged("ended with status"), 0);
    assert_int_equal(daemon_stop(&keyd), 0);
}

static int
setup(void **state)
{
    const struct daemon_options options = {.top = place.top};

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    tls_place_make(&place, "upload-timeout = 3\nmax-upload = 1048576\n"
                           "upload-pool = 2097152\nmax-handshakes = 64\n"
                           "handshake-timeout = 2\nhandshake-rate = 5000\n"
                           "handshake-rate-total = 50000\nwrite-timeout = 2\n");
    return daemon_start(&keyd, &options) && daemon_provision(&keyd, NULL) ? 0 : 1;
}

static int
teardown(void **state)
{
    (void)state;
    daemon_clear(&keyd);
    tls_place_clear(&place);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_principal_gets_in_by_what_it_is_known_by),
        cmocka_unit_test(keys_of_all_kinds_that_are_allowed_get_in),
        cmocka_unit_test(bad_certificates_are_refused),
        cmocka_unit_test(bad_chains_are_refused),
        cmocka_unit_test(a_client_without_certificate_is_refused),
        cmocka_unit_test(only_what_is_listed_is_spoken),
        cmocka_unit_test(no_ticket_is_given_and_none_is_taken),
        cmocka_unit_test(data_before_the_end_of_the_handshake_is_refused),
        cmocka_unit_test(renewed_keys_do_not_disturb),
        cmocka_unit_test(a_principal_may_what_its_section_lists_and_no_more),
        cmocka_unit_test(operations_of_operators_are_not_there),
        cmocka_unit_test(a_frame_that_claims_a_descriptor_ends_the_connection),
        cmocka_unit_test(an_image_goes_in_and_the_signet_comes_out_in_parts),
        cmocka_unit_test(objects_that_are_not_fetched_are_bounded_and_given_back),
        cmocka_unit_test(parts_out_of_order_lose_the_upload),
        cmocka_unit_test(a_request_uses_its_upload_up_whatever_comes_of_it),
        cmocka_unit_test(the_pool_is_for_all_and_given_back_at_the_end),
        cmocka_unit_test(an_upload_nobody_uses_is_dropped_in_time),
        cmocka_unit_test(half_handshakes_do_not_keep_others_out),
        cmocka_unit_test(slow_handshakes_are_ended),
        cmocka_unit_test(one_source_has_its_share_of_unfinished_handshakes),
        cmocka_unit_test(what_is_no_tls_is_closed),
        cmocka_unit_test(records_that_are_broken_end_the_connection),
        cmocka_unit_test(who_never_reads_is_ended_and_delays_nobody),
        cmocka_unit_test(openssl_and_gnutls_are_good_peers),
        cmocka_unit_test(certificates_change_under_load_and_nothing_fails),
        cmocka_unit_test(bad_material_is_refused_and_the_old_goes_on),
        cmocka_unit_test(who_is_denied_by_a_reload_is_ended_at_the_next_request),
        cmocka_unit_test(a_principal_that_a_reload_removes_leaves_no_upload_behind),
        cmocka_unit_test(a_connection_lasts_no_longer_than_its_certificate),
        cmocka_unit_test(a_gate_that_died_comes_back_with_its_certificates),
        cmocka_unit_test(no_process_left_its_sandbox_or_crashed),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, setup, teardown);
}
