/* libkeyd over TLS with the real remote listener: objects both ways, and the same load
 * as on unix sockets while the daemon dies. */
#include "daemon.h"
#include "people.h"
#include "png.h"
#include "test.h"
#include "tls_peer.h"

#include <keyd/base/err.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

enum { LOAD_SECONDS = 6 };

static struct tls_place place;
static struct daemon d;
static char own[160], own_key[160], stranger[160], stranger_key[160];

static void
write_client(const struct identity *id, char cert[160], char key[160], const char *name)
{
    const struct identity *list[] = {id};

    snprintf(cert, 160, "%s/%s.pem", d.dir, name);
    snprintf(key, 160, "%s/%s.key", d.dir, name);
    certs_write(cert, list, 1);
    key_write(key, id);
}

static int
start(void **state)
{
    struct daemon_options o = {.top = place.top};
    struct identity other;

    (void)state;
    tls_place_make(&place, NULL);
    if (!daemon_start(&d, &o) || !daemon_provision(&d, NULL))
        return -1;
    write_client(&place.mx1, own, own_key, "mx1");
    identity_make(&other, &(struct cert_spec){.san = "DNS:mx1.example.com"});
    write_client(&other, stranger, stranger_key, "stranger");
    identity_clear(&other);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    remove(own);
    remove(own_key);
    remove(stranger);
    remove(stranger_key);
    daemon_clear(&d);
    tls_place_clear(&place);
    return 0;
}

static keyd_client *
remote(const char *certificate, const char *key)
{
    char address[64];
    const struct keyd_tls tls = {.certificate = certificate,
                                 .key = key,
                                 .ca = place.ca,
                                 .server_name = "localhost"};
    keyd_client *c = keyd_client_new();

    assert_non_null(c);
    snprintf(address, sizeof address, "tls:127.0.0.1:%u", place.port);
    const struct keyd_endpoint e = {.address = address, .tls = &tls};
    assert_int_equal(keyd_client_add_endpoint(c, &e), KEYD_OK);
    return c;
}

static struct keyd_answer *
issue(keyd_client *c, uint64_t person, const char *address, struct keyd_octets image)
{
    struct kd_buf ssr;
    struct keyd_answer *a = NULL;

    person_request("remote", person, &ssr);
    enum keyd_status status = keyd_client_issue_user_signet(
        c, KEYD_STR(address), (struct keyd_octets){ssr.p, ssr.n}, KEYD_ACCOUNT_TRUSTFUL,
        NULL, 0, image, &a);
    kd_buf_free(&ssr);
    if (status != KEYD_OK)
        fail_msg("%s: %s (%s)", address, keyd_client_status_text(status),
                 a == NULL ? "" : a->detail);
    return a;
}

static void
objects_of_every_size_go_both_ways(void **state)
{
    static const uint32_t sizes[] = {1000, 40000, 49152, 49153, 100000, 1 << 20};
    keyd_client *c = remote(own, own_key);
    keyd_client *near = daemon_connect(&d, "mta");

    (void)state;
    assert_non_null(near);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kd_buf b;
        struct kd_slice png = make_png(&b, sizes[i]);
        char address[64];
        struct keyd_answer *far_one = NULL, *near_one = NULL;
        snprintf(address, sizeof address, "size-%zu@example.com", i);
        struct keyd_answer *a =
            issue(c, i, address, (struct keyd_octets){png.p, png.n});
        assert_true(a->out.signet.signet.n > png.n);
        assert_int_equal(
            keyd_client_lookup_signet(c, KEYD_STR(address), KEYD_NONE, &far_one),
            KEYD_OK);
        assert_int_equal(
            keyd_client_lookup_signet(near, KEYD_STR(address), KEYD_NONE, &near_one),
            KEYD_OK);
        assert_int_equal(far_one->out.signet.signet.n, near_one->out.signet.signet.n);
        assert_memory_equal(far_one->out.signet.signet.p, near_one->out.signet.signet.p,
                            near_one->out.signet.signet.n);
        assert_int_equal(a->out.signet.signet.n, near_one->out.signet.signet.n);
        keyd_client_answer_free(a);
        keyd_client_answer_free(far_one);
        keyd_client_answer_free(near_one);
        kd_buf_free(&b);
    }
    keyd_client_free(near);
    keyd_client_free(c);
}

