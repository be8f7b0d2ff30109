/* client/resolver/src/dmtp.h against servers that do as they are told, over real
 * connections and handshakes. */
#include <dmtp.h>

#include "../support/authority.h"
#include "../support/dmtp_server.h"
#include "../support/fds.h"
#include "../support/test.h"

#include <arpa/inet.h>
#include <dime/armor.h>
#include <dime/base64.h>
#include <keyd/base/clock.h>
#include <netinet/in.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST "mx1.example.com"
#define ALICE "alice@example.com"

/* For hosts that do as they should, on a machine that has much to do; and for others.
 */
static const struct dmtp_times calm = {
    .setup = 5000, .command = 5000, .signet = 5000, .quit = 5000, .silence = 300};
static const struct dmtp_times quick = {
    .setup = 1000, .command = 1000, .signet = 1000, .quit = 1000, .silence = 300};
enum { SOON = 10000, PATIENT_MS = 6000 };

static struct {
    struct identity root, rsa, twin, p256, weak, self;
    struct dmtp_context *plain, *hasty, *tls12, *libdime;
    char ca_file[256];
    uint8_t pok_secret[64];
    struct dime_mrec none, match, differs; /* records by their tls values */
    size_t n_fds;
    uint8_t fp[2][DIME_FINGERPRINT_SIZE];
    char fp_text[2][87];
} world;

/* ---- the world */

static void
make_leaf(struct identity *out, const char *key)
{
    identity_make(out, &(struct cert_spec){.issuer = &world.root,
                                           .key = key,
                                           .san = "DNS:" HOST,
                                           .eku = "serverAuth"});
}

static void
add_tls(struct dime_mrec *m, const struct identity *id)
{
    unsigned char *der = NULL;
    uint8_t hash[64];
    int n = i2d_X509(id->cert, &der);

    assert_true(n > 0);
    crypto_hash_sha512(hash, der, (unsigned long long)n);
    crypto_sign_detached(m->tls[m->n_tls++], NULL, hash, sizeof hash, world.pok_secret);
    OPENSSL_free(der);
}

static struct dmtp_context *
make_context(bool only_tls12, bool takes_libdime, const struct dmtp_times *times)
{
    struct dmtp_context *ctx = NULL;
    const char *why = "";
    struct dmtp_conf conf = {world.ca_file, only_tls12, takes_libdime, times};

    assert_int_equal(dmtp_context_new(&conf, &ctx, &why), KD_OK);
    return ctx;
}

static int
world_begin(void **state)
{
    const struct identity *roots[] = {&world.root};

    (void)state;
    if (sodium_init() < 0)
        return -1;
    identity_make(&world.root,
                  &(struct cert_spec){.is_ca = true, .cn = "root", .key = "p256"});
    make_leaf(&world.rsa, "rsa2048");
    make_leaf(&world.p256, "p256");
    make_leaf(&world.weak, "rsa1024");
    identity_make(&world.twin, &(struct cert_spec){.issuer = &world.root,
                                                   .with_key = world.rsa.key,
                                                   .san = "DNS:" HOST,
                                                   .eku = "serverAuth"});
    identity_make(&world.self, &(struct cert_spec){.with_key = world.rsa.key,
                                                   .san = "DNS:" HOST,
                                                   .eku = "serverAuth"});
    const char *dir = getenv("TMPDIR");
    snprintf(world.ca_file, sizeof world.ca_file, "%s/test_resolver_dmtp.%d.pem",
             dir != NULL ? dir : "/tmp", (int)getpid());
    certs_write(world.ca_file, roots, 1);
    world.none.n_poks = 1;
    crypto_sign_keypair(world.none.poks[0], world.pok_secret);
    world.match = world.differs = world.none;
    const struct identity *pinned[] = {&world.rsa, &world.self, &world.weak,
                                       &world.p256};
    for (size_t i = 0; i < 4; i++)
        add_tls(&world.match, pinned[i]);
    add_tls(&world.differs, &world.twin);
    for (int i = 0; i < 2; i++) {
        memset(world.fp[i], 0x11 * (i + 1), DIME_FINGERPRINT_SIZE);
        dime_base64_write(kd_slice(world.fp[i], DIME_FINGERPRINT_SIZE),
                          world.fp_text[i]);
    }
    world.plain = make_context(false, false, &calm);
    world.hasty = make_context(false, false, &quick);
    world.tls12 = make_context(true, false, &calm);
    world.libdime = make_context(false, true, &calm);
    world.n_fds = count_fds();
    return 0;
}

static int
world_end(void **state)
{
    struct identity *all[] = {&world.root, &world.rsa,  &world.twin,
                              &world.p256, &world.weak, &world.self};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        identity_clear(all[i]);
    dmtp_context_free(world.plain);
    dmtp_context_free(world.hasty);
    dmtp_context_free(world.tls12);
    dmtp_context_free(world.libdime);
    unlink(world.ca_file);
    return 0;
}

static struct sockaddr_storage
address(const char *text)
{
    struct sockaddr_storage s = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&s;

    in->sin_family = AF_INET;
    assert_int_equal(inet_pton(AF_INET, text, &in->sin_addr), 1);
    return s;
}

static struct dmtp_target
target_of(const struct dmtp_server *s, bool is_dual)
{
    return (struct dmtp_target){.host = HOST,
                                .domain = "example.com",
                                .port = dmtp_server_port(s),
                                .mode = is_dual ? DMTP_DUAL : DMTP_SINGLE,
                                .n_addresses = 1,
                                .addresses = {address("127.0.0.1")},
                                .record = &world.none,
                                .is_secure = true};
}

static struct dmtp_server_conf
usual(void)
{
    return (struct dmtp_server_conf){.id = &world.rsa};
}

/* Opens and closes, and says how it went and what was seen. */
struct visit {
    struct dmtp_server_conf server;
    struct dmtp_context *ctx;       /* NULL: world.plain */
    const struct dime_mrec *record; /* NULL: without tls values */
    bool is_insecure;
    struct steps *steps; /* NULL: nobody listens */
    bool was_pinned;     /* out */
};

