/* Reasons for refusing a signet, one list for parsing, verifying and issuing. */
#ifndef DIME_REASON_H
#define DIME_REASON_H

#include <keyd/base/err.h>

enum dime_reason {
#define DIME_REASON(code, err, text) code,
#include <dime/reasons.def>
#undef DIME_REASON
    DIME_REASON_COUNT
};

/* One sentence without a full stop, never NULL; static storage. */
const char *dime_reason_text(enum dime_reason why);

/* The code's own name without the prefix ("BAD_MAGIC"), never NULL. */
const char *dime_reason_name(enum dime_reason why);

/* What a caller does about it: KD_MALFORMED, KD_INVALID, KD_UNSUPPORTED ... */
kd_err dime_reason_err(enum dime_reason why) KD_MUST_USE;

#endif
