/* Quotas: their lines, and the table that counts them. */
#include <keyd/conf/quota_table.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants setjmp, stdarg, stddef and stdint first */
#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static struct kd_slice
str(const char *s)
{
    return kd_slice_str(s);
}

/* --- lines ---------------------------------------------------------------------- */

static void
lines_are_read_as_they_are_written(void **state)
{
    static const struct {
        const char *line;
        struct kd_quota want;
        const char *text; /* NULL: as the line */
    } good[] = {
        {"IssueUserSignet 5/s burst 50 in-flight 16",
         {KD_OP_IssueUserSignet, {5, 1, 50}, 16, 0},
         NULL},
        {"LookupSignet 2000/s",
         {KD_OP_LookupSignet, {2000, 1, 2000}, 0, 0},
         "LookupSignet 2000/s burst 2000"},
        {"* 500/s burst 1000", {KD_OP_NONE, {500, 1, 1000}, 0, 0}, NULL},
        {"* 30/min", {KD_OP_NONE, {30, 60, 1}, 0, 0}, "* 30/min burst 1"},
        {"Status 7200/hour",
         {KD_OP_Status, {7200, 3600, 2}, 0, 0},
         "Status 7200/hour burst 2"},
        {"Seal 1/hour in-flight 1",
         {KD_OP_Seal, {1, 3600, 1}, 1, 0},
         "Seal 1/hour burst 1 in-flight 1"},
        {"* in-flight 65535", {KD_OP_NONE, {0, 0, 0}, 65535, 0}, NULL},
        {"* 1000000/s burst 1000000", {KD_OP_NONE, {1000000, 1, 1000000}, 0, 0}, NULL},
    };
    char text[KD_QUOTA_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct kd_quota got = {0}, again = {0};
        const char *why = "", *want = good[i].text;
        assert_int_equal(kd_quota_parse(str(good[i].line), &got, &why), KD_OK);
        assert_memory_equal(&got, &good[i].want, sizeof got);
        assert_true(kd_quota_is_valid(&got));
        kd_quota_text(&got, text);
        assert_string_equal(text, want == NULL ? good[i].line : want);
        assert_int_equal(kd_quota_parse(str(text), &again, &why), KD_OK);
        assert_memory_equal(&again, &got, sizeof got);
    }
}

static void
other_lines_are_refused_with_a_reason(void **state)
{
    static const char *const bad[][2] = {
        {"", "at most 96"},
        {" ", "at its end"},
        {"LookupSignet", "neither a rate"},
        {"LookupSignet ", "at its end"},
        {" LookupSignet 5/s", "starts with an operation"},
        {"lookupsignet 5/s", "starts with an operation"},
        {"Hello 5/s", "Hello is not counted"},
        {"** 5/s", "starts with an operation"},
        {"* 0/s", "a rate is"},
        {"* 05/s", "a rate is"},
        {"* 5", "a rate is"},
        {"* 5/", "a rate is"},
        {"* 5/d", "a rate is"},
        {"* 5/second", "a rate is"},
        {"* 1000001/s", "a rate is"},
        {"* 99999999999999999999/s", "a rate is"},
        {"* -5/s", "in this order"},
        {"* 5 /s", "a rate is"},
        {"*  5/s", "in this order"},
        {"* 5/s  burst 3", "in this order"},
        {"* 5/s burst", "a burst is"},
        {"* 5/s burst 0", "a burst is"},
        {"* 5/s burst 1000001", "a burst is"},
        {"* 5/s burst 3 burst 4", "in this order"},
        {"* burst 3", "in this order"},
        {"* in-flight", "in-flight is"},
        {"* in-flight 0", "in-flight is"},
        {"* in-flight 65536", "in-flight is"},
        {"* in-flight 3 5/s", "in this order"},
        {"* 5/s in-flight 3 burst 4", "in this order"},
        {"* 5/s in-flight 3 4", "in this order"},
        {"* 5/s x", "in this order"},
        {"* 5/s 6/s", "in this order"},
        {"LookupSignet VerifyCurrent 5/s", "in this order"}};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kd_quota q = {0};
        const char *why = "";
        if (kd_quota_parse(str(bad[i][0]), &q, &why) != KD_INVALID ||
            strstr(why, bad[i][1]) == NULL)
            fail_msg("\"%s\": %s", bad[i][0], why);
        assert_int_equal(q.rate.n, 0);
    }
}

/* --- the table ------------------------------------------------------------------ */

