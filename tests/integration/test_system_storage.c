/* What is kept outside of the registry: an older copy, a fork, a clone, a damaged or
 * missing checkpoint file are refused; an operator's acceptance lifts that, and nothing
 * else does. */
#include "shell.h"
#include "state.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/ledger/outside.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    REFUSED_MS = 2000,
    WAIT_MS = 60000, /* for what must come, on however busy a machine */
};

static struct storage keyd;

/* Nothing is issued, everything else that the state allows goes on. */
static void
assert_held(const char *reason)
{
    storage_reason(&keyd, reason);
    storage_issue(&keyd, 900000, KEYD_UNAVAILABLE, reason);
    storage_look(&keyd, 1, KEYD_OK);
    assert_int_equal(ask_counter(&keyd.d, "checkpoint-file"), 1);
}

static void
accept_now(void)
{
    struct storage_head head;
    int64_t until = kd_clock_ms() + WAIT_MS;

    storage_head(&keyd, &head);
    struct keyd_answer *a = storage_accept(&keyd, &head);
    /* Who may accept stands in the key store, which may still be opening; the record of
     * the start may be under way. */
    while (kd_clock_ms() < until &&
           (a->status == KEYD_SEALED || strcmp(a->detail, "starting") == 0 ||
            strcmp(a->detail, "other-head") == 0)) {
        keyd_client_answer_free(a);
        kd_ignore(poll(NULL, 0, 20)); /* between two looks at another process */
        storage_head(&keyd, &head);
        a = storage_accept(&keyd, &head);
    }
    ask_ends(a, KEYD_OK, NULL);
    storage_wait(&keyd, KEYD_STATE_OPERATIONAL, WAIT_MS); /* it may have to unseal */
}

/* --- older copies --- */

static void
a_registry_put_back_1_10_or_1000_rows_old_is_refused(void **state)
{
    static const unsigned ages[] = {1, 10, 1000};

    (void)state;
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        storage_put_back(&keyd, "good", true);
        storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
        storage_stop(&keyd);
        storage_keep(&keyd, "older", false);
        storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
        storage_issue_many(&keyd, 100, ages[i]);
        storage_stop(&keyd);
        storage_put_back(&keyd, "older", false);
        storage_launch(&keyd, KEYD_STATE_FAILED);
        assert_held("registry-behind");
        storage_stop(&keyd);
    }
}

/* The age is told by the head that is noted behind every commit, not only by signed
 * checkpoints, which come every few minutes. */
/* The number of the last record in the registry, of a daemon that does not run. */
static uint64_t
last_record(void)
{
    char path[160];
    sqlite3 *db;
    sqlite3_stmt *s;

    snprintf(path, sizeof path, "%s/registry.db", keyd.d.state);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT max(seq) FROM audit", -1, &s, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    uint64_t seq = (uint64_t)sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return seq;
}

