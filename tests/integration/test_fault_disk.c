/* A disk that fails under the running daemon: an I/O error of any sync, done or not
 * done, a full disk or an I/O error at any write, writes that are cut short. Nothing
 * that was acknowledged is lost, nothing is acknowledged that is not there, and when
 * the disk is good again so is the service, without a hand being laid on it. */
#include "fault_suite.h"
#include "load.h"
#include "people.h"
#include "scale.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>

enum { POSITIONS = 60, SIGNETS = 12, UP_MS = 20000 };

static unsigned n_round;

static void
must_be_up(void)
{
    if (!daemon_wait(&keyd, UP_MS))
        fail_msg("round %u: the daemon does not come back", n_round);
}

/* Signets, each tried again until there is an answer; of so many at a time. */
static void
issue(uint64_t count, unsigned in_flight)
{
    char socket[108], seed[32];
    struct load_result result;
    FILE *acks = fopen(acks_path, "ae");

    assert_non_null(acks);
    daemon_socket(&keyd, "submission", socket);
    snprintf(seed, sizeof seed, "disk%u", n_round);
    const struct load_options load = {.socket = socket,
                                      .domain = "example.com",
                                      .seed = seed,
                                      .mix = LOAD_ROTATE,
                                      .steps = 3,
                                      .connections = 1,
                                      .in_flight = in_flight,
                                      .count = count,
                                      .prepare = count,
                                      .lazy = true,
                                      .give_up = 30,
                                      .acks = acks};
    assert_int_equal(load_run(&load, &result), 0);
    fclose(acks);
    assert_int_equal(result.n_wrong, 0);
    assert_int_equal(result.n_ok + result.n_replayed, count);
}

/* A change of the key store; how it ends is the fault's affair. Keys are few. */
static void
change_keys(void)
{
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(&keyd, "admin");

    if (c == NULL)
        return;
    kd_ignore(keyd_client_set_deadline(c, 2000)); /* a number in bounds */
    kd_ignore(keyd_client_generate_key(c, KEYD_ROLE_SOK, KEYD_ED25519,
                                       KEYD_STR("example.com"), KEYD_PERM_SIGNET, &a));
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

static void
stop_and_judge(void)
{
    assert_int_equal(daemon_stop(&keyd), 0);
    if (fault_check(&keyd, acks_path, audit_key) != 0)
        fail_msg("round %u, see %s", n_round, keyd.dir);
}

struct outcome {
    unsigned n_rounds, n_fired, n_ended;
};

/* One fault at call n: in the running ledger, or counted from its start. */
static void
disturb(enum fault_call call, uint32_t how, uint64_t n, bool from_start,
        struct outcome *o)
{
    long at = daemon_log_end(&keyd);

    n_round++;
    if (from_start)
        fault_arm(&faults, FAULT_LEDGER, call, n, how);
    assert_true(daemon_launch(&keyd));
    must_be_up();
    if (!from_start)
        fault_arm(&faults, FAULT_LEDGER, call, n, how);
    if (n_round % 6 == 0)
        change_keys();
    /* A commit each, so that there are enough syncs. */
    issue(n + SIGNETS, 1);
    o->n_rounds++;
    o->n_fired += fault_disarm(&faults, FAULT_LEDGER) != 0;
    o->n_ended += daemon_log_count(&keyd, at, "keyd-ledger (pid", "with status 1") != 0;
    if (daemon_log_count(&keyd, at, "ended by signal", NULL) != 0)
        fail_msg("round %u: somebody crashed, see %s", n_round, keyd.log);
    must_be_up();
    stop_and_judge();
}

static void
disturb_each(const char *what, enum fault_call call, uint32_t how)
{
    size_t n = test_rounds(POSITIONS);
    struct outcome o = {0};

    for (size_t i = 0; i < n; i++) /* spread evenly over 1 to POSITIONS */
        disturb(call, how, 1 + i * POSITIONS / n + n_round % (POSITIONS / n),
                i % 2 == 1, &o);
    print_message("%s: %u rounds, %u faults, %u ledgers ended and came back\n", what,
                  o.n_rounds, o.n_fired, o.n_ended);
    assert_true(o.n_fired > 0);
}

static void
eio_at_any_sync_loses_nothing(void **state)
{
    (void)state;
    disturb_each("sync fails", FAULT_SYNC, EIO);
}

static void
eio_of_a_sync_that_was_done_loses_nothing(void **state)
{
    (void)state;
    disturb_each("sync is done and fails", FAULT_SYNC, EIO | FAULT_LATE);
}

static void
enospc_at_any_write_loses_nothing(void **state)
{
    (void)state;
    disturb_each("no room", FAULT_WRITE, ENOSPC);
}

static void
eio_of_a_write_that_was_done_loses_nothing(void **state)
{
    (void)state;
    disturb_each("write is done and fails", FAULT_WRITE, EIO | FAULT_LATE);
}

static void
short_writes_lose_nothing(void **state)
{
    (void)state;
    disturb_each("short write", FAULT_WRITE, FAULT_SHORT);
}

/* --- while it opens --- */

/* What a killed daemon left is put right at the next start, which meets the fault. */
static void
a_fault_while_opening_is_got_over(void **state)
{
    static const struct {
        const char *what;
        enum fault_call call;
        uint32_t how;
    } kinds[] = {{"sync fails", FAULT_SYNC, EIO},
                 {"sync is done and fails", FAULT_SYNC, EIO | FAULT_LATE},
                 {"no room", FAULT_WRITE, ENOSPC},
                 {"write fails", FAULT_WRITE, EIO}};
    enum { OPENING = 20 };
    size_t n = test_rounds(OPENING);
    unsigned n_fired = 0;

    (void)state;
    assert_true(daemon_launch(&keyd));
    must_be_up();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t i = 1; i <= n; i++) {
            n_round++;
            issue(SIGNETS, 4);
            daemon_kill(&keyd);
            fault_arm(&faults, FAULT_LEDGER, kinds[k].call, i, kinds[k].how);
            assert_true(daemon_launch(&keyd));
            must_be_up();
            n_fired += fault_disarm(&faults, FAULT_LEDGER);
        }
    print_message("%u faults\n", n_fired);
    n_round++;
    issue(SIGNETS, 4);
    stop_and_judge();
    assert_true(n_fired > 0);
}

