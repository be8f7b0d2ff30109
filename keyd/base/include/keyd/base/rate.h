/* A rate with a burst, by the generic cell rate algorithm (ITU-T I.371) with time
 * counted in the limit's own events: n events in so many seconds make time run at n
 * events in so many seconds. So the state needs one number, every event adds exactly
 * one, and the only rounding is that of the present, which does not add up.
 *
 * Pure: the caller brings the time and keeps the state, of which several processes may
 * share one. A state of zero is a full bucket; any other octets are at worst an empty
 * one. */
#ifndef KEYD_BASE_RATE_H
#define KEYD_BASE_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    KD_RATE_N_MAX = 1000000,
    KD_RATE_SECONDS_MAX = 3600,
    KD_RATE_BURST_MAX = 1000000
};

struct kd_rate {
    uint32_t n;       /* events: 1 to KD_RATE_N_MAX */
    uint32_t seconds; /* in which they may come: 1 to KD_RATE_SECONDS_MAX */
    uint32_t burst;   /* at once after a long rest: 1 to KD_RATE_BURST_MAX */
};

typedef _Atomic uint64_t kd_rate_state;

/* True, and one event is taken; or false, nothing is taken, and *wait is the time after
 * which one would be there if nobody else took it, in nanoseconds and rounded up. now:
 * nanoseconds of a clock that starts anywhere but goes forward; one that goes back by
 * more than a second finds an empty bucket, not a closed one. */
bool kd_rate_take(const struct kd_rate *r, kd_rate_state *state, int64_t now,
                  int64_t *wait);

/* The same for n events together, 1 to burst: all of them or none. */
bool kd_rate_take_n(const struct kd_rate *r, kd_rate_state *state, uint32_t n,
                    int64_t now, int64_t *wait);

/* The same answer as to one, and nothing is taken. */
bool kd_rate_has(const struct kd_rate *r, const kd_rate_state *state, int64_t now,
                 int64_t *wait);

/* Gives an event back that was taken and not used. */
void kd_rate_give(kd_rate_state *state);

/* Events that could be taken now, 0 to burst. */
uint32_t kd_rate_left(const struct kd_rate *r, const kd_rate_state *state, int64_t now);

#endif