/* The same as it was noted outside. */
static uint64_t
last_outside(void)
{
    struct kd_outside found;
    int dir = open(keyd.outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(dir >= 0);
    assert_int_equal(kd_outside_read(dir, "checkpoint", &found), KD_OK);
    close(dir);
    assert_true(found.has_head);
    return found.head.seq;
}

static void
one_record_of_a_running_vault_is_enough_to_tell_the_age(void **state)
{
    struct storage_head head = {0};

    (void)state;
    storage_put_back(&keyd, "good", true);
    uint64_t last = last_record();
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    /* It works before the record of that is stored. */
    int64_t until = kd_clock_ms() + WAIT_MS;
    while (head.seq <= last) {
        assert_true(kd_clock_ms() < until);
        storage_head(&keyd, &head);
    }
    storage_outside(&keyd);
    daemon_kill(&keyd.d);
    storage_put_back(&keyd, "good", false);
    storage_launch(&keyd, KEYD_STATE_FAILED);
    assert_held("registry-behind");
    storage_stop(&keyd);
}

static void
a_daemon_killed_at_any_moment_is_not_refused(void **state)
{
    (void)state;
    storage_put_back(&keyd, "good", true);
    for (unsigned i = 0; i < 12; i++) {
        storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
        storage_issue_many(&keyd, 2000 + 10 * (uint64_t)i, i);
        daemon_kill(&keyd.d);
    }
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    storage_stop(&keyd);
    storage_check(&keyd);
}

static void
a_stop_in_order_leaves_its_last_record_outside(void **state)
{
    (void)state;
    storage_put_back(&keyd, "good", true);
    for (unsigned i = 0; i < 12; i++) {
        storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
        storage_stop(&keyd);
        assert_int_equal(last_outside(), last_record());
    }
}

/* --- acceptance --- */

static void
only_the_head_that_is_named_is_accepted_and_issuing_goes_on(void **state)
{
    struct storage_head head, other, after;

    (void)state;
    storage_put_back(&keyd, "good", true);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    storage_head(&keyd, &other);
    ask_ends(storage_accept(&keyd, &other), KEYD_CONFLICT, "nothing-to-accept");
    storage_issue_many(&keyd, 3000, 20);
    storage_head(&keyd, &other);
    storage_stop(&keyd);
    storage_keep(&keyd, "newer", false);
    storage_put_back(&keyd, "good", false);
    storage_launch(&keyd, KEYD_STATE_FAILED);
    assert_held("registry-behind");

    storage_head(&keyd, &head);
    assert_true(head.seq < other.seq);
    ask_ends(storage_accept(&keyd, &other), KEYD_CONFLICT, "other-head");
    other = head;
    other.hash[31] ^= 1;
    ask_ends(storage_accept(&keyd, &other), KEYD_CONFLICT, "other-head");
    assert_held("registry-behind");
    struct keyd_answer *a = storage_accept(&keyd, &head);
    assert_int_equal(a->status, KEYD_OK);
    assert_true(a->out.restored.epoch > head.epoch + 100);
    assert_int_equal(a->out.restored.seq, head.seq + 1);
    assert_true(a->out.restored.state == KEYD_STATE_OPERATIONAL ||
                a->out.restored.state == KEYD_STATE_DEGRADED); /* example.net */
    keyd_client_answer_free(a);
    storage_reason(&keyd, "");
    storage_issue_many(&keyd, 4000, 5);
    storage_look(&keyd, 3000, KEYD_NOT_FOUND);
    storage_stop(&keyd);

    /* For good: the next start has nothing against it. */
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    storage_head(&keyd, &after);
    assert_true(after.epoch > head.epoch + 100);
    storage_stop(&keyd);
    storage_check(&keyd);

    /* The branch that was set aside is none any more. */
    storage_put_back(&keyd, "newer", false);
    storage_launch(&keyd, KEYD_STATE_FAILED);
    storage_issue(&keyd, 900000, KEYD_UNAVAILABLE, NULL);
    storage_stop(&keyd);
}

/* Held or open; no daemon stays between. */
static bool
comes_up_accepted(void)
{
    assert_true(daemon_launch(&keyd.d));
    int64_t until = kd_clock_ms() + WAIT_MS;
    while (kd_clock_ms() < until) {
        enum keyd_service_state is = storage_state(&keyd);
        if (is == KEYD_STATE_OPERATIONAL || is == KEYD_STATE_FAILED)
            return is == KEYD_STATE_OPERATIONAL;
        kd_ignore(poll(NULL, 0, 5)); /* between two looks */
    }
    fail_msg("neither held nor open, see %s", keyd.d.log);
    return false;
}

static void
never(void *cookie, struct keyd_answer *answer)
{
    (void)cookie;
    keyd_client_answer_free(answer);
}

static void
an_acceptance_cut_short_by_a_crash_can_be_made_again(void **state)
{
    unsigned n_accepted = 0, n = 0;

    (void)state;
    storage_put_back(&keyd, "good", true);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    storage_issue_many(&keyd, 5000, 5);
    storage_stop(&keyd);
    storage_keep(&keyd, "newer", true);
    for (unsigned after_us = 0; after_us < 1600; after_us += n % 2 * 200, n++) {
        struct storage_head head;
        storage_put_back(&keyd, "newer", true);
        storage_put_back(&keyd, "good", false);
        storage_launch(&keyd, KEYD_STATE_FAILED);
        storage_head(&keyd, &head);
        pid_t ledger = daemon_role(&keyd.d, KEYD_PROCESS_LEDGER, "");
        keyd_client *c = ask_connect(&keyd.d, "admin");
        const struct keyd_request q = {
            .op = KEYD_OP_REGISTRY_RESTORE,
            .in.registry_restore = {head.seq, {head.hash, sizeof head.hash}}};
        assert_int_equal(keyd_client_submit(c, &q, never, NULL, NULL), KEYD_OK);
        kd_ignore(keyd_client_process(c, 0)); /* it is on its way */
        if (after_us != 0)
            kd_ignore(usleep(after_us));
        if (n % 2 != 0 && ledger > 0)
            kill(ledger, SIGKILL);
        daemon_kill(&keyd.d);
        keyd_client_free(c);
        bool accepted = comes_up_accepted();
        n_accepted += accepted;
        if (!accepted)
            accept_now();
        storage_issue(&keyd, 5500, KEYD_OK, NULL);
        storage_stop(&keyd);
        storage_check(&keyd);
    }
    print_message("%u of %u were accepted before the crash\n", n_accepted, n);
}

/* --- acceptance by operators --- */

static const char *const operators[] = {"ben", "caller-admin", "cid"}; /* sorted */
enum { OPERATORS = 3 };

static void
enroll(uint8_t secrets[OPERATORS][64])
{
    struct keyd_operator wanted[OPERATORS];
    uint8_t keys[OPERATORS][32], seed[32] = {0x53};
    keyd_client *c = ask_connect(&keyd.d, "admin");

    for (size_t i = 0; i < OPERATORS; i++) {
        seed[1] = (uint8_t)i;
        crypto_sign_seed_keypair(keys[i], secrets[i], seed);
        wanted[i] = (struct keyd_operator){KEYD_STR(operators[i]), {keys[i], 32}};
    }
    const struct keyd_request q = {
        .op = KEYD_OP_SET_QUORUM,
        .in.set_quorum = {.k = 2,
                          .marks = UINT64_C(1) << KEYD_OP_REGISTRY_RESTORE |
                                   UINT64_C(1) << KEYD_OP_SET_QUORUM,
                          .operators = wanted,
                          .n_operators = OPERATORS}};
    struct keyd_answer *a = ask(c, &q);
    while (a->status == KEYD_BUSY) { /* the unsealing before is being recorded */
        keyd_client_answer_free(a);
        a = ask(c, &q);
    }
    ask_ends(a, KEYD_OK, NULL);
    keyd_client_free(c);
}

static struct keyd_answer *
approve(keyd_client *c, const uint8_t id[16], const char *name,
        const uint8_t secret[64])
{
    const struct keyd_request show = {.op = KEYD_OP_APPROVAL_SHOW,
                                      .in.approval_show.id = {id, 16}};
    struct keyd_answer *a = ask(c, &show);
    uint8_t sig[64];

    assert_int_equal(a->status, KEYD_OK);
    crypto_sign_detached(sig, NULL, a->out.approvals.text.p, a->out.approvals.text.n,
                         secret);
    keyd_client_answer_free(a);
    const struct keyd_request sign = {
        .op = KEYD_OP_APPROVAL_SIGN,
        .in.approval_sign = {
            .id = {id, 16}, .operator_name = KEYD_STR(name), .signature = {sig, 64}}};
    return ask(c, &sign);
}

static void
waits_for(struct keyd_answer *a, uint32_t missing, uint8_t id[16])
{
    assert_int_equal(a->status, KEYD_APPROVAL_NEEDED);
    assert_int_equal(a->approvals_missing, missing);
    memcpy(id, a->approval_id, 16);
    keyd_client_answer_free(a);
}

static void
where_operators_are_enrolled_an_acceptance_takes_their_approvals(void **state)
{
    uint8_t secrets[OPERATORS][64], id[16];
    const uint8_t key[KEYD_KEY_SIZE] = {0x11};
    struct storage_head head, after;
    char log[8192];

    (void)state;
    storage_put_back(&keyd, "good", true);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    enroll(secrets);
    storage_stop(&keyd);
    storage_keep(&keyd, "enrolled", false);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    storage_issue_many(&keyd, 5600, 5);
    storage_stop(&keyd);
    storage_put_back(&keyd, "enrolled", false);
    storage_launch(&keyd, KEYD_STATE_FAILED);
    storage_head(&keyd, &head);
    struct keyd_answer *a = storage_accept(&keyd, &head);
    waits_for(a, 2, id); /* and nobody repeats this one */

    keyd_client *c = ask_connect(&keyd.d, "admin");
    const struct keyd_request q = {
        .op = KEYD_OP_REGISTRY_RESTORE,
        .idempotency_key = key,
        .in.registry_restore = {head.seq, {head.hash, sizeof head.hash}}};
    waits_for(ask(c, &q), 2, id);
    ask_ends(approve(c, id, "ben", secrets[2]), KEYD_INVALID, "bad-signature");
    ask_ends(approve(c, id, "ben", secrets[0]), KEYD_OK, NULL);
    waits_for(ask(c, &q), 1, id);
    storage_issue(&keyd, 5601, KEYD_UNAVAILABLE, "registry-behind");
    ask_ends(approve(c, id, "cid", secrets[2]), KEYD_OK, NULL);
    storage_head(&keyd, &after);
    assert_int_equal(after.seq, head.seq); /* nothing was recorded before it */
    ask_ends(ask(c, &q), KEYD_OK, NULL);
    keyd_client_free(c);
    storage_wait(&keyd, KEYD_STATE_OPERATIONAL, WAIT_MS);
    storage_issue(&keyd, 5601, KEYD_OK, NULL);
    storage_keydctl(&keyd, 0, log, sizeof log, "audit tail -n 12");
    const char *restored = strstr(log, "restore-registry");
    assert_non_null(restored);
    assert_non_null(strstr(restored, "op:ben"));
    assert_non_null(strstr(restored, "op:cid"));
    storage_stop(&keyd);
    storage_check(&keyd);
}

/* Nothing was ever protected, and nobody could be asked: the configuration decides. */
static void
a_registry_from_before_the_first_key_store_is_accepted(void **state)
{
    (void)state;
    storage_put_back(&keyd, "good", true);
    shell("rm -rf '%s'; rm -f '%s'/*", keyd.d.state, keyd.outside);
    storage_launch(&keyd, KEYD_STATE_UNPROVISIONED);
    storage_stop(&keyd);
    shell("rm -f '%s'/*", keyd.outside);
    storage_launch(&keyd, KEYD_STATE_FAILED);
    storage_reason(&keyd, "checkpoint-missing");
    struct storage_head head;
    storage_head(&keyd, &head);
    ask_ends(storage_accept(&keyd, &head), KEYD_OK, NULL);
    storage_wait(&keyd, KEYD_STATE_UNPROVISIONED, WAIT_MS);
    storage_stop(&keyd);
}

/* --- the files outside --- */

static void
a_registry_with_records_and_no_checkpoint_file_is_refused_and_a_new_one_is_not(
    void **state)
{
    (void)state;
    storage_put_back(&keyd, "good", true);
    shell("rm -f '%s'/*", keyd.outside);
    storage_launch(&keyd, KEYD_STATE_FAILED);
    assert_held("checkpoint-missing");
    accept_now();
    storage_issue(&keyd, 6000, KEYD_OK, NULL);
    storage_stop(&keyd);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    storage_stop(&keyd);

    /* Wiped, with the old checkpoint still there: another registry. */
    shell("rm -rf '%s'", keyd.d.state);
    storage_launch(&keyd, KEYD_STATE_FAILED);
    storage_reason(&keyd, "registry-forked");
    storage_stop(&keyd);
    shell("rm -f '%s'/*", keyd.outside);
    storage_launch(&keyd, KEYD_STATE_UNPROVISIONED);
    storage_stop(&keyd);
    storage_launch(&keyd, KEYD_STATE_UNPROVISIONED);
    storage_stop(&keyd);
}

enum { CHANGES = 24 };

static void
count_answer(void *cookie, struct keyd_answer *a)
{
    size_t *n = cookie;

    ++*n;
    keyd_client_answer_free(a);
}

/* True if some thread of the process has work to do. */
static bool
is_running(pid_t pid)
{
    char path[64], line[512];
    bool runs = false;
    struct dirent *e;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    assert_non_null(tasks);
    while (!runs && (e = readdir(tasks)) != NULL) {
        char stat[400];
        if (e->d_name[0] == '.')
            continue;
        snprintf(stat, sizeof stat, "%s/%s/stat", path, e->d_name);
        FILE *f = fopen(stat, "re");
        if (f == NULL)
            continue;
        if (fgets(line, sizeof line, f) != NULL)
            runs = strstr(line, ") S ") == NULL;
        fclose(f);
    }
    closedir(tasks);
    return runs;
}

/* Until the process has done what it can, and waits: some looks in a row. */
static void
settle(pid_t pid)
{
    int64_t until = kd_clock_ms() + WAIT_MS;

    for (unsigned n = 0; n < 10; n = is_running(pid) ? 0 : n + 1) {
        assert_true(kd_clock_ms() < until);
        kd_ignore(poll(NULL, 0, 30)); /* between two looks */
    }
}

/* The ledger ends with a change of the key store before it, and comes back without what
 * was noted outside: the record is stored then, but that lifts nothing. */
static void
a_change_that_is_recorded_while_the_vault_is_held_does_not_lift_that(void **state)
{
    const struct keyd_request generate = {
        .op = KEYD_OP_GENERATE_KEY,
        .in.generate_key = {.role = KEYD_ROLE_SOK,
                            .algorithm = KEYD_ED25519,
                            .domain = KEYD_STR("example.com"),
                            .permissions = KEYD_PERM_CERTIFICATE}};
    size_t n = 0;

    (void)state;
    storage_put_back(&keyd, "good", true);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    keyd_client *c = ask_connect(&keyd.d, "admin");
    pid_t ledger = daemon_role(&keyd.d, KEYD_PROCESS_LEDGER, "");
    pid_t vault = daemon_role(&keyd.d, KEYD_PROCESS_VAULT, "");
    assert_true(ledger > 0 && vault > 0);
    for (size_t i = 0; i < CHANGES; i++)
        assert_int_equal(keyd_client_submit(c, &generate, count_answer, &n, NULL),
                         KEYD_OK);
    while (n == 0)
        assert_int_equal(keyd_client_process(c, 20000), KEYD_OK);
    assert_int_equal(kill(ledger, SIGSTOP), 0);
    settle(vault); /* it has come to the next one's record */
    shell("rm -f '%s'/*", keyd.outside);
    assert_int_equal(kill(ledger, SIGKILL), 0);
    while (n < CHANGES)
        assert_int_equal(keyd_client_process(c, 20000), KEYD_OK);
    keyd_client_free(c);
    /* Those behind it may be refused before there is a ledger again. */
    storage_wait(&keyd, KEYD_STATE_FAILED, WAIT_MS);
    assert_held("checkpoint-missing");
    accept_now();
    storage_issue(&keyd, 6100, KEYD_OK, NULL);
    storage_stop(&keyd);
    storage_check(&keyd);
}

static void
flip(const char *path, off_t at, unsigned bit)
{
    uint8_t octet;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &octet, 1, at), 1);
    octet ^= (uint8_t)(1U << bit);
    assert_int_equal(pwrite(fd, &octet, 1, at), 1);
    close(fd);
}

