/* ResetAddress, the vault's half (D-072): a new chain of custody for an address whose
 * keys are lost.
 *
 *   request   by the account system or an operator, after account recovery
 *   delay     of the domain (reset-delay), on two clocks (vault/reset_clock.h)
 *   approve   by an operator
 *   use       the next request for a signet without custody is then accepted, once; it
 *             is the issuance that uses the reset up, in the same transaction
 *
 * Cancelled by whoever may ask for one, and by any request with a good custody
 * signature: the key is then not lost. */
#include "account.h"
#include "quorum.h"

#include <dime/identifier.h>

#include <stdio.h>
#include <stdlib.h>

struct reset {
    struct account_change change; /* first */
    struct kd_reset_job job;
    char delay[16];
};

/* --- one address --- */

static void
put_line(const struct vault *v, struct kd_buf *list, struct kd_slice address,
         const struct kd_account_part *a)
{
    const struct kd_reset_line m = {
        .address = address,
        .generation = (uint64_t)a->generation + 1,
        .requested = a->requested,
        .remaining = account_reset_remaining(v, a),
        .approved = a->reset == KD_RESET_APPROVED,
    };
    struct kd_buf line;

    kd_buf_init(&line, 512);
    kd_reset_line_put(&line, &m);
    kd_list_put(list, kd_buf_slice(&line));
    kd_buf_join(list, &line);
    kd_buf_free(&line);
}

static void
reply(struct vault *v, struct task *t, const struct kd_account_part *a, bool changed)
{
    const struct reset *x = t->data;
    struct kd_reset_done m = {.changed = changed};
    struct kd_buf list;

    kd_buf_init(&list, 16384);
    if (a->reset != KD_RESET_NONE)
        put_line(v, &list, x->job.address, a);
    m.resets = kd_buf_slice(&list);
    kd_reset_done_put(&t->reply, &m);
    kd_buf_join(&t->reply, &list);
    kd_buf_free(&list);
}

static kd_err
decide_request(const struct kd_account_part *a, enum kd_audit_op *op,
               enum kd_reason *why)
{
    *op = KD_AUDIT_REQUEST_RESET;
    if (a->reset != KD_RESET_NONE)
        return KD_NOT_FOUND; /* pending already: its delay goes on */
    if (a->generation == 0) {
        *why = KD_REASON_NO_SIGNET;
        return KD_NOT_FOUND;
    }
    if (a->state == KD_ACCOUNT_CLOSED) {
        *why = KD_REASON_ADDRESS_CLOSED;
        return KD_DENIED;
    }
    return KD_OK;
}

static kd_err
decide(struct vault *v, struct task *t, const struct kd_account_part *a,
       enum kd_audit_op *op, enum kd_reason *why)
{
    const struct reset *x = t->data;

    (void)v;
    if (x->job.action == KD_RESET_REQUEST)
        return decide_request(a, op, why);
    if (a->reset == KD_RESET_NONE) {
        *why = KD_REASON_NO_RESET;
        return KD_NOT_FOUND;
    }
    if (x->job.action == KD_RESET_CANCEL) {
        *op = KD_AUDIT_CANCEL_RESET;
        return KD_OK;
    }
    *op = KD_AUDIT_APPROVE_RESET;
    return a->reset == KD_RESET_APPROVED ? KD_NOT_FOUND : KD_OK;
}

/* The approval is what takes a quorum, not the operation: what operators vote on is
 * {ResetAddress, APPROVE, address}. */
bool
is_reset_approval(const struct task *t)
{
    struct kd_reset_job job;

    return kd_reset_job_get(t->body, &job) == KD_OK && job.action == KD_RESET_APPROVE;
}

