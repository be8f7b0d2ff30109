/* AuditRead, AuditHead: straight from the admin gate to the ledger. */
#include "rpc.h"

static kd_err
pack_read(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    struct kd_look_audit m = {
        .tag = tag, .from = r->audit_read->from_seq, .most = r->audit_read->limit};

    ask->from = m.from;
    kd_look_audit_put(body, &m);
    return body->err;
}

static kd_err
take_records(struct kd_slice octets, struct answer *a, size_t *n)
{
    struct kd_cur c = kd_cur(octets);

    for (*n = 0; kd_cur_left(&c) != 0; (*n)++) {
        if (*n == ANSWER_ITEMS_MAX)
            return KD_MALFORMED;
        Keyd__V1__AuditRecord *out = &a->record[*n];
        keyd__v1__audit_record__init(out);
        out->seq = a->from + *n; /* the log has no gaps */
        out->record = kd_rpc_data(kd_list_next(&c));
        a->record_list[*n] = out;
    }
    return kd_cur_end(&c);
}

static kd_err
take_checkpoints(struct kd_slice octets, struct answer *a, size_t *n)
{
    enum { MOST = 16 };
    struct kd_cur c = kd_cur(octets);

    for (*n = 0; kd_cur_left(&c) != 0;) {
        struct kd_cur one = kd_cur(kd_list_next(&c));
        uint64_t seq = kd_cur_u64(&one);
        struct kd_slice signed_octets = kd_cur_take(&one, kd_cur_left(&one));
        if (c.err != KD_OK || kd_cur_end(&one) != KD_OK)
            return KD_MALFORMED;
        if (*n == MOST)
            continue; /* the rest comes with later pages' or not: a convenience */
        Keyd__V1__AuditCheckpoint *out = &a->checkpoint[*n];
        keyd__v1__audit_checkpoint__init(out);
        out->seq = seq;
        out->checkpoint = kd_rpc_data(signed_octets);
        a->checkpoint_list[(*n)++] = out;
    }
    return kd_cur_end(&c);
}

static kd_err
unpack_read(struct kd_slice body, struct answer *a)
{
    struct kd_looked_audit m;
    size_t n_records, n_checkpoints;
    kd_err err = kd_looked_audit_get(body, &m);

    if (err != KD_OK || m.err != KD_OK)
        return err != KD_OK ? err : (kd_err)m.err;
    if ((err = take_records(m.records, a, &n_records)) != KD_OK ||
        (err = take_checkpoints(m.checkpoints, a, &n_checkpoints)) != KD_OK)
        return err;
    Keyd__V1__AuditReadResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_AUDIT_READ);
    out->n_records = n_records;
    out->records = a->record_list;
    out->n_checkpoints = n_checkpoints;
    out->checkpoints = a->checkpoint_list;
    out->next_seq = m.next;
    return KD_OK;
}

const struct op_rpc op_rpc_audit_read = {.op = KD_OP_AuditRead,
                                         .message = KD_MSG_look_audit,
                                         .pack = pack_read,
                                         .unpack = unpack_read};

static kd_err
pack_head(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    struct kd_look_head m = {.tag = tag};

    (void)r;
    (void)ask;
    kd_look_head_put(body, &m);
    return body->err;
}

static kd_err
unpack_head(struct kd_slice body, struct answer *a)
{
    struct kd_looked_head m;
    kd_err err = kd_looked_head_get(body, &m);

    if (err != KD_OK || m.err != KD_OK)
        return err != KD_OK ? err : (kd_err)m.err;
    Keyd__V1__AuditHeadResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_AUDIT_HEAD);
    out->epoch = m.epoch;
    out->seq = m.seq;
    out->time_ms = m.time;
    memcpy(a->fps[0], m.hash, sizeof m.hash);
    if (m.seq != 0)
        out->record_hash = kd_rpc_data(kd_slice(a->fps[0], sizeof m.hash));
    out->checkpoint = kd_rpc_data(m.checkpoint);
    out->first_seq = m.first;
    out->base_checkpoint = kd_rpc_data(m.base);
    return KD_OK;
}

const struct op_rpc op_rpc_audit_head = {.op = KD_OP_AuditHead,
                                         .message = KD_MSG_look_head,
                                         .pack = pack_head,
                                         .unpack = unpack_head};