enum { ALICE = 2001, BOB = 2002 };

static struct kd_quota
line(const char *text)
{
    struct kd_quota q;
    const char *why;

    assert_int_equal(kd_quota_parse(str(text), &q, &why), KD_OK);
    return q;
}

/* Two of class mta for example.com: alice's own lines, and the domain's. */
static struct kd_policy *
policy_with(const char *alice_one, const char *alice_two, const char *domain_one)
{
    static const uint16_t both[] = {0, 1};
    const struct kd_slice domains[] = {str("example.com"), str("example.net")};
    struct kd_quota quotas[3];
    struct kd_policy_domain_entry with[2] = {{0}};
    struct kd_policy_entry entries[2];
    struct kd_policy *p = NULL;
    size_t n = 0;

    for (unsigned i = 0; i < 2; i++)
        entries[i] = (struct kd_policy_entry){.name = str(i == 0 ? "alice" : "bob"),
                                              .klass = KD_CLASS_MTA,
                                              .uid = i == 0 ? ALICE : BOB,
                                              .ops = kd_ops_of_class(KD_CLASS_MTA, 0),
                                              .domains = both,
                                              .n_domains = 2};
    if (alice_one != NULL)
        quotas[n++] = line(alice_one);
    if (alice_two != NULL)
        quotas[n++] = line(alice_two);
    entries[0].quotas = quotas;
    entries[0].n_quotas = n;
    if (domain_one != NULL) {
        quotas[2] = line(domain_one);
        with[0] = (struct kd_policy_domain_entry){&quotas[2], 1, 7};
    }
    assert_int_equal(kd_policy_build(domains, 2, with, entries, 2, &p), KD_OK);
    return p;
}

static struct kd_quota_table table;
static struct kd_quota_map map;
static uint32_t serial;
static struct kd_quota_held held[4096];

static int
make_table(void **state)
{
    (void)state;
    memset(held, 0, sizeof held);
    kd_quota_map_clear(&map);
    serial = 0;
    return kd_quota_private(&table) == KD_OK ? 0 : -1;
}

/* A policy comes into force; is_start: in a new process. */
static void
claim(const struct kd_policy *p, bool is_start)
{
    struct kd_quota_map now;

    assert_int_equal(kd_quota_claim(&table, p, ++serial, is_start ? NULL : &map, &now),
                     KD_OK);
    kd_quota_map_clear(&map);
    map = now;
}

static bool
is_at_rest(const struct kd_policy *p)
{
    static const struct kd_quota any = {KD_OP_NONE, {1, 1, 1}, 1, 0};
    uint32_t n = 0;

    for (size_t i = 0; i < kd_policy_n_quotas(p, false); i++)
        n += kd_quota_level(&table.rows->cells[map.of_lines[i]], &any, 0).in_flight;
    for (size_t i = 0; i < kd_policy_n_quotas(p, true); i++)
        n +=
            kd_quota_level(&table.domains->cells[map.of_domains[i]], &any, 0).in_flight;
    return n == 0;
}

static kd_err
take_as(const struct kd_policy *p, uint32_t uid, unsigned op, const char *domain,
        int64_t now, struct kd_quota_held *h, uint32_t *wait)
{
    const struct kd_caller caller = kd_caller_local(KD_CLASS_MTA, uid);

    struct kd_quota_match match;

    assert_int_equal(kd_policy_decide(p, &caller, op, str(domain), &match), KD_OK);
    return kd_quota_take(&table, &map, &match, now, h, wait);
}

static unsigned
take_all(const struct kd_policy *p, uint32_t uid, unsigned op, const char *domain,
         int64_t now)
{
    struct kd_quota_held h;
    uint32_t wait;
    unsigned n = 0;

    while (n < 100000 && take_as(p, uid, op, domain, now, &h, &wait) == KD_OK) {
        kd_quota_give(&table, &h);
        n++;
    }
    return n;
}

static void
who_has_no_line_has_no_quota(void **state)
{
    struct kd_policy *p = policy_with("LookupSignet 5/s burst 3", NULL, NULL);

    (void)state;
    claim(p, true);
    assert_int_equal(take_all(p, BOB, KD_OP_LookupSignet, "example.com", SECOND),
                     100000);
    assert_int_equal(take_all(p, ALICE, KD_OP_VerifyCurrent, "example.com", SECOND),
                     100000);
    assert_int_equal(take_all(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND), 3);
    kd_policy_free(p);
}

