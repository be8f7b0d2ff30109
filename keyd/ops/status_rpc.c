/* Status: the vault's state and probe, with the supervisor's process table. */
#include "rpc.h"

#include "../role.h"

#include <keyd/job/reasons.h>

#include <stdio.h>

Keyd__V1__ServiceState
rpc_state(uint8_t state, bool degraded)
{
    static const Keyd__V1__ServiceState states[] = {
        KEYD__V1__SERVICE_STATE__SERVICE_STATE_STARTING,
        KEYD__V1__SERVICE_STATE__SERVICE_STATE_UNPROVISIONED,
        KEYD__V1__SERVICE_STATE__SERVICE_STATE_SEALED,
        KEYD__V1__SERVICE_STATE__SERVICE_STATE_OPERATIONAL,
        KEYD__V1__SERVICE_STATE__SERVICE_STATE_FAILED,
    };

    if (state >= sizeof states / sizeof *states)
        return KEYD__V1__SERVICE_STATE__SERVICE_STATE_FAILED;
    return degraded ? KEYD__V1__SERVICE_STATE__SERVICE_STATE_DEGRADED : states[state];
}

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

static kd_err
unpack(struct kd_slice body, struct answer *a)
{
    struct kd_status_done m;
    Keyd__V1__StatusResult *out = &a->u.status;
    kd_err err = kd_status_done_get(body, &m);

    if (err != KD_OK)
        return err;
    keyd__v1__status_result__init(out);
    out->state = rpc_state(m.state, m.degraded != 0);
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
        if (a->processes[i].present)
            add_process(a, &a->processes[i].is);
    add_counter(a, "keys", m.n_keys);
    add_counter(a, "issued", m.issued);
    add_counter(a, "refused", m.refused);
    add_counter(a, "hidden-memory", m.hidden_memory);
    add_counter(a, "disk-free", m.disk_free);
    add_counter(a, "checkpoint-file", (m.health & KD_HEALTH_NO_OUTSIDE) == 0);
    add_counter(a, "checkpoint-record", m.outside);
    add_counter(a, "checkpoint-failures", m.outside_failures);
    out->reason = kd_rpc_data(kd_slice_str(kd_reason_name(m.reason, a->word)));
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_SERVICE_STATUS;
    a->r.service_status = out;
    return KD_OK;
}

const struct op_rpc op_rpc_status = {
    .op = KD_OP_Status, .pack = pack, .unpack = unpack};
