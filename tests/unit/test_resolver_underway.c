/* client/resolver/src/underway.h: of those who want the same name one is at it, the
 * others wait, but not beyond their deadlines; other names are nobody's hindrance. */
#include "../support/test.h"

#include <keyd/base/clock.h>
#include <underway.h>

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { THREADS = 12, NAMES = 3, ROUNDS = 200, LONG_MS = 30000 };

static struct underway u;

static void
nap_ms(int ms)
{
    const struct timespec t = {.tv_nsec = ms * 1000000L};

    assert_int_equal(nanosleep(&t, NULL), 0);
}

static int
begin(void **state)
{
    (void)state;
    assert_true(underway_init(&u));
    return 0;
}

static int
end(void **state)
{
    (void)state;
    assert_null(u.list);
    underway_clear(&u);
    return 0;
}

static const char *const names[NAMES] = {"a.example", "b.example", "c@a.example"};
static atomic_int inside[NAMES], entered[NAMES];
static atomic_int faults; /* cmocka's assertions are of its own thread alone */

static void *
work(void *arg)
{
    size_t first = (size_t)(uintptr_t)arg;

    for (size_t i = 0; i < ROUNDS; i++) {
        size_t k = (first + i) % NAMES;
        struct underway_name n;
        bool waited;
        if (!underway_begin(&u, &n, names[k], kd_clock_ms() + LONG_MS, &waited)) {
            faults++;
            continue;
        }
        faults += atomic_fetch_add(&inside[k], 1) != 0;
        entered[k]++;
        if (i % 16 == 0)
            nap_ms(1);
        atomic_fetch_sub(&inside[k], 1);
        underway_end(&u, &n);
    }
    return NULL;
}

static void
one_at_a_time_is_at_a_name(void **state)
{
    pthread_t threads[THREADS];
    int total = 0;

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i),
                         0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t k = 0; k < NAMES; k++)
        total += entered[k];
    assert_int_equal(faults, 0);
    assert_int_equal(total, THREADS * ROUNDS);
}

static void
who_waits_is_told_so_and_who_does_not_too(void **state)
{
    struct underway_name n, m;
    bool waited = true;

    (void)state;
    assert_true(underway_begin(&u, &n, names[0], kd_clock_ms() + LONG_MS, &waited));
    assert_false(waited);
    waited = true;
    assert_true(underway_begin(&u, &m, names[1], kd_clock_ms() + LONG_MS, &waited));
    assert_false(waited);
    underway_end(&u, &m);
    underway_end(&u, &n);
}

static void
a_deadline_ends_the_wait(void **state)
{
    struct underway_name n, m;
    bool waited = false;

    (void)state;
    assert_true(underway_begin(&u, &n, names[0], kd_clock_ms() + LONG_MS, &waited));
    int64_t before = kd_clock_ms();
    assert_false(underway_begin(&u, &m, names[0], before + 60, &waited));
    assert_true(waited);
    assert_true(kd_clock_ms() - before >= 60);
    assert_false(underway_begin(&u, &m, names[0], before - 1, &waited)); /* over */
    underway_end(&u, &n);
    /* Nobody is at it: then there is nothing to wait for. */
    assert_true(underway_begin(&u, &m, names[0], before - 1, &waited));
    underway_end(&u, &m);
}

static atomic_bool has_it;

static void *
wait_for_it(void *arg)
{
    struct underway_name n;
    bool waited = false;

    (void)arg;
    if (underway_begin(&u, &n, names[0], kd_clock_ms() + LONG_MS, &waited)) {
        has_it = waited;
        underway_end(&u, &n);
    }
    return NULL;
}

/* Whoever was at it may have found nothing: the next one takes over at once. */
static void
the_next_one_takes_over(void **state)
{
    struct underway_name n;
    pthread_t thread;
    bool waited;

    (void)state;
    assert_true(underway_begin(&u, &n, names[0], kd_clock_ms() + LONG_MS, &waited));
    assert_int_equal(pthread_create(&thread, NULL, wait_for_it, NULL), 0);
    nap_ms(50);
    assert_false(has_it);
    underway_end(&u, &n);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(has_it);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time_is_at_a_name),
        cmocka_unit_test(who_waits_is_told_so_and_who_does_not_too),
        cmocka_unit_test(a_deadline_ends_the_wait),
        cmocka_unit_test(the_next_one_takes_over),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
