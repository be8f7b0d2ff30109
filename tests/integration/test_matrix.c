/* Who may do what, in every cell: caller x operation x state, on unix sockets and over
 * TLS, without operators and with.
 *
 * matrix_cells.def and matrix_quorum.def say what each should be told; what is here
 * brings a daemon into every state and has everybody ask for everything. Needs root, to
 * become other users. */
#include "ask.h"
#include "matrix_ask.h"
#include "matrix_raw.h"
#include "shell.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAIT_MS = 20000, NEWCOMER_MS = 100, ASKERS_MAX = 64 };

static struct daemon keyd;
static struct matrix_place place;
static char outside[96]; /* where the checkpoint is kept */
static struct matrix_about about = {.d = &keyd, .place = &place};
static unsigned n_cells, n_wrong;

/* --- an operator's requests, to move the state --- */

static void
ask_admin(const struct keyd_request *q, enum keyd_status status)
{
    keyd_client *c = ask_connect(&keyd, "admin");

    ask_ends(ask(c, q), status, NULL);
    keyd_client_free(c);
}

static void
drain(enum keyd_drain_action action)
{
    ask_admin(&(struct keyd_request){.op = KEYD_OP_DRAIN, .in.drain.action = action},
              KEYD_OK);
}

/* Opens the keys, or closes them, unless they are that already. */
static void
put_keys(bool open)
{
    char secret[DAEMON_CREDENTIAL_SIZE];
    keyd_client *c = ask_connect(&keyd, "admin");
    struct keyd_request q = {.op = open ? KEYD_OP_UNSEAL : KEYD_OP_SEAL};

    memcpy(secret, keyd.credential, sizeof secret);
    if (open) {
        q.in.slot.kind = KEYD_SLOT_CREDENTIAL;
        q.in.slot.secret = (struct keyd_secret){secret, sizeof secret};
    }
    struct keyd_answer *a = ask(c, &q);
    assert_true(a->status == KEYD_OK ||
                a->status == (open ? KEYD_CONFLICT : KEYD_SEALED));
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

static bool
keys_are_open_in(enum state state)
{
    return state != UNPROVISIONED && state != SEALED && state != LOCKED;
}

/* --- the state, as Status has it --- */

static bool
has_reason(const struct keyd_answer *a, const char *word)
{
    for (size_t i = 0; i < a->out.status.n_reasons; i++)
        if (kd_slice_eq(ask_slice(a->out.status.reasons[i]), kd_slice_str(word)))
            return true;
    return *word == '\0';
}

static bool
is_in(enum keyd_service_state state, const char *reason)
{
    char path[108];
    struct keyd_answer *a = NULL;
    keyd_client *c = keyd_client_new();

    assert_non_null(c);
    daemon_socket(&keyd, "admin", path);
    bool is = keyd_client_connect(c, path, 1000) == KEYD_OK &&
              keyd_client_status(c, &a) == KEYD_OK && a->out.status.state == state &&
              has_reason(a, reason);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return is;
}

static void
wait_for(enum keyd_service_state state, const char *reason)
{
    int64_t until = kd_clock_ms() + WAIT_MS;

    while (!is_in(state, reason)) {
        if (kd_clock_ms() > until)
            fail_msg("not in state %d %s, see %s", (int)state, reason, keyd.log);
        kd_ignore(poll(NULL, 0, 2)); /* between two looks */
    }
}

/* --- the cells of a state --- */

static void
count(const char *who, const char *what, unsigned got, unsigned want)
{
    n_cells++;
    if (got == want)
        return;
    n_wrong++;
    print_error("%s: %s while %s%s: %s, not %s\n", who, what, state_name(about.state),
                about.with_quorum ? ", with operators" : "", status_name(got),
                status_name(want));
}

static void
check_caller(struct asker *a)
{
    uint8_t got[KD_OP_MAX + 1];

    asker_ask(a, got);
    about.serial += KD_OP_MAX + 1;
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        if (is_asked(a->caller, op, &about))
            count(a->caller->name, cells[op].name, got[op],
                  expected(a->caller, op, about.state, about.with_quorum));
}

/* All connect, then the daemon drains if it is to, then one after another asks. */
static void
check_callers(bool moving)
{
    static struct asker askers[ASKERS_MAX];
    size_t n = 0;

    about.moving = moving;
    for (size_t i = 0; i < n_callers; i++) {
        const struct caller *c = &callers[i];
        if ((c->only_quorum && !about.with_quorum) || (moving && caller_is_master(c)) ||
            (c->kind == TURNED_OFF && about.state == DRAINING))
            continue;
        assert_true(n < ASKERS_MAX);
        about.serial += KD_OP_MAX + 1; /* the caller takes it along */
        asker_start(&askers[n++], c, &about);
    }
    if (about.state == DRAINING) {
        drain(KEYD_DRAIN_BEGIN);
        wait_for(KEYD_STATE_DRAINING, "");
    }
    for (size_t i = 0; i < n; i++)
        check_caller(&askers[i]);
    if (about.state == DRAINING)
        drain(KEYD_DRAIN_CANCEL);
}

/* One request of the operator that moves the state; and the way back. */
static void
check_mover(unsigned op)
{
    struct matrix_ask a;

    if (about.state == DRAINING)
        drain(KEYD_DRAIN_BEGIN);
    keyd_client *k = ask_connect(&keyd, "admin");
    assert_true(matrix_ask(&a, (enum kd_op)op, &about, &callers[0]));
    struct keyd_answer *answer = ask(k, &a.q);
    count(callers[0].name, cells[op].name, answer->status,
          expected(&callers[0], op, about.state, about.with_quorum));
    keyd_client_answer_free(answer);
    matrix_ask_clear(&a);
    keyd_client_free(k);
    if (about.state == DRAINING)
        drain(KEYD_DRAIN_CANCEL);
    if (about.state != UNPROVISIONED)
        put_keys(keys_are_open_in(about.state));
}

/* The handshake without a certificate, which libkeyd does not attempt. */
static void
check_without_certificate(void)
{
    struct raw r;

    raw_open_tls(&r, place.tls.port, NULL);
    count("remote, without certificate", "Hello",
          raw_hello(&r) == NO_ANSWER ? REFUSED : KEYD_OK, REFUSED);
    raw_close(&r);
}

/* Of operations that change something, the actions that do not: answered always. */
static void
check_looks(void)
{
    static const struct {
        const char *name;
        struct keyd_request q;
    } looks[] = {
        {"FreezeAddress, to show",
         {.op = KEYD_OP_FREEZE_ADDRESS,
          .in.freeze_address = {.address = {(const uint8_t *)"shown@example.com", 17},
                                .action = KEYD_ACCOUNT_SHOW}}},
        {"ResetAddress, to list",
         {.op = KEYD_OP_RESET_ADDRESS, .in.reset_address.action = KEYD_RESET_LIST}},
        {"StopPrincipal, to list",
         {.op = KEYD_OP_STOP_PRINCIPAL, .in.stop_principal.action = KEYD_STOP_LIST}},
    };

    keyd_client *c = ask_connect(&keyd, "admin");
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        struct keyd_answer *a = ask(c, &looks[i].q);
        count(callers[0].name, looks[i].name, a->status, KEYD_OK);
        keyd_client_answer_free(a);
    }
    keyd_client_free(c);
}

