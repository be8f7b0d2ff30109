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
#include "supervisor/child.h"
#include "supervisor/listen.h"

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
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum { RELINKS_A_MINUTE = 30, RELINK_MS = 20, STOP_MS = 5000 };

static struct supervisor sup;

/* --- links between the roles --- */

static void
send_link(struct child *c, enum kd_link link, unsigned gate, uint32_t serial, int fd)
{
    struct kd_ctl_link m = {(uint8_t)link, (uint8_t)gate, serial};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_link_put(&b, &m);
    /* A child that is gone gets its links when it is started again. */
    kd_ignore(kd_chan_put(&c->ctl, KD_MSG_ctl_link, kd_buf_slice(&b), fd));
    kd_buf_free(&b);
}

/* Makes the link anew: one end as a_link to a, the other as b_link to b. */
static void
join(struct child *a, enum kd_link a_link, struct child *b, enum kd_link b_link,
     unsigned gate, struct link *link)
{
    int fds[2];
    uint32_t serial = ++sup.serial;

    *link = (struct link){.serial = serial};
    if (a == NULL || b == NULL || a->pid <= 0 || b->pid <= 0)
        return;
    if (kd_chan_pair(fds) != KD_OK) {
        kd_log(KD_WARN, "no channel between two roles: %s", strerror(errno));
        return;
    }
    send_link(a, a_link, gate, serial, fds[0]);
    send_link(b, b_link, gate, serial, fds[1]);
}

static void
join_gate(unsigned gate, bool to_vault, bool to_ledger)
{
    struct child *g = child_of(&sup, KD_ROLE_GATE, gate);

    if (to_vault)
        join(g, KD_LINK_VAULT, child_of(&sup, KD_ROLE_VAULT, 0), KD_LINK_GATE, gate,
             &sup.links.to_vault[gate]);
    if (to_ledger)
        join(g, KD_LINK_LEDGER, child_of(&sup, KD_ROLE_LEDGER, 0), KD_LINK_GATE, gate,
             &sup.links.to_ledger[gate]);
}

static void
join_core(void)
{
    join(child_of(&sup, KD_ROLE_VAULT, 0), KD_LINK_LEDGER,
         child_of(&sup, KD_ROLE_LEDGER, 0), KD_LINK_VAULT, 0, &sup.links.core);
}

/* A gate accepts from when the vault knows how it stands: until then connections wait
 * in the kernel's queue, for the moment that a start takes. */
static void
hand_listener(struct child *gate)
{
    int fd = sup.is_settled
                 ? fcntl(sup.listeners[kd_gate_class(gate->gate)], F_DUPFD_CLOEXEC, 0)
                 : -1;

    if (fd >= 0)
        send_link(gate, KD_LINK_LISTENER, gate->gate, ++sup.serial, fd);
}

/* All links of a role that was started (again). */
static void
join_neighbours(struct child *c)
{
    if (c->role == KD_ROLE_GATE) {
        join_gate(c->gate, true, true);
        hand_listener(c);
        return;
    }
    join_core();
    for (unsigned gate = 0; gate < KD_GATES_MAX; gate++)
        join_gate(gate, c->role == KD_ROLE_VAULT, c->role == KD_ROLE_LEDGER);
}

/* The vault reads the credential itself; it gets a descriptor opened anew each time, so
 * that a rotated file counts. */
static void
hand_credential(struct child *vault)
{
    if (sup.conf->credential == NULL)
        return;
    int fd = open(sup.conf->credential, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    sup.opens_itself = fd >= 0;
    if (fd >= 0)
        send_link(vault, KD_LINK_CREDENTIAL, 0, ++sup.serial, fd);
    else
        kd_log(KD_WARN, "credential %s: %s", sup.conf->credential, strerror(errno));
}

/* --- what Status shows
 * ---------------------------------------------------------------- */

static void
tell_process(const struct child *about)
{
    /* The numbers of the protocol: supervisor 1, gate 2, vault 3, ledger 4. */
    static const uint8_t numbers[KD_ROLE_COUNT] = {[KD_ROLE_SUPERVISOR] = 1,
                                                   [KD_ROLE_GATE] = 2,
                                                   [KD_ROLE_VAULT] = 3,
                                                   [KD_ROLE_LEDGER] = 4};
    struct kd_ctl_process m = {numbers[about->role], (uint8_t)about->gate,
                               (uint32_t)about->pid, about->uid,
                               about->is_ready,      about->starts};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_process_put(&b, &m);
    for (unsigned i = 0; i < sup.n_children; i++) {
        struct child *c = &sup.children[i];
        if (c->role == KD_ROLE_GATE && c->pid > 0)
            kd_ignore(kd_chan_put(&c->ctl, KD_MSG_ctl_process, kd_buf_slice(&b), -1));
    }
    kd_buf_free(&b);
}

static void
tell_all_processes(void)
{
    const struct child self = {.role = KD_ROLE_SUPERVISOR,
                               .pid = getpid(),
                               .uid = geteuid(),
                               .is_ready = sup.is_confined};

    tell_process(&self);
    for (unsigned i = 0; i < sup.n_children; i++)
        tell_process(&sup.children[i]);
}

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
        hand_credential(c);
    join_neighbours(c);
    tell_all_processes();
}