static void
a_checkpoint_file_with_a_flipped_bit_is_refused(void **state)
{
    struct stat st;
    unsigned bit = 0;

    (void)state;
    storage_put_back(&keyd, "good", true);
    assert_int_equal(stat(keyd.checkpoint, &st), 0);
    for (off_t at = 0; at < st.st_size; at += 9, bit++) {
        storage_put_back(&keyd, "good", true);
        flip(keyd.checkpoint, at, bit % 8);
        assert_true(daemon_launch(&keyd.d));
        /* What only the signature shows is seen when the keys are open. */
        storage_wait(&keyd, KEYD_STATE_FAILED, WAIT_MS);
        storage_issue(&keyd, 900000, KEYD_UNAVAILABLE, NULL);
        storage_stop(&keyd);
    }
    storage_launch(&keyd, KEYD_STATE_FAILED);
    accept_now();
    storage_issue(&keyd, 6500, KEYD_OK, NULL);
    storage_stop(&keyd);
}

static void
a_half_written_head_does_no_harm_and_a_damaged_one_is_refused(void **state)
{
    char head[160];

    (void)state;
    storage_put_back(&keyd, "good", true);
    snprintf(head, sizeof head, "%s.head", keyd.checkpoint);
    flip(head, 20, 3); /* one of the two */
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    storage_stop(&keyd);
    storage_put_back(&keyd, "good", true);
    flip(head, 20, 3);
    flip(head, 4096 + 20, 3);
    storage_launch(&keyd, KEYD_STATE_FAILED);
    assert_held("checkpoint-unreadable");
    storage_stop(&keyd);
    storage_put_back(&keyd, "good", true);
    assert_int_equal(truncate(head, 10), 0);
    storage_launch(&keyd, KEYD_STATE_FAILED);
    assert_held("checkpoint-unreadable");
    storage_stop(&keyd);
}

