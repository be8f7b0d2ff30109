/* The walk over records that a test makes up, and the verdict on answers that no server
 * can be made to give. */
#include "rdata.h"
#include "test.h"
#include "walk.h"

#include <stdio.h>
#include <stdlib.h>

#define POK "pok=" TEST_POK
/* of tests/vectors/mrec */
#define TEST_POK "5zyGJDCUMa70B5Z13ystwRu/48GlG9ooQIA8ze/6vAM"

/* --- a world of records --- */

struct one {
    const char *name, *text; /* text NULL: broken; "": absent */
    bool secure;
    uint32_t ttl;
};

struct world {
    const struct one *records;
    size_t n, asked;
    char order[512];
};

static enum record_state
look(void *arg, const char *name, int64_t deadline, struct record *out)
{
    struct world *w = arg;

    (void)deadline;
    w->asked++;
    strcat(strcat(w->order, " "), name);
    memset(out, 0, sizeof(*out));
    out->state = RECORD_ABSENT;
    out->ttl = 60;
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(w->records[i].name, name) != 0)
            continue;
        out->secure = w->records[i].secure;
        if (w->records[i].ttl > 0)
            out->ttl = w->records[i].ttl;
        if (w->records[i].text == NULL) {
            out->state = RECORD_BROKEN;
            strcpy(out->why, "by the test");
            return out->state;
        }
        if (w->records[i].text[0] == '\0')
            return out->state;
        out->n_text = strlen(w->records[i].text);
        out->text = malloc(out->n_text);
        memcpy(out->text, w->records[i].text, out->n_text);
        assert_int_equal(
            dime_mrec_parse(kd_slice(out->text, out->n_text), &out->mrec, NULL), KD_OK);
        out->state = RECORD_PRESENT;
    }
    return out->state;
}

#define R(at, record)                                                                  \
    {                                                                                  \
        .name = (at), .text = (record)                                                 \
    }
#define SECURE(at, record, s)                                                          \
    {                                                                                  \
        .name = (at), .text = (record), .secure = true, .ttl = (s)                     \
    }
#define RECORDS(...)                                                                   \
    const struct one records[] = {__VA_ARGS__};                                        \
    struct world world = {.records = records,                                          \
                          .n = sizeof(records) / sizeof(records[0])};                  \
    struct walk w;                                                                     \
    (void)state

static const struct name_list three = {
    .n = 3, .names = {"example.com", "domain.example.com", "sub.domain.example.com"}};

static enum record_state
run(struct world *world, struct walk *w)
{
    return walk_run(&three, look, world, 0, NULL, w);
}

static void
assert_present(struct world *world, struct walk *w, const char *supplied,
               bool inherited)
{
    assert_int_equal(run(world, w), RECORD_PRESENT);
    assert_int_equal(w->record.state, RECORD_PRESENT);
    assert_string_equal(w->supplied, supplied);
    assert_int_equal(w->inherited, inherited);
    assert_non_null(w->record.text);
    walk_clear(w);
}

static void
assert_absent(struct world *world, struct walk *w)
{
    assert_int_equal(run(world, w), RECORD_ABSENT);
    assert_int_equal(w->record.state, RECORD_ABSENT);
    assert_null(w->record.text);
    assert_int_equal(world->asked, 3);
    walk_clear(w);
}

static void
T_MR_49_a_strict_base_ends_the_walk(void **state)
{
    RECORDS(R("example.com", POK " sub=strict"), R("sub.domain.example.com", POK));
    assert_present(&world, &w, "example.com", true);
    assert_int_equal(world.asked, 1);
}

static void
T_MR_50_from_the_base_to_the_full_name(void **state)
{
    RECORDS(R("sub.domain.example.com", POK));
    assert_present(&world, &w, "sub.domain.example.com", false);
    assert_string_equal(world.order,
                        " example.com domain.example.com sub.domain.example.com");
}

static void
T_MR_52_explicit_does_not_hold_below(void **state)
{
    RECORDS(R("example.com", POK " sub=explicit"));
    assert_absent(&world, &w);
}

static void
T_MR_53_explicit_with_a_record_of_its_own(void **state)
{
    RECORDS(R("example.com", POK " sub=explicit"), R("sub.domain.example.com", POK));
    assert_present(&world, &w, "sub.domain.example.com", false);
}

static void
T_MR_54_mixed_is_inherited(void **state)
{
    RECORDS(SECURE("example.com", POK " sub=mixed pol=strict", 0));
    assert_int_equal(run(&world, &w), RECORD_PRESENT);
    assert_string_equal(w.supplied, "example.com");
    assert_true(w.inherited && w.record.secure);
    assert_int_equal(w.record.mrec.policy, DIME_POLICY_STRICT);
    walk_clear(&w);
}

