/* Reload and Drain, the vault's halves: whether the caller may. What is asked for is
 * the supervisor's to do. */
#include "run.h"

/* --- reload --- */

static void
reloaded(struct vault *v, struct task *t)
{
    struct kd_reload_done m = {.serial = t->granted.serial,
                               .warnings = t->granted.warnings};

    if (t->err != KD_OK) {
        task_finish(v, t, t->err, t->granted.reason);
        return;
    }
    memcpy(m.digest, t->granted.digest, sizeof m.digest);
    kd_reload_done_put(&t->reply, &m);
    task_finish(v, t, KD_OK, 0);
}

void
run_reload(struct vault *v, struct task *t)
{
    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (t->body.n != 0)
        task_finish(v, t, KD_MALFORMED, 0);
    else
        task_wish(v, t, KD_WISH_RELOAD, true, reloaded);
}

/* --- drain --- */

enum action { BEGIN = 1, CANCEL, STOP };

static void
drained(struct vault *v, struct task *t)
{
    struct vault_facts facts;

    if (t->err != KD_OK) {
        task_finish(v, t, t->err, t->granted.reason);
        return;
    }
    vault_facts(v, &facts);
    struct kd_drain_done m = {.state = (uint8_t)vault_state_of(&facts),
                              .in_flight = t->granted.in_flight};
    kd_drain_done_put(&t->reply, &m);
    task_finish(v, t, KD_OK, 0);
}

/* Who had the service taken away is for the log; it waits for nothing, since draining
 * must work without a ledger. */
static void
record_drain(struct vault *v, const struct task *t)
{
    struct kd_audit_record record;
    struct run_names names;

    run_record(&record, &names, v, t, KD_AUDIT_DRAIN, kd_slice(NULL, 0));
    kd_ignore(chain_append(v, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, NULL));
}

void
run_drain(struct vault *v, struct task *t)
{
    struct kd_drain_job job;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (kd_drain_job_get(t->body, &job) != KD_OK || job.action < BEGIN ||
        job.action > STOP) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    if (job.action != CANCEL)
        record_drain(v, t);
    task_wish(v, t,
              job.action == BEGIN    ? KD_WISH_DRAIN
              : job.action == CANCEL ? KD_WISH_SERVE
                                     : KD_WISH_STOP,
              job.wait != 0, drained);
}
