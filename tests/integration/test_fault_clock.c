/* A machine whose clock is wrong or jumps: the times of the log never go back, keys are
 * not used while the clock contradicts it, that is said, and ends when the clock is
 * right. */
#include "fault.h"
#include "people.h"
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

static struct faults faults;
static struct daemon_options options;
static struct daemon keyd;
static uint8_t audit_key[32];
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
    struct person_keys own;
    struct keyd_answer *a = NULL;
    char address[64];
    struct kd_buf ssr;
    keyd_client *c = daemon_connect(&keyd, "submission");

    assert_non_null(c);
    person_keys("clock", n_person, 0, &own);
    kd_buf_init(&ssr, PERSON_SSR_MAX);
    assert_int_equal(person_ssr(&own, NULL, &ssr), KD_OK);
    snprintf(address, sizeof address, "clock%u@example.com", n_person++);
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {.address = KEYD_STR(address),
                                 .ssr = {ssr.p, ssr.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
    enum keyd_status s = keyd_client_call(c, &q, &a);
    snprintf(detail, 64, "%.63s", a == NULL ? "" : a->detail);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    kd_buf_free(&ssr);
    return s;
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

    while (fault_log_count(&keyd, from, text, NULL) == 0) {
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
begin(void)
{
    if (keyd.pid == 0)
        assert_true(daemon_launch(&keyd));
    assert_true(daemon_wait(&keyd, 20000));
}

static void
stop_and_judge(void)
{
    assert_int_equal(daemon_stop(&keyd), 0);
    assert_int_equal(fault_check(&keyd, NULL, audit_key), 0);
}

static void
a_clock_an_hour_back_stops_issuance_until_it_is_right(void **state)
{
    (void)state;
    begin();
    issues();
    long at = fault_log_end(&keyd);
    shift(-HOUR_MS);
    refuses();
    log_soon_says(at, "behind the audit log's last record");
    refuses();
    shift(0);
    issues();
    log_soon_says(at, "clock: good again");
    times_never_go_back((uint64_t)kd_clock_wall_ms());
    stop_and_judge();
}

static void
a_clock_a_few_seconds_back_is_borne(void **state)
{
    (void)state;
    begin();
    issues();
    long at = fault_log_end(&keyd);
    shift(-4000);
    issues();
    issues();
    shift(0);
    issues();
    assert_int_equal(fault_log_count(&keyd, at, "clock:", NULL), 0);
    times_never_go_back((uint64_t)kd_clock_wall_ms());
    stop_and_judge();
}

/* A record with such a time would stop everything for ten years. */
static void
a_clock_that_jumps_ten_years_leaves_no_mark_in_the_log(void **state)
{
    struct keyd_answer *a = NULL;

    (void)state;
    begin();
    issues();
    long at = fault_log_end(&keyd);
    shift(ten_years_ms);
    refuses();
    log_soon_says(at, "s ahead");
    /* The vault's own records go on, with the last good time. */
    keyd_client *c = daemon_connect(&keyd, "admin");
    assert_int_equal(keyd_client_seal(c, &a), KEYD_OK);
    keyd_client_answer_free(a);
    a = NULL;
    uint8_t secret[DAEMON_CREDENTIAL_SIZE];
    memcpy(secret, keyd.credential, sizeof secret);
    assert_int_equal(keyd_client_unseal(c, KEYD_SLOT_CREDENTIAL,
                                        (struct keyd_secret){secret, sizeof secret},
                                        &a),
                     KEYD_OK);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    refuses();
    shift(0);
    issues();
    log_soon_says(at, "clock: good again");
    times_never_go_back((uint64_t)kd_clock_wall_ms());
    stop_and_judge();
}

static void
steps_during_operation_never_turn_the_log_back(void **state)
{
    static const int64_t steps[] = {1000,     -1000, 3000,          -3000, 60000, 55000,
                                    -HOUR_MS, 61000, HOUR_MS * 2LL, 62000, 0};
    char detail[64];

    (void)state;
    begin();
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        shift(steps[i]);
        for (int k = 0; k < 3; k++) {
            enum keyd_status s = issue(detail);
            assert_true(s == KEYD_OK ||
                        (s == KEYD_UNAVAILABLE && strcmp(detail, "clock") == 0));
        }
    }
    times_never_go_back(0);
    stop_and_judge();
}

static void
a_start_with_a_clock_behind_waits_for_the_right_time(void **state)
{
    (void)state;
    shift(200000); /* ahead of the steps before, which are in the log */
    begin();
    issues();
    assert_int_equal(daemon_stop(&keyd), 0);
    long at = fault_log_end(&keyd);
    shift(-HOUR_MS);
    begin();
    log_soon_says(at, "behind the audit log's last record");
    refuses();
    shift(300000);
    issues();
    shift(0);
    times_never_go_back(0);
    stop_and_judge();
}

static int
set_up(void **state)
{
    (void)state;
    if (!fault_setup(&faults, &options) || !daemon_start(&keyd, &options) ||
        !daemon_provision(&keyd, NULL))
        return -1;
    fault_audit_key(&keyd, audit_key);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    daemon_clear(&keyd);
    fault_clear(&faults);
    return 0;
}

static int
stop_after_failure(void **state)
{
    (void)state;
    shift(0);
    if (keyd.pid != 0) {
        printf("left for inspection: %s\n", keyd.dir);
        daemon_kill(&keyd);
    }
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, stop_after_failure)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_clock_an_hour_back_stops_issuance_until_it_is_right),
        TEST(a_clock_a_few_seconds_back_is_borne),
        TEST(a_clock_that_jumps_ten_years_leaves_no_mark_in_the_log),
        TEST(steps_during_operation_never_turn_the_log_back),
        TEST(a_start_with_a_clock_behind_waits_for_the_right_time),
    };

    signal(SIGPIPE, SIG_IGN);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* of one test, * and ? allowed */
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