static void
announce_when_all_ready(void)
{
    if (sup.is_announced || !sup.is_settled)
        return;
    for (unsigned i = 0; i < sup.n_children; i++)
        if (!sup.children[i].is_ready)
            return;
    sup.is_announced = true;
    kd_log(KD_INFO, "ready: %u processes", sup.n_children + 1);
    kd_ignore(sd_notify(0, "READY=1")); /* not started by systemd: nothing to tell */
}

enum vault_event {
#define KD_EVENT(name, level, text) EVENT_##name,
#include <keyd/events.def>
#undef KD_EVENT
};

/* True for what ends the vault's start: it is open, or it has said why it is not. With
 * a credential there is more to come after the registry was opened. */
static bool
settles(uint16_t event)
{
    return event == EVENT_OPEN
               ? !sup.opens_itself
               : event == EVENT_UNSEALED || event == EVENT_NO_KEYSTORE ||
                     event == EVENT_WRONG_SECRET || event == EVENT_KEYSTORE_BAD ||
                     event == EVENT_KEYSTORE_OLD || event == EVENT_CHECKPOINT_BAD ||
                     event == EVENT_LEDGER_WENT_BACK || event == EVENT_KEYSTORE_OTHER ||
                     event == EVENT_CHECKPOINT_UNREADABLE ||
                     event == EVENT_REGISTRY_BEHIND || event == EVENT_REGISTRY_FORKED ||
                     event == EVENT_CHECKPOINT_MISSING;
}

static void
on_settled(void)
{
    sup.is_settled = true;
    for (unsigned i = 0; i < sup.n_children; i++)
        if (sup.children[i].role == KD_ROLE_GATE && sup.children[i].pid > 0)
            hand_listener(&sup.children[i]);
    announce_when_all_ready();
}

static void
on_vault_event(struct kd_slice body)
{
    static const struct {
        enum kd_log_level level;
        const char *text;
    } events[] = {
#define KD_EVENT(name, level, text) {level, text},
#include <keyd/events.def>
#undef KD_EVENT
    };
    struct kd_ctl_event m;
    char line[256];

    if (kd_ctl_event_get(body, &m) != KD_OK ||
        m.event >= sizeof events / sizeof *events)
        return;
    event_text(events[m.event].text, m.a, m.b, line, sizeof line);
    kd_log(events[m.event].level, "vault: %s", line);
    if (!sup.is_settled && settles(m.event))
        on_settled();
}

/* Counts a link that broke by this running child's fault; false if it was ended. */
static bool
may_have_another(struct child *c)
{
    int64_t now = kd_clock_ms();

    if (now - c->lost_since > 60000) {
        c->lost_since = now;
        c->n_lost = 0;
    }
    if (++c->n_lost <= RELINKS_A_MINUTE)
        return true;
    kd_log(KD_WARN, "%s loses its links too often: starting it again", c->name);
    c->is_ended_for_links = true;
    kill(c->pid, SIGKILL);
    return false;
}

/* A link broke. What to do about it shows in a moment: an end that died is on its way
 * to being started again, with all its links. */
static void
on_lost(struct child *from, struct kd_slice body)
{
    struct kd_ctl_lost m;

    if (kd_ctl_lost_get(body, &m) != KD_OK)
        return;
    struct link *link = child_link(&sup, from, &m);
    /* Else the other end said so first, or it was replaced meanwhile. */
    if (link != NULL && link->serial == m.serial && link->lost_at == 0)
        link->lost_at = kd_clock_ms();
}

/* Both ends live: somebody said something malformed, or does not read. The end that is
 * trusted less answers for it, whoever reported: the gate, and between vault and ledger
 * the ledger. Else a captured gate could have the vault ended, and the keys sealed. */
static bool
is_due(struct link *link, struct child *answers, const struct child *other)
{
    if (link->lost_at == 0 || kd_clock_ms() - link->lost_at < RELINK_MS)
        return false;
    link->lost_at = 0;
    /* Who does not run gets its links when it is started. */
    return answers != NULL && answers->pid > 0 && other->pid > 0 &&
           may_have_another(answers);
}

