/* Roles without memory or descriptors: the kth allocation fails, descriptors run out,
 * address space ends, a role forks without end. Nobody ends by a signal but who was
 * made to, the others go on, what was refused is refused clearly, and nothing that was
 * acknowledged is lost. */
#include "fault_suite.h"
#include "load.h"
#include "people.h"
#include "scale.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <dirent.h>
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
    char address[64];
    struct kd_buf ssr;
    unsigned person = n_person++;
    enum keyd_status s;

    person_request("memory", person, &ssr);
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
nobody_crashed(long at, uint64_t n)
{
    const char *line = fault_log_find(&faults, &keyd, at, "ended by signal", NULL);

    if (line != NULL)
        fail_msg("at %llu: %s", (unsigned long long)n, line);
}

/* --- memory --- */

/* A round takes up to some hundred requests until its allocation comes, and all that
 * was issued is judged again and again: of the short run there is less than a tenth. */
static size_t
rounds(size_t whole)
{
    return test_scale() >= TEST_SCALE_WHOLE ? whole : test_rounds(whole) / 8 + 1;
}

/* The kth allocation of a running role fails while there is work that makes it. A role
 * that has ended in order twice would have to wait before it is started again, so there
 * is a new supervisor then. */
static void
starve_running(enum fault_role role, unsigned most_ends)
{
    size_t n = rounds(ALLOCATIONS), step = ALLOCATIONS / n;
    struct clients c;
    unsigned n_fired = 0, n_ended = 0, n_since = 0, n_runs = 0;

    fault_suite_run(UP_MS);
    connect_all(&c);
    for (size_t i = 0; i < n; i++) {
        uint64_t k = 1 + i * step + i % step;
        long at = daemon_log_end(&keyd);
        fault_arm(&faults, role, FAULT_ALLOC, k, 0);
        for (int turn = 0; turn < 400 && fault_fired(&faults, role) == 0; turn++)
            work(&c);
        n_fired += fault_disarm(&faults, role);
        work(&c);
        nobody_crashed(at, k);
        bool ended = daemon_log_count(&keyd, at, names[role], "ended with status") != 0;
        n_ended += ended;
        n_since += ended;
        if (n_since < 2 && i % 100 != 99)
            continue;
        n_since = 0;
        leave_all(&c);
        /* What is judged grows, so a long run is judged less often. */
        if (++n_runs % (5 + n / 40) == 0)
            fault_suite_judge(acks_path);
        else
            daemon_kill(&keyd);
        fault_suite_run(UP_MS);
        connect_all(&c);
    }
    leave_all(&c);
    fault_suite_judge(acks_path);
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

/* The kth allocation after a role was started, k up to all that a start makes and a
 * little more. A role may end by that: it is not there yet. */
static void
starve_starting(enum fault_role role, enum keyd_process_role process, const char *klass)
{
    enum { MOST = 600 };
    size_t n = rounds(MOST), step = MOST / n;
    struct clients c;
    unsigned n_fired = 0, n_ended = 0, n_lost = 0;

    fault_suite_run(UP_MS);
    for (size_t i = 0; i < n; i++) {
        uint64_t k = 1 + i * step + i % step;
        long at = daemon_log_end(&keyd);
        pid_t pid = daemon_role(&keyd, process, klass);
        assert_true(pid > 0);
        fault_arm(&faults, role, FAULT_ALLOC, k, 0);
        assert_int_equal(kill(pid, SIGKILL), 0);
        must_be_up(k);
        connect_all(&c);
        work(&c);
        n_fired += fault_disarm(&faults, role);
        work(&c);
        leave_all(&c);
        /* Ours, and no other: but libseccomp 2.5 that lacks memory crashes or turns in
         * circles until SIGALRM, before the role serves anybody. */
        unsigned lost = daemon_log_count(&keyd, at, "ended by signal 11", NULL) +
                        daemon_log_count(&keyd, at, "ended by signal 14", NULL);
        n_lost += lost;
        if (lost > 1 ||
            daemon_log_count(&keyd, at, "ended by signal", NULL) != 1 + lost)
            fail_msg("at %llu: a crash, see %s", (unsigned long long)k, keyd.log);
        bool ended = daemon_log_count(&keyd, at, names[role], "ended with status") != 0;
        n_ended += ended;
        if (i % 20 == 19)
            fault_suite_judge(acks_path);
        else if (ended)
            daemon_kill(&keyd);
        if (keyd.pid == 0)
            fault_suite_run(UP_MS);
    }
    fault_suite_judge(acks_path);
    print_message(
        "%s: %u allocations failed, it ended before it served %u times, and %u "
        "times libseccomp did\n",
        names[role], n_fired, n_ended, n_lost);
    assert_true(n_fired > n / 4 && n_lost <= n / 5 + 2);
}

static void
a_vault_that_lacks_memory_at_its_start_comes_up(void **state)
{
    (void)state;
    starve_starting(FAULT_VAULT, KEYD_PROCESS_VAULT, "");
}

static void
a_ledger_that_lacks_memory_at_its_start_comes_up(void **state)
{
    (void)state;
    starve_starting(FAULT_LEDGER, KEYD_PROCESS_LEDGER, "");
}

static void
a_gate_that_lacks_memory_at_its_start_comes_up(void **state)
{
    (void)state;
    starve_starting(FAULT_GATE, KEYD_PROCESS_GATE, "submission");
}

/* --- descriptors --- */

static int
raw_connect(const char *klass)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    daemon_socket(&keyd, klass, sun.sun_path);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&sun, sizeof sun) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Another process of the role, with these limits (0: as they are); its pid. */
static pid_t
restart_with(enum fault_role role, enum keyd_process_role process, const char *klass,
             uint64_t files, uint64_t space)
{
    pid_t pid = daemon_role(&keyd, process, klass);

    assert_true(pid > 0);
    faults.of[role]->limit_files = files;
    faults.of[role]->limit_space = space;
    assert_int_equal(kill(pid, SIGKILL), 0);
    for (int i = 0; i < 2000; i++) {
        kd_ignore(poll(NULL, 0, 10)); /* until it is another */
        pid_t now = daemon_role(&keyd, process, klass);
        if (now != pid && now != 0 && daemon_wait(&keyd, UP_MS)) {
            faults.of[role]->limit_files = faults.of[role]->limit_space = 0;
            return now;
        }
    }
    fail_msg("%s does not come up with these limits, see %s", names[role], keyd.log);
    return 0;
}