static void
a_clone_of_the_state_cannot_run_beside_it_nor_after_it(void **state)
{
    struct storage clone;
    char path[160];

    (void)state;
    storage_put_back(&keyd, "good", true);
    int64_t start = kd_clock_ms();
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    int64_t launch_ms = kd_clock_ms() - start;
    snprintf(path, sizeof path, "%s/clone", keyd.d.dir);
    shell("rm -rf '%s' && cp -a '%s/good' '%s'", path, keyd.d.dir, path);
    storage_prepare(&clone, NULL, path);
    shell("rmdir '%s'", clone.outside);
    shell("sed -i 's|^checkpoint-file = .*|checkpoint-file = \"%s\"|' '%s'",
          keyd.checkpoint, clone.d.conf);
    memcpy(clone.d.credential, keyd.d.credential, sizeof clone.d.credential);
    shell("cp -a '%s' '%s'", keyd.d.credential_path, clone.d.credential_path);

    /* At once; a busy machine takes its time for a start that is good, too. */
    start = kd_clock_ms();
    assert_true(daemon_launch(&clone.d));
    assert_int_equal(daemon_wait_end(&clone.d, WAIT_MS), EX_CONFIG);
    assert_in_range(kd_clock_ms() - start, 0, REFUSED_MS + 2 * launch_ms);
    assert_true(daemon_log_has(&clone.d, "in use by another keyd"));
    storage_issue(&keyd, 7000, KEYD_OK, NULL);
    storage_stop(&keyd);

    storage_launch(&clone, KEYD_STATE_FAILED);
    storage_reason(&clone, "registry-behind");
    storage_stop(&clone);
    clone.outside[0] = '\0';
    storage_clear(&clone);
}

