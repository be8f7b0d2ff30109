/* The remote listener of a whole daemon: who gets in and who does not, what is resumed
 * (nothing), and what a caller may ask there. */
#include "tls_suite.h"

#include <openssl/err.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void
no_process_left_its_sandbox_or_crashed(void **state)
{
    (void)state;
    tls_suite_ends_well(0);
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
        cmocka_unit_test(no_process_left_its_sandbox_or_crashed),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, tls_suite_start, tls_suite_end);
}
