/* PublicKeys, GenerateKey, RetireKey, ImportKey: the gate's halves. */
#include "rpc.h"

static kd_err
pack_list(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    struct kd_keys_job m = {.domain = kd_rpc_slice(r->public_keys->domain),
                            .after = kd_rpc_slice(r->public_keys->after_id)};

    (void)tag;
    (void)ask;
    kd_keys_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_list(struct kd_slice body, struct answer *a)
{
    struct kd_keys_done m;
    size_t n;
    kd_err err = kd_keys_done_get(body, &m);

    if (err != KD_OK || (err = rpc_keys(m.keys, a, &n)) != KD_OK)
        return err;
    Keyd__V1__PublicKeysResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_PUBLIC_KEYS);
    out->n_keys = n;
    out->keys = a->key_list;
    if (m.more != 0 && n > 0)
        out->next = a->keys[n - 1].id;
    return KD_OK;
}

const struct op_rpc op_rpc_public_keys = {
    .op = KD_OP_PublicKeys, .pack = pack_list, .unpack = unpack_list};

/* Names of tokens, as jobs have them. The buffer is the caller's. */
static kd_err
put_tokens(const ProtobufCBinaryData *tokens, size_t n, struct kd_buf *names,
           struct kd_slice *out)
{
    kd_buf_init(names, KD_JOB_TOKENS_MAX);
    for (size_t i = 0; i < n; i++)
        kd_list_put(names, kd_rpc_slice(tokens[i]));
    *out = kd_buf_slice(names);
    return names->err;
}

static kd_err
pack_generate(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
              struct ask *ask)
{
    const Keyd__V1__GenerateKeyRequest *in = r->generate_key;
    struct kd_generate_job m = {.domain = kd_rpc_slice(in->domain),
                                .role = (uint8_t)in->role,
                                .algorithm = (uint8_t)in->algorithm,
                                .permissions = (uint8_t)in->permissions,
                                .sealed = in->sealed != 0,
                                .bits = (uint16_t)in->bits};
    struct kd_buf names;
    kd_err err = put_tokens(in->tokens, in->n_tokens, &names, &m.tokens);

    (void)tag;
    (void)ask;
    kd_generate_job_put(body, &m);
    kd_buf_free(&names);
    return err != KD_OK ? err : body->err;
}

static kd_err
unpack_generate(struct kd_slice body, struct answer *a)
{
    return rpc_one_key(body, a, KEYD__V1__RESPONSE__RESULT_GENERATE_KEY);
}

const struct op_rpc op_rpc_generate_key = {
    .op = KD_OP_GenerateKey, .pack = pack_generate, .unpack = unpack_generate};

static kd_err
pack_retire(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    struct kd_retire_job m;

    (void)tag;
    (void)ask;
    memcpy(m.id, r->retire_key->id.data, sizeof m.id); /* its size is checked: 16 */
    kd_retire_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_retire(struct kd_slice body, struct answer *a)
{
    return rpc_one_key(body, a, KEYD__V1__RESPONSE__RESULT_RETIRE_KEY);
}

const struct op_rpc op_rpc_retire_key = {
    .op = KD_OP_RetireKey, .pack = pack_retire, .unpack = unpack_retire};

static kd_err
pack_import(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    const Keyd__V1__ImportKeyRequest *in = r->import_key;
    struct kd_import_job m = {.domain = kd_rpc_slice(in->domain),
                              .signing_role = (uint8_t)in->signing_role,
                              .encryption = in->encryption_key != 0,
                              .permissions = (uint8_t)in->permissions,
                              .sealed = in->sealed != 0};
    struct kd_buf names;
    kd_err err = put_tokens(in->tokens, in->n_tokens, &names, &m.tokens);

    (void)tag;
    (void)ask;
    kd_import_job_put(body, &m);
    kd_buf_free(&names);
    return err != KD_OK ? err : body->err;
}

static kd_err
unpack_import(struct kd_slice body, struct answer *a)
{
    struct kd_keys_done m;
    size_t n;
    kd_err err = kd_keys_done_get(body, &m);

    if (err != KD_OK || (err = rpc_keys(m.keys, a, &n)) != KD_OK)
        return err;
    Keyd__V1__ImportKeyResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_IMPORT_KEY);
    out->n_keys = n;
    out->keys = a->key_list;
    return KD_OK;
}

const struct op_rpc op_rpc_import_key = {
    .op = KD_OP_ImportKey, .pack = pack_import, .unpack = unpack_import};
