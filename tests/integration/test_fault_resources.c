/* Roles without memory or descriptors: the kth allocation fails, descriptors run out,
 * address space ends, a role forks without end. Nobody ends by a signal but who was
 * made to, the others go on, what was refused is refused clearly, and nothing that was
 * acknowledged is lost. */
#include "fault.h"
#include "load.h"
#include "people.h"
#include "scale.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ALLOCATIONS = 2000, UP_MS = 30000 };

static struct faults faults;
static struct daemon_options options;
static struct daemon keyd;
static char acks_path[160];
static uint8_t audit_key[32];
static unsigned n_person;

static const char *const names[FAULT_ROLES] = {"keyd-vault", "keyd-ledger",
                                               "keyd-gate"};

static void
must_be_up(uint64_t at)
{
    if (!daemon_wait(&keyd, UP_MS))
        fail_msg("at %llu the daemon does not come back, see %s",
                 (unsigned long long)at, keyd.log);
}

static void
note(const char *address, struct keyd_octets signet)
{
    uint8_t sha[32];
    char hex[65];
    FILE *acks = fopen(acks_path, "ae");

    assert_non_null(acks);
    crypto_hash_sha256(sha, signet.p, signet.n);
    sodium_bin2hex(hex, sizeof hex, sha, sizeof sha);
    fprintf(acks, "%s %s\n", address, hex);
    assert_int_equal(fclose(acks), 0);
}

/* A status that a client can do something about. */
static bool
is_clear(enum keyd_status s)
{
    return s == KEYD_OK || s == KEYD_UNAVAILABLE || s == KEYD_BUSY ||
           s == KEYD_UNKNOWN_OUTCOME || s == KEYD_DEADLINE || s == KEYD_SEALED ||
           s == KEYD_FAILED;
}

static void
check_status(const char *what, enum keyd_status s)
{
    if (!is_clear(s))
        fail_msg("%s: %s", what, keyd_client_status_text(s));
}

static void
connect_patiently(keyd_client **c, const char *klass)
{
    char path[108];

    if (*c == NULL)
        assert_non_null(*c = keyd_client_new());
    daemon_socket(&keyd, klass, path);
    for (int i = 0; i < 200 && keyd_client_connect(*c, path, 2000) != KEYD_OK; i++)
        kd_ignore(poll(NULL, 0, 10)); /* a gate that ended is started again */
}

