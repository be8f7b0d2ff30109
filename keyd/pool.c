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

static struct pool_item *
queue_pop(struct pool_queue *q)
{
    struct pool_item *item = q->first;

    if (item != NULL && (q->first = item->next) == NULL)
        q->last = NULL;
    return item;
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

/* True if the next thing to do is the first of the long ones, and it may begin. */
static bool
long_is_next(const struct pool *p)
{
    const struct pool_item *item = p->todo_long.first;

    if (item == NULL || p->n_long + 1 >= p->n_threads)
        return false;
    return p->todo.first == NULL || item->number < p->todo.first->number;
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
work_long(struct pool *p, struct pool_item *item)
{
    announce_quiet(p); /* what is done does not wait for this */
    p->n_long++;
    work(p, item);
    p->n_long--;
}

static void *
thread_main(void *arg)
{
    struct pool *p = arg;

    lock(p);
    for (;;) {
        if (long_is_next(p)) {
            work_long(p, queue_pop(&p->todo_long));
        } else if (p->todo.first != NULL) {
            p->n_todo--;
            work(p, queue_pop(&p->todo));
        } else {
            p->n_idle++;
            kd_ignore(pthread_cond_wait(&p->wake, &p->lock)); /* spurious is fine */
            p->n_idle--;
        }
    }
    return NULL;
}

kd_err
pool_start(struct pool *p, unsigned n)
{
    if (n < THREADS_MIN)
        n = THREADS_MIN;
    *p = (struct pool){.n_threads = n, .event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (p->event < 0 || pthread_mutex_init(&p->lock, NULL) != 0 ||
        pthread_cond_init(&p->wake, NULL) != 0)
        return KD_FAILED;
    for (unsigned i = 0; i < n; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, thread_main, p) != 0)
            return KD_NOMEM;
        kd_ignore(pthread_detach(thread)); /* it is joinable: just created */
    }
    return KD_OK;
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
