/* The rate engine, with a clock of our own. */
#include <keyd/base/rate.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static const struct kd_rate rates[] = {{1, 1, 1},
                                       {3, 1, 1},
                                       {5, 1, 50},
                                       {7, 3600, 2},
                                       {60, 60, 10},
                                       {100, 1, 1},
                                       {500, 1, 1000},
                                       {2000, 1, 2000},
                                       {1000, 3600, 1},
                                       {30000, 60, 64},
                                       {123457, 1, 100000},
                                       {700001, 1, 3},
                                       {1000000, 1, 1000000}};
enum { RATES = sizeof rates / sizeof rates[0] };

/* Repeatable, and not of the library under test. */
static uint64_t
roll(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    return *x ^= *x << 17;
}

static unsigned
take_all(const struct kd_rate *r, kd_rate_state *s, int64_t now)
{
    unsigned n = 0;
    int64_t wait;

    while (n <= r->burst + 1 && kd_rate_take(r, s, now, &wait))
        n++;
    return n;
}

static void
a_burst_is_exact(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RATES; i++) {
        const struct kd_rate *r = &rates[i];
        kd_rate_state s = 0;
        int64_t now = 12345 * SECOND + 678;
        assert_int_equal(kd_rate_left(r, &s, now), r->burst);
        assert_int_equal(take_all(r, &s, now), r->burst);
        assert_int_equal(kd_rate_left(r, &s, now), 0);
        /* and again after the time that it takes to fill, not a second before */
        int64_t full = (int64_t)((double)r->burst * r->seconds / r->n * 1e9) + 2000;
        assert_int_equal(take_all(r, &s, now + full), r->burst);
        now += 2 * full + 400 * 24 * 3600 * SECOND;
        assert_int_equal(take_all(r, &s, now), r->burst);
    }
}

/* A million requests at random moments, forty times as many as may pass (with a burst
 * of one, what comes late is lost: the fewer ask, the more of it). */
static void
the_rate_is_within_five_percent_over_a_million_requests(void **state)
{
    uint64_t x = 88172645463325252;

    (void)state;
    for (unsigned i = 0; i < RATES; i++) {
        const struct kd_rate *r = &rates[i];
        double period = 1e9 * r->seconds / r->n;
        double now = 1e9;
        kd_rate_state s = 0;
        uint64_t passed = 0;
        int64_t wait;
        take_all(r, &s, (int64_t)now);
        for (unsigned k = 0; k < 1000000; k++) {
            now += period / 20 * (double)(roll(&x) % 1000) / 1000;
            passed += kd_rate_take(r, &s, (int64_t)now, &wait);
        }
        double want = (now - 1e9) / period;
        print_message("%7u/%us burst %7u: %.5f of the rate\n", r->n, r->seconds,
                      r->burst, (double)passed / want);
        assert_true((double)passed > 0.95 * want && (double)passed < 1.05 * want);
    }
}

/* In no span of time more than the burst and what the rate brings: the definition. */
static void
no_window_has_more_than_burst_and_rate(void **state)
{
    enum { N = 4000 };
    static double at[N];
    uint64_t x = 987654321;

    (void)state;
    for (unsigned i = 0; i < RATES; i++) {
        const struct kd_rate *r = &rates[i];
        double period = 1e9 * r->seconds / r->n, now = 5e9;
        kd_rate_state s = 0;
        unsigned n = 0;
        int64_t wait;
        if (r->burst > 100)
            continue;
        for (unsigned k = 0; k < 20 * N && n < N; k++) {
            /* some in a heap, some after a rest */
            now += roll(&x) % 10 == 0 ? period * (double)(roll(&x) % 40)
                                      : period * (double)(roll(&x) % 1000) / 5000;
            if (kd_rate_take(r, &s, (int64_t)now, &wait))
                at[n++] = (double)(int64_t)now;
        }
        for (unsigned a = 0; a < n; a++)
            for (unsigned b = a; b < n && b < a + 300; b++)
                assert_true(b - a + 1 <=
                            r->burst + (at[b] - at[a] + 2000) / period + 0.001);
    }
}

