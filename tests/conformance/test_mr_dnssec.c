/* Answers of the DNS and the verdicts on them (D-011, D-022), in a world of signed,
 * unsigned and spoilt zones and of servers that mean ill. */
#include "dns.h"
#include "fds.h"
#include "hostile_answers.h"
#include "netns.h"
#include "suite.h"
#include "zone.h"

#include <keyd/base/clock.h>

#include <pthread.h>
#include <string.h>

#define FORWARDER "127.0.0.67"
#define SILENT "127.0.0.68"
enum { SOON = 10000, SHORT = 700 };

static struct zones *zones;
static struct dns *dns;

static int
start(void **state)
{
    static const struct zone_spec specs[] = {
        {"signed.example", ZONE_SIGNED,
         "_dime TXT \"pok=a\"\n@ MX 10 mx\nmx A 127.0.0.1\nalias CNAME mx\n"
         "away CNAME mx.unsigned.example.\n* TXT wild\nt 1 TXT one\n",
         NULL},
        {"unsigned.example", ZONE_UNSIGNED, "_dime TXT \"pok=b\"\nmx A 127.0.0.2\n",
         NULL},
        {"bogus.example", ZONE_BOGUS, "_dime TXT \"pok=c\"\n", NULL},
        {"expired.example", ZONE_EXPIRED, "_dime TXT \"pok=d\"\n", NULL},
        {"wrongds.example", ZONE_WRONG_DS, "_dime TXT \"pok=e\"\n", NULL},
        {"stripped.example", ZONE_STRIPPED, "_dime TXT \"pok=f\"\n", NULL},
        {"servfail.example", ZONE_SERVFAIL, NULL, NULL},
        {"corp.test", ZONE_HIDDEN, "_dime TXT \"pok=g\"\n", NULL},
        {"hostile.example", ZONE_ELSEWHERE, NULL, HOSTILE},
        {"silent.example", ZONE_ELSEWHERE, NULL, SILENT},
    };
    (void)state;
    zones = zones_start(specs, sizeof(specs) / sizeof(specs[0]));
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    zones_stop(zones);
    return 0;
}

/* A resolver of its own for each test, so that no cache of another is in it. */
static int
fresh(void **state)
{
    const char *anchor = zones_anchor(zones), *why;
    struct dns_conf conf = {.anchor_file = "",
                            .anchors = &anchor,
                            .n_anchors = 1,
                            .root_hints = zones_hints(zones),
                            .local_servers = true};
    (void)state;
    assert_int_equal(dns_new(&conf, &dns, &why), KD_OK);
    return 0;
}

static int
freed(void **state)
{
    (void)state;
    dns_free(dns);
    dns = NULL;
    return 0;
}

static enum dns_status
ask(const char *name, uint16_t type, struct dns_answer *a)
{
    enum dns_status s = dns_query(dns, name, type, kd_clock_ms() + SOON, a);

    print_message("%s %u: %s%s %s %s\n", name, type, dns_status_text(s),
                  a->secure ? ", secure" : "", a->canonical, a->why);
    return s;
}

static void
assert_broken(const char *name, enum dns_broken why)
{
    struct dns_answer a;

    assert_int_equal(ask(name, DNS_TXT, &a), DNS_BROKEN);
    assert_int_equal(a.broken, why);
    assert_false(a.secure);
    assert_int_equal(a.n, 0);
    assert_true(a.why[0] != '\0');
    dns_answer_clear(&a);
}

/* --- what is signed --- */

static void
T_MR_62_a_signed_answer_is_secure(void **state)
{
    struct dns_answer a;
    (void)state;

    assert_int_equal(ask("_dime.signed.example", DNS_TXT, &a), DNS_FOUND);
    assert_true(a.secure);
    assert_false(a.alias);
    assert_string_equal(a.canonical, "_dime.signed.example");
    assert_int_equal(a.n, 1);
    assert_memory_equal(a.rdata[0].p, "\5pok=a", 6);
    assert_true(a.ttl > 290 && a.ttl <= 300);
    dns_answer_clear(&a);
}

static void
an_unsigned_answer_is_found_and_insecure(void **state)
{
    struct dns_answer a;
    (void)state;

    assert_int_equal(ask("_dime.unsigned.example", DNS_TXT, &a), DNS_FOUND);
    assert_false(a.secure);
    dns_answer_clear(&a);
    assert_int_equal(ask("nothing.unsigned.example", DNS_TXT, &a), DNS_NXDOMAIN);
    assert_false(a.secure);
    assert_true(a.ttl > 50 && a.ttl <= 60);
    dns_answer_clear(&a);
}