static void
count(void *cookie, struct keyd_answer *a)
{
    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    assert_true(a->out.signet.signet.n > 1 << 20);
    ++*(size_t *)cookie;
    keyd_client_answer_free(a);
}

/* More at once than a server keeps for one client: they take turns. */
static void
many_large_look_ups_at_once_take_turns(void **state)
{
    struct keyd_request q = {
        .op = KEYD_OP_LOOKUP_SIGNET,
        .in.lookup_signet = {KEYD_STR("size-5@example.com"), KEYD_NONE}};
    keyd_client *c = remote(own, own_key);
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(keyd_client_submit(c, &q, count, &n, NULL), KEYD_OK);
    while (keyd_client_pending(c) > 0)
        assert_int_equal(keyd_client_process(c, -1), KEYD_OK);
    assert_int_equal(n, 8);
    keyd_client_free(c);
}

static void
a_stranger_is_told_at_the_door(void **state)
{
    keyd_client *c = remote(stranger, stranger_key);
    struct keyd_answer *a = NULL;
    struct keyd_endpoint_info info;

    (void)state;
    assert_int_equal(keyd_client_set_deadline(c, 300), KEYD_OK);
    assert_int_equal(keyd_client_status(c, &a), KEYD_UNAVAILABLE);
    assert_non_null(a);
    assert_string_equal(a->detail, "tls-refused");
    assert_int_equal(keyd_client_endpoint_info(c, 1, &info), KEYD_OK);
    assert_int_equal(info.why, KEYD_DENIED);
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

static void
what_is_not_permitted_over_tls_is_final(void **state)
{
    keyd_client *c = remote(own, own_key);
    struct keyd_answer *a = NULL;

    (void)state;
    assert_int_equal(keyd_client_audit_head(c, &a), KEYD_UNSUPPORTED);
    assert_int_equal(a->attempts, 1);
    keyd_client_answer_free(a);
    assert_int_equal(
        keyd_client_lookup_signet(c, KEYD_STR("a@example.net"), KEYD_NONE, &a),
        KEYD_DENIED);
    assert_int_equal(a->attempts, 1);
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

static void
nothing_fails_while_the_daemon_is_killed(void **state)
{
    char endpoints[300], path[108], seconds[8], output[160], text[4096] = "";

    (void)state;
    daemon_socket(&d, "submission", path);
    snprintf(endpoints, sizeof endpoints, "tls:127.0.0.1:%u", place.port);
    snprintf(seconds, sizeof seconds, "%d", LOAD_SECONDS);
    snprintf(output, sizeof output, "%s/load.out", d.dir);
    const char *const arguments[] = {"--endpoints", endpoints,
                                     "--rate",      "200",
                                     "--seconds",   seconds,
                                     "--seed",      "tls",
                                     "--json",      "--tls-certificate",
                                     own,           "--tls-key",
                                     own_key,       "--tls-ca",
                                     place.ca,      "--tls-name",
                                     "localhost",   "--look-up-issued",
                                     NULL};
    pid_t load = daemon_spawn(&d, "keyd-load", "load.out", arguments);
    assert_true(load > 0);
    kd_ignore(poll(NULL, 0, 1500)); /* the load goes on meanwhile */
    daemon_kill(&d);
    kd_ignore(poll(NULL, 0, 300)); /* the same */
    assert_true(daemon_launch(&d) && daemon_wait(&d, 20000));
    int status = daemon_reap(load, 30000);
    FILE *f = fopen(output, "re");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    printf("%s", text);
    assert_int_equal(status, 0); /* which says that none failed and none was wrong */
    assert_null(strstr(text, "\"connections_lost\":0,"));
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_of_every_size_go_both_ways),
        cmocka_unit_test(many_large_look_ups_at_once_take_turns),
        cmocka_unit_test(a_stranger_is_told_at_the_door),
        cmocka_unit_test(what_is_not_permitted_over_tls_is_final),
        cmocka_unit_test(nothing_fails_while_the_daemon_is_killed),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
