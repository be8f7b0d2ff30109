/* Who may do what, in every cell: caller x operation x state x listener.
 *
 * A caller is a process of its own under its own uid, or one with a certificate of its
 * own; it connects, asks for every operation there is and tells what it was answered.
 * matrix_cells.def says what that should be. Needs root, to become other users. */
#include "ask.h"
#include "matrix_ask.h"
#include "test.h"

#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the cells --- */

enum state { UNPROVISIONED, SEALED, OPERATIONAL, STATES };
static const char *const state_names[] = {"unprovisioned", "sealed", "operational"};

enum about { NOTHING, DOMAIN };
enum moves { STAYS, MOVES };

static const struct cells {
    const char *name;
    const char *listeners;
    enum about about;
    enum moves moves;
    enum keyd_status in[STATES];
    bool is_part;
} cells[KD_OP_MAX + 1] = {
#define CELLS(name, listeners, about, moves, unprovisioned, sealed, operational)       \
    [KD_OP_##name] = {#name,                                                           \
                      listeners,                                                       \
                      about,                                                           \
                      moves,                                                           \
                      {KEYD_##unprovisioned, KEYD_##sealed, KEYD_##operational}},
#define PARTS(op, on) [KD_OP_##op] = {.name = #op, .listeners = on, .is_part = true},
#include "matrix_cells.def"
#undef PARTS
#undef CELLS
};

/* An operation of ops.def without cells does not build. */
enum {
#define CELLS(name, ...) HAS_CELLS_##name,
#define PARTS(name, ...) HAS_CELLS_##name,
#include "matrix_cells.def"
#undef PARTS
#undef CELLS
#define KD_OP(number, name, classes, flags) NEEDS_CELLS_##name = HAS_CELLS_##name,
#include <keyd/ops/ops.def>
#undef KD_OP
};

/* --- the callers --- */

/* What each of tests/support/daemon.h's principals is: permitted lists its operations
 * (NULL: all of its listener's), domain is whether example.com is among its domains.
 * A stranger is no principal there, and is refused as soon as it connects. */
static const struct caller {
    const char *name;
    const char *listener;
    uid_t uid;
    bool stranger;
    bool com;
    const char *permitted;
} callers[] = {
    {"operator", "admin", 0, false, true, NULL},
    {"root of submission", "submission", 0, false, true, NULL},
    {"root of mta", "mta", 0, false, true, NULL},
    {"root of milter", "milter", 0, true, false, NULL},
    {"submitd", "submission", DAEMON_SUBMITD, false, true,
     " IssueUserSignet LookupSignet LookupHistory VerifyCurrent "},
    {"submitd on mta", "mta", DAEMON_SUBMITD, true, false, NULL},
    {"submitd on milter", "milter", DAEMON_SUBMITD, true, false, NULL},
    {"submitd on admin", "admin", DAEMON_SUBMITD, true, false, NULL},
    {"dmtpd", "mta", DAEMON_DMTPD, false, true,
     " LookupSignet LookupHistory VerifyCurrent "},
    {"dmtpd on submission", "submission", DAEMON_DMTPD, true, false, NULL},
    {"dmtpd on admin", "admin", DAEMON_DMTPD, true, false, NULL},
    {"milter", "milter", DAEMON_MILTER, false, false, " "},
    {"milter on submission", "submission", DAEMON_MILTER, true, false, NULL},
    {"foreign", "submission", DAEMON_FOREIGN, false, false, " IssueUserSignet "},
    {"auditor", "admin", DAEMON_AUDITOR, false, false, " AuditRead AuditHead "},
    {"foreign on mta", "mta", DAEMON_FOREIGN, true, false, NULL},
    {"nobody on submission", "submission", DAEMON_NOBODY, true, false, NULL},
    {"nobody on mta", "mta", DAEMON_NOBODY, true, false, NULL},
    {"nobody on milter", "milter", DAEMON_NOBODY, true, false, NULL},
    {"nobody on admin", "admin", DAEMON_NOBODY, true, false, NULL},
    {"overflow on submission", "submission", 65534, true, false, NULL},
    {"overflow on mta", "mta", 65534, true, false, NULL},
    {"overflow on milter", "milter", 65534, true, false, NULL},
    {"gate on submission", "submission", DAEMON_GATE, true, false, NULL},
    {"vault on mta", "mta", DAEMON_VAULT, true, false, NULL},
};
enum { CALLERS = sizeof callers / sizeof callers[0] };

static bool
is_asked(unsigned op, bool moving)
{
    return cells[op].name != NULL && !cells[op].is_part &&
           (cells[op].moves == MOVES) == moving;
}

static bool
is_served(const struct caller *c, const struct cells *row)
{
    char letter = 0;

    for (unsigned k = 0; k < KD_CLASS_COUNT; k++)
        if (strcmp(kd_class_name(k), c->listener) == 0)
            letter = "msita"[k];
    return strchr(row->listeners, letter) != NULL;
}

static bool
is_permitted(const struct caller *c, const struct cells *row)
{
    char word[64];

    if (row->about == DOMAIN && !c->com)
        return false;
    if (c->permitted == NULL || strcmp(row->name, "Hello") == 0 ||
        strcmp(row->name, "Status") == 0 || strcmp(row->name, "PublicKeys") == 0)
        return true;
    snprintf(word, sizeof word, " %s ", row->name);
    return strstr(c->permitted, word) != NULL;
}

static enum keyd_status
expected(const struct caller *c, const struct cells *row, enum state state)
{
    if (c->stranger)
        return KEYD_DENIED;
    if (!is_served(c, row))
        return KEYD_UNSUPPORTED;
    return is_permitted(c, row) ? row->in[state] : KEYD_DENIED;
}

/* --- asking --- */

static struct daemon keyd;
static uint64_t serial;

/* In the caller's process: the status of every operation, in order of their numbers. */
static void
ask_all(const struct caller *c, bool moving, int out)
{
    char path[108];
    uint8_t got[KD_OP_MAX + 1];
    keyd_client *k = keyd_client_new();

    daemon_socket(&keyd, c->listener, path);
    enum keyd_status connected = keyd_client_connect(k, path, 10000);
    memset(got, 255, sizeof got);
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        struct matrix_ask a;
        struct keyd_answer *answer = NULL;
        if (!is_asked(op, moving))
            continue;
        if (connected != KEYD_OK || op == KD_OP_Hello) {
            got[op] = (uint8_t)connected;
            continue;
        }
        if (!matrix_ask(&a, (enum kd_op)op, serial + op, keyd.credential))
            _exit(98);
        got[op] = (uint8_t)keyd_client_call(k, &a.q, &answer);
        keyd_client_answer_free(answer);
        matrix_ask_clear(&a);
    }
    keyd_client_free(k);
    _exit(write(out, got, sizeof got) == sizeof got ? 0 : 97);
}

static void
run_caller(const struct caller *c, bool moving, uint8_t got[KD_OP_MAX + 1])
{
    int fds[2], status;

    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (c->uid != 0 && (setgroups(0, NULL) != 0 ||
                            setresgid(DAEMON_GROUP, DAEMON_GROUP, DAEMON_GROUP) != 0 ||
                            setresuid(c->uid, c->uid, c->uid) != 0))
            _exit(99);
        ask_all(c, moving, fds[1]);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], got, KD_OP_MAX + 1);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(n, KD_OP_MAX + 1);
    serial += KD_OP_MAX + 1;
}

