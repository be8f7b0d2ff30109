/* What surrounds the filter: the paths that Landlock leaves the ledger, privileges,
 * threads, what the kernel says of a role, and refusal where the kernel lacks a lock.
 * As root and as anybody. Each check runs in a process of its own. */
#include <keyd/base/err.h>
#include <keyd/base/sandbox.h>
#include <keyd/base/secret.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants four of the above first */
#include <cmocka.h>

enum { SOME_UID = 65531, SOME_GID = 65532 };

/* In a child: the line that does not hold becomes its exit status. */
#define HOLDS(x)                                                                       \
    do {                                                                               \
        if (!(x)) {                                                                    \
            fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #x, errno);          \
            _exit(1);                                                                  \
        }                                                                              \
    } while (0)

static int
status_in_child(void (*run)(const char *directory), const char *directory)
{
    int status = 0;

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run(directory);
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#define assert_holds(run, directory)                                                   \
    assert_int_equal(status_in_child(run, directory), 0)

static bool
was_killed(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static struct kd_sandbox_paths
one_path(const char *name, enum kd_path_access access)
{
    static struct kd_sandbox_path path;

    path = (struct kd_sandbox_path){open(name, O_PATH | O_CLOEXEC), access};
    HOLDS(path.fd >= 0);
    return (struct kd_sandbox_paths){&path, 1};
}

static int
landlock_version(void)
{
    const char *at = strstr(kd_sandbox_describe(), "landlock=");

    return at == NULL ? 0 : (int)strtol(at + strlen("landlock="), NULL, 10);
}

/* --- paths --- */

/* A tree of our own: what is tried on it can do no harm if it should succeed. */
static const char *const tree_dirs[] = {"db", "db/sub", "db.old", "outside"};
static const char *const tree_files[] = {"db/file",      "db/sub/file",
                                         "db/victim",    "db.old/file",
                                         "outside/file", "outside/victim"};

static void
write_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "octets", 6), 6);
    assert_int_equal(close(fd), 0);
}

static void
at(char *out, size_t size, const char *directory, const char *name)
{
    int n = snprintf(out, size, "%s/%s", directory, name);

    assert_true(n > 0 && (size_t)n < size);
}

