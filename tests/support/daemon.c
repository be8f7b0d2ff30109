#include "daemon.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>
#include <keyd/ops/ops.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77, READY_MS = 20000, STOP_MS = 20000, NAP_MS = 2 };

static bool fail(const char *fmt, ...) KD_PRINTF(1, 2);

static bool
fail(const char *fmt, ...)
{
    va_list ap;

    fputs("daemon: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return false;
}

static void
nap(void)
{
    kd_ignore(poll(NULL, 0, NAP_MS)); /* between two looks at another process */
}

/* Of the build. Asked before a test makes a mount namespace of its own: in there, and
 * where the root was changed, the link leads elsewhere. */
static char build[PATH_MAX];

__attribute__((constructor)) static void
find_build(void)
{
    ssize_t n = readlink("/proc/self/exe", build, sizeof build - 1);

    build[n < 0 ? 0 : n] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(build, '/');
        if (slash != NULL)
            *slash = '\0';
    }
}

void
daemon_program(const char *directory, const char *name, char out[4096])
{
    if (snprintf(out, 4096, "%s/%s/%s", build, directory, name) >= 4096)
        out[0] = '\0';
}

/* --- directory and configuration ----------------------------------------------------
 */

static bool
write_file(const char *path, const void *octets, size_t n, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool ok = fd >= 0 && write(fd, octets, n) == (ssize_t)n && fchmod(fd, mode) == 0;

    if (fd >= 0)
        close(fd);
    return ok || fail("%s: %s", path, strerror(errno));
}

#define LOOKUPS "\"LookupSignet\", \"LookupHistory\", \"VerifyCurrent\""
#define COM_AND_NET "\"example.com\", \"example.net\""
#define BOTH "domains = { " COM_AND_NET " }\n"

/* The caller, who may do all that its class is served. */
static void
put_caller(FILE *f, const char *domains, const char *in_caller)
{
    static const enum kd_class classes[] = {KD_CLASS_ADMIN, KD_CLASS_SUBMISSION,
                                            KD_CLASS_MTA, KD_CLASS_MILTER};

    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        const char *name = kd_class_name(classes[i]), *comma = "";
        fprintf(f,
                "principal \"caller-%s\" {\n uid = %u\n class = \"%s\"\n "
                "domains = { %s }\n operations = {",
                name, (unsigned)geteuid(), name,
                domains == NULL ? COM_AND_NET : domains);
        for (unsigned op = 1; op <= KD_OP_MAX; op++) {
            if (!kd_op_is_served(op, classes[i]) ||
                (kd_op_flags(op) & KD_OPF_EVERYONE) != 0)
                continue;
            fprintf(f, "%s \"%s\"", comma, kd_op_name(op));
            comma = ",";
        }
        fprintf(f, " }\n%s\n}\n",
                in_caller == NULL || classes[i] == KD_CLASS_ADMIN ? "" : in_caller);
    }
}

static void
put_others(FILE *f)
{
    fprintf(f,
            "principal \"submitd\" {\n uid = %d\n class = \"submission\"\n "
            "operations = { \"IssueUserSignet\", \"SignOutbound\", " LOOKUPS " }\n "
            "domains = { \"example.com\" }\n}\n",
            DAEMON_SUBMITD);
    fprintf(f,
            "principal \"dmtpd\" {\n uid = %d\n class = \"mta\"\n "
            "operations = { \"OpenEnvelope\", \"OpenBounce\", \"MakeBounce\", " LOOKUPS
            " }\n " BOTH "}\n",
            DAEMON_DMTPD);
    fprintf(f,
            "principal \"milter\" {\n uid = %d\n class = \"milter\"\n operations = { "
            "}\n}\n",
            DAEMON_MILTER);
    fprintf(f,
            "principal \"foreign\" {\n uid = %d\n class = \"submission\"\n "
            "operations = { \"IssueUserSignet\" }\n domains = { \"example.net\" }\n}\n",
            DAEMON_FOREIGN);
    fprintf(f,
            "principal \"auditor\" {\n uid = %d\n class = \"admin\"\n "
            "operations = { \"AuditRead\", \"AuditHead\" }\n}\n",
            DAEMON_AUDITOR);
}

