#include "rpc_check.h"

#include <assert.h>

static void *
arena_alloc(void *a, size_t n)
{
    return kd_arena_alloc(a, n);
}

static void
arena_keep(void *a, void *p)
{
    (void)a; /* all goes at once */
    (void)p;
}

static size_t
budget_for(size_t n)
{
    return n > (KD_RPC_ARENA_MAX - KD_RPC_ARENA_BASE) / 16 ? (size_t)KD_RPC_ARENA_MAX
                                                           : KD_RPC_ARENA_BASE + 16 * n;
}

/* Packing into this compares with the octets that were unpacked. */
struct compare {
    ProtobufCBuffer base;
    struct kd_slice left;
    bool differs;
};

static void
compare_append(ProtobufCBuffer *buffer, size_t n, const uint8_t *p)
{
    struct compare *c = (struct compare *)buffer;

    if (c->differs || n > c->left.n || (n != 0 && memcmp(p, c->left.p, n) != 0)) {
        c->differs = true;
        return;
    }
    if (n != 0)
        c->left = kd_slice(c->left.p + n, c->left.n - n);
}

/* A message of which packing gives back the very octets had no field twice, no member
 * of a oneof replaced by another, no long varint and no default spelled out, and its
 * fields came in order. So there is one encoding of a request, and its hash is the
 * request's. */
static bool
is_canonical(const ProtobufCMessage *m, struct kd_slice octets)
{
    struct compare c = {.base.append = compare_append, .left = octets};

    protobuf_c_message_pack_to_buffer(m, &c.base);
    return !c.differs && c.left.n == 0;
}

static kd_err
unpack(struct kd_arena *a, const ProtobufCMessageDescriptor *type,
       struct kd_slice octets, ProtobufCMessage **out, struct kd_rpc_fault *fault)
{
    ProtobufCAllocator allocator = {arena_alloc, arena_keep, a};

    *fault = (struct kd_rpc_fault){0};
    if (octets.n == 0 || octets.n > KD_FRAME_MAX)
        return kd_rpc_fault(fault, KD_MALFORMED, KD_RPC_MALFORMED, NULL, NULL);
    kd_arena_reset(a, budget_for(octets.n));
    ProtobufCMessage *m =
        protobuf_c_message_unpack(type, &allocator, octets.n, octets.p);
    if (m == NULL && a->over)
        return kd_rpc_fault(fault, KD_MALFORMED, KD_RPC_TOO_COMPLEX, NULL, NULL);
    if (m == NULL && a->no_memory)
        return kd_rpc_fault(fault, KD_NOMEM, KD_RPC_NO_REASON, NULL, NULL);
    if (m == NULL)
        return kd_rpc_fault(fault, KD_MALFORMED, KD_RPC_MALFORMED, NULL, NULL);
    if (!is_canonical(m, octets))
        return kd_rpc_fault(fault, KD_MALFORMED, KD_RPC_NOT_CANONICAL, NULL, NULL);
    *out = m;
    return KD_OK;
}

kd_err
kd_rpc_decode_request(struct kd_arena *a, struct kd_slice message, bool has_fd,
                      const Keyd__V1__Request **out, struct kd_rpc_fault *fault)
{
    ProtobufCMessage *m = NULL;
    kd_err err;

    if ((err = unpack(a, &keyd__v1__request__descriptor, message, &m, fault)) != KD_OK)
        return err;
    const Keyd__V1__Request *request = (const void *)m;
    if ((err = kd_rpc_check_request(request, has_fd, fault)) != KD_OK)
        return err;
    *out = request;
    return KD_OK;
}

kd_err
kd_rpc_decode_response(struct kd_arena *a, struct kd_slice message, bool has_fd,
                       const Keyd__V1__Response **out, struct kd_rpc_fault *fault)
{
    ProtobufCMessage *m = NULL;
    kd_err err;

    if ((err = unpack(a, &keyd__v1__response__descriptor, message, &m, fault)) != KD_OK)
        return err;
    const Keyd__V1__Response *response = (const void *)m;
    if ((err = kd_rpc_check_response(response, has_fd, fault)) != KD_OK)
        return err;
    *out = response;
    return KD_OK;
}

static kd_err
put(struct kd_frame_out *out, const ProtobufCMessage *m, int fd)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *at = NULL;
    kd_err err;

    if ((err = kd_frame_reserve(out, n, fd, &at)) != KD_OK)
        return err;
    size_t packed = protobuf_c_message_pack(m, at);
    assert(packed == n);
    (void)packed;
    return KD_OK;
}

kd_err
kd_rpc_put_request(struct kd_frame_out *out, const Keyd__V1__Request *m, int fd,
                   struct kd_rpc_fault *fault)
{
    kd_err err;

    if ((err = kd_rpc_check_request(m, fd >= 0, fault)) != KD_OK)
        return err;
    return put(out, &m->base, fd);
}

kd_err
kd_rpc_put_response(struct kd_frame_out *out, const Keyd__V1__Response *m, int fd,
                    struct kd_rpc_fault *fault)
{
    kd_err err;

    if ((err = kd_rpc_check_response(m, fd >= 0, fault)) != KD_OK)
        return err;
    return put(out, &m->base, fd);
}

kd_err
kd_rpc_encode(const ProtobufCMessage *m, struct kd_buf *out)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *at = kd_buf_add(out, n);

    if (at == NULL)
        return out->err;
    size_t packed = protobuf_c_message_pack(m, at);
    assert(packed == n);
    (void)packed;
    return KD_OK;
}

void
kd_rpc_refuse(Keyd__V1__Response *out, uint64_t id, kd_err err,
              enum kd_rpc_reason reason)
{
    assert(err != KD_OK);
    keyd__v1__response__init(out);
    out->id = id;
    out->status = kd_rpc_status(err);
    out->detail = kd_rpc_data(kd_slice_str(kd_rpc_reason_text(reason)));
}
