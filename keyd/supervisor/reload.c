#include "reload.h"
#include "change.h"
#include "child.h"
#include "rehearse.h"
#include "report.h"
#include "tls.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    READ_MS = 10000,
    PREPARE_MS = 5000,
    TAKE_MS = 10000,
    TRY_MS = 500, /* a signal's, while a role is started again */
    TRIES_MAX = 20,
};

static void begin(struct supervisor *s);

/* --- files --- */

static void
log_problems(const char *path, const struct kd_conf_problems *problems)
{
    char line[512];

    for (size_t i = 0; kd_conf_problems_line(path, problems, i, line, sizeof line); i++)
        kd_log(KD_WARN, "%s", line);
}

/* What a child does to see whether it can be done. */
static void
read_and_forget(void *arg)
{
    static struct kd_conf_problems problems;
    struct kd_conf *conf = NULL;

    kd_ignore(kd_conf_load(arg, NULL, &conf, &problems)); /* only that it came back */
}

static kd_err
read_conf(const char *path, struct kd_conf **out, uint32_t *warnings)
{
    static struct kd_conf_problems problems; /* too large for the stack */
    char name[PATH_MAX];
    kd_err err;

    snprintf(name, sizeof name, "%s", path);
    if ((err = rehearse(read_and_forget, name, READ_MS)) != KD_OK) {
        kd_log(KD_WARN, "%s: a process that was to read it %s", path,
               err == KD_TIMEOUT  ? "did not come back"
               : err == KD_FAILED ? "died of it (users that are looked up over the "
                                    "network?)"
                                  : "could not be started");
        return err;
    }
    err = kd_conf_load(path, NULL, out, &problems);
    log_problems(path, &problems);
    for (size_t i = 0; i < problems.n; i++)
        *warnings += problems.list[i].is_warning;
    return err;
}

static kd_err
read_shadow(const struct kd_conf *conf, struct kd_conf **out, uint32_t *warnings)
{
    *out = NULL;
    if (conf->shadow_policy == NULL)
        return KD_OK;
    return read_conf(conf->shadow_policy, out, warnings);
}

void
reload_start_shadow(struct supervisor *s)
{
    uint32_t warnings = 0;

    if (read_shadow(s->conf, &s->shadow, &warnings) != KD_OK)
        kd_log(KD_WARN, "shadow-policy %s is not good: nothing is watched",
               s->conf->shadow_policy);
    else if (s->shadow != NULL)
        kd_log(KD_INFO, "the policy of %s is watched", s->conf->shadow_policy);
}

/* --- what the roles are told --- */

/* Hosts have nothing that could change, and are waited for by nobody. */
static bool
takes_part(const struct child *c)
{
    return c->pid > 0 && !child_is_host(c);
}

static void
send_turn(struct child *c, enum kd_turn turn, uint32_t serial, uint64_t tag, int fd)
{
    struct kd_ctl_turn m = {(uint8_t)turn, serial, tag};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_turn_put(&b, &m);
    /* Who is gone is told when it is started again. */
    kd_ignore(kd_chan_put_buf(&c->ctl, KD_MSG_ctl_turn, &b, fd));
    kd_buf_free(&b);
}

static kd_err
send_octets(struct child *c, enum kd_turn turn, uint32_t serial, struct kd_slice octets)
{
    int fd;
    kd_err err = kd_memfd_seal(octets, &fd);

    if (err == KD_OK)
        send_turn(c, turn, serial, 0, fd);
    return err;
}

/* The policy to be watched, as far as the role decides: a gate on look-ups of its
 * class. Nothing where none is watched. */
static kd_err
send_shadow(struct child *c, uint32_t serial, const struct kd_conf *shadow)
{
    struct kd_policy *own = NULL;
    kd_err err = KD_OK;

    if (shadow == NULL || c->role == KD_ROLE_LEDGER)
        return KD_OK;
    if (c->role == KD_ROLE_GATE) {
        enum kd_class klass = kd_gate_class(c->gate);
        err = kd_policy_project(shadow->policy, klass,
                                kd_ops_of_class(klass, KD_OPF_LOOKUP), &own);
    }
    if (err == KD_OK)
        err = send_octets(c, KD_TURN_SHADOW, serial,
                          kd_policy_octets(own != NULL ? own : shadow->policy));
    kd_policy_free(own);
    return err;
}

