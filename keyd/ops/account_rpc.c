/* FreezeAddress, ResetAddress, StopPrincipal: the gate's halves. */
#include "rpc.h"

/* --- freeze --- */

static kd_err
pack_freeze(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    const Keyd__V1__FreezeAddressRequest *in = r->freeze_address;
    const struct kd_freeze_job m = {.address = kd_rpc_slice(in->address),
                                    .action = (uint8_t)in->action,
                                    .reason = (uint8_t)in->reason};

    (void)tag;
    (void)ask;
    kd_freeze_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_freeze(struct kd_slice body, struct answer *a)
{
    struct kd_freeze_done m;
    kd_err err = kd_freeze_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__FreezeAddressResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_FREEZE_ADDRESS);
    out->state = (Keyd__V1__AccountState)(m.state + 1); /* 0 is none on the wire */
    out->reason = (Keyd__V1__FreezeReason)m.reason;
    out->since_ms = m.since;
    out->changed = m.changed != 0;
    out->attested = m.attested != 0;
    return KD_OK;
}

const struct op_rpc op_rpc_freeze_address = {
    .op = KD_OP_FreezeAddress, .pack = pack_freeze, .unpack = unpack_freeze};

/* --- reset --- */

static kd_err
pack_reset(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
           struct ask *ask)
{
    const Keyd__V1__ResetAddressRequest *in = r->reset_address;
    const struct kd_reset_job m = {.action = (uint8_t)in->action,
                                   .address = kd_rpc_slice(in->address)};

    (void)tag;
    (void)ask;
    kd_reset_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_resets(struct kd_slice list, struct answer *a, size_t *n)
{
    struct kd_cur c = kd_cur(list);
    struct kd_reset_line line;
    kd_err err;

    for (*n = 0; kd_cur_left(&c) != 0; (*n)++) {
        if (*n == KD_RESETS_PAGE)
            return KD_MALFORMED;
        if ((err = kd_reset_line_get(kd_list_next(&c), &line)) != KD_OK)
            return err;
        Keyd__V1__Reset *out = &a->reset[*n];
        keyd__v1__reset__init(out);
        out->address = kd_rpc_data(line.address);
        out->generation = line.generation;
        out->requested_ms = line.requested;
        out->remaining_ms = line.remaining;
        out->approved = line.approved != 0;
        a->reset_list[*n] = out;
    }
    return kd_cur_end(&c);
}

static kd_err
unpack_reset(struct kd_slice body, struct answer *a)
{
    struct kd_reset_done m;
    size_t n;
    kd_err err = kd_reset_done_get(body, &m);

    if (err != KD_OK || (err = unpack_resets(m.resets, a, &n)) != KD_OK)
        return err;
    Keyd__V1__ResetAddressResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_RESET_ADDRESS);
    out->n_resets = n;
    out->resets = a->reset_list;
    out->next = kd_rpc_data(m.next);
    out->changed = m.changed != 0;
    return KD_OK;
}

const struct op_rpc op_rpc_reset_address = {
    .op = KD_OP_ResetAddress, .pack = pack_reset, .unpack = unpack_reset};

/* --- stop --- */

static kd_err
pack_stop(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    const Keyd__V1__StopPrincipalRequest *in = r->stop_principal;
    const struct kd_stop_job m = {.action = (uint8_t)in->action,
                                  .class_name = kd_rpc_slice(in->class_name),
                                  .name = kd_rpc_slice(in->name)};

    (void)tag;
    (void)ask;
    kd_stop_job_put(body, &m);
    return body->err;
}

/* "class:name" in two. */
static kd_err
unpack_stopped(struct kd_slice text, Keyd__V1__StoppedPrincipal *out)
{
    const uint8_t *colon = text.n == 0 ? NULL : memchr(text.p, ':', text.n);

    if (colon == NULL)
        return KD_MALFORMED;
    size_t n = (size_t)(colon - text.p);
    keyd__v1__stopped_principal__init(out);
    out->class_name = kd_rpc_data(kd_slice(text.p, n));
    out->name = kd_rpc_data(kd_slice(colon + 1, text.n - n - 1));
    return KD_OK;
}

static kd_err
unpack_stop(struct kd_slice body, struct answer *a)
{
    struct kd_stop_done m;
    size_t n = 0;
    kd_err err = kd_stop_done_get(body, &m);

    if (err != KD_OK)
        return err;
    struct kd_cur c = kd_cur(m.stopped);
    for (; kd_cur_left(&c) != 0; n++) {
        if (n == KD_STOPPED_MAX)
            return KD_MALFORMED;
        if ((err = unpack_stopped(kd_list_next(&c), &a->stopped[n])) != KD_OK)
            return err;
        a->stopped_list[n] = &a->stopped[n];
    }
    if ((err = kd_cur_end(&c)) != KD_OK)
        return err;
    Keyd__V1__StopPrincipalResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_STOP_PRINCIPAL);
    out->n_stopped = n;
    out->stopped = a->stopped_list;
    out->changed = m.changed != 0;
    return KD_OK;
}

const struct op_rpc op_rpc_stop_principal = {
    .op = KD_OP_StopPrincipal, .pack = pack_stop, .unpack = unpack_stop};