bool
describe_reset_address(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_reset_job job;

    if (kd_reset_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (!account_address_is_allowed(v, t, job.address) || !account_operator_asks(v, t))
        return false;
    kd_fact_text(text, "action", "approve");
    kd_fact_name(text, "address", job.address);
    return true;
}

static void
start_one(struct vault *v, struct task *t)
{
    struct reset *x = t->data;
    const struct kd_domain_rules *rules;
    size_t org;

    if (!account_address_is_allowed(v, t, x->job.address) ||
        (x->job.action == KD_RESET_APPROVE && !account_operator_asks(v, t)))
        return;
    x->change = (struct account_change){
        .address = x->job.address, .decide = decide, .reply = reply};
    if (x->job.action == KD_RESET_REQUEST) {
        if (vault_serves(t, dime_identifier_domain(x->job.address), &org, &rules) !=
            KD_OK) {
            task_finish(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
            return;
        }
        int n = snprintf(x->delay, sizeof x->delay, "%u", rules->reset_delay);
        x->change.detail = kd_slice(x->delay, (size_t)n);
    }
    account_change_start(v, t);
}

/* --- list --- */

/* The pending ones of the caller's domains. A page may hold none of them and yet not be
 * the last. */
static kd_err
list_page(const struct vault *v, const struct task *t, const struct kd_told_resets *m,
          struct kd_buf *list, struct kd_slice *next)
{
    struct kd_cur c = kd_cur(m->lines);
    struct kd_account_part a;
    struct kd_told_reset line;

    while (kd_cur_left(&c) != 0) {
        if (kd_told_reset_get(kd_list_next(&c), &line) != KD_OK ||
            account_get(line.account, &a) != KD_OK ||
            !dime_identifier_is_address(line.address))
            return KD_MALFORMED;
        if (m->more != 0)
            *next = line.address;
        if (kd_policy_check(t->conf->is.policy, &t->caller, t->op,
                            dime_identifier_domain(line.address)) == KD_OK)
            put_line(v, list, line.address, &a);
    }
    return kd_cur_end(&c);
}

static void
listed(struct vault *v, struct task *t)
{
    struct kd_told_resets m;
    struct kd_reset_done done = {.changed = 0};
    struct kd_buf list;
    kd_err err = kd_told_resets_get(t->told, &m);

    kd_buf_init(&list, 16384);
    if (err == KD_OK && m.err == KD_OK &&
        list_page(v, t, &m, &list, &done.next) == KD_OK) {
        done.resets = kd_buf_slice(&list);
        kd_reset_done_put(&t->reply, &done);
        err = list.err;
    } else {
        err = KD_UNAVAILABLE;
    }
    kd_buf_free(&list);
    task_finish(v, t, err, err == KD_UNAVAILABLE ? KD_REASON_NO_LEDGER : 0);
}

/* About no domain by itself: whoever has the operation for any domain may ask, and sees
 * those of its own. */
static bool
may_list(struct vault *v, struct task *t)
{
    if (task_is_internal(t) ||
        kd_policy_explain(t->conf->is.policy, &t->caller, t->op, kd_slice(NULL, 0)) ==
            KD_POLICY_NO_DOMAIN)
        return true;
    task_finish(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
    return false;
}

static void
start_list(struct vault *v, struct task *t)
{
    const struct reset *x = t->data;
    const struct kd_ask_resets m = {.tag = t->tag, .after = x->job.address};

    if (!may_list(v, t))
        return;
    if (m.after.n != 0 && !dime_identifier_is_address(m.after)) {
        task_finish(v, t, KD_INVALID, KD_REASON_DIME + DIME_IDENTIFIER_FORM);
        return;
    }
    t->only_looks = true;
    if (!account_ledger_is_there(v, t))
        return;
    kd_buf_reset(&t->ask);
    kd_ask_resets_put(&t->ask, &m);
    task_ask(v, t, KD_MSG_ask_resets, listed);
}

void
run_reset_address(struct vault *v, struct task *t)
{
    struct reset *x = calloc(1, sizeof *x);

    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = x;
    t->data_free = free;
    kd_err err = kd_reset_job_get(t->body, &x->job);
    if (err != KD_OK || x->job.action < KD_RESET_LIST ||
        x->job.action > KD_RESET_CANCEL)
        task_finish(v, t, KD_MALFORMED, 0);
    else if (x->job.action == KD_RESET_LIST)
        start_list(v, t);
    else
        start_one(v, t);
}
