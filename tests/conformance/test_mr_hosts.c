/* The hosts that are tried, out of DNS, in their order. What refuses a connection is
 * the caller's to find out: it asks for the next one. */
#include "hostile_dns.h"
#include "hosts.h"
#include "netns.h"
#include "suite.h"
#include "zone.h"

#include <keyd/base/clock.h>

#include <sys/socket.h>

#define HOSTILE "127.0.0.66"
enum { SOON = 10000 };

static struct zones *zones;
static struct dns *dns;

static int
start(void **state)
{
    static const struct zone_spec specs[] = {
        {"a.example", ZONE_SIGNED,
         "@ MX 20 mx3\n@ MX 10 mx1\n@ MX 10 mx2\n@ MX 20 mx1\n@ MX 5 mx.nowhere\n@ MX "
         "30 alias\n"
         "@ MX 40 127.0.0.1.\n@ A 127.0.0.9\n"
         "mx1 A 127.0.1.1\nmx2 A 127.0.1.2\nmx3 A 127.0.1.3\n"
         "dx1 A 127.0.2.1\ndx2 A 127.0.2.2\ndx2 AAAA ::1\ndx3 A 127.0.2.3\n"
         "dx4 A 127.0.2.4\ndx5 A 127.0.2.5\nalias CNAME dx1\nnone TXT x\n"
         "many A 127.3.0.1\nmany A 127.3.0.2\nmany A 127.3.0.3\nmany A 127.3.0.4\n"
         "many A 127.3.0.5\nmany A 127.3.0.6\nmany A 127.3.0.7\nmany A 127.3.0.8\n"
         "many A 127.3.0.9\nmany AAAA 2001:db8::1\nmany AAAA 2001:db8::2\n"
         "many AAAA 2001:db8::3\nmany AAAA 2001:db8::4\nmany AAAA 2001:db8::5\n"
         "odd A 0.0.0.0\nodd A 255.255.255.255\nodd A 224.0.0.1\nodd A 169.254.1.1\n"
         "odd A 127.0.0.1\nodd AAAA ::\nodd AAAA ::1\nodd AAAA ff02::1\nodd AAAA "
         "fe80::1\n"
         "odd AAAA ::ffff:127.0.0.1\nodd A 192.0.2.1\nodd AAAA 2001:db8::1\n",
         NULL},
        {"nomx.example", ZONE_UNSIGNED, "@ A 127.0.0.8\n", NULL},
        {"null.example", ZONE_SIGNED, "@ MX 0 .\n", NULL},
        {"insecure.example", ZONE_UNSIGNED, "@ MX 10 mx\nmx A 127.0.1.1\n", NULL},
        {"ten.example", ZONE_SIGNED,
         "@ MX 1 m1\n@ MX 2 m2\n@ MX 3 m3\n@ MX 4 m4\n@ MX 5 m5\n@ MX 6 m6\n"
         "m1 A 127.0.1.1\nm2 A 127.0.1.2\nm3 A 127.0.1.3\nm4 A 127.0.1.4\nm5 A "
         "127.0.1.5\n"
         "m6 A 127.0.1.6\n",
         NULL},
        {"bogus.example", ZONE_BOGUS, "@ MX 10 mx\nmx A 127.0.1.1\ndx A 127.0.1.1\n",
         NULL},
        {"hostile.example", ZONE_ELSEWHERE, NULL, HOSTILE},
    };
    const char *anchor;
    (void)state;
    zones = zones_start(specs, sizeof(specs) / sizeof(specs[0]));
    anchor = zones_anchor(zones);
    struct dns_conf conf = {.anchor_file = "",
                            .anchors = &anchor,
                            .n_anchors = 1,
                            .root_hints = zones_hints(zones),
                            .local_servers = true};
    assert_int_equal(dns_new(&conf, &dns, NULL), KD_OK);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    dns_free(dns);
    zones_stop(zones);
    return 0;
}

static struct hosts *
hosts_of(const char *domain, const char *const *dx, struct hosts_conf conf)
{
    static struct dime_mrec record;
    struct hosts *h = NULL;

    memset(&record, 0, sizeof(record));
    for (; dx != NULL && *dx != NULL; dx++)
        strcpy(record.dx[record.n_dx++], *dx);
    conf.dns = dns;
    conf.local_addresses = true;
    assert_int_equal(hosts_new(&conf, domain, &record, &h), KD_OK);
    return h;
}

