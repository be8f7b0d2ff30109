/* dime-keyd: the supervisor.
 *
 * Holds     the configuration, the listening sockets, the children. No keys; reads no
 *           octet that a client sent.
 * Talks to  its children, over a control channel each: configuration and links down,
 *           readiness, lost links and the vault's events up.
 * May call  sandbox_supervisor.def: it must start children again, so its filter only
 *           takes away what neither it nor they need.
 *
 * Every role is its own executable under its own uid. A role that ends is started
 * again, and the links to its neighbours are made anew; one that keeps ending is left
 * alone, loudly. */
#include "role.h"
#include "supervisor/change.h"
#include "supervisor/child.h"
#include "supervisor/hosts.h"
#include "supervisor/links.h"
#include "supervisor/listen.h"
#include "supervisor/report.h"
#include "supervisor/tls.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/secret.h>
#include <keyd/conf/conf.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { STOP_MS = 5000 };

static struct supervisor sup;

/* --- children --- */

static void
start_child(struct child *c)
{
    kd_err err = child_start(&sup, c);

    if (err != KD_OK) {
        kd_log(KD_WARN, "cannot start %s: %s", c->name, kd_err_text(err));
        return;
    }
    /* Before the links: the vault unseals as soon as the ledger has spoken. */
    if (c->role == KD_ROLE_VAULT)
        links_hand_credential(&sup, c);
    reload_child_started(&sup, c);
    drain_child_started(&sup, c);
    links_make(&sup, c);
    report_processes(&sup);
}

static void
announce_when_all_ready(void)
{
    unsigned n = 1;

    if (sup.is_announced || !sup.is_settled)
        return;
    for (unsigned i = 0; i < sup.n_children; i++) {
        if (!sup.children[i].is_ready && !child_is_host(&sup.children[i]))
            return;
        n += sup.children[i].is_ready;
    }
    sup.is_announced = true;
    kd_log(KD_INFO, "ready: %u processes", n);
    report_ready("serving");
}

static void
on_settled(void)
{
    sup.is_settled = true;
    for (unsigned i = 0; i < sup.n_children; i++)
        if (sup.children[i].role == KD_ROLE_GATE && sup.children[i].pid > 0)
            links_hand_listener(&sup, &sup.children[i]);
    announce_when_all_ready();
}

/* A step of a reload or of a drain was done, or not. */
static kd_err
on_turned(struct child *c, struct kd_slice body)
{
    struct kd_ctl_turned m;
    kd_err err = kd_ctl_turned_get(body, &m);

    if (err != KD_OK)
        return err;
    if (m.turn == KD_TURN_DRAIN || m.turn == KD_TURN_SERVE)
        drain_on_turned(&sup, c, &m);
    else
        reload_on_turned(&sup, c, &m);
    return KD_OK;
}

static kd_err
on_wish(struct kd_slice body)
{
    struct kd_ctl_wish m;
    kd_err err = kd_ctl_wish_get(body, &m);

    if (err != KD_OK)
        return err;
    if (m.wish >= KD_WISHES)
        return KD_MALFORMED;
    if (m.wish == KD_WISH_RELOAD)
        reload_by_wish(&sup, m.tag);
    else
        drain_by_wish(&sup, &m);
    return KD_OK;
}

static kd_err
on_child_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct child *c = ctx;

    if (fd >= 0)
        close(fd); /* no role has one to give */
    if (type == KD_MSG_ctl_ready) {
        if (c->is_ready) /* all gates are told each time: one could keep us at it */
            return KD_MALFORMED;
        c->is_ready = true;
        report_processes(&sup);
        announce_when_all_ready();
    } else if (child_is_host(c)) {
        return KD_MALFORMED; /* it has nothing more to say to us */
    } else if (type == KD_MSG_ctl_p11 && c->role == KD_ROLE_VAULT) {
        return hosts_on_want(&sup, body);
    } else if (type == KD_MSG_ctl_lost) {
        links_on_lost(&sup, c, body);
    } else if (type == KD_MSG_ctl_event && c->role == KD_ROLE_VAULT) {
        if (report_event(&sup, body) && !sup.is_settled)
            on_settled();
    } else if (type == KD_MSG_ctl_turned) {
        return on_turned(c, body);
    } else if (type == KD_MSG_ctl_wish && c->role == KD_ROLE_VAULT) {
        return on_wish(body);
    } else {
        return KD_MALFORMED;
    }
    return KD_OK;
}

