/* Backups of a daemon at work, put back; records exported and dropped; a disk that
 * fills and has room again. */
#include "shell.h"
#include "state.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/ledger/audit.h>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

static struct storage keyd;

static struct keyd_answer *
backup(keyd_client *c, const char *name, bool poll_only)
{
    const struct keyd_request q = {
        .op = KEYD_OP_REGISTRY_BACKUP,
        .in.registry_backup = {.name = KEYD_STR(name), .poll = poll_only}};

    return ask(c, &q);
}

static void
backup_ends(const char *name, bool poll_only, enum keyd_status status,
            const char *detail)
{
    keyd_client *c = ask_connect(&keyd.d, "admin");

    ask_ends(backup(c, name, poll_only), status, detail);
    keyd_client_free(c);
}

/* Until it is done; its last record. */
static uint64_t
backup_wait(const char *name)
{
    keyd_client *c = ask_connect(&keyd.d, "admin");
    enum keyd_backup_state is = KEYD_BACKUP_COPYING;
    uint64_t seq = 0;

    while (is == KEYD_BACKUP_COPYING || is == KEYD_BACKUP_VERIFYING) {
        struct keyd_answer *a = backup(c, name, true);
        assert_int_equal(a->status, KEYD_OK);
        is = a->out.backup.state;
        seq = a->out.backup.seq;
        keyd_client_answer_free(a);
        kd_ignore(poll(NULL, 0, 5)); /* between two looks */
    }
    assert_int_equal(is, KEYD_BACKUP_DONE);
    keyd_client_free(c);
    return seq;
}

static bool
has(const char *name)
{
    char path[256];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", keyd.d.state, name);
    return stat(path, &st) == 0;
}

/* --- backup --- */

/* Whether the octets of the first file stand in some file below the second. */
#define FINDS                                                                          \
    "python3 -c 'import os, sys\n"                                                     \
    "o = open(sys.argv[1], \"rb\").read()\n"                                           \
    "for at, _, names in os.walk(sys.argv[2]):\n"                                      \
    "    for name in names:\n"                                                         \
    "        path = os.path.join(at, name)\n"                                          \
    "        if os.path.isfile(path) and o in open(path, \"rb\").read():\n"            \
    "            sys.exit(0)\n"                                                        \
    "sys.exit(1)'"

static void
a_backup_holds_what_was_there_and_is_not_written_over(void **state)
{
    char out[2048];

    (void)state;
    storage_keydctl(&keyd, 0, out, sizeof out, "registry backup first");
    assert_non_null(strstr(out, "records"));
    assert_true(has("backup/first/registry.db") && has("backup/first/keystore") &&
                has("backup/first/manifest"));
    assert_false(has("backup/.part"));
    backup_ends("first", false, KEYD_CONFLICT, "backup-exists");
    backup_ends("other", true, KEYD_NOT_FOUND, "no-such-backup");
    backup_ends("../x", false, KEYD_INVALID, "bad-name");
    backup_ends(".x", false, KEYD_INVALID, "bad-name");
    backup_ends("X", false, KEYD_INVALID, "bad-name");
    /* Nothing in it opens the key store; the same search finds it where it is. */
    shell("! " FINDS " '%s' '%s/backup/first'", keyd.d.credential_path, keyd.d.state);
    shell(FINDS " '%s' '%s'", keyd.d.credential_path, keyd.d.dir);
}

static void
install_as(const char *name, const char *into, int exit_status)
{
    storage_keydctl(&keyd, exit_status, NULL, 0,
                    "registry install %s/backup/%s --state %s", keyd.d.state, name,
                    into);
}

