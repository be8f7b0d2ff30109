/* LookupSignet, LookupHistory, VerifyCurrent: straight from gate to ledger. */
#include "rpc.h"

#include <dime/identifier.h>

/* What policy is asked about. */
static struct kd_slice
domain_of(struct kd_slice name)
{
    if (!dime_identifier_is_address(name) && !dime_identifier_is_domain(name))
        return kd_slice(NULL, 0);
    return dime_identifier_domain(name);
}

static kd_err
pack_signet(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    const Keyd__V1__LookupSignetRequest *in = r->lookup_signet;
    struct kd_look_signet m = {.tag = tag,
                               .name = kd_rpc_slice(in->name),
                               .fingerprint = kd_rpc_slice(in->fingerprint)};

    ask->domain = domain_of(m.name);
    kd_look_signet_put(body, &m);
    return body->err;
}

static kd_err
unpack_signet(struct kd_slice body, struct answer *a)
{
    struct kd_looked_signet m;
    kd_err err = kd_looked_signet_get(body, &m);

    if (err != KD_OK || m.err != KD_OK)
        return err != KD_OK ? err : (kd_err)m.err;
    Keyd__V1__LookupSignetResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);
    if ((err = rpc_signet(a, m.signet, &out->signet, &out->signet_fd_size)) != KD_OK)
        return err;
    out->current = m.current != 0;
    memcpy(a->fps[0], m.core, sizeof m.core);
    memcpy(a->fps[1], m.full, sizeof m.full);
    if (m.is_user)
        out->core_fp = kd_rpc_data(kd_slice(a->fps[0], sizeof a->fps[0]));
    out->full_fp = kd_rpc_data(kd_slice(a->fps[1], sizeof a->fps[1]));
    out->generation = m.generation;
    out->seq = m.seq;
    return KD_OK;
}

const struct op_rpc op_rpc_lookup_signet = {.op = KD_OP_LookupSignet,
                                            .message = KD_MSG_look_signet,
                                            .pack = pack_signet,
                                            .unpack = unpack_signet};

static kd_err
pack_history(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
             struct ask *ask)
{
    const Keyd__V1__LookupHistoryRequest *in = r->lookup_history;
    struct kd_look_history m = {.tag = tag,
                                .address = kd_rpc_slice(in->address),
                                .start = kd_rpc_slice(in->start_fp),
                                .stop = kd_rpc_slice(in->stop_fp),
                                .page = kd_rpc_slice(in->page),
                                .most = in->limit};

    ask->domain = domain_of(m.address);
    kd_look_history_put(body, &m);
    /* A page token that is none of ours is the caller's mistake. */
    return body->err == KD_TOO_LARGE ? KD_INVALID : body->err;
}

static kd_err
unpack_history(struct kd_slice body, struct answer *a)
{
    struct kd_looked_history m;
    kd_err err = kd_looked_history_get(body, &m);
    size_t n = 0;

    if (err != KD_OK || m.err != KD_OK)
        return err != KD_OK ? err : (kd_err)m.err;
    struct kd_cur c = kd_cur(m.cores);
    for (; kd_cur_left(&c) != 0; n++) {
        if (n == ANSWER_ITEMS_MAX)
            return KD_MALFORMED;
        a->octets_list[n] = kd_rpc_data(kd_list_next(&c));
    }
    if ((err = kd_cur_end(&c)) != KD_OK)
        return err;
    Keyd__V1__LookupHistoryResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_LOOKUP_HISTORY);
    out->n_cores = n;
    out->cores = a->octets_list;
    out->next = kd_rpc_data(m.next);
    return KD_OK;
}

const struct op_rpc op_rpc_lookup_history = {.op = KD_OP_LookupHistory,
                                             .message = KD_MSG_look_history,
                                             .pack = pack_history,
                                             .unpack = unpack_history};

static kd_err
pack_verify(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    const Keyd__V1__VerifyCurrentRequest *in = r->verify_current;
    struct kd_look_verify m = {.tag = tag, .name = kd_rpc_slice(in->name)};

    ask->domain = domain_of(m.name);
    memcpy(m.fingerprint, in->fingerprint.data, sizeof m.fingerprint); /* checked: 64 */
    kd_look_verify_put(body, &m);
    return body->err;
}

static kd_err
unpack_verify(struct kd_slice body, struct answer *a)
{
    struct kd_looked_verify m;
    kd_err err = kd_looked_verify_get(body, &m);

    if (err != KD_OK || m.err != KD_OK)
        return err != KD_OK ? err : (kd_err)m.err;
    Keyd__V1__VerifyCurrentResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_VERIFY_CURRENT);
    out->verdict = (Keyd__V1__Verdict)m.verdict;
    memcpy(a->fps[0], m.fingerprint, sizeof m.fingerprint);
    out->current_fp = kd_rpc_data(kd_slice(a->fps[0], sizeof a->fps[0]));
    return KD_OK;
}

const struct op_rpc op_rpc_verify_current = {.op = KD_OP_VerifyCurrent,
                                             .message = KD_MSG_look_verify,
                                             .pack = pack_verify,
                                             .unpack = unpack_verify};
