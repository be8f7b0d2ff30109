#include "rpc_check.h"

kd_err
kd_rpc_fault(struct kd_rpc_fault *fault, kd_err err, enum kd_rpc_reason reason,
             const ProtobufCMessage *m, const char *field)
{
    fault->reason = reason;
    fault->message = m == NULL ? NULL : m->descriptor->short_name;
    fault->field = field;
    return err;
}

static enum kd_rpc_reason
check_uint(uint64_t v, const struct kd_rpc_limit *l)
{
    return v < l->lo || v > l->hi ? KD_RPC_FIELD_RANGE : KD_RPC_NO_REASON;
}

static enum kd_rpc_reason
check_enum(int v, const struct kd_rpc_limit *l, const ProtobufCEnumDescriptor *type)
{
    if (v == 0 && l->lo > 0)
        return KD_RPC_FIELD_MISSING;
    return protobuf_c_enum_descriptor_get_value(type, v) == NULL ? KD_RPC_FIELD_VALUE
                                                                 : KD_RPC_NO_REASON;
}

static enum kd_rpc_reason
check_bytes(const ProtobufCBinaryData *v, const struct kd_rpc_limit *l)
{
    if (v->len == 0)
        return l->kind == KD_RPC_OPT || l->lo == 0 ? KD_RPC_NO_REASON
                                                   : KD_RPC_FIELD_MISSING;
    if (v->data == NULL || v->len < l->lo || v->len > l->hi)
        return KD_RPC_FIELD_SIZE;
    return KD_RPC_NO_REASON;
}

/* One value that is not a message. */
static enum kd_rpc_reason
check_value(const void *at, const ProtobufCFieldDescriptor *f,
            const struct kd_rpc_limit *l)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT32:
        return check_uint(*(const uint32_t *)at, l);
    case PROTOBUF_C_TYPE_UINT64:
        return check_uint(*(const uint64_t *)at, l);
    case PROTOBUF_C_TYPE_BOOL:
        return KD_RPC_NO_REASON;
    case PROTOBUF_C_TYPE_ENUM:
        return check_enum(*(const int *)at, l, f->descriptor);
    case PROTOBUF_C_TYPE_BYTES:
        return check_bytes(at, l);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
    default:
        /* No rule for the type: a test keeps such fields out of keyd.proto. */
        return KD_RPC_FIELD_VALUE;
    }
}

static size_t
value_size(ProtobufCType type)
{
    switch ((int)type) {
    case PROTOBUF_C_TYPE_UINT32:
        return sizeof(uint32_t);
    case PROTOBUF_C_TYPE_UINT64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return sizeof(int);
    }
}

/* Where the values of a field are and how many of them count. */
struct values {
    const uint8_t *at;
    size_t n;
};

static struct values
values_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const uint8_t *base = (const uint8_t *)m;
    const uint8_t *at = base + f->offset;

    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return (struct values){
            *(const uint8_t *const *)(const void *)at,
            *(const size_t *)(const void *)(base + f->quantifier_offset)};
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
        *(const uint32_t *)(const void *)(base + f->quantifier_offset) != f->id)
        return (struct values){at, 0};
    return (struct values){at, 1};
}

/* Checks a field; sub-messages by calling back. The depth is that of the types, which
 * do not contain themselves (a test walks them), not that of the input. */
static kd_err
check_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
            const struct kd_rpc_limit *l, struct kd_rpc_fault *fault)
{
    struct values v = values_of(m, f);
    enum kd_rpc_reason why = KD_RPC_NO_REASON;
    kd_err err;

    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        if (v.n > l->count)
            return kd_rpc_fault(fault, KD_INVALID, KD_RPC_TOO_MANY, m, f->name);
        if (v.n != 0 && v.at == NULL)
            return kd_rpc_fault(fault, KD_INVALID, KD_RPC_FIELD_MISSING, m, f->name);
    }
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessage *const *sub = (const void *)v.at;
        for (size_t i = 0; i < v.n; i++) {
            if (sub[i] == NULL)
                return kd_rpc_fault(fault, KD_INVALID, KD_RPC_FIELD_MISSING, m,
                                    f->name);
            if ((err = kd_rpc_check_limits(sub[i], fault)) != KD_OK)
                return err;
        }
        return KD_OK;
    }
    size_t size = value_size(f->type);
    for (size_t i = 0; i < v.n && why == KD_RPC_NO_REASON; i++)
        why = check_value(v.at + i * size, f, l);
    if (why != KD_RPC_NO_REASON)
        return kd_rpc_fault(fault, KD_INVALID, why, m, f->name);
    return KD_OK;
}

kd_err
kd_rpc_check_limits(const ProtobufCMessage *m, struct kd_rpc_fault *fault)
{
    const ProtobufCMessageDescriptor *type = m->descriptor;
    const struct kd_rpc_limit *limits = kd_rpc_limits(type);
    kd_err err;

    if (limits == NULL)
        return kd_rpc_fault(fault, KD_INVALID, KD_RPC_FIELD_VALUE, m, NULL);
    if (m->n_unknown_fields != 0)
        return kd_rpc_fault(fault, KD_MALFORMED, KD_RPC_UNKNOWN_FIELD, m, NULL);
    for (unsigned i = 0; i < type->n_fields; i++)
        if ((err = check_field(m, &type->fields[i], &limits[i], fault)) != KD_OK)
            return err;
    return KD_OK;
}