static void
T_MR_55_a_record_of_its_own_wins_over_mixed(void **state)
{
    RECORDS(R("example.com", POK " sub=mixed"),
            R("sub.domain.example.com", POK " exp=7"));
    assert_int_equal(run(&world, &w), RECORD_PRESENT);
    assert_string_equal(w.supplied, "sub.domain.example.com");
    assert_int_equal(w.record.mrec.expiry_days, 7);
    walk_clear(&w);
}

static void
T_MR_56_strict_in_the_middle(void **state)
{
    RECORDS(R("example.com", POK " sub=mixed"),
            R("domain.example.com", POK " sub=strict"),
            R("sub.domain.example.com", POK));
    assert_present(&world, &w, "domain.example.com", true);
    assert_int_equal(world.asked, 2);
}

static void
T_MR_57_gaps_do_not_end_the_walk(void **state)
{
    RECORDS(R("sub.domain.example.com", POK " sub=explicit"));
    assert_present(&world, &w, "sub.domain.example.com", false);
}

static void
T_MR_58_the_nearest_ancestor_decides(void **state)
{
    RECORDS(R("example.com", POK " sub=mixed"),
            R("domain.example.com", POK " sub=explicit"));
    assert_absent(&world, &w);
}

static void
the_nearest_ancestor_decides_the_other_way_round(void **state)
{
    RECORDS(R("example.com", POK " sub=explicit"),
            R("domain.example.com", POK " sub=mixed"));
    assert_present(&world, &w, "domain.example.com", true);
}

static void
T_MR_59_without_sub_it_is_inherited(void **state)
{
    RECORDS(R("example.com", POK));
    assert_present(&world, &w, "example.com", true);
}

static void
T_MR_60_nothing_anywhere_is_absent(void **state)
{
    RECORDS(SECURE("example.com", "", 300), SECURE("domain.example.com", "", 30),
            SECURE("sub.domain.example.com", "", 100000));
    assert_int_equal(run(&world, &w), RECORD_ABSENT);
    assert_true(w.record.secure);
    assert_int_equal(w.record.ttl, 30);
    walk_clear(&w);
    world.n = 2;
    assert_int_equal(run(&world, &w), RECORD_ABSENT);
    assert_false(w.record.secure);
    walk_clear(&w);
}

static void
a_broken_record_on_the_way_breaks_it_all(void **state)
{
    static const char *const broken[] = {"example.com", "domain.example.com",
                                         "sub.domain.example.com"};

    for (size_t i = 0; i < 3; i++) {
        RECORDS(R(broken[i], NULL), R(broken[(i + 1) % 3], POK),
                R(broken[(i + 2) % 3], POK));
        assert_int_equal(run(&world, &w), RECORD_BROKEN);
        assert_string_equal(w.supplied, broken[i]);
        assert_string_equal(w.record.why, "by the test");
        assert_int_equal(world.asked, i + 1);
        walk_clear(&w);
    }
}

static void
below_strict_nothing_can_break_it(void **state)
{
    RECORDS(R("example.com", POK " sub=strict"), R("domain.example.com", NULL));
    assert_present(&world, &w, "example.com", true);
}

static void
a_suffix_is_absent_and_not_asked_for(void **state)
{
    static const struct name_list none = {0};
    RECORDS(R("example.com", POK));

    assert_int_equal(walk_run(&none, look, &world, 0, NULL, &w), RECORD_ABSENT);
    assert_int_equal(world.asked, 0);
    assert_false(w.record.secure);
    walk_clear(&w);
}

/* --- answers --- */

static int no_lens[DNS_RECORDS_MAX + 2];

static void
judge(struct dns_raw raw, struct dns_answer *a)
{
    raw.qname = "a.example";
    if (raw.len == NULL)
        raw.len = no_lens;
    dns_judge(&raw, a);
}