static void
serve_child(struct child *c)
{
    enum { PACKETS = 16 };

    if (c->ctl.fd < 0)
        return;
    kd_err err = kd_chan_recv(&c->ctl, PACKETS, on_child_message, c);
    if (err != KD_OK && err != KD_CLOSED) {
        c->is_ended_by_us = true;
        kill(c->pid, SIGKILL); /* it speaks nonsense to us: not what we started */
    }
    if (err != KD_OK)
        kd_chan_close(&c->ctl);
}

/* One that keeps ending has been told of; one that was replaced, or whose vault ended,
 * is no news. */
static enum kd_log_level
exit_level(const struct child *c, int status)
{
    bool is_usual =
        child_is_host(c) && (c->n_crashes >= HOSTS_TOLD || c->is_let_go ||
                             (WIFEXITED(status) && WEXITSTATUS(status) == 0));

    return is_usual ? KD_DEBUG : sup.is_stopping ? KD_INFO : KD_WARN;
}

static void
log_exit(const struct child *c, int status)
{
    enum kd_log_level level = exit_level(c, status);

    if (child_is_host(c) && c->is_ended_by_us && WIFSIGNALED(status) &&
        WTERMSIG(status) == SIGKILL)
        kd_log(level, "%s (pid %d) was killed: it did not do as the vault asked",
               c->name, (int)c->pid);
    else if (WIFSIGNALED(status))
        kd_log(level, "%s (pid %d) ended by signal %d%s", c->name, (int)c->pid,
               WTERMSIG(status),
               WTERMSIG(status) == SIGSYS ? ": a system call outside its sandbox" : "");
    else
        kd_log(level, "%s (pid %d) ended with status %d", c->name, (int)c->pid,
               WEXITSTATUS(status));
}

/* When a role is started again; or that the daemon stops. */
static void
plan_start(struct child *c, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == KD_ROLE_EXIT_REFUSED) {
        kd_log(KD_WARN, "%s will not run like this; stopping", c->name);
        sup.exit_status = EX_CONFIG;
        sup.is_stopping = true;
        return;
    }
    /* Being killed is an operator's or a test's doing and counts as no crash, unless it
     * was ours. */
    bool crashed =
        !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) || c->is_ended_by_us;
    int64_t wait = child_backoff(c, crashed);
    if (wait > 0)
        kd_log(KD_WARN, "%s keeps ending: started again in %lld ms", c->name,
               (long long)wait);
    c->start_at = kd_clock_ms() + wait;
}

static void
on_exit_of(struct child *c, int status)
{
    log_exit(c, status);
    child_ended(c);
    report_processes(&sup);
    if (c->role == KD_ROLE_VAULT)
        hosts_end(&sup);
    if (sup.is_stopping)
        return;
    if (child_is_host(c)) {
        host_ended(&sup, c, status);
        return;
    }
    reload_child_ended(&sup, c);
    drain_child_ended(&sup, c);
    plan_start(c, status);
}

static void
reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (unsigned i = 0; i < sup.n_children; i++)
            if (sup.children[i].pid == pid)
                on_exit_of(&sup.children[i], status);
}

/* Starts what is due; returns how long the loop may sleep. */
static int
start_due(void)
{
    int64_t now = kd_clock_ms(), next = now + 60000;

    for (unsigned i = 0; i < sup.n_children && !sup.is_stopping; i++) {
        struct child *c = &sup.children[i];
        if (c->pid > 0 || (child_is_host(c) && !host_is_wanted(&sup, c)))
            continue;
        if (c->start_at <= now)
            start_child(c);
        else if (c->start_at < next)
            next = c->start_at;
    }
    return (int)(next - now);
}

/* --- signals and loop
 * ----------------------------------------------------------------- */

static void
on_signal(void)
{
    struct signalfd_siginfo si;
    bool hup = false; /* any number of them is one */

    while (read(sup.signals, &si, sizeof si) == (ssize_t)sizeof si) {
        if (si.ssi_signo == SIGCHLD)
            reap();
        else if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
            drain_by_signal(&sup);
        else if (si.ssi_signo == SIGHUP)
            hup = true;
    }
    if (hup && !sup.is_stopping)
        reload_by_signal(&sup);
}

static void
wait_for_events(int timeout)
{
    struct pollfd p[CHILDREN_MAX + 1];

    p[0] = (struct pollfd){.fd = sup.signals, .events = POLLIN};
    for (unsigned i = 0; i < sup.n_children; i++) {
        p[i + 1] = kd_role_watch(&sup.children[i].ctl);
    }
    kd_ignore(poll(p, sup.n_children + 1, timeout)); /* failures show when receiving */
}

