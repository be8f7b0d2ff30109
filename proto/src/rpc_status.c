#include <keyd/rpc/rpc_status.h>

#include <stddef.h>

static const struct kd_rpc_op ops[] = {
#define KD_RPC_OP(number, op_name, member, CASE, is_changing, in, out)                 \
    {number, #op_name, is_changing, KD_RPC_FD_##in, KD_RPC_FD_##out},
#include <keyd/rpc/rpc_ops.def>
#undef KD_RPC_OP
};

/* The numbers here, those of the fields and the rule of 100 are one. */
#define KD_RPC_OP(number, op_name, member, CASE, is_changing, in, out)                 \
    _Static_assert(KEYD__V1__REQUEST__OP_##CASE == (number) + 100 &&                   \
                       KEYD__V1__RESPONSE__RESULT_##CASE == (number) + 100,            \
                   "number of " #op_name);
#include <keyd/rpc/rpc_ops.def>
#undef KD_RPC_OP

const struct kd_rpc_op *
kd_rpc_op(unsigned oneof_case)
{
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (kd_rpc_case(ops[i].number) == oneof_case)
            return &ops[i];
    return NULL;
}

const char *
kd_rpc_reason_text(enum kd_rpc_reason reason)
{
    static const char *const texts[] = {
        "",
#define KD_RPC_REASON(code, text) text,
#include <keyd/rpc/rpc_reasons.def>
#undef KD_RPC_REASON
    };

    return (unsigned)reason < KD_RPC_REASON_COUNT ? texts[reason] : "";
}

static const struct {
    kd_err err;
    Keyd__V1__Status status;
} statuses[] = {
#define KD_RPC_STATUS(err, status) {err, KEYD__V1__STATUS__STATUS_##status},
#include <keyd/rpc/rpc_status.def>
#undef KD_RPC_STATUS
};

_Static_assert(sizeof statuses / sizeof statuses[0] == KD_ERR_COUNT,
               "an error has no line in rpc_status.def, or two");

Keyd__V1__Status
kd_rpc_status(kd_err err)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].err == err)
            return statuses[i].status;
    return KEYD__V1__STATUS__STATUS_FAILED;
}

kd_err
kd_rpc_status_err(Keyd__V1__Status status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].status == status)
            return statuses[i].err;
    return KD_FAILED;
}
