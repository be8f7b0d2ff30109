/* TokenList, TokenDoctor, TokenAdopt, AttachKey: the gate's halves. */
#include "rpc.h"

#include <keyd/p11/finding.h>

/* --- what goes in --- */

static kd_err
pack_doctor(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    struct kd_token_job m = {.name = kd_rpc_slice(r->token_doctor->name)};

    (void)tag;
    (void)ask;
    kd_token_job_put(body, &m);
    return body->err;
}

static kd_err
pack_adopt(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
           struct ask *ask)
{
    struct kd_token_job m = {.name = kd_rpc_slice(r->token_adopt->name),
                             .serial = kd_rpc_slice(r->token_adopt->serial)};

    (void)tag;
    (void)ask;
    kd_token_job_put(body, &m);
    return body->err;
}

static kd_err
pack_attach(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    struct kd_attach_job m = {.token = kd_rpc_slice(r->attach_key->token)};

    (void)tag;
    (void)ask;
    memcpy(m.id, r->attach_key->id.data, sizeof m.id); /* its size is checked: 16 */
    kd_attach_job_put(body, &m);
    return body->err;
}

/* --- what comes out --- */

static kd_err
put_token(struct kd_slice line, Keyd__V1__Token *out)
{
    struct kd_token_line m;
    kd_err err = kd_token_line_get(line, &m);

    if (err != KD_OK)
        return err;
    if (m.name.n == 0 || m.state > KEYD__V1__TOKEN_STATE__TOKEN_STATE_IDLE ||
        m.finding >= P11_FINDINGS)
        return KD_MALFORMED;
    keyd__v1__token__init(out);
    out->name = kd_rpc_data(m.name);
    out->state = (Keyd__V1__TokenState)m.state; /* they count alike */
    out->state_ms = m.state_ms;
    out->finding =
        kd_rpc_data(kd_slice_str(p11_finding_word((enum p11_finding_code)m.finding)));
    out->module_error = m.rv;
    out->label = kd_rpc_data(m.label);
    out->serial = kd_rpc_data(m.serial);
    out->model = kd_rpc_data(m.model);
    out->manufacturer = kd_rpc_data(m.manufacturer);
    out->adopted = m.adopted != 0;
    out->adopted_serial = kd_rpc_data(m.adopted_serial);
    out->hosts = m.hosts;
    out->keys = m.keys;
    out->mechanisms = m.mechanisms;
    out->max_message = m.max_message;
    out->n_signed = m.n_signed;
    out->n_derived = m.n_derived;
    out->n_faults = m.n_faults;
    out->n_recycled = m.n_recycled;
    out->n_away = m.n_away;
    return KD_OK;
}

static kd_err
put_tokens(struct kd_slice body, struct answer *a, size_t *n)
{
    struct kd_tokens_done m;
    kd_err err = kd_tokens_done_get(body, &m);

    if (err != KD_OK)
        return err;
    struct kd_cur c = kd_cur(m.tokens);
    for (*n = 0; kd_cur_left(&c) != 0; (*n)++) {
        if (*n == ANSWER_TOKENS_MAX)
            return KD_MALFORMED;
        if ((err = put_token(kd_list_next(&c), &a->token[*n])) != KD_OK)
            return err;
        a->token_list[*n] = &a->token[*n];
    }
    return kd_cur_end(&c);
}

static kd_err
unpack_list(struct kd_slice body, struct answer *a)
{
    size_t n;
    kd_err err = put_tokens(body, a, &n);

    if (err != KD_OK)
        return err;
    Keyd__V1__TokenListResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_TOKEN_LIST);
    out->n_tokens = n;
    out->tokens = a->token_list;
    return KD_OK;
}

static kd_err
unpack_adopt(struct kd_slice body, struct answer *a)
{
    size_t n;
    kd_err err = put_tokens(body, a, &n);

    if (err != KD_OK)
        return err;
    if (n != 1)
        return KD_MALFORMED;
    Keyd__V1__TokenAdoptResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_TOKEN_ADOPT);
    out->token = &a->token[0];
    return KD_OK;
}

/* Hosts may be captured, and it is what they say. */
static bool
is_printable(struct kd_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return true;
}

static kd_err
unpack_doctor(struct kd_slice body, struct answer *a)
{
    struct kd_doctor_done m;
    size_t n = 0;
    kd_err err = kd_doctor_done_get(body, &m);

    if (err != KD_OK)
        return err;
    struct kd_cur c = kd_cur(m.findings);
    for (; kd_cur_left(&c) != 0; n++) {
        struct kd_finding_line line;
        if (n == KD_JOB_FINDINGS_MAX)
            return KD_MALFORMED;
        if ((err = kd_finding_line_get(kd_list_next(&c), &line)) != KD_OK)
            return err;
        if (line.token.n == 0 || line.finding == P11_FINE ||
            line.finding >= P11_FINDINGS || !is_printable(line.what))
            return KD_MALFORMED;
        const char *word = p11_finding_word((enum p11_finding_code)line.finding);
        Keyd__V1__TokenFinding *out = &a->finding[n];
        keyd__v1__token_finding__init(out);
        out->token = kd_rpc_data(line.token);
        out->finding = kd_rpc_data(kd_slice_str(word));
        out->what = kd_rpc_data(line.what);
        out->module_error = line.rv;
        a->finding_list[n] = out;
    }
    Keyd__V1__TokenDoctorResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_TOKEN_DOCTOR);
    out->n_findings = n;
    out->findings = a->finding_list;
    return kd_cur_end(&c);
}

static kd_err
unpack_attach(struct kd_slice body, struct answer *a)
{
    return rpc_one_key(body, a, KEYD__V1__RESPONSE__RESULT_ATTACH_KEY);
}

const struct op_rpc op_rpc_token_list = {
    .op = KD_OP_TokenList, .pack = rpc_pack_nothing, .unpack = unpack_list};
const struct op_rpc op_rpc_token_doctor = {
    .op = KD_OP_TokenDoctor, .pack = pack_doctor, .unpack = unpack_doctor};
const struct op_rpc op_rpc_token_adopt = {
    .op = KD_OP_TokenAdopt, .pack = pack_adopt, .unpack = unpack_adopt};
const struct op_rpc op_rpc_attach_key = {
    .op = KD_OP_AttachKey, .pack = pack_attach, .unpack = unpack_attach};
