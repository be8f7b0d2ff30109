/* The two clocks that a reset's delay is counted on (D-072). Pure: who calls says what
 * the clocks say.
 *
 * The wall clock: as long as it is set back the delay lasts longer; set right again, it
 * lasts as long as it would have.
 *
 * What is counted: milliseconds of CLOCK_BOOTTIME while vaults of this registry run,
 * added up over their lives. A wall clock that is set forward does not make it more,
 * and a reboot not less. The ledger keeps it; a crash loses what it was not told yet.
 *
 * The delay has passed when it has on both. */
#ifndef KEYD_VAULT_RESET_CLOCK_H
#define KEYD_VAULT_RESET_CLOCK_H

#include <stdint.h>

struct reset_clock {
    uint64_t before; /* counted by vaults before this one */
    int64_t started; /* CLOCK_BOOTTIME, ms, when this one began to count */
};

static inline uint64_t
reset_clock_counted(const struct reset_clock *c, int64_t boot_now)
{
    uint64_t here = boot_now > c->started ? (uint64_t)(boot_now - c->started) : 0;

    return here > INT64_MAX - c->before ? INT64_MAX : c->before + here;
}

struct reset_times {
    uint64_t requested; /* wall clock, ms */
    uint64_t counted;   /* at the same moment */
    uint64_t delay;     /* ms */
};

/* What is left of a delay, of which so much began at start and the clock says now. */
static inline uint64_t
reset_left(uint64_t start, uint64_t delay, uint64_t now)
{
    if (now < start) /* set back by so much: that comes on top */
        return start - now > UINT64_MAX - delay ? UINT64_MAX : start - now + delay;
    return now - start >= delay ? 0 : delay - (now - start);
}

/* Milliseconds until the reset may be used, if both clocks go on; 0: now. */
static inline uint64_t
reset_remaining(const struct reset_times *t, uint64_t wall_now, uint64_t counted_now)
{
    uint64_t wall = reset_left(t->requested, t->delay, wall_now);
    uint64_t counted = reset_left(t->counted, t->delay, counted_now);

    return wall > counted ? wall : counted;
}

#endif