/* Makes broken links anew; returns how long the loop may sleep, at most timeout. */
static int
relink_due(int timeout)
{
    struct child *vault = child_of(&sup, KD_ROLE_VAULT, 0);
    struct child *ledger = child_of(&sup, KD_ROLE_LEDGER, 0);
    bool waits = false;

    if (is_due(&sup.links.core, ledger, vault))
        join_core();
    waits |= sup.links.core.lost_at != 0;
    for (unsigned gate = 0; gate < KD_GATES_MAX; gate++) {
        struct child *g = child_of(&sup, KD_ROLE_GATE, gate);
        struct link *to_vault = &sup.links.to_vault[gate];
        struct link *to_ledger = &sup.links.to_ledger[gate];
        join_gate(gate, is_due(to_vault, g, vault), is_due(to_ledger, g, ledger));
        waits |= to_vault->lost_at != 0 || to_ledger->lost_at != 0;
    }
    return waits && timeout > RELINK_MS ? RELINK_MS : timeout;
}

static kd_err
on_child_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct child *c = ctx;

    if (fd >= 0)
        close(fd); /* no role has one to give */
    if (type == KD_MSG_ctl_ready) {
        c->is_ready = true;
        tell_all_processes();
        announce_when_all_ready();
    } else if (type == KD_MSG_ctl_lost) {
        on_lost(c, body);
    } else if (type == KD_MSG_ctl_event && c->role == KD_ROLE_VAULT) {
        on_vault_event(body);
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
    if (err != KD_OK && err != KD_CLOSED)
        kill(c->pid, SIGKILL); /* it speaks nonsense to us: not what we started */
    if (err != KD_OK)
        kd_chan_close(&c->ctl);
}

static void
on_exit_of(struct child *c, int status)
{
    enum kd_log_level level = sup.is_stopping ? KD_INFO : KD_WARN;

    if (WIFSIGNALED(status))
        kd_log(level, "%s (pid %d) ended by signal %d%s", c->name, (int)c->pid,
               WTERMSIG(status),
               WTERMSIG(status) == SIGSYS ? ": a system call outside its sandbox" : "");
    else
        kd_log(level, "%s (pid %d) ended with status %d", c->name, (int)c->pid,
               WEXITSTATUS(status));
    child_ended(c);
    tell_all_processes();
    if (sup.is_stopping)
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == KD_ROLE_EXIT_REFUSED) {
        kd_log(KD_WARN, "%s will not run like this; stopping", c->name);
        sup.exit_status = EX_CONFIG;
        sup.is_stopping = true;
        return;
    }
    /* Being killed is an operator's or a test's doing and counts as no crash, unless it
     * was ours. */
    bool crashed =
        !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) || c->is_ended_for_links;
    int64_t wait = child_backoff(c, crashed);
    if (wait > 0)
        kd_log(KD_WARN, "%s keeps ending: started again in %lld ms", c->name,
               (long long)wait);
    c->start_at = kd_clock_ms() + wait;
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
        if (c->pid > 0)
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

    while (read(sup.signals, &si, sizeof si) == (ssize_t)sizeof si) {
        if (si.ssi_signo == SIGCHLD)
            reap();
        else if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
            sup.is_stopping = true;
    }
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

/* Gates first, so that nothing new comes in; then vault; the ledger last, which has
 * what the vault sent. */
static void
stop_all(void)
{
    static const enum kd_role order[] = {KD_ROLE_GATE, KD_ROLE_VAULT, KD_ROLE_LEDGER};

    kd_ignore(sd_notify(0, "STOPPING=1"));
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
        int timeout = relink_due(start_due());
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

    for (size_t i = 0; i < problems->n; i++)
        fprintf(stderr, "%s\n",
                kd_conf_problem_format(path, &problems->list[i], line, sizeof line));
    if (problems->more)
        fprintf(stderr, "%s: more problems were found\n", path);
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
    rlim_t n = sup.conf->limits.max_connections + BESIDE_CONNECTIONS;
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

static void
confine(void)
{
    enum kd_sandbox_mode mode = sup.conf->hardening == KD_HARDENING_STRICT
                                    ? KD_SANDBOX_STRICT
                                    : KD_SANDBOX_LENIENT;
    struct kd_sandbox_path list[] = {
        {open("/", O_PATH | O_CLOEXEC), KD_PATH_RUN},
        {open(sup.conf->state_directory, O_PATH | O_DIRECTORY | O_CLOEXEC),
         KD_PATH_TREE},
        {checkpoint_folder(), KD_PATH_WRITE},
    };
    const struct kd_sandbox_paths paths = {list, list[2].fd < 0 ? 2 : 3};
    kd_err err = kd_process_undumpable();

    if (err == KD_OK)
        err = kd_sandbox_enter(KD_ROLE_SUPERVISOR, &paths, mode);
    if (err != KD_OK)
        kd_role_die("cannot confine the supervisor", err);
    sup.is_confined = true;
    for (size_t i = 0; i < paths.n; i++)
        close(list[i].fd);
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
        return puts("configuration is good") < 0 ? EX_IOERR : 0;
    kd_log_setup("dime-keyd", sup.conf->log_level);
    umask(077);
    catch_signals();
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