/* Draining: connections are not taken, except on the operators' listener. */
static void
check_newcomers(void)
{
    static const char *const listeners[] = {"mta", "submission", "milter", "admin"};
    char path[108];
    struct pollfd p = {.events = POLLIN};

    drain(KEYD_DRAIN_BEGIN);
    for (size_t i = 0; i < sizeof listeners / sizeof *listeners; i++) {
        bool is_admin = strcmp(listeners[i], "admin") == 0;
        keyd_client *k = keyd_client_new();
        daemon_socket(&keyd, listeners[i], path);
        count("newcomer", listeners[i],
              keyd_client_connect(k, path, is_admin ? WAIT_MS : NEWCOMER_MS),
              is_admin ? KEYD_OK : KEYD_DEADLINE);
        keyd_client_free(k);
    }
    /* Nothing comes of a handshake that nobody takes part in. */
    p.fd = tls_tcp(place.tls.port, NULL);
    assert_true(p.fd >= 0);
    count("newcomer", "tls", poll(&p, 1, NEWCOMER_MS) == 0 ? NO_ANSWER : KEYD_OK,
          NO_ANSWER);
    close(p.fd);
    drain(KEYD_DRAIN_CANCEL);
}

static void
check_state(enum state state)
{
    unsigned before = n_cells;

    about.state = state;
    check_callers(false);
    /* Who may not move the state is asked together, the operator one by one. */
    check_callers(true);
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        if (cells[op].name != NULL && cells[op].how == MOVES && op != KD_OP_TokenInit)
            check_mover(op);
    if (state == DRAINING)
        check_newcomers();
    else
        check_without_certificate();
    check_looks();
    check_mover(KD_OP_TokenInit); /* from unprovisioned there is no way back */
    print_message("%s%s: %u cells\n", state_name(state),
                  about.with_quorum ? ", with operators" : "", n_cells - before);
}

