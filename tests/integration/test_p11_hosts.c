/* Hosts of PKCS#11 tokens as processes of a daemon, with programs in their place that
 * load nothing and misbehave on purpose: whatever they do, the daemon starts, serves,
 * reloads and stops as if they were not there. */
#include "daemon.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HOST_UID = 61010, HOST_GROUP = 61011, CHILDREN_MAX = 64 };

struct site {
    struct daemon d;
    char libexec[96], data[96], log[128], pin[96], top[256], sections[2048];
};
static struct site site;

static void
nap(int ms)
{
    kd_ignore(poll(NULL, 0, ms)); /* between two looks at other processes */
}

/* --- set up --- */

static void
link_program(const char *directory, const char *program, const char *as)
{
    char from[4096], to[160];

    daemon_program(directory, program, from);
    snprintf(to, sizeof to, "%s/%s", site.libexec, as);
    assert_int_equal(symlink(from, to), 0);
}

static void
write_pin(const char *text, mode_t mode)
{
    FILE *f = fopen(site.pin, "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(site.pin, mode), 0);
}

/* A token whose hosts behave like that; more: keys of its section. */
static void
add_token(const char *name, const char *how, const char *more)
{
    char text[1024], user[64] = "";

    if (geteuid() == 0)
        snprintf(user, sizeof user, "user = \"%d\" group = \"%d\"", HOST_UID,
                 HOST_GROUP);
    snprintf(text, sizeof text,
             "token \"%s\" {\n module = \"/usr/lib/keyd-test-%s.so\"\n label = \"%s\"\n"
             " pin-file = \"%s\"\n paths = { \"%s\" }\n"
             " environment = { \"STUB=%s\", \"STUB_LOG=%s\" }\n %s %s\n}\n",
             name, name, name, site.pin, site.data, how, site.log, user, more);
    strncat(site.sections, text, sizeof site.sections - strlen(site.sections) - 1);
}

static void
prepare(void)
{
    static const char *const programs[] = {"keyd-gate", "keyd-gate-tls", "keyd-vault",
                                           "keyd-ledger"};
    const char *base = getenv("TMPDIR");
    char place[64];

    memset(&site, 0, sizeof site);
    snprintf(place, sizeof place, "%s/keyd-hosts-XXXXXX",
             base == NULL || strlen(base) > 30 ? "/tmp" : base);
    assert_non_null(mkdtemp(place));
    assert_int_equal(chmod(place, 0755), 0);
    snprintf(site.libexec, sizeof site.libexec, "%s/libexec", place);
    snprintf(site.data, sizeof site.data, "%s/data", place);
    snprintf(site.log, sizeof site.log, "%s/data/log", place);
    snprintf(site.pin, sizeof site.pin, "%s/pin", place);
    snprintf(site.top, sizeof site.top, "libexec-directory = \"%s\"\n", site.libexec);
    assert_int_equal(mkdir(site.libexec, 0755) | mkdir(site.data, 0755), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(site.data, HOST_UID, HOST_UID), 0);
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        link_program("bin", programs[i], programs[i]);
    link_program("tests", "stub_p11", "keyd-p11");
    write_pin("1234\n", 0400);
}

/* Not daemon_start: there the processes all have to be ready. */
static void
start(void)
{
    const struct daemon_options o = {.top = site.top, .sections = site.sections};

    assert_true(daemon_prepare(&site.d, &o));
    assert_true(daemon_launch(&site.d));
    assert_true(daemon_log_wait(&site.d, "dime-keyd ready: ", 20000));
}

static void
remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;

    while (dir != NULL && (e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(dir), e->d_name, 0), 0);
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

static int
drop(void **state)
{
    (void)state;
    daemon_clear(&site.d);
    remove_folder(site.libexec);
    remove_folder(site.data);
    unlink(site.pin);
    *strrchr(site.pin, '/') = '\0';
    return rmdir(site.pin);
}

/* --- what there is --- */

static size_t
hosts(pid_t *out)
{
    struct daemon_child all[CHILDREN_MAX];
    size_t n = daemon_children(&site.d, all, CHILDREN_MAX), found = 0;

    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, "keyd-p11") == 0)
            out[found++] = all[i].pid;
    return found;
}

static void
wait_for_hosts(size_t n)
{
    pid_t pids[CHILDREN_MAX];

    for (int i = 0; i < 500 && hosts(pids) != n; i++)
        nap(10);
    assert_int_equal(hosts(pids), n);
}

/* The others, but for what is about to become a host: none of them may have been
 * started again. */
static size_t
roles(struct daemon_child *out)
{
    struct daemon_child all[CHILDREN_MAX];
    size_t n = daemon_children(&site.d, all, CHILDREN_MAX), found = 0;

    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, "keyd-p11") != 0 &&
            strcmp(all[i].name, "dime-keyd") != 0)
            out[found++] = all[i];
    return found;
}