static void
denials_of_a_signed_zone_are_validated(void **state)
{
    struct dns_answer a;
    (void)state;

    assert_int_equal(ask("mx.signed.example", DNS_TXT, &a), DNS_NODATA);
    assert_true(a.secure);
    assert_true(a.ttl > 50 && a.ttl <= 60);
    dns_answer_clear(&a);
    assert_int_equal(ask("nothing.example", DNS_TXT, &a), DNS_NXDOMAIN);
    assert_true(a.secure);
    dns_answer_clear(&a);
    /* of a wildcard */
    assert_int_equal(ask("any.signed.example", DNS_TXT, &a), DNS_FOUND);
    assert_true(a.secure);
    assert_false(a.alias);
    dns_answer_clear(&a);
}

static void
T_MR_61_a_bogus_signature_is_broken(void **state)
{
    (void)state;
    assert_broken("_dime.bogus.example", DNS_BOGUS);
    assert_broken("_dime.expired.example", DNS_BOGUS);
    assert_broken("_dime.wrongds.example", DNS_BOGUS);
    assert_broken("_dime.stripped.example", DNS_BOGUS);
}

static void
a_bogus_denial_is_broken(void **state)
{
    (void)state;
    assert_broken("nothing.bogus.example", DNS_BOGUS); /* NXDOMAIN */
    assert_broken("ns.bogus.example", DNS_BOGUS);      /* no data */
    assert_broken("nothing.expired.example", DNS_BOGUS);
    assert_broken("nothing.wrongds.example", DNS_BOGUS);
    assert_broken("nothing.stripped.example", DNS_BOGUS);
}

static void
a_server_that_fails_is_broken(void **state)
{
    (void)state;
    assert_broken("_dime.servfail.example", DNS_SERVFAIL);
}

static void
aliases_are_told_and_the_chain_is_as_secure_as_its_weakest(void **state)
{
    struct dns_answer a;
    (void)state;

    assert_int_equal(ask("alias.signed.example", DNS_A, &a), DNS_FOUND);
    assert_true(a.alias && a.secure);
    assert_string_equal(a.canonical, "mx.signed.example");
    dns_answer_clear(&a);
    assert_int_equal(ask("away.signed.example", DNS_A, &a), DNS_FOUND);
    assert_true(a.alias);
    assert_false(a.secure);
    dns_answer_clear(&a);
    assert_int_equal(ask("away.signed.example", DNS_TXT, &a), DNS_NODATA);
    assert_true(a.alias);
    dns_answer_clear(&a);
}

static void
a_changed_zone_is_seen_when_the_ttl_is_over(void **state)
{
    struct dns_answer a;
    int64_t limit = kd_clock_ms() + SOON;
    bool seen = false;
    (void)state;

    assert_int_equal(ask("t.signed.example", DNS_TXT, &a), DNS_FOUND);
    dns_answer_clear(&a);
    zones_change(zones, "signed.example",
                 "_dime TXT \"pok=a\"\n@ MX 10 mx\nmx A 127.0.0.1\nalias CNAME mx\n"
                 "away CNAME mx.unsigned.example.\n* TXT wild\nt 1 TXT two\n");
    while (!seen && kd_clock_ms() < limit) {
        assert_int_equal(dns_query(dns, "t.signed.example", DNS_TXT, limit, &a),
                         DNS_FOUND);
        assert_true(a.secure);
        seen = memcmp(a.rdata[0].p, "\3two", 4) == 0;
        dns_answer_clear(&a);
    }
    assert_true(seen);
}

static void
without_an_anchor_everything_is_insecure_and_that_is_said(void **state)
{
    struct dns_conf conf = {
        .anchor_file = "", .root_hints = zones_hints(zones), .local_servers = true};
    struct dns_answer a;
    (void)state;

    assert_true(dns_anchored(dns));
    dns_free(dns);
    assert_int_equal(dns_new(&conf, &dns, NULL), KD_OK);
    assert_false(dns_anchored(dns));
    assert_int_equal(ask("_dime.signed.example", DNS_TXT, &a), DNS_FOUND);
    assert_false(a.secure);
    dns_answer_clear(&a);
}

