/* Threads beside the main one: all that is queued is done and announced, and long work
 * leaves a thread for what is short. */
#include "pool.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
/* cmocka.h wants setjmp.h and stdarg.h first */
#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

struct job {
    struct pool_item item; /* first */
    sem_t *wait;           /* the work is to wait for it; NULL: it ends at once */
    sem_t *began, *ended;  /* posted; may be NULL */
    int64_t queued_us, done_us;
    unsigned order; /* in which they began */
};

static atomic_uint n_begun;

static int64_t
now_us(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
wait_for(sem_t *s)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_REALTIME, &t), 0);
    t.tv_sec += PATIENCE_MS / 1000;
    while (sem_timedwait(s, &t) != 0)
        if (errno != EINTR)
            abort(); /* a thread hangs */
}

static void
work(struct pool_item *item)
{
    struct job *j = (struct job *)item;

    j->order = atomic_fetch_add(&n_begun, 1);
    if (j->began != NULL)
        kd_ignore(sem_post(j->began));
    if (j->wait != NULL)
        wait_for(j->wait);
    j->done_us = now_us();
    if (j->ended != NULL)
        kd_ignore(sem_post(j->ended));
}

/* A thread that is started stays: each test has a pool for the life of the process. */
static struct pool *
start(unsigned n)
{
    struct pool *p = calloc(1, sizeof *p);

    assert_non_null(p);
    assert_int_equal(pool_start(p, n), KD_OK);
    n_begun = 0;
    return p;
}

static void
put(struct pool *p, struct job *j, bool is_long)
{
    j->item.work = work;
    j->queued_us = now_us();
    if (is_long)
        pool_run_long(p, &j->item);
    else
        pool_run(p, &j->item);
}

/* Waits until n more are done. */
static void
take(struct pool *p, size_t n)
{
    while (n > 0) {
        struct pollfd fd = {.fd = p->event, .events = POLLIN};
        if (poll(&fd, 1, PATIENCE_MS) != 1)
            fail_msg("%zu are not announced", n);
        for (const struct pool_item *i = pool_take_done(p); i != NULL; i = i->next) {
            assert_true(n > 0);
            n--;
        }
    }
}

static void
new_sem(sem_t *s)
{
    assert_int_equal(sem_init(s, 0, 0), 0);
}

static void
all_that_is_queued_is_done_and_announced(void **state)
{
    enum { N = 5000 };
    struct pool *p = start(4);
    struct job *jobs = calloc(N, sizeof *jobs);

    (void)state;
    assert_non_null(jobs);
    for (size_t i = 0; i < N; i++)
        put(p, &jobs[i], i % 3 == 0);
    take(p, N);
    assert_int_equal(n_begun, N);
    assert_null(pool_take_done(p));
    free(jobs);
}

/* However many wait, and whatever the number of threads. */
static void
long_work_is_never_on_the_last_thread(void **state)
{
    static const unsigned sizes[] = {1, 2, 3, 16};
    enum { N = 40 };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct pool *p = start(sizes[i]);
        unsigned most = sizes[i] < 2 ? 1 : sizes[i] - 1;
        struct job jobs[N] = {0}, small = {0};
        sem_t gate, began;
        new_sem(&gate);
        new_sem(&began);
        for (size_t k = 0; k < N; k++) {
            jobs[k].wait = &gate;
            jobs[k].began = &began;
            put(p, &jobs[k], true);
        }
        for (unsigned k = 0; k < most; k++)
            wait_for(&began);
        /* Ten short ones go through meanwhile, and not one long one more begins. */
        for (unsigned k = 0; k < 10; k++) {
            put(p, &small, false);
            take(p, 1);
        }
        assert_int_equal(n_begun, most + 10);
        for (size_t k = 0; k < N; k++)
            assert_int_equal(sem_post(&gate), 0);
        take(p, N);
        assert_int_equal(n_begun, N + 10);
    }
}

