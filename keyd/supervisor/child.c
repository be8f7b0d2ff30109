#include "child.h"
#include "hosts.h"

#include "../role.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/conf/quota_table.h>
#include <keyd/conf/role_conf.h>
#include <keyd/job/job.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    AT_ONCE = 2,         /* crashes after which it is started without waiting */
    FIRST_WAIT_MS = 500, /* doubled with every further one */
    DOUBLINGS = 7,
    MOST_WAIT_MS = 60 * 1000,
    CALM_MS = 2 * MOST_WAIT_MS, /* without a crash, and all is forgotten */
    HOST_FIRST_WAIT_MS = 250,
    HOST_MOST_WAIT_MS = 1000,
    AGAIN_MS = 200,
};

/* --- the table --- */

static bool
has_programs(const char *directory)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/keyd-vault", directory);

    return n > 0 && (size_t)n < sizeof path && access(path, X_OK) == 0;
}

/* Where the roles' programs lie: as configured, else beside our own program (a build
 * directory), else where installation puts them. */
static kd_err
program_directory(const struct kd_conf *conf, char out[PATH_MAX])
{
    if (conf->libexec_directory != NULL) {
        int n = snprintf(out, PATH_MAX, "%s", conf->libexec_directory);
        return n > 0 && n < PATH_MAX ? KD_OK : KD_INVALID;
    }
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n <= 0)
        return KD_IO;
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL)
        return KD_IO;
    *slash = '\0';
    if (!has_programs(out))
        snprintf(out, PATH_MAX, "%s", KEYD_LIBEXEC_PATH);
    return KD_OK;
}

static kd_err
plan_one(struct supervisor *s, enum kd_role role, unsigned gate, const char *directory,
         const struct kd_conf_id *user)
{
    struct child *c = &s->children[s->n_children];
    bool root = geteuid() == 0;

    *c = (struct child){.role = role,
                        .gate = gate,
                        .uid = root ? user->id : geteuid(),
                        .gid = root ? s->conf->group.id : getegid(),
                        .ctl.fd = -1};
    if (role == KD_ROLE_GATE)
        snprintf(c->name, sizeof c->name, "keyd-gate %s %u",
                 kd_class_name(kd_gate_class(gate)), gate % KD_GATE_WORKERS_MAX + 1);
    else
        snprintf(c->name, sizeof c->name, "keyd-%s", kd_role_name(role));
    bool is_remote = role == KD_ROLE_GATE && kd_gate_class(gate) == KD_CLASS_TLS;
    int n = snprintf(c->path, sizeof c->path, "%s/keyd-%s%s", directory,
                     kd_role_name(role), is_remote ? "-tls" : "");
    if (n < 0 || (size_t)n >= sizeof c->path || access(c->path, X_OK) != 0) {
        kd_log(KD_WARN, "%s cannot be run: %s", c->path, strerror(errno));
        return KD_NOT_FOUND;
    }
    s->n_children++;
    return KD_OK;
}

/* The registry's directory, the ledger's alone. */
static kd_err
prepare_state(struct supervisor *s)
{
    const char *path = s->conf->state_directory;
    struct stat st;
    uid_t uid = geteuid() == 0 ? s->conf->user_ledger.id : geteuid();

    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        goto fail;
    s->state_directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (s->state_directory < 0 || fstat(s->state_directory, &st) != 0)
        goto fail;
    if (geteuid() == 0 && st.st_uid != uid && fchown(s->state_directory, uid, 0) != 0)
        goto fail;
    if ((st.st_mode & 077) != 0 && fchmod(s->state_directory, 0700) != 0)
        goto fail;
    return KD_OK;
fail:
    kd_log(KD_WARN, "state directory %s: %s", path, strerror(errno));
    return KD_IO;
}

/* At numbers that no child's own descriptors have (become). */
static kd_err
prepare_quotas(struct supervisor *s)
{
    enum { FIRST = 16 };
    int fds[2];
    kd_err err = kd_quota_shared_make(&fds[0], &fds[1]);

    for (size_t i = 0; i < 2 && err == KD_OK; i++) {
        s->quotas[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST);
        close(fds[i]);
    }
    if (err == KD_OK && (s->quotas[0] < 0 || s->quotas[1] < 0))
        err = KD_IO;
    if (err != KD_OK)
        kd_log(KD_WARN, "no memory for the gates' quotas: %s", kd_err_text(err));
    return err;
}