static void
a_checkpoint_that_cannot_be_written_degrades_and_after_the_grace_stops_signing(
    void **state)
{
    struct storage s;

    (void)state;
    if (geteuid() != 0)
        skip();
    storage_start(&s, "checkpoint-grace = 600\naudit-checkpoint-interval = 10\n");
    storage_stop(&s);
    shell("chown 0:0 '%s' && chmod 0755 '%s'", s.outside, s.outside);
    storage_launch(&s, KEYD_STATE_DEGRADED);
    storage_reason(&s, "checkpoint-file");
    storage_issue(&s, 1, KEYD_OK, NULL);
    assert_true(ask_counter(&s.d, "checkpoint-failures") > 0);
    storage_stop(&s);
    assert_false(daemon_log_has(&s.d, "could not be written for too long"));

    shell("sed -i 's|^checkpoint-grace = .*|checkpoint-grace = 2|' '%s'", s.d.conf);
    storage_launch(&s, KEYD_STATE_DEGRADED);
    assert_true(daemon_log_wait(&s.d, "could not be written for too long", WAIT_MS));
    storage_issue(&s, 2, KEYD_UNAVAILABLE, "checkpoint-overdue");
    storage_look(&s, 1, KEYD_OK);
    shell("chown %d:0 '%s'", DAEMON_LEDGER, s.outside);
    storage_wait(&s, KEYD_STATE_OPERATIONAL, WAIT_MS);
    storage_issue(&s, 2, KEYD_OK, NULL);
    storage_stop(&s);
    storage_clear(&s);
}

