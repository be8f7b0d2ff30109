/* SetQuorum, ApprovalList, ApprovalShow, ApprovalSign: the gate's halves. */
#include "rpc.h"

#include <keyd/quorum/pending.h>

_Static_assert((int)ANSWER_APPROVALS_MAX == (int)KD_PENDING_MAX &&
                   (int)ANSWER_OPERATORS_MAX == (int)KD_OPERATORS_MAX,
               "an answer has room for all");

/* --- set --- */

static kd_err
pack_set(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body, struct ask *ask)
{
    const Keyd__V1__SetQuorumRequest *in = r->set_quorum;
    struct kd_quorum q = {.k = in->k, .marks = in->marks, .n = in->n_operators};
    struct kd_quorum_job m;
    struct kd_buf area;

    (void)tag;
    (void)ask;
    for (size_t i = 0; i < q.n; i++) { /* counts and sizes are checked */
        const Keyd__V1__Operator *o = in->operators[i];
        q.operators[i].name_size = o->name.len;
        memcpy(q.operators[i].name, o->name.data, o->name.len);
        memcpy(q.operators[i].key, o->public_key.data, KD_OPERATOR_KEY_SIZE);
    }
    if (q.n == 0 && (q.k != 0 || q.marks != 0))
        return KD_INVALID; /* would be written like a request without them */
    kd_buf_init(&area, KD_QUORUM_AREA_MAX);
    kd_quorum_put(&q, &area);
    m.area = kd_buf_slice(&area);
    kd_quorum_job_put(body, &m);
    kd_err err = area.err != KD_OK ? area.err : body->err;
    kd_buf_free(&area);
    return err;
}

static kd_err
unpack_set(struct kd_slice body, struct answer *a)
{
    struct kd_quorum_done m;
    kd_err err = kd_quorum_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__SetQuorumResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_SET_QUORUM);
    out->generation = m.generation;
    return KD_OK;
}

const struct op_rpc op_rpc_set_quorum = {
    .op = KD_OP_SetQuorum, .pack = pack_set, .unpack = unpack_set};

/* --- list --- */

/* One line as approval i of the answer, which keeps the octets that it points to. */
static kd_err
read_approval(struct kd_slice octets, struct answer *a, size_t i)
{
    struct answer_approval *to = &a->approval[i];
    Keyd__V1__Approval *out = &to->message;
    struct kd_cur c;
    kd_err err = kd_approval_line_get(octets, &to->line);

    if (err != KD_OK)
        return err;
    keyd__v1__approval__init(out);
    out->id = kd_rpc_data(kd_slice(to->line.id, sizeof to->line.id));
    out->operation = to->line.op;
    out->requester = kd_rpc_data(to->line.requester);
    out->made_ms = to->line.made;
    out->not_after_ms = to->line.not_after;
    out->needed = to->line.needed;
    out->digest = kd_rpc_data(kd_slice(to->line.digest, sizeof to->line.digest));
    out->approved_by = to->approved;
    for (c = kd_cur(to->line.approved); kd_cur_left(&c) != 0;) {
        if (out->n_approved_by == KD_OPERATORS_MAX)
            return KD_MALFORMED;
        to->approved[out->n_approved_by++] = kd_rpc_data(kd_list_next(&c));
    }
    a->approval_list[i] = out;
    return kd_cur_end(&c);
}

static void
fill_operators(const struct kd_quorum *q, struct answer *a)
{
    Keyd__V1__ApprovalListResult *out = &a->u.approval_list;

    a->quorum = *q;
    out->k = q->k;
    out->marks = q->marks;
    out->n_operators = q->n;
    out->operators = a->operator_list;
    for (size_t i = 0; i < q->n; i++) {
        const struct kd_operator *o = &a->quorum.operators[i];
        keyd__v1__operator__init(&a->operators[i]);
        a->operators[i].name = kd_rpc_data(kd_operator_name(o));
        a->operators[i].public_key = kd_rpc_data(kd_slice(o->key, sizeof o->key));
        a->operator_list[i] = &a->operators[i];
    }
}

static kd_err
unpack_list(struct kd_slice body, struct answer *a)
{
    struct kd_approvals_done m;
    struct kd_quorum q;
    kd_err err = kd_approvals_done_get(body, &m);

    if (err != KD_OK || (err = kd_quorum_decode(m.area, &q)) != KD_OK)
        return KD_MALFORMED;
    Keyd__V1__ApprovalListResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_APPROVAL_LIST);
    fill_operators(&q, a);
    out->approvals = a->approval_list;
    struct kd_cur c = kd_cur(m.lines);
    while (kd_cur_left(&c) != 0) {
        if (out->n_approvals == ANSWER_APPROVALS_MAX ||
            read_approval(kd_list_next(&c), a, out->n_approvals++) != KD_OK)
            return KD_MALFORMED;
    }
    return kd_cur_end(&c);
}

const struct op_rpc op_rpc_approval_list = {
    .op = KD_OP_ApprovalList, .pack = rpc_pack_nothing, .unpack = unpack_list};

/* --- show --- */

static kd_err
pack_show(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    struct kd_approval_job m;

    (void)tag;
    (void)ask;
    memcpy(m.id, r->approval_show->id.data, sizeof m.id); /* its size is checked */
    kd_approval_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_show(struct kd_slice body, struct answer *a)
{
    struct kd_approval_done m;
    kd_err err = kd_approval_done_get(body, &m);

    if (err != KD_OK || (err = read_approval(m.line, a, 0)) != KD_OK)
        return err;
    Keyd__V1__ApprovalShowResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_APPROVAL_SHOW);
    out->text = kd_rpc_data(m.text);
    out->approval = a->approval_list[0];
    return KD_OK;
}

const struct op_rpc op_rpc_approval_show = {
    .op = KD_OP_ApprovalShow, .pack = pack_show, .unpack = unpack_show};

/* --- sign --- */

static kd_err
pack_sign(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    const Keyd__V1__ApprovalSignRequest *in = r->approval_sign;
    struct kd_approve_job m = {.operator_name = kd_rpc_slice(in->operator_name)};

    (void)tag;
    (void)ask;
    memcpy(m.id, in->id.data, sizeof m.id); /* the sizes are checked */
    memcpy(m.signature, in->signature.data, sizeof m.signature);
    kd_approve_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_sign(struct kd_slice body, struct answer *a)
{
    struct kd_approve_done m;
    kd_err err = kd_approve_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__ApprovalSignResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_APPROVAL_SIGN);
    out->given = m.given;
    out->needed = m.needed;
    return KD_OK;
}

const struct op_rpc op_rpc_approval_sign = {
    .op = KD_OP_ApprovalSign, .pack = pack_sign, .unpack = unpack_sign};