static int
tree_make(void **state)
{
    static char directory[64];
    char path[256];

    memcpy(directory, "/tmp/keyd-confinement-XXXXXX", 29);
    assert_non_null(mkdtemp(directory));
    for (size_t i = 0; i < sizeof tree_dirs / sizeof *tree_dirs; i++) {
        at(path, sizeof path, directory, tree_dirs[i]);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    for (size_t i = 0; i < sizeof tree_files / sizeof *tree_files; i++) {
        at(path, sizeof path, directory, tree_files[i]);
        write_file(path);
    }
    at(path, sizeof path, directory, "db/link-out");
    assert_int_equal(symlink("../outside/file", path), 0);
    at(path, sizeof path, directory, "db/dir-out");
    assert_int_equal(symlink("../outside", path), 0);
    *state = directory;
    return 0;
}

static int
tree_remove(void **state)
{
    char command[8] = "rm", flags[8] = "-rf";
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        execlp(command, command, flags, *state, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

enum {
    READ_IT = 1,
    WRITE_IT = 2,
    CREATE_IT = 4,
    RENAME_IT = 8,
    TRUNCATE_IT = 16,
    UNLINK_IT = 32,
    LIST_IT = 64
};
enum {
    CHANGES = RENAME_IT | UNLINK_IT | TRUNCATE_IT,
    EVERYTHING = READ_IT | WRITE_IT | CREATE_IT | CHANGES
};

/* name: beneath the tree, or absolute; then only reading and writing are tried. */
static const struct path_probe {
    const char *name;
    unsigned tried;
    unsigned allowed;
} path_probes[] = {
    {"db/file", EVERYTHING, EVERYTHING},
    {"db/sub/file", EVERYTHING, EVERYTHING},
    {"db/../db/victim", EVERYTHING, EVERYTHING},
    {"db/new", CREATE_IT, CREATE_IT},
    {"db", LIST_IT, LIST_IT},
    {"db/link-out", READ_IT | WRITE_IT | TRUNCATE_IT, 0},
    {"db/dir-out/file", EVERYTHING, 0},
    {"db/../outside/file", EVERYTHING, 0},
    {"db.old/file", EVERYTHING, 0}, /* only the name begins alike */
    {"outside/file", EVERYTHING, 0},
    {"outside/new", CREATE_IT, 0},
    {"new", CREATE_IT, 0},
    {"outside", LIST_IT, 0},
    {".", LIST_IT, 0},
    {"/", LIST_IT, 0},
    {"/etc/passwd", READ_IT | WRITE_IT, 0},
    {"/etc/shadow", READ_IT | WRITE_IT, 0},
    {"/proc/self/mem", READ_IT | WRITE_IT, 0},
    {"/proc/self/environ", READ_IT, 0},
    {"/proc/self/root/etc/passwd", READ_IT | WRITE_IT, 0},
    {"/proc/1/status", READ_IT, 0},
    {"/proc/sys/kernel/hostname", READ_IT | WRITE_IT, 0},
    {"/dev/null", READ_IT | WRITE_IT, 0},
    {"/dev/urandom", READ_IT, 0},
    {"/dev/mem", READ_IT | WRITE_IT, 0},
    {"/sys/kernel/mm/transparent_hugepage/enabled", READ_IT | WRITE_IT, 0},
    {"/usr/bin/env", READ_IT | WRITE_IT, 0},
};

static bool
opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static bool
renames_and_back(const char *path)
{
    char other[300];

    HOLDS(snprintf(other, sizeof other, "%s.moved", path) < 300);
    return rename(path, other) == 0 && rename(other, path) == 0;
}

static bool
works(const char *path, unsigned op)
{
    switch (op) {
    case READ_IT:
        return opens(path, O_RDONLY);
    case WRITE_IT:
        return opens(path, O_RDWR);
    case CREATE_IT: {
        char other[300];
        HOLDS(snprintf(other, sizeof other, "%s.created", path) < 300);
        return opens(other, O_RDWR | O_CREAT | O_EXCL);
    }
    case RENAME_IT:
        return renames_and_back(path);
    case TRUNCATE_IT:
        return truncate(path, 3) == 0;
    case UNLINK_IT:
        return unlink(path) == 0;
    case LIST_IT:
        return opens(path, O_RDONLY | O_DIRECTORY);
    default:
        _exit(2);
    }
}

static void
confine_ledger(const char *directory)
{
    char db[256];

    HOLDS(snprintf(db, sizeof db, "%s/db", directory) < 256);
    const struct kd_sandbox_paths paths = one_path(db, KD_PATH_WRITE);
    HOLDS(kd_sandbox_confine(KD_ROLE_LEDGER, &paths, KD_SANDBOX_STRICT) == KD_OK);
}

/* Without the filter, so that what Landlock says of truncate(2) is seen as well. */
static void
try_every_path(const char *directory)
{
    enum { VERSION_TRUNCATE = 3 };
    unsigned wrong = 0;
    char path[256];

    confine_ledger(directory);
    bool sees_truncate = landlock_version() >= VERSION_TRUNCATE;
    for (size_t i = 0; i < sizeof path_probes / sizeof *path_probes; i++) {
        const struct path_probe *p = &path_probes[i];
        bool absolute = p->name[0] == '/';
        HOLDS(snprintf(path, sizeof path, "%s%s%s", absolute ? "" : directory,
                       absolute ? "" : "/", p->name) < 256);
        for (unsigned op = READ_IT; op <= LIST_IT; op <<= 1) {
            if ((p->tried & op) == 0 || (op == TRUNCATE_IT && !sees_truncate))
                continue;
            if (works(path, op) != ((p->allowed & op) != 0)) {
                fprintf(stderr, "%s: operation %u: errno %d\n", path, op, errno);
                wrong++;
            }
        }
    }
    HOLDS(wrong == 0);
}

static void
the_ledger_has_its_directory_and_nothing_else(void **state)
{
    assert_holds(try_every_path, *state);
}

static void
move_across_the_border(const char *directory)
{
    char in[256], out[256], way[256];

    HOLDS(snprintf(in, sizeof in, "%s/db/victim", directory) < 256);
    HOLDS(snprintf(out, sizeof out, "%s/outside/victim", directory) < 256);
    HOLDS(snprintf(way, sizeof way, "%s/db/dir-out/x", directory) < 256);
    confine_ledger(directory);
    HOLDS(rename(in, out) != 0 && rename(out, in) != 0);
    HOLDS(rename(in, way) != 0 && link(out, in) != 0 && link(in, out) != 0);
}

static void
nothing_moves_into_or_out_of_the_directory(void **state)
{
    char path[256];

    assert_holds(move_across_the_border, *state);
    at(path, sizeof path, *state, "outside/victim");
    assert_int_equal(access(path, F_OK), 0);
}

/* Of the kinds of object only regular files can be made, and no directory goes. */
static void
make_other_objects(const char *directory)
{
    char path[256], sub[256];

    HOLDS(snprintf(path, sizeof path, "%s/db/other", directory) < 256);
    HOLDS(snprintf(sub, sizeof sub, "%s/db/sub", directory) < 256);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    HOLDS(snprintf(un.sun_path, sizeof un.sun_path, "%s/db/sock", directory) < 108);
    confine_ledger(directory);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    HOLDS(mkdir(path, 0700) != 0 && errno == EACCES);
    HOLDS(symlink("file", path) != 0 && errno == EACCES);
    HOLDS(mkfifo(path, 0600) != 0 && errno == EACCES);
    HOLDS(fd >= 0 && bind(fd, (struct sockaddr *)&un, sizeof un) != 0 &&
          errno == EACCES);
    HOLDS(rmdir(sub) != 0);
    char *const argv[] = {path, NULL};
    HOLDS(snprintf(path, sizeof path, "/bin/true") < 256);
    HOLDS(execv(path, argv) != 0 && errno == EACCES);
}

static void
only_regular_files_are_made_and_nothing_is_run(void **state)
{
    assert_holds(make_other_objects, *state);
}

static void
look_for_any_file(const char *directory)
{
    char path[256];

    HOLDS(snprintf(path, sizeof path, "%s/db/file", directory) < 256);
    HOLDS(kd_sandbox_confine(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
    HOLDS(!opens(path, O_RDONLY) && !opens(path, O_RDWR) && !opens("/", O_RDONLY));
    HOLDS(!opens("/etc/passwd", O_RDONLY) && !opens("/proc/self/maps", O_RDONLY));
}

static void
the_vault_has_no_files_even_without_its_filter(void **state)
{
    assert_holds(look_for_any_file, *state);
}

/* --- what the kernel says --- */

static void
status_field(const char *text, const char *field, char *out, size_t size)
{
    const char *p = strstr(text, field);

    assert_non_null(p);
    p += strlen(field);
    p += strspn(p, ":\t ");
    size_t n = strcspn(p, "\n");
    assert_true(n < size);
    memcpy(out, p, n);
    out[n] = '\0';
}

static bool
is_supervisor(enum kd_role role)
{
    return role == KD_ROLE_SUPERVISOR || role == KD_ROLE_SUPERVISOR_NET;
}

/* Starts the role, which then waits; reads what /proc says of it. */
static void
status_of_role(enum kd_role role, char *text, size_t size)
{
    int ready[2], go[2];
    char path[64], octet = 0;

    assert_int_equal(pipe(ready) | pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        const struct kd_sandbox_paths paths = one_path("/", KD_PATH_RUN);
        if (geteuid() == 0 && !is_supervisor(role))
            HOLDS(kd_privileges_drop(SOME_UID, SOME_GID) == KD_OK);
        HOLDS(kd_sandbox_enter(role, is_supervisor(role) ? &paths : NULL,
                               KD_SANDBOX_STRICT) == KD_OK);
        HOLDS(write(ready[1], "r", 1) == 1);
        kd_ignore(read(go[0], &octet, 1)); /* only to wait */
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(read(ready[0], &octet, 1), 1);
    assert_true(snprintf(path, sizeof path, "/proc/%d/status", (int)pid) > 0);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, size - 1, f);
    text[n] = '\0';
    assert_int_equal(fclose(f), 0);
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    for (int i = 0; i < 2; i++)
        assert_int_equal(close(ready[i]) | close(go[i]), 0);
}

static void
the_kernel_confirms_filter_privileges_and_capabilities(void **state)
{
    static const char *const empty[] = {"CapInh", "CapPrm", "CapEff", "CapAmb"};
    static const char spawn[] = "00000000000000e0", none[] = "0000000000000000";
    char text[8192], value[256], uids[128];
    const bool root = geteuid() == 0;

    (void)state;
    for (enum kd_role role = 0; role < KD_ROLE_COUNT; role++) {
        bool supervisor = is_supervisor(role);
        status_of_role(role, text, sizeof text);
        status_field(text, "\nSeccomp", value, sizeof value);
        assert_string_equal(value, "2");
        status_field(text, "\nNoNewPrivs", value, sizeof value);
        assert_string_equal(value, "1");
        for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
            bool kept = supervisor && root && (i == 1 || i == 2);
            status_field(text, empty[i], value, sizeof value);
            assert_string_equal(value, kept ? spawn : none);
        }
        unsigned uid = root && !supervisor ? SOME_UID : (unsigned)geteuid();
        assert_true(snprintf(uids, sizeof uids, "%u\t%u\t%u\t%u", uid, uid, uid, uid) >
                    0);
        status_field(text, "\nUid", value, sizeof value);
        assert_string_equal(value, uids);
        if (root && !supervisor) {
            status_field(text, "\nGroups", value, sizeof value);
            assert_true(value[strspn(value, " ")] == '\0');
        }
    }
}

static void
drop_for_good(const char *directory)
{
    (void)directory;
    HOLDS(kd_privileges_drop(0, SOME_GID) == KD_INVALID);
    HOLDS(kd_privileges_drop(SOME_UID, 0) == KD_INVALID);
    if (geteuid() != 0) {
        HOLDS(kd_privileges_drop(SOME_UID, SOME_GID) == KD_DENIED);
        HOLDS(kd_privileges_drop(getuid(), getgid()) == KD_OK);
        return;
    }
    const gid_t group = 4;
    HOLDS(setgroups(1, &group) == 0);
    HOLDS(kd_privileges_drop(SOME_UID, SOME_GID) == KD_OK);
    HOLDS(kd_privileges_drop(SOME_UID, SOME_GID) == KD_OK); /* is these already */
    HOLDS(kd_privileges_drop(SOME_UID + 1, SOME_GID) == KD_DENIED);
    HOLDS(setuid(0) != 0 && seteuid(0) != 0 && setgid(0) != 0);
    HOLDS(setgroups(1, &group) != 0 && getgroups(0, NULL) == 0);
}

static void
privileges_do_not_come_back(void **state)
{
    (void)state;
    assert_holds(drop_for_good, NULL);
}

/* --- threads and order --- */

static void *
wait_then_call(void *arg)
{
    char octet;

    if (read(*(int *)arg, &octet, 1) == 1)
        kd_ignore(getppid()); /* on no list */
    _exit(0);
}

static void
thread_calls_what_is_not_listed(const char *directory)
{
    int go[2];
    pthread_t thread;

    (void)directory;
    HOLDS(pipe(go) == 0);
    HOLDS(kd_sandbox_confine(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
    HOLDS(pthread_create(&thread, NULL, wait_then_call, &go[0]) == 0);
    HOLDS(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
    HOLDS(write(go[1], "g", 1) == 1);
    pthread_join(thread, NULL);
}

static void
a_thread_made_before_is_under_the_filter(void **state)
{
    (void)state;
    assert_true(was_killed(status_in_child(thread_calls_what_is_not_listed, NULL)));
}

static void *
wait_then_open(void *arg)
{
    char octet;

    HOLDS(read(*(int *)arg, &octet, 1) == 1);
    HOLDS(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
    return NULL;
}

static void
thread_opens_outside(const char *directory)
{
    int go[2];
    pthread_t thread;
    const struct kd_sandbox_paths paths = one_path(directory, KD_PATH_WRITE);

    HOLDS(pipe(go) == 0);
    HOLDS(kd_sandbox_confine(KD_ROLE_LEDGER, &paths, KD_SANDBOX_STRICT) == KD_OK);
    HOLDS(pthread_create(&thread, NULL, wait_then_open, &go[0]) == 0);
    HOLDS(kd_sandbox_enter(KD_ROLE_LEDGER, NULL, KD_SANDBOX_STRICT) == KD_OK);
    HOLDS(write(go[1], "g", 1) == 1 && pthread_join(thread, NULL) == 0);
}

static void
a_thread_made_before_is_under_landlock(void **state)
{
    assert_holds(thread_opens_outside, *state);
}

static void
make_a_thread_afterwards(const char *directory)
{
    int go[2] = {-1, -1};
    pthread_t thread;

    (void)directory;
    HOLDS(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
    HOLDS(pthread_create(&thread, NULL, wait_then_call, &go[0]) == 0);
}

static void
no_thread_can_be_made_afterwards(void **state)
{
    (void)state;
    assert_true(was_killed(status_in_child(make_a_thread_afterwards, NULL)));
}

static void
do_it_in_the_wrong_order(const char *directory)
{
    int go[2];
    pthread_t thread;

    (void)directory;
    HOLDS(kd_sandbox_confine(KD_ROLE_COUNT, NULL, KD_SANDBOX_STRICT) == KD_INVALID);
    HOLDS(pipe(go) == 0);
    HOLDS(pthread_create(&thread, NULL, wait_then_open, &go[0]) == 0);
    HOLDS(kd_sandbox_confine(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_INVALID);
    HOLDS(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_INVALID);
}

static void
do_it_twice(const char *directory)
{
    (void)directory;
    HOLDS(strstr(kd_sandbox_describe(), "seccomp=off") != NULL);
    HOLDS(kd_sandbox_confine(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
    HOLDS(kd_sandbox_confine(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_INVALID);
    HOLDS(kd_sandbox_enter(KD_ROLE_GATE, NULL, KD_SANDBOX_STRICT) == KD_INVALID);
    HOLDS(strstr(kd_sandbox_describe(), "seccomp=off") != NULL);
    HOLDS(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
    HOLDS(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_INVALID);
    HOLDS(strstr(kd_sandbox_describe(), "role=vault seccomp=kill landlock=") != NULL);
    HOLDS(strstr(kd_sandbox_describe(), "capabilities=none") != NULL);
}

static void
wrong_order_is_refused(void **state)
{
    (void)state;
    assert_holds(do_it_in_the_wrong_order, NULL);
    assert_holds(do_it_twice, NULL);
}

/* --- kernels that lack something --- */

/* Makes the call fail as on a kernel without it. */
static void
take_away(int call, int error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    HOLDS(filter != NULL);
    HOLDS(seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint16_t)error), call, 0) == 0);
    HOLDS(seccomp_load(filter) == 0);
    seccomp_release(filter);
}

static void
start_without_landlock_strictly(const char *directory)
{
    (void)directory;
    take_away(SCMP_SYS(landlock_create_ruleset), EOPNOTSUPP);
    HOLDS(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_UNSUPPORTED);
    HOLDS(strstr(kd_sandbox_describe(), "seccomp=off") != NULL);
}

static void
start_without_landlock_leniently(const char *directory)
{
    (void)directory;
    take_away(SCMP_SYS(landlock_create_ruleset), EOPNOTSUPP);
    HOLDS(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_LENIENT) == KD_OK);
    HOLDS(strstr(kd_sandbox_describe(), "seccomp=kill landlock=off") != NULL);
    kd_ignore(getppid()); /* on no list: the filter is there all the same */
}

static void
start_without_seccomp(const char *directory)
{
    (void)directory;
    take_away(SCMP_SYS(seccomp), EINVAL);
    HOLDS(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_LENIENT) == KD_UNSUPPORTED);
    HOLDS(strstr(kd_sandbox_describe(), "seccomp=off") != NULL);
}

static void
start_with_a_bad_path(const char *directory)
{
    const struct kd_sandbox_path path = {-1, KD_PATH_WRITE};
    const struct kd_sandbox_paths paths = {&path, 1};

    (void)directory;
    HOLDS(kd_sandbox_enter(KD_ROLE_LEDGER, &paths, KD_SANDBOX_STRICT) == KD_INVALID);
}

static void
a_missing_lock_is_refused(void **state)
{
    (void)state;
    assert_holds(start_without_landlock_strictly, NULL);
    assert_true(was_killed(status_in_child(start_without_landlock_leniently, NULL)));
    assert_holds(start_without_seccomp, NULL);
    assert_holds(start_with_a_bad_path, NULL);
}

/* --- from outside
 * ---------------------------------------------------------------------- */

/* Another process of the same uid cannot read a role's memory. */
static void
a_role_cannot_be_read_by_its_own_uid(void **state)
{
    static char secret[16] = "inside the role";
    int ready[2], go[2];
    char octet, copy[16];

    (void)state;
    assert_int_equal(pipe(ready) | pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0)
            HOLDS(kd_privileges_drop(SOME_UID, SOME_GID) == KD_OK);
        HOLDS(kd_process_undumpable() == KD_OK);
        HOLDS(kd_sandbox_enter(KD_ROLE_VAULT, NULL, KD_SANDBOX_STRICT) == KD_OK);
        HOLDS(write(ready[1], "r", 1) == 1);
        kd_ignore(read(go[0], &octet, 1)); /* only to wait */
        _exit(0);
    }
    assert_int_equal(read(ready[0], &octet, 1), 1);
    pid_t reader = fork();
    if (reader == 0) {
        struct iovec here = {copy, sizeof copy}, there = {secret, sizeof secret};
        if (geteuid() == 0)
            HOLDS(kd_privileges_drop(SOME_UID, SOME_GID) == KD_OK);
        HOLDS(process_vm_readv(pid, &here, 1, &there, 1, 0) == -1 && errno == EPERM);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(reader, &status, 0), reader);
    assert_int_equal(status, 0);
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_ledger_has_its_directory_and_nothing_else,
                                        tree_make, tree_remove),
        cmocka_unit_test_setup_teardown(nothing_moves_into_or_out_of_the_directory,
                                        tree_make, tree_remove),
        cmocka_unit_test_setup_teardown(only_regular_files_are_made_and_nothing_is_run,
                                        tree_make, tree_remove),
        cmocka_unit_test_setup_teardown(the_vault_has_no_files_even_without_its_filter,
                                        tree_make, tree_remove),
        cmocka_unit_test(the_kernel_confirms_filter_privileges_and_capabilities),
        cmocka_unit_test(privileges_do_not_come_back),
        cmocka_unit_test(a_thread_made_before_is_under_the_filter),
        cmocka_unit_test_setup_teardown(a_thread_made_before_is_under_landlock,
                                        tree_make, tree_remove),
        cmocka_unit_test(no_thread_can_be_made_afterwards),
        cmocka_unit_test(wrong_order_is_refused),
        cmocka_unit_test(a_missing_lock_is_refused),
        cmocka_unit_test(a_role_cannot_be_read_by_its_own_uid),
    };

    return cmocka_run_group_tests_name("sandbox confinement", tests, NULL, NULL);
}
