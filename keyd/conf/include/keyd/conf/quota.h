/* How much a principal, or all principals together for a domain, may ask for: lines of
 * the lists `quotas` in keyd.conf,
 *
 *   line = operation | "*", rate [burst] [flight] | flight
 *   rate = N "/s" | N "/min" | N "/hour"     burst = "burst" N     flight = "in-flight"
 * N
 *
 * with single spaces between the words. Every line that matches counts: those of the
 * principal and of the domain, that of the operation and that of all. */
#ifndef KEYD_CONF_QUOTA_H
#define KEYD_CONF_QUOTA_H

#include <keyd/base/err.h>
#include <keyd/base/rate.h>
#include <keyd/base/slice.h>
#include <keyd/ops/ops.h>

enum {
    KD_QUOTA_IN_FLIGHT_MAX = 65535,
    KD_QUOTA_LINE_MAX = 96, /* octets of a line */
    KD_QUOTA_TEXT = 96      /* of what kd_quota_text writes, with the NUL */
};

struct kd_quota {
    uint8_t op;          /* KD_OP_NONE: each one */
    struct kd_rate rate; /* n 0: none */
    uint32_t in_flight;  /* 0: no limit */
    uint32_t line;       /* of keyd.conf; 0: not from there */
};

/* Without a burst it is what comes in a second, at least 1. KD_INVALID, and *why says
 * what is wrong. */
kd_err kd_quota_parse(struct kd_slice text, struct kd_quota *out,
                      const char **why) KD_MUST_USE;

/* As parse reads it, with the burst; returns out. */
const char *kd_quota_text(const struct kd_quota *q, char out[KD_QUOTA_TEXT]);

/* Every rule for the members, whoever made it. */
bool kd_quota_is_valid(const struct kd_quota *q);

#endif
