/* FreezeAddress, the vault's half: holds on an address, and what operators attest of
 * it.
 *
 * Who is let freeze at once are those who learn of a theft first: the account system,
 * by the submission server. To thaw takes an operator, so a thief who has the account
 * cannot. A race with an issuance is decided in the registry: whichever record comes
 * first (sqlite_schema.def, link_step). */
#include "account.h"

#include <stdlib.h>

static const char level[] = "eci"; /* the one that takes an attestation (D-081) */

struct freeze {
    struct account_change change; /* first */
    struct kd_freeze_job job;
};

static void
reply(struct vault *v, struct task *t, const struct kd_account_part *a, bool changed)
{
    const struct kd_freeze_done m = {.state = a->state,
                                     .reason = a->reason,
                                     .since = a->since,
                                     .changed = changed,
                                     .attested = a->attested};

    (void)v;
    kd_freeze_done_put(&t->reply, &m);
}

/* KD_NOT_FOUND: nothing is to be done. */
static kd_err
decide(struct vault *v, struct task *t, const struct kd_account_part *a,
       enum kd_audit_op *op, enum kd_reason *why)
{
    const struct freeze *x = t->data;

    (void)v;
    switch ((enum kd_account_action)x->job.action) {
    case KD_ACCOUNT_FREEZE:
        *op = KD_AUDIT_FREEZE_ADDRESS;
        if (a->state == KD_ACCOUNT_FROZEN && a->reason == x->job.reason)
            return KD_NOT_FOUND;
        break;
    case KD_ACCOUNT_THAW:
        *op = KD_AUDIT_THAW_ADDRESS;
        if (a->state == KD_ACCOUNT_OPEN)
            return KD_NOT_FOUND;
        break;
    case KD_ACCOUNT_CLOSE:
        *op = KD_AUDIT_CLOSE_ADDRESS;
        return a->state == KD_ACCOUNT_CLOSED ? KD_NOT_FOUND : KD_OK;
    case KD_ACCOUNT_ATTEST:
        *op = KD_AUDIT_ATTEST_LEVEL;
        return a->attested ? KD_NOT_FOUND : KD_OK;
    case KD_ACCOUNT_REVOKE:
        *op = KD_AUDIT_REVOKE_LEVEL;
        return a->attested ? KD_OK : KD_NOT_FOUND;
    case KD_ACCOUNT_SHOW:
        return KD_NOT_FOUND;
    }
    if (a->state != KD_ACCOUNT_CLOSED)
        return KD_OK;
    *why = KD_REASON_ADDRESS_CLOSED;
    return KD_CONFLICT;
}

/* What of it is for operators. */
static bool
is_theirs(unsigned action)
{
    return action == KD_ACCOUNT_THAW || action == KD_ACCOUNT_ATTEST ||
           action == KD_ACCOUNT_REVOKE;
}

void
run_freeze_address(struct vault *v, struct task *t)
{
    struct freeze *x = calloc(1, sizeof *x);

    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = x;
    t->data_free = free;
    kd_err err = kd_freeze_job_get(t->body, &x->job);
    if (err != KD_OK || x->job.action < KD_ACCOUNT_SHOW ||
        x->job.action > KD_ACCOUNT_REVOKE || x->job.reason > KD_FREEZE_OTHER ||
        (x->job.action == KD_ACCOUNT_FREEZE) != (x->job.reason != KD_FREEZE_NONE)) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    t->only_looks = x->job.action == KD_ACCOUNT_SHOW;
    if (!account_address_is_allowed(v, t, x->job.address) ||
        (is_theirs(x->job.action) && !account_operator_asks(v, t)))
        return;
    x->change = (struct account_change){
        .address = x->job.address, .decide = decide, .reply = reply};
    if (x->job.action == KD_ACCOUNT_FREEZE)
        x->change.detail = kd_slice_str(kd_freeze_reason_word(x->job.reason));
    else if (x->job.action == KD_ACCOUNT_ATTEST || x->job.action == KD_ACCOUNT_REVOKE)
        x->change.detail = kd_slice_str(level);
    account_change_start(v, t);
}