static void
answers_are_judged_by_the_worst_that_is_said(void **state)
{
    char *data[DNS_RECORDS_MAX + 2] = {NULL};
    int lens[DNS_RECORDS_MAX + 2] = {0};
    struct dns_answer a;
    (void)state;

    data[0] = (char[]){"x"};
    /* bogus, whatever else */
    judge(
        (struct dns_raw){.bogus = true, .secure = true, .havedata = true, .data = data},
        &a);
    assert_int_equal(a.broken, DNS_BOGUS);
    assert_false(a.secure);
    judge((struct dns_raw){.bogus = true, .nxdomain = true, .rcode = 3}, &a);
    assert_int_equal(a.status, DNS_BROKEN);
    /* no code but those two is an absence */
    for (int rcode = 0; rcode < 32; rcode++) {
        judge((struct dns_raw){.rcode = rcode, .secure = true}, &a);
        assert_int_equal(a.status, rcode == 0   ? DNS_NODATA
                                   : rcode == 3 ? DNS_NXDOMAIN
                                                : DNS_BROKEN);
    }
    judge((struct dns_raw){.rcode = 2, .nxdomain = true}, &a);
    assert_int_equal(a.status, DNS_BROKEN);
    /* data that is not there */
    judge((struct dns_raw){.havedata = true}, &a);
    assert_int_equal(a.status, DNS_BROKEN);
    lens[0] = -1;
    judge((struct dns_raw){.havedata = true, .data = data, .len = lens}, &a);
    assert_int_equal(a.broken, DNS_TOO_LARGE);
    lens[0] = DNS_ANSWER_MAX + 1;
    judge((struct dns_raw){.havedata = true, .data = data, .len = lens}, &a);
    assert_int_equal(a.broken, DNS_TOO_LARGE);
    for (int i = 0; i <= DNS_RECORDS_MAX; i++) {
        data[i] = data[0];
        lens[i] = 1;
    }
    judge((struct dns_raw){.havedata = true, .data = data, .len = lens}, &a);
    assert_int_equal(a.broken, DNS_TOO_LARGE);
    data[DNS_RECORDS_MAX] = NULL;
    judge((struct dns_raw){.havedata = true, .data = data, .len = lens, .ttl = -5}, &a);
    assert_int_equal(a.status, DNS_FOUND);
    assert_int_equal(a.n, DNS_RECORDS_MAX);
    assert_int_equal(a.ttl, 0);
    dns_answer_clear(&a);
}

static void
canonical_names_are_compared_without_case_and_dot(void **state)
{
    static const struct {
        const char *canon, *want;
        bool alias;
    } cases[] = {{NULL, "a.example", false},
                 {"A.Example.", "a.example", false},
                 {"a.example", "a.example", false},
                 {"b.example.", "b.example", true},
                 {"a.exampl", "a.exampl", true},
                 {"a.example.b.", "a.example.b", true},
                 {".", ".", true},
                 {"", "", true}};
    struct dns_answer a;
    char longest[400];
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        judge((struct dns_raw){.canonname = cases[i].canon}, &a);
        assert_int_equal(a.alias, cases[i].alias);
        assert_string_equal(a.canonical, cases[i].want);
    }
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    judge((struct dns_raw){.canonname = longest}, &a);
    assert_true(a.alias);
    assert_string_equal(a.canonical, "");
}

/* --- data --- */

static void
strings_are_joined_without_anything_between(void **state)
{
    uint8_t out[64];
    size_t n = 99;
    (void)state;

    assert_int_equal(rdata_txt(kd_slice("\3pok\0\2=x\1y", 10), out, &n), KD_OK);
    assert_int_equal(n, 6);
    assert_memory_equal(out, "pok=xy", 6);
    assert_int_equal(rdata_txt(kd_slice("\0", 1), out, &n), KD_OK);
    assert_int_equal(n, 0);
    assert_int_equal(rdata_txt(kd_slice("", 0), out, &n), KD_MALFORMED);
    assert_int_equal(rdata_txt(kd_slice("\4pok", 4), out, &n), KD_MALFORMED);
    assert_int_equal(rdata_txt(kd_slice("\3pok\1", 5), out, &n), KD_MALFORMED);
}

static kd_err
mx(const char *wire, size_t n, char host[DNS_NAME_MAX + 1])
{
    uint16_t preference = 0;
    kd_err err = rdata_mx(kd_slice(wire, n), &preference, host);

    if (err == KD_OK)
        assert_int_equal(preference, 10);
    return err;
}
#define MX(s) mx("\0\12" s, sizeof("\0\12" s) - 1, host)

static void
mail_hosts_are_whole_names_of_plain_letters(void **state)
{
    char host[DNS_NAME_MAX + 1], wire[300] = {0, 10};
    size_t n = 2;
    (void)state;

    assert_int_equal(MX("\2MX\1a\0"), KD_OK);
    assert_string_equal(host, "mx.a");
    assert_int_equal(MX("\0"), KD_OK);
    assert_string_equal(host, "");
    assert_int_equal(MX(""), KD_MALFORMED);
    assert_int_equal(MX("\2mx"), KD_MALFORMED);
    assert_int_equal(MX("\2mx\0\0"), KD_MALFORMED);
    assert_int_equal(MX("\5mx\0"), KD_MALFORMED);
    assert_int_equal(MX("\2m.\0"), KD_MALFORMED);
    assert_int_equal(MX("\2m\0\0"), KD_MALFORMED);
    assert_int_equal(MX("\2m \0"), KD_MALFORMED);
    assert_int_equal(MX("\300\14"), KD_MALFORMED); /* a pointer */
    assert_int_equal(
        MX("\100aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0"),
        KD_MALFORMED);
    for (int i = 0; i < 127; i++) {
        wire[n++] = 1;
        wire[n++] = 'a';
    }
    assert_int_equal(mx(wire, n + 1, host), KD_OK);
    assert_int_equal(strlen(host), DNS_NAME_MAX);
    wire[n++] = 1;
    wire[n++] = 'a';
    assert_int_equal(mx(wire, n + 1, host), KD_MALFORMED);
}