static enum dmtp_end
visit(struct visit *v, struct dmtp_server_seen *seen)
{
    struct dmtp_server *s = dmtp_server_start(&v->server);
    struct dmtp_target target = target_of(s, v->server.is_dual);
    struct dmtp *d = NULL;

    if (v->record != NULL)
        target.record = v->record;
    target.is_secure = !v->is_insecure;
    int64_t begun = kd_clock_ms();
    enum dmtp_end end = dmtp_open(v->ctx == NULL ? world.plain : v->ctx, &target,
                                  begun + SOON, v->steps, &d);
    assert_int_equal(end == DMTP_DONE, d != NULL);
    v->was_pinned = d != NULL && dmtp_is_pinned(d);
    dmtp_close(d, kd_clock_ms() + SOON);
    assert_true(kd_clock_ms() - begun < PATIENT_MS);
    dmtp_server_stop(s, seen);
    return end;
}

static enum dmtp_end
visit_server(struct dmtp_server_conf server, struct dmtp_server_seen *seen)
{
    return visit(&(struct visit){.server = server}, seen);
}

static bool
has_step(const struct steps *s, enum step_weight weight, const char *text)
{
    for (size_t i = 0; i < steps_n(s); i++)
        if (steps_get(s, i)->weight == weight &&
            strstr(steps_get(s, i)->text, text) != NULL)
            return true;
    return false;
}

/* ---- what a good server says */

