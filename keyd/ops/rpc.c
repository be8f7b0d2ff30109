#include "rpc.h"

#include <dime/field.h>

#include <assert.h>
#include <sys/stat.h>

static const struct op_rpc *const all[] = {
    &op_rpc_issue_user,      &op_rpc_issue_org,
    &op_rpc_lookup_signet,   &op_rpc_lookup_history,
    &op_rpc_verify_current,  &op_rpc_status,
    &op_rpc_public_keys,     &op_rpc_generate_key,
    &op_rpc_retire_key,      &op_rpc_import_key,
    &op_rpc_token_init,      &op_rpc_add_unseal_slot,
    &op_rpc_unseal,          &op_rpc_seal,
    &op_rpc_audit_read,      &op_rpc_audit_head,
    &op_rpc_policy_explain,  &op_rpc_reload,
    &op_rpc_drain,           &op_rpc_freeze_address,
    &op_rpc_reset_address,   &op_rpc_stop_principal,
    &op_rpc_set_quorum,      &op_rpc_approval_list,
    &op_rpc_approval_show,   &op_rpc_approval_sign,
    &op_rpc_registry_backup, &op_rpc_registry_restore,
    &op_rpc_audit_drop,      &op_rpc_sign_outbound,
    &op_rpc_open_envelope,   &op_rpc_open_bounce,
    &op_rpc_make_bounce,     &op_rpc_seal_naked,
    &op_rpc_token_list,      &op_rpc_token_doctor,
    &op_rpc_token_adopt,     &op_rpc_attach_key,
    &op_rpc_sign_tls,
};

const struct op_rpc *
op_rpc_find(enum kd_op op)
{
    /* Pointers are what is counted. NOLINTNEXTLINE(bugprone-sizeof-expression) */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->op == op)
            return all[i];
    return NULL;
}

void *
rpc_result(struct answer *a, Keyd__V1__Response__ResultCase result)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
        &keyd__v1__response__descriptor, (unsigned)result);
    assert(field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE);
    const ProtobufCMessageDescriptor *type = field->descriptor;
    void *message = &a->u;

    assert(type->sizeof_message <= sizeof a->u);
    protobuf_c_message_init(type, message);
    a->r.result_case = result;
    /* Pointers to messages are all alike. */
    memcpy((uint8_t *)&a->r + field->offset, &message, sizeof message);
    return message;
}

kd_err
rpc_pack_nothing(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
                 struct ask *ask)
{
    (void)r;
    (void)tag;
    (void)ask;
    return body->err;
}

/* Lays out one field as its type says (P5, "Field ranges"). */
static kd_err
put_field(const Keyd__V1__ProfileField *f, struct kd_buf *out)
{
    enum { LAST_LEN1 = 159, LAST_LEN2 = 250, NAMED = 251, IMAGE = 252 };
    struct kd_slice name = kd_rpc_slice(f->name), value = kd_rpc_slice(f->value);

    if ((name.n != 0) != (f->type == NAMED) || name.n > UINT8_MAX ||
        value.n > UINT16_MAX || f->type < DIME_FIELD_INFO_FIRST || f->type > IMAGE ||
        (f->type <= LAST_LEN1 && value.n > UINT8_MAX))
        return KD_INVALID;
    kd_buf_u8(out, (uint8_t)f->type);
    if (f->type <= LAST_LEN1) {
        kd_buf_u8(out, (uint8_t)value.n);
    } else if (f->type <= LAST_LEN2) {
        kd_buf_u16(out, (uint16_t)value.n);
    } else if (f->type == NAMED) {
        kd_buf_u8(out, (uint8_t)name.n);
        kd_buf_put(out, name);
        kd_buf_u16(out, (uint16_t)value.n);
    } else {
        kd_buf_u24(out, (uint32_t)value.n);
    }
    kd_buf_put(out, value);
    return out->err;
}