/* All of them: "dx dx1.a.example; mx ..." and what comes in the end. */
static kd_err
list(struct hosts *h, char *text, size_t size)
{
    struct host host;
    kd_err err;

    text[0] = '\0';
    while ((err = hosts_next(h, kd_clock_ms() + SOON, NULL, &host)) == KD_OK) {
        size_t at = strlen(text);

        assert_true(host.n_addrs > 0 && host.n_ports > 0);
        snprintf(text + at, size - at, "%s%s %s", at > 0 ? "; " : "",
                 host_kind_text(host.kind), host.name);
    }
    hosts_free(h);
    return err;
}

static void
assert_hosts(struct hosts *h, const char *want, kd_err end)
{
    char text[1024];

    assert_int_equal(list(h, text, sizeof(text)), end);
    assert_string_equal(text, want);
}

/* The first always: an order that tests know. */
static uint32_t
last(uint32_t limit)
{
    return limit - 1;
}

static const struct hosts_conf in_order = {.below = last};

static void
T_MR_72_a_dx_that_does_not_resolve_is_left_out(void **state)
{
    static const char *const dx[] = {"nowhere.a.example", "dx1.a.example", NULL};
    (void)state;
    assert_hosts(hosts_of("nomx.example", dx, in_order), "dx dx1.a.example",
                 KD_NOT_FOUND);
}

static void
T_MR_73_after_three_dx_the_mx(void **state)
{
    static const char *const dx[] = {"dx1.a.example", "dx2.a.example", "dx3.a.example",
                                     "dx4.a.example", NULL};
    (void)state;
    assert_hosts(
        hosts_of("insecure.example", dx, in_order),
        "dx dx1.a.example; dx dx2.a.example; dx dx3.a.example; mx mx.insecure.example",
        KD_NOT_FOUND);
    assert_hosts(
        hosts_of("nomx.example", dx, (struct hosts_conf){.below = last, .dx_tries = 9}),
        "dx dx1.a.example; dx dx2.a.example; dx dx3.a.example; dx dx4.a.example",
        KD_NOT_FOUND);
}

static void
T_MR_74_without_dx_the_mx_by_preference(void **state)
{
    (void)state;
    assert_hosts(hosts_of("a.example", NULL, in_order),
                 "mx mx1.a.example; mx mx2.a.example; mx mx3.a.example", KD_NOT_FOUND);
}

static void
T_MR_75_a_dx_that_is_an_alias_is_ignored(void **state)
{
    static const char *const dx[] = {"alias.a.example", "dx2.a.example", NULL};
    (void)state;
    assert_hosts(hosts_of("nomx.example", dx, in_order), "dx dx2.a.example",
                 KD_NOT_FOUND);
    assert_hosts(hosts_of("nomx.example", dx,
                          (struct hosts_conf){.below = last, .follow_aliases = true}),
                 "dx alias.a.example; dx dx2.a.example", KD_NOT_FOUND);
}

static void
T_MR_76_names_without_addresses_are_ignored_and_told(void **state)
{
    static const char *const dx[] = {"none.a.example", "nowhere.example", NULL};
    struct hosts *h = hosts_of("nomx.example", dx, in_order);
    struct steps *steps = steps_new();
    struct host host;
    size_t warnings = 0;
    (void)state;

    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, steps, &host), KD_NOT_FOUND);
    for (size_t i = 0; i < steps_n(steps); i++)
        warnings += steps_get(steps, i)->weight == STEP_WARNING;
    assert_int_equal(warnings, 2);
    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_NOT_FOUND);
    steps_free(steps);
    hosts_free(h);
}