/* Several of these run at a time on few processors: a token that seems to hang is one
 * that waits for its turn. */
static void
put_token(FILE *f, const struct softhsm *s, const char *more)
{
    fprintf(f,
            "token \"" DAEMON_TOKEN "\" {\n module = \"%s\"\n label = \"%s\"\n"
            " pin-file = \"%s\"\n paths = { \"%s\" }\n environment = { \"%s\" }\n"
            " timeout = 3000\n max-message = 67108864\n%s\n}\n",
            softhsm_module(), s->label, s->pin, s->paths, s->environment,
            more == NULL ? "" : more);
}

/* Beside the state: a daemon that goes on from another's has its token, too. */
static bool
prepare_token(struct daemon *d)
{
    const char *token = getenv("TOKEN");
    char folder[128];

    if (token == NULL || token[0] == '\0' || strcmp(token, "soft") == 0 ||
        d->options.no_token)
        return true;
    if (strcmp(token, "softhsm") != 0)
        return fail("TOKEN=%s: there is none", token);
    if (softhsm_module() == NULL) {
        fputs("skipped: softhsm2 is missing\n", stderr);
        exit(SKIPPED);
    }
    snprintf(folder, sizeof folder, "%.120s", d->state);
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash == folder)
        return fail("%s is no place for a token", d->state);
    *slash = '\0';
    d->has_token = true;
    softhsm_at(&d->hsm, folder, DAEMON_TOKEN);
    return access(d->hsm.conf, R_OK) == 0 ||
           softhsm_make(&d->hsm, folder, DAEMON_TOKEN, DAEMON_P11);
}

static bool
write_conf(const struct daemon *d)
{
    const struct daemon_options *o = &d->options;
    FILE *f = fopen(d->conf, "we");

    if (f == NULL)
        return fail("%s: %s", d->conf, strerror(errno));
    fprintf(f, "state-directory = \"%s\"\nrun-directory = \"%s\"\nhardening = strict\n",
            d->state, d->run);
    if (!o->sealed)
        fprintf(f, "credential = \"%s\"\n", d->credential_path);
    if (!o->quorum)
        fputs("single-operator = yes\n", f);
    if (geteuid() == 0)
        fprintf(f,
                "user-gate = \"%d\"\nuser-vault = \"%d\"\nuser-ledger = \"%d\"\n"
                "group = \"%d\"\n",
                DAEMON_GATE, DAEMON_VAULT, DAEMON_LEDGER, DAEMON_GROUP);
    if (geteuid() == 0 && d->has_token)
        fprintf(f, "user-p11 = \"%d\"\n", DAEMON_P11);
    if (o->top == NULL || strstr(o->top, "reserve-space") == NULL)
        fputs("reserve-space = 1048576\n", f); /* there are many of these */
    if (o->top != NULL)
        fprintf(f, "%s\n", o->top);
    if (d->has_token)
        put_token(f, &d->hsm, o->in_token);
    fprintf(f, "domain \"example.com\" {\n%s\n}\ndomain \"example.net\" {\n}\n",
            o->in_domain == NULL
                ? " issue-profile-fields = { 16, 18, 19, 94, 251, 252 }"
                : o->in_domain);
    if (geteuid() == 0) /* operators and auditors of other uids come in */
        fprintf(f, "listener \"admin\" {\n group = \"%d\"\n mode = \"0660\"\n}\n",
                DAEMON_GROUP);
    put_caller(f, o->domains, o->in_caller);
    put_others(f);
    if (o->sections != NULL)
        fprintf(f, "%s\n", o->sections);
    return fclose(f) == 0 ? chmod(d->conf, 0644) == 0 : fail("%s", strerror(errno));
}