/* --- the way through the states --- */

static const char *
keys_of_file(void)
{
    static char keys[512];

    snprintf(keys, sizeof keys,
             "checkpoint-file = \"%s/checkpoint\"\ncheckpoint-grace = 3600\n"
             "audit-checkpoint-interval = 10\n"
             "first-octet-timeout = 60\nhello-timeout = 60\n"
             "handshake-rate = 100000\nhandshake-rate-total = 100000",
             outside);
    return keys;
}

static void
start(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(outside, sizeof outside, "%s/keyd-outside-XXXXXX",
             base == NULL || strlen(base) > 30 ? "/tmp" : base);
    assert_non_null(mkdtemp(outside));
    assert_int_equal(chown(outside, DAEMON_LEDGER, DAEMON_GROUP), 0);
    matrix_place_make(&place, keys_of_file());
    const struct daemon_options options = {
        .sealed = true, .top = place.tls.top, .sections = place.sections};
    assert_true(daemon_start(&keyd, &options));
    about = (struct matrix_about){.d = &keyd, .place = &place};
}

static int
stop(void **state)
{
    (void)state;
    daemon_clear(&keyd);
    if (outside[0] != '\0') {
        shell("rm -rf '%s'", outside);
        matrix_place_clear(&place);
    }
    outside[0] = '\0';
    return 0;
}

static void
start_again(enum keyd_service_state state, const char *reason)
{
    if (keyd.pid != 0)
        assert_int_equal(daemon_stop(&keyd), 0);
    assert_true(daemon_launch(&keyd));
    wait_for(state, reason);
}

/* The state as it was one run before, and what was known outside since. */
static void
check_failed(void)
{
    assert_int_equal(daemon_stop(&keyd), 0);
    shell("cp -a '%s' '%s/older'", keyd.state, keyd.dir);
    start_again(KEYD_STATE_SEALED, "");
    put_keys(true);
    wait_for(KEYD_STATE_OPERATIONAL, "");
    assert_int_equal(daemon_stop(&keyd), 0);
    shell("mv '%s' '%s/newer' && mv '%s/older' '%s'", keyd.state, keyd.dir, keyd.dir,
          keyd.state);
    start_again(KEYD_STATE_FAILED, "registry-behind");
    check_state(LOCKED);
    put_keys(true);
    check_state(FAILED);
    assert_int_equal(daemon_stop(&keyd), 0);
    shell("rm -rf '%s' && mv '%s/newer' '%s'", keyd.state, keyd.dir, keyd.state);
}