/* Taken as soon as one is there, for a hundred years: not one too many or too few. */
static void
nothing_drifts_in_a_hundred_years(void **state)
{
    static const struct kd_rate slow[] = {
        {7, 3600, 400}, {11, 3600, 3000}, {1, 3600, 2}, {3, 1, 30000}};
    const int64_t years = 100 * INT64_C(31556952);

    (void)state; /* the fast one for a month: as many events as the others in all */
    for (unsigned i = 0; i < 4; i++) {
        const struct kd_rate *r = &slow[i];
        kd_rate_state s = 0;
        int64_t wait, from = SECOND;
        uint64_t taken = take_all(r, &s, from);
        /* at moments a prime number of seconds apart, so few that each finds some */
        int64_t step = (int64_t)r->burst * r->seconds / r->n / 2 * SECOND + SECOND / 3;
        unsigned n = 0;
        int64_t now = from;
        for (; n < 3000000 && now < from + years * SECOND && taken < 10000000; n++) {
            now += step;
            while (kd_rate_take(r, &s, now, &wait))
                taken++;
        }
        unsigned __int128 brought = (unsigned __int128)(uint64_t)(now - from) * r->n /
                                    ((uint64_t)r->seconds * SECOND);
        uint64_t want = (uint64_t)brought + r->burst;
        assert_true(taken == want || taken + 1 == want);
    }
}

static void
what_it_says_to_wait_is_enough_and_hardly_more(void **state)
{
    uint64_t x = 4711;

    (void)state;
    for (unsigned i = 0; i < RATES; i++) {
        const struct kd_rate *r = &rates[i];
        double period = 1e9 * r->seconds / r->n;
        kd_rate_state s = 0;
        int64_t now = SECOND, wait = 0, other;
        take_all(r, &s, now);
        for (unsigned k = 0; k < 2000; k++) {
            now += (int64_t)(period * (double)(roll(&x) % 1000) / 1500);
            if (kd_rate_take(r, &s, now, &wait))
                continue;
            assert_false(kd_rate_has(r, &s, now, &other));
            assert_int_equal(wait, other);
            assert_true((double)wait <= period * 1.001 + 3000);
            int64_t before = wait - 3000 - (int64_t)(period / 2000);
            if (before > 0)
                assert_false(kd_rate_has(r, &s, now + before, &other));
            assert_true(kd_rate_has(r, &s, now + wait, &other));
        }
    }
}

static void
a_clock_that_stands_gives_the_burst_and_no_more(void **state)
{
    const struct kd_rate r = {1000, 1, 10};
    kd_rate_state s = 0;
    int64_t wait;

    (void)state;
    assert_int_equal(take_all(&r, &s, 0), 10);
    for (unsigned i = 0; i < 100000; i++)
        assert_false(kd_rate_take(&r, &s, 0, &wait));
    assert_true(wait >= SECOND / 1000 && wait < SECOND / 900);
}

static void
a_clock_that_jumps_ahead_gives_one_burst(void **state)
{
    static const int64_t to[] = {3600 * SECOND, INT64_MAX / 2, INT64_MAX - SECOND};
    const struct kd_rate r = {1000, 1, 10};
    kd_rate_state s = 0;

    (void)state;
    assert_int_equal(take_all(&r, &s, SECOND), 10);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(take_all(&r, &s, to[i]), 10);
}

/* Before the jump the bucket counts in the far future; that must not close it. */
static void
a_clock_that_jumps_back_finds_an_empty_bucket_that_fills(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RATES; i++) {
        const struct kd_rate *r = &rates[i];
        int64_t period = SECOND / r->n * r->seconds;
        kd_rate_state s = 0;
        int64_t wait = 0;
        take_all(r, &s, 1000000 * SECOND);
        bool got = kd_rate_take(r, &s, 500 * SECOND, &wait);
        assert_false(got);
        assert_true(wait <= period + period / 100 + 3000);
        assert_true(kd_rate_take(r, &s, 500 * SECOND + wait, &wait));
        int64_t full = period * r->burst + r->burst * 1000LL + SECOND;
        assert_int_equal(take_all(r, &s, 501 * SECOND + wait + full), r->burst);
    }
}

static void
a_small_step_back_gives_nothing_away(void **state)
{
    const struct kd_rate r = {100, 1, 5};
    kd_rate_state s = 0;
    int64_t wait;

    (void)state;
    assert_int_equal(take_all(&r, &s, 100 * SECOND), 5);
    for (unsigned i = 0; i < 50; i++)
        assert_false(kd_rate_take(&r, &s, 100 * SECOND - SECOND / 2, &wait));
    /* what was brought is what the clock brought in the whole */
    assert_int_equal(take_all(&r, &s, 100 * SECOND + SECOND / 50 + 1000), 2);
}

