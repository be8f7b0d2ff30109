/* Messages: protobuf with nothing left open. A message that decodes is exactly what
 * this implementation would have encoded (so no field twice, no unknown field, no long
 * varint, no explicit default), cost bounded memory, and is within every limit of
 * rpc_limits.def; the code of an operation checks none of that again. */
#ifndef KEYD_RPC_RPC_PB_H
#define KEYD_RPC_RPC_PB_H

#include <keyd/base/buf.h>
#include <keyd/rpc/rpc_arena.h>
#include <keyd/rpc/rpc_frame.h>
#include <keyd/rpc/rpc_status.h>

enum {
    /* Memory of one message: 16 times its octets and this, at most 1 MiB (F10: bare
     * protobuf-c takes 60 times and more). */
    KD_RPC_ARENA_BASE = 56 * 1024,
    KD_RPC_ARENA_MAX = 1024 * 1024,
    KD_RPC_INLINE_MAX = 48 * 1024, /* larger objects travel as a sealed memfd */
    /* A message for keyd, inline and as an object; and the signet that stands with a
     * message in either. */
    KD_RPC_MESSAGE_INLINE_MAX = 40 * 1024,
    KD_RPC_SIGNET_INLINE_MAX = 8 * 1024,
    KD_RPC_MESSAGE_MAX = 64 * 1024 * 1024,
    KD_RPC_SIGNET_MAX = 1024 * 1024,
    KD_RPC_OBJECT_MAX = KD_RPC_MESSAGE_MAX + KD_RPC_SIGNET_MAX,
};

/* Why a message was refused, for the answer and the log. */
struct kd_rpc_fault {
    enum kd_rpc_reason reason;
    uint64_t id;         /* the message's, 0 if it did not parse */
    const char *message; /* type and field, static; NULL if it is about neither */
    const char *field;
};

/* Decodes and checks. What the arena held is forgotten; *out lives in it. has_fd: a
 * descriptor came with the frame. fault is written on failure.
 *   KD_MALFORMED  does not parse or is not canonical: end the connection
 *   KD_INVALID    breaks a limit or rule: answer fault->id, or end the connection
 *                 where that is 0
 *   KD_NOMEM */
kd_err kd_rpc_decode_request(struct kd_arena *a, struct kd_slice message, bool has_fd,
                             const Keyd__V1__Request **out,
                             struct kd_rpc_fault *fault) KD_MUST_USE;
kd_err kd_rpc_decode_response(struct kd_arena *a, struct kd_slice message, bool has_fd,
                              const Keyd__V1__Response **out,
                              struct kd_rpc_fault *fault) KD_MUST_USE;

/* The checks alone, as for a message about to be sent: limits of every field, the rules
 * of rpc_ops.def about descriptor and key. KD_INVALID and *fault. */
kd_err kd_rpc_check_request(const Keyd__V1__Request *m, bool has_fd,
                            struct kd_rpc_fault *fault) KD_MUST_USE;
kd_err kd_rpc_check_response(const Keyd__V1__Response *m, bool has_fd,
                             struct kd_rpc_fault *fault) KD_MUST_USE;

/* Checks and appends a frame to the queue; fd (or -1) is taken on success.
 *   KD_INVALID                         breaks a limit, *fault says which
 *   KD_TOO_LARGE, KD_BUSY, KD_NOMEM    as kd_frame_reserve */
kd_err kd_rpc_put_request(struct kd_frame_out *out, const Keyd__V1__Request *m, int fd,
                          struct kd_rpc_fault *fault) KD_MUST_USE;
kd_err kd_rpc_put_response(struct kd_frame_out *out, const Keyd__V1__Response *m,
                           int fd, struct kd_rpc_fault *fault) KD_MUST_USE;

/* Appends the message alone, without a header and unchecked. */
kd_err kd_rpc_encode(const ProtobufCMessage *m, struct kd_buf *out) KD_MUST_USE;

/* A refusal: status of err, detail of the reason. Points to static text. */
void kd_rpc_refuse(Keyd__V1__Response *out, uint64_t id, kd_err err,
                   enum kd_rpc_reason reason);

/* Octets of a field, borrowed; and a field that borrows octets. */
static inline struct kd_slice
kd_rpc_slice(ProtobufCBinaryData field)
{
    return kd_slice(field.data, field.len);
}

static inline ProtobufCBinaryData
kd_rpc_data(struct kd_slice s)
{
    /* protobuf-c has no const here; packing only reads. */
    union {
        const uint8_t *given;
        uint8_t *taken;
    } p = {.given = s.p};

    return (ProtobufCBinaryData){.len = s.n, .data = p.taken};
}

/* ---- the limits as a table, for whoever walks messages generically (tests, manuals)
 */

enum kd_rpc_kind {
    KD_RPC_UINT,  /* lo..hi is the range of the value */
    KD_RPC_BYTES, /* lo..hi octets */
    KD_RPC_OPT,   /* empty or lo..hi octets */
    KD_RPC_BOOL,
    KD_RPC_ENUM, /* a number of the enum, at least lo */
    KD_RPC_SUB,  /* a message that must be there */
    KD_RPC_CASE, /* a member of the oneof */
};

struct kd_rpc_limit {
    const char *field;
    enum kd_rpc_kind kind;
    uint64_t lo, hi;
    size_t count; /* of a repeated field, the most elements; else 0 */
};

/* The limits of a message type, one per field in the descriptor's order; NULL for
 * a type that is not in the table. */
const struct kd_rpc_limit *kd_rpc_limits(const ProtobufCMessageDescriptor *type);

/* Types one by one, NULL past the end. */
const ProtobufCMessageDescriptor *kd_rpc_type(size_t at);

#endif