/* A folder outside that the ledger cannot write: first within its grace, then past. */
static void
check_unwritable(void)
{
    shell("chown 0:0 '%s' && chmod 0755 '%s'", outside, outside);
    start_again(KEYD_STATE_SEALED, "");
    put_keys(true);
    wait_for(KEYD_STATE_DEGRADED, "checkpoint-file");
    check_state(DEGRADED);
    shell("sed -i 's/^checkpoint-grace = .*/checkpoint-grace = 0/' '%s'", keyd.conf);
    start_again(KEYD_STATE_SEALED, "");
    put_keys(true);
    wait_for(KEYD_STATE_DEGRADED, "checkpoint-overdue");
    check_state(OVERDUE);
}

static void
check_the_rest(void)
{
    wait_for(KEYD_STATE_OPERATIONAL, "");
    check_state(OPERATIONAL);
    check_state(DRAINING);
    put_keys(false);
    wait_for(KEYD_STATE_SEALED, "");
    check_state(SEALED);
    check_failed();
    check_unwritable();
    print_message("%u cells so far, %u wrong\n", n_cells, n_wrong);
    assert_int_equal(n_wrong, 0);
}

static void
skip_unless_root(void)
{
    if (geteuid() == 0)
        return;
    puts("skipped: needs root, to become other users");
    skip();
}

static void
every_cell_is_as_written(void **state)
{
    (void)state;
    skip_unless_root();
    start();
    wait_for(KEYD_STATE_UNPROVISIONED, "");
    check_state(UNPROVISIONED); /* its last step made the key store */
    assert_true(daemon_adopt_token(&keyd));
    assert_true(daemon_provision_domain(&keyd, "example.com", &about.org));
    wait_for(KEYD_STATE_DEGRADED, "org-signet-missing"); /* of the other domain */
    check_state(DEGRADED);
    assert_true(daemon_provision_domain(&keyd, "example.net", NULL));
    check_the_rest();
}

static void
with_operators_what_is_marked_waits_for_approvals(void **state)
{
    (void)state;
    skip_unless_root();
    start();
    assert_true(daemon_init_token(&keyd) &&
                daemon_provision_domain(&keyd, "example.com", &about.org) &&
                daemon_provision_domain(&keyd, "example.net", NULL));
    const struct keyd_request q = matrix_enrolment();
    ask_admin(&q, KEYD_OK);
    about.with_quorum = true;
    check_the_rest();
}

/* The daemon's own tables say the same about listeners and domains. */
static void
the_tables_agree(void **state)
{
    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        assert_int_equal(cells[op].name == NULL, kd_op_name(op) == NULL);
        if (cells[op].name == NULL)
            continue;
        for (unsigned k = 0; k < KD_CLASS_COUNT; k++)
            assert_int_equal(kd_op_is_served(op, k),
                             strchr(cells[op].listeners, "msita"[k]) != NULL);
        assert_int_equal((kd_op_flags(op) & KD_OPF_DOMAIN) != 0,
                         cells[op].about == DOMAIN);
    }
}

static void
libkeyd_has_no_endpoint_without_a_certificate(void **state)
{
    const struct keyd_tls tls = {.ca = "/nonexistent", .server_name = "localhost"};
    const struct keyd_endpoint e = {.address = "tls:127.0.0.1:4433", .tls = &tls};
    keyd_client *c = keyd_client_new();

    (void)state;
    assert_int_equal(keyd_client_add_endpoint(c, &e), KEYD_USAGE);
    keyd_client_free(c);
}

static int
set_up(void **state)
{
    (void)state;
    if (kd_secret_setup(65536) != KD_OK)
        return -1;
    matrix_ask_setup();
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tables_agree),
        cmocka_unit_test(libkeyd_has_no_endpoint_without_a_certificate),
        cmocka_unit_test_teardown(every_cell_is_as_written, stop),
        cmocka_unit_test_teardown(with_operators_what_is_marked_waits_for_approvals,
                                  stop),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
