#include "pool.h"

#include <keyd/base/clock.h>

#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    TOGETHER_MIN = 4,
    TOGETHER_MAX = 32,
    TOGETHER_SHARE = 8, /* of what is still to be done */
    QUIET_MS = 5,
    THREADS_MIN = 2, /* one may have long work */
    LEAST_ROOM = 2,  /* of a token that is not known by number */
};

static void
queue_add(struct pool_queue *q, struct pool_item *item)
{
    item->next = NULL;
    if (q->last == NULL)
        q->first = item;
    else
        q->last->next = item;
    q->last = item;
}

/* A default mutex of our own cannot fail to lock; if it does, memory is broken. */
static void
lock(struct pool *p)
{
    if (pthread_mutex_lock(&p->lock) != 0)
        abort();
}

static void
unlock(struct pool *p)
{
    if (pthread_mutex_unlock(&p->lock) != 0)
        abort();
}

static void
announce(struct pool *p)
{
    static const uint64_t one = 1;

    /* Only a counter at its maximum could refuse; then the main thread is awake. */
    kd_ignore(write(p->event, &one, sizeof one));
}

static void
announce_quiet(struct pool *p)
{
    if (p->n_quiet == 0)
        return;
    p->n_quiet = 0;
    announce(p);
}

/* --- what is next --- */

static bool
may_begin_waiting(const struct pool *p, const struct pool_item *item)
{
    bool is_mixed = (item->tokens & (item->tokens - 1)) != 0;

    for (unsigned i = 0; i < POOL_TOKENS_MAX; i++)
        if ((item->tokens >> i & 1) != 0 && p->n_waiting[i] + is_mixed >= p->room[i])
            return false;
    return true;
}

static bool
may_begin(const struct pool *p, const struct pool_queue *q,
          const struct pool_item *item)
{
    if (q == &p->todo_waiting)
        return may_begin_waiting(p, item);
    if (p->n_plain >= p->n_threads)
        return false;
    return q != &p->todo_long || p->n_long + 1 < p->n_threads;
}

/* The first of the queue that may begin, as the link to it; NULL. In the others than
 * that of what waits it is the first one or none. */
static struct pool_item **
find_in(struct pool *p, struct pool_queue *q)
{
    struct pool_item **at = &q->first;

    while (*at != NULL && !may_begin(p, q, *at)) {
        if (q != &p->todo_waiting)
            return NULL;
        at = &(*at)->next;
    }
    return *at == NULL ? NULL : at;
}

/* The oldest of all that may begin. */
static struct pool_item **
find_next(struct pool *p, struct pool_queue **from)
{
    struct pool_queue *queues[] = {&p->todo, &p->todo_long, &p->todo_waiting};
    struct pool_item **best = NULL;

    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
        struct pool_item **at = find_in(p, queues[i]);
        if (at != NULL && (best == NULL || (*at)->number < (*best)->number)) {
            best = at;
            *from = queues[i];
        }
    }
    return best;
}

static struct pool_item *
take_out(struct pool_queue *q, struct pool_item **at)
{
    struct pool_item *item = *at;

    *at = item->next;
    if (q->last == item) { /* then at is the link of the one before, or first */
        struct pool_item *before = NULL;
        for (struct pool_item *i = q->first; i != NULL; i = i->next)
            before = i;
        q->last = before;
    }
    return item;
}

/* A wake-up of the main thread takes a core from a crypto thread, and each of its turns
 * costs the ledger a commit: while there is more to do, results go together, more of
 * them the more there is to do, but none waits for long. The last of a burst is
 * announced at once. */
static bool
may_wait(const struct pool *p)
{
    size_t together = p->n_todo / TOGETHER_SHARE;

    if (together < TOGETHER_MIN)
        together = TOGETHER_MIN;
    if (together > TOGETHER_MAX)
        together = TOGETHER_MAX;
    return p->n_todo != 0 && p->n_quiet < together &&
           kd_clock_ns() - p->quiet_since < QUIET_MS * INT64_C(1000000);
}

static void
work(struct pool *p, struct pool_item *item)
{
    int64_t began = kd_clock_ns();

    unlock(p);
    item->work(item);
    lock(p);
    queue_add(&p->done, item);
    if (p->n_quiet++ == 0)
        p->quiet_since = began;
    if (!may_wait(p))
        announce_quiet(p);
}

