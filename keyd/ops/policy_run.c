/* PolicyExplain, the vault's half: what the policy that is running says, and how the
 * quotas stand that the vault counts; the gate adds those that gates count. */
#include "run.h"

#include <keyd/base/clock.h>

/* The one meant, as far as there is one. */
static struct kd_caller
caller_of(const struct kd_policy *p, const struct kd_explain_job *job)
{
    struct kd_caller caller = kd_caller_local(job->klass, job->uid);

    if (job->name.n != 0 && kd_policy_find(p, job->name, &caller) != KD_OK)
        caller = kd_caller_local(KD_CLASS_COUNT, KD_UID_NONE);
    return caller;
}

/* A key named by its id has its role from the token, where that is open. */
static struct kd_policy_key
key_of(const struct vault *v, const struct kd_explain_job *job)
{
    struct kd_policy_key key = {.is_given = job->key_id.n != 0 || job->key_role != 0,
                                .role = job->key_role,
                                .id = job->key_id.n != 0 ? job->key_id.p : NULL};
    struct kd_key_info info;
    struct kd_key_id id;

    if (job->key_id.n == 0 || v->token == NULL)
        return key;
    memcpy(id.octets, job->key_id.p, sizeof id.octets);
    if (kd_token_get(v->token, &id, &info) == KD_OK)
        key.role = info.role;
    return key;
}

static void
put_decision(struct kd_buf *list, unsigned op, const struct kd_policy_trace *trace)
{
    struct kd_explain_line m = {(uint8_t)op, (uint8_t)trace->verdict, trace->op_line};

    kd_buf_u32(list, 1 + 1 + 4);
    kd_explain_line_put(list, &m);
}

static void
put_quota(const struct task *t, struct kd_buf *list, bool of_domain, size_t at)
{
    const struct kd_quota_table *table = &t->vault->quotas;
    const struct kd_quota_map *map = &t->conf->quotas;
    const struct kd_policy *p = t->conf->is.policy;
    const struct kd_quota *q = kd_policy_quota(p, of_domain, at);
    const struct kd_quota_cell *cell = of_domain
                                           ? &table->domains->cells[map->of_domains[at]]
                                           : &table->rows->cells[map->of_lines[at]];
    struct kd_quota_level level = kd_quota_level(cell, q, kd_clock_ns());
    struct kd_explain_quota m = {.of_domain = of_domain,
                                 .mark = kd_quota_mark_line(p, of_domain, at),
                                 .op = q->op,
                                 .n = q->rate.n,
                                 .seconds = (uint16_t)q->rate.seconds,
                                 .burst = q->rate.burst,
                                 .in_flight_max = q->in_flight,
                                 .line = q->line,
                                 .left = level.left,
                                 .in_flight = level.in_flight,
                                 .refused = level.refused};
    struct kd_buf one;

    kd_buf_init(&one, 128);
    kd_explain_quota_put(&one, &m);
    kd_buf_u32(list, (uint32_t)one.n);
    kd_buf_put(list, kd_buf_slice(&one));
    kd_buf_join(list, &one);
    kd_buf_free(&one);
}

/* The lines of a principal, and of the domain asked about. */
static void
put_quotas(const struct task *t, size_t row, struct kd_slice domain,
           struct kd_buf *list)
{
    const struct kd_policy *p = t->conf->is.policy;
    size_t i, to;

    for (i = kd_policy_first_quota(p, row); i < kd_policy_first_quota(p, row + 1); i++)
        put_quota(t, list, false, i);
    if (kd_policy_domain_find(p, domain, &i) != KD_OK)
        return;
    kd_policy_domain_quotas(p, i, &i, &to);
    for (; i < to; i++)
        put_quota(t, list, true, i);
}

static void
explain(struct vault *v, struct task *t, const struct kd_explain_job *job)
{
    const struct kd_policy *p = t->conf->is.policy;
    struct kd_caller caller = caller_of(p, job);
    struct kd_policy_key key = key_of(v, job);
    struct kd_policy_trace trace;
    struct kd_buf decisions, quotas;

    kd_buf_init(&decisions, 1024);
    kd_buf_init(&quotas, 2048);
    kd_policy_trace(p, &caller, KD_OP_NONE, job->domain, NULL, &trace);
    struct kd_explain_done m = {.klass = (uint8_t)caller.klass,
                                .uid = caller.uid,
                                .name = trace.name,
                                .section = trace.lines.section,
                                .operations = trace.lines.operations,
                                .domains = trace.lines.domains,
                                .keys = trace.lines.keys,
                                .domain_line = trace.domain_line,
                                .stopped = stops_has(v, t->conf, &caller)};
    if (trace.row != KD_POLICY_ROWS_MAX)
        put_quotas(t, trace.row, job->domain, &quotas);
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if (job->op != 0 ? op != job->op : !kd_op_is_served(op, caller.klass))
            continue;
        kd_policy_trace(p, &caller, op, job->domain, &key, &trace);
        put_decision(&decisions, op, &trace);
    }
    m.decisions = kd_buf_slice(&decisions);
    m.quotas = kd_buf_slice(&quotas);
    kd_explain_done_put(&t->reply, &m);
    kd_err err = decisions.err != KD_OK ? decisions.err : quotas.err;
    kd_buf_free(&decisions);
    kd_buf_free(&quotas);
    task_finish(v, t, err, 0);
}

void
run_policy_explain(struct vault *v, struct task *t)
{
    struct kd_explain_job job;

    t->only_looks = true;
    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (kd_explain_job_get(t->body, &job) != KD_OK ||
        (job.key_id.n != 0 && job.key_id.n != KD_TOKEN_ID_SIZE) ||
        (job.op != 0 && kd_op_name(job.op) == NULL))
        task_finish(v, t, KD_INVALID, 0);
    else
        explain(v, t, &job);
}
