/* Names that some thread is resolving: another that asks for the same waits, and then
 * finds the answer in memory. */
#ifndef DIME_RESOLVER_UNDERWAY_H
#define DIME_RESOLVER_UNDERWAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* On the stack of the one who resolves it. */
struct underway_name {
    const char *name;
    struct underway_name *next;
};

struct underway {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct underway_name *list;
};

bool underway_init(struct underway *u);
void underway_clear(struct underway *u);

/* Waits while somebody else is at it, until the deadline (kd_clock_ms()) at most. True:
 * it is this thread's, until underway_end. *waited: somebody else was at it before. */
bool underway_begin(struct underway *u, struct underway_name *n, const char *name,
                    int64_t deadline, bool *waited);
void underway_end(struct underway *u, struct underway_name *n);

#endif