/* Gates first, so that nothing new comes in; then the vault, and with it the hosts, of
 * which only those that make keys end by themselves; the ledger last, which has what
 * the vault sent. */
static void
stop_all(void)
{
    static const enum kd_role order[] = {KD_ROLE_GATE, KD_ROLE_VAULT, KD_ROLE_P11,
                                         KD_ROLE_LEDGER};

    report_stopping(0);
    for (size_t o = 0; o < sizeof order / sizeof *order; o++) {
        for (unsigned i = 0; i < sup.n_children; i++)
            if (sup.children[i].role == order[o])
                kd_chan_close(&sup.children[i].ctl); /* it ends by itself */
        int64_t until = kd_clock_ms() + STOP_MS;
        while (children_alive(&sup, order[o]) && kd_clock_ms() < until) {
            struct pollfd p = {.fd = sup.signals, .events = POLLIN};
            kd_ignore(poll(&p, 1, 100)); /* looked at again in a moment */
            on_signal();
            reap();
        }
        for (unsigned i = 0; i < sup.n_children; i++)
            if (sup.children[i].role == order[o] && sup.children[i].pid > 0)
                kill(sup.children[i].pid, SIGKILL);
    }
}

static void
run(void)
{
    while (!sup.is_stopping) {
        int timeout = hosts_due(&sup, links_due(&sup, start_due()));
        timeout = reload_due(&sup, drain_due(&sup, timeout));
        for (unsigned i = 0; i < sup.n_children; i++)
            if (kd_chan_pending(&sup.children[i].ctl) &&
                kd_chan_flush(&sup.children[i].ctl) != KD_OK)
                kd_chan_close(&sup.children[i].ctl);
        wait_for_events(timeout);
        on_signal();
        for (unsigned i = 0; i < sup.n_children; i++)
            serve_child(&sup.children[i]);
    }
    stop_all();
}

/* --- start
 * ------------------------------------------------------------------------------ */

static void
catch_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        kd_role_die("signals", KD_FAILED);
    sup.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (sup.signals < 0)
        kd_role_die("signalfd", KD_FAILED);
}

static void
print_problems(const char *path, const struct kd_conf_problems *problems)
{
    char line[512];

    for (size_t i = 0; kd_conf_problems_line(path, problems, i, line, sizeof line); i++)
        fprintf(stderr, "%s\n", line);
}

static int
usage(FILE *to, int status)
{
    /* Without anywhere to say it the status has to do. */
    kd_ignore(fputs("usage: dime-keyd [-t] [-c FILE]\n"
                    "       dime-keyd -V\n"
                    "  -c FILE  configuration (/etc/dime-keyd/keyd.conf)\n"
                    "  -t       check the configuration and exit\n"
                    "  -V       print the version and exit\n",
                    to));
    return status;
}

/* What the children need and cannot raise later: the supervisor gives up the right to.
 * Not fatal: an unprivileged one takes what it is given, and who misses something says
 * so. */
static void
raise_limits(void)
{
    enum { MEMLOCK = 64 * 1024 * 1024, BESIDE_CONNECTIONS = 1024 };
    const struct rlimit lock = {MEMLOCK, MEMLOCK};
    rlim_t n = change_most_connections(sup.conf) + BESIDE_CONNECTIONS;
    const struct rlimit files = {n, n};
    struct rlimit now;

    if (setrlimit(RLIMIT_MEMLOCK, &lock) != 0)
        kd_log(KD_DEBUG, "RLIMIT_MEMLOCK: %s", strerror(errno));
    if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur < n &&
        setrlimit(RLIMIT_NOFILE, &files) != 0)
        kd_log(KD_WARN, "RLIMIT_NOFILE is %llu: fewer connections than configured",
               (unsigned long long)now.rlim_cur);
}

/* The folder that the ledger, which inherits what the supervisor may, keeps its
 * checkpoint in; -1 if there is none. */
static int
checkpoint_folder(void)
{
    char path[PATH_MAX];

    if (sup.conf->checkpoint_file == NULL)
        return -1;
    kd_ignore(snprintf(path, sizeof path, "%s", sup.conf->checkpoint_file));
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        slash[slash == path ? 1 : 0] = '\0';
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        kd_log(KD_WARN, "checkpoint-file: %s: %s", path, strerror(errno));
    return fd;
}

