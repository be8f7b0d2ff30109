#include "hosts.h"
#include "links.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/p11/module_file.h>

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PIN_FILE_MAX = 256,
    /* Ended in order after at least this long: replaced, as it should be. Sooner it may
     * be one that the vault had no use for, a few times. */
    SERVED_MS = 1000,
    MAKER_MS = 60 * 1000, /* to finish what it writes */
};

/* A captured vault may not keep the supervisor at starting processes; a token that is
 * away is tried once a second, which takes two. */
static const struct kd_rate wants = {.n = 4, .seconds = 1, .burst = 120};

/* One that was looked at, or is older than a key that was made, is let go at once. */
static const struct kd_rate early_ends = {.n = 1, .seconds = 1, .burst = 8};

static const struct kd_conf_token *
token_of(const struct supervisor *s, const struct child *c)
{
    return &s->started->tokens[c->gate / KD_CONF_TOKEN_HOSTS];
}

static bool
is_maker(const struct child *c)
{
    return c->gate % KD_CONF_TOKEN_HOSTS == KD_CONF_TOKEN_MAKER;
}

/* --- the PIN --- */

static kd_err
judge_pin(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return KD_IO;
    if (!S_ISREG(st.st_mode))
        return KD_INVALID;
    if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 077) != 0)
        return KD_DENIED;
    return st.st_size > 0 && st.st_size <= PIN_FILE_MAX ? KD_OK : KD_INVALID;
}

kd_err
hosts_open_pin(const char *path, int *fd)
{
    int f = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    kd_err err = f >= 0 ? judge_pin(f)
                 : errno == ENOENT || errno == ENOTDIR
                     ? KD_NOT_FOUND
                     : (errno == ELOOP || errno == EACCES ? KD_DENIED : KD_IO);

    if (err == KD_OK)
        *fd = f;
    else if (f >= 0)
        close(f);
    return err;
}

static const char *
pin_trouble(kd_err err)
{
    return err == KD_NOT_FOUND ? "there is none"
           : err == KD_DENIED  ? "it has to be root's, mode 0400 or 0600, and no link"
           : err == KD_INVALID ? "it has to be a regular file of 1 to 256 octets"
                               : kd_err_text(err);
}

/* --- dime-keyd -t --- */

static bool
module_is_good(const struct kd_conf_token *t)
{
    struct p11_finding f;

    if (p11_module_look(t->module, 0, &f) == P11_FINE) /* as the hosts do */
        return true;
    kd_log(KD_WARN, "token \"%s\": module %s: %s (%s): %s", t->name, t->module,
           p11_finding_text(f.code), f.what, p11_finding_advice(f.code));
    return false;
}

static bool
pin_is_good(const struct kd_conf_token *t)
{
    int fd;
    kd_err err = t->pin_file == NULL ? KD_OK : hosts_open_pin(t->pin_file, &fd);

    if (err != KD_OK)
        kd_log(KD_WARN, "token \"%s\": pin-file %s: %s", t->name, t->pin_file,
               pin_trouble(err));
    else if (t->pin_file != NULL)
        close(fd);
    return err == KD_OK;
}