static void
put_armor(struct kd_buf *out, unsigned code, size_t n, uint8_t fill, const char *eol)
{
    uint8_t *octets = malloc(n);
    char *rest = NULL;
    struct kd_buf text;

    assert_non_null(octets);
    memset(octets, fill, n);
    kd_buf_init(&text, 4 << 20);
    dime_armor_put(&text, DIME_ARMOR_USER_SIGNET, DIME_ARMOR_WIRE, kd_slice(octets, n));
    kd_buf_u8(&text, '\0');
    for (char *line = strtok_r((char *)text.p, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        kd_buf_printf(out, "%u-%s%s", code, line, eol);
    kd_buf_free(&text);
    free(octets);
}

/* arg is the end of lines. */
static void
answer_well(void *arg, const char *command, struct kd_buf *out)
{
    const char *eol = arg;
    char line[512];

    if (strcmp(command, "SGNT FOR=<example.com>") == 0) {
        kd_buf_printf(out, "270-ORGANIZATIONAL SIGNET%s", eol);
        put_armor(out, 270, 300, 'o', eol);
        kd_buf_printf(out, "270 OK%s", eol);
        return;
    }
    snprintf(line, sizeof line, "SGNT FOR=<" ALICE "> FINGERPRINT=[%s]",
             world.fp_text[0]);
    if (strcmp(command, line) == 0 || strcmp(command, "SGNT FOR=<" ALICE ">") == 0) {
        put_armor(out, 280, 500, 'u', eol);
        kd_buf_printf(out, "280 OK%s", eol);
        return;
    }
    snprintf(line, sizeof line, "VRFY FOR=<" ALICE "> FINGERPRINT=[%s]",
             world.fp_text[0]);
    if (strcmp(command, line) == 0) {
        kd_buf_printf(out, "281 USER SIGNET CURRENT%s", eol);
        return;
    }
    snprintf(line, sizeof line, "VRFY FOR=<" ALICE "> FINGERPRINT=[%s]",
             world.fp_text[1]);
    if (strcmp(command, line) == 0) {
        put_armor(out, 280, 501, 'v', eol);
        kd_buf_printf(out, "280 OK%s", eol);
        return;
    }
    snprintf(line, sizeof line, "HIST FOR=<" ALICE "> START=[%s] STOP=[%s]",
             world.fp_text[0], world.fp_text[1]);
    if (strcmp(command, line) == 0 || strcmp(command, "HIST FOR=<" ALICE ">") == 0) {
        for (uint8_t i = 0; i < 3; i++)
            put_armor(out, 290, 100u + i, (uint8_t)('a' + i), eol);
        kd_buf_printf(out, "290 OK%s", eol);
        return;
    }
    kd_buf_printf(out, strcmp(command, "NOOP") == 0 ? "250 OK%s" : "500 WHAT%s", eol);
}

static void
expect_signet(const struct dmtp_reply *r, unsigned code, size_t n, char fill)
{
    assert_int_equal(r->code, code);
    assert_int_equal(r->signet.n, n);
    assert_int_equal(r->signet.p[0], fill);
    assert_int_equal(r->signet.p[n - 1], fill);
    assert_false(r->is_current);
    assert_int_equal(r->n_links, 0);
}

static void
expect_links(const struct dmtp_reply *r)
{
    assert_int_equal(r->code, 290);
    assert_int_equal(r->n_links, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r->links[i].n, 100 + i);
        assert_int_equal(r->links[i].p[99], 'a' + (int)i);
    }
}

static void
ask_all(struct dmtp *d)
{
    int64_t by = kd_clock_ms() + SOON;
    struct dmtp_reply r;

    assert_int_equal(dmtp_sgnt(d, "example.com", NULL, by, NULL, &r), DMTP_DONE);
    expect_signet(&r, 270, 300, 'o');
    assert_int_equal(dmtp_sgnt(d, ALICE, NULL, by, NULL, &r), DMTP_DONE);
    expect_signet(&r, 280, 500, 'u');
    assert_int_equal(dmtp_sgnt(d, ALICE, world.fp[0], by, NULL, &r), DMTP_DONE);
    expect_signet(&r, 280, 500, 'u');
    assert_int_equal(dmtp_noop(d, by, NULL), DMTP_DONE);
    assert_int_equal(dmtp_vrfy(d, ALICE, world.fp[0], by, NULL, &r), DMTP_DONE);
    assert_int_equal(r.code, 281);
    assert_true(r.is_current);
    assert_int_equal(r.signet.n, 0);
    assert_int_equal(dmtp_vrfy(d, ALICE, world.fp[1], by, NULL, &r), DMTP_DONE);
    expect_signet(&r, 280, 501, 'v');
    assert_int_equal(dmtp_hist(d, ALICE, NULL, NULL, by, NULL, &r), DMTP_DONE);
    expect_links(&r);
    assert_int_equal(dmtp_hist(d, ALICE, world.fp[0], world.fp[1], by, NULL, &r),
                     DMTP_DONE);
    expect_links(&r);
    assert_int_equal(dmtp_sgnt(d, "bob@example.com", NULL, by, NULL, &r), DMTP_DONE);
    assert_int_equal(r.code, 500);
    assert_int_equal(r.signet.n, 0);
}

static void
speak_with(bool is_dual, int version, char *eol)
{
    struct dmtp_server_conf c = usual();
    struct dmtp_server_seen seen;
    struct dmtp *d = NULL;
    char banner[100], starttls[100], greeting[100];

    c.is_dual = is_dual;
    c.min_version = c.max_version = version;
    c.answer = answer_well;
    c.arg = eol;
    snprintf(banner, sizeof banner, "220 <" HOST "> %sDMTP hello%s",
             is_dual ? "ESMTP " : "", eol);
    snprintf(starttls, sizeof starttls, "220 READY%s", eol);
    snprintf(greeting, sizeof greeting, "250 OK DMTPv1%s", eol);
    c.banner = banner;
    c.starttls = starttls;
    c.greeting = greeting;
    struct dmtp_server *s = dmtp_server_start(&c);
    struct dmtp_target target = target_of(s, is_dual);
    assert_int_equal(dmtp_open(world.plain, &target, kd_clock_ms() + SOON, NULL, &d),
                     DMTP_DONE);
    assert_false(dmtp_is_pinned(d));
    ask_all(d);
    dmtp_close(d, kd_clock_ms() + SOON);
    dmtp_server_stop(s, &seen);
    assert_string_equal(seen.sni, HOST);
    assert_true(seen.said_quit && seen.ended_tls);
    assert_false(seen.has_crlf);
    assert_int_equal(seen.connections, 1);
    assert_int_equal(is_dual, strncmp(seen.text, "STARTTLS <" HOST "> MODE=DMTP\n",
                                      strlen("STARTTLS <" HOST "> MODE=DMTP\n")) == 0);
}

static void
TR_53_to_61_both_modes_both_versions(void **state)
{
    char lf[] = "\n", crlf[] = "\r\n";

    (void)state;
    for (int is_dual = 0; is_dual < 2; is_dual++) {
        speak_with(is_dual, TLS1_2_VERSION, lf);
        speak_with(is_dual, TLS1_3_VERSION, lf);
        speak_with(is_dual, TLS1_2_VERSION, crlf);
        speak_with(is_dual, TLS1_3_VERSION, crlf);
    }
}

/* ---- setting up */

static void
T_TR_7_T_TR_45_a_wrong_banner_is_no_host(void **state)
{
    static const char *const banners[] = {
        "220 host ESMTP\n", "220 <dmtp.example.com> ESMTP\n", "250 host DMTP\n",
        "554 no DMTP today\n", "220-host\n220 DMTP\n"};
    struct dmtp_server_seen seen;

    (void)state;
    for (int i = 0; i < 10; i++) {
        struct dmtp_server_conf c = usual();
        c.is_dual = i % 2 != 0;
        c.banner = banners[i / 2];
        assert_int_equal(visit_server(c, &seen), DMTP_NO_DMTP);
        assert_string_equal(seen.text, "");
        assert_int_equal(seen.handshakes, c.is_dual ? 0 : 1);
        assert_int_equal(seen.ended_tls, !c.is_dual);
    }
}

static void
TR_69_the_mode_behind_starttls_is_looked_at(void **state)
{
    static const struct {
        const char *greeting;
        enum dmtp_end end;
    } cases[] = {{"250 OK DMTP\n", DMTP_DONE},
                 {"250 OK DMTPv1 text\r\n", DMTP_DONE},
                 {"250 OK ESMTP text\n", DMTP_NO_DMTP},
                 {"250 OK ESMTP DMTP\n", DMTP_NO_DMTP},
                 {"220 OK DMTP\n", DMTP_NO_DMTP},
                 {"250 DMTP\n", DMTP_NO_DMTP},
                 {"421 BUSY\n", DMTP_CLOSED},
                 {"hello\n", DMTP_GARBAGE},
                 {"", DMTP_LATE}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dmtp_server_conf c = usual();
        c.is_dual = true;
        c.greeting = cases[i].greeting;
        struct visit v = {.server = c, .ctx = world.hasty};
        assert_int_equal(visit(&v, NULL), cases[i].end);
    }
}

static void
D_144_the_reply_to_starttls(void **state)
{
    struct dmtp_server_conf c = usual();
    struct dmtp_server_seen seen;

    (void)state;
    c.is_dual = true;
    c.starttls = "250 GO ON\n";
    assert_int_equal(visit_server(c, NULL), DMTP_DONE);
    c.starttls = "454 NOT NOW\n";
    assert_int_equal(visit_server(c, &seen), DMTP_NO_DMTP);
    assert_int_equal(seen.handshakes, 0);
    c.starttls = "354 WHAT\n";
    assert_int_equal(visit_server(c, NULL), DMTP_NO_DMTP);
    c.starttls = NULL;
    c.is_mute_to_starttls = true; /* a host as the text has it, to the letter */
    assert_int_equal(visit_server(c, &seen), DMTP_DONE);
    assert_int_equal(seen.handshakes, 1);
}

static void
D_145_nothing_in_clear_survives_the_handshake(void **state)
{
    struct steps *steps = steps_new();
    struct visit v = {.server = usual(), .steps = steps};
    struct dmtp_server_seen seen;

    (void)state;
    v.server.is_dual = true;
    v.server.starttls = "220 READY\n250 OK DMTP injected\n";
    assert_int_equal(visit(&v, &seen), DMTP_NO_TLS);
    assert_int_equal(seen.handshakes, 0);
    assert_true(has_step(steps, STEP_ALARM, "in clear"));
    v.server.starttls = "220 READY\nx";
    assert_int_equal(visit(&v, &seen), DMTP_NO_TLS);
    assert_int_equal(seen.handshakes, 0);
    v.server.starttls = NULL;
    v.server.banner = "220 h ESMTP DMTP\n220 READY\n";
    assert_int_equal(visit(&v, &seen), DMTP_NO_TLS);
    assert_int_equal(seen.handshakes, 0);
    assert_string_equal(seen.text, "");
    steps_free(steps);
}

static void
TR_31_D_132_only_the_two_suites(void **state)
{
    struct dmtp_server_conf c = usual();
    struct steps *steps = steps_new();
    struct visit v = {.server = usual(), .steps = steps, .ctx = world.tls12};

    (void)state;
    assert_int_equal(visit(&v, NULL), DMTP_DONE);
    assert_true(has_step(steps, STEP_NOTE, "TLSv1.2, ECDHE-RSA-AES256-GCM-SHA384"));
    v.ctx = NULL;
    assert_int_equal(visit(&v, NULL), DMTP_DONE);
    assert_true(has_step(steps, STEP_NOTE, "TLSv1.3, TLS_AES_256_GCM_SHA384"));
    v.server.min_version = TLS1_3_VERSION;
    v.ctx = world.tls12;
    assert_int_equal(visit(&v, NULL), DMTP_NO_TLS);
    assert_true(has_step(steps, STEP_WARNING, "no handshake"));
    steps_free(steps);

    c.max_version = TLS1_2_VERSION;
    c.ciphers = "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:AES256-SHA";
    assert_int_equal(visit_server(c, NULL), DMTP_NO_TLS);
    c.is_dual = true; /* TR-64 */
    assert_int_equal(visit_server(c, NULL), DMTP_NO_TLS);
    c.ciphers = NULL;
    c.max_version = TLS1_1_VERSION;
    assert_int_equal(visit_server(c, NULL), DMTP_NO_TLS);
}

/* ---- certificates */

static void
the_table_by_handshakes(void **state)
{
    static const struct {
        bool is_secure, is_self;
        int tls; /* 0 none, 1 match, 2 differs */
        enum dmtp_end end;
    } rows[] = {
        {true, false, 1, DMTP_DONE},       {true, true, 1, DMTP_DONE},       /* TR-44 */
        {true, false, 0, DMTP_DONE},                                         /* TR-45 */
        {true, true, 0, DMTP_UNTRUSTED},                                     /* TR-46 */
        {true, false, 2, DMTP_UNTRUSTED},  {true, true, 2, DMTP_UNTRUSTED},  /* TR-47 */
        {false, false, 1, DMTP_DONE},                                        /* TR-48 */
        {false, true, 1, DMTP_UNTRUSTED},                                    /* TR-49 */
        {false, false, 0, DMTP_DONE},                                        /* TR-50 */
        {false, true, 0, DMTP_UNTRUSTED},                                    /* TR-51 */
        {false, false, 2, DMTP_UNTRUSTED}, {false, true, 2, DMTP_UNTRUSTED}, /* TR-52 */
    };
    const struct dime_mrec *records[] = {&world.none, &world.match, &world.differs};
    struct dmtp_server_seen seen;

    (void)state;
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        struct steps *steps = steps_new();
        struct visit v = {.server = usual(), .steps = steps};
        v.server.is_dual = i % 2 != 0;
        v.server.id = rows[i / 2].is_self ? &world.self : &world.rsa;
        v.server.max_version = i % 3 == 0 ? TLS1_2_VERSION : 0;
        v.record = records[rows[i / 2].tls];
        v.is_insecure = !rows[i / 2].is_secure;
        assert_int_equal(visit(&v, &seen), rows[i / 2].end);
        assert_int_equal(v.was_pinned,
                         rows[i / 2].end == DMTP_DONE && rows[i / 2].tls == 1);
        assert_int_equal(has_step(steps, STEP_ALARM, "is refused"),
                         rows[i / 2].end != DMTP_DONE);
        /* T-MR-82: told so by a clean end, and nothing was asked */
        assert_true(seen.ended_tls);
        assert_int_equal(seen.said_quit, rows[i / 2].end == DMTP_DONE);
        steps_free(steps);
    }
}