static void
every_line_that_matches_counts(void **state)
{
    struct kd_policy *p =
        policy_with("LookupSignet 10/s burst 30", "* 10/s burst 50", "* 10/s burst 60");
    uint32_t wait = 0;
    struct kd_quota_held h;

    (void)state;
    claim(p, true);
    assert_int_equal(take_all(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND), 30);
    /* the line of all has 20 left, whatever the domain */
    assert_int_equal(take_all(p, ALICE, KD_OP_VerifyCurrent, "example.net", SECOND),
                     20);
    /* the domain's has 30 left, for others too */
    assert_int_equal(take_all(p, BOB, KD_OP_LookupSignet, "example.com", SECOND), 30);
    assert_int_equal(take_all(p, BOB, KD_OP_LookupSignet, "example.net", SECOND),
                     100000);
    /* what is about no domain takes nothing of one */
    assert_int_equal(take_all(p, BOB, KD_OP_Status, "example.com", SECOND), 100000);
    assert_int_equal(
        take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND, &h, &wait),
        KD_BUSY);
    assert_int_equal(wait, 101); /* the next tenth of a second, rounded up */
    kd_policy_free(p);
}

static void
a_refusal_takes_nothing_from_the_other_lines(void **state)
{
    struct kd_policy *p = policy_with("LookupSignet 1/hour burst 1",
                                      "* 100/s burst 100", "* 9/s burst 90");
    struct kd_quota_held h;
    uint32_t wait;

    (void)state;
    claim(p, true);
    assert_int_equal(take_all(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND), 1);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(
            take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND, &h, &wait),
            KD_BUSY);
    assert_int_equal(take_all(p, ALICE, KD_OP_VerifyCurrent, "example.net", SECOND),
                     99);
    assert_int_equal(take_all(p, BOB, KD_OP_VerifyCurrent, "example.com", SECOND), 89);
    kd_policy_free(p);
}

static void
the_wait_told_is_the_longest_and_true(void **state)
{
    struct kd_policy *p =
        policy_with("LookupSignet 4/s burst 1", "* 100/s burst 1", "* 1/s burst 1");
    struct kd_quota_held h;
    uint32_t wait = 0;

    (void)state;
    claim(p, true);
    assert_int_equal(
        take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND, &h, &wait), KD_OK);
    assert_int_equal(
        take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND, &h, &wait),
        KD_BUSY);
    assert_true(wait >= 1000 && wait <= 1002);
    int64_t then = SECOND + wait * (SECOND / 1000);
    uint32_t other;
    assert_int_equal(take_as(p, ALICE, KD_OP_LookupSignet, "example.com",
                             then - SECOND / 200, &h, &other),
                     KD_BUSY);
    assert_int_equal(
        take_as(p, ALICE, KD_OP_LookupSignet, "example.com", then, &h, &other), KD_OK);
    kd_policy_free(p);
}

static void
what_is_in_flight_is_bounded_and_given_back(void **state)
{
    struct kd_policy *p = policy_with(
        "LookupSignet in-flight 5", "* 1000/s burst 900 in-flight 7", "* in-flight 9");
    struct kd_quota_held extra;
    uint32_t wait = 1;

    (void)state;
    claim(p, true);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND,
                                 &held[i], &wait),
                         KD_OK);
    assert_int_equal(
        take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND, &extra, &wait),
        KD_BUSY);
    assert_int_equal(wait, 0); /* nobody knows */
    assert_int_equal(extra.n, 0);
    for (unsigned i = 5; i < 7; i++)
        assert_int_equal(take_as(p, ALICE, KD_OP_VerifyCurrent, "example.com", SECOND,
                                 &held[i], &wait),
                         KD_OK);
    assert_int_equal(
        take_as(p, ALICE, KD_OP_VerifyCurrent, "example.com", SECOND, &extra, &wait),
        KD_BUSY);
    for (unsigned i = 7; i < 9; i++)
        assert_int_equal(take_as(p, BOB, KD_OP_VerifyCurrent, "example.com", SECOND,
                                 &held[i], &wait),
                         KD_OK);
    assert_int_equal(
        take_as(p, BOB, KD_OP_VerifyCurrent, "example.com", SECOND, &extra, &wait),
        KD_BUSY);
    assert_false(is_at_rest(p));
    kd_quota_give(&table, &held[0]);
    kd_quota_give(&table, &held[0]); /* once */
    assert_int_equal(
        take_as(p, BOB, KD_OP_VerifyCurrent, "example.com", SECOND, &extra, &wait),
        KD_OK);
    kd_quota_give(&table, &extra);
    for (unsigned i = 1; i < 9; i++)
        kd_quota_give(&table, &held[i]);
    assert_true(is_at_rest(p));
    kd_policy_free(p);
}