static bool
are_the_same(const struct daemon_child *before, size_t n)
{
    struct daemon_child now[CHILDREN_MAX];
    size_t n_now = roles(now);
    bool same = n_now == n;

    for (size_t i = 0; i < n; i++) {
        bool found = false;
        for (size_t k = 0; k < n; k++)
            found |= now[k].pid == before[i].pid;
        same &= found;
    }
    for (size_t i = 0; !same && (i < n || i < n_now); i++)
        print_error("%d %s, then %d %s\n", i < n ? (int)before[i].pid : 0,
                    i < n ? before[i].name : "", i < n_now ? (int)now[i].pid : 0,
                    i < n_now ? now[i].name : "");
    return same;
}

/* Lines of the hosts' log that begin so and have that part. */
static unsigned
noted(const char *begin, const char *part)
{
    char line[600];
    FILE *f = fopen(site.log, "r");
    unsigned n = 0;

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        n += strncmp(line, begin, strlen(begin)) == 0 && strstr(line, part) != NULL;
    if (f != NULL)
        fclose(f);
    return n;
}

static void
it_serves(void)
{
    keyd_client *c = daemon_connect(&site.d, "admin");
    struct keyd_answer *a = NULL;

    assert_non_null(c);
    assert_int_equal(keyd_client_status(c, &a), KEYD_OK);
    assert_int_equal(a->out.status.state, KEYD_STATE_UNPROVISIONED);
    keyd_client_answer_free(a);
    a = NULL;
    assert_int_equal(keyd_client_reload(c, &a), KEYD_OK);
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

static void
it_stops(void)
{
    pid_t pids[CHILDREN_MAX];
    size_t n = hosts(pids);
    int64_t began = kd_clock_ms();

    assert_int_equal(daemon_stop(&site.d), 0);
    assert_in_range(kd_clock_ms() - began, 0, 4000);
    for (size_t i = 0; i < n; i++)
        assert_int_not_equal(kill(pids[i], 0), 0);
}

/* --- tests --- */

static void
without_a_token_nothing_is_there(void **state)
{
    char path[64], line[256];
    pid_t pids[CHILDREN_MAX];
    unsigned threads = 0;

    (void)state;
    prepare();
    strncat(site.top, "crypto-threads = 3\n", sizeof site.top - strlen(site.top) - 1);
    start();
    assert_int_equal(hosts(pids), 0);
    it_serves();
    pid_t vault = daemon_role(&site.d, KEYD_PROCESS_VAULT, "");
    snprintf(path, sizeof path, "/proc/%d/status", (int)vault);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "Threads: %u", &threads) == 1)
            break;
    fclose(f);
    assert_int_equal(threads, 1 + 3);
    assert_int_equal(daemon_log_count(&site.d, 0, "p11", NULL), 0);
    it_stops();
}

static void
a_host_has_its_own_user_groups_and_environment(void **state)
{
    char want[256];

    (void)state;
    prepare();
    add_token("alpha", "serve", "sessions = 2");
    add_token("beta", "serve", "sessions = 1");
    start();
    wait_for_hosts(3); /* none that makes keys: nobody has asked for one */
    for (int i = 0; i < 500 && noted("start", "") < 3; i++)
        nap(10);
    if (geteuid() == 0)
        snprintf(want, sizeof want, "uid=%d gid=%d groups=1:%d environment=2", HOST_UID,
                 HOST_UID, HOST_GROUP);
    else
        snprintf(want, sizeof want, "uid=%d gid=%d ", (int)geteuid(), (int)getegid());
    assert_int_equal(noted("start host=0 maker=0 name=alpha ", want), 1);
    assert_int_equal(noted("start host=1 maker=0 name=alpha ", want), 1);
    assert_int_equal(
        noted("start host=8 maker=0 name=beta module=/usr/lib/keyd-test-beta.so ",
              want),
        1);
    it_serves();
    it_stops();
}

/* Seen in the table of processes and not in the hosts' log, which a busy disk delays.
 */
static bool
is_replaced(pid_t victim)
{
    pid_t pids[CHILDREN_MAX];
    size_t n = hosts(pids);

    return n == 2 && pids[0] != victim && pids[1] != victim;
}

static void
two_hundred_kills_disturb_nobody(void **state)
{
    struct daemon_child before[CHILDREN_MAX];
    pid_t pids[CHILDREN_MAX];
    int64_t began, longest = 0;

    (void)state;
    prepare();
    add_token("alpha", "serve", "sessions = 2");
    start();
    wait_for_hosts(2);
    size_t n = roles(before);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(hosts(pids), 2);
        pid_t victim = pids[i % 2];
        kill(victim, SIGKILL);
        began = kd_clock_ms();
        while (!is_replaced(victim) && kd_clock_ms() - began < 5000)
            nap(1);
        if (kd_clock_ms() - began > longest)
            longest = kd_clock_ms() - began;
    }
    print_message("longest from a kill to a start: %lld ms\n", (long long)longest);
    assert_in_range(longest, 0, 900); /* less than the wait after a crash */
    assert_true(are_the_same(before, n));
    it_serves();
    it_stops();
}