static void
TR_34_a_weak_key_gets_a_quit(void **state)
{
    struct dmtp_server_seen seen;

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct visit v = {.server = usual(), .record = &world.match};
        v.server.id = &world.weak;
        v.server.is_dual = i % 2 != 0;
        v.server.max_version = i < 2 ? TLS1_2_VERSION : TLS1_3_VERSION;
        assert_int_equal(visit(&v, &seen), DMTP_UNTRUSTED);
        assert_int_equal(seen.handshakes, 1);
        assert_true(seen.said_quit && seen.ended_tls);
    }
}

/* Of several primes: it is as large, and is made in a second. */
static EVP_PKEY *
make_large_key(int bits)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;

    assert_non_null(ctx);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, bits), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_primes(ctx, 5), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void
TR_33_keys_of_8192_bits_are_taken(void **state)
{
    struct dmtp_server_conf c = usual();
    EVP_PKEY *key = make_large_key(8192);
    struct identity large;

    (void)state;
    identity_make(&large, &(struct cert_spec){.issuer = &world.root,
                                              .with_key = key,
                                              .san = "DNS:" HOST,
                                              .eku = "serverAuth"});
    c.id = &large;
    assert_int_equal(visit_server(c, NULL), DMTP_DONE);
    c.max_version = TLS1_2_VERSION;
    assert_int_equal(visit_server(c, NULL), DMTP_DONE);
    identity_clear(&large);
    EVP_PKEY_free(key);
}

