/* IssueUserSignet and IssueOrgSignet: the gate's halves. */
#include "rpc.h"

enum { PROFILE_MAX = 40960 };

static struct kd_slice
fp(struct answer *a, unsigned i, const uint8_t octets[64])
{
    memcpy(a->fps[i], octets, sizeof a->fps[i]);
    return kd_slice(a->fps[i], sizeof a->fps[i]);
}

static kd_err
unpack(struct kd_slice body, struct answer *a, Keyd__V1__Response__ResultCase result)
{
    struct kd_issue_done m;
    kd_err err = kd_issue_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__IssuedSignet *out = rpc_result(a, result);
    if ((err = rpc_signet(a, m.signet, &out->signet, &out->signet_fd_size)) != KD_OK)
        return err;
    out->replayed = m.replayed != 0;
    if (result == KEYD__V1__RESPONSE__RESULT_ISSUE_USER_SIGNET)
        out->core_fp = kd_rpc_data(fp(a, 0, m.core));
    out->full_fp = kd_rpc_data(fp(a, 1, m.full));
    out->id_fp = kd_rpc_data(fp(a, 2, m.id));
    out->generation = m.generation;
    out->seq = m.seq;
    return KD_OK;
}

static kd_err
pack_user(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    const Keyd__V1__IssueUserSignetRequest *in = r->issue_user_signet;
    struct kd_buf profile;
    struct kd_issue_job m = {.address = kd_rpc_slice(in->address),
                             .ssr = kd_rpc_slice(in->ssr),
                             .mode = (uint8_t)(in->account_mode - 1),
                             .with_image = in->image_fd != 0,
                             .ticket = kd_rpc_slice(in->ticket)};

    (void)tag;
    (void)ask;
    kd_buf_init(&profile, PROFILE_MAX);
    kd_err err =
        rpc_profile_put(KD_OP_IssueUserSignet, in->profile, in->n_profile, &profile);
    m.profile = kd_buf_slice(&profile);
    kd_issue_job_put(body, &m);
    kd_buf_free(&profile);
    return err == KD_OK ? body->err : err;
}

static kd_err
unpack_user(struct kd_slice body, struct answer *a)
{
    return unpack(body, a, KEYD__V1__RESPONSE__RESULT_ISSUE_USER_SIGNET);
}

const struct op_rpc op_rpc_issue_user = {
    .op = KD_OP_IssueUserSignet, .pack = pack_user, .unpack = unpack_user};

static kd_err
pack_org(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body, struct ask *ask)
{
    const Keyd__V1__IssueOrgSignetRequest *in = r->issue_org_signet;
    struct kd_buf profile, soks;
    struct kd_issue_org_job m = {.domain = kd_rpc_slice(in->domain),
                                 .with_image = in->image_fd != 0};

    (void)tag;
    (void)ask;
    kd_buf_init(&profile, PROFILE_MAX);
    kd_buf_init(&soks, sizeof m.pok * ANSWER_ITEMS_MAX);
    kd_err err =
        rpc_profile_put(KD_OP_IssueOrgSignet, in->profile, in->n_profile, &profile);
    for (size_t i = 0; i < in->n_sok_ids; i++)
        kd_buf_put(&soks, kd_rpc_slice(in->sok_ids[i]));
    m.profile = kd_buf_slice(&profile);
    m.soks = kd_buf_slice(&soks);
    memcpy(m.pok, in->pok_id.data, sizeof m.pok); /* its size is checked: 16 */
    memcpy(m.encryption, in->encryption_id.data, sizeof m.encryption);
    kd_issue_org_job_put(body, &m);
    if (err == KD_OK)
        err = soks.err == KD_OK ? body->err : soks.err;
    kd_buf_free(&profile);
    kd_buf_free(&soks);
    return err;
}

static kd_err
unpack_org(struct kd_slice body, struct answer *a)
{
    return unpack(body, a, KEYD__V1__RESPONSE__RESULT_ISSUE_ORG_SIGNET);
}

const struct op_rpc op_rpc_issue_org = {
    .op = KD_OP_IssueOrgSignet, .pack = pack_org, .unpack = unpack_org};
