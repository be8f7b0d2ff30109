/* A gate that talks nonsense, and a credential that is none, under the real supervisor.
 */
#include "hostile.h"
#include "peer.h"
#include "suite.h"
#include "test.h"

#include <keyd/job/state.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* This program under the name keyd-gate: nonsense on every channel to the vault. */
static kd_err
spoil_link(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct kd_ctl_link m;
    struct peer_link l = {.chan.fd = fd};

    (void)ctx;
    if (type == KD_MSG_ctl_link && fd >= 0 && kd_ctl_link_get(body, &m) == KD_OK &&
        m.link == KD_LINK_VAULT) {
        kd_ignore(link_raw(&l, kd_slice_str("nonsense"), -1)); /* more will come */
        return KD_OK; /* and never looked at again: the vault has to say so */
    }
    if (fd >= 0)
        close(fd);
    return KD_OK;
}

static int
be_a_hostile_gate(void)
{
    struct kd_chan ctl;
    struct pollfd p = {.fd = 3, .events = POLLIN};

    kd_chan_init(&ctl, 3);
    while (kd_chan_recv(&ctl, 1, spoil_link, NULL) == KD_OK)
        kd_ignore(poll(&p, 1, -1)); /* what failed shows when receiving */
    return 0;
}

static void
link_program(const char *directory, const char *name, const char *target)
{
    char path[4096];

    assert_true(snprintf(path, sizeof path, "%s/%s", directory, name) <
                (int)sizeof path);
    assert_int_equal(symlink(target, path), 0);
}

static pid_t
pid_of(const struct daemon *d, const char *name)
{
    struct daemon_child children[DAEMON_CHILDREN_MAX];
    size_t n = daemon_children(d, children, DAEMON_CHILDREN_MAX);

    for (size_t i = 0; i < n; i++)
        if (strcmp(children[i].name, name) == 0)
            return children[i].pid;
    return 0;
}

static void
a_gate_that_talks_nonsense_is_started_again_and_the_vault_is_not(void **state)
{
    char program[4096], self[4096], top[256], libexec[128];
    struct daemon_options options = {.sealed = true, .top = top};
    struct daemon d;

    (void)state;
    snprintf(libexec, sizeof libexec, "/tmp/keyd-hostile-%d", (int)getpid());
    assert_int_equal(mkdir(libexec, 0755), 0);
    assert_int_equal(chmod(libexec, 0755), 0);
    snprintf(top, sizeof top, "libexec-directory = \"%s\"", libexec);
    daemon_program("bin", "keyd-vault", program);
    link_program(libexec, "keyd-vault", program);
    daemon_program("bin", "keyd-ledger", program);
    link_program(libexec, "keyd-ledger", program);
    daemon_program("bin", "keyd-p11", program);
    link_program(libexec, "keyd-p11", program);
    daemon_program("tests", "test_hostile_gate", self);
    link_program(libexec, "keyd-gate", self);
    assert_true(daemon_prepare(&d, &options));
    assert_true(daemon_launch(&d));
    assert_true(daemon_log_wait(&d, "ledger open: epoch 1", SOON_MS));
    pid_t vault = pid_of(&d, "keyd-vault"), ledger = pid_of(&d, "keyd-ledger");
    assert_true(vault > 0 && ledger > 0);
    assert_true(daemon_log_wait(&d, "loses its links too often", 4 * SOON_MS));
    kd_ignore(poll(NULL, 0, 500)); /* long enough for a few hundred links more */
    assert_int_equal(pid_of(&d, "keyd-vault"), vault);
    assert_int_equal(pid_of(&d, "keyd-ledger"), ledger);
    assert_false(daemon_log_has(&d, "keyd-vault loses its links"));
    assert_int_equal(daemon_stop(&d), 0);
    daemon_clear(&d);
    static const char *const names[] = {"keyd-vault", "keyd-ledger", "keyd-gate",
                                        "keyd-p11"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(program, sizeof program, "%s/%s", libexec, names[i]);
        assert_int_equal(unlink(program), 0);
    }
    assert_int_equal(rmdir(libexec), 0);
}

static void
a_credential_of_impossible_size_leaves_the_sockets_open(void **state)
{
    struct daemon d;

    (void)state;
    assert_true(daemon_start(&d, NULL));
    assert_true(daemon_init_token(&d));
    assert_int_equal(daemon_stop(&d), 0);
    assert_int_equal(truncate(d.credential_path, 10), 0);
    assert_true(daemon_launch(&d));
    assert_true(daemon_log_wait(&d, "unseal refused", 2 * SOON_MS));
    keyd_client *c = daemon_connect(&d, "admin");
    struct keyd_answer *a = NULL;
    assert_non_null(c);
    assert_int_equal(keyd_client_status(c, &a), KEYD_OK);
    assert_int_equal(a->out.status.state, KEYD_STATE_SEALED);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    assert_int_equal(daemon_stop(&d), 0);
    daemon_clear(&d);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_gate_that_talks_nonsense_is_started_again_and_the_vault_is_not),
        cmocka_unit_test(a_credential_of_impossible_size_leaves_the_sockets_open),
    };

    if (strcmp(program_invocation_short_name, "keyd-gate") == 0)
        return be_a_hostile_gate();
    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
