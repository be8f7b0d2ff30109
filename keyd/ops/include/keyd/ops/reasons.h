/* Why an operation was refused. */
#ifndef KEYD_OPS_REASONS_H
#define KEYD_OPS_REASONS_H

#include <stdint.h>

enum kd_reason {
#define KD_REASON(code, text) KD_REASON_##code,
#include <keyd/ops/reasons.def>
#undef KD_REASON
    KD_REASON_COUNT,
    KD_REASON_DIME = 256 /* plus enum dime_reason */
};

#endif
