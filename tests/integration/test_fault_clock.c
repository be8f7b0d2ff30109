/* A machine whose clock is wrong or jumps: the times of the log never go back, keys are
 * not used while the clock contradicts it, that is said, and ends when the clock is
 * right. */
#include "fault_suite.h"
#include "people.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>
#include <keyd/ledger/audit.h>

#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>

enum { HOUR_MS = 3600 * 1000, SOON_MS = 5000 };
static const int64_t ten_years_ms = 3652LL * 24 * HOUR_MS;

static unsigned n_person;

/* Of vault and ledger; gates use only the other clock. */
static void
shift(int64_t ms)
{
    for (int r = 0; r < FAULT_ROLES; r++)
        atomic_store(&faults.of[r]->wall_shift_ms, ms);
}

static enum keyd_status
issue(char detail[64])
{
    return fault_suite_issue("clock", n_person++, 0, detail);
}

static void
issues(void)
{
    char detail[64];
    enum keyd_status s = issue(detail);

    if (s != KEYD_OK)
        fail_msg("%s (%s), see %s", keyd_client_status_text(s), detail, keyd.log);
}

static void
refuses(void)
{
    char detail[64];

    assert_int_equal(issue(detail), KEYD_UNAVAILABLE);
    assert_string_equal(detail, "clock");
}

static void
log_soon_says(long from, const char *text)
{
    int64_t until = kd_clock_ms() + SOON_MS;

    while (daemon_log_count(&keyd, from, text, NULL) == 0) {
        if (kd_clock_ms() > until)
            fail_msg("\"%s\" is not in %s", text, keyd.log);
        kd_ignore(poll(NULL, 0, 20)); /* it looks once a second */
    }
}

/* All records' times, from the log itself: none before the one before it, none after
 * most (0: any). */
static void
times_never_go_back(uint64_t most)
{
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(&keyd, "admin");
    uint64_t from = 1, last = 0;

    assert_non_null(c);
    while (from != 0) {
        assert_int_equal(keyd_client_audit_read(c, from, 0, &a), KEYD_OK);
        for (size_t i = 0; i < a->out.audit.n_records; i++) {
            struct keyd_octets o = a->out.audit.records[i].octets;
            struct kd_audit_record r;
            assert_int_equal(kd_audit_decode(kd_slice(o.p, o.n), &r), KD_OK);
            assert_true(r.time_ms >= last);
            last = r.time_ms;
        }
        from = a->out.audit.next_seq;
        keyd_client_answer_free(a);
        a = NULL;
    }
    keyd_client_free(c);
    assert_true(last > 0 && (most == 0 || last <= most));
}

static void
a_clock_an_hour_back_stops_issuance_until_it_is_right(void **state)
{
    (void)state;
    fault_suite_run(20000);
    issues();
    long at = daemon_log_end(&keyd);
    shift(-HOUR_MS);
    refuses();
    log_soon_says(at, "behind the audit log's last record");
    refuses();
    shift(0);
    issues();
    log_soon_says(at, "clock: good again");
    times_never_go_back((uint64_t)kd_clock_wall_ms());
    fault_suite_judge(NULL);
}

static void
a_clock_a_few_seconds_back_is_borne(void **state)
{
    (void)state;
    fault_suite_run(20000);
    issues();
    long at = daemon_log_end(&keyd);
    shift(-4000);
    issues();
    issues();
    shift(0);
    issues();
    assert_int_equal(daemon_log_count(&keyd, at, "clock:", NULL), 0);
    times_never_go_back((uint64_t)kd_clock_wall_ms());
    fault_suite_judge(NULL);
}

/* A record with such a time would stop everything for ten years. */
static void
a_clock_that_jumps_ten_years_leaves_no_mark_in_the_log(void **state)
{
    struct keyd_answer *a = NULL;

    (void)state;
    fault_suite_run(20000);
    issues();
    long at = daemon_log_end(&keyd);
    shift(ten_years_ms);
    refuses();
    log_soon_says(at, "s ahead");
    /* The vault's own records go on, with the last good time. */
    keyd_client *c = daemon_connect(&keyd, "admin");
    assert_int_equal(keyd_client_seal(c, &a), KEYD_OK);
    keyd_client_answer_free(a);
    a = NULL;
    assert_int_equal(daemon_unseal(&keyd, c), KEYD_OK);
    keyd_client_free(c);
    refuses();
    shift(0);
    issues();
    log_soon_says(at, "clock: good again");
    times_never_go_back((uint64_t)kd_clock_wall_ms());
    fault_suite_judge(NULL);
}

static void
steps_during_operation_never_turn_the_log_back(void **state)
{
    static const int64_t steps[] = {1000,     -1000, 3000,          -3000, 60000, 55000,
                                    -HOUR_MS, 61000, HOUR_MS * 2LL, 62000, 0};
    char detail[64];

    (void)state;
    fault_suite_run(20000);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        shift(steps[i]);
        for (int k = 0; k < 3; k++) {
            enum keyd_status s = issue(detail);
            assert_true(s == KEYD_OK ||
                        (s == KEYD_UNAVAILABLE && strcmp(detail, "clock") == 0));
        }
    }
    times_never_go_back(0);
    fault_suite_judge(NULL);
}

static void
a_start_with_a_clock_behind_waits_for_the_right_time(void **state)
{
    (void)state;
    shift(200000); /* ahead of the steps before, which are in the log */
    fault_suite_run(20000);
    issues();
    assert_int_equal(daemon_stop(&keyd), 0);
    long at = daemon_log_end(&keyd);
    shift(-HOUR_MS);
    fault_suite_run(20000);
    log_soon_says(at, "behind the audit log's last record");
    refuses();
    shift(300000);
    issues();
    shift(0);
    times_never_go_back(0);
    fault_suite_judge(NULL);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FAULT_TEST(a_clock_an_hour_back_stops_issuance_until_it_is_right),
        FAULT_TEST(a_clock_a_few_seconds_back_is_borne),
        FAULT_TEST(a_clock_that_jumps_ten_years_leaves_no_mark_in_the_log),
        FAULT_TEST(steps_during_operation_never_turn_the_log_back),
        FAULT_TEST(a_start_with_a_clock_behind_waits_for_the_right_time),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, fault_suite_start, fault_suite_end);
}
