/* StopPrincipal, the vault's half: the kill switch.
 *
 *   hold      at once: nothing of the principal's is taken or let out any more
 *   record    with its row; what was recorded before it was let out, and comes out
 *   gates     have said that they obey (its look-ups)
 *   answer
 *
 * So no request of the principal's is accepted after the answer. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>

struct stop {
    struct kd_stop_job job; /* borrows from the task's body */
    struct vault *vault;
    enum kd_class klass;
    bool holds;
    bool changed;
    char text[48]; /* "class:name" */
};

static void
stop_free(void *data)
{
    struct stop *x = data;

    if (x->holds)
        stops_let_go(x->vault, x->klass, x->job.name);
    free(x);
}

static void
reply(struct vault *v, struct task *t)
{
    const struct stop *x = t->data;
    struct kd_stop_done m = {.changed = x->changed};
    struct kd_buf list;

    kd_buf_init(&list, 32768);
    stops_put(v, &list);
    m.stopped = kd_buf_slice(&list);
    kd_stop_done_put(&t->reply, &m);
    kd_buf_join(&t->reply, &list);
    kd_buf_free(&list);
    task_finish(v, t, KD_OK, 0);
}

static void
settle(struct vault *v, struct task *t)
{
    const struct stop *x = t->data;

    task_tell_gates(v, t, x->klass, reply);
}

static void
committed(struct vault *v, struct task *t)
{
    struct stop *x = t->data;

    /* A conflict says that it is so already. */
    if (t->err != KD_OK && t->err != KD_CONFLICT) {
        task_finish(v, t, t->err, 0);
        return;
    }
    x->changed = t->err == KD_OK;
    stops_recorded(v, x->klass, x->job.name, x->job.action == KD_STOP_STOP);
    if (x->job.action == KD_STOP_ALLOW)
        stops_tell(v, x->klass);
    settle(v, t);
}

static void
fresh(struct vault *v, struct task *t)
{
    struct stop *x = t->data;
    bool stops = x->job.action == KD_STOP_STOP;
    struct kd_audit_record record;
    struct run_names names;

    if (stops_is_recorded(v, x->klass, x->job.name) == stops) {
        settle(v, t);
        return;
    }
    run_record(&record, &names, v, t,
               stops ? KD_AUDIT_STOP_PRINCIPAL : KD_AUDIT_ALLOW_PRINCIPAL,
               kd_slice(NULL, 0));
    record.detail = kd_slice_str(x->text);
    task_commit(v, t, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, committed);
}

/* The same request was recorded before; what has happened since stays. */
static void
again(struct vault *v, struct task *t, struct kd_slice record)
{
    struct stop *x = t->data;

    (void)record;
    x->changed = true;
    settle(v, t);
}

/* The class that was named, or that the name has: names are unique in a configuration.
 * Whoever is stopped can be allowed, configured or not. */
static bool
find_class(const struct vault *v, const struct task *t, struct stop *x)
{
    struct kd_caller target;
    bool stops = x->job.action == KD_STOP_STOP;
    bool is_known = kd_policy_find(t->conf->is.policy, x->job.name, &target) == KD_OK;
    unsigned klass = is_known ? target.klass : KD_CLASS_COUNT;

    if (!stops && stops_class_of(v, x->job.name) != KD_CLASS_COUNT)
        klass = stops_class_of(v, x->job.name);
    if (klass == KD_CLASS_COUNT)
        return false;
    x->klass = (enum kd_class)klass;
    if (x->job.class_name.n == 0)
        return true;
    return kd_class_find(x->job.class_name, &x->klass) && (!stops || x->klass == klass);
}

/* Whom: of the configuration, for stopping, and not oneself. */
static kd_err
check_target(struct vault *v, struct task *t, struct stop *x, enum kd_reason *why)
{
    struct kd_slice own;

    if (!kd_principal_name_is_valid(x->job.name) || !find_class(v, t, x)) {
        *why = KD_REASON_NO_SUCH_PRINCIPAL;
        return KD_NOT_FOUND;
    }
    if (x->job.action == KD_STOP_ALLOW)
        return KD_OK;
    if (t->caller.klass == x->klass &&
        kd_policy_name(t->conf->is.policy, &t->caller, &own) == KD_OK &&
        kd_slice_eq(own, x->job.name)) {
        *why = KD_REASON_OWN_PRINCIPAL;
        return KD_INVALID;
    }
    *why = KD_REASON_TOO_MANY_STOPPED;
    kd_err err = stops_hold(v, x->klass, x->job.name);
    x->holds = err == KD_OK;
    return err == KD_OK ? KD_OK : KD_CONFLICT;
}

static void
start(struct vault *v, struct task *t)
{
    struct stop *x = t->data;
    enum kd_reason why = KD_REASON_NONE;

    if (v->state == VAULT_STARTING || v->state == VAULT_FAILED) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
        return;
    }
    kd_err err = check_target(v, t, x, &why);
    if (err != KD_OK) {
        task_finish(v, t, err, (uint16_t)why);
        return;
    }
    kd_ignore(snprintf(x->text, sizeof x->text, "%s:%.*s", kd_class_name(x->klass),
                       (int)x->job.name.n, (const char *)x->job.name.p));
    if (x->holds)
        stops_tell(v, x->klass);
    run_once(v, t, fresh, again);
}

void
run_stop_principal(struct vault *v, struct task *t)
{
    struct stop *x = calloc(1, sizeof *x);

    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    x->vault = v;
    t->data = x;
    t->data_free = stop_free;
    if (kd_stop_job_get(t->body, &x->job) != KD_OK || x->job.action < KD_STOP_LIST ||
        x->job.action > KD_STOP_ALLOW) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    t->only_looks = x->job.action == KD_STOP_LIST;
    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (x->job.action == KD_STOP_LIST)
        reply(v, t);
    else
        start(v, t);
}
