/* The project's second bet, kept as a test: what the vault, the ledger and the gate do
 * can be done under KILL_PROCESS filters with the libraries of Debian 12, error paths
 * and every malloc tuning included, and a broken invariant still ends in SIGABRT.
 *
 * Each case runs in a process of its own, so that it can die:
 *   skeleton_sandbox CASE DIRECTORY     (what the test starts; exit 0 = worked)
 * and is repeated under several GLIBC_TUNABLES. */
#include "skeleton_sandbox.h"

#include <keyd/base/log.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants four of the above first */
#include <cmocka.h>

/* --- supervisor --- */

static pid_t start(const char *name, const char *directory, const char *tunables);

static int
end_of(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0)
        MUST(errno == EINTR);
    return status;
}

/* Filters and Landlock domains are inherited: every role must still be able to start,
 * load its libraries, enter its own sandbox and work, below the supervisor's. */
static void
supervisor_restarts_roles(const char *directory)
{
    static const char *const roles[] = {"vault_aborts", "ledger_works", "vault_works"};
    int root = open("/", O_PATH | O_CLOEXEC),
        data = open(directory, O_PATH | O_CLOEXEC);
    const struct kd_sandbox_path list[] = {{root, KD_PATH_RUN}, {data, KD_PATH_WRITE}};
    const struct kd_sandbox_paths paths = {list, 2};

    MUST(root >= 0 && data >= 0);
    MUST(kd_sandbox_enter(KD_ROLE_SUPERVISOR, &paths, KD_SANDBOX_STRICT) == KD_OK);
    kd_log(KD_INFO, "%s", kd_sandbox_describe());
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        int status = end_of(start(roles[i], directory, ""));
        bool aborts = strstr(roles[i], "aborts") != NULL;
        MUST(aborts ? WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT
                    : WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    exit(0);
}

/* --- the cases --- */

struct sandbox_case {
    const char *name;
    void (*run)(const char *directory);
    int signal;         /* that it must end by; 0: exit status 0 */
    const char *before; /* case to run first in the same directory */
};

#define CASE(f, signal)                                                                \
    {                                                                                  \
#f, f, signal, NULL                                                            \
    }
static const struct sandbox_case cases[] = {
    CASE(vault_works, 0),
    CASE(vault_aborts, SIGABRT),
    CASE(vault_aborts_past_a_handler, SIGABRT),
    CASE(vault_thread_aborts, SIGABRT),
    CASE(vault_fails_an_assertion, SIGABRT),
    CASE(vault_overruns_its_stack, SIGABRT),
    CASE(vault_overruns_a_buffer, SIGABRT),
    CASE(vault_frees_nonsense, SIGABRT),
    CASE(vault_runs_out_of_memory, 0),
    CASE(ledger_works, 0),
    CASE(ledger_aborts, SIGABRT),
    {"ledger_recovers", ledger_recovers, 0, "ledger_aborts"},
    CASE(ledger_fills_the_disk, 0),
    CASE(ledger_may_only_read, 0),
    CASE(ledger_runs_out_of_memory, 0),
    CASE(gate_works, 0),
    CASE(gate_aborts, SIGABRT),
    CASE(supervisor_restarts_roles, 0),
};
enum { N_CASES = sizeof cases / sizeof *cases };

static pid_t
start(const char *name, const char *directory, const char *tunables)
{
    char setting[256];
    pid_t pid;

    MUST(snprintf(setting, sizeof setting, "GLIBC_TUNABLES=%s", tunables) < 250);
    fflush(NULL);
    MUST((pid = fork()) >= 0);
    if (pid == 0) {
        /* execve promises not to write to these; its type does not say so. */
        char *const argv[] = {(char *)(uintptr_t) "skeleton_sandbox",
                              (char *)(uintptr_t)name, (char *)(uintptr_t)directory,
                              NULL};
        char *const env[] = {setting, NULL};
        execve("/proc/self/exe", argv, env);
        _exit(127);
    }
    return pid;
}

static void
remove_tree(const char *directory)
{
    static const char *const names[] = {
        "registry.db",     "registry.db-wal", "registry.db-journal",
        "registry.db-shm", "keys.new",        "sock"};
    char path[600];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        MUST(snprintf(path, sizeof path, "%s/%s", directory, names[i]) < 590);
        kd_ignore(unlink(path)); /* most are not there */
    }
    MUST(rmdir(directory) == 0);
}

static void
run_case(const struct sandbox_case *c, const char *tunables)
{
    char directory[] = "/tmp/keyd-sandbox-XXXXXX";

    assert_non_null(mkdtemp(directory));
    if (c->before != NULL)
        kd_ignore(end_of(start(c->before, directory, tunables))); /* judged by itself */
    int status = end_of(start(c->name, directory, tunables));
    remove_tree(directory);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        fail_msg("%s: killed by the filter (tunables '%s')", c->name, tunables);
    if (c->signal == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        fail_msg("%s: status %#x (tunables '%s')", c->name, (unsigned)status, tunables);
    if (c->signal != 0 && !(WIFSIGNALED(status) && WTERMSIG(status) == c->signal))
        fail_msg("%s: status %#x, signal %d expected (tunables '%s')", c->name,
                 (unsigned)status, c->signal, tunables);
}

static void
case_holds_under_every_malloc_tuning(void **state)
{
    static const char *const tunables[] = {
        "",
        "glibc.malloc.arena_max=1",
        "glibc.malloc.arena_max=64:glibc.malloc.arena_test=1",
        "glibc.malloc.mmap_threshold=4096:glibc.malloc.trim_threshold=4096",
        "glibc.malloc.mmap_max=0:glibc.malloc.top_pad=0",
        "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165",
        "glibc.malloc.hugetlb=1",
    };

    for (size_t i = 0; i < sizeof tunables / sizeof *tunables; i++)
        run_case(*state, tunables[i]);
}

/* What has no meaning twice: once is enough. */
static void
case_holds(void **state)
{
    run_case(*state, "");
}

int
main(int argc, char **argv)
{
    struct CMUnitTest tests[N_CASES];

    if (argc == 3) {
        kd_log_setup(argv[1], KD_INFO);
        for (size_t i = 0; i < N_CASES; i++)
            if (strcmp(argv[1], cases[i].name) == 0)
                cases[i].run(argv[2]);
        return 1; /* no such case, or it came back */
    }
    for (size_t i = 0; i < N_CASES; i++) {
        bool often = strstr(cases[i].name, "_works") != NULL ||
                     strstr(cases[i].name, "_memory") != NULL ||
                     strcmp(cases[i].name, "vault_aborts") == 0;
        /* cmocka hands the state back as it was; nobody writes to it. */
        tests[i] = (struct CMUnitTest){
            .name = cases[i].name,
            .test_func = often ? case_holds_under_every_malloc_tuning : case_holds,
            .initial_state = (void *)(uintptr_t)&cases[i],
        };
    }
    return cmocka_run_group_tests_name("sandbox skeleton", tests, NULL, NULL);
}
