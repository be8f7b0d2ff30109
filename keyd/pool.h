/* Threads beside a role's main one: made before the sandbox, they run work that touches
 * only its own item (in the vault also the token, whose functions may be called from
 * any thread), and hand it back to the main thread, which alone owns all else. */
#ifndef KEYD_POOL_H
#define KEYD_POOL_H

#include <keyd/base/err.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { POOL_THREADS_MAX = 16, POOL_TOKENS_MAX = 4 };

struct pool_item {
    struct pool_item *next;
    void (*work)(struct pool_item *item);
    uint64_t number; /* the pool's: in which order they came */
    unsigned tokens; /* that it may wait for: a bit for each */
};

struct pool_queue {
    struct pool_item *first, *last;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct pool_queue todo, todo_long, todo_waiting, done;
    uint64_t n_queued;
    size_t n_todo;      /* in the first of them */
    unsigned n_threads; /* for work that only computes */
    unsigned n_plain;   /* of those, at work */
    unsigned n_long;    /* with long work */
    bool has_waiting;
    unsigned room[POOL_TOKENS_MAX], n_waiting[POOL_TOKENS_MAX];
    unsigned n_idle;
    unsigned n_quiet;    /* done and not announced yet */
    int64_t quiet_since; /* CLOCK_MONOTONIC, ns: when the first of them was begun */
    int event;           /* readable when something is done */
};

/* Starts n threads (1 to POOL_THREADS_MAX; two in place of one, see pool_run_long). The
 * pool lives as long as the process. */
kd_err pool_start(struct pool *p, unsigned n) KD_MUST_USE;

/* The same, and threads besides for work that waits for tokens: of each token as many
 * as it has sessions, and one. n_tokens at most POOL_TOKENS_MAX. */
kd_err pool_start_waiting(struct pool *p, unsigned n, const unsigned *sessions,
                          unsigned n_tokens) KD_MUST_USE;

/* Queues the item, which belongs to the pool until it is taken back. */
void pool_run(struct pool *p, struct pool_item *item);

/* The same for work that takes long. It is begun in its turn, but never on all threads
 * at once: one is always left for what is short, which may so overtake it. */
void pool_run_long(struct pool *p, struct pool_item *item);

/* The same for work that may wait for these tokens (a bit for each). It runs on threads
 * of its own, so that work that only computes never waits for a token, and of each
 * token's no more than it has room for, so that a token that hangs takes nothing from
 * the others: work that may wait for two leaves the last room of both to work for one.
 * Begun in turn, but for what has no room yet. */
void pool_run_waiting(struct pool *p, struct pool_item *item, unsigned tokens);

/* All that is done, in order of completion, as a list; NULL if nothing. */
struct pool_item *pool_take_done(struct pool *p);

#endif