static void
without_a_checkpoint_file_it_says_that_it_cannot_know(void **state)
{
    struct daemon d;

    (void)state;
    assert_true(daemon_start(&d, NULL));
    assert_int_equal(ask_counter(&d, "checkpoint-file"), 0);
    assert_true(daemon_log_has(&d, "whether this registry is the newest cannot be"));
    assert_int_equal(daemon_stop(&d), 0);
    daemon_clear(&d);
}

/* --- the disk at start --- */

static void
a_registry_that_cannot_be_opened_now_is_tried_again_until_it_can(void **state)
{
    char mount_point[160], own_state[200];
    struct storage s;

    (void)state;
    snprintf(mount_point, sizeof mount_point, "%s/tiny", keyd.d.dir);
    if (geteuid() != 0 || mkdir(mount_point, 0755) != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", mount_point, "tmpfs", 0, "size=64k,mode=755") != 0) {
        print_message("skipped: cannot mount a small file system here\n");
        skip();
    }
    snprintf(own_state, sizeof own_state, "%s/state", mount_point);
    storage_prepare(&s, NULL, own_state);
    assert_true(daemon_launch(&s.d));
    assert_true(daemon_log_wait(&s.d, "to be tried again", WAIT_MS));
    assert_true(daemon_log_wait(&s.d, "keeps ending", WAIT_MS));
    assert_int_equal(mount(NULL, mount_point, NULL, MS_REMOUNT, "size=64m,mode=755"),
                     0);
    assert_true(daemon_wait(&s.d, WAIT_MS));
    storage_stop(&s);
    storage_clear(&s);
    assert_int_equal(umount(mount_point), 0);
}