static void
they_end_with_the_vault_and_come_back_with_it(void **state)
{
    pid_t old[CHILDREN_MAX], now[CHILDREN_MAX];

    (void)state;
    prepare();
    add_token("alpha", "serve", "sessions = 2");
    add_token("beta", "stopped", "sessions = 2"); /* would not see its channel end */
    start();
    wait_for_hosts(4);
    size_t n = hosts(old);
    kill(daemon_role(&site.d, KEYD_PROCESS_VAULT, ""), SIGKILL);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 500 && kill(old[i], 0) == 0; k++)
            nap(10);
    wait_for_hosts(4);
    assert_int_equal(hosts(now), 4);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            assert_int_not_equal(old[i], now[k]);
    it_stops();
}

/* how: what they do; most: starts of the two of them in three seconds. */
static void
whatever_it_does(const char *how, unsigned most)
{
    struct daemon_child before[CHILDREN_MAX];

    prepare();
    add_token("alpha", how, "sessions = 2");
    start();
    size_t n = roles(before);
    nap(3000);
    unsigned starts = noted("start", "");
    print_message("%s: %u starts\n", how, starts);
    assert_in_range(starts, strcmp(how, "stopped") == 0 ? 0 : 2, most);
    assert_true(are_the_same(before, n));
    it_serves();
    it_stops();
}

/* At once, at once, 250 ms, 500 ms, then each second: two more. */
enum { STARTS = 2 * 7 };

static void
one_that_never_says_that_it_is_ready_is_not_waited_for(void **state)
{
    (void)state;
    whatever_it_does("silent", STARTS);
}

static void
one_that_reads_nothing_is_not_waited_for(void **state)
{
    (void)state;
    whatever_it_does("stopped", STARTS);
}

static void
one_that_ends_at_once_is_started_each_second(void **state)
{
    (void)state;
    whatever_it_does("done", STARTS + 2 * 12); /* let go as not wanted, at first */
}

static void
one_that_refuses_to_run_does_not_stop_the_daemon(void **state)
{
    (void)state;
    whatever_it_does("refused", STARTS);
}

static void
one_that_crashes_is_started_each_second(void **state)
{
    (void)state;
    whatever_it_does("dead", STARTS);
}

static void
one_that_talks_nonsense_is_ended(void **state)
{
    (void)state;
    whatever_it_does("babble", STARTS);
}

static void
files_that_are_wrong_are_told_and_keep_nobody_from_starting(void **state)
{
    (void)state;
    prepare();
    add_token("alpha", "serve", "");
    write_pin("1234\n", 0644);
    start();
    assert_true(daemon_log_has(&site.d, "token \"alpha\": module "
                                        "/usr/lib/keyd-test-alpha.so: the module "
                                        "cannot be opened"));
    assert_true(daemon_log_has(&site.d, "it has to be root's, mode 0400 or 0600"));
    it_serves();
    it_stops();
}

/* What dime-keyd -t says of the daemon's configuration; its exit status. */
static int
check_conf(char *out, size_t size)
{
    const char *const arguments[] = {"-t", "-c", site.d.conf, NULL};
    char file[160];
    pid_t pid = daemon_spawn(&site.d, "../bin/dime-keyd", "check", arguments);
    int status = daemon_reap(pid, 10000);

    snprintf(file, sizeof file, "%s/check", site.d.dir);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    out[fread(out, 1, size - 1, f)] = '\0';
    fclose(f);
    return status;
}

static void
a_check_tells_what_is_wrong_with_files(void **state)
{
    const struct daemon_options o = {.top = site.top, .sections = site.sections};
    char text[4096];

    (void)state;
    prepare();
    add_token("alpha", "serve", "");
    assert_true(daemon_prepare(&site.d, &o));
    assert_int_equal(check_conf(text, sizeof text), 0);
    assert_non_null(strstr(text, "the module cannot be opened"));
    assert_null(strstr(text, "pin-file"));
    assert_null(strstr(text, "paths"));
    assert_non_null(strstr(text, "but not all tokens can be used"));
    write_pin("", 0400);
    assert_int_equal(rmdir(site.data), 0);
    assert_int_equal(check_conf(text, sizeof text), 0);
    assert_non_null(strstr(text, "a regular file of 1 to 256 octets"));
    assert_non_null(strstr(text, "is no file or folder"));
    assert_int_equal(mkdir(site.data, 0755), 0);
}

int
main(void)
{
#define WITH_SITE(test) cmocka_unit_test_teardown(test, drop)
    const struct CMUnitTest tests[] = {
        WITH_SITE(without_a_token_nothing_is_there),
        WITH_SITE(a_host_has_its_own_user_groups_and_environment),
        WITH_SITE(two_hundred_kills_disturb_nobody),
        WITH_SITE(they_end_with_the_vault_and_come_back_with_it),
        WITH_SITE(one_that_never_says_that_it_is_ready_is_not_waited_for),
        WITH_SITE(one_that_reads_nothing_is_not_waited_for),
        WITH_SITE(one_that_ends_at_once_is_started_each_second),
        WITH_SITE(one_that_refuses_to_run_does_not_stop_the_daemon),
        WITH_SITE(one_that_crashes_is_started_each_second),
        WITH_SITE(one_that_talks_nonsense_is_ended),
        WITH_SITE(a_check_tells_what_is_wrong_with_files),
        WITH_SITE(files_that_are_wrong_are_told_and_keep_nobody_from_starting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
