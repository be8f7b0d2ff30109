/* Reload and Drain, the gate's halves. */
#include "rpc.h"

static kd_err
unpack_reload(struct kd_slice body, struct answer *a)
{
    struct kd_reload_done m;
    kd_err err = kd_reload_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__ReloadResult *out = rpc_result(a, KEYD__V1__RESPONSE__RESULT_RELOAD);
    out->serial = m.serial;
    memcpy(a->fps[0], m.digest, sizeof m.digest);
    out->digest = kd_rpc_data(kd_slice(a->fps[0], sizeof m.digest));
    out->warnings = m.warnings;
    return KD_OK;
}

const struct op_rpc op_rpc_reload = {
    .op = KD_OP_Reload, .pack = rpc_pack_nothing, .unpack = unpack_reload};

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
    kd_err err = kd_drain_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__DrainResult *out = rpc_result(a, KEYD__V1__RESPONSE__RESULT_DRAIN);
    out->state = (Keyd__V1__ServiceState)m.state;
    out->in_flight = m.in_flight;
    return KD_OK;
}

const struct op_rpc op_rpc_drain = {
    .op = KD_OP_Drain, .pack = pack_drain, .unpack = unpack_drain};