/* --- start and end --- */

static int
set_up(void **state)
{
    (void)state;
    if (kd_secret_setup(65536) != KD_OK)
        return -1;
    storage_start(&keyd, NULL);
    storage_issue_many(&keyd, 0, 10);
    storage_stop(&keyd);
    storage_keep(&keyd, "good", true);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    storage_clear(&keyd);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_registry_put_back_1_10_or_1000_rows_old_is_refused),
        cmocka_unit_test(one_record_of_a_running_vault_is_enough_to_tell_the_age),
        cmocka_unit_test(a_daemon_killed_at_any_moment_is_not_refused),
        cmocka_unit_test(a_stop_in_order_leaves_its_last_record_outside),
        cmocka_unit_test(only_the_head_that_is_named_is_accepted_and_issuing_goes_on),
        cmocka_unit_test(
            where_operators_are_enrolled_an_acceptance_takes_their_approvals),
        cmocka_unit_test(an_acceptance_cut_short_by_a_crash_can_be_made_again),
        cmocka_unit_test(a_registry_from_before_the_first_key_store_is_accepted),
        cmocka_unit_test(
            a_registry_with_records_and_no_checkpoint_file_is_refused_and_a_new_one_is_not),
        cmocka_unit_test(
            a_change_that_is_recorded_while_the_vault_is_held_does_not_lift_that),
        cmocka_unit_test(a_checkpoint_file_with_a_flipped_bit_is_refused),
        cmocka_unit_test(a_half_written_head_does_no_harm_and_a_damaged_one_is_refused),
        cmocka_unit_test(a_clone_of_the_state_cannot_run_beside_it_nor_after_it),
        cmocka_unit_test(
            a_checkpoint_that_cannot_be_written_degrades_and_after_the_grace_stops_signing),
        cmocka_unit_test(without_a_checkpoint_file_it_says_that_it_cannot_know),
        cmocka_unit_test(
            a_registry_that_cannot_be_opened_now_is_tried_again_until_it_can),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
