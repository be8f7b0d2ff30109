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
    Keyd__V1__PublicKeysResult *out = &a->u.public_keys;
    size_t n;
    kd_err err = kd_keys_done_get(body, &m);

    if (err != KD_OK || (err = rpc_keys(m.keys, a, &n)) != KD_OK)
        return err;
    keyd__v1__public_keys_result__init(out);
    out->n_keys = n;
    out->keys = a->key_list;
    if (m.more != 0 && n > 0)
        out->next = a->keys[n - 1].id;
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_PUBLIC_KEYS;
    a->r.public_keys = out;
    return KD_OK;
}

const struct op_rpc op_rpc_public_keys = {
    .op = KD_OP_PublicKeys, .pack = pack_list, .unpack = unpack_list};

/* One key in the answer. */
static kd_err
unpack_one(struct kd_slice body, struct answer *a)
{
    struct kd_keys_done m;
    size_t n;
    kd_err err = kd_keys_done_get(body, &m);

    if (err != KD_OK || (err = rpc_keys(m.keys, a, &n)) != KD_OK)
        return err;
    if (n != 1)
        return KD_MALFORMED;
    keyd__v1__key_result__init(&a->u.key);
    a->u.key.key = &a->keys[0];
    return KD_OK;
}

static kd_err
pack_generate(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
              struct ask *ask)
{
    const Keyd__V1__GenerateKeyRequest *in = r->generate_key;
    struct kd_generate_job m = {.domain = kd_rpc_slice(in->domain),
                                .role = (uint8_t)in->role,
                                .algorithm = (uint8_t)in->algorithm,
                                .permissions = (uint8_t)in->permissions};

    (void)tag;
    (void)ask;
    kd_generate_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_generate(struct kd_slice body, struct answer *a)
{
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_GENERATE_KEY;
    a->r.generate_key = &a->u.key;
    return unpack_one(body, a);
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
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_RETIRE_KEY;
    a->r.retire_key = &a->u.key;
    return unpack_one(body, a);
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
                              .permissions = (uint8_t)in->permissions};

    (void)tag;
    (void)ask;
    kd_import_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_import(struct kd_slice body, struct answer *a)
{
    struct kd_keys_done m;
    size_t n;
    kd_err err = kd_keys_done_get(body, &m);

    if (err != KD_OK || (err = rpc_keys(m.keys, a, &n)) != KD_OK)
        return err;
    keyd__v1__import_key_result__init(&a->u.import_key);
    a->u.import_key.n_keys = n;
    a->u.import_key.keys = a->key_list;
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_IMPORT_KEY;
    a->r.import_key = &a->u.import_key;
    return KD_OK;
}

const struct op_rpc op_rpc_import_key = {
    .op = KD_OP_ImportKey, .pack = pack_import, .unpack = unpack_import};
