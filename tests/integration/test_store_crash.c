/* The registry through crashes and failing disks: what was acknowledged is there, all
 * of it holds together (keyd-check), and the next open goes on.
 *
 *   test_store_crash VICTIM        the path of store_victim */
#include "../support/check.h"
#include "../support/registry.h"

#include <keyd/base/clock.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* cmocka.h wants some of the above first */
#include <cmocka.h>

enum { KILLS = 100, SYNCS = 40, WRITES = 120, LONG = 100000, SHORT = 8 };

static const char *victim_path;

struct world {
    char dir[64];
    char registry[96];
    char acks[96];
    unsigned run;
};

static int
start(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    reg_must(w != NULL);
    strcpy(w->dir, "/tmp/kd-crash-XXXXXX");
    reg_must(mkdtemp(w->dir) != NULL);
    snprintf(w->registry, sizeof w->registry, "%s/registry", w->dir);
    snprintf(w->acks, sizeof w->acks, "%s/acks", w->dir);
    reg_must(mkdir(w->registry, 0700) == 0);
    *state = w;
    return 0;
}

static int
end(void **state)
{
    struct world *w = *state;
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    int status = system(command);
    free(w);
    return status;
}

static void
print(void *arg, const char *text)
{
    (void)arg;
    print_message("%s\n", text);
}

static void
all_holds(struct world *w)
{
    struct check_conf conf = {.dir = w->registry, .report = print};

    conf.acks = access(w->acks, F_OK) == 0 ? w->acks : NULL;
    if (check_registry(&conf) != 0)
        fail_msg("run %u", w->run);
}

static off_t
acked_octets(const struct world *w)
{
    struct stat st;

    return stat(w->acks, &st) == 0 ? st.st_size : 0;
}

/* inject: options for strace, or NULL to run without it. */
static pid_t
spawn(struct world *w, unsigned batches, const char *inject)
{
    char run[16], n[16];

    snprintf(run, sizeof run, "%u", w->run++);
    snprintf(n, sizeof n, "%u", batches);
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    /* Leak checking needs ptrace for itself. */
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 2); /* faults are logged, and these are many */
    if (inject == NULL)
        execl(victim_path, victim_path, w->registry, w->acks, run, n, (char *)NULL);
    else
        execlp("strace", "strace", "-o", "/dev/null", "-e", inject, victim_path,
               w->registry, w->acks, run, n, (char *)NULL);
    _exit(127);
}

static int
status_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void
undisturbed_run_succeeds(struct world *w)
{
    assert_int_equal(status_of(spawn(w, SHORT, NULL)), 0);
}

static void
kill_9_a_hundred_times_loses_nothing_acknowledged(void **state)
{
    struct world *w = *state;
    unsigned n_silent = 0;

    for (unsigned i = 0; i < KILLS; i++) {
        off_t before = acked_octets(w);
        int64_t begun = kd_clock_ms();
        pid_t pid = spawn(w, LONG, NULL);
        /* Some die at once, while opening; most some time after their first answer. */
        while (i % 5 != 0 && acked_octets(w) == before && kd_clock_ms() - begun < 10000)
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        nanosleep(&(struct timespec){.tv_nsec = randombytes_uniform(50000000)}, NULL);
        kill(pid, SIGKILL);
        assert_int_equal(status_of(pid), SIGKILL);
        n_silent += acked_octets(w) == before;
        if (i % 25 == 24)
            all_holds(w);
    }
    undisturbed_run_succeeds(w);
    all_holds(w);
    assert_true(n_silent <= KILLS / 5);
    print_message("%u kills, %ld octets of acknowledgements\n", KILLS,
                  (long)acked_octets(w));
}

/* Fails call number n of the given calls, for every n to most in steps; returns how
 * often that made a difference. */
static unsigned
fail_each(struct world *w, const char *calls, const char *error, unsigned most,
          unsigned step)
{
    unsigned n_failed = 0;

    undisturbed_run_succeeds(w);
    for (unsigned n = 1; n <= most; n += step) {
        char inject[128];
        snprintf(inject, sizeof inject, "inject=%s:error=%s:when=%u", calls, error, n);
        int status = status_of(spawn(w, SHORT, inject));
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 127) {
            print_message("skipped: strace cannot be run\n");
            skip();
        }
        /* 0: there were not so many calls. 6 would be a surprise. */
        assert_in_range(WEXITSTATUS(status), 0, 5);
        n_failed += WEXITSTATUS(status) != 0;
        if (n % 10 == 1)
            all_holds(w);
    }
    undisturbed_run_succeeds(w);
    all_holds(w);
    return n_failed;
}

static void
eio_at_any_sync_loses_nothing_acknowledged(void **state)
{
    assert_in_range(fail_each(*state, "fdatasync,fsync", "EIO", SYNCS, 1), 10, SYNCS);
}

static void
enospc_at_any_write_loses_nothing_acknowledged(void **state)
{
    assert_in_range(fail_each(*state, "pwrite64", "ENOSPC", WRITES, 5), 5, WRITES);
}

static void
eio_at_any_write_loses_nothing_acknowledged(void **state)
{
    assert_in_range(fail_each(*state, "pwrite64", "EIO", WRITES, 5), 5, WRITES);
}

/* From the very first call on, while the registry is being made. */
static void
eio_while_it_is_made_leaves_nothing_half_made(void **state)
{
    struct world *w = *state;

    for (unsigned n = 1; n <= 12; n++) {
        char inject[128], command[256];
        snprintf(inject, sizeof inject, "inject=fdatasync,fsync:error=EIO:when=%u", n);
        int status = status_of(spawn(w, 1, inject));
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
            skip();
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 5);
        undisturbed_run_succeeds(w);
        all_holds(w);
        snprintf(command, sizeof command, "rm -rf %s/* %s", w->registry, w->acks);
        assert_int_equal(system(command), 0);
        w->run = 0;
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(kill_9_a_hundred_times_loses_nothing_acknowledged),
        TEST(eio_at_any_sync_loses_nothing_acknowledged),
        TEST(enospc_at_any_write_loses_nothing_acknowledged),
        TEST(eio_at_any_write_loses_nothing_acknowledged),
        TEST(eio_while_it_is_made_leaves_nothing_half_made),
    };

    if (argc != 2 || sodium_init() < 0)
        return 2;
    victim_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
