/* Management records out of DNS: which owner is asked, and when that is an absence. */
#include "hostile_dns.h"
#include "netns.h"
#include "suite.h"
#include "walk.h"
#include "zone.h"

#include <keyd/base/clock.h>

#define HOSTILE "127.0.0.66"
#define POK "pok=5zyGJDCUMa70B5Z13ystwRu/48GlG9ooQIA8ze/6vAM"
#define OTHER "pol=strict " POK
enum { SOON = 10000, NUMERIC = 65280 };

static struct zones *zones;
static struct dns *dns;

/* One string of its own, and one of two. */
static int
start(void **state)
{
    static const struct zone_spec specs[] = {
        {"dime.example", ZONE_SIGNED, "_dime TXT \"" POK "\"\n_dx TXT \"" OTHER "\"\n",
         NULL},
        {"dx.example", ZONE_SIGNED, "_dx TXT \"" OTHER "\"\n", NULL},
        {"spf.example", ZONE_SIGNED,
         "_dime TXT \"v=spf1\"\n_dx 100 TXT \"" OTHER "\"\n", NULL},
        {"none.example", ZONE_SIGNED, "_dime 7 TXT \"v=spf1\"\n", NULL},
        {"unsigned.example", ZONE_UNSIGNED, "_dime TXT \"" POK "\"\n", NULL},
        {"nothing.example", ZONE_UNSIGNED, "", NULL},
        {"bogus.example", ZONE_BOGUS, "_dx TXT \"" POK "\"\n", NULL},
        {"servfail.example", ZONE_SERVFAIL, NULL, NULL},
        {"two.example", ZONE_SIGNED, "_dime TXT \"" POK "\"\n_dime TXT \"" OTHER "\"\n",
         NULL},
        {"typo.example", ZONE_SIGNED, "_dime TXT \"pok =abc\"\n_dx TXT \"" POK "\"\n",
         NULL},
        {"parts.example", ZONE_SIGNED,
         "_dime TXT \"pol=str\" \"ict pok=5zyGJDCUMa70B5Z13ystwR\" "
         "\"u/48GlG9ooQIA8ze/6vAM\"\n",
         NULL},
        {"wild.example", ZONE_SIGNED, "* TXT \"google-site-verification=abc\"\n", NULL},
        {"hosted.example", ZONE_SIGNED, "_dime CNAME _dime.dime.example.\n", NULL},
        {"hostile.example", ZONE_ELSEWHERE, NULL, HOSTILE},
        /* walked: strict at the base; inherited; broken in the middle */
        {"walk.example", ZONE_SIGNED,
         "_dime TXT \"" POK "\"\n_dime.explicit TXT \"" POK " sub=explicit\"\n"
         "_dime.broken TXT \"pok=x\"\n_dime.own TXT \"" OTHER "\"\n",
         NULL},
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

static int
fresh(void **state)
{
    const char *anchor = zones_anchor(zones);
    struct dns_conf conf = {.anchor_file = "",
                            .anchors = &anchor,
                            .n_anchors = 1,
                            .root_hints = zones_hints(zones),
                            .local_servers = true};
    (void)state;
    assert_int_equal(dns_new(&conf, &dns, NULL), KD_OK);
    return 0;
}

static int
freed(void **state)
{
    (void)state;
    dns_free(dns);
    return 0;
}

static enum record_state
look(const char *name, struct record *r)
{
    struct lookup l = {.dns = dns};
    struct steps *steps = steps_new();
    enum record_state s = lookup_record(&l, name, kd_clock_ms() + SOON, steps, r);

    assert_non_null(steps);
    for (size_t i = 0; i < steps_n(steps); i++)
        print_message("    %s\n", steps_get(steps, i)->text);
    assert_true(steps_n(steps) >= 2);
    steps_free(steps);
    return s;
}

static void
assert_present(const char *name, const char *owner, const char *text, bool secure)
{
    struct record r;

    assert_int_equal(look(name, &r), RECORD_PRESENT);
    assert_string_equal(r.owner, owner);
    assert_int_equal(r.n_text, strlen(text));
    assert_memory_equal(r.text, text, r.n_text);
    assert_int_equal(r.secure, secure);
    assert_int_equal(r.mrec.n_poks, 1);
    assert_true(r.ttl > 0 && r.ttl <= 300);
    record_clear(&r);
}

static void
assert_broken(const char *name, const char *why)
{
    struct record r;

    assert_int_equal(look(name, &r), RECORD_BROKEN);
    assert_non_null(strstr(r.why, why));
    assert_null(r.text);
    record_clear(&r);
}

static void
T_MR_44_txt_at_dime(void **state)
{
    (void)state;
    assert_present("dime.example", "_dime.dime.example", POK, true);
    assert_present("unsigned.example", "_dime.unsigned.example", POK, false);
}

static void
T_MR_47_dx_where_dime_is_positively_absent(void **state)
{
    (void)state;
    assert_present("dx.example", "_dx.dx.example", OTHER, true);
    assert_present("spf.example", "_dx.spf.example", OTHER, true); /* D-011 */
}

static void
T_MR_60_neither_is_absent_for_the_shorter_time(void **state)
{
    struct record r;
    (void)state;

    assert_int_equal(look("none.example", &r), RECORD_ABSENT);
    assert_true(r.secure);
    assert_true(r.ttl > 0 && r.ttl <= 7);
    record_clear(&r);
    assert_int_equal(look("nothing.example", &r), RECORD_ABSENT);
    assert_false(r.secure);
    assert_true(r.ttl > 7 && r.ttl <= 60);
    record_clear(&r);
    assert_int_equal(look("wild.example", &r), RECORD_ABSENT);
    assert_true(r.secure);
    record_clear(&r);
    assert_int_equal(look("no-such-name.example", &r), RECORD_ABSENT);
    assert_true(r.secure);
    record_clear(&r);
}

static size_t
fail_dime(void *arg, const struct hostile_query *q, uint8_t *out, size_t max)
{
    bool dime = strcmp(q->name, "_dime.hostile.example") == 0;
    struct hostile_msg m = hostile_begin(q, dime ? 2 : 0, out, max);
    (void)arg;

    if (!dime && q->type == DNS_TXT)
        hostile_txt(&m, NULL, 60, POK);
    else if (!dime)
        hostile_soa(&m, "hostile.example", 30);
    return m.n;
}

static void
T_MR_48_a_failure_at_dime_is_broken_and_dx_is_not_used(void **state)
{
    struct hostile_dns *h = hostile_dns_start(HOSTILE, fail_dime, NULL);
    (void)state;

    assert_broken("hostile.example", "servers failed");
    assert_true(hostile_dns_asked(h, "_dime.hostile.example", DNS_TXT) > 0);
    assert_int_equal(hostile_dns_asked(h, "_dx.hostile.example", 0), 0);
    hostile_dns_stop(h);
    assert_broken("servfail.example", "servers failed");
}

static void
T_MR_61_a_bogus_denial_does_not_lead_to_dx(void **state)
{
    (void)state;
    assert_broken("bogus.example", "bogus");
}

static void
two_candidates_and_typing_errors_are_broken(void **state)
{
    (void)state;
    assert_broken("two.example", "more than one");
    assert_broken("typo.example", "");
}

static void
strings_are_joined_and_aliases_followed(void **state)
{
    (void)state;
    assert_present("parts.example", "_dime.parts.example", OTHER, true);
    assert_present("hosted.example", "_dime.hosted.example", POK, true);
}

static void
a_name_too_long_for_an_owner_is_broken(void **state)
{
    char name[DNS_NAME_MAX + 1];
    struct lookup l = {.dns = dns};
    struct record r;
    (void)state;

    for (int i = 0; i < DNS_NAME_MAX; i++)
        name[i] = i % 2 == 0 ? 'a' : '.';
    name[DNS_NAME_MAX] = '\0';
    assert_int_equal(lookup_record(&l, name, kd_clock_ms() + SOON, NULL, &r),
                     RECORD_BROKEN);
    assert_non_null(strstr(r.why, "too long"));
}

/* --- a type of its own --- */

struct numeric {
    bool present, wrong;
    unsigned rcode;
    bool txt;
};

static size_t
give_numeric(void *arg, const struct hostile_query *q, uint8_t *out, size_t max)
{
    const struct numeric *n = arg;
    bool is = strcmp(q->name, "hostile.example") == 0 && q->type == NUMERIC;
    struct hostile_msg m = hostile_begin(q, is ? n->rcode : 0, out, max);

    if (is && n->present) {
        char rdata[300];

        rdata[0] = (char)strlen(n->wrong ? "pok=x" : OTHER);
        strcpy(rdata + 1, n->wrong ? "pok=x" : OTHER);
        hostile_rr(&m, HOSTILE_ANSWER, NULL, NUMERIC, 60, rdata, strlen(rdata + 1) + 1);
    } else if (q->type == DNS_TXT && n->txt &&
               strcmp(q->name, "_dime.hostile.example") == 0) {
        hostile_txt(&m, NULL, 60, POK);
    } else if (!is || n->rcode == 0) {
        hostile_soa(&m, "hostile.example", 30);
    }
    return m.n;
}

static enum record_state
look_numeric(struct numeric n, struct record *r, unsigned *asked_txt)
{
    struct hostile_dns *h = hostile_dns_start(HOSTILE, give_numeric, &n);
    struct lookup l = {.dns = dns, .numeric_type = NUMERIC};
    enum record_state s;

    s = lookup_record(&l, "hostile.example", kd_clock_ms() + SOON, NULL, r);
    assert_true(hostile_dns_asked(h, "hostile.example", NUMERIC) > 0);
    *asked_txt = hostile_dns_asked(h, NULL, DNS_TXT);
    hostile_dns_stop(h);
    return s;
}

static void
T_MR_45_the_numeric_type_is_used_and_txt_not_asked_for(void **state)
{
    struct record r;
    unsigned txt;
    (void)state;

    assert_int_equal(
        look_numeric((struct numeric){.present = true, .txt = true}, &r, &txt),
        RECORD_PRESENT);
    assert_string_equal(r.owner, "hostile.example");
    assert_memory_equal(r.text, OTHER, r.n_text);
    assert_int_equal(txt, 0);
    record_clear(&r);
}

static void
a_wrong_record_of_the_numeric_type_is_broken(void **state)
{
    struct record r;
    unsigned txt;
    (void)state;

    assert_int_equal(
        look_numeric((struct numeric){.present = true, .wrong = true, .txt = true}, &r,
                     &txt),
        RECORD_BROKEN);
    assert_int_equal(txt, 0);
}

static void
T_MR_46_where_the_numeric_type_fails_txt_is_asked_for(void **state)
{
    static const unsigned rcodes[] = {0, 2, 4, 5};
    struct record r;
    unsigned txt;

    for (size_t i = 0; i < 4; i++) {
        freed(state);
        fresh(state);
        assert_int_equal(
            look_numeric((struct numeric){.rcode = rcodes[i], .txt = true}, &r, &txt),
            RECORD_PRESENT);
        assert_string_equal(r.owner, "_dime.hostile.example");
        assert_true(txt > 0);
        record_clear(&r);
    }
}

static void
no_absence_comes_of_a_numeric_type_that_failed(void **state)
{
    struct record r;
    unsigned txt;

    assert_int_equal(look_numeric((struct numeric){.rcode = 2}, &r, &txt),
                     RECORD_BROKEN);
    freed(state);
    fresh(state);
    assert_int_equal(look_numeric((struct numeric){.rcode = 0}, &r, &txt),
                     RECORD_ABSENT);
    assert_int_equal(r.ttl, 30);
    record_clear(&r);
}

/* --- the walk, over DNS --- */

static enum record_state
look_up(void *arg, const char *name, int64_t deadline, struct record *out)
{
    return lookup_record(arg, name, deadline, NULL, out);
}

static enum record_state
walk(const char *name, struct walk *w)
{
    struct suffixes *s;
    struct name_list names;
    struct lookup l = {.dns = dns};
    enum record_state state;

    assert_int_equal(suffixes_new(NULL, &s), KD_OK);
    assert_int_equal(suffixes_walk(s, name, &names), KD_OK);
    state = walk_run(&names, look_up, &l, kd_clock_ms() + SOON, NULL, w);
    suffixes_free(s);
    return state;
}

static void
a_walk_over_signed_zones(void **state)
{
    struct walk w;
    (void)state;

    assert_int_equal(walk("a.b.walk.example", &w), RECORD_PRESENT);
    assert_string_equal(w.supplied, "walk.example");
    assert_true(w.inherited && w.record.secure);
    walk_clear(&w);
    assert_int_equal(walk("own.walk.example", &w), RECORD_PRESENT);
    assert_string_equal(w.supplied, "own.walk.example");
    assert_false(w.inherited);
    assert_string_equal(w.record.owner, "_dime.own.walk.example");
    walk_clear(&w);
    assert_int_equal(walk("a.explicit.walk.example", &w), RECORD_ABSENT);
    assert_true(w.record.secure);
    walk_clear(&w);
    assert_int_equal(walk("a.broken.walk.example", &w), RECORD_BROKEN);
    assert_string_equal(w.supplied, "broken.walk.example");
    walk_clear(&w);
    assert_int_equal(walk("a.bogus.example", &w), RECORD_BROKEN);
    walk_clear(&w);
    assert_int_equal(walk("example", &w), RECORD_ABSENT);
    walk_clear(&w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, freed)
        TEST(T_MR_44_txt_at_dime),
        TEST(T_MR_45_the_numeric_type_is_used_and_txt_not_asked_for),
        TEST(a_wrong_record_of_the_numeric_type_is_broken),
        TEST(T_MR_46_where_the_numeric_type_fails_txt_is_asked_for),
        TEST(no_absence_comes_of_a_numeric_type_that_failed),
        TEST(T_MR_47_dx_where_dime_is_positively_absent),
        TEST(T_MR_48_a_failure_at_dime_is_broken_and_dx_is_not_used),
        TEST(T_MR_60_neither_is_absent_for_the_shorter_time),
        TEST(T_MR_61_a_bogus_denial_does_not_lead_to_dx),
        TEST(two_candidates_and_typing_errors_are_broken),
        TEST(strings_are_joined_and_aliases_followed),
        TEST(a_name_too_long_for_an_owner_is_broken),
        TEST(a_walk_over_signed_zones),
    };

    suite_begin(argc, argv);
    netns_enter();
    return cmocka_run_group_tests(tests, start, stop);
}