static void
refusals_are_counted_by_line_and_by_row(void **state)
{
    struct kd_policy *p = policy_with("LookupSignet 1/s", NULL, NULL);
    struct kd_quota_held h;
    uint32_t wait;

    (void)state;
    claim(p, true);
    take_all(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND);
    for (unsigned i = 0; i < 6; i++)
        kd_ignore(
            take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND, &h, &wait));
    assert_int_equal(table.rows->cells[map.of_rows[0]].refused, 7);
    assert_int_equal(table.rows->cells[map.of_rows[1]].refused, 0);
    struct kd_quota_level level = kd_quota_level(&table.rows->cells[map.of_lines[0]],
                                                 kd_policy_quota(p, false, 0), SECOND);
    assert_int_equal(level.refused, 7);
    assert_int_equal(level.left, 0);
    kd_policy_free(p);
}

/* Only what a new policy leaves as it was goes on. */
static void
a_line_that_says_something_else_starts_anew(void **state)
{
    struct kd_policy *p = policy_with("LookupSignet 1/hour burst 5", NULL, NULL);
    struct kd_policy *same = policy_with("LookupSignet 1/hour burst 5", NULL, NULL);
    struct kd_policy *other = policy_with("LookupSignet 1/hour burst 6", NULL, NULL);

    (void)state;
    claim(p, true);
    assert_int_equal(take_all(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND), 5);
    claim(same, false);
    assert_int_equal(take_all(same, ALICE, KD_OP_LookupSignet, "example.com", SECOND),
                     0);
    claim(other, false);
    assert_int_equal(take_all(other, ALICE, KD_OP_LookupSignet, "example.com", SECOND),
                     6);
    kd_policy_free(p);
    kd_policy_free(same);
    kd_policy_free(other);
}

/* A reload that moves a line, or adds others, gives nobody a new burst. */
static void
a_line_keeps_its_count_wherever_it_stands(void **state)
{
    struct kd_policy *p = policy_with("VerifyCurrent 1/hour burst 5", NULL, NULL);
    struct kd_policy *moved =
        policy_with("LookupSignet 1/s", "VerifyCurrent 1/hour burst 5", "* 100/s");
    uint32_t wait;

    (void)state;
    claim(p, true);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(take_as(p, ALICE, KD_OP_VerifyCurrent, "example.com", SECOND,
                                 &held[i], &wait),
                         KD_OK);
    claim(moved, false);
    assert_int_equal(take_all(moved, ALICE, KD_OP_VerifyCurrent, "example.net", SECOND),
                     2);
    claim(p, false);
    assert_int_equal(take_all(p, ALICE, KD_OP_VerifyCurrent, "example.com", SECOND), 0);
    kd_policy_free(p);
    kd_policy_free(moved);
}

/* One line that is another each time, for longer than there are cells. */
static void
cells_of_old_lines_are_used_again(void **state)
{
    struct kd_policy *stays = policy_with("* 1/hour burst 7", NULL, NULL);
    char text[64];

    (void)state;
    claim(stays, true);
    assert_int_equal(take_all(stays, ALICE, KD_OP_Status, "", SECOND), 7);
    for (unsigned i = 1; i < KD_QUOTA_CELLS + 1000; i++) {
        snprintf(text, sizeof text, "LookupSignet %u/s burst 2", i);
        struct kd_policy *p = policy_with(text, "* 1/hour burst 7", NULL);
        claim(p, false);
        if (i % 500 == 0 || i > KD_QUOTA_CELLS + 990) {
            uint64_t mark = kd_quota_mark_line(p, false, 1);
            assert_int_equal(take_all(p, ALICE, KD_OP_Status, "", SECOND), 0);
            assert_ptr_equal(kd_quota_find(table.rows, mark),
                             &table.rows->cells[map.of_lines[1]]);
            assert_true(map.of_lines[0] != map.of_lines[1]);
        }
        kd_policy_free(p);
    }
    kd_policy_free(stays);
}