static kd_err
send_prepare(struct supervisor *s, struct child *c)
{
    struct reload *r = &s->reload;
    struct kd_buf b;
    kd_err err;

    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    if ((err = child_conf(r->next, c, &b)) == KD_OK &&
        (err = send_shadow(c, r->serial, r->next_shadow)) == KD_OK)
        err = send_octets(c, KD_TURN_PREPARE, r->serial, kd_buf_slice(&b));
    kd_buf_free(&b);
    return err;
}

void
reload_child_started(struct supervisor *s, struct child *c)
{
    if (!takes_part(c))
        return;
    /* Without it the role counts for nothing that is watched: no harm. */
    kd_ignore(send_shadow(c, s->conf_serial, s->shadow));
    send_turn(c, KD_TURN_NUMBER, s->conf_serial, 0, -1);
    c->turns.taken = s->conf_serial;
}

/* --- the end --- */

static void
forget_next(struct reload *r)
{
    kd_conf_free(r->next);
    kd_conf_free(r->next_shadow);
    r->next = r->next_shadow = NULL;
}

static void
answer_wishes(struct supervisor *s, kd_err err, unsigned reason)
{
    struct reload *r = &s->reload;
    struct kd_ctl_granted m = {.err = (uint8_t)err,
                               .reason = (uint16_t)reason,
                               .serial = s->conf_serial,
                               .warnings = r->warnings};

    memcpy(m.digest, s->conf->digest, sizeof m.digest);
    for (size_t i = r->wishes.n; i-- > 0;) {
        if (!r->wishes.list[i].is_later)
            wishes_grant(s, &r->wishes, i, &m);
    }
}

static void
end(struct supervisor *s, kd_err err, unsigned reason)
{
    struct reload *r = &s->reload;
    char name[KD_REASON_NAME_MAX];

    forget_next(r);
    r->phase = RELOAD_NONE;
    answer_wishes(s, err, reason);
    if (err == KD_OK)
        kd_log(KD_INFO, "configuration %s is in force, serial %u", s->conf_path,
               s->conf_serial);
    else
        kd_log(KD_WARN, "configuration %s is refused (%s), the old one stays",
               s->conf_path, kd_reason_name(reason, name));
    report_ready(err == KD_OK ? "serving"
                              : "serving; the new configuration is refused");
    /* A signal has nobody to tell that it should come again. */
    if (err == KD_UNAVAILABLE && r->by_signal && ++r->tries < TRIES_MAX) {
        r->try_at = kd_clock_ms() + TRY_MS;
    } else {
        r->by_signal = false;
        r->tries = 0;
    }
    if (r->is_again)
        begin(s);
}

static void
give_up(struct supervisor *s, kd_err err, unsigned reason)
{
    for (unsigned i = 0; i < s->n_children; i++)
        if (takes_part(&s->children[i]))
            send_turn(&s->children[i], KD_TURN_DROP, s->reload.serial, 0, -1);
    end(s, err, reason);
}

/* --- read --- */

/* Logs all that needs a restart; the reason for the first. KD_OK if nothing does. */
static kd_err
check_change(const struct supervisor *s, unsigned *reason)
{
    struct rlimit files = {RLIM_INFINITY, RLIM_INFINITY};

    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        files.rlim_cur = 0;
    uint64_t keys = change_needs_restart(s->started, s->reload.next, files.rlim_cur);
    *reason = 0;
    for (unsigned key = KD_RESTART_KEYS; key-- > 0;) {
        if ((keys >> key & 1) == 0)
            continue;
        kd_log(KD_WARN, "%s: needs a restart: %s", s->conf_path,
               kd_restart_key_name(key));
        *reason = KD_REASON_RESTART + key;
    }
    return keys == 0 ? KD_OK : KD_INVALID;
}