kd_err
children_plan(struct supervisor *s)
{
    char directory[PATH_MAX];
    kd_err err;

    if ((err = prepare_state(s)) != KD_OK || (err = prepare_quotas(s)) != KD_OK ||
        (err = program_directory(s->conf, directory)) != KD_OK ||
        (err = plan_one(s, KD_ROLE_LEDGER, 0, directory, &s->conf->user_ledger)) !=
            KD_OK ||
        (err = plan_one(s, KD_ROLE_VAULT, 0, directory, &s->conf->user_vault)) != KD_OK)
        return err;
    for (unsigned gate = 0; gate < KD_GATES_MAX; gate++) {
        enum kd_class klass = kd_gate_class(gate);
        if (s->listeners[klass] >= 0 &&
            gate % KD_GATE_WORKERS_MAX < s->conf->listeners[klass].workers &&
            (err = plan_one(s, KD_ROLE_GATE, gate, directory, &s->conf->user_gate)) !=
                KD_OK)
            return err;
    }
    return hosts_plan(s, directory);
}

struct child *
child_of(struct supervisor *s, enum kd_role role, unsigned gate)
{
    for (unsigned i = 0; i < s->n_children; i++)
        if (s->children[i].role == role && s->children[i].gate == gate)
            return &s->children[i];
    return NULL;
}

bool
children_alive(const struct supervisor *s, enum kd_role role)
{
    for (unsigned i = 0; i < s->n_children; i++)
        if (s->children[i].role == role && s->children[i].pid > 0)
            return true;
    return false;
}

/* --- starting --- */

kd_err
child_conf(const struct kd_conf *conf, const struct child *c, struct kd_buf *b)
{
    struct kd_conf_for_gate gate;
    struct kd_conf_for_vault vault;
    struct kd_conf_for_ledger ledger;
    struct kd_conf_for_p11 host;
    kd_err err = KD_OK;

    if (c->role == KD_ROLE_GATE) {
        err = kd_conf_for_gate_make(conf, kd_gate_class(c->gate), &gate);
        if (err == KD_OK) {
            gate.worker = c->gate % KD_GATE_WORKERS_MAX;
            kd_conf_for_gate_encode(&gate, b);
            kd_conf_for_gate_clear(&gate);
        }
    } else if (c->role == KD_ROLE_VAULT) {
        err = kd_conf_for_vault_make(conf, &vault);
        if (err == KD_OK) {
            kd_conf_for_vault_encode(&vault, b);
            kd_conf_for_vault_clear(&vault);
        }
    } else if (child_is_host(c)) {
        err = kd_conf_for_p11_make(conf, c->gate, &host);
        if (err == KD_OK)
            kd_conf_for_p11_encode(&host, b);
    } else {
        kd_conf_for_ledger_make(conf, &ledger);
        kd_conf_for_ledger_encode(&ledger, b);
    }
    return err == KD_OK ? b->err : err;
}

static kd_err
send_conf(const struct supervisor *s, struct child *c)
{
    struct kd_buf b;
    int fd = -1;

    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    kd_err err = child_conf(s->conf, c, &b);
    struct kd_slice conf = kd_buf_slice(&b);
    if (err == KD_OK && conf.n > KD_CHAN_INLINE_MAX) {
        err = kd_memfd_seal(conf, &fd);
        conf = kd_slice(NULL, 0);
    }
    if (err == KD_OK)
        err = kd_chan_put(&c->ctl, KD_MSG_CTL_CONF, conf, fd);
    if (err == KD_OK)
        err = kd_chan_flush(&c->ctl);
    kd_buf_free(&b);
    return err;
}