/* --- configuration --- */

static void
what_cannot_be_configured_is_refused_at_the_start(void **state)
{
    const char *bad = "this is no key", *address = "not an address";
    struct dns_stub stub = {"signed.example", "nor this", false};
    const struct dns_conf confs[] = {
        {.anchor_file = "/nonexistent"},
        {.anchor_file = "", .anchors = &bad, .n_anchors = 1},
        {.anchor_file = "", .forwarders = &address, .n_forwarders = 1},
        {.anchor_file = "", .stubs = &stub, .n_stubs = 1},
        {.anchor_file = "", .root_hints = "/nonexistent"},
    };
    size_t fds = count_fds();
    (void)state;

    for (size_t i = 0; i < sizeof(confs) / sizeof(confs[0]); i++) {
        struct dns *d = NULL;
        const char *why = NULL;

        assert_int_not_equal(dns_new(&confs[i], &d, &why), KD_OK);
        assert_null(d);
        assert_non_null(why);
    }
    assert_int_equal(count_fds(), fds);
}

static void
what_is_no_name_is_not_asked(void **state)
{
    static const char *const names[] = {"",     ".",        "a.",  ".a",
                                        "a..b", "A",        "a b", "a\\046b",
                                        "a/b",  "\xc3\xa4", "a\n", "*.a"};
    struct dns_answer a;
    char longest[300] = "";
    (void)state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(ask(names[i], DNS_TXT, &a), DNS_BROKEN);
        assert_int_equal(a.broken, DNS_FAULT);
    }
    for (int i = 0; i < 127; i++)
        strcat(longest, "a.");
    longest[253] = '\0';
    assert_true(dns_name_ok(longest));
    longest[253] = '.';
    longest[254] = 'a';
    assert_false(dns_name_ok(longest));
    memset(longest, 'a', 64);
    longest[64] = '\0';
    assert_false(dns_name_ok(longest));
    assert_true(dns_name_ok(longest + 1));
}

static void
a_stub_zone_is_asked_of_its_server(void **state)
{
    const char *anchor = zones_anchor(zones);
    struct dns_stub stub = {"corp.test", ZONE_SERVER, true};
    struct dns_conf conf = {.anchor_file = "",
                            .anchors = &anchor,
                            .n_anchors = 1,
                            .stubs = &stub,
                            .n_stubs = 1,
                            .root_hints = zones_hints(zones)};
    struct dns_answer a;
    (void)state;

    assert_int_equal(ask("_dime.corp.test", DNS_TXT, &a), DNS_NXDOMAIN); /* without */
    dns_answer_clear(&a);
    dns_free(dns);
    assert_int_equal(dns_new(&conf, &dns, NULL), KD_OK);
    assert_int_equal(ask("_dime.corp.test", DNS_TXT, &a), DNS_FOUND);
    assert_false(a.secure);
    dns_answer_clear(&a);
    assert_int_equal(ask("nothing.corp.test", DNS_TXT, &a), DNS_NXDOMAIN);
    assert_false(a.secure);
    dns_answer_clear(&a);
    assert_int_equal(ask("_dime.signed.example", DNS_TXT, &a), DNS_FOUND);
    assert_true(a.secure);
    dns_answer_clear(&a);
    /* one that is to be validated and cannot be */
    dns_free(dns);
    stub.insecure = false;
    assert_int_equal(dns_new(&conf, &dns, NULL), KD_OK);
    assert_int_not_equal(ask("_dime.corp.test", DNS_TXT, &a), DNS_NXDOMAIN);
    assert_false(a.secure);
    dns_answer_clear(&a);
}

/* A server on this machine is not asked because an answer from the network says so. */
static void
answers_do_not_lead_to_servers_on_this_machine(void **state)
{
    const char *anchor = zones_anchor(zones);
    struct dns_conf conf = {.anchor_file = "",
                            .anchors = &anchor,
                            .n_anchors = 1,
                            .root_hints = zones_hints(zones)};
    struct dns_answer a;
    (void)state;

    dns_free(dns);
    assert_int_equal(dns_new(&conf, &dns, NULL), KD_OK);
    assert_int_equal(ask("_dime.signed.example", DNS_TXT, &a), DNS_BROKEN);
    dns_answer_clear(&a);
}

/* --- servers that mean ill --- */