static void
a_changed_backup_is_not_installed(void **state)
{
    static const char *const files[] = {"registry.db", "keystore", "manifest"};
    char copy[200], into[200];

    (void)state;
    snprintf(copy, sizeof copy, "%s/backup/changed", keyd.d.state);
    snprintf(into, sizeof into, "%s/into", keyd.d.dir);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        shell("rm -rf '%s' '%s' && cp -a '%s/backup/first' '%s'", copy, into,
              keyd.d.state, copy);
        shell("printf X | dd of='%s/%s' bs=1 seek=40 conv=notrunc 2>/dev/null", copy,
              files[i]);
        /* It may have been one: what is there is random. */
        shell("! cmp -s '%s/backup/first/%s' '%s/%s' || printf Y | dd of='%s/%s' bs=1 "
              "seek=40 conv=notrunc 2>/dev/null",
              keyd.d.state, files[i], copy, files[i], copy, files[i]);
        install_as("changed", into, EX_DATAERR);
        shell("test ! -e '%s/registry.db'", into);
    }
    shell("rm -rf '%s' '%s'", copy, into);
}

static void
a_backup_made_at_work_is_whole_and_runs(void **state)
{
    struct storage other;
    char path[200], socket[108];

    (void)state;
    daemon_socket(&keyd.d, "submission", socket);
    const char *const arguments[] = {"--socket", socket,    "--connections",
                                     "4",        "--count", "4000",
                                     "--seed",   "work",    NULL};
    pid_t load = daemon_spawn(&keyd.d, "keyd-load", "load.out", arguments);
    assert_true(load > 0);
    backup_ends("work", false, KEYD_OK, NULL);
    uint64_t seq = backup_wait("work");
    assert_int_equal(daemon_reap(load, 60000), 0);
    assert_true(seq > 0);

    snprintf(path, sizeof path, "%s/elsewhere", keyd.d.dir);
    storage_prepare(&other, NULL, path);
    install_as("work", path, 0);
    if (geteuid() == 0)
        shell("chown -R %d '%s'", DAEMON_LEDGER, path);
    shell("cp -a '%s' '%s'", keyd.d.credential_path, other.d.credential_path);
    storage_check(&other);
    storage_launch(&other, KEYD_STATE_FAILED); /* it has records, and no checkpoint */
    storage_reason(&other, "checkpoint-missing");
    struct storage_head head;
    storage_head(&other, &head);
    assert_int_equal(head.seq, seq);
    ask_ends(storage_accept(&other, &head), KEYD_OK, NULL);
    storage_wait(&other, KEYD_STATE_OPERATIONAL, 10000);
    storage_look(&other, 1, KEYD_OK);
    storage_issue(&other, 500, KEYD_OK, NULL);
    storage_stop(&other);
    storage_check(&other);
    storage_clear(&other);
}

/* Until it works again. */
static void
crash(bool ledger_alone)
{
    if (ledger_alone) {
        kill(daemon_role(&keyd.d, KEYD_PROCESS_LEDGER, ""), SIGKILL);
    } else {
        daemon_kill(&keyd.d);
        assert_true(daemon_launch(&keyd.d));
    }
    storage_wait(&keyd, KEYD_STATE_OPERATIONAL, 20000);
}

static void
a_backup_cut_short_leaves_nothing_that_looks_like_one(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof name, "cut%u", i);
        backup_ends(name, false, KEYD_OK, NULL);
        if (i > 2)
            kd_ignore(usleep(i * 1500));
        crash(i % 2 == 0);
        keyd_client *c = ask_connect(&keyd.d, "admin");
        struct keyd_answer *a = backup(c, name, true);
        /* Done before the crash, or not there. */
        assert_true(a->status == KEYD_NOT_FOUND ||
                    (a->status == KEYD_OK && a->out.backup.state == KEYD_BACKUP_DONE));
        bool done = a->status == KEYD_OK;
        keyd_client_answer_free(a);
        if (!done) {
            assert_true(!has("backup") || !has(name));
            ask_ends(backup(c, name, false), KEYD_OK, NULL);
            backup_wait(name);
        }
        keyd_client_free(c);
    }
}