static void
count_waiting(struct pool *p, const struct pool_item *item, bool begins)
{
    for (unsigned i = 0; i < POOL_TOKENS_MAX; i++)
        if ((item->tokens >> i & 1) != 0)
            p->n_waiting[i] += begins ? 1 : -1U;
}

/* The item is the main thread's as soon as it is done. */
static void
work_waiting(struct pool *p, struct pool_item *item)
{
    const struct pool_item was = *item;

    announce_quiet(p); /* what is done does not wait for a token */
    count_waiting(p, &was, true);
    work(p, item);
    count_waiting(p, &was, false);
}

static void
work_plain(struct pool *p, struct pool_item *item, bool is_long)
{
    if (is_long) {
        announce_quiet(p); /* nor for this */
        p->n_long++;
    } else {
        p->n_todo--;
    }
    p->n_plain++;
    work(p, item);
    p->n_plain--;
    p->n_long -= is_long;
}

static void
wake_another(struct pool *p)
{
    struct pool_queue *from;

    if (p->n_idle != 0 && find_next(p, &from) != NULL)
        kd_ignore(pthread_cond_signal(&p->wake)); /* cannot fail */
}

static void *
thread_main(void *arg)
{
    struct pool *p = arg;

    lock(p);
    for (;;) {
        struct pool_queue *from = NULL;
        struct pool_item **at = find_next(p, &from);
        if (at == NULL) {
            p->n_idle++;
            kd_ignore(pthread_cond_wait(&p->wake, &p->lock)); /* spurious is fine */
            p->n_idle--;
            continue;
        }
        struct pool_item *item = take_out(from, at);
        if (p->has_waiting)
            wake_another(p);
        if (from == &p->todo_waiting)
            work_waiting(p, item);
        else
            work_plain(p, item, from == &p->todo_long);
    }
    return NULL;
}

kd_err
pool_start_waiting(struct pool *p, unsigned n, const unsigned *sessions,
                   unsigned n_tokens)
{
    unsigned all = n < THREADS_MIN ? THREADS_MIN : n;

    *p = (struct pool){.n_threads = all,
                       .has_waiting = n_tokens != 0,
                       .event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    for (unsigned i = 0; i < POOL_TOKENS_MAX && n_tokens != 0; i++) {
        p->room[i] = LEAST_ROOM;
        if (i < n_tokens)
            all += p->room[i] = sessions[i] + 1;
    }
    if (p->event < 0 || pthread_mutex_init(&p->lock, NULL) != 0 ||
        pthread_cond_init(&p->wake, NULL) != 0)
        return KD_FAILED;
    for (unsigned i = 0; i < all; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, thread_main, p) != 0)
            return KD_NOMEM;
        kd_ignore(pthread_detach(thread)); /* it is joinable: just created */
    }
    return KD_OK;
}

kd_err
pool_start(struct pool *p, unsigned n)
{
    return pool_start_waiting(p, n, NULL, 0);
}

static void
put(struct pool *p, struct pool_queue *q, struct pool_item *item)
{
    lock(p);
    item->number = p->n_queued++;
    p->n_todo += q == &p->todo;
    queue_add(q, item);
    bool wake = p->n_idle > 0;
    unlock(p);
    if (wake)
        kd_ignore(pthread_cond_signal(&p->wake)); /* cannot fail */
}

void
pool_run(struct pool *p, struct pool_item *item)
{
    put(p, &p->todo, item);
}

void
pool_run_long(struct pool *p, struct pool_item *item)
{
    put(p, &p->todo_long, item);
}

/* Bits of tokens that are not there are of work that knows none. */
void
pool_run_waiting(struct pool *p, struct pool_item *item, unsigned tokens)
{
    item->tokens = 0;
    for (unsigned i = 0; i < POOL_TOKENS_MAX; i++)
        if (p->room[i] != 0)
            item->tokens |= tokens & 1U << i;
    put(p, item->tokens == 0 ? &p->todo_long : &p->todo_waiting, item);
}

struct pool_item *
pool_take_done(struct pool *p)
{
    uint64_t count;

    kd_ignore(read(p->event, &count, sizeof count)); /* EAGAIN: nothing new */
    lock(p);
    struct pool_item *first = p->done.first;
    p->done = (struct pool_queue){NULL, NULL};
    p->n_quiet = 0;
    unlock(p);
    return first;
}
