#include <keyd/base/rate.h>

/* An event is so many parts: fine enough that the time of the next is told within
 * 1/4096 of what lies between two. */
enum { PARTS_BITS = 12 };
#define ONE (UINT64_C(1) << PARTS_BITS)
#define END_OF_TIME (UINT64_C(1) << 62)
#define US_A_SECOND UINT64_C(1000000)

static uint64_t
parts_a_period(const struct kd_rate *r)
{
    return (uint64_t)r->n << PARTS_BITS;
}

static uint64_t
period_us(const struct kd_rate *r)
{
    return r->seconds * US_A_SECOND;
}

/* The present, in parts. Both products fit: a rest of a period is less than 2^32 us,
 * and so is what a period brings. */
static uint64_t
present(const struct kd_rate *r, int64_t now)
{
    uint64_t us = now <= 0 ? 0 : (uint64_t)now / 1000;
    uint64_t parts = parts_a_period(r), period = period_us(r);
    uint64_t periods = us / period;

    if (periods >= END_OF_TIME / parts)
        return END_OF_TIME;
    return periods * parts + us % period * parts / period;
}

/* The time at which the bucket is full again, as far as it can be believed: what lies
 * further ahead than events can have brought it means that the clock went back. */
static uint64_t
full_at(const struct kd_rate *r, uint64_t state, uint64_t g)
{
    uint64_t most = g + ((uint64_t)r->burst << PARTS_BITS);
    uint64_t slack = parts_a_period(r) / r->seconds + ONE;

    if (state < g)
        return g;
    return state > most && state - most > slack ? most : state;
}

/* Parts that are missing for so many parts more; 0 if they are there. */
static uint64_t
missing(const struct kd_rate *r, uint64_t full, uint64_t g, uint64_t more)
{
    uint64_t ahead = full - g + more, burst = (uint64_t)r->burst << PARTS_BITS;

    return ahead <= burst ? 0 : ahead - burst;
}

/* A microsecond more than the parts take: the present is rounded down. */
static int64_t
time_of(const struct kd_rate *r, uint64_t parts)
{
    unsigned __int128 us = (unsigned __int128)parts * period_us(r);

    return (int64_t)(us / parts_a_period(r) + 1) * 1000;
}

bool
kd_rate_take(const struct kd_rate *r, kd_rate_state *state, int64_t now, int64_t *wait)
{
    return kd_rate_take_n(r, state, 1, now, wait);
}

bool
kd_rate_take_n(const struct kd_rate *r, kd_rate_state *state, uint32_t n, int64_t now,
               int64_t *wait)
{
    uint64_t g = present(r, now), more = n * ONE;
    uint64_t was = atomic_load_explicit(state, memory_order_relaxed);

    for (;;) {
        uint64_t full = full_at(r, was, g), lack = missing(r, full, g, more);
        if (lack == 0) {
            if (atomic_compare_exchange_weak_explicit(state, &was, full + more,
                                                      memory_order_relaxed,
                                                      memory_order_relaxed))
                return true;
            continue;
        }
        /* The clock went back: from here it counts. Who else writes now believes the
         * same. */
        if (full != was)
            atomic_compare_exchange_strong_explicit(
                state, &was, full, memory_order_relaxed, memory_order_relaxed);
        *wait = time_of(r, lack);
        return false;
    }
}

bool
kd_rate_has(const struct kd_rate *r, const kd_rate_state *state, int64_t now,
            int64_t *wait)
{
    uint64_t g = present(r, now);
    uint64_t lack = missing(
        r, full_at(r, atomic_load_explicit(state, memory_order_relaxed), g), g, ONE);

    if (lack == 0)
        return true;
    *wait = time_of(r, lack);
    return false;
}

void
kd_rate_give(kd_rate_state *state)
{
    uint64_t was = atomic_load_explicit(state, memory_order_relaxed);

    while (was >= ONE && !atomic_compare_exchange_weak_explicit(state, &was, was - ONE,
                                                                memory_order_relaxed,
                                                                memory_order_relaxed))
        ;
}

uint32_t
kd_rate_left(const struct kd_rate *r, const kd_rate_state *state, int64_t now)
{
    uint64_t g = present(r, now);
    uint64_t full = full_at(r, atomic_load_explicit(state, memory_order_relaxed), g);
    uint64_t used = (full - g + ONE - 1) >> PARTS_BITS;

    return used >= r->burst ? 0 : r->burst - (uint32_t)used;
}
