#include <dime/reason.h>

#include <stddef.h>

static const struct {
    const char *name;
    kd_err err;
    const char *text;
} reasons[DIME_REASON_COUNT] = {
#define DIME_REASON(code, err, text) [code] = {#code, err, text},
#include <dime/reasons.def>
#undef DIME_REASON
};

enum { PREFIX = sizeof "DIME_" - 1 };

const char *
dime_reason_text(enum dime_reason why)
{
    return (size_t)why < DIME_REASON_COUNT ? reasons[why].text : "unknown reason";
}

const char *
dime_reason_name(enum dime_reason why)
{
    return (size_t)why < DIME_REASON_COUNT ? reasons[why].name + PREFIX : "UNKNOWN";
}

kd_err
dime_reason_err(enum dime_reason why)
{
    return (size_t)why < DIME_REASON_COUNT ? reasons[why].err : KD_FAILED;
}
