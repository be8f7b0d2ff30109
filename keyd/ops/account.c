#include "account.h"
#include "quorum.h"

#include <dime/identifier.h>
#include <keyd/base/clock.h>

enum { ATTEMPTS = 3 };

kd_err
account_get(struct kd_slice octets, struct kd_account_part *out)
{
    kd_err err = kd_account_part_get(octets, out);

    if (err == KD_OK &&
        (out->state > KD_ACCOUNT_CLOSED || out->reason > KD_FREEZE_OTHER ||
         out->reset > KD_RESET_APPROVED))
        err = KD_MALFORMED;
    return err;
}

bool
account_is_open(struct vault *v, struct task *t, const struct kd_account_part *a)
{
    if (a->state == KD_ACCOUNT_OPEN)
        return true;
    task_finish(v, t, KD_DENIED,
                a->state == KD_ACCOUNT_CLOSED ? KD_REASON_ADDRESS_CLOSED
                                              : KD_REASON_ADDRESS_FROZEN);
    return false;
}

uint64_t
account_uptime(const struct vault *v)
{
    return reset_clock_counted(&v->clock, kd_clock_boot_ms());
}

uint64_t
account_reset_remaining(const struct vault *v, const struct kd_account_part *a)
{
    const struct reset_times times = {a->requested, a->uptime, a->delay};
    int64_t wall = kd_clock_wall_ms();

    return reset_remaining(&times, wall > 0 ? (uint64_t)wall : 0, account_uptime(v));
}

bool
account_reset_is_ripe(const struct vault *v, const struct kd_account_part *a)
{
    return a->reset == KD_RESET_APPROVED && account_reset_remaining(v, a) == 0;
}

bool
account_address_is_allowed(struct vault *v, struct task *t, struct kd_slice address)
{
    if (!dime_identifier_is_address(address)) {
        task_finish(v, t, KD_INVALID, KD_REASON_DIME + DIME_IDENTIFIER_FORM);
        return false;
    }
    return run_allowed(v, t, dime_identifier_domain(address));
}

bool
account_operator_asks(struct vault *v, struct task *t)
{
    if (t->caller.klass == KD_CLASS_ADMIN)
        return true;
    task_finish(v, t, KD_DENIED, KD_REASON_OPERATORS_ONLY);
    return false;
}

/* --- a change --- */

static void told(struct vault *v, struct task *t);

static void
ask(struct vault *v, struct task *t)
{
    const struct account_change *c = t->data;
    struct kd_ask_account m = {
        .tag = t->tag, .address = c->address, .has_key = t->has_key};

    memcpy(m.key, t->key, sizeof m.key);
    kd_buf_reset(&t->ask);
    kd_ask_account_put(&t->ask, &m);
    task_ask(v, t, KD_MSG_ask_account, told);
}

static void
committed(struct vault *v, struct task *t)
{
    struct account_change *c = t->data;

    if (t->err == KD_OK) {
        if (c->shuts != 0)
            task_overtake(v, c->address, c->shuts);
        c->is_done = true;
        ask(v, t);
    } else if (t->err == KD_CONFLICT && ++c->attempts < ATTEMPTS) {
        ask(v, t); /* another change came first */
    } else {
        task_finish(v, t, t->err, t->err == KD_CONFLICT ? KD_REASON_LOST_RACE : 0);
    }
}

static uint16_t
why_shut(enum kd_audit_op op)
{
    return op == KD_AUDIT_FREEZE_ADDRESS  ? KD_REASON_ADDRESS_FROZEN
           : op == KD_AUDIT_CLOSE_ADDRESS ? KD_REASON_ADDRESS_CLOSED
                                          : 0;
}

static void
commit(struct vault *v, struct task *t, enum kd_audit_op op)
{
    struct account_change *c = t->data;
    struct kd_audit_record record;
    struct run_names names;
    struct kd_buf body;

    /* What is answered again changes nothing; what changes something is allowed. */
    if (!quorum_still_holds(v, t))
        return;
    c->shuts = why_shut(op);
    run_record(&record, &names, v, t, op, dime_identifier_domain(c->address));
    record.address = c->address;
    record.detail = c->detail;
    kd_buf_init(&body, 64);
    if (op == KD_AUDIT_REQUEST_RESET) {
        kd_row_reset_put(&body, &(struct kd_row_reset){account_uptime(v)});
        task_commit(v, t, &record, KD_ROW_RESET, kd_buf_slice(&body), -1, committed);
    } else {
        task_commit(v, t, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, committed);
    }
    kd_buf_free(&body);
}

static void
answer(struct vault *v, struct task *t, const struct kd_account_part *a, bool changed)
{
    const struct account_change *c = t->data;

    c->reply(v, t, a, changed);
    task_finish(v, t, KD_OK, 0);
}

static void
told(struct vault *v, struct task *t)
{
    const struct account_change *c = t->data;
    enum kd_audit_op op = KD_AUDIT_NO_OP;
    enum kd_reason why = KD_REASON_NONE;
    struct kd_told_account m;
    struct kd_account_part a;
    kd_err err = kd_told_account_get(t->told, &m);

    if (err != KD_OK || m.err != KD_OK || account_get(m.account, &a) != KD_OK) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
        return;
    }
    if (m.key_seen && memcmp(m.key_request, t->request, sizeof t->request) != 0) {
        task_finish(v, t, KD_INVALID, KD_REASON_IDEMPOTENCY_KEY_USED);
        return;
    }
    /* Only what changed something has left its key. */
    if (c->is_done || m.key_seen) {
        answer(v, t, &a, true);
        return;
    }
    err = c->decide(v, t, &a, &op, &why);
    if (err == KD_OK)
        commit(v, t, op);
    else if (err == KD_NOT_FOUND && why == KD_REASON_NONE)
        answer(v, t, &a, false);
    else
        task_finish(v, t, err, (uint16_t)why);
}

bool
account_ledger_is_there(struct vault *v, struct task *t)
{
    /* One that is not accepted yet may be looked at. */
    if (v->state != VAULT_STARTING &&
        (v->state != VAULT_FAILED || (t->only_looks && vault_is_held(v))))
        return true;
    task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    return false;
}

void
account_change_start(struct vault *v, struct task *t)
{
    if (account_ledger_is_there(v, t))
        ask(v, t);
}
