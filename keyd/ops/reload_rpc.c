/* Reload and Drain, the gate's halves. */
#include "rpc.h"

static kd_err
pack_reload(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    (void)r;
    (void)tag;
    (void)ask;
    return body->err;
}

static kd_err
unpack_reload(struct kd_slice body, struct answer *a)
{
    struct kd_reload_done m;
    Keyd__V1__ReloadResult *out = &a->u.reload;
    kd_err err = kd_reload_done_get(body, &m);

    if (err != KD_OK)
        return err;
    keyd__v1__reload_result__init(out);
    out->serial = m.serial;
    memcpy(a->fps[0], m.digest, sizeof m.digest);
    out->digest = kd_rpc_data(kd_slice(a->fps[0], sizeof m.digest));
    out->warnings = m.warnings;
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_RELOAD;
    a->r.reload = out;
    return KD_OK;
}

const struct op_rpc op_rpc_reload = {
    .op = KD_OP_Reload, .pack = pack_reload, .unpack = unpack_reload};

static kd_err
pack_drain(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
           struct ask *ask)
{
    struct kd_drain_job m = {(uint8_t)r->drain->action, r->drain->wait != 0};

    (void)tag;
    (void)ask;
    kd_drain_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_drain(struct kd_slice body, struct answer *a)
{
    struct kd_drain_done m;
    Keyd__V1__DrainResult *out = &a->u.drain;
    kd_err err = kd_drain_done_get(body, &m);

    if (err != KD_OK)
        return err;
    keyd__v1__drain_result__init(out);
    out->state = (Keyd__V1__ServiceState)m.state;
    out->in_flight = m.in_flight;
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_DRAIN;
    a->r.drain = out;
    return KD_OK;
}

const struct op_rpc op_rpc_drain = {
    .op = KD_OP_Drain, .pack = pack_drain, .unpack = unpack_drain};
