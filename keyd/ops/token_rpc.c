/* TokenInit, AddUnsealSlot, Unseal, Seal: the gate's halves. The secret's descriptor
 * passes through unread. */
#include "rpc.h"

static kd_err
pack_slot(uint8_t kind, struct kd_buf *body)
{
    struct kd_slot_job m = {.kind = kind};

    kd_slot_job_put(body, &m);
    return body->err;
}

static kd_err
pack_init(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    (void)tag;
    (void)ask;
    return pack_slot((uint8_t)r->token_init->slot_kind, body);
}

static kd_err
unpack_init(struct kd_slice body, struct answer *a)
{
    struct kd_slot_done m;
    kd_err err = kd_slot_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__TokenInitResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_TOKEN_INIT);
    out->slot = m.slot;
    return KD_OK;
}

const struct op_rpc op_rpc_token_init = {
    .op = KD_OP_TokenInit, .pack = pack_init, .unpack = unpack_init};

static kd_err
pack_add(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body, struct ask *ask)
{
    (void)tag;
    (void)ask;
    return pack_slot((uint8_t)r->add_unseal_slot->slot_kind, body);
}

static kd_err
unpack_add(struct kd_slice body, struct answer *a)
{
    struct kd_slot_done m;
    kd_err err = kd_slot_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__AddUnsealSlotResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_ADD_UNSEAL_SLOT);
    out->slot = m.slot;
    return KD_OK;
}

const struct op_rpc op_rpc_add_unseal_slot = {
    .op = KD_OP_AddUnsealSlot, .pack = pack_add, .unpack = unpack_add};

static kd_err
pack_unseal(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    (void)tag;
    (void)ask;
    return pack_slot((uint8_t)r->unseal->slot_kind, body);
}

static kd_err
unpack_unseal(struct kd_slice body, struct answer *a)
{
    struct kd_unseal_done m;
    kd_err err = kd_unseal_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__UnsealResult *out = rpc_result(a, KEYD__V1__RESPONSE__RESULT_UNSEAL);
    out->state = m.operational != 0
                     ? KEYD__V1__SERVICE_STATE__SERVICE_STATE_OPERATIONAL
                     : KEYD__V1__SERVICE_STATE__SERVICE_STATE_UNPROVISIONED;
    return KD_OK;
}

const struct op_rpc op_rpc_unseal = {
    .op = KD_OP_Unseal, .pack = pack_unseal, .unpack = unpack_unseal};

static kd_err
unpack_seal(struct kd_slice body, struct answer *a)
{
    if (body.n != 0)
        return KD_MALFORMED;
    Keyd__V1__SealResult *out = rpc_result(a, KEYD__V1__RESPONSE__RESULT_SEAL);
    out->state = KEYD__V1__SERVICE_STATE__SERVICE_STATE_SEALED;
    return KD_OK;
}

const struct op_rpc op_rpc_seal = {
    .op = KD_OP_Seal, .pack = rpc_pack_nothing, .unpack = unpack_seal};
