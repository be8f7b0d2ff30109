/* The generic half of the checks: what rpc_limits.def says. */
#ifndef KEYD_RPC_CHECK_H
#define KEYD_RPC_CHECK_H

#include <keyd/rpc/rpc_pb.h>

/* Walks the message and all it contains. KD_MALFORMED for unknown fields, KD_INVALID
 * for a broken limit. */
kd_err kd_rpc_check_limits(const ProtobufCMessage *m,
                           struct kd_rpc_fault *fault) KD_MUST_USE;

/* Writes *fault but for its id, and returns err. */
kd_err kd_rpc_fault(struct kd_rpc_fault *fault, kd_err err, enum kd_rpc_reason reason,
                    const ProtobufCMessage *m, const char *field) KD_MUST_USE;

#endif
