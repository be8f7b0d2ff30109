/* PolicyExplain, the gate's half: how the quotas stand that gates count. */
#include "rpc.h"

#include <keyd/base/clock.h>

/* KD_INVALID for a class that there is not. */
static kd_err
pack(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body, struct ask *ask)
{
    const Keyd__V1__PolicyExplainRequest *q = r->policy_explain;
    enum kd_class klass = KD_CLASS_ADMIN;
    struct kd_explain_job m = {.name = kd_rpc_slice(q->principal),
                               .uid = q->uid,
                               .op = (uint8_t)q->operation,
                               .domain = kd_rpc_slice(q->domain),
                               .key_id = kd_rpc_slice(q->key_id),
                               .key_role = (uint8_t)q->key_role};

    (void)tag;
    (void)ask;
    if ((m.name.n == 0) == (q->class_name.len == 0) ||
        (m.name.n == 0 && !kd_class_find(kd_rpc_slice(q->class_name), &klass)))
        return KD_INVALID;
    m.klass = (uint8_t)klass;
    kd_explain_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_decisions(struct kd_slice list, struct answer *a)
{
    struct kd_cur c = kd_cur(list);
    size_t *n = &a->u.policy_explain.n_decisions;
    kd_err err;

    for (*n = 0; kd_cur_left(&c) != 0; (*n)++) {
        struct kd_explain_line m;
        if (*n == ANSWER_ITEMS_MAX)
            return KD_MALFORMED;
        if ((err = kd_explain_line_get(kd_list_next(&c), &m)) != KD_OK)
            return err;
        Keyd__V1__PolicyDecision *d = &a->decision[*n];
        keyd__v1__policy_decision__init(d);
        d->operation = m.op;
        d->verdict = (Keyd__V1__PolicyVerdict)(m.verdict + 1);
        d->line = m.line;
        a->decision_list[*n] = d;
    }
    a->u.policy_explain.decisions = a->decision_list;
    return kd_cur_end(&c);
}

/* What the gates of a class, or of all for a domain, have counted. */
static void
add_lookups(const struct answer *a, unsigned klass, const struct kd_explain_quota *m,
            Keyd__V1__PolicyQuota *q)
{
    struct kd_quota quota = {.op = m->op, .rate = {m->n, m->seconds, m->burst}};

    quota.in_flight = m->in_flight_max;
    q->lookup_left = m->burst; /* where no gate has counted it yet */
    if (klass >= KD_CLASS_COUNT || !kd_quota_is_valid(&quota))
        return;
    const struct kd_quota_cell *cell = kd_quota_find(
        m->of_domain ? &a->quotas->domains : &a->quotas->classes[klass], m->mark);
    if (cell == NULL)
        return;
    struct kd_quota_level level = kd_quota_level(cell, &quota, kd_clock_ns());
    q->lookup_left = level.left;
    q->lookup_in_flight = level.in_flight;
    q->lookup_refused = level.refused;
}

static kd_err
unpack_quotas(struct kd_slice list, unsigned klass, struct answer *a)
{
    struct kd_cur c = kd_cur(list);
    size_t *n = &a->u.policy_explain.n_quotas;
    kd_err err;

    for (*n = 0; kd_cur_left(&c) != 0; (*n)++) {
        struct kd_explain_quota m;
        if (*n == ANSWER_QUOTAS_MAX)
            return KD_MALFORMED;
        if ((err = kd_explain_quota_get(kd_list_next(&c), &m)) != KD_OK)
            return err;
        Keyd__V1__PolicyQuota *q = &a->quota[*n];
        keyd__v1__policy_quota__init(q);
        q->of_domain = m.of_domain != 0;
        q->operation = m.op;
        q->rate = m.n;
        q->seconds = m.seconds;
        q->burst = m.burst;
        q->in_flight_max = m.in_flight_max;
        q->line = m.line;
        q->left = m.left;
        q->in_flight = m.in_flight;
        q->refused = m.refused;
        add_lookups(a, klass, &m, q);
        a->quota_list[*n] = q;
    }
    a->u.policy_explain.quotas = a->quota_list;
    return kd_cur_end(&c);
}

static kd_err
unpack(struct kd_slice body, struct answer *a)
{
    struct kd_explain_done m;
    kd_err err = kd_explain_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__PolicyExplainResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_POLICY_EXPLAIN);
    const char *klass = kd_class_name(m.klass);
    out->principal = kd_rpc_data(m.name);
    out->class_name = kd_rpc_data(kd_slice_str(klass == NULL ? "" : klass));
    out->uid = m.uid;
    out->section_line = m.section;
    out->operations_line = m.operations;
    out->domains_line = m.domains;
    out->keys_line = m.keys;
    out->domain_line = m.domain_line;
    out->stopped = m.stopped != 0;
    if ((err = unpack_decisions(m.decisions, a)) != KD_OK ||
        (err = unpack_quotas(m.quotas, m.klass, a)) != KD_OK)
        return err;
    return KD_OK;
}

const struct op_rpc op_rpc_policy_explain = {
    .op = KD_OP_PolicyExplain, .pack = pack, .unpack = unpack};