/* Long work is not put off for ever by short work that keeps coming. */
static void
long_work_begins_in_its_turn(void **state)
{
    enum { N = 100 };
    struct pool *p = start(2);
    struct job hold[2] = {0}, small[N] = {0}, large = {0};
    sem_t gate, began;

    (void)state;
    new_sem(&gate);
    new_sem(&began);
    for (size_t i = 0; i < 2; i++) { /* both threads are busy */
        hold[i].wait = &gate;
        hold[i].began = &began;
        put(p, &hold[i], false);
    }
    wait_for(&began);
    wait_for(&began);
    for (size_t i = 0; i < N; i++) {
        if (i == N / 2)
            put(p, &large, true);
        put(p, &small[i], false);
    }
    assert_int_equal(sem_post(&gate), 0); /* of one of them: the order is its own */
    take(p, N + 2);
    assert_int_equal(large.order, 2 + N / 2);
    assert_int_equal(sem_post(&gate), 0);
    take(p, 1);
}

/* What was done before a thread takes on something long is announced first. */
static void
results_do_not_wait_for_long_work(void **state)
{
    struct pool *p = start(2);
    struct job hold[2] = {0}, small[2] = {0}, large = {0};
    sem_t gates[2], long_gate, began;

    (void)state;
    new_sem(&long_gate);
    new_sem(&began);
    for (size_t i = 0; i < 2; i++) { /* both threads are busy */
        new_sem(&gates[i]);
        hold[i].wait = &gates[i];
        hold[i].began = &began;
        put(p, &hold[i], false);
    }
    wait_for(&began);
    wait_for(&began);
    large.wait = &long_gate;
    large.began = &began;
    put(p, &small[0], false);
    put(p, &large, true);
    put(p, &small[1], false); /* still to do when the long one begins */
    assert_int_equal(sem_post(&gates[0]), 0);
    wait_for(&began);
    take(p, 2); /* what held the thread, and the first small one */
    assert_true(small[0].done_us != 0 && small[1].done_us == 0);
    assert_int_equal(sem_post(&gates[1]), 0);
    take(p, 2);
    assert_int_equal(sem_post(&long_gate), 0);
    take(p, 1);
}

static void
burn(struct pool_item *item)
{
    struct job *j = (struct job *)item;

    for (j->done_us = j->queued_us = now_us(); j->done_us - j->queued_us < 500000;)
        j->done_us = now_us();
}

static int
compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Half a second of work each, more than there are threads, and small ones beside them:
 * those take a small part of one of the long ones. */
static void
small_work_is_done_beside_long_work(void **state)
{
    enum { N = 200, LONG = 3, MS = 1000 };
    struct pool *p = start(2);
    struct job large[LONG] = {0}, small[N] = {0};
    int64_t took[N];
    sem_t ended;

    (void)state;
    new_sem(&ended);
    for (size_t i = 0; i < LONG; i++) {
        large[i].item.work = burn;
        pool_run_long(p, &large[i].item);
    }
    for (size_t i = 0; i < N; i++) {
        const struct timespec pause = {.tv_nsec = 2000000};
        small[i].ended = &ended;
        put(p, &small[i], false);
        wait_for(&ended);
        took[i] = small[i].done_us - small[i].queued_us;
        kd_ignore(nanosleep(&pause, NULL));
    }
    take(p, N + LONG);
    qsort(took, N, sizeof *took, compare);
    print_message("small beside long: p50 %lld us, p99 %lld us, most %lld us\n",
                  (long long)took[N / 2], (long long)took[N * 99 / 100],
                  (long long)took[N - 1]);
    assert_true(took[N * 99 / 100] < (int64_t)100 * MS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_queued_is_done_and_announced),
        cmocka_unit_test(long_work_is_never_on_the_last_thread),
        cmocka_unit_test(long_work_begins_in_its_turn),
        cmocka_unit_test(results_do_not_wait_for_long_work),
        cmocka_unit_test(small_work_is_done_beside_long_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