static bool
paths_are_good(const struct kd_conf_token *t)
{
    bool good = true;

    for (size_t i = 0; i < t->paths.n; i++) {
        struct stat st;
        if (stat(t->paths.list[i], &st) == 0 &&
            (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
            continue;
        kd_log(KD_WARN, "token \"%s\": paths: %s is no file or folder", t->name,
               t->paths.list[i]);
        good = false;
    }
    return good;
}

bool
hosts_check(const struct kd_conf *conf)
{
    bool good = true;

    for (size_t i = 0; i < conf->n_tokens; i++) {
        const struct kd_conf_token *t = &conf->tokens[i];
        good &= module_is_good(t);
        good &= pin_is_good(t);
        good &= paths_are_good(t);
    }
    return good;
}

/* --- the table --- */

/* Its user's own group, so that a module is not let in at the listeners' sockets, which
 * are the roles' group's. A uid without an account has a group of the same number. */
static kd_err
group_of(uid_t uid, gid_t *gid)
{
    char buffer[4096];
    struct passwd pw, *found = NULL;

    *gid = getpwuid_r(uid, &pw, buffer, sizeof buffer, &found) == 0 && found != NULL
               ? pw.pw_gid
               : (gid_t)uid;
    return *gid == 0 ? KD_INVALID : KD_OK;
}

static kd_err
plan_ids(const struct supervisor *s, const struct kd_conf_token *t, struct child *c)
{
    const struct kd_conf_id *user = kd_conf_token_user(s->conf, t);

    c->uid = geteuid();
    c->gid = getegid();
    if (geteuid() != 0)
        return KD_OK;
    c->uid = user->id;
    c->n_groups = t->group.name != NULL;
    c->group = t->group.id;
    if (group_of(c->uid, &c->gid) == KD_OK)
        return KD_OK;
    kd_log(KD_WARN, "token \"%s\": the group of user %s is root's", t->name,
           user->name);
    return KD_INVALID;
}

static kd_err
plan_host(struct supervisor *s, unsigned host, const char *directory)
{
    const struct kd_conf_token *t = &s->conf->tokens[host / KD_CONF_TOKEN_HOSTS];
    struct child *c = &s->children[s->n_children];

    *c = (struct child){.role = KD_ROLE_P11, .gate = host, .ctl.fd = -1};
    if (is_maker(c))
        snprintf(c->name, sizeof c->name, "keyd-p11 %s maker", t->name);
    else
        snprintf(c->name, sizeof c->name, "keyd-p11 %s %u", t->name,
                 host % KD_CONF_TOKEN_HOSTS + 1);
    int n = snprintf(c->path, sizeof c->path, "%s/keyd-p11", directory);
    if (n < 0 || (size_t)n >= sizeof c->path || access(c->path, X_OK) != 0) {
        kd_log(KD_WARN, "%s cannot be run: %s", c->path, strerror(errno));
        return KD_NOT_FOUND;
    }
    for (size_t i = 0; i < t->environment.n; i++)
        c->environment[i] = t->environment.list[i]; /* s->started is never freed */
    s->n_children++;
    return plan_ids(s, t, c);
}

kd_err
hosts_plan(struct supervisor *s, const char *directory)
{
    kd_err err = KD_OK;

    for (unsigned i = 0; i < s->conf->n_tokens && err == KD_OK; i++) {
        unsigned first = i * KD_CONF_TOKEN_HOSTS;
        for (unsigned k = 0; k < s->conf->tokens[i].sessions && err == KD_OK; k++)
            err = plan_host(s, first + k, directory);
        if (err == KD_OK)
            err = plan_host(s, first + KD_CONF_TOKEN_MAKER, directory);
    }
    return err;
}

/* --- life --- */

bool
host_is_wanted(const struct supervisor *s, const struct child *c)
{
    for (unsigned i = 0; i < s->n_children; i++)
        if (s->children[i].role == KD_ROLE_VAULT && s->children[i].pid > 0)
            return !is_maker(c) || c->is_wanted;
    return false;
}

void
host_link(struct supervisor *s, struct child *c)
{
    struct link link;

    c->is_wanted = false;
    links_join(s, child_of(s, KD_ROLE_VAULT, 0), KD_LINK_P11, c, KD_LINK_P11, c->gate,
               &link);
}

void
host_ended(struct supervisor *s, struct child *c, int status)
{
    int64_t wait, now = kd_clock_ms();
    bool is_done =
        c->is_let_go ||
        (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
         (is_maker(c) || now - c->started_at >= SERVED_MS ||
          kd_rate_take(&early_ends, &c->early_ends, (int64_t)kd_clock_ns(), &wait)));
    bool is_killed =
        WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !c->is_ended_by_us;

    (void)s;
    c->kill_at = 0;
    c->start_at = now + child_backoff(c, !is_done && !is_killed);
    if (c->n_crashes == HOSTS_TOLD && c->start_at > now)
        kd_log(KD_WARN, "%s keeps ending: started again every second, without a word",
               c->name);
}

void
hosts_end(struct supervisor *s)
{
    for (unsigned i = 0; i < s->n_children; i++) {
        struct child *c = &s->children[i];
        if (!child_is_host(c))
            continue;
        c->is_wanted = false;
        c->n_crashes = 0;
        c->start_at = 0;
        if (c->pid <= 0)
            continue;
        c->is_let_go = true;
        /* One that hangs would not see that its channel has ended. The one that makes
         * keys could leave a token half written. */
        if (is_maker(c))
            c->kill_at = kd_clock_ms() + MAKER_MS;
        else
            kill(c->pid, SIGKILL);
    }
}

int
hosts_due(struct supervisor *s, int timeout)
{
    int64_t now = kd_clock_ms();

    for (unsigned i = 0; i < s->n_children; i++) {
        struct child *c = &s->children[i];
        if (c->kill_at == 0 || c->pid <= 0)
            continue;
        if (now >= c->kill_at)
            kill(c->pid, SIGKILL);
        else if (c->kill_at - now < timeout)
            timeout = (int)(c->kill_at - now);
    }
    return timeout;
}

/* --- what the vault wants --- */

static void
tell_no_pin(struct supervisor *s, const struct child *c, kd_err err)
{
    struct child *vault = child_of(s, KD_ROLE_VAULT, 0);
    struct kd_ctl_no_pin m = {(uint8_t)c->gate, (uint8_t)err};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_no_pin_put(&b, &m);
    /* One that is gone asks again. */
    kd_ignore(kd_chan_put_buf(&vault->ctl, KD_MSG_ctl_no_pin, &b, -1));
    kd_buf_free(&b);
}

/* It is asked for again and again while it is wrong: said when it changes. */
static void
log_pin(struct supervisor *s, const struct child *c, kd_err err)
{
    const struct kd_conf_token *t = token_of(s, c);
    kd_err *said = &s->pin_errors[c->gate / KD_CONF_TOKEN_HOSTS];

    if (*said == err)
        return;
    *said = err;
    if (err == KD_OK)
        kd_log(KD_INFO, "token \"%s\": pin-file %s is good again", t->name,
               t->pin_file);
    else
        kd_log(KD_WARN, "token \"%s\": pin-file%s%s: %s", t->name,
               t->pin_file == NULL ? "" : " ", t->pin_file == NULL ? "" : t->pin_file,
               pin_trouble(err));
}

static void
hand_pin(struct supervisor *s, struct child *c)
{
    const struct kd_conf_token *t = token_of(s, c);
    int fd = -1;
    kd_err err = t->pin_file == NULL ? KD_NOT_FOUND : hosts_open_pin(t->pin_file, &fd);

    log_pin(s, c, err);
    if (err == KD_OK && c->pid <= 0) {
        close(fd);
        err = KD_UNAVAILABLE;
    }
    if (err == KD_OK)
        links_send(c, KD_LINK_PIN, c->gate, ++s->serial, fd);
    else
        tell_no_pin(s, c, err);
}

/* Nothing is lost: who gets no answer asks again. */
static bool
may_want(struct supervisor *s, const struct child *c)
{
    unsigned token = c->gate / KD_CONF_TOKEN_HOSTS;
    int64_t wait, now = kd_clock_ms();

    if (kd_rate_take(&wants, &s->wants[token], (int64_t)kd_clock_ns(), &wait))
        return true;
    if (now - s->wants_logged >= 60000) {
        kd_log(KD_WARN, "the vault asks too much for token \"%s\"",
               token_of(s, c)->name);
        s->wants_logged = now;
    }
    return false;
}

/* Each process needs its PIN once, however often hosts are killed; and one that runs
 * needs no start. Neither counts. */
static bool
is_due(struct child *c, enum kd_p11_want want)
{
    if (want != KD_P11_PIN || c->pid <= 0 || c->has_asked)
        return false;
    c->has_asked = true;
    return true;
}

static void
do_want(struct supervisor *s, struct child *c, enum kd_p11_want want)
{
    if (want == KD_P11_KILL) {
        c->is_ended_by_us = true;
        if (c->pid > 0)
            kill(c->pid, SIGKILL);
    } else if (want == KD_P11_START && c->pid > 0) {
        return;
    } else if (!is_due(c, want) && !may_want(s, c)) {
        return;
    } else if (want == KD_P11_PIN) {
        hand_pin(s, c);
    } else if (want == KD_P11_MAKE && is_maker(c)) {
        c->is_wanted = true;
        c->start_at = 0;
    } else if (want == KD_P11_START) {
        c->start_at = 0;
    }
}

kd_err
hosts_on_want(struct supervisor *s, struct kd_slice body)
{
    struct kd_ctl_p11 m;
    kd_err err = kd_ctl_p11_get(body, &m);

    if (err != KD_OK)
        return err;
    struct child *c = child_of(s, KD_ROLE_P11, m.host);
    if (c == NULL || m.want >= KD_P11_WANTS)
        return KD_MALFORMED;
    do_want(s, c, (enum kd_p11_want)m.want);
    return KD_OK;
}