static void
marks_differ_by_owner_and_by_what_is_said(void **state)
{
    struct kd_policy *p[] = {policy_with("* 5/s", NULL, NULL),
                             policy_with("* 6/s", NULL, NULL),
                             policy_with("* 5/s burst 6", NULL, NULL),
                             policy_with("* 5/s in-flight 1", NULL, NULL),
                             policy_with("Status 5/s", NULL, NULL),
                             policy_with("* 5/min", NULL, "* 5/s")};
    enum { N = sizeof p / sizeof *p };

    (void)state;
    for (unsigned i = 0; i < N; i++)
        for (unsigned k = 0; k < i; k++)
            assert_true(kd_quota_mark_line(p[i], false, 0) !=
                        kd_quota_mark_line(p[k], false, 0));
    assert_true(kd_quota_mark_line(p[5], true, 0) !=
                kd_quota_mark_line(p[0], false, 0));
    assert_true(kd_quota_mark_row(p[0], 0) != kd_quota_mark_row(p[0], 1));
    assert_true(kd_quota_mark_row(p[0], 0) == kd_quota_mark_row(p[1], 0));
    for (unsigned i = 0; i < N; i++)
        kd_policy_free(p[i]);
}

static void
what_a_process_left_in_flight_is_forgotten_by_the_next_in_its_slot(void **state)
{
    struct kd_policy *p = policy_with("LookupSignet in-flight 2", NULL, NULL);
    struct kd_quota_table other = table;
    struct kd_quota_map others;
    uint32_t wait;

    (void)state;
    claim(p, true);
    other.slot = 3;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND,
                                 &held[i], &wait),
                         KD_OK);
    /* another gate starts: nothing changes */
    assert_int_equal(kd_quota_claim(&other, p, 0, NULL, &others), KD_OK);
    kd_quota_map_clear(&others);
    assert_int_equal(
        take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND, &held[2], &wait),
        KD_BUSY);
    claim(p, true); /* ours was ended and started again */
    assert_true(is_at_rest(p));
    assert_int_equal(take_all(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND),
                     100000);
    /* what would be given back by nobody's request does no harm */
    kd_quota_give(&table, &held[0]);
    assert_true(is_at_rest(p));
    kd_policy_free(p);
}

/* Processes as the gates are: together they take what one may take. */
static void
processes_that_share_the_memory_share_the_quota(void **state)
{
    enum { PROCESSES = 4 };
    struct kd_policy *p =
        policy_with("LookupSignet 1/hour burst 50000", NULL, "* in-flight 3");
    const struct kd_quota_shared *all;
    int fds[2], status;
    pid_t pid[PROCESSES];

    (void)state;
    assert_int_equal(kd_quota_shared_make(&fds[0], &fds[1]), KD_OK);
    for (unsigned i = 0; i < PROCESSES; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] != 0)
            continue;
        if (kd_quota_shared_map(fds[0], fds[1], KD_CLASS_MTA, i, &table, &all) != KD_OK)
            _exit(1);
        claim(p, true);
        struct kd_quota_held h;
        uint32_t wait;
        for (unsigned k = 0; k < 100000; k++) {
            kd_ignore(take_as(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND, &h,
                              &wait));
            kd_quota_give(&table, &h);
        }
        kd_policy_free(p);
        kd_quota_map_clear(&map);
        _exit(0);
    }
    for (unsigned i = 0; i < PROCESSES; i++)
        assert_true(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
    assert_int_equal(kd_quota_shared_map(fds[0], fds[1], KD_CLASS_MTA, 9, &table, &all),
                     KD_OK);
    claim(p, true);
    const struct kd_quota_cell *own =
        kd_quota_find(&all->classes[KD_CLASS_MTA], kd_quota_mark_line(p, false, 0));
    const struct kd_quota_cell *shared =
        kd_quota_find(&all->domains, kd_quota_mark_line(p, true, 0));
    assert_non_null(own);
    assert_non_null(shared);
    unsigned left = kd_quota_level(own, kd_policy_quota(p, false, 0), SECOND).left;
    /* all of it was taken but for what was refused for the sake of the three in flight
     */
    assert_true(left == 0 || shared->refused != 0);
    assert_int_equal(take_all(p, ALICE, KD_OP_LookupSignet, "example.com", SECOND),
                     left);
    assert_int_equal(
        kd_quota_level(shared, kd_policy_quota(p, true, 0), SECOND).in_flight, 0);
    close(fds[0]);
    close(fds[1]);
    kd_policy_free(p);
}