static void
T_TR_21_the_order_of_dx_differs_between_runs(void **state)
{
    static const char *const dx[] = {"dx1.a.example", "dx2.a.example", "dx3.a.example",
                                     "dx4.a.example", "dx5.a.example", NULL};
    char first[1024], other[1024];
    unsigned firsts[6] = {0};
    bool differs = false;
    (void)state;

    assert_int_equal(list(hosts_of("insecure.example", dx, (struct hosts_conf){0}),
                          first, sizeof(first)),
                     KD_NOT_FOUND);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(list(hosts_of("insecure.example", dx, (struct hosts_conf){0}),
                              other, sizeof(other)),
                         KD_NOT_FOUND);
        /* three different ones, then the MX */
        assert_string_equal(strrchr(other, ';'), "; mx mx.insecure.example");
        firsts[other[5] - '0']++;
        differs = differs || strcmp(first, other) != 0;
    }
    assert_true(differs);
    for (int i = 1; i <= 5; i++) /* each is to be first in 40 of 200 */
        assert_in_range(firsts[i], 10, 90);
}

static void
T_TR_22_five_of_the_mx_are_tried_each_once(void **state)
{
    (void)state;
    assert_hosts(hosts_of("ten.example", NULL, in_order),
                 "mx m1.ten.example; mx m2.ten.example; mx m3.ten.example; "
                 "mx m4.ten.example; mx m5.ten.example",
                 KD_NOT_FOUND);
}

static void
mx_of_the_same_preference_are_in_random_order(void **state)
{
    char text[1024];
    unsigned firsts[3] = {0};
    (void)state;

    for (int i = 0; i < 100; i++) {
        assert_int_equal(list(hosts_of("a.example", NULL, (struct hosts_conf){0}), text,
                              sizeof(text)),
                         KD_NOT_FOUND);
        firsts[text[5] - '0']++;
        assert_non_null(strstr(text, "; mx mx3.a.example"));
    }
    assert_in_range(firsts[1], 20, 80);
    assert_in_range(firsts[2], 20, 80);
}

static void
assert_ports(const struct host *host, const char *want)
{
    char text[64] = "";

    for (size_t i = 0; i < host->n_ports; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u %s",
                 i > 0 ? ", " : "", host->ports[i].port,
                 host->ports[i].dual ? "dual" : "single");
    assert_string_equal(text, want);
}

static void
T_TR_25_ports_of_dx_and_mx(void **state)
{
    static const char *const dx[] = {"dx1.a.example", NULL};
    struct hosts *h = hosts_of("insecure.example", dx, in_order);
    struct host host;
    (void)state;

    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_OK);
    assert_ports(&host, "26 single");
    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_OK);
    assert_ports(&host, "25 dual, 587 dual");
    assert_false(host.secure_name);
    hosts_free(h);
    h = hosts_of("ten.example", NULL,
                 (struct hosts_conf){.below = last, .mx_port_26 = true});
    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_OK);
    assert_ports(&host, "26 single, 25 dual, 587 dual"); /* D-136 */
    assert_true(host.secure_name);
    hosts_free(h);
}

static void
T_TR_26_the_domain_itself_where_enabled(void **state)
{
    struct hosts *h =
        hosts_of("nomx.example", NULL, (struct hosts_conf){.domain_itself = true});
    struct host host;
    (void)state;

    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_OK);
    assert_int_equal(host.kind, HOST_DOMAIN);
    assert_string_equal(host.name, "nomx.example");
    assert_ports(&host, "26 single, 25 dual, 587 dual");
    assert_int_equal(host.n_addrs, 1);
    assert_memory_equal(host.addrs[0].octets, "\177\0\0\10", 4);
    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_NOT_FOUND);
    hosts_free(h);
    assert_hosts(hosts_of("null.example", NULL, in_order), "", KD_NOT_FOUND);
}

static void
addresses_are_of_both_kinds_and_bounded(void **state)
{
    static const char *const dx[] = {"many.a.example", NULL};
    struct hosts *h = hosts_of("nomx.example", dx, in_order);
    struct host host;
    size_t six = 0;
    (void)state;

    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_OK);
    assert_int_equal(host.n_addrs, HOST_ADDRS_MAX);
    for (size_t i = 0; i < host.n_addrs; i++)
        six += host.addrs[i].family == AF_INET6;
    assert_int_equal(six, HOST_ADDRS_MAX / 2);
    hosts_free(h);
}