static kd_err
read_all(struct supervisor *s, unsigned *reason)
{
    struct reload *r = &s->reload;
    kd_err err;

    *reason = KD_REASON_BAD_CONFIGURATION;
    if ((err = read_conf(s->conf_path, &r->next, &r->warnings)) != KD_OK)
        return err == KD_NOMEM ? err : KD_INVALID;
    if ((err = check_change(s, reason)) != KD_OK)
        return err;
    *reason = KD_REASON_BAD_SHADOW;
    if ((err = read_shadow(r->next, &r->next_shadow, &r->warnings)) != KD_OK)
        return err == KD_NOMEM ? err : KD_INVALID;
    return KD_OK;
}

/* --- prepare --- */

static kd_err
prepare_all(struct supervisor *s)
{
    kd_err err = KD_OK;

    for (unsigned i = 0; i < s->n_children && err == KD_OK; i++) {
        struct child *c = &s->children[i];
        if (child_is_host(c))
            continue;
        if (c->pid <= 0)
            return KD_UNAVAILABLE;
        err = send_prepare(s, c);
    }
    return err;
}

static void
begin(struct supervisor *s)
{
    struct reload *r = &s->reload;
    unsigned reason;
    kd_err err;

    r->is_again = false;
    r->by_signal |= r->by_signal_again;
    r->by_signal_again = false;
    r->try_at = 0;
    r->warnings = 0;
    r->tag = r->wishes.n > 0 ? r->wishes.list[0].tag : 0;
    for (size_t i = 0; i < r->wishes.n; i++)
        r->wishes.list[i].is_later = false;
    report_reloading();
    if ((err = read_all(s, &reason)) != KD_OK) {
        end(s, err, reason);
        return;
    }
    r->serial++;
    r->phase = RELOAD_PREPARING;
    r->until = kd_clock_ms() + PREPARE_MS;
    if ((err = prepare_all(s)) != KD_OK)
        give_up(s, err, err == KD_UNAVAILABLE ? KD_REASON_ROLE_AWAY : 0);
}

static void
ask(struct supervisor *s)
{
    struct reload *r = &s->reload;

    if (r->phase != RELOAD_NONE)
        r->is_again = true;
    else
        begin(s);
}

void
reload_by_signal(struct supervisor *s)
{
    struct reload *r = &s->reload;

    if (r->phase != RELOAD_NONE) {
        r->by_signal_again = true;
    } else {
        r->by_signal = true;
        r->tries = 0;
    }
    ask(s);
}

void
reload_by_wish(struct supervisor *s, uint64_t tag)
{
    struct reload *r = &s->reload;
    const struct wish wish = {.tag = tag, .is_later = r->phase != RELOAD_NONE};

    if (!wishes_add(&r->wishes, &wish)) {
        struct kd_ctl_granted m = {.err = KD_BUSY};
        wish_grant(s, tag, &m);
        return;
    }
    if (r->phase == RELOAD_NONE)
        r->by_signal = r->try_at != 0; /* one that waits is done with it */
    ask(s);
}

/* --- take --- */

/* Whatever else comes with a configuration and is read from files: certificates of the
 * remote listener. s->conf is the new one, and every role has its part of it, but none
 * uses it: after a failure all stays as it was. */
static kd_err
take_other_material(struct supervisor *s)
{
    return tls_reload(s);
}

static bool
all_have(const struct supervisor *s, enum kd_turn turn)
{
    for (unsigned i = 0; i < s->n_children; i++) {
        const struct child *c = &s->children[i];
        uint32_t said = turn == KD_TURN_PREPARE ? c->turns.prepared : c->turns.taken;
        /* Who is not there comes back with the new one. */
        if (takes_part(c) && said != s->reload.serial)
            return false;
    }
    return true;
}

static void
finish_if_all(struct supervisor *s)
{
    struct child *vault = child_of(s, KD_ROLE_VAULT, 0);

    if (s->reload.phase != RELOAD_OTHERS || !all_have(s, KD_TURN_TAKE))
        return;
    if (vault->pid > 0)
        send_turn(vault, KD_TURN_FINISH, s->reload.serial, 0, -1);
    end(s, KD_OK, 0);
}