/* What an operator does at night, with the commands of dime-keyd(8). */
static void
a_backup_is_put_back_by_the_book(void **state)
{
    char out[4096], command[256];
    struct storage_head before;

    (void)state;
    storage_keydctl(&keyd, 0, NULL, 0, "registry backup night");
    storage_head(&keyd, &before);
    storage_issue_many(&keyd, 700, 5);
    storage_keydctl(&keyd, EX_UNAVAILABLE, out, sizeof out,
                    "registry install %s/backup/night --state %s", keyd.d.state,
                    keyd.d.state);
    assert_non_null(strstr(out, "stop it first"));
    storage_stop(&keyd);
    install_as("night", keyd.d.state, EX_CANTCREAT);
    storage_keydctl(&keyd, 0, out, sizeof out,
                    "registry install %s/backup/night --state %s --set-aside",
                    keyd.d.state, keyd.d.state);
    assert_true(has("set-aside.1/registry.db") && has("set-aside.1/keystore"));
    storage_launch(&keyd, KEYD_STATE_FAILED);
    storage_reason(&keyd, "registry-behind");
    storage_keydctl(&keyd, 1, out, sizeof out, "registry restore");
    char *line = strstr(out, "keydctl registry restore --seq");
    assert_non_null(line);
    snprintf(command, sizeof command, "%s", line + strlen("keydctl "));
    command[strcspn(command, "\n")] = '\0';
    storage_keydctl(&keyd, 0, out, sizeof out, "%s", command);
    storage_wait(&keyd, KEYD_STATE_OPERATIONAL, 10000);
    storage_look(&keyd, 700, KEYD_NOT_FOUND);
    storage_issue_many(&keyd, 710, 3);
    storage_keydctl(&keyd, 0, out, sizeof out, "audit verify");
    storage_stop(&keyd);
    storage_check(&keyd);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
}

/* --- dropping --- */

/* The last checkpoint covers this record; 0: there is none. */
static uint64_t
last_checkpoint(void)
{
    keyd_client *c = ask_connect(&keyd.d, "admin");
    struct keyd_answer *a = ask(c, &(struct keyd_request){.op = KEYD_OP_AUDIT_HEAD});
    struct kd_checkpoint point = {0};

    assert_int_equal(a->status, KEYD_OK);
    kd_ignore(kd_checkpoint_decode(ask_slice(a->out.audit_head.checkpoint), &point));
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return point.seq;
}

/* A vault signs one as soon as it is open: another run of the daemon. */
static uint64_t
another_checkpoint(void)
{
    uint64_t before = last_checkpoint(), now;
    int64_t until = kd_clock_ms() + 10000;

    storage_stop(&keyd);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    while ((now = last_checkpoint()) == before) {
        assert_true(kd_clock_ms() < until);
        kd_ignore(poll(NULL, 0, 5)); /* between two looks */
    }
    return now;
}

/* Over the records that there are, up to one. */
static void
segment_hash(uint64_t through, uint8_t hash[32])
{
    keyd_client *c = ask_connect(&keyd.d, "admin");
    struct storage_head head;

    storage_head(&keyd, &head);
    memset(hash, 0, 32);
    for (uint64_t seq = head.first; seq <= through;) {
        struct keyd_answer *a = NULL;
        assert_int_equal(keyd_client_audit_read(c, seq, 32, &a), KEYD_OK);
        for (size_t i = 0; i < a->out.audit.n_records && seq <= through; i++, seq++)
            kd_segment_add(hash, ask_slice(a->out.audit.records[i].octets));
        keyd_client_answer_free(a);
    }
    keyd_client_free(c);
}

static void
drop_ends(uint64_t through, const uint8_t hash[32], const uint8_t *key,
          enum keyd_status status, const char *detail)
{
    keyd_client *c = ask_connect(&keyd.d, "admin");
    const struct keyd_request q = {.op = KEYD_OP_AUDIT_DROP,
                                   .idempotency_key = key,
                                   .in.audit_drop = {through, {hash, 32}}};

    ask_ends(ask(c, &q), status, detail);
    keyd_client_free(c);
}

static void
generate(const uint8_t key[16], enum keyd_status status, const char *detail)
{
    keyd_client *c = ask_connect(&keyd.d, "admin");
    const struct keyd_request q = {
        .op = KEYD_OP_GENERATE_KEY,
        .idempotency_key = key,
        .in.generate_key = {.role = KEYD_ROLE_SOK,
                            .algorithm = KEYD_ED25519,
                            .domain = KEYD_STR("example.com"),
                            .permissions = KEYD_PERM_SIGNET}};

    struct keyd_answer *a = ask(c, &q);
    while (a->status == KEYD_BUSY) { /* the unsealing before is being recorded */
        keyd_client_answer_free(a);
        a = ask(c, &q);
    }
    ask_ends(a, status, detail);
    keyd_client_free(c);
}