static void
D_133_ecdsa_only_under_tls13(void **state)
{
    struct dmtp_server_conf c = usual();

    (void)state;
    c.id = &world.p256;
    assert_int_equal(visit_server(c, NULL), DMTP_DONE);
    c.max_version = TLS1_2_VERSION;
    assert_int_equal(visit_server(c, NULL), DMTP_NO_TLS);
}

static void
D_134_staples_through_handshakes(void **state)
{
    struct visit v = {.server = usual()};
    struct kd_buf staple;

    (void)state;
    kd_buf_init(&staple, 65536);
    struct ocsp_spec s = {.cert = &world.rsa,
                          .issuer = &world.root,
                          .signer = &world.root,
                          .from = -60,
                          .to = 3600};
    for (int i = 0; i < 2; i++) {
        v.server.max_version = i == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
        s.status = V_OCSP_CERTSTATUS_GOOD;
        ocsp_make(&staple, &s);
        v.server.staple = kd_buf_slice(&staple);
        v.record = &world.none;
        assert_int_equal(visit(&v, NULL), DMTP_DONE);
        s.status = V_OCSP_CERTSTATUS_REVOKED;
        ocsp_make(&staple, &s);
        v.server.staple = kd_buf_slice(&staple);
        assert_int_equal(visit(&v, NULL), DMTP_UNTRUSTED);
        v.record = &world.match; /* TR-42: a pin asks nobody */
        assert_int_equal(visit(&v, NULL), DMTP_DONE);
    }
    kd_buf_free(&staple);
}

/* ---- replies */

static void
answer_arg(void *arg, const char *command, struct kd_buf *out)
{
    const struct kd_slice *text = arg;

    (void)command;
    kd_buf_put(out, *text);
}

enum verb { SGNT, VRFY, HIST, HIST_ALL };

static enum dmtp_end
ask(struct dmtp *d, enum verb verb, const char *name, struct dmtp_reply *r)
{
    int64_t by = kd_clock_ms() + SOON;

    switch (verb) {
    case SGNT:
        return dmtp_sgnt(d, name, NULL, by, NULL, r);
    case VRFY:
        return dmtp_vrfy(d, name, world.fp[0], by, NULL, r);
    case HIST:
        return dmtp_hist(d, name, world.fp[0], NULL, by, NULL, r);
    case HIST_ALL:
    default:
        return dmtp_hist(d, name, NULL, NULL, by, NULL, r);
    }
}

/* The end of one question, the code in *code; a connection that is over stays so. */
static enum dmtp_end
answered(struct dmtp_context *ctx, enum verb verb, const char *name,
         struct kd_slice text, unsigned *code)
{
    struct dmtp_server_conf c = usual();
    struct dmtp_reply r = {0};
    struct dmtp *d = NULL;

    c.answer = answer_arg;
    c.arg = &text;
    struct dmtp_server *s = dmtp_server_start(&c);
    struct dmtp_target target = target_of(s, false);
    assert_int_equal(dmtp_open(ctx, &target, kd_clock_ms() + SOON, NULL, &d),
                     DMTP_DONE);
    enum dmtp_end end = ask(d, verb, name, &r);
    *code = r.code;
    if (end != DMTP_DONE)
        assert_int_equal(ask(d, verb, name, &r), DMTP_CLOSED);
    dmtp_close(d, kd_clock_ms() + SOON);
    dmtp_server_stop(s, NULL);
    return end;
}