bool
daemon_prepare(struct daemon *d, const struct daemon_options *options)
{
    const char *base = getenv("TMPDIR");

    *d = (struct daemon){0};
    if (options != NULL)
        d->options = *options;
    if (base == NULL || strlen(base) > 30)
        base = "/tmp";
    snprintf(d->dir, sizeof d->dir, "%s/keyd-test-XXXXXX", base);
    if (mkdtemp(d->dir) == NULL || chmod(d->dir, 0755) != 0)
        return fail("%s: %s", d->dir, strerror(errno));
    snprintf(d->conf, sizeof d->conf, "%s/keyd.conf", d->dir);
    snprintf(d->run, sizeof d->run, "%s/run", d->dir);
    snprintf(d->log, sizeof d->log, "%s/log", d->dir);
    snprintf(d->credential_path, sizeof d->credential_path, "%s/credential", d->dir);
    if (d->options.state != NULL)
        snprintf(d->state, sizeof d->state, "%s", d->options.state);
    else
        snprintf(d->state, sizeof d->state, "%s/state", d->dir);
    if (getrandom(d->credential, sizeof d->credential, 0) != sizeof d->credential)
        return fail("getrandom");
    return write_file(d->credential_path, d->credential, sizeof d->credential, 0400) &&
           prepare_token(d) && write_conf(d);
}

/* --- life ---------------------------------------------------------------------------
 */

/* From 3 on, as sd_listen_fds(3) wants them; first out of each other's way. */
static bool
place_sockets(const struct daemon_options *o)
{
    enum { ASIDE = 100 };

    for (size_t i = 0; i < o->n_sockets; i++)
        if (dup2(o->sockets[i], ASIDE + (int)i) < 0)
            return false;
    for (int fd = 3; fd < ASIDE; fd++)
        close(fd);
    for (size_t i = 0; i < o->n_sockets; i++)
        if (dup2(ASIDE + (int)i, 3 + (int)i) < 0)
            return false;
    for (int fd = 3 + (int)o->n_sockets; fd < 256; fd++)
        close(fd);
    return true;
}

static _Noreturn void
become_daemon(const struct daemon *d, const char *program, pid_t parent)
{
    int log = open(d->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int null = open("/dev/null", O_RDWR);
    char *const argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "-c",
                          (char *)(uintptr_t)d->conf, NULL};
    /* The supervisor is not dumpable, so a leak checker cannot stop its threads. */
    char pid[32], fds[32], notify[160];
    char *environment[5] = {(char *)(uintptr_t) "ASAN_OPTIONS=detect_leaks=0"};
    size_t n = 1;

    snprintf(pid, sizeof pid, "LISTEN_PID=%d", (int)getpid());
    snprintf(fds, sizeof fds, "LISTEN_FDS=%zu", d->options.n_sockets);
    if (d->options.n_sockets != 0) {
        environment[n++] = pid;
        environment[n++] = fds;
    }
    if (d->options.notify != NULL) {
        snprintf(notify, sizeof notify, "NOTIFY_SOCKET=%s", d->options.notify);
        environment[n++] = notify;
    }

    if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
        dup2(log, 2) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 ||
        getppid() != parent || !place_sockets(&d->options))
        _exit(126);
    execve(program, argv, environment);
    _exit(127);
}

bool
daemon_launch(struct daemon *d)
{
    char program[4096];
    pid_t parent = getpid();

    daemon_program("bin", "dime-keyd", program);
    fflush(NULL);
    d->pid = fork();
    if (d->pid == 0)
        become_daemon(d, program, parent);
    if (d->pid < 0) {
        d->pid = 0;
        return fail("fork: %s", strerror(errno));
    }
    return true;
}

/* Its token is not on its way any more. */
static bool
token_is_up(keyd_client *c)
{
    struct keyd_answer *a = NULL;
    bool up = keyd_client_token_list(c, &a) == KEYD_OK;

    for (size_t i = 0; up && i < a->out.tokens.n_tokens; i++)
        up = a->out.tokens.tokens[i].state != KEYD_TOKEN_STARTING &&
             (!a->out.tokens.tokens[i].adopted ||
              a->out.tokens.tokens[i].state != KEYD_TOKEN_NEW);
    keyd_client_answer_free(a);
    return up;
}

