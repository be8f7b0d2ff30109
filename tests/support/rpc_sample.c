#include "rpc_sample.h"

#include <stdio.h>
#include <stdlib.h>

unsigned
sample_case(size_t at)
{
    static const unsigned cases[] = {
#define KD_RPC_OP(number, op_name, member, CASE, changing, in, out)                    \
    KEYD__V1__REQUEST__OP_##CASE,
#include <keyd/rpc/rpc_ops.def>
#undef KD_RPC_OP
    };

    return at < sizeof cases / sizeof cases[0] ? cases[at] : 0;
}

bool
sample_request_has_fd(unsigned oneof_case)
{
    return kd_rpc_op(oneof_case)->fd_in == KD_RPC_FD_MUST;
}

static void *
take(struct kd_arena *a, size_t n)
{
    void *p = kd_arena_alloc(a, n);

    if (p == NULL) {
        fputs("sample: arena is used up\n", stderr);
        abort();
    }
    return memset(p, 0, n);
}

ProtobufCBinaryData
sample_octets(struct kd_arena *a, size_t n)
{
    ProtobufCBinaryData s = {.len = n, .data = n == 0 ? NULL : take(a, n)};

    for (size_t i = 0; i < n; i++)
        s.data[i] = (uint8_t)('a' + i % 26);
    return s;
}

static void
fill_value(struct kd_arena *a, void *at, const ProtobufCFieldDescriptor *f,
           const struct kd_rpc_limit *l)
{
    switch (l->kind) {
    case KD_RPC_UINT:
        if (f->type == PROTOBUF_C_TYPE_UINT64)
            *(uint64_t *)at = l->lo;
        else
            *(uint32_t *)at = (uint32_t)l->lo;
        break;
    case KD_RPC_ENUM:
        *(int *)at = (int)l->lo;
        break;
    case KD_RPC_BYTES:
        *(ProtobufCBinaryData *)at = sample_octets(a, (size_t)l->lo);
        break;
    case KD_RPC_SUB:
        *(ProtobufCMessage **)at = sample_message(a, f->descriptor, 1);
        break;
    case KD_RPC_OPT:
    case KD_RPC_BOOL:
    case KD_RPC_CASE:
        break;
    }
}

static void
fill_repeated(struct kd_arena *a, uint8_t *m, const ProtobufCFieldDescriptor *f,
              const struct kd_rpc_limit *l, size_t n)
{
    size_t size = f->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData)
                                                   : sizeof(ProtobufCMessage *);

    if (n > l->count)
        n = l->count;
    if (n == 0)
        return;
    uint8_t *values = take(a, n * size);
    for (size_t i = 0; i < n; i++)
        fill_value(a, values + i * size, f, l);
    *(size_t *)(void *)(m + f->quantifier_offset) = n;
    *(void **)(void *)(m + f->offset) = values;
}

ProtobufCMessage *
sample_message(struct kd_arena *a, const ProtobufCMessageDescriptor *type, size_t n)
{
    const struct kd_rpc_limit *limits = kd_rpc_limits(type);
    uint8_t *m = take(a, type->sizeof_message);

    protobuf_c_message_init(type, m);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            fill_repeated(a, m, f, &limits[i], n);
        else
            fill_value(a, m + f->offset, f, &limits[i]);
    }
    return (ProtobufCMessage *)(void *)m;
}

static const ProtobufCMessageDescriptor *
member_type(const ProtobufCMessageDescriptor *type, unsigned oneof_case)
{
    return protobuf_c_message_descriptor_get_field(type, oneof_case)->descriptor;
}

static void
put_inline(struct kd_arena *a, ProtobufCBinaryData *octets, uint32_t *size)
{
    if (octets->len == 0)
        *octets = sample_octets(a, 1);
    *size = 0;
}

static void
inbound_inline(struct kd_arena *a, Keyd__V1__Inbound *m)
{
    put_inline(a, &m->message, &m->message_object_size);
    put_inline(a, &m->origin_signet, &m->message_object_size);
}

void
sample_inline(struct kd_arena *a, Keyd__V1__Request *r, unsigned oneof_case)
{
    switch (oneof_case) {
    case KEYD__V1__REQUEST__OP_SIGN_OUTBOUND:
        put_inline(a, &r->sign_outbound->message,
                   &r->sign_outbound->message_object_size);
        break;
    case KEYD__V1__REQUEST__OP_OPEN_ENVELOPE:
        inbound_inline(a, r->open_envelope->inbound);
        break;
    case KEYD__V1__REQUEST__OP_OPEN_BOUNCE:
        inbound_inline(a, r->open_bounce->inbound);
        break;
    case KEYD__V1__REQUEST__OP_MAKE_BOUNCE:
        inbound_inline(a, r->make_bounce->inbound);
        break;
    case KEYD__V1__REQUEST__OP_SEAL_NAKED:
        put_inline(a, &r->seal_naked->message, &r->seal_naked->message_object_size);
        break;
    default:
        break;
    }
}

Keyd__V1__Request *
sample_request(struct kd_arena *a, unsigned oneof_case)
{
    const struct kd_rpc_op *op = kd_rpc_op(oneof_case);
    void *m = sample_message(a, &keyd__v1__request__descriptor, 1);
    Keyd__V1__Request *r = m;

    r->op_case = (Keyd__V1__Request__OpCase)oneof_case;
    r->hello =
        (void *)sample_message(a, member_type(r->base.descriptor, oneof_case), 1);
    r->takes_fd = sample_request_has_fd(oneof_case);
    if (op->changing)
        r->idempotency_key = sample_octets(a, 16);
    sample_inline(a, r, oneof_case);
    if (oneof_case == KEYD__V1__REQUEST__OP_IMPORT_KEY)
        r->import_key->encryption_key = true;
    return r;
}

Keyd__V1__Response *
sample_response(struct kd_arena *a, unsigned oneof_case)
{
    void *m = sample_message(a, &keyd__v1__response__descriptor, 1);
    Keyd__V1__Response *r = m;

    r->id = 1;
    r->result_case = (Keyd__V1__Response__ResultCase)oneof_case;
    r->hello =
        (void *)sample_message(a, member_type(r->base.descriptor, oneof_case), 1);
    if (oneof_case == KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET)
        r->lookup_signet->signet = sample_octets(a, 1);
    if (oneof_case == KEYD__V1__RESPONSE__RESULT_ISSUE_USER_SIGNET)
        r->issue_user_signet->signet = sample_octets(a, 1);
    if (oneof_case == KEYD__V1__RESPONSE__RESULT_ISSUE_ORG_SIGNET)
        r->issue_org_signet->signet = sample_octets(a, 1);
    if (oneof_case == KEYD__V1__RESPONSE__RESULT_MAKE_BOUNCE)
        r->make_bounce->bounce = sample_octets(a, 1);
    if (oneof_case == KEYD__V1__RESPONSE__RESULT_OPEN_ENVELOPE) {
        r->open_envelope->recipient = sample_octets(a, 3);
        r->open_envelope->recipient_fp = sample_octets(a, 64);
    }
    return r;
}