static void
TR_209_codes_by_their_class(void **state)
{
    static const struct {
        enum verb verb;
        const char *name, *text;
        enum dmtp_end end;
    } cases[] = {
        {SGNT, ALICE, "476 SIGNET TEMPORARILY UNAVAILABLE\n", DMTP_DONE},
        {SGNT, ALICE, "576 SIGNET UNAVAILABLE\n", DMTP_DONE},
        {SGNT, ALICE, "499 WHAT\n", DMTP_DONE},
        {SGNT, ALICE, "599-WHAT\n599 EVER\n", DMTP_DONE},
        {HIST, ALICE, "501 SYNTAX\n", DMTP_DONE},
        {SGNT, ALICE, "421 BYE\n", DMTP_CLOSED},
        {SGNT, ALICE, "250 OK\n", DMTP_GARBAGE},
        {SGNT, ALICE, "280 OK\n", DMTP_GARBAGE},
        {SGNT, ALICE, "281 USER SIGNET CURRENT\n", DMTP_GARBAGE},
        {SGNT, "example.com", "281 CURRENT\n", DMTP_GARBAGE},
        {VRFY, "example.com", "271 CURRENT\n", DMTP_DONE},
        {VRFY, "example.com", "281 CURRENT\n", DMTP_GARBAGE},
        {VRFY, ALICE, "281 CURRENT\n", DMTP_DONE},
        {VRFY, ALICE, "271 CURRENT\n", DMTP_GARBAGE},
        {HIST, ALICE, "291 CURRENT\n", DMTP_DONE},
        {HIST_ALL, ALICE, "291 CURRENT\n", DMTP_GARBAGE},
        {HIST, ALICE, "290 OK\n", DMTP_GARBAGE},
        {SGNT, ALICE, "354 GO ON\n", DMTP_GARBAGE},
        {SGNT, ALICE, "199 HM\n", DMTP_GARBAGE},
        {SGNT, ALICE, "600 HM\n", DMTP_GARBAGE},
        {SGNT, ALICE, "280 OK [QUJD]\n", DMTP_GARBAGE},
        {SGNT, ALICE, "hello\n", DMTP_GARBAGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned code = 0;
        enum dmtp_end end = answered(world.plain, cases[i].verb, cases[i].name,
                                     kd_slice_str(cases[i].text), &code);
        if (end != cases[i].end)
            fail_msg("%s: %s", cases[i].text, dmtp_end_text(end));
        if (end == DMTP_DONE)
            assert_int_equal(code, atoi(cases[i].text));
    }
}

static enum dmtp_end
answered_with(enum verb verb, unsigned code, size_t n_objects, size_t size)
{
    struct kd_buf text;
    unsigned got;

    kd_buf_init(&text, 32 << 20);
    for (size_t i = 0; i < n_objects; i++)
        put_armor(&text, code, size, 'x', "\n");
    kd_buf_printf(&text, "%u OK\n", code);
    enum dmtp_end end = answered(world.plain, verb, ALICE, kd_buf_slice(&text), &got);
    kd_buf_free(&text);
    return end;
}

static void
T_RS_20_replies_have_limits(void **state)
{
    (void)state;
    assert_int_equal(answered_with(SGNT, 280, 1, DMTP_SIGNET_MAX), DMTP_DONE);
    assert_int_equal(answered_with(SGNT, 280, 1, DMTP_SIGNET_MAX + 1), DMTP_GARBAGE);
    assert_int_equal(answered_with(SGNT, 280, 1, 2 << 20), DMTP_GARBAGE);
    assert_int_equal(answered_with(SGNT, 280, 2, 100), DMTP_GARBAGE);
    assert_int_equal(answered_with(HIST_ALL, 290, DMTP_LINKS_MAX, 400), DMTP_DONE);
    assert_int_equal(answered_with(HIST_ALL, 290, DMTP_LINKS_MAX + 1, 400),
                     DMTP_GARBAGE);
    assert_int_equal(answered_with(HIST_ALL, 290, 10000, 400), DMTP_GARBAGE);
    assert_int_equal(answered_with(HIST_ALL, 290, 16, 256 << 10), DMTP_DONE);
    assert_int_equal(answered_with(HIST_ALL, 290, 17, 256 << 10), DMTP_GARBAGE);
}

static void
names_cannot_carry_commands(void **state)
{
    static const char *const names[] = {
        "",     "a b@example.com", "a\nQUIT",   "a>@example.com",
        "a\rb", "<example.com",    "\xc3\xa4@e"};
    struct dmtp_server_conf c = usual();
    struct dmtp_server *s = dmtp_server_start(&c);
    struct dmtp_target target = target_of(s, false);
    struct dmtp_server_seen seen;
    struct dmtp_reply r;
    struct dmtp *d = NULL;

    (void)state;
    assert_int_equal(dmtp_open(world.plain, &target, kd_clock_ms() + SOON, NULL, &d),
                     DMTP_DONE);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(ask(d, SGNT, names[i], &r), DMTP_GARBAGE);
    char huge[300];
    memset(huge, 'a', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    assert_int_equal(ask(d, HIST, huge, &r), DMTP_GARBAGE);
    dmtp_close(d, kd_clock_ms() + SOON);
    dmtp_server_stop(s, &seen);
    assert_string_equal(seen.text, "QUIT\n");
}

/* ---- libdime's dialect */

static void
answer_as_libdime(void *arg, const char *command, struct kd_buf *out)
{
    char line[512];

    (void)arg;
    snprintf(line, sizeof line, "VRFY <" ALICE "> [%s]", world.fp_text[0]);
    if (strcmp(command, "SGNT <" ALICE ">") == 0)
        kd_buf_printf(out, "280 OK [QUJDRA==]\r\n");
    else if (strcmp(command, line) == 0)
        kd_buf_printf(out, "280 UPDATE [%s]\r\n", world.fp_text[1]);
    else if (strcmp(command, "HIST <" ALICE ">") == 0)
        kd_buf_printf(out, "290-[QUJD]\r\n290-[QUJDRA==]\r\n290 OK\r\n");
    else
        kd_buf_printf(out, "500 SYNTAX\r\n");
}

static void
D_137_libdimes_dialect_if_it_is_wanted(void **state)
{
    struct dmtp_context *contexts[] = {world.libdime, world.plain};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct dmtp_server_conf c = usual();
        struct dmtp_server_seen seen;
        struct dmtp_reply r;
        struct dmtp *d = NULL;
        c.answer = answer_as_libdime;
        struct dmtp_server *s = dmtp_server_start(&c);
        struct dmtp_target target = target_of(s, false);
        assert_int_equal(
            dmtp_open(contexts[i], &target, kd_clock_ms() + SOON, NULL, &d), DMTP_DONE);
        assert_int_equal(ask(d, SGNT, ALICE, &r), DMTP_DONE);
        assert_int_equal(r.code, i == 0 ? 280 : 500);
        if (i == 0) {
            assert_int_equal(r.signet.n, 4);
            assert_memory_equal(r.signet.p, "ABCD", 4);
            assert_int_equal(ask(d, VRFY, ALICE, &r), DMTP_DONE);
            assert_int_equal(r.code, 280);
            assert_true(r.signet.n == 0 && !r.is_current);
            assert_int_equal(ask(d, HIST_ALL, ALICE, &r), DMTP_DONE);
            assert_int_equal(r.n_links, 2);
            assert_memory_equal(r.links[1].p, "ABCD", 4);
        }
        dmtp_close(d, kd_clock_ms() + SOON);
        dmtp_server_stop(s, &seen);
        assert_int_equal(seen.has_crlf, i == 0);
    }
}

/* ---- hosts that mean ill */

static enum dmtp_end
end_of(enum dmtp_trouble t, enum dmtp_stage at)
{
    switch (t) {
    case DMTP_SAYS_421: /* no TLS record, where one is expected */
        return at == DMTP_AT_TLS ? DMTP_NO_TLS : DMTP_CLOSED;
    case DMTP_IS_SILENT:
        return DMTP_LATE;
    case DMTP_IS_SLOW:
        return at == DMTP_AT_TLS ? DMTP_NO_TLS : DMTP_LATE;
    case DMTP_ENDLESS_LINE:
    case DMTP_ENDLESS_LINES:
        return at == DMTP_AT_TLS ? DMTP_NO_TLS : DMTP_GARBAGE;
    case DMTP_HANGS_UP:
    case DMTP_CUT_IN_HALF:
    case DMTP_ENDS_TLS:
    default:
        return at == DMTP_AT_TLS ? DMTP_NO_TLS : DMTP_CLOSED;
    }
}

/* SIGPIPE ends this program, and so would whatever blocks. */
static void
TR_89_hosts_that_end_or_never_end(void **state)
{
    (void)state;
    for (int at = DMTP_AT_BANNER; at < DMTP_AT_COMMAND; at++)
        for (int t = DMTP_HANGS_UP; t <= DMTP_ENDS_TLS; t++)
            for (int is_dual = 0; is_dual < 2; is_dual++) {
                struct dmtp_server_conf c = usual();
                if (is_dual == 0 && (at == DMTP_AT_STARTTLS || at == DMTP_AT_GREETING))
                    continue;
                c.is_dual = is_dual != 0;
                c.at = (enum dmtp_stage)at;
                c.trouble = (enum dmtp_trouble)t;
                struct visit v = {.server = c, .ctx = world.hasty};
                enum dmtp_end end = visit(&v, NULL);
                /* behind STARTTLS silence is no trouble, but the handshake is */
                if (end != end_of(c.trouble, c.at))
                    fail_msg("stage %d, trouble %d, dual %d: %s", at, t, is_dual,
                             dmtp_end_text(end));
            }
}

static void
TR_72_commands_have_their_time(void **state)
{
    (void)state;
    for (int t = DMTP_HANGS_UP; t <= DMTP_ENDS_TLS; t++) {
        struct dmtp_server_conf c = usual();
        struct dmtp_reply r;
        struct dmtp *d = NULL;
        c.at = DMTP_AT_COMMAND;
        c.trouble = (enum dmtp_trouble)t;
        struct dmtp_server *s = dmtp_server_start(&c);
        struct dmtp_target target = target_of(s, false);
        assert_int_equal(
            dmtp_open(world.hasty, &target, kd_clock_ms() + SOON, NULL, &d), DMTP_DONE);
        int64_t begun = kd_clock_ms();
        assert_int_equal(ask(d, t % 2 == 0 ? SGNT : HIST, ALICE, &r),
                         end_of(c.trouble, c.at));
        assert_int_equal(ask(d, SGNT, ALICE, &r), DMTP_CLOSED);
        dmtp_close(d, kd_clock_ms() + SOON);
        assert_true(kd_clock_ms() - begun < PATIENT_MS);
        dmtp_server_stop(s, NULL);
    }
}

/* TR-74: a line a time is life, octets are none; the caller's deadline ends both. */
static void
the_deadline_is_the_last_word(void **state)
{
    struct dmtp_server_conf c = usual();
    struct dmtp_reply r;
    struct dmtp *d = NULL;

    (void)state;
    c.at = DMTP_AT_COMMAND;
    c.trouble = DMTP_IS_SILENT;
    struct dmtp_server *s = dmtp_server_start(&c);
    struct dmtp_target target = target_of(s, false);
    assert_int_equal(dmtp_open(world.plain, &target, kd_clock_ms() - 1, NULL, &d),
                     DMTP_LATE);
    assert_null(d);
    assert_int_equal(dmtp_open(world.plain, &target, kd_clock_ms() + SOON, NULL, &d),
                     DMTP_DONE);
    int64_t begun = kd_clock_ms();
    assert_int_equal(dmtp_sgnt(d, ALICE, NULL, begun + 200, NULL, &r), DMTP_LATE);
    assert_true(kd_clock_ms() - begun < 900);
    dmtp_close(d, kd_clock_ms());
    dmtp_server_stop(s, NULL);
}

/* The last words go to a socket that nobody has any more. */
static void
SIGPIPE_is_not_raised(void **state)
{
    struct dmtp_server_conf c = usual();
    struct dmtp *d = NULL;

    (void)state;
    c.at = DMTP_AT_REST;
    c.trouble = DMTP_ENDS_TLS;
    struct dmtp_server *s = dmtp_server_start(&c);
    struct dmtp_target target = target_of(s, false);
    assert_int_equal(dmtp_open(world.plain, &target, kd_clock_ms() + SOON, NULL, &d),
                     DMTP_DONE);
    dmtp_server_stop(s, NULL); /* it has hung up by then */
    assert_int_equal(dmtp_noop(d, kd_clock_ms() + SOON, NULL), DMTP_CLOSED);
    dmtp_close(d, kd_clock_ms() + SOON);
}

/* ---- addresses */

static void
addresses_are_tried_in_their_order(void **state)
{
    struct dmtp_server_conf good = usual(), bad = usual();
    struct dmtp_server_seen seen;
    struct dmtp *d = NULL;

    (void)state;
    struct dmtp_server *s = dmtp_server_start(&good);
    bad.address = "127.0.0.3";
    bad.port = dmtp_server_port(s);
    bad.at = DMTP_AT_BANNER;
    bad.trouble = DMTP_IS_SILENT;
    struct dmtp_server *silent = dmtp_server_start(&bad);
    struct dmtp_target target = target_of(s, false);
    target.n_addresses = 3;
    target.addresses[0] = address("127.0.0.2"); /* nobody there */
    target.addresses[1] = address("127.0.0.3");
    target.addresses[2] = address("127.0.0.1");
    int64_t begun = kd_clock_ms();
    assert_int_equal(dmtp_open(world.plain, &target, begun + 4000, NULL, &d),
                     DMTP_DONE);
    dmtp_close(d, kd_clock_ms() + SOON);
    target.n_addresses = 1;
    assert_int_equal(dmtp_open(world.plain, &target, begun + SOON, NULL, &d),
                     DMTP_NO_CONNECTION);
    target.n_addresses = 0;
    assert_int_equal(dmtp_open(world.plain, &target, begun + SOON, NULL, &d),
                     DMTP_NO_CONNECTION);
    dmtp_server_stop(silent, &seen);
    assert_int_equal(seen.connections, 1);
    dmtp_server_stop(s, &seen);
    assert_int_equal(seen.connections, 1);
}

/* A host that says nothing takes its share of the time, and no more. */
static void
an_address_has_its_share_of_the_time(void **state)
{
    static const struct dmtp_times patient = {60000, 60000, 60000, 60000, 60000};
    struct dmtp_conf conf = {.ca_file = world.ca_file, .times = &patient};
    struct dmtp_server_conf good = usual(), bad = usual();
    struct dmtp_context *ctx = NULL;
    struct dmtp *d = NULL;
    const char *why = "";

    (void)state;
    assert_int_equal(dmtp_context_new(&conf, &ctx, &why), KD_OK);
    struct dmtp_server *s = dmtp_server_start(&good);
    bad.address = "127.0.0.3";
    bad.port = dmtp_server_port(s);
    bad.at = DMTP_AT_TLS;
    bad.trouble = DMTP_IS_SILENT;
    struct dmtp_server *silent = dmtp_server_start(&bad);
    struct dmtp_target target = target_of(s, false);
    target.n_addresses = 2;
    target.addresses[0] = address("127.0.0.3");
    target.addresses[1] = address("127.0.0.1");
    int64_t deadline = kd_clock_ms() + 2000;
    assert_int_equal(dmtp_open(ctx, &target, deadline, NULL, &d), DMTP_DONE);
    assert_true(kd_clock_ms() < deadline);
    dmtp_close(d, kd_clock_ms() + SOON);
    dmtp_server_stop(silent, NULL);
    dmtp_server_stop(s, NULL);
    dmtp_context_free(ctx);
}

/* A host that was refused is not forgotten for another address that is only dead. */
static void
an_alarm_outweighs_a_failure(void **state)
{
    struct dmtp_server_conf c = usual();
    struct dmtp *d = NULL;

    (void)state;
    c.id = &world.self;
    struct dmtp_server *s = dmtp_server_start(&c);
    struct dmtp_target target = target_of(s, false);
    target.n_addresses = 2;
    target.addresses[1] = address("127.0.0.2");
    assert_int_equal(dmtp_open(world.plain, &target, kd_clock_ms() + SOON, NULL, &d),
                     DMTP_UNTRUSTED);
    dmtp_server_stop(s, NULL);
}

/* The last one of them all. */
static void
no_descriptor_is_left(void **state)
{
    (void)state;
    assert_int_equal(count_fds(), world.n_fds);
}

static void
a_context_that_cannot_be(void **state)
{
    struct dmtp_context *ctx = NULL;
    const char *why = "";
    struct dmtp_conf conf = {.ca_file = "does-not-exist.pem"};

    (void)state;
    assert_int_equal(dmtp_context_new(&conf, &ctx, &why), KD_IO);
    assert_null(ctx);
    assert_string_not_equal(why, "");
    dmtp_context_free(NULL);
    dmtp_close(NULL, 0);
}

/* ---- threads */

static void *
talk(void *arg)
{
    const struct dmtp_target *target = arg;

    for (int i = 0; i < 5; i++) {
        struct dmtp_reply r;
        struct dmtp *d = NULL;
        int64_t by = kd_clock_ms() + SOON;
        if (dmtp_open(world.plain, target, by, NULL, &d) != DMTP_DONE)
            return arg;
        enum dmtp_end end = dmtp_sgnt(d, ALICE, NULL, by, NULL, &r);
        dmtp_close(d, by);
        if (end != DMTP_DONE || r.code != 280)
            return arg;
    }
    return NULL;
}

static void
threads_share_a_context(void **state)
{
    enum { THREADS = 4 };
    struct dmtp_server *servers[THREADS];
    struct dmtp_target targets[THREADS];
    pthread_t threads[THREADS];
    char lf[] = "\n";

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        struct dmtp_server_conf c = usual();
        c.answer = answer_well;
        c.arg = lf;
        c.is_dual = i % 2 != 0;
        servers[i] = dmtp_server_start(&c);
        targets[i] = target_of(servers[i], c.is_dual);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, talk, &targets[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        dmtp_server_stop(servers[i], NULL);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(TR_53_to_61_both_modes_both_versions),
        cmocka_unit_test(T_TR_7_T_TR_45_a_wrong_banner_is_no_host),
        cmocka_unit_test(TR_69_the_mode_behind_starttls_is_looked_at),
        cmocka_unit_test(D_144_the_reply_to_starttls),
        cmocka_unit_test(D_145_nothing_in_clear_survives_the_handshake),
        cmocka_unit_test(TR_31_D_132_only_the_two_suites),
        cmocka_unit_test(the_table_by_handshakes),
        cmocka_unit_test(TR_34_a_weak_key_gets_a_quit),
        cmocka_unit_test(TR_33_keys_of_8192_bits_are_taken),
        cmocka_unit_test(D_133_ecdsa_only_under_tls13),
        cmocka_unit_test(D_134_staples_through_handshakes),
        cmocka_unit_test(TR_209_codes_by_their_class),
        cmocka_unit_test(T_RS_20_replies_have_limits),
        cmocka_unit_test(names_cannot_carry_commands),
        cmocka_unit_test(D_137_libdimes_dialect_if_it_is_wanted),
        cmocka_unit_test(TR_89_hosts_that_end_or_never_end),
        cmocka_unit_test(TR_72_commands_have_their_time),
        cmocka_unit_test(the_deadline_is_the_last_word),
        cmocka_unit_test(SIGPIPE_is_not_raised),
        cmocka_unit_test(an_address_has_its_share_of_the_time),
        cmocka_unit_test(addresses_are_tried_in_their_order),
        cmocka_unit_test(an_alarm_outweighs_a_failure),
        cmocka_unit_test(a_context_that_cannot_be),
        cmocka_unit_test(threads_share_a_context),
        cmocka_unit_test(no_descriptor_is_left),
    };

    return cmocka_run_group_tests(tests, world_begin, world_end);
}