/* Issues with one key until there is an answer that is one; the signet is noted. */
static void
issue_one(keyd_client **c)
{
    struct person_keys own;
    char address[64];
    struct kd_buf ssr;
    unsigned person = n_person++;
    enum keyd_status s;

    person_keys("memory", person, 0, &own);
    kd_buf_init(&ssr, PERSON_SSR_MAX);
    assert_int_equal(person_ssr(&own, NULL, &ssr), KD_OK);
    snprintf(address, sizeof address, "memory%u@example.com", person);
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .deadline_ms = 3000,
        .in.issue_user_signet = {.address = KEYD_STR(address),
                                 .ssr = {ssr.p, ssr.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
    for (int i = 0;; i++) {
        struct keyd_answer *a = NULL;
        s = keyd_client_call(*c, &q, &a);
        if (s == KEYD_OK)
            note(address, a->out.signet.signet);
        keyd_client_answer_free(a);
        if (s == KEYD_OK)
            break;
        check_status("issuance", s);
        if (i == 1000)
            fail_msg("no signet after %d tries: %s, see %s", i,
                     keyd_client_status_text(s), keyd.log);
        kd_ignore(poll(NULL, 0, 5)); /* a role that ended is started again */
        connect_patiently(c, "submission");
    }
    kd_buf_free(&ssr);
}

/* One look at everything that is read; refused is fine, wrong is not. */
static void
read_some(keyd_client **mta, keyd_client **admin)
{
    struct keyd_answer *a = NULL;
    char address[64];
    unsigned person = n_person == 0 ? 0 : n_person - 1;

    snprintf(address, sizeof address, "memory%u@example.com", person);
    for (int i = 0; i < 2; i++) {
        enum keyd_status s =
            keyd_client_lookup_signet(*mta, KEYD_STR(address), KEYD_NONE, &a);
        check_status("look-up", s);
        if (s == KEYD_OK)
            assert_true(a->out.signet.signet.n > 100);
        else
            connect_patiently(mta, "mta");
        keyd_client_answer_free(a);
        a = NULL;
    }
    enum keyd_status s = keyd_client_audit_read(*admin, 1, 3, &a);
    check_status("audit", s);
    if (s == KEYD_OK)
        assert_int_equal(a->out.audit.n_records, 3);
    keyd_client_answer_free(a);
    a = NULL;
    if (s == KEYD_OK && (s = keyd_client_status(*admin, &a)) != KEYD_OK)
        check_status("status", s);
    keyd_client_answer_free(a);
    if (s != KEYD_OK)
        connect_patiently(admin, "admin");
}

struct clients {
    keyd_client *submission, *mta, *admin;
};

static void
connect_all(struct clients *c)
{
    *c = (struct clients){0};
    connect_patiently(&c->submission, "submission");
    connect_patiently(&c->mta, "mta");
    connect_patiently(&c->admin, "admin");
}

static void
leave_all(struct clients *c)
{
    keyd_client_free(c->submission);
    keyd_client_free(c->mta);
    keyd_client_free(c->admin);
}

static void
work(struct clients *c)
{
    issue_one(&c->submission);
    read_some(&c->mta, &c->admin);
}

static void
begin(void)
{
    if (keyd.pid == 0)
        assert_true(daemon_launch(&keyd));
    must_be_up(0);
}

static void
stop_and_judge(void)
{
    assert_int_equal(daemon_stop(&keyd), 0);
    if (fault_check(&keyd, acks_path, audit_key) != 0)
        fail_msg("see %s", keyd.dir);
}

static void
nobody_crashed(long at, uint64_t n)
{
    const char *line =
        fault_log_find(&faults, &keyd, at, "ended by signal", NULL);

    if (line != NULL)
        fail_msg("at %llu: %s", (unsigned long long)n, line);
}

/* --- memory --- */

/* The kth allocation of a running role fails while there is work that makes it. A role
 * that has ended in order twice would have to wait before it is started again, so there
 * is a new supervisor then. */
static void
starve_running(enum fault_role role, unsigned most_ends)
{
    size_t n = test_rounds(ALLOCATIONS), step = ALLOCATIONS / n;
    struct clients c;
    unsigned n_fired = 0, n_ended = 0, n_since = 0;

    begin();
    connect_all(&c);
    for (size_t i = 0; i < n; i++) {
        uint64_t k = 1 + i * step + i % step;
        long at = fault_log_end(&keyd);
        fault_arm(&faults, role, FAULT_ALLOC, k, 0);
        for (int turn = 0; turn < 400 && fault_fired(&faults, role) == 0; turn++)
            work(&c);
        n_fired += fault_disarm(&faults, role);
        work(&c);
        nobody_crashed(at, k);
        bool ended = fault_log_count(&keyd, at, names[role], "ended with status") != 0;
        n_ended += ended;
        n_since += ended;
        if (n_since < 2 && i % 100 != 99)
            continue;
        n_since = 0;
        leave_all(&c);
        if (i % 10 == 9)
            stop_and_judge();
        else
            daemon_kill(&keyd);
        begin();
        connect_all(&c);
    }
    leave_all(&c);
    stop_and_judge();
    print_message("%s: %u allocations failed, it ended in order %u times\n",
                  names[role], n_fired, n_ended);
    assert_true(n_fired == n);
    assert_true(n_ended <= most_ends);
}

static void
the_vault_survives_any_allocation_that_fails(void **state)
{
    (void)state;
    starve_running(FAULT_VAULT, 0);
}

static void
the_ledger_loses_nothing_by_any_allocation_that_fails(void **state)
{
    (void)state;
    starve_running(FAULT_LEDGER, ALLOCATIONS); /* it may end: see disk_failed */
}

static void
a_gate_survives_any_allocation_that_fails(void **state)
{
    (void)state;
    starve_running(FAULT_GATE, 0);
}

/* --- start and end --- */

static int
set_up(void **state)
{
    (void)state;
    if (!fault_setup(&faults, &options) || !daemon_start(&keyd, &options) ||
        !daemon_provision(&keyd, NULL))
        return -1;
    fault_audit_key(&keyd, audit_key);
    snprintf(acks_path, sizeof acks_path, "%s/acks", keyd.dir);
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
    for (int r = 0; r < FAULT_ROLES; r++)
        fault_disarm(&faults, (enum fault_role)r);
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
        TEST(the_vault_survives_any_allocation_that_fails),
        TEST(the_ledger_loses_nothing_by_any_allocation_that_fails),
        TEST(a_gate_survives_any_allocation_that_fails),
    };

    signal(SIGPIPE, SIG_IGN);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* of one test, * and ? allowed */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
