/* SetQuorum, ApprovalList, ApprovalShow, ApprovalSign: the vault's halves. */
#include "quorum.h"
#include "store_change.h"

#include <sodium.h>
#include <stdlib.h>

/* --- set --- */

/* A key that signs for the organization approves nothing: it is in this machine. */
static bool
has_own_key(const struct vault *v, const struct kd_quorum *q)
{
    for (size_t i = 0; i < q->n; i++)
        if (vault_owns_sign_key(v, q->operators[i].key))
            return true;
    return false;
}

/* What takes a quorum is asked for by an operator, known by the principal of his name.
 */
static bool
somebody_could_ask(const struct task *t, const struct kd_quorum *q)
{
    struct kd_caller who;

    for (size_t i = 0; i < q->n; i++)
        if (kd_policy_find(t->conf->is.policy, kd_slice_str(q->operators[i].name),
                           &who) == KD_OK &&
            who.klass == KD_CLASS_ADMIN)
            return true;
    return q->n == 0;
}

/* The operators asked for; false: the task is answered. */
static bool
read_quorum(struct vault *v, struct task *t, struct kd_quorum *q)
{
    struct kd_quorum_job job;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return false;
    if (kd_quorum_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (kd_quorum_decode(job.area, q) != KD_OK)
        return describe_refuse(v, t, KD_INVALID, KD_REASON_QUORUM_SPEC);
    if (has_own_key(v, q))
        return describe_refuse(v, t, KD_INVALID, KD_REASON_KEY_REUSED);
    return somebody_could_ask(t, q) ||
           describe_refuse(v, t, KD_INVALID, KD_REASON_NOBODY_COULD_ASK);
}

bool
describe_set_quorum(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_quorum q;

    if (!read_quorum(v, t, &q))
        return false;
    if (q.n == 0) {
        kd_fact_text(text, "new-quorum", "none: the configuration decides again");
        return true;
    }
    kd_buf_printf(text, "new-quorum %u approvals of %zu operators\n", q.k, q.n);
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        if (kd_quorum_marks(&q, op))
            kd_fact_text(text, "new-mark", kd_op_name(op));
    for (size_t i = 0; i < q.n; i++) {
        kd_buf_printf(text, "new-operator %s ", q.operators[i].name);
        for (size_t k = 0; k < KD_OPERATOR_KEY_SIZE; k++)
            kd_buf_printf(text, "%02x", q.operators[i].key[k]);
        kd_buf_u8(text, '\n');
    }
    return true;
}

static kd_err
set_change(struct task *t, struct store_change *c)
{
    struct kd_quorum q;

    /* Looked at before; but a key may have come while this waited to be alone. */
    if (kd_quorum_decode(c->job.quorum.area, &q) != KD_OK || has_own_key(t->vault, &q))
        return run_refuse(t, KD_INVALID, KD_REASON_KEY_REUSED);
    crypto_hash_sha256(c->digest, c->job.quorum.area.p, c->job.quorum.area.n);
    c->has_digest = true;
    return kd_soft_set_policy(c->token, c->job.quorum.area);
}

static kd_err
set_again(struct store_change *c, uint64_t generation)
{
    c->generation = generation;
    return KD_OK;
}

static void
reply_set(struct vault *v, struct task *t, struct store_change *c)
{
    struct kd_quorum_done m = {c->generation};

    vault_event(v, EVENT_QUORUM_SET, v->approvals.quorum.k, v->approvals.quorum.n);
    kd_quorum_done_put(&t->reply, &m);
}

void
run_set_quorum(struct vault *v, struct task *t)
{
    struct kd_quorum q;

    if (!read_quorum(v, t, &q))
        return;
    struct store_change *c = store_change_new(v, t);
    if (c == NULL)
        return;
    if (kd_quorum_job_get(t->body, &c->job.quorum) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    c->audit = KD_AUDIT_SET_QUORUM;
    c->change = set_change;
    c->again = set_again;
    c->reply = reply_set;
    store_change_start(v, t);
}

/* --- list and show --- */

static void
put_line(const struct approvals *a, const struct kd_pending *p, struct kd_buf *out)
{
    struct kd_approval_line m = {
        .op = (uint8_t)p->op,
        .requester = kd_slice(p->requester, p->requester_size),
        .made = (uint64_t)p->made.wall_ms,
        .not_after = (uint64_t)p->not_after.wall_ms,
        .needed = (uint8_t)p->k,
    };
    struct kd_buf names;

    kd_buf_init(&names, 1024);
    for (size_t i = 0; i < a->quorum.n; i++)
        if ((p->given >> i & 1) != 0)
            kd_list_put(&names, kd_operator_name(&a->quorum.operators[i]));
    memcpy(m.id, p->id, sizeof m.id);
    memcpy(m.digest, p->digest, sizeof m.digest);
    m.approved = kd_buf_slice(&names);
    kd_approval_line_put(out, &m);
    kd_buf_join(out, &names);
    kd_buf_free(&names);
}

void
run_approval_list(struct vault *v, struct task *t)
{
    const struct approvals *a = &v->approvals;
    struct kd_approvals_done m;
    struct kd_buf area, lines, line;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (t->body.n != 0) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    approvals_expire(v);
    kd_buf_init(&area, KD_QUORUM_AREA_MAX);
    kd_buf_init(&lines, (size_t)KD_PENDING_MAX * 1024);
    kd_buf_init(&line, 1024);
    kd_quorum_put(&a->quorum, &area);
    for (size_t i = 0; i < KD_PENDING_MAX; i++) {
        if (!a->pendings.at[i].used)
            continue;
        kd_buf_reset(&line);
        put_line(a, &a->pendings.at[i], &line);
        kd_list_put(&lines, kd_buf_slice(&line));
        kd_buf_join(&lines, &line);
    }
    m.area = kd_buf_slice(&area);
    m.lines = kd_buf_slice(&lines);
    kd_approvals_done_put(&t->reply, &m);
    kd_err err = area.err != KD_OK ? area.err : lines.err;
    kd_buf_free(&area);
    kd_buf_free(&lines);
    kd_buf_free(&line);
    task_finish(v, t, err, 0);
}

void
run_approval_show(struct vault *v, struct task *t)
{
    struct kd_approval_job job;
    struct kd_approval_done m;
    struct kd_buf line;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (kd_approval_job_get(t->body, &job) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    approvals_expire(v);
    const struct kd_pending *p = kd_pending_find(&v->approvals.pendings, job.id);
    if (p == NULL) {
        task_finish(v, t, KD_NOT_FOUND, KD_REASON_NO_SUCH_APPROVAL);
        return;
    }
    kd_buf_init(&line, 1024);
    put_line(&v->approvals, p, &line);
    m.line = kd_buf_slice(&line);
    m.text = kd_buf_slice(&p->text);
    kd_approval_done_put(&t->reply, &m);
    kd_err err = line.err;
    kd_buf_free(&line);
    task_finish(v, t, err, 0);
}

/* --- sign --- */

struct signing {
    uint8_t id[KD_APPROVAL_ID_SIZE];
    size_t at; /* the operator, as long as the request waits */
};

/* The approval counts when its record is durable. */
static void
recorded(struct vault *v, struct task *t)
{
    const struct signing *s = t->data;
    struct kd_pending *p = kd_pending_find(&v->approvals.pendings, s->id);

    if (p != NULL)
        p->taking &= ~(UINT32_C(1) << s->at);
    if (t->err != KD_OK || p == NULL) {
        task_finish(v, t, t->err != KD_OK ? t->err : KD_NOT_FOUND,
                    t->err != KD_OK ? 0 : KD_REASON_NO_SUCH_APPROVAL);
        return;
    }
    p->given |= UINT32_C(1) << s->at;
    struct kd_approve_done m = {(uint8_t)kd_pending_given(p), (uint8_t)p->k};
    kd_approve_done_put(&t->reply, &m);
    task_finish(v, t, KD_OK, 0);
}

static enum kd_reason
reason_of(kd_err err)
{
    return err == KD_NOT_FOUND  ? KD_REASON_NO_SUCH_OPERATOR
           : err == KD_DENIED   ? KD_REASON_OWN_REQUEST
           : err == KD_CONFLICT ? KD_REASON_APPROVED_BEFORE
           : err == KD_INVALID  ? KD_REASON_BAD_SIGNATURE
           : err == KD_BUSY     ? KD_REASON_UNDER_WAY
                                : KD_REASON_NONE;
}

/* Nothing is recorded before a registry is accepted: the records of the approvals come
 * with that of the acceptance, or not at all (registry_run.c). */
static void
give_while_held(struct vault *v, struct task *t, const struct kd_pending *p)
{
    if (p->op != KD_OP_RegistryRestore) {
        task_finish(v, t, KD_UNAVAILABLE, (uint16_t)run_held(v));
        return;
    }
    t->err = KD_OK;
    recorded(v, t);
}

static void
commit_approval(struct vault *v, struct task *t, const struct kd_pending *p,
                const struct kd_operator *who)
{
    struct kd_audit_record record;
    struct run_names names;

    run_record(&record, &names, v, t, KD_AUDIT_APPROVE, kd_slice(NULL, 0));
    int n = snprintf(names.principal, sizeof names.principal, "op:%s", who->name);
    record.principal = kd_slice(names.principal, (size_t)n);
    record.n_digests = 1;
    memcpy(record.digests[0], p->digest, sizeof record.digests[0]);
    task_commit(v, t, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, recorded);
}

void
run_approval_sign(struct vault *v, struct task *t)
{
    struct kd_approve_job job;
    struct signing *s;
    kd_err err;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (kd_approve_job_get(t->body, &job) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    approvals_expire(v);
    struct kd_pending *p = kd_pending_find(&v->approvals.pendings, job.id);
    if (p == NULL) {
        task_finish(v, t, KD_NOT_FOUND, KD_REASON_NO_SUCH_APPROVAL);
        return;
    }
    if ((s = calloc(1, sizeof *s)) == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = s;
    t->data_free = free;
    memcpy(s->id, p->id, sizeof s->id);
    err = kd_pending_judge(p, &v->approvals.quorum, job.operator_name, job.signature,
                           &s->at);
    if (err != KD_OK) {
        task_finish(v, t, err, (uint16_t)reason_of(err));
        return;
    }
    if (vault_is_held(v)) {
        give_while_held(v, t, p);
        return;
    }
    p->taking |= UINT32_C(1) << s->at;
    commit_approval(v, t, p, &v->approvals.quorum.operators[s->at]);
}