/* True once Status comes from a vault that has got where it can get by itself. */
static bool
is_up(const struct daemon *d)
{
    char path[108];
    struct keyd_answer *a = NULL;
    keyd_client *c = keyd_client_new();
    bool up = false;

    daemon_socket(d, "admin", path);
    if (c != NULL && keyd_client_connect(c, path, 1000) == KEYD_OK &&
        keyd_client_status(c, &a) == KEYD_OK) {
        enum keyd_service_state s = a->out.status.state;
        bool serves = s == KEYD_STATE_OPERATIONAL || s == KEYD_STATE_DEGRADED;
        up = (serves && a->out.status.probe_ok) || s == KEYD_STATE_UNPROVISIONED ||
             (s == KEYD_STATE_SEALED && d->options.sealed);
        for (size_t i = 0; i < a->out.status.n_processes; i++)
            up = up && a->out.status.processes[i].sandbox;
        up = up && (!d->has_token || s == KEYD_STATE_SEALED || token_is_up(c));
    }
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return up;
}

bool
daemon_wait(struct daemon *d, int timeout_ms)
{
    int64_t until = kd_clock_ms() + timeout_ms;

    while (!is_up(d)) {
        int status;
        if (waitpid(d->pid, &status, WNOHANG) == d->pid) {
            d->pid = 0;
            return fail("ended while starting, see %s", d->log);
        }
        if (kd_clock_ms() > until)
            return fail("not ready within %d ms, see %s", timeout_ms, d->log);
        nap();
    }
    return true;
}

bool
daemon_start(struct daemon *d, const struct daemon_options *options)
{
    return daemon_prepare(d, options) && daemon_launch(d) && daemon_wait(d, READY_MS);
}