static void
only_exported_records_under_a_checkpoint_are_dropped(void **state)
{
    static const uint8_t key[16] = "a key of the dr", other[16] = "another request";
    uint8_t hash[32], wrong[32];
    char out[4096], file[200];
    struct storage_head head;

    (void)state;
    generate(other, KEYD_OK, NULL);
    uint64_t through = another_checkpoint();
    storage_issue_many(&keyd, 800, 40);
    uint64_t last = another_checkpoint();
    segment_hash(through, hash);
    memcpy(wrong, hash, sizeof wrong);
    wrong[0] ^= 1;
    drop_ends(through, wrong, NULL, KEYD_INVALID, "segment-differs");
    drop_ends(through - 1, hash, NULL, KEYD_NOT_FOUND, "not-a-checkpoint");
    segment_hash(last, wrong);
    drop_ends(last, wrong, NULL, KEYD_CONFLICT, "last-segment");

    snprintf(file, sizeof file, "%s/first.audit", keyd.d.dir);
    storage_keydctl(&keyd, 0, out, sizeof out, "audit export --closed -o %s", file);
    storage_keydctl(&keyd, EX_DATAERR, out, sizeof out,
                    "audit drop --through %llu --exported %s",
                    (unsigned long long)through - 1, file);
    drop_ends(through, hash, key, KEYD_OK, NULL);
    drop_ends(through, hash, key, KEYD_OK, NULL); /* the same request again */
    drop_ends(through, hash, NULL, KEYD_NOT_FOUND, "not-a-checkpoint");
    storage_head(&keyd, &head);
    assert_int_equal(head.first, through + 1);

    /* Without the export it holds from there on, with it from the first. */
    storage_keydctl(&keyd, 0, out, sizeof out, "audit verify");
    assert_non_null(strstr(out, "dropped"));
    storage_keydctl(&keyd, 0, out, sizeof out, "audit verify --exported %s", file);
    assert_null(strstr(out, "dropped"));
    assert_non_null(strstr(out, ", 1 to "));
    keyd_client *c = ask_connect(&keyd.d, "admin");
    struct keyd_answer *a = NULL;
    assert_int_equal(keyd_client_audit_read(c, 1, 10, &a), KEYD_NOT_FOUND);
    keyd_client_answer_free(a);
    keyd_client_free(c);

    /* What pointed to a dropped record says so. */
    generate(other, KEYD_CONFLICT, "record-dropped");
    storage_stop(&keyd);
    storage_check(&keyd);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
    storage_issue(&keyd, 900, KEYD_OK, NULL);
}

static void
the_tool_drops_what_its_export_shows(void **state)
{
    char out[4096], first[200], second[200];
    uint64_t through = last_checkpoint();

    (void)state;
    snprintf(first, sizeof first, "%s/first.audit", keyd.d.dir);
    snprintf(second, sizeof second, "%s/second.audit", keyd.d.dir);
    storage_issue_many(&keyd, 1000, 10);
    another_checkpoint();
    storage_keydctl(&keyd, 0, out, sizeof out, "audit export -o %s --progress", second);
    /* The first file ends before the record: not shown, not dropped. */
    storage_keydctl(&keyd, EX_DATAERR, out, sizeof out,
                    "audit drop --through %llu --exported %s",
                    (unsigned long long)last_checkpoint(), first);
    storage_keydctl(&keyd, 0, out, sizeof out,
                    "audit drop --through %llu --exported %s --exported %s --progress",
                    (unsigned long long)through, first, second);
    storage_keydctl(&keyd, 0, out, sizeof out,
                    "audit verify --exported %s --exported %s --progress", first,
                    second);
    assert_non_null(strstr(out, ", 1 to "));
    assert_non_null(strstr(out, "/s"));
    storage_keydctl(&keyd, 1, out, sizeof out,
                    "audit verify --exported %s --exported %s", second, first);
    storage_stop(&keyd);
    storage_check(&keyd);
    storage_launch(&keyd, KEYD_STATE_OPERATIONAL);
}

