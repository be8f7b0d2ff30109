/* Status: the vault's state and probe, with the supervisor's process table. */
#include "rpc.h"

#include "../role.h"

#include <keyd/job/state.h>

#include <stdio.h>

static kd_err
pack(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body, struct ask *ask)
{
    (void)r;
    (void)tag;
    (void)ask;
    return body->err;
}

static void
add_process(struct answer *a, const struct kd_ctl_process *p)
{
    size_t i = a->u.status.n_processes++;
    Keyd__V1__ProcessInfo *out = &a->process[i];
    const char *name = p->role == KEYD__V1__PROCESS_ROLE__PROCESS_ROLE_GATE
                           ? kd_class_name(kd_gate_class(p->gate))
                           : "";

    keyd__v1__process_info__init(out);
    out->role = (Keyd__V1__ProcessRole)p->role;
    out->name = kd_rpc_data(kd_slice_str(name == NULL ? "" : name));
    out->pid = p->pid;
    out->uid = p->uid;
    out->sandbox = p->sandbox != 0;
    out->holds_keys = p->role == KEYD__V1__PROCESS_ROLE__PROCESS_ROLE_VAULT;
    a->process_list[i] = out;
}

static void
add_counter(struct answer *a, const char *name, uint64_t value)
{
    size_t i = a->u.status.n_counters++;
    Keyd__V1__Counter *out = &a->counter[i];

    keyd__v1__counter__init(out);
    out->name = kd_rpc_data(kd_slice_str(name));
    out->value = value;
    a->counter_list[i] = out;
}

/* "over-quota:NAME", where there is anything to say: the vault's count and the gates'.
 * Adds both to the total. */
static kd_err
add_over_quota(struct answer *a, struct kd_slice list, uint64_t *total)
{
    struct kd_cur c = kd_cur(list);
    kd_err err;

    while (kd_cur_left(&c) != 0) {
        struct kd_over_line m;
        if ((err = kd_over_line_get(kd_list_next(&c), &m)) != KD_OK)
            return err;
        if (m.klass >= KD_CLASS_COUNT)
            return KD_MALFORMED;
        const struct kd_quota_cell *cell =
            kd_quota_find(&a->quotas->classes[m.klass], m.mark);
        uint64_t direct = cell == NULL ? 0 : cell->refused;
        *total += direct;
        if (m.n + direct == 0 || a->u.status.n_counters == ANSWER_COUNTERS_MAX - 1)
            continue;
        char *name = a->counter_name[a->u.status.n_counters];
        snprintf(name, sizeof a->counter_name[0], "over-quota:%.*s", (int)m.name.n,
                 (const char *)m.name.p);
        add_counter(a, name, m.n + direct);
    }
    return kd_cur_end(&c);
}

static void
add_reasons(struct answer *a, uint64_t reasons)
{
    for (unsigned i = 0; i < KD_STATE_REASONS; i++)
        if ((reasons & kd_state_bit((enum kd_state_reason)i)) != 0)
            a->reason_list[a->u.status.n_reasons++] =
                kd_rpc_data(kd_slice_str(kd_state_word(i)));
    a->u.status.reasons = a->reason_list;
}

static kd_err
add_shadow(struct answer *a, struct kd_slice lines)
{
    struct kd_cur c = kd_cur(lines);
    struct kd_shadow_line m;
    size_t n = 0;
    kd_err err;

    for (; kd_cur_left(&c) != 0; n++) {
        if (n == ANSWER_SHADOW_MAX)
            return KD_MALFORMED;
        if ((err = kd_shadow_line_get(kd_list_next(&c), &m)) != KD_OK)
            return err;
        if (m.principal.n == 0 || kd_op_name(m.op) == NULL)
            return KD_MALFORMED;
        Keyd__V1__ShadowLine *out = &a->shadow[n];
        keyd__v1__shadow_line__init(out);
        out->principal = kd_rpc_data(m.principal);
        out->operation = kd_rpc_data(kd_slice_str(kd_op_name(m.op)));
        out->would_refuse = m.would_refuse;
        out->would_allow = m.would_allow;
        a->shadow_list[n] = out;
    }
    a->u.status.shadow = a->shadow_list;
    a->u.status.n_shadow = n;
    return kd_cur_end(&c);
}

static kd_err
unpack(struct kd_slice body, struct answer *a)
{
    struct kd_status_done m;
    Keyd__V1__StatusResult *out = &a->u.status;
    kd_err err = kd_status_done_get(body, &m);

    if (err != KD_OK)
        return err;
    keyd__v1__status_result__init(out);
    if (m.state < KD_SERVICE_UNPROVISIONED || m.state > KD_SERVICE_STARTING)
        return KD_MALFORMED;
    out->state = (Keyd__V1__ServiceState)m.state;
    out->version = kd_rpc_data(kd_slice_str(KEYD_VERSION));
    out->probe_ok = m.probe != 0;
    out->probe_us = m.probe_us;
    out->single_operator = m.single_operator != 0;
    out->epoch = m.epoch;
    out->audit_seq = m.seq;
    out->started_ms = m.started;
    out->processes = a->process_list;
    out->counters = a->counter_list;
    for (size_t i = 0; i < a->n_processes && out->n_processes < ANSWER_PROCESSES_MAX;
         i++)
        if (a->processes[i].present && a->processes[i].is.pid != 0) /* away: none */
            add_process(a, &a->processes[i].is);
    add_counter(a, "keys", m.n_keys);
    add_counter(a, "issued", m.issued);
    add_counter(a, "refused", m.refused);
    add_counter(a, "hidden-memory", m.hidden_memory);
    add_counter(a, "operators", m.operators);
    add_counter(a, "approvals-needed", m.approvals);
    add_counter(a, "approvals-waiting", m.waiting);
    add_counter(a, "denied", m.denied);
    add_counter(a, "failed", m.failed);
    add_counter(a, "peers-malformed", m.peer_malformed);
    add_counter(a, "disk-free", m.disk_free);
    add_counter(a, "checkpoint-file", (m.health & KD_HEALTH_NO_OUTSIDE) == 0);
    add_counter(a, "checkpoint-record", m.outside);
    add_counter(a, "checkpoint-failures", m.outside_failures);
    add_reasons(a, m.reasons);
    out->shadow_on = m.shadow_on != 0;
    out->shadow_since_ms = m.shadow_since;
    out->shadow_pairs = m.shadow_pairs;
    if ((err = add_shadow(a, m.shadow)) != KD_OK)
        return err;
    add_counter(a, "resets-pending", m.resets);
    add_counter(a, "principals-stopped", m.stopped);
    /* Last, for there may be many of them. */
    uint64_t over = m.over_quota;
    if ((err = add_over_quota(a, m.quotas, &over)) != KD_OK)
        return err;
    add_counter(a, "over-quota", over);
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_SERVICE_STATUS;
    a->r.service_status = out;
    return KD_OK;
}

const struct op_rpc op_rpc_status = {
    .op = KD_OP_Status, .pack = pack, .unpack = unpack};
