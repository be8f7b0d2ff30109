/* How much strangers may have opened: a meter of the domains that mail says it comes
 * from, asked before any key is used for it (T-SEC-9). What an origin says of itself is
 * only what the front-end was told; that a message of it was good is what counts.
 *
 * An origin that has passed has a bucket of its own, all others share one, so that made
 * up domains keep each other out and not those that are known. Cells lie in sets by a
 * hash under a random key, and the one that has not passed for longest gives way: who
 * brings many domains of his own must first get each through the strangers' bucket,
 * and pushes out those that are seldom heard of. Of the main thread; a function of
 * names and time. */
#ifndef KEYD_VAULT_ORIGINS_H
#define KEYD_VAULT_ORIGINS_H

#include <keyd/base/err.h>
#include <keyd/base/rate.h>
#include <keyd/base/slice.h>

enum {
    ORIGINS_SETS = 512,
    ORIGINS_WAYS = 8,
    ORIGINS_KEY_SIZE = 16,
    /* Units: a small message costs one. The bursts take the dearest message there is
     * (64 MiB, 8 keys, three signatures). */
    ORIGINS_BURST = 2048,
    ORIGINS_BURST_SECONDS = 5, /* or so many seconds of the rate, if that is more */
    ORIGINS_RATE_MAX = 100000,
};

/* Units a second, 1 to ORIGINS_RATE_MAX (keyd.conf(5): origin-rate, stranger-rate). */
struct origins_rates {
    uint32_t known;     /* of each origin that has passed */
    uint32_t strangers; /* of all others together */
};

struct origins {
    uint8_t key[ORIGINS_KEY_SIZE];
    struct origins_rates rates; /* of the states; zeros before the first question */
    kd_rate_state strangers;
    struct origins_cell {
        uint64_t hash; /* 0: free */
        kd_rate_state state;
        int64_t passed_at; /* CLOCK_MONOTONIC, ns */
    } cells[ORIGINS_SETS][ORIGINS_WAYS];
};

void origins_init(struct origins *o);

/* What a message of so many octets costs, if it is read up to so many times, each for a
 * signature to be verified. */
unsigned origins_cost(size_t readings, uint64_t octets);

/* KD_OK, and cost units are taken (never more than ORIGINS_BURST); or KD_BUSY, nothing
 * is taken, and *retry_ms is when they could be there. now: ns. */
kd_err origins_take(struct origins *o, const struct origins_rates *rates,
                    struct kd_slice origin, unsigned cost, int64_t now,
                    uint32_t *retry_ms) KD_MUST_USE;

/* A message of it was good. */
void origins_passed(struct origins *o, struct kd_slice origin, int64_t now);

#endif