static void
addresses_that_are_nobodys_or_our_own_are_left_out(void **state)
{
    static const char *const dx[] = {"odd.a.example", "dx1.a.example", NULL};
    struct dime_mrec record = {.n_dx = 2};
    struct hosts_conf conf = {.dns = dns, .below = last};
    struct hosts *h;
    struct host host;
    (void)state;

    strcpy(record.dx[0], dx[0]);
    strcpy(record.dx[1], dx[1]);
    assert_int_equal(hosts_new(&conf, "nomx.example", &record, &h), KD_OK);
    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_OK);
    assert_int_equal(host.n_addrs, 2);
    assert_memory_equal(host.addrs[0].octets, "\x20\x01\x0d\xb8", 4);
    assert_memory_equal(host.addrs[1].octets, "\xc0\x00\x02\x01", 4);
    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_NOT_FOUND);
    hosts_free(h);
}

static void
what_fails_is_no_absence(void **state)
{
    static const char *const dx[] = {"dx.bogus.example", NULL};
    (void)state;
    assert_hosts(hosts_of("nomx.example", dx, in_order), "", KD_UNAVAILABLE);
    assert_hosts(hosts_of("bogus.example", NULL, in_order), "", KD_UNAVAILABLE);
}

/* An MX that is asked for only when its turn comes; and data that is no MX. */
static size_t
give_odd_mx(void *arg, const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);
    (void)arg;

    if (q->type == DNS_MX && strcmp(q->name, "hostile.example") == 0) {
        hostile_name(&m, HOSTILE_ANSWER, NULL, DNS_MX, 60, "a b.hostile.example");
        hostile_name(&m, HOSTILE_ANSWER, NULL, DNS_MX, 60, "_x.hostile.example");
        hostile_name(&m, HOSTILE_ANSWER, NULL, DNS_MX, 60, "1.2.3.4");
        hostile_name(&m, HOSTILE_ANSWER, NULL, DNS_MX, 60, "Good.hostile.example");
    } else if (q->type == DNS_A && strcmp(q->name, "good.hostile.example") == 0) {
        hostile_rr(&m, HOSTILE_ANSWER, NULL, DNS_A, 60, "\177\0\5\5", 4);
    } else {
        hostile_soa(&m, "hostile.example", 30);
    }
    return m.n;
}

static void
the_mx_is_asked_for_in_its_turn_and_only_hosts_are_taken(void **state)
{
    static const char *const dx[] = {"dx1.a.example", NULL};
    struct hostile_dns *server = hostile_dns_start(HOSTILE, give_odd_mx, NULL);
    struct hosts *h = hosts_of("hostile.example", dx, in_order);
    struct host host;
    (void)state;

    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_OK);
    assert_int_equal(hostile_dns_asked(server, NULL, DNS_MX), 0);
    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_OK);
    assert_string_equal(host.name, "good.hostile.example");
    assert_true(hostile_dns_asked(server, NULL, DNS_MX) > 0);
    assert_int_equal(hosts_next(h, kd_clock_ms() + SOON, NULL, &host), KD_NOT_FOUND);
    hosts_free(h);
    hostile_dns_stop(server);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_MR_72_a_dx_that_does_not_resolve_is_left_out),
        cmocka_unit_test(T_MR_73_after_three_dx_the_mx),
        cmocka_unit_test(T_MR_74_without_dx_the_mx_by_preference),
        cmocka_unit_test(T_MR_75_a_dx_that_is_an_alias_is_ignored),
        cmocka_unit_test(T_MR_76_names_without_addresses_are_ignored_and_told),
        cmocka_unit_test(T_TR_21_the_order_of_dx_differs_between_runs),
        cmocka_unit_test(T_TR_22_five_of_the_mx_are_tried_each_once),
        cmocka_unit_test(mx_of_the_same_preference_are_in_random_order),
        cmocka_unit_test(T_TR_25_ports_of_dx_and_mx),
        cmocka_unit_test(T_TR_26_the_domain_itself_where_enabled),
        cmocka_unit_test(addresses_are_of_both_kinds_and_bounded),
        cmocka_unit_test(addresses_that_are_nobodys_or_our_own_are_left_out),
        cmocka_unit_test(what_fails_is_no_absence),
        cmocka_unit_test(the_mx_is_asked_for_in_its_turn_and_only_hosts_are_taken),
    };

    suite_begin(argc, argv);
    netns_enter();
    return cmocka_run_group_tests(tests, start, stop);
}