static unsigned
count_files(pid_t pid)
{
    char path[64];
    unsigned n = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static bool
serves(const char *klass)
{
    struct keyd_answer *a = NULL;
    keyd_client *c = keyd_client_new();
    char path[108];

    daemon_socket(&keyd, klass, path);
    bool ok = keyd_client_connect(c, path, 2000) == KEYD_OK &&
              keyd_client_status(c, &a) == KEYD_OK;
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return ok;
}

/* Until it does, within ms. */
static void
must_serve(const char *klass, int ms)
{
    int64_t until = kd_clock_ms() + ms;

    while (!serves(klass))
        if (kd_clock_ms() > until)
            fail_msg("%s is not served %d ms later, see %s", klass, ms, keyd.log);
}

static void
a_gate_without_descriptors_serves_those_it_has_and_then_the_others(void **state)
{
    enum { FILES = 32, CLIENTS = 64 };
    int fds[CLIENTS];
    struct clients c;

    (void)state;
    fault_suite_run(UP_MS);
    kd_ignore(restart_with(FAULT_GATE, KEYD_PROCESS_GATE, "submission", FILES, 0));
    long at = daemon_log_end(&keyd);
    connect_all(&c);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = raw_connect("submission");
    for (int i = 0; i < 20; i++)
        work(&c); /* who was there before goes on */
    for (int i = 0; i < CLIENTS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    must_serve("submission", 5000);
    assert_int_equal(daemon_log_count(&keyd, at, "keyd-gate", "ended"), 0);
    leave_all(&c);
    fault_suite_judge(acks_path);
}

/* No more than it has. What needs one more is refused, ends nobody, and goes on when
 * there are some again. */
static void
no_descriptors_for(enum fault_role role, enum keyd_process_role process, bool may_end)
{
    const char *name = names[role];
    struct clients c;
    struct keyd_answer *a = NULL;

    fault_suite_run(UP_MS);
    connect_all(&c);
    work(&c);
    unsigned n = count_files(daemon_role(&keyd, process, ""));
    kd_ignore(restart_with(role, process, "", n + 1, 0)); /* one to unseal with */
    long at = daemon_log_end(&keyd);
    for (int i = 0; i < 20; i++)
        work(&c); /* small requests need none */
    /* The key store's change needs files in the ledger, memfds in the vault. */
    enum keyd_status s =
        keyd_client_generate_key(c.admin, KEYD_ROLE_SOK, KEYD_ED25519,
                                 KEYD_STR("example.com"), KEYD_PERM_SIGNET, &a);
    check_status("GenerateKey", s);
    keyd_client_answer_free(a);
    /* A memfd that comes along. */
    uint8_t secret[DAEMON_CREDENTIAL_SIZE];
    randombytes_buf(secret, sizeof secret);
    a = NULL;
    connect_patiently(&c.admin, "admin");
    s = keyd_client_unseal(c.admin, KEYD_SLOT_CREDENTIAL,
                           (struct keyd_secret){secret, sizeof secret}, &a);
    if (s != KEYD_CONFLICT && s != KEYD_INVALID && s != KEYD_DENIED)
        check_status("Unseal", s);
    keyd_client_answer_free(a);
    must_be_up(0);
    for (int i = 0; i < 5; i++)
        work(&c);
    nobody_crashed(at, 0);
    if (!may_end && daemon_log_count(&keyd, at, name, "ended") != 0)
        fail_msg("%s ended, see %s", name, keyd.log);
    leave_all(&c);
    fault_suite_judge(acks_path);
}

static void
a_vault_without_descriptors_refuses_and_goes_on(void **state)
{
    (void)state;
    no_descriptors_for(FAULT_VAULT, KEYD_PROCESS_VAULT, false);
}

static void
a_ledger_without_descriptors_loses_nothing(void **state)
{
    (void)state;
    no_descriptors_for(FAULT_LEDGER, KEYD_PROCESS_LEDGER, true);
}

/* Started with so few that it cannot do its work, then with enough again. */
static void
a_role_started_with_few_descriptors_comes_up_when_there_are_more(void **state)
{
    static const struct {
        enum keyd_process_role process;
        const char *klass;
    } all[FAULT_ROLES] = {{KEYD_PROCESS_VAULT, ""},
                          {KEYD_PROCESS_LEDGER, ""},
                          {KEYD_PROCESS_GATE, "submission"}};

    (void)state;
    for (int r = 0; r < FAULT_ROLES; r++)
        for (uint64_t files = 4; files <= 12; files++) {
            struct clients c;
            fault_suite_run(UP_MS);
            long at = daemon_log_end(&keyd);
            pid_t pid = daemon_role(&keyd, all[r].process, all[r].klass);
            assert_true(pid > 0);
            faults.of[r]->limit_files = files;
            assert_int_equal(kill(pid, SIGKILL), 0);
            for (int i = 0;
                 i < 50 && daemon_log_count(&keyd, at, "signal 9", NULL) == 0; i++)
                kd_ignore(poll(NULL, 0, 10)); /* until the supervisor has seen it */
            kd_ignore(poll(NULL, 0, 100));    /* and tried */
            faults.of[r]->limit_files = 0;
            if (daemon_wait_end(&keyd, 0) != 256)
                fail_msg("with %u files for %s all ended, see %s", (unsigned)files,
                         names[r], keyd.log);
            /* One that runs, if with too few, is replaced. */
            pid = daemon_role(&keyd, all[r].process, all[r].klass);
            if (pid > 0)
                kd_ignore(kill(pid, SIGKILL)); /* it may be gone by itself */
            must_be_up(files);
            must_serve(all[r].klass[0] == '\0' ? "submission" : all[r].klass, 20000);
            connect_all(&c);
            work(&c);
            leave_all(&c);
            if (daemon_log_count(&keyd, at, "ended by signal", NULL) !=
                daemon_log_count(&keyd, at, "ended by signal 9", NULL))
                fail_msg("%s with %u files crashed, see %s", names[r], (unsigned)files,
                         keyd.log);
            daemon_kill(&keyd);
        }
    fault_suite_run(UP_MS);
    fault_suite_judge(acks_path);
}

/* --- address space, and a role that goes wild --- */

static unsigned
other_ends(long at, const char *name)
{
    unsigned n = 0;

    for (int r = 0; r < FAULT_ROLES; r++)
        if (strcmp(names[r], name) != 0)
            n += daemon_log_count(&keyd, at, names[r], "(pid");
    return n;
}

static void
only_it_dies(enum fault_role role, enum keyd_process_role process, const char *klass,
             enum fault_command command, const char *how)
{
    struct clients c;

    fault_suite_run(UP_MS);
    kd_ignore(restart_with(role, process, klass, 0, (uint64_t)1 << 30));
    long at = daemon_log_end(&keyd);
    connect_all(&c);
    atomic_store(&faults.of[role]->command, command);
    for (int i = 0; i < 500 && daemon_log_count(&keyd, at, names[role], how) == 0; i++)
        kd_ignore(poll(NULL, 0, 10)); /* it looks at its clock every second */
    if (daemon_log_count(&keyd, at, names[role], how) != 1)
        fail_msg("%s did not end (%s), see %s", names[role], how, keyd.log);
    must_be_up(0);
    for (int i = 0; i < 5; i++) {
        connect_patiently(&c.submission, "submission");
        connect_patiently(&c.mta, "mta");
        connect_patiently(&c.admin, "admin");
        work(&c);
    }
    assert_int_equal(other_ends(at, names[role]), 0);
    leave_all(&c);
    fault_suite_judge(acks_path);
}

static void
a_role_that_forks_without_end_dies_alone_of_the_first(void **state)
{
    (void)state;
    only_it_dies(FAULT_VAULT, KEYD_PROCESS_VAULT, "", FAULT_FORK, "signal 31");
    only_it_dies(FAULT_LEDGER, KEYD_PROCESS_LEDGER, "", FAULT_FORK, "signal 31");
    only_it_dies(FAULT_GATE, KEYD_PROCESS_GATE, "submission", FAULT_FORK, "signal 31");
}

static void
a_role_that_eats_all_its_memory_dies_alone(void **state)
{
    (void)state;
    only_it_dies(FAULT_VAULT, KEYD_PROCESS_VAULT, "", FAULT_EAT_MEMORY, "signal 6");
    only_it_dies(FAULT_LEDGER, KEYD_PROCESS_LEDGER, "", FAULT_EAT_MEMORY, "signal 6");
}

/* A limit just above what it uses: what does not fit is refused. */
static void
a_vault_with_little_address_space_refuses_and_goes_on(void **state)
{
    static const char passphrase[] = "a passphrase that takes 256 MiB";
    struct clients c;
    struct keyd_answer *a = NULL;
    char secret[sizeof passphrase];

    (void)state;
    fault_suite_run(UP_MS);
    pid_t pid =
        restart_with(FAULT_VAULT, KEYD_PROCESS_VAULT, "", 0, (uint64_t)160 << 20);
    long at = daemon_log_end(&keyd);
    connect_all(&c);
    memcpy(secret, passphrase, sizeof secret);
    enum keyd_status s = keyd_client_add_unseal_slot(
        c.admin, KEYD_SLOT_PASSPHRASE, (struct keyd_secret){secret, sizeof secret - 1},
        &a);
    if (s != KEYD_BUSY)
        fail_msg("%s", keyd_client_status_text(s));
    keyd_client_answer_free(a);
    for (int i = 0; i < 20; i++)
        work(&c);
    assert_int_equal(daemon_role(&keyd, KEYD_PROCESS_VAULT, ""), pid);
    nobody_crashed(at, 0);
    leave_all(&c);
    fault_suite_judge(acks_path);
}

/* --- start and end --- */

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FAULT_TEST(the_vault_survives_any_allocation_that_fails),
        FAULT_TEST(the_ledger_loses_nothing_by_any_allocation_that_fails),
        FAULT_TEST(a_gate_survives_any_allocation_that_fails),
        FAULT_TEST(a_vault_that_lacks_memory_at_its_start_comes_up),
        FAULT_TEST(a_ledger_that_lacks_memory_at_its_start_comes_up),
        FAULT_TEST(a_gate_that_lacks_memory_at_its_start_comes_up),
        FAULT_TEST(a_gate_without_descriptors_serves_those_it_has_and_then_the_others),
        FAULT_TEST(a_vault_without_descriptors_refuses_and_goes_on),
        FAULT_TEST(a_ledger_without_descriptors_loses_nothing),
        FAULT_TEST(a_role_started_with_few_descriptors_comes_up_when_there_are_more),
        FAULT_TEST(a_role_that_forks_without_end_dies_alone_of_the_first),
        FAULT_TEST(a_role_that_eats_all_its_memory_dies_alone),
        FAULT_TEST(a_vault_with_little_address_space_refuses_and_goes_on),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, fault_suite_start, fault_suite_end);
}