static void
the_memory_can_be_neither_shrunk_nor_written_by_who_may_only_read(void **state)
{
    const struct kd_quota_shared *all;
    int fds[2];

    (void)state;
    assert_int_equal(kd_quota_shared_make(&fds[0], &fds[1]), KD_OK);
    assert_int_equal(ftruncate(fds[0], 0), -1);
    assert_int_equal(ftruncate(fds[0], 1 << 30), -1);
    assert_int_equal(write(fds[1], "x", 1), -1);
    assert_int_equal(
        kd_quota_shared_map(fds[0], fds[1], KD_CLASS_ADMIN, 0, &table, &all), KD_OK);
    table.rows->cells[5].refused = 42;
    table.domains->cells[6].refused = 43;
    assert_int_equal(all->classes[KD_CLASS_ADMIN].cells[5].refused, 42);
    assert_int_equal(all->domains.cells[6].refused, 43);
    assert_int_equal(all->classes[KD_CLASS_MTA].cells[5].refused, 0);
    close(fds[0]);
    close(fds[1]);
    /* without descriptors it is memory of our own */
    assert_int_equal(kd_quota_shared_map(-1, -1, KD_CLASS_MTA, 0, &table, &all), KD_OK);
    table.rows->cells[5].refused = 44;
}

/* Random takes, gives, refusals and new policies; what was held is given back. */
static void
all_that_was_taken_is_given_back_in_the_end(void **state)
{
    struct kd_policy *p[2] = {policy_with("LookupSignet 700/s burst 90 in-flight 60",
                                          "* in-flight 100",
                                          "* 9000/s burst 400 in-flight 80"),
                              policy_with("VerifyCurrent 5/s in-flight 2", NULL,
                                          "LookupHistory in-flight 3")};
    static const unsigned ops[] = {KD_OP_LookupSignet, KD_OP_VerifyCurrent,
                                   KD_OP_LookupHistory, KD_OP_Status};
    uint64_t x = 2463534242;
    uint32_t wait;
    size_t n_ok = 0, n_busy = 0;

    (void)state;
    claim(p[0], true);
    for (unsigned i = 0; i < 300000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        struct kd_quota_held *h = &held[x % 128];
        const struct kd_policy *now = p[i / 50000 % 2];
        if (i % 50000 == 0)
            claim(now, i == 0);
        kd_quota_give(&table, h);
        kd_err err = take_as(now, x >> 20 & 1 ? ALICE : BOB, ops[x >> 24 & 3],
                             x >> 28 & 1 ? "example.com" : "example.net",
                             SECOND + i * INT64_C(200000), h, &wait);
        n_ok += err == KD_OK;
        n_busy += err == KD_BUSY;
        assert_true(err == KD_OK || h->n == 0);
    }
    assert_true(n_ok > 10000 && n_busy > 10000);
    for (unsigned i = 0; i < 128; i++)
        kd_quota_give(&table, &held[i]);
    for (unsigned i = 0; i < 2; i++) {
        claim(p[i], false);
        assert_true(is_at_rest(p[i]));
    }
    kd_policy_free(p[0]);
    kd_policy_free(p[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_as_they_are_written),
        cmocka_unit_test(other_lines_are_refused_with_a_reason),
        cmocka_unit_test_setup(who_has_no_line_has_no_quota, make_table),
        cmocka_unit_test_setup(every_line_that_matches_counts, make_table),
        cmocka_unit_test_setup(a_refusal_takes_nothing_from_the_other_lines,
                               make_table),
        cmocka_unit_test_setup(the_wait_told_is_the_longest_and_true, make_table),
        cmocka_unit_test_setup(what_is_in_flight_is_bounded_and_given_back, make_table),
        cmocka_unit_test_setup(refusals_are_counted_by_line_and_by_row, make_table),
        cmocka_unit_test_setup(a_line_that_says_something_else_starts_anew, make_table),
        cmocka_unit_test_setup(a_line_keeps_its_count_wherever_it_stands, make_table),
        cmocka_unit_test_setup(cells_of_old_lines_are_used_again, make_table),
        cmocka_unit_test(marks_differ_by_owner_and_by_what_is_said),
        cmocka_unit_test_setup(
            what_a_process_left_in_flight_is_forgotten_by_the_next_in_its_slot,
            make_table),
        cmocka_unit_test_setup(processes_that_share_the_memory_share_the_quota,
                               make_table),
        cmocka_unit_test_setup(
            the_memory_can_be_neither_shrunk_nor_written_by_who_may_only_read,
            make_table),
        cmocka_unit_test_setup(all_that_was_taken_is_given_back_in_the_end, make_table),
    };

    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
