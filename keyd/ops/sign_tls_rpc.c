/* SignTlsRecord: the gate's half. */
#include "rpc.h"

static kd_err
pack(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body, struct ask *ask)
{
    const Keyd__V1__SignTlsRecordRequest *in = r->sign_tls_record;
    struct kd_sign_tls_job m = {.domain = kd_rpc_slice(in->domain),
                                .certificate = kd_rpc_slice(in->certificate)};

    (void)tag;
    (void)ask;
    memcpy(m.pok, in->pok_id.data, sizeof m.pok); /* its size is checked: 16 */
    kd_sign_tls_job_put(body, &m);
    return body->err;
}

static kd_err
unpack(struct kd_slice body, struct answer *a)
{
    struct kd_sign_tls_done m;
    kd_err err = kd_sign_tls_done_get(body, &m);

    if (err != KD_OK)
        return err;
    if (m.of_der.n != 0 && m.of_der.n != sizeof m.of_hash)
        return KD_MALFORMED;
    Keyd__V1__SignTlsRecordResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_SIGN_TLS_RECORD);
    memcpy(a->fps[0], m.of_hash, sizeof a->fps[0]);
    out->of_hash = kd_rpc_data(kd_slice(a->fps[0], sizeof a->fps[0]));
    out->of_der = kd_rpc_data(m.of_der);
    return KD_OK;
}

const struct op_rpc op_rpc_sign_tls = {
    .op = KD_OP_SignTlsRecord, .pack = pack, .unpack = unpack};