/* Between fork and exec: only calls that are safe there. Ends the process. */
static _Noreturn void
become(const struct supervisor *s, struct child *c, int ctl, pid_t parent)
{
    const struct rlimit none = {0, 0};
    char *const argv[] = {c->path, NULL};
    sigset_t nothing;

    sigemptyset(&nothing);
    if (sigprocmask(SIG_SETMASK, &nothing, NULL) != 0 ||
        setrlimit(RLIMIT_CORE, &none) != 0)
        _exit(126);
    if (geteuid() == 0 &&
        (setgroups(c->n_groups, &c->group) != 0 || setresgid(c->gid, c->gid, c->gid) ||
         setresuid(c->uid, c->uid, c->uid)))
        _exit(126);
    /* As its own user: the supervisor has given up root's right to every directory. */
    if (c->role == KD_ROLE_LEDGER ? fchdir(s->state_directory) != 0 : chdir("/") != 0)
        _exit(126);
    /* After the change of uid, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(126);
    if (ctl == KD_ROLE_CTL_FD ? fcntl(ctl, F_SETFD, 0) != 0
                              : dup2(ctl, KD_ROLE_CTL_FD) < 0)
        _exit(126);
    if (c->role == KD_ROLE_GATE && (dup2(s->quotas[0], KD_ROLE_QUOTA_FD) < 0 ||
                                    dup2(s->quotas[1], KD_ROLE_QUOTA_READ_FD) < 0))
        _exit(126);
    execve(c->path, argv, c->environment);
    _exit(127);
}

kd_err
child_start(struct supervisor *s, struct child *c)
{
    int fds[2];
    pid_t parent = getpid();
    kd_err err = kd_chan_pair(fds);

    if (err != KD_OK)
        return err;
    c->start_at = kd_clock_ms() + AGAIN_MS; /* if this fails */
    c->pid = fork();
    if (c->pid == 0)
        become(s, c, fds[1], parent);
    close(fds[1]);
    if (c->pid < 0) {
        close(fds[0]);
        c->pid = 0;
        return KD_UNAVAILABLE;
    }
    kd_chan_init(&c->ctl, fds[0]);
    c->starts++;
    c->started_at = kd_clock_ms();
    c->is_ready = false;
    c->n_lost = 0;
    c->is_ended_by_us = c->is_let_go = c->has_asked = false;
    c->turns = (struct child_turns){0};
    if ((err = send_conf(s, c)) != KD_OK)
        kill(c->pid, SIGKILL); /* without it, it would wait for ever */
    return err;
}

void
child_ended(struct child *c)
{
    kd_chan_close(&c->ctl);
    c->pid = 0;
    c->is_ready = false;
}

int64_t
child_backoff(struct child *c, bool crashed)
{
    int64_t now = kd_clock_ms(), wait = 0;
    int64_t first = child_is_host(c) ? HOST_FIRST_WAIT_MS : FIRST_WAIT_MS;
    int64_t most = child_is_host(c) ? HOST_MOST_WAIT_MS : MOST_WAIT_MS;

    if (!crashed)
        return 0;
    if (now - c->crashed_at > CALM_MS)
        c->n_crashes = 0;
    c->crashed_at = now;
    if (++c->n_crashes > AT_ONCE + DOUBLINGS)
        c->n_crashes = AT_ONCE + DOUBLINGS + 1; /* more make no difference */
    if (c->n_crashes > AT_ONCE)
        wait = first << (c->n_crashes - AT_ONCE - 1);
    return wait > most ? most : wait;
}

struct link *
child_link(struct supervisor *s, const struct child *from, const struct kd_ctl_lost *m)
{
    bool vault = from->role == KD_ROLE_VAULT, ledger = from->role == KD_ROLE_LEDGER;

    if (from->role == KD_ROLE_GATE)
        return m->link == KD_LINK_VAULT    ? &s->links.to_vault[from->gate]
               : m->link == KD_LINK_LEDGER ? &s->links.to_ledger[from->gate]
                                           : NULL;
    if (m->link == KD_LINK_GATE && m->gate < KD_GATES_MAX)
        return vault ? &s->links.to_vault[m->gate] : &s->links.to_ledger[m->gate];
    if ((vault && m->link == KD_LINK_LEDGER) || (ledger && m->link == KD_LINK_VAULT))
        return &s->links.core;
    return NULL;
}
