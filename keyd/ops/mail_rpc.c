/* Message operations: the gate's halves. What an answer points to lies in the body that
 * the vault sent, which outlives it. */
#include "rpc.h"

/* Octets of a field that has this size or is empty; the message has no more. */
static void
copy64(ProtobufCBinaryData field, uint8_t out[64])
{
    memcpy(out, field.data, 64); /* its size is checked */
}

/* --- SignOutbound ----------------------------------------------------------------- */

static kd_err
pack_sign(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    const Keyd__V1__SignOutboundRequest *in = r->sign_outbound;
    const struct kd_sign_outbound_job m = {.account = kd_rpc_slice(in->account),
                                           .destination = kd_rpc_slice(in->destination),
                                           .origin_fp = kd_rpc_slice(in->origin_fp),
                                           .message = kd_rpc_slice(in->message),
                                           .size = in->message_object_size};

    (void)tag;
    (void)ask;
    kd_sign_outbound_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_sign(struct kd_slice body, struct answer *a)
{
    struct kd_sign_outbound_done m;
    kd_err err = kd_sign_outbound_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__SignOutboundResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_SIGN_OUTBOUND);
    memcpy(a->fps[0], m.organization, sizeof a->fps[0]);
    memcpy(a->fps[1], m.destination_fp, sizeof a->fps[1]);
    out->metadata_bounce = kd_rpc_data(m.metadata);
    out->display_bounce = kd_rpc_data(m.display);
    out->organization = kd_rpc_data(kd_slice(a->fps[0], sizeof a->fps[0]));
    out->destination_fp = kd_rpc_data(kd_slice(a->fps[1], sizeof a->fps[1]));
    out->author_grace = m.grace != 0;
    return KD_OK;
}

const struct op_rpc op_rpc_sign_outbound = {
    .op = KD_OP_SignOutbound, .pack = pack_sign, .unpack = unpack_sign};

/* --- OpenEnvelope, OpenBounce, MakeBounce -------------------------------------------
 */

static struct kd_inbound_job
inbound_of(const Keyd__V1__Inbound *in)
{
    struct kd_inbound_job m = {.origin = kd_rpc_slice(in->origin),
                               .domain = kd_rpc_slice(in->domain),
                               .origin_signet = kd_rpc_slice(in->origin_signet),
                               .message = kd_rpc_slice(in->message),
                               .size = in->message_object_size};

    copy64(in->origin_fp, m.origin_fp);
    copy64(in->domain_fp, m.domain_fp);
    return m;
}

static kd_err
pack_envelope(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
              struct ask *ask)
{
    const struct kd_inbound_job m = inbound_of(r->open_envelope->inbound);

    (void)tag;
    (void)ask;
    kd_inbound_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_envelope(struct kd_slice body, struct answer *a)
{
    struct kd_open_envelope_done m;
    kd_err err = kd_open_envelope_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__OpenEnvelopeResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_OPEN_ENVELOPE);
    out->verdict = (Keyd__V1__Envelope)m.verdict;
    out->recipient = kd_rpc_data(m.recipient);
    out->recipient_fp = kd_rpc_data(m.recipient_fp);
    out->metadata_bounce = (Keyd__V1__BounceSignature)m.metadata;
    out->display_bounce = (Keyd__V1__BounceSignature)m.display;
    return KD_OK;
}

const struct op_rpc op_rpc_open_envelope = {
    .op = KD_OP_OpenEnvelope, .pack = pack_envelope, .unpack = unpack_envelope};

static kd_err
pack_open_bounce(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
                 struct ask *ask)
{
    const struct kd_inbound_job m = inbound_of(r->open_bounce->inbound);

    (void)tag;
    (void)ask;
    kd_inbound_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_open_bounce(struct kd_slice body, struct answer *a)
{
    struct kd_open_bounce_done m;
    kd_err err = kd_open_bounce_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__OpenBounceResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_OPEN_BOUNCE);
    memcpy(a->fps[0], m.author_fp, sizeof a->fps[0]);
    memcpy(a->fps[1], m.message, sizeof a->fps[1]);
    out->author = kd_rpc_data(m.author);
    out->author_fp = kd_rpc_data(kd_slice(a->fps[0], sizeof a->fps[0]));
    out->part = (Keyd__V1__Returned)(m.part + 1);
    out->klass = m.klass;
    out->subject = m.subject;
    out->detail = m.detail;
    out->time_s = m.time;
    out->message_id = kd_rpc_data(kd_slice(a->fps[1], sizeof a->fps[1]));
    return KD_OK;
}

const struct op_rpc op_rpc_open_bounce = {
    .op = KD_OP_OpenBounce, .pack = pack_open_bounce, .unpack = unpack_open_bounce};

static kd_err
pack_make_bounce(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
                 struct ask *ask)
{
    const Keyd__V1__MakeBounceRequest *in = r->make_bounce;
    struct kd_inbound_job m = inbound_of(in->inbound);

    (void)tag;
    (void)ask;
    m.part = (uint8_t)(in->part - 1);
    m.klass = (uint8_t)in->klass;
    m.subject = (uint16_t)in->subject;
    m.detail = (uint16_t)in->detail;
    kd_inbound_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_make_bounce(struct kd_slice body, struct answer *a)
{
    struct kd_make_bounce_done m;
    kd_err err = kd_make_bounce_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__MakeBounceResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_MAKE_BOUNCE);
    return rpc_signet(a, m.bounce, &out->bounce, &out->bounce_fd_size);
}

const struct op_rpc op_rpc_make_bounce = {
    .op = KD_OP_MakeBounce, .pack = pack_make_bounce, .unpack = unpack_make_bounce};

/* --- SealNaked ----------------------------------------------------------------------
 */

static kd_err
pack_naked(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
           struct ask *ask)
{
    const Keyd__V1__SealNakedRequest *in = r->seal_naked;
    const struct kd_seal_naked_job m = {.recipient = kd_rpc_slice(in->recipient),
                                        .message = kd_rpc_slice(in->message),
                                        .size = in->message_object_size};

    (void)tag;
    (void)ask;
    kd_seal_naked_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_naked(struct kd_slice body, struct answer *a)
{
    struct kd_seal_naked_done m;
    kd_err err = kd_seal_naked_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__SealNakedResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_SEAL_NAKED);
    memcpy(a->fps[0], m.signature, sizeof a->fps[0]);
    out->signature = kd_rpc_data(kd_slice(a->fps[0], sizeof a->fps[0]));
    return KD_OK;
}

const struct op_rpc op_rpc_seal_naked = {
    .op = KD_OP_SealNaked, .pack = pack_naked, .unpack = unpack_naked};