kd_err
rpc_profile_put(enum kd_op op, Keyd__V1__ProfileField *const *fields, size_t n,
                struct kd_buf *out)
{
    kd_err err;

    (void)op;
    for (size_t i = 0; i < n; i++)
        if ((err = put_field(fields[i], out)) != KD_OK)
            return err;
    return KD_OK;
}

kd_err
rpc_signet(struct answer *a, struct kd_slice inl, ProtobufCBinaryData *octets,
           uint32_t *fd_size)
{
    struct stat st;

    if ((inl.n == 0) != (a->fd >= 0))
        return KD_MALFORMED;
    *octets = kd_rpc_data(inl);
    *fd_size = 0;
    if (a->fd < 0)
        return KD_OK;
    if (fstat(a->fd, &st) != 0 || st.st_size <= 0 || st.st_size > KD_RPC_OBJECT_MAX)
        return KD_MALFORMED;
    *fd_size = (uint32_t)st.st_size;
    return KD_OK;
}

static kd_err
put_list(struct kd_slice list, ProtobufCBinaryData *out, size_t *n)
{
    struct kd_cur c = kd_cur(list);

    for (*n = 0; kd_cur_left(&c) != 0; (*n)++) {
        if (*n == ANSWER_PLACES_MAX)
            return KD_MALFORMED;
        out[*n] = kd_rpc_data(kd_list_next(&c));
    }
    return kd_cur_end(&c);
}

/* Where a key is. */
static kd_err
put_places(const struct kd_key_line *line, ProtobufCBinaryData *names,
           ProtobufCBinaryData *objects, Keyd__V1__Key *k)
{
    kd_err err = put_list(line->tokens, names, &k->n_tokens);

    if (err == KD_OK)
        err = put_list(line->objects, objects, &k->n_objects);
    k->tokens = names;
    k->objects = objects;
    k->holding = (Keyd__V1__KeyHolding)line->holding;
    k->attested = line->attested;
    k->away = line->away != 0;
    return err;
}

kd_err
rpc_keys(struct kd_slice lines, struct answer *a, size_t *n)
{
    struct kd_cur c = kd_cur(lines);
    kd_err err;

    for (*n = 0; kd_cur_left(&c) != 0; (*n)++) {
        struct kd_key_line line;
        if (*n == ANSWER_KEYS_MAX)
            return KD_MALFORMED;
        if ((err = kd_key_line_get(kd_list_next(&c), &line)) != KD_OK)
            return err;
        Keyd__V1__Key *k = &a->keys[*n];
        keyd__v1__key__init(k);
        k->public_key = kd_rpc_data(line.public_key);
        k->domain = kd_rpc_data(line.domain);
        k->role = (Keyd__V1__KeyRole)line.role;
        k->algorithm = (Keyd__V1__KeyAlgorithm)line.algorithm;
        k->state = (Keyd__V1__KeyState)line.state;
        k->permissions = line.permissions;
        k->created_ms = line.created;
        k->id = kd_rpc_data(kd_slice(a->key_ids[*n], sizeof a->key_ids[*n]));
        memcpy(a->key_ids[*n], line.id, sizeof line.id);
        if ((err = put_places(&line, a->key_tokens[*n], a->key_objects[*n], k)) !=
            KD_OK)
            return err;
        a->key_list[*n] = k;
    }
    return kd_cur_end(&c);
}

kd_err
rpc_one_key(struct kd_slice body, struct answer *a,
            Keyd__V1__Response__ResultCase result)
{
    struct kd_keys_done m;
    size_t n;
    kd_err err = kd_keys_done_get(body, &m);

    if (err != KD_OK || (err = rpc_keys(m.keys, a, &n)) != KD_OK)
        return err;
    if (n != 1)
        return KD_MALFORMED;
    Keyd__V1__KeyResult *out = rpc_result(a, result);
    out->key = &a->keys[0];
    return KD_OK;
}
