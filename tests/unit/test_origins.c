/* The meter of strangers, with a clock of our own. */
#include "../support/test.h"

#include <origins.h>

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define START (1000 * SECOND)

static const struct origins_rates rates = {200, 50};
static struct origins meter;

static int
begin(void **state)
{
    (void)state;
    origins_init(&meter);
    return 0;
}

static struct kd_slice
domain(unsigned i)
{
    static char text[32];

    snprintf(text, sizeof text, "d%u.example", i);
    return kd_slice_str(text);
}

static unsigned
take_all(struct kd_slice origin, int64_t now, uint32_t *retry_ms)
{
    unsigned n = 0;

    while (n < 10 * ORIGINS_BURST &&
           origins_take(&meter, &rates, origin, 1, now, retry_ms) == KD_OK)
        n++;
    return n;
}

static void
strangers_share_one_bucket(void **state)
{
    uint32_t retry = 0;
    unsigned n = 0;

    (void)state;
    for (unsigned i = 0; i < 5000; i++)
        n += origins_take(&meter, &rates, domain(i), 1, START, &retry) == KD_OK;
    assert_int_equal(n, ORIGINS_BURST);
    assert_in_range(retry, 1, 1000 / rates.strangers + 1);
    /* nobody is told a time that is not enough */
    assert_int_equal(origins_take(&meter, &rates, domain(77), 1,
                                  START + retry * SECOND / 1000, &retry),
                     KD_OK);
    assert_in_range(take_all(domain(1), START + 2 * SECOND, &retry),
                    2 * rates.strangers - 2, 2 * rates.strangers);
}

static void
who_has_passed_is_not_kept_out_by_strangers(void **state)
{
    struct kd_slice good = kd_slice_str("good.example");
    uint32_t retry = 0;

    (void)state;
    origins_passed(&meter, good, START);
    take_all(kd_slice_str("made-up.example"), START, &retry);
    assert_int_equal(
        origins_take(&meter, &rates, kd_slice_str("other.example"), 1, START, &retry),
        KD_BUSY);
    assert_int_equal(take_all(good, START, &retry), ORIGINS_BURST);
    assert_in_range(take_all(good, START + SECOND, &retry), rates.known - 1,
                    rates.known);
    /* and its own flood is no other's */
    origins_passed(&meter, kd_slice_str("new.example"), START + SECOND);
    assert_int_equal(take_all(kd_slice_str("new.example"), START + SECOND, &retry),
                     ORIGINS_BURST);
    /* passing again fills nothing */
    origins_passed(&meter, good, START + SECOND);
    assert_int_equal(origins_take(&meter, &rates, good, 1, START + SECOND, &retry),
                     KD_BUSY);
}

static void
who_comes_often_stays_and_the_longest_silent_goes(void **state)
{
    struct kd_slice often = kd_slice_str("often.example");
    struct kd_slice silent = kd_slice_str("silent.example");
    int64_t now = START;
    uint32_t retry = 0;

    (void)state;
    origins_passed(&meter, silent, now);
    for (unsigned i = 0; i < 20 * ORIGINS_SETS * ORIGINS_WAYS; i++) {
        now += 1000;
        origins_passed(&meter, domain(i), now);
        if (i % 64 == 0)
            origins_passed(&meter, often, now);
    }
    take_all(kd_slice_str("stranger.example"), now, &retry);
    assert_int_equal(origins_take(&meter, &rates, often, 1, now, &retry), KD_OK);
    assert_int_equal(origins_take(&meter, &rates, silent, 1, now, &retry), KD_BUSY);
}

static void
every_cell_is_used(void **state)
{
    int64_t now = START;
    uint32_t retry = 0;
    unsigned n = 0;

    (void)state;
    for (unsigned i = 0; i < 20 * ORIGINS_SETS * ORIGINS_WAYS; i++)
        origins_passed(&meter, domain(i), now += 1000);
    for (size_t i = 0; i < ORIGINS_SETS; i++)
        for (size_t k = 0; k < ORIGINS_WAYS; k++)
            n += meter.cells[i][k].hash != 0;
    assert_int_equal(n, ORIGINS_SETS * ORIGINS_WAYS);
    take_all(kd_slice_str("stranger.example"), now, &retry);
    n = 0;
    for (unsigned i = 0; i < 20 * ORIGINS_SETS * ORIGINS_WAYS; i++)
        n += origins_take(&meter, &rates, domain(i), 1, now, &retry) == KD_OK;
    assert_int_equal(n, ORIGINS_SETS * ORIGINS_WAYS);
}

/* Another process's cells lie elsewhere: nobody can choose names that meet. */
static void
places_follow_from_a_key(void **state)
{
    static struct origins other;
    unsigned same = 0;

    (void)state;
    origins_init(&other);
    for (unsigned i = 0; i < 64; i++) {
        origins_passed(&meter, domain(i), START);
        origins_passed(&other, domain(i), START);
    }
    for (size_t i = 0; i < ORIGINS_SETS; i++)
        same += meter.cells[i][0].hash != 0 &&
                meter.cells[i][0].hash == other.cells[i][0].hash;
    assert_int_equal(same, 0);
}