static void
a_drop_cut_short_is_finished_at_the_next_start(void **state)
{
    uint8_t hash[32];
    uint64_t first = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct storage_head head;
        storage_issue_many(&keyd, 2000 + 600 * (uint64_t)i, 600);
        uint64_t through = another_checkpoint();
        another_checkpoint();
        segment_hash(through, hash);
        drop_ends(through, hash, NULL, KEYD_OK, NULL);
        crash(i % 2 == 0);
        storage_head(&keyd, &head);
        assert_int_equal(head.first, through + 1);
        assert_true(head.first > first);
        first = head.first;
        storage_keydctl(&keyd, 0, NULL, 0, "audit verify");
    }
    storage_stop(&keyd);
    storage_check(&keyd);
}

/* --- a full disk --- */

static void
a_disk_that_fills_refuses_early_and_recovers_without_a_restart(void **state)
{
    char mount_point[160], filler[200], own_state[200];
    struct storage s;

    (void)state;
    snprintf(mount_point, sizeof mount_point, "%s/disk", keyd.d.dir);
    if (geteuid() != 0 || mkdir(mount_point, 0755) != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", mount_point, "tmpfs", 0, "size=24m,mode=755") != 0) {
        print_message("skipped: cannot mount a small file system here\n");
        skip();
    }
    snprintf(own_state, sizeof own_state, "%s/state", mount_point);
    storage_prepare(&s, "reserve-space = 4194304\n", own_state);
    assert_true(daemon_launch(&s.d) && daemon_wait(&s.d, 20000) &&
                daemon_provision(&s.d, NULL));
    storage_issue(&s, 1, KEYD_OK, NULL);
    pid_t ledger = daemon_role(&s.d, KEYD_PROCESS_LEDGER, "");
    snprintf(filler, sizeof filler, "%s/filler", mount_point);
    shell_fill_disk(filler, 1024 * 1024);

    storage_wait(&s, KEYD_STATE_DEGRADED, 5000);
    storage_reason(&s, "reserve-low");
    storage_issue(&s, 2, KEYD_UNAVAILABLE, "disk-full");
    storage_look(&s, 1, KEYD_OK);
    assert_true(daemon_log_has(&s.d, "nearly full"));
    keyd_client *c = ask_connect(&s.d, "admin");
    ask_ends(backup(c, "small", false), KEYD_UNAVAILABLE, "disk-full");
    /* The reserve is there for what has to be done all the same. */
    struct keyd_answer *a = NULL;
    assert_int_equal(keyd_client_seal(c, &a), KEYD_OK);
    keyd_client_answer_free(a);
    assert_int_equal(daemon_unseal(&s.d, c), KEYD_OK);
    keyd_client_free(c);

    assert_int_equal(unlink(filler), 0);
    storage_wait(&s, KEYD_STATE_OPERATIONAL, 10000);
    storage_issue(&s, 2, KEYD_OK, NULL);
    assert_int_equal(daemon_role(&s.d, KEYD_PROCESS_LEDGER, ""), ledger);
    storage_stop(&s);
    storage_check(&s);
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
        cmocka_unit_test(a_backup_holds_what_was_there_and_is_not_written_over),
        cmocka_unit_test(a_changed_backup_is_not_installed),
        cmocka_unit_test(a_backup_made_at_work_is_whole_and_runs),
        cmocka_unit_test(a_backup_cut_short_leaves_nothing_that_looks_like_one),
        cmocka_unit_test(a_backup_is_put_back_by_the_book),
        cmocka_unit_test(only_exported_records_under_a_checkpoint_are_dropped),
        cmocka_unit_test(the_tool_drops_what_its_export_shows),
        cmocka_unit_test(a_drop_cut_short_is_finished_at_the_next_start),
        cmocka_unit_test(
            a_disk_that_fills_refuses_early_and_recovers_without_a_restart),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