static size_t
give_32(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);
    char text[32];

    for (int i = 0; i < 32; i++) {
        snprintf(text, sizeof(text), "pok=%d", i);
        hostile_txt(&m, NULL, 60, text);
    }
    return m.n;
}

static size_t
give_large(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);
    static char text[60000];

    if (!q->tcp) {
        out[2] |= 2;
        return m.n;
    }
    memset(text, 'x', sizeof(text) - 1);
    hostile_txt(&m, NULL, 60, text);
    return m.n;
}

/* A record of someone else in the additional section does not reach a cache. */
static size_t
give_poison(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    hostile_txt(&m, NULL, 60, "pok=own");
    hostile_txt(&m, "_dime.unsigned.example", 60, "pok=poison");
    return m.n;
}

static void
ask_hostile(size_t (*answer)(const struct hostile_query *, uint8_t *, size_t),
            struct dns_answer *a)
{
    struct hostile_script s = {NULL, answer};
    struct hostile_dns *h = hostile_dns_start(HOSTILE, hostile_follow, &s);

    dns_query(dns, "_dime.hostile.example", DNS_TXT, kd_clock_ms() + 4000, a);
    print_message("%s: %s\n", dns_status_text(a->status), a->why);
    assert_true(hostile_dns_asked(h, "_dime.hostile.example", DNS_TXT) > 0);
    hostile_dns_stop(h);
}

static void
an_answer_that_cannot_be_used_is_broken_never_absent(void **state)
{
    for (size_t i = 0; i < n_hostile_answers; i++) {
        struct dns_answer a;

        freed(state);
        fresh(state);
        print_message("%s: ", hostile_answers[i].name);
        ask_hostile(hostile_answers[i].answer, &a);
        assert_int_equal(a.status, DNS_BROKEN);
        assert_true(a.broken == DNS_SERVFAIL || a.broken == DNS_TIMEOUT ||
                    a.broken == DNS_TOO_LARGE);
        assert_int_equal(a.n, 0);
        dns_answer_clear(&a);
    }
}

static void
an_answer_of_the_most_records_and_octets_is_taken(void **state)
{
    struct dns_answer a;

    ask_hostile(give_32, &a);
    assert_int_equal(a.status, DNS_FOUND);
    assert_int_equal(a.n, 32);
    dns_answer_clear(&a);
    freed(state);
    fresh(state);
    ask_hostile(give_large, &a);
    assert_int_equal(a.status, DNS_FOUND);
    assert_int_equal(a.rdata[0].n, 59999 + 236);
    dns_answer_clear(&a);
}

static void
records_of_others_are_not_believed(void **state)
{
    struct dns_answer a;
    (void)state;

    ask_hostile(give_poison, &a);
    assert_int_equal(a.status, DNS_FOUND);
    assert_int_equal(a.n, 1);
    assert_memory_equal(a.rdata[0].p, "\7pok=own", 8);
    dns_answer_clear(&a);
    assert_int_equal(ask("_dime.unsigned.example", DNS_TXT, &a), DNS_FOUND);
    assert_memory_equal(a.rdata[0].p, "\5pok=b", 6);
    dns_answer_clear(&a);
}

/* A forwarder that says of everything that it is authentic. */
static size_t
claim_authentic(void *arg, const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);
    (void)arg;

    out[2] = 0x81; /* recursion */
    out[3] = 0xa0; /* available, authentic data */
    if (q->type == DNS_TXT)
        hostile_txt(&m, NULL, 60, "pok=ad");
    else
        hostile_soa(&m, "", 30);
    return m.n;
}

static void
T_MR_63_the_ad_bit_of_a_forwarder_does_not_count(void **state)
{
    const char *forwarder = FORWARDER, *anchor = zones_anchor(zones);
    struct dns_conf conf = {
        .anchor_file = "", .forwarders = &forwarder, .n_forwarders = 1};
    struct hostile_dns *h = hostile_dns_start(FORWARDER, claim_authentic, NULL);
    struct dns_answer a;
    (void)state;

    /* without an anchor: insecure */
    dns_free(dns);
    assert_int_equal(dns_new(&conf, &dns, NULL), KD_OK);
    assert_int_equal(ask("_dime.example.com", DNS_TXT, &a), DNS_FOUND);
    assert_false(a.secure);
    dns_answer_clear(&a);
    /* with one, and no signatures: a forgery */
    dns_free(dns);
    conf.anchors = &anchor;
    conf.n_anchors = 1;
    assert_int_equal(dns_new(&conf, &dns, NULL), KD_OK);
    assert_broken("_dime.example.com", DNS_BOGUS);
    hostile_dns_stop(h);
}