static unsigned n_cells, n_wrong;

static void
check_caller(const struct caller *c, enum state state, bool moving)
{
    uint8_t got[KD_OP_MAX + 1];

    run_caller(c, moving, got);
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        const struct cells *row = &cells[op];
        if (!is_asked(op, moving))
            continue;
        enum keyd_status want = expected(c, row, state);
        n_cells++;
        if (got[op] == want)
            continue;
        n_wrong++;
        print_error("%s: %s while %s: %s, not %s\n", c->name, row->name,
                    state_names[state],
                    keyd_client_status_text((enum keyd_status)got[op]),
                    keyd_client_status_text(want));
    }
}

/* One request of the operator that moves the state, and the way back. */
static void
check_mover(unsigned op, enum state state)
{
    struct matrix_ask a;
    keyd_client *k = ask_connect(&keyd, "admin");

    assert_true(matrix_ask(&a, (enum kd_op)op, ++serial, keyd.credential));
    struct keyd_answer *answer = ask(k, &a.q);
    n_cells++;
    if (answer->status != cells[op].in[state]) {
        n_wrong++;
        print_error("operator: %s while %s: %s (%s)\n", cells[op].name,
                    state_names[state], keyd_client_status_text(answer->status),
                    answer->detail);
    }
    keyd_client_answer_free(answer);
    matrix_ask_clear(&a);
    keyd_client_free(k);
}

static void
put_back(enum state state)
{
    keyd_client *k = ask_connect(&keyd, "admin");
    struct matrix_ask a;

    if (state == SEALED) {
        keyd_client_answer_free(
            ask(k, &(struct keyd_request){.op = KEYD_OP_SEAL})); /* it may be sealed */
    } else if (state == OPERATIONAL) {
        assert_true(matrix_ask(&a, KD_OP_Unseal, 0, keyd.credential));
        keyd_client_answer_free(ask(k, &a.q)); /* it may be open still */
        matrix_ask_clear(&a);
    }
    keyd_client_free(k);
}

static void
check_state(enum state state)
{
    for (size_t i = 0; i < CALLERS; i++)
        check_caller(&callers[i], state, false);
    /* Who may not move the state is asked together, the operator one by one. */
    for (size_t i = 1; i < CALLERS; i++)
        check_caller(&callers[i], state, true);
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if (cells[op].name == NULL || cells[op].moves != MOVES || op == KD_OP_TokenInit)
            continue;
        check_mover(op, state);
        put_back(state);
    }
    check_mover(KD_OP_TokenInit, state); /* from unprovisioned there is no way back */
    print_message("%s: %u cells so far, %u wrong\n", state_names[state], n_cells,
                  n_wrong);
}

static void
every_cell_is_as_written(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        puts("skipped: needs root, to become other users");
        skip();
    }
    const struct daemon_options options = {.sealed = true};
    assert_true(daemon_start(&keyd, &options));
    check_state(UNPROVISIONED); /* its last step made the key store */
    assert_true(daemon_provision_domain(&keyd, "example.com", NULL));
    check_state(OPERATIONAL);
    put_back(SEALED);
    check_state(SEALED);
    assert_int_equal(n_wrong, 0);
    daemon_clear(&keyd);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tables_agree),
        cmocka_unit_test(every_cell_is_as_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