/* --- records out of answers --- */

static struct kd_slice
txt(const char *text)
{
    static uint8_t rdata[4][300];
    static unsigned turn;
    uint8_t *p = rdata[turn++ % 4];

    p[0] = (uint8_t)strlen(text);
    memcpy(p + 1, text, p[0]);
    return kd_slice(p, p[0] + 1u);
}

static enum record_state
judge_two(const char *one, const char *two, struct record *r)
{
    struct dns_answer a = {.status = DNS_FOUND, .secure = true, .ttl = 100000, .n = 2};

    a.rdata[0] = txt(one);
    a.rdata[1] = txt(two);
    return lookup_judge(&a, r);
}

static void
one_candidate_is_the_record_two_are_broken(void **state)
{
    struct record r;
    (void)state;

    assert_int_equal(judge_two("v=spf1 -all", POK, &r), RECORD_PRESENT);
    assert_true(r.secure);
    assert_int_equal(r.ttl, 100000);
    assert_int_equal(r.n_text, strlen(POK));
    assert_memory_equal(r.text, POK, r.n_text);
    record_clear(&r);
    assert_int_equal(judge_two(POK, "some words", &r), RECORD_PRESENT);
    record_clear(&r);
    assert_int_equal(judge_two(POK, POK, &r), RECORD_BROKEN);
    assert_null(r.text);
    assert_int_equal(judge_two(POK, "pol=strict", &r), RECORD_BROKEN);
    assert_int_equal(judge_two("v=spf1 -all", "pok=short", &r), RECORD_BROKEN);
    assert_int_equal(judge_two("v=spf1 -all", "pok = " TEST_POK, &r), RECORD_BROKEN);
    assert_true(r.why[0] != '\0');
    assert_int_equal(judge_two("v=spf1 -all", "words", &r), RECORD_ABSENT);
    assert_int_equal(r.ttl, RECORD_ABSENT_MAX_S);
    assert_true(r.secure);
}

static void
data_that_does_not_parse_is_broken(void **state)
{
    struct dns_answer a = {.status = DNS_FOUND, .n = 2};
    struct record r;
    (void)state;

    a.rdata[0] = txt(POK);
    a.rdata[1] = kd_slice("\7pok", 4);
    assert_int_equal(lookup_judge(&a, &r), RECORD_BROKEN);
    assert_null(r.text);
    a.rdata[1] = kd_slice(NULL, 0);
    assert_int_equal(lookup_judge(&a, &r), RECORD_BROKEN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_MR_49_a_strict_base_ends_the_walk),
        cmocka_unit_test(T_MR_50_from_the_base_to_the_full_name),
        cmocka_unit_test(T_MR_52_explicit_does_not_hold_below),
        cmocka_unit_test(T_MR_53_explicit_with_a_record_of_its_own),
        cmocka_unit_test(T_MR_54_mixed_is_inherited),
        cmocka_unit_test(T_MR_55_a_record_of_its_own_wins_over_mixed),
        cmocka_unit_test(T_MR_56_strict_in_the_middle),
        cmocka_unit_test(T_MR_57_gaps_do_not_end_the_walk),
        cmocka_unit_test(T_MR_58_the_nearest_ancestor_decides),
        cmocka_unit_test(the_nearest_ancestor_decides_the_other_way_round),
        cmocka_unit_test(T_MR_59_without_sub_it_is_inherited),
        cmocka_unit_test(T_MR_60_nothing_anywhere_is_absent),
        cmocka_unit_test(a_broken_record_on_the_way_breaks_it_all),
        cmocka_unit_test(below_strict_nothing_can_break_it),
        cmocka_unit_test(a_suffix_is_absent_and_not_asked_for),
        cmocka_unit_test(answers_are_judged_by_the_worst_that_is_said),
        cmocka_unit_test(canonical_names_are_compared_without_case_and_dot),
        cmocka_unit_test(strings_are_joined_without_anything_between),
        cmocka_unit_test(mail_hosts_are_whole_names_of_plain_letters),
        cmocka_unit_test(one_candidate_is_the_record_two_are_broken),
        cmocka_unit_test(data_that_does_not_parse_is_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
