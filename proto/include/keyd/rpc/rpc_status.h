/* Status codes, reasons and the operations, as tables. */
#ifndef KEYD_RPC_RPC_STATUS_H
#define KEYD_RPC_RPC_STATUS_H

#include <keyd.pb-c.h>
#include <keyd/base/err.h>
#include <stdbool.h>

enum { KD_RPC_VERSION_MIN = 1, KD_RPC_VERSION_MAX = 1 };

enum kd_rpc_reason {
    KD_RPC_NO_REASON,
#define KD_RPC_REASON(code, text) code,
#include <keyd/rpc/rpc_reasons.def>
#undef KD_RPC_REASON
    KD_RPC_REASON_COUNT
};

enum kd_rpc_fd_rule { KD_RPC_FD_NO, KD_RPC_FD_MAY, KD_RPC_FD_MUST };

struct kd_rpc_op {
    unsigned number;
    const char *name; /* "IssueUserSignet" */
    bool changing;    /* needs an idempotency key; may end as UNKNOWN_OUTCOME */
    enum kd_rpc_fd_rule fd_in;
    enum kd_rpc_fd_rule fd_out;
};

/* By the case of either oneof (op_case, result_case); NULL if it is not set. */
const struct kd_rpc_op *kd_rpc_op(unsigned oneof_case);

/* The field of an operation's number in both oneofs. */
static inline unsigned
kd_rpc_case(unsigned op_number)
{
    return op_number + 100;
}

/* Static text; "" for KD_RPC_NO_REASON and for what is not in the list. */
const char *kd_rpc_reason_text(enum kd_rpc_reason reason);

Keyd__V1__Status kd_rpc_status(kd_err err);

/* KD_FAILED for a number that is no status. */
kd_err kd_rpc_status_err(Keyd__V1__Status status);

#endif