static void
cost_grows_with_octets_and_keys_and_ends(void **state)
{
    const uint64_t mib = 1024 * 1024;
    uint32_t retry = 0;

    (void)state;
    assert_int_equal(origins_cost(1, 4096), 1);
    assert_int_equal(origins_cost(6, 4096), 1); /* three signatures, two keys */
    /* trying many keys is work, however small the message */
    assert_int_equal(origins_cost(3 * 65, 4096), 20);
    assert_int_equal(origins_cost(65, mib), 72);
    assert_int_equal(origins_cost(64, mib / 2), 39);
    assert_int_equal(origins_cost(1, 64 * mib), 65);
    assert_int_equal(origins_cost(3 * 8, 64 * mib), 1539);
    assert_int_equal(origins_cost(65, 64 * mib), ORIGINS_BURST);
    assert_int_equal(origins_cost(SIZE_MAX, UINT64_MAX), ORIGINS_BURST);
    assert_int_equal(origins_cost(1, UINT64_MAX), ORIGINS_BURST);
    assert_int_equal(origins_cost(SIZE_MAX, 1), ORIGINS_BURST);
    assert_int_equal(origins_cost(0, 64 * mib), 1);
    assert_true(origins_cost(3 * 8, 64 * mib) < ORIGINS_BURST);
    /* all or nothing: what is too dear takes nothing, what is left is still had */
    struct kd_slice one = kd_slice_str("one.example");
    assert_int_equal(origins_take(&meter, &rates, one, 2000, START, &retry), KD_OK);
    assert_int_equal(origins_take(&meter, &rates, one, 49, START, &retry), KD_BUSY);
    assert_int_equal(origins_take(&meter, &rates, one, 48, START, &retry), KD_OK);
    assert_int_equal(origins_take(&meter, &rates, one, UINT32_MAX, START, &retry),
                     KD_BUSY);
    assert_in_range(retry, 40000, 41000); /* the whole burst: it will be there */
    assert_int_equal(origins_take(&meter, &rates, one, UINT32_MAX,
                                  START + retry * SECOND / 1000, &retry),
                     KD_OK);
}

static void
rates_are_those_that_are_set(void **state)
{
    const struct origins_rates quick = {5000, ORIGINS_RATE_MAX};
    struct kd_slice known = kd_slice_str("known.example");
    uint32_t retry = 0;
    unsigned n = 0;

    (void)state;
    origins_passed(&meter, known, START);
    for (; origins_take(&meter, &quick, known, 1, START, &retry) == KD_OK; n++)
        assert_true(n < 10 * 5000);
    assert_int_equal(n, ORIGINS_BURST_SECONDS * 5000);
    assert_in_range(retry, 1, 2);
    /* all of them together */
    for (n = 0; origins_take(&meter, &quick, domain(n), 1, START, &retry) == KD_OK; n++)
        assert_true(n < 10 * ORIGINS_RATE_MAX);
    assert_int_equal(n, ORIGINS_BURST_SECONDS * ORIGINS_RATE_MAX);
    assert_true(retry != 0);
}

static unsigned
take_under(const struct origins_rates *r, struct kd_slice origin, int64_t now)
{
    uint32_t retry;
    unsigned n = 0;

    while (n < 10 * ORIGINS_RATE_MAX &&
           origins_take(&meter, r, origin, 1, now, &retry) == KD_OK)
        n++;
    return n;
}

/* As a reload sets them: who was silent has all that he may have under the new ones,
 * who was not, no more than he had left. */
static void
other_rates_empty_and_fill_no_bucket(void **state)
{
    const struct origins_rates slow = {1, 1}, quick = {5000, 50};
    struct kd_slice silent = kd_slice_str("silent.example");
    struct kd_slice busy = kd_slice_str("busy.example");
    uint32_t retry;

    (void)state;
    origins_passed(&meter, silent, START);
    origins_passed(&meter, busy, START);
    assert_int_equal(take_under(&rates, busy, START), ORIGINS_BURST);
    assert_int_equal(origins_take(&meter, &rates, silent, 48, START, &retry), KD_OK);
    assert_int_equal(take_under(&slow, busy, START), 0);
    assert_int_equal(take_under(&slow, silent, START), ORIGINS_BURST - 48);
    assert_in_range(take_under(&slow, busy, START + 5 * SECOND), 4, 5);
    /* no more is lacking than was */
    assert_in_range(take_under(&quick, busy, START + 5 * SECOND),
                    5 * 5000 - ORIGINS_BURST - 1, 5 * 5000 - ORIGINS_BURST);
    assert_in_range(take_under(&slow, kd_slice_str("a stranger"), START + 5 * SECOND),
                    ORIGINS_BURST, ORIGINS_BURST);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(strangers_share_one_bucket, begin),
        cmocka_unit_test_setup(who_has_passed_is_not_kept_out_by_strangers, begin),
        cmocka_unit_test_setup(who_comes_often_stays_and_the_longest_silent_goes,
                               begin),
        cmocka_unit_test_setup(every_cell_is_used, begin),
        cmocka_unit_test_setup(rates_are_those_that_are_set, begin),
        cmocka_unit_test_setup(other_rates_empty_and_fill_no_bucket, begin),
        cmocka_unit_test_setup(places_follow_from_a_key, begin),
        cmocka_unit_test_setup(cost_grows_with_octets_and_keys_and_ends, begin),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