static void
take_others(struct supervisor *s)
{
    struct reload *r = &s->reload;

    r->phase = RELOAD_OTHERS;
    r->until = kd_clock_ms() + TAKE_MS;
    for (unsigned i = 0; i < s->n_children; i++) {
        struct child *c = &s->children[i];
        if (takes_part(c) && c->turns.taken != r->serial)
            send_turn(c, KD_TURN_TAKE, r->serial, 0, -1);
    }
    finish_if_all(s);
}

/* From here on there is no way back: who is started is started with the new one. */
static void
decide(struct supervisor *s)
{
    struct reload *r = &s->reload;
    struct child *vault = child_of(s, KD_ROLE_VAULT, 0);
    struct kd_conf *old = s->conf;

    s->conf = r->next;
    if (take_other_material(s) != KD_OK) {
        s->conf = old;
        give_up(s, KD_INVALID, KD_REASON_BAD_CREDENTIALS);
        return;
    }
    if (old != s->started)
        kd_conf_free(old);
    kd_conf_free(s->shadow);
    s->shadow = r->next_shadow;
    r->next = r->next_shadow = NULL;
    s->conf_serial = r->serial;
    kd_log_setup("dime-keyd", s->conf->log_level);
    r->phase = RELOAD_VAULT;
    r->until = kd_clock_ms() + TAKE_MS;
    send_turn(vault, KD_TURN_TAKE, r->serial, r->tag, -1);
}

void
reload_on_turned(struct supervisor *s, struct child *c, const struct kd_ctl_turned *m)
{
    struct reload *r = &s->reload;

    if (r->phase == RELOAD_NONE || m->serial != r->serial)
        return; /* of one that was given up */
    if (m->err != KD_OK && r->phase == RELOAD_PREPARING) {
        kd_log(KD_WARN, "%s does not take the configuration: %s", c->name,
               kd_err_text((kd_err)m->err));
        give_up(s, KD_FAILED, KD_REASON_ROLE_REFUSED);
    } else if (m->turn == KD_TURN_PREPARE) {
        c->turns.prepared = m->serial;
        if (r->phase == RELOAD_PREPARING && all_have(s, KD_TURN_PREPARE))
            decide(s);
    } else if (m->turn == KD_TURN_TAKE) {
        c->turns.taken = m->serial;
        if (r->phase == RELOAD_VAULT && c->role == KD_ROLE_VAULT)
            take_others(s);
        else
            finish_if_all(s);
    }
}

void
reload_child_ended(struct supervisor *s, struct child *c)
{
    struct reload *r = &s->reload;

    if (c->role == KD_ROLE_VAULT)
        r->wishes.n = 0; /* it forgot them */
    if (r->phase == RELOAD_PREPARING)
        give_up(s, KD_UNAVAILABLE, KD_REASON_ROLE_AWAY);
    else if (r->phase == RELOAD_VAULT && c->role == KD_ROLE_VAULT)
        take_others(s);
    else
        finish_if_all(s);
}

/* --- time --- */

static void
end_who_is_late(struct supervisor *s)
{
    for (unsigned i = 0; i < s->n_children; i++) {
        struct child *c = &s->children[i];
        bool is_asked = s->reload.phase == RELOAD_OTHERS || c->role == KD_ROLE_VAULT;
        if (!takes_part(c) || !is_asked || c->turns.taken == s->reload.serial)
            continue;
        kd_log(KD_WARN, "%s does not take the configuration in time: starting it again",
               c->name);
        kill(c->pid, SIGKILL);
    }
    s->reload.until = kd_clock_ms() + TAKE_MS;
}

int
reload_due(struct supervisor *s, int timeout)
{
    struct reload *r = &s->reload;
    int64_t now = kd_clock_ms();
    int64_t at = r->phase != RELOAD_NONE ? r->until : r->try_at;

    if (at == 0)
        return timeout;
    if (now < at)
        return at - now < timeout ? (int)(at - now) : timeout;
    if (r->phase == RELOAD_NONE)
        begin(s);
    else if (r->phase == RELOAD_PREPARING)
        give_up(s, KD_UNAVAILABLE, KD_REASON_ROLE_AWAY);
    else
        end_who_is_late(s);
    return 0;
}
