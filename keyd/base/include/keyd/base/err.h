/* The one list of error codes, and the attribute that makes callers look. */
#ifndef KEYD_BASE_ERR_H
#define KEYD_BASE_ERR_H

typedef enum {
#define KD_ERROR(code, text) code,
#include <keyd/base/errors.def>
#undef KD_ERROR
    KD_ERR_COUNT
} kd_err;

#define KD_MUST_USE __attribute__((warn_unused_result))
#define KD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* A short lower-case text, never NULL; static storage. */
const char *kd_err_text(kd_err err);

/* Drops a result on purpose; the reason stands beside the call. (gcc does not
 * take a (void) cast on must-use results.) */
static inline void
kd_ignore_(long result)
{
    (void)result;
}
#define kd_ignore(x) kd_ignore_((long)(x))

#endif