enum { PATHS_MAX = 3 + KD_CONF_TOKENS_MAX * KD_CONF_TOKEN_LIST_MAX };

/* What tokens' hosts that make keys may write, which inherit it like everything. Closed
 * to the others by their own rules, and by its owner and mode. */
static size_t
token_paths(struct kd_sandbox_path *list)
{
    size_t n = 0;

    for (size_t i = 0; i < sup.conf->n_tokens; i++) {
        const struct kd_conf_token *t = &sup.conf->tokens[i];
        for (size_t k = 0; k < t->paths.n; k++) {
            int fd = open(t->paths.list[k], O_PATH | O_CLOEXEC);
            if (fd >= 0)
                list[n++] = (struct kd_sandbox_path){fd, KD_PATH_TREE};
            else
                kd_log(KD_WARN, "token \"%s\": paths: %s: %s", t->name,
                       t->paths.list[k], strerror(errno));
        }
    }
    return n;
}

/* Of all roles only hosts of such a token use TCP, but they inherit the filter. */
static enum kd_role
own_role(void)
{
    for (size_t i = 0; i < sup.conf->n_tokens; i++)
        if (sup.conf->tokens[i].profile == KD_P11_PROFILE_NET)
            return KD_ROLE_SUPERVISOR_NET;
    return KD_ROLE_SUPERVISOR;
}

static void
confine(void)
{
    enum kd_sandbox_mode mode = sup.conf->hardening == KD_HARDENING_STRICT
                                    ? KD_SANDBOX_STRICT
                                    : KD_SANDBOX_LENIENT;
    struct kd_sandbox_path list[PATHS_MAX] = {
        {open("/", O_PATH | O_CLOEXEC), KD_PATH_RUN},
        {open(sup.conf->state_directory, O_PATH | O_DIRECTORY | O_CLOEXEC),
         KD_PATH_TREE},
        {checkpoint_folder(), KD_PATH_WRITE},
    };
    size_t n = list[2].fd < 0 ? 2 : 3;
    kd_err err = kd_process_undumpable();

    n += token_paths(list + n);
    const struct kd_sandbox_paths paths = {list, n};
    if (err == KD_OK)
        err = kd_sandbox_enter(own_role(), &paths, mode);
    if (err != KD_OK)
        kd_role_die("cannot confine the supervisor", err);
    sup.is_confined = true;
    for (size_t i = 0; i < paths.n; i++)
        close(list[i].fd);
}

/* What the configuration names. A token whose files are wrong is no reason not to
 * start, and this is asked before every start. */
static int
check_files(void)
{
    if (tls_check(sup.conf) != KD_OK)
        return EX_CONFIG;
    bool good = hosts_check(sup.conf);
    return puts(good ? "configuration is good"
                     : "configuration is good, but not all tokens can be used") < 0
               ? EX_IOERR
               : 0;
}

int
main(int argc, char **argv)
{
    static struct kd_conf_problems problems;
    const char *path = KEYD_CONF_PATH;
    bool check_only = false;
    int opt;

    while ((opt = getopt(argc, argv, "c:tVh")) != -1) {
        if (opt == 'c')
            path = optarg;
        else if (opt == 't')
            check_only = true;
        else if (opt == 'V')
            return puts("dime-keyd " KEYD_VERSION) < 0 ? EX_IOERR : 0;
        else
            return opt == 'h' ? usage(stdout, 0) : usage(stderr, EX_USAGE);
    }
    if (optind != argc)
        return usage(stderr, EX_USAGE);
    kd_err err = kd_conf_load(path, NULL, &sup.conf, &problems);
    print_problems(path, &problems);
    if (err != KD_OK)
        return EX_CONFIG;
    if (check_only)
        return check_files();
    sup.conf_path = path;
    sup.started = sup.conf;
    sup.conf_serial = sup.reload.serial = 1;
    kd_log_setup("dime-keyd", sup.conf->log_level);
    kd_ignore(hosts_check(sup.conf)); /* logged */
    reload_start_shadow(&sup);
    umask(077);
    catch_signals();
    sup.tls = -1;
    if (tls_reload(&sup) != KD_OK)
        return EX_CONFIG;
    if (listen_all(&sup) != KD_OK || children_plan(&sup) != KD_OK)
        return EX_OSERR;
    raise_limits();
    confine();
    kd_log(KD_INFO, "starting, configuration %s", path);
    run();
    listen_remove(&sup);
    kd_log(KD_INFO, "stopped");
    return sup.exit_status;
}