/* --- time and threads --- */

static void
a_question_ends_at_its_deadline(void **state)
{
    struct hostile_script s = {NULL, hostile_give_nothing};
    struct hostile_dns *h = hostile_dns_start(HOSTILE, hostile_follow, &s);
    int64_t begin = kd_clock_ms(), took;
    struct dns_answer a;
    (void)state;

    assert_int_equal(
        dns_query(dns, "_dime.hostile.example", DNS_TXT, begin + SHORT, &a),
        DNS_BROKEN);
    took = kd_clock_ms() - begin;
    assert_int_equal(a.broken, DNS_TIMEOUT);
    assert_in_range(took, SHORT, SHORT + 1500);
    dns_answer_clear(&a);
    assert_int_equal(dns_query(dns, "_dime.signed.example", DNS_TXT, begin, &a),
                     DNS_BROKEN);
    assert_int_equal(a.broken, DNS_TIMEOUT);
    /* others are not kept waiting */
    assert_int_equal(ask("_dime.signed.example", DNS_TXT, &a), DNS_FOUND);
    dns_answer_clear(&a);
    hostile_dns_stop(h);
}

static void
a_port_that_nobody_has_is_broken(void **state)
{
    struct dns_answer a;
    (void)state;

    assert_int_equal(
        dns_query(dns, "_dime.silent.example", DNS_TXT, kd_clock_ms() + 5000, &a),
        DNS_BROKEN);
    dns_answer_clear(&a);
}

static void *
ask_often(void *arg)
{
    unsigned *seed = arg;

    for (int i = 0; i < 60; i++) {
        static const char *const names[] = {
            "_dime.signed.example", "_dime.unsigned.example", "_dime.hostile.example"};
        size_t k = (*seed + (unsigned)i) % 3;
        struct dns_answer a;
        enum dns_status s = dns_query(dns, names[k], DNS_TXT,
                                      kd_clock_ms() + (k == 2 ? i % 7 : SOON), &a);

        if (k == 2 ? s != DNS_BROKEN : s != DNS_FOUND || a.secure != (k == 0))
            *seed = 1000000; /* tells that it was wrong */
        dns_answer_clear(&a);
    }
    return NULL;
}

static void
many_threads_ask_one_resolver_and_some_give_up(void **state)
{
    struct hostile_script s = {NULL, hostile_give_nothing};
    struct hostile_dns *h = hostile_dns_start(HOSTILE, hostile_follow, &s);
    pthread_t threads[8];
    unsigned seeds[8];
    (void)state;

    for (unsigned i = 0; i < 8; i++) {
        seeds[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &seeds[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(seeds[i], i);
    }
    hostile_dns_stop(h);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, freed)
        TEST(T_MR_62_a_signed_answer_is_secure),
        TEST(an_unsigned_answer_is_found_and_insecure),
        TEST(denials_of_a_signed_zone_are_validated),
        TEST(T_MR_61_a_bogus_signature_is_broken),
        TEST(a_bogus_denial_is_broken),
        TEST(a_server_that_fails_is_broken),
        TEST(aliases_are_told_and_the_chain_is_as_secure_as_its_weakest),
        TEST(a_changed_zone_is_seen_when_the_ttl_is_over),
        TEST(without_an_anchor_everything_is_insecure_and_that_is_said),
        TEST(what_cannot_be_configured_is_refused_at_the_start),
        TEST(what_is_no_name_is_not_asked),
        TEST(a_stub_zone_is_asked_of_its_server),
        TEST(answers_do_not_lead_to_servers_on_this_machine),
        TEST(an_answer_that_cannot_be_used_is_broken_never_absent),
        TEST(an_answer_of_the_most_records_and_octets_is_taken),
        TEST(records_of_others_are_not_believed),
        TEST(T_MR_63_the_ad_bit_of_a_forwarder_does_not_count),
        TEST(a_question_ends_at_its_deadline),
        TEST(a_port_that_nobody_has_is_broken),
        TEST(many_threads_ask_one_resolver_and_some_give_up),
    };

    suite_begin(argc, argv);
    netns_enter();
    return cmocka_run_group_tests(tests, start, stop);
}