/* --- a disk that stays full, or broken --- */

static enum keyd_status
try_one(unsigned i)
{
    char detail[64];

    return fault_suite_issue("full", i, 1000, detail);
}

static void
nothing_is_issued_while_nothing_can_be_recorded(enum fault_call call, uint32_t how)
{
    static unsigned person;
    size_t n = test_rounds(10); /* seconds each: a role that keeps ending waits */

    for (size_t i = 0; i < n; i++) {
        n_round++;
        assert_true(daemon_launch(&keyd));
        must_be_up();
        fault_arm(&faults, FAULT_LEDGER, call, 1 + i, how | FAULT_STAYS);
        enum keyd_status s = KEYD_OK;
        for (unsigned k = 0; k < 60 && s == KEYD_OK; k++)
            s = try_one(person++);
        assert_int_not_equal(s, KEYD_OK);
        for (unsigned k = 0; k < 3; k++)
            assert_int_not_equal(try_one(person++), KEYD_OK);
        assert_true(daemon_wait_end(&keyd, 0) == 256); /* it keeps trying */
        assert_true(fault_disarm(&faults, FAULT_LEDGER) > 0);
        must_be_up();
        issue(SIGNETS, 4);
        stop_and_judge();
    }
}

static void
a_full_disk_stops_issuance_until_there_is_room(void **state)
{
    (void)state;
    nothing_is_issued_while_nothing_can_be_recorded(FAULT_WRITE, ENOSPC);
}

static void
a_disk_that_does_not_sync_stops_issuance_until_it_does(void **state)
{
    (void)state;
    nothing_is_issued_while_nothing_can_be_recorded(FAULT_SYNC, EIO);
}

/* --- start and end --- */

/* Every test starts it. */
static int
start_and_stop(void **state)
{
    return fault_suite_start(state) == 0 ? daemon_stop(&keyd) : -1;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FAULT_TEST(eio_at_any_sync_loses_nothing),
        FAULT_TEST(eio_of_a_sync_that_was_done_loses_nothing),
        FAULT_TEST(enospc_at_any_write_loses_nothing),
        FAULT_TEST(eio_of_a_write_that_was_done_loses_nothing),
        FAULT_TEST(short_writes_lose_nothing),
        FAULT_TEST(a_fault_while_opening_is_got_over),
        FAULT_TEST(a_full_disk_stops_issuance_until_there_is_room),
        FAULT_TEST(a_disk_that_does_not_sync_stops_issuance_until_it_does),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, start_and_stop, fault_suite_end);
}