int
daemon_reap(pid_t pid, int timeout_ms)
{
    int64_t until = kd_clock_ms() + timeout_ms;
    int status;

    while (waitpid(pid, &status, WNOHANG) != pid) {
        if (kd_clock_ms() > until)
            return 256;
        nap();
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int
daemon_wait_end(struct daemon *d, int timeout_ms)
{
    int status = d->pid == 0 ? 0 : daemon_reap(d->pid, timeout_ms);

    if (status != 256)
        d->pid = 0;
    return status;
}

pid_t
daemon_spawn(const struct daemon *d, const char *program, const char *output,
             const char *const *arguments)
{
    char path[4096], out[128];
    char *argv[32] = {path};
    pid_t parent = getpid();

    daemon_program("tests", program, path);
    snprintf(out, sizeof out, "%s/%s", d->dir, output);
    for (size_t i = 0; arguments[i] != NULL && i < 30; i++)
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid < 0 ? 0 : pid;
    int fd = open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(126);
    execv(path, argv);
    _exit(127);
}

int
daemon_stop(struct daemon *d)
{
    if (d->pid == 0)
        return 0;
    kill(d->pid, SIGTERM);
    int status = daemon_wait_end(d, STOP_MS);
    if (status == 256)
        daemon_kill(d);
    return status;
}

/* Name and parent of a process from its stat line: pid (comm) state ppid ... */
static bool
read_stat(const char *pid, char name[16], pid_t *parent)
{
    char path[64], line[512];

    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    line[n] = '\0';
    char *open_at = strchr(line, '('), *close_at = strrchr(line, ')');
    if (open_at == NULL || close_at == NULL || close_at[1] == '\0')
        return false;
    *close_at = '\0';
    snprintf(name, 16, "%.15s", open_at + 1);
    if (close_at[2] == 'Z')
        return false;
    *parent = (pid_t)strtol(close_at + 3, NULL, 10);
    return true;
}

void
daemon_kill(struct daemon *d)
{
    struct daemon_child children[DAEMON_CHILDREN_MAX];
    int status;

    if (d->pid == 0)
        return;
    size_t n = daemon_children(d, children, DAEMON_CHILDREN_MAX);
    kill(d->pid, SIGKILL);
    waitpid(d->pid, &status, 0);
    d->pid = 0;
    /* They get SIGKILL from the kernel; gone, or zombies of somebody else's, they have
     * closed all they had. */
    for (size_t i = 0; i < n; i++) {
        char pid[16], name[16];
        pid_t parent;
        snprintf(pid, sizeof pid, "%d", (int)children[i].pid);
        for (int k = 0; k < STOP_MS / NAP_MS && read_stat(pid, name, &parent); k++)
            nap();
    }
}

static void
remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    char inner[PATH_MAX];

    while (dir != NULL && (e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (unlink(inner) != 0 && (errno == EISDIR || errno == EPERM))
            remove_tree(inner); /* as deep as what we made ourselves */
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

void
daemon_clear(struct daemon *d)
{
    if (d->pid != 0)
        daemon_stop(d);
    if (getenv("KEYD_TEST_KEEP") != NULL)
        fprintf(stderr, "daemon: kept %s\n", d->dir);
    else if (d->dir[0] != '\0')
        remove_tree(d->dir);
    d->dir[0] = '\0';
}

/* --- processes ----------------------------------------------------------------------
 */

static size_t
list_children(const struct daemon *d, struct daemon_child *out, size_t max)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;
    size_t n = 0;

    while (dir != NULL && n < max && (e = readdir(dir)) != NULL) {
        pid_t parent;
        if (e->d_name[0] < '1' || e->d_name[0] > '9' ||
            !read_stat(e->d_name, out[n].name, &parent) || parent != d->pid)
            continue;
        out[n++].pid = (pid_t)strtol(e->d_name, NULL, 10);
    }
    if (dir != NULL)
        closedir(dir);
    return n;
}

/* A child that has the supervisor's own name still is what it becomes in a moment. */
size_t
daemon_children(const struct daemon *d, struct daemon_child *out, size_t max)
{
    enum { SOON_MS = 2000 };
    int64_t until = kd_clock_ms() + SOON_MS;

    for (;;) {
        size_t n = list_children(d, out, max), i = 0;
        while (i < n && strcmp(out[i].name, "dime-keyd") != 0)
            i++;
        if (i == n || kd_clock_ms() >= until)
            return n;
        nap();
    }
}

/* Of a token; it ends in order when it is used up or a key is made. */
static bool
is_host(const struct daemon_child *c)
{
    return strcmp(c->name, "keyd-p11") == 0;
}

static size_t
count_roles(const struct daemon_child *list, size_t n)
{
    size_t roles = 0;

    for (size_t i = 0; i < n; i++)
        roles += !is_host(&list[i]);
    return roles;
}

bool
daemon_has_children(const struct daemon *d, const struct daemon_child *before, size_t n)
{
    struct daemon_child now[DAEMON_CHILDREN_MAX];
    size_t n_now = daemon_children(d, now, DAEMON_CHILDREN_MAX);

    for (size_t i = 0; i < n; i++) {
        bool found = is_host(&before[i]);
        for (size_t k = 0; k < n_now; k++)
            found = found || now[k].pid == before[i].pid;
        if (!found)
            return fail("%s (pid %d) has ended, see %s", before[i].name,
                        (int)before[i].pid, d->log);
    }
    if (count_roles(now, n_now) != count_roles(before, n))
        return fail("%zu roles where there were %zu, see %s", count_roles(now, n_now),
                    count_roles(before, n), d->log);
    return true;
}

pid_t
daemon_role(const struct daemon *d, enum keyd_process_role role, const char *class)
{
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(d, "admin");
    pid_t pid = 0;

    if (c != NULL && keyd_client_status(c, &a) == KEYD_OK)
        for (size_t i = 0; i < a->out.status.n_processes; i++) {
            const struct keyd_process *p = &a->out.status.processes[i];
            if (p->role == role && (role != KEYD_PROCESS_GATE ||
                                    (p->name.n == strlen(class) &&
                                     memcmp(p->name.p, class, p->name.n) == 0)))
                pid = (pid_t)p->pid;
        }
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return pid;
}

/* --- sockets ------------------------------------------------------------------------
 */

void
daemon_socket(const struct daemon *d, const char *class, char out[108])
{
    bool admin = strcmp(class, "admin") == 0;

    snprintf(out, 108, "%.80s/%s%s.sock", d->run, admin ? "admin/" : "", class);
}

keyd_client *
daemon_connect(const struct daemon *d, const char *class)
{
    char path[108];
    keyd_client *c = keyd_client_new();

    daemon_socket(d, class, path);
    if (c == NULL)
        return NULL;
    enum keyd_status s = keyd_client_connect(c, path, 10000);
    if (s == KEYD_OK)
        return c;
    fail("%s: %s %s", path, keyd_client_status_text(s), keyd_client_detail(c));
    keyd_client_free(c);
    return NULL;
}

/* --- keys ---------------------------------------------------------------------------
 */

static bool
report(const char *what, enum keyd_status s, const struct keyd_answer *a)
{
    return s == KEYD_OK || fail("%s: %s (%s)", what, keyd_client_status_text(s),
                                a == NULL ? "" : a->detail);
}

size_t
daemon_places(const struct daemon *d, const struct keyd_octets **tokens)
{
    static const struct keyd_octets name = {(const uint8_t *)DAEMON_TOKEN,
                                            sizeof DAEMON_TOKEN - 1};

    *tokens = d->is_adopted ? &name : NULL;
    return d->is_adopted ? 1 : 0;
}

/* As soon as its first host has told which one it is. */
static bool
adopt(struct daemon *d, keyd_client *c)
{
    int64_t until = kd_clock_ms() + READY_MS;
    struct keyd_answer *a = NULL;
    char serial[32] = "";

    while (serial[0] == '\0' && kd_clock_ms() < until) {
        if (keyd_client_token_list(c, &a) == KEYD_OK && a->out.tokens.n_tokens == 1)
            snprintf(serial, sizeof serial, "%.*s",
                     (int)a->out.tokens.tokens[0].serial.n,
                     (const char *)a->out.tokens.tokens[0].serial.p);
        keyd_client_answer_free(a);
        a = NULL;
        nap();
    }
    if (serial[0] == '\0')
        return fail("the token did not tell its number, see %s", d->log);
    enum keyd_status s;
    while ((s = keyd_client_token_adopt(c, KEYD_STR(DAEMON_TOKEN), KEYD_STR(serial),
                                        &a)) == KEYD_UNAVAILABLE &&
           kd_clock_ms() < until) { /* it is known from before, and on its way */
        keyd_client_answer_free(a);
        a = NULL;
        nap();
    }
    d->is_adopted = s == KEYD_OK || s == KEYD_CONFLICT; /* it was before */
    bool ok = d->is_adopted || s == KEYD_DENIED || report("TokenAdopt", s, a);
    keyd_client_answer_free(a);
    return ok;
}

bool
daemon_adopt_token(struct daemon *d)
{
    keyd_client *c = d->has_token ? daemon_connect(d, "admin") : NULL;
    bool ok = !d->has_token || (c != NULL && adopt(d, c));

    keyd_client_free(c);
    return ok;
}

bool
daemon_init_token(struct daemon *d)
{
    uint8_t secret[DAEMON_CREDENTIAL_SIZE];
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(d, "admin");

    if (c == NULL)
        return false;
    memcpy(secret, d->credential, sizeof secret);
    enum keyd_status s = keyd_client_token_init(
        c, KEYD_SLOT_CREDENTIAL, (struct keyd_secret){secret, sizeof secret}, &a);
    bool ok = report("TokenInit", s, a);
    keyd_client_answer_free(a);
    ok = ok && (!d->has_token || adopt(d, c));
    keyd_client_free(c);
    return ok;
}

enum keyd_status
daemon_unseal(const struct daemon *d, keyd_client *admin)
{
    struct keyd_answer *a = NULL;
    uint8_t secret[DAEMON_CREDENTIAL_SIZE]; /* a call overwrites it */

    memcpy(secret, d->credential, sizeof secret);
    enum keyd_status status = keyd_client_unseal(
        admin, KEYD_SLOT_CREDENTIAL, (struct keyd_secret){secret, sizeof secret}, &a);
    keyd_client_answer_free(a);
    return status;
}

static bool
generate(const struct daemon *d, keyd_client *c, enum keyd_key_role role,
         const char *domain, uint32_t permissions, uint8_t id[16])
{
    struct keyd_request q = {.op = KEYD_OP_GENERATE_KEY,
                             .in.generate_key = {.role = role,
                                                 .algorithm = role == KEYD_ROLE_ENC
                                                                  ? KEYD_SECP256K1
                                                                  : KEYD_ED25519,
                                                 .domain = KEYD_STR(domain),
                                                 .permissions = permissions}};
    struct keyd_answer *a = NULL;

    q.in.generate_key.n_tokens = daemon_places(d, &q.in.generate_key.tokens);
    enum keyd_status s = keyd_client_call(c, &q, &a);
    bool ok = report("GenerateKey", s, a);

    if (ok)
        memcpy(id, a->out.keys.keys[0].id.p, 16);
    keyd_client_answer_free(a);
    return ok;
}

static bool
issue_org(keyd_client *c, const char *domain, struct daemon_org *org)
{
    const struct keyd_octets soks[] = {{org->sok, sizeof org->sok}};
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_ORG_SIGNET,
        .in.issue_org_signet = {.domain = KEYD_STR(domain),
                                .pok_id = {org->pok, sizeof org->pok},
                                .sok_ids = soks,
                                .n_sok_ids = 1,
                                .encryption_id = {org->enc, sizeof org->enc}}};
    struct keyd_answer *a = NULL;
    bool ok = report("IssueOrgSignet", keyd_client_call(c, &q, &a), a);

    if (ok && a->out.signet.signet.n <= sizeof org->signet) {
        org->size = a->out.signet.signet.n;
        memcpy(org->signet, a->out.signet.signet.p, org->size);
    }
    keyd_client_answer_free(a);
    return ok;
}

bool
daemon_provision_domain(struct daemon *d, const char *domain, struct daemon_org *out)
{
    struct daemon_org own, *org = out == NULL ? &own : out;
    keyd_client *c = daemon_connect(d, "admin");
    bool ok = c != NULL && generate(d, c, KEYD_ROLE_POK, domain, 0, org->pok) &&
              generate(d, c, KEYD_ROLE_SOK, domain,
                       KEYD_PERM_SIGNET | KEYD_PERM_MESSAGE, org->sok) &&
              generate(d, c, KEYD_ROLE_ENC, domain, 0, org->enc) &&
              issue_org(c, domain, org);

    keyd_client_free(c);
    return ok;
}

bool
daemon_provision(struct daemon *d, struct daemon_org *out)
{
    return daemon_init_token(d) && daemon_provision_domain(d, "example.com", out);
}

/* --- log ----------------------------------------------------------------------------
 */

unsigned
daemon_log_count(const struct daemon *d, long from, const char *a, const char *b)
{
    char line[4096];
    unsigned n = 0;
    FILE *log = fopen(d->log, "re");

    if (log != NULL && fseek(log, from, SEEK_SET) == 0)
        while (fgets(line, sizeof line, log) != NULL)
            n += strstr(line, a) != NULL && (b == NULL || strstr(line, b) != NULL);
    if (log != NULL)
        fclose(log);
    return n;
}

bool
daemon_log_has(const struct daemon *d, const char *text)
{
    return daemon_log_count(d, 0, text, NULL) > 0;
}

bool
daemon_log_wait(const struct daemon *d, const char *text, int timeout_ms)
{
    int64_t until = kd_clock_ms() + timeout_ms;

    while (!daemon_log_has(d, text)) {
        if (kd_clock_ms() > until)
            return false;
        nap();
    }
    return true;
}

long
daemon_log_end(const struct daemon *d)
{
    struct stat st;

    return stat(d->log, &st) == 0 ? (long)st.st_size : 0;
}