static void
any_state_is_at_worst_an_empty_bucket(void **state)
{
    uint64_t x = 3;

    (void)state;
    for (unsigned i = 0; i < RATES; i++)
        for (unsigned k = 0; k < 1000; k++) {
            const struct kd_rate *r = &rates[i];
            kd_rate_state s = roll(&x);
            int64_t wait, now = 1000 * SECOND;
            assert_true(kd_rate_left(r, &s, now) <= r->burst);
            if (!kd_rate_take(r, &s, now, &wait)) {
                assert_true(wait > 0);
                /* a second's worth of doubt (rate.h), and the event itself */
                double most = 1e9 * r->seconds / r->n * 2.01 + 1e9 + 5000;
                assert_true((double)wait <= most);
            }
        }
}

static void
what_is_given_back_can_be_taken_again(void **state)
{
    const struct kd_rate r = {1, 3600, 3};
    kd_rate_state s = 0;
    int64_t wait;

    (void)state;
    assert_int_equal(take_all(&r, &s, SECOND), 3);
    kd_rate_give(&s);
    assert_int_equal(kd_rate_left(&r, &s, SECOND), 1);
    assert_true(kd_rate_take(&r, &s, SECOND, &wait));
    assert_false(kd_rate_take(&r, &s, SECOND, &wait));
    s = 0;
    kd_rate_give(&s);
    assert_int_equal(take_all(&r, &s, SECOND), 3);
}

struct crowd {
    const struct kd_rate *r;
    kd_rate_state *s;
    unsigned n;
};

static void *
crowd_take(void *arg)
{
    struct crowd *c = arg;
    int64_t wait;

    for (unsigned i = 0; i < 200000; i++)
        c->n += kd_rate_take(c->r, c->s, SECOND, &wait);
    return NULL;
}

static void
who_takes_at_the_same_time_takes_no_more_together(void **state)
{
    const struct kd_rate r = {1, 1, 100000};
    kd_rate_state s = 0;
    struct crowd crowd[4];
    pthread_t thread[4];
    unsigned n = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        crowd[i] = (struct crowd){&r, &s, 0};
        assert_int_equal(pthread_create(&thread[i], NULL, crowd_take, &crowd[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        n += crowd[i].n;
    }
    assert_int_equal(n, 100000);
}

/* Taken together they are what they are one by one: all or none, and as long to wait.
 */
static void
many_at_once_are_as_many_one_by_one(void **state)
{
    uint64_t x = 99;

    (void)state;
    for (unsigned i = 0; i < RATES; i++) {
        const struct kd_rate *r = &rates[i];
        kd_rate_state together = 0, single = 0;
        int64_t now = 777 * SECOND, wait = 0, other;
        for (unsigned k = 0; k < 2000; k++) {
            now += (int64_t)(roll(&x) % (SECOND / 8));
            uint32_t most = r->burst < 500 ? r->burst : 500;
            uint32_t n = 1 + (uint32_t)(roll(&x) % most);
            uint32_t left = kd_rate_left(r, &single, now);
            bool taken = kd_rate_take_n(r, &together, n, now, &wait);
            assert_int_equal(taken, n <= left);
            for (uint32_t j = 0; taken && j < n; j++)
                assert_true(kd_rate_take(r, &single, now, &other));
            assert_true(together == single);
            if (taken)
                continue;
            kd_rate_state later = together;
            assert_true(kd_rate_take_n(r, &later, n, now + wait, &other));
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_exact),
        cmocka_unit_test(the_rate_is_within_five_percent_over_a_million_requests),
        cmocka_unit_test(no_window_has_more_than_burst_and_rate),
        cmocka_unit_test(nothing_drifts_in_a_hundred_years),
        cmocka_unit_test(what_it_says_to_wait_is_enough_and_hardly_more),
        cmocka_unit_test(a_clock_that_stands_gives_the_burst_and_no_more),
        cmocka_unit_test(a_clock_that_jumps_ahead_gives_one_burst),
        cmocka_unit_test(a_clock_that_jumps_back_finds_an_empty_bucket_that_fills),
        cmocka_unit_test(a_small_step_back_gives_nothing_away),
        cmocka_unit_test(any_state_is_at_worst_an_empty_bucket),
        cmocka_unit_test(what_is_given_back_can_be_taken_again),
        cmocka_unit_test(many_at_once_are_as_many_one_by_one),
        cmocka_unit_test(who_takes_at_the_same_time_takes_no_more_together),
    };

    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
