/* The delay of a reset (D-072), by clocks that the tests set. */
#include "../../keyd/vault/reset_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

enum { HOUR = 3600 * 1000, DELAY = 72 * HOUR };

/* A vault's life on a machine: what its clocks say. */
struct machine {
    uint64_t wall;
    int64_t boot;
    struct reset_clock clock;
    uint64_t kept; /* counted, as the ledger was told */
};

static struct machine
start(void)
{
    return (struct machine){.wall = 1800000000000, .boot = 5000, .clock = {0, 5000}};
}

static uint64_t
counted(const struct machine *m)
{
    return reset_clock_counted(&m->clock, m->boot);
}

static void
pass(struct machine *m, uint64_t ms)
{
    m->wall += ms;
    m->boot += (int64_t)ms;
}

static void
tell_ledger(struct machine *m)
{
    m->kept = counted(m);
}

/* The machine is off for some time; the vault counts from what the ledger kept. */
static void
reboot(struct machine *m, uint64_t off)
{
    m->wall += off;
    m->boot = 900;
    m->clock = (struct reset_clock){m->kept, m->boot};
}

static struct reset_times
ask(const struct machine *m)
{
    return (struct reset_times){m->wall, counted(m), DELAY};
}

static uint64_t
left(const struct machine *m, const struct reset_times *t)
{
    return reset_remaining(t, m->wall, counted(m));
}

static void
delay_passes_as_time_does(void **state)
{
    struct machine m = start();
    struct reset_times t = ask(&m);

    (void)state;
    assert_int_equal(left(&m, &t), DELAY);
    pass(&m, HOUR);
    assert_int_equal(left(&m, &t), DELAY - HOUR);
    pass(&m, DELAY - HOUR - 1);
    assert_int_equal(left(&m, &t), 1);
    pass(&m, 1);
    assert_int_equal(left(&m, &t), 0);
    pass(&m, 1000 * (uint64_t)HOUR);
    assert_int_equal(left(&m, &t), 0);
}

static void
clock_set_forward_does_not_shorten_it(void **state)
{
    struct machine m = start();
    struct reset_times t = ask(&m);

    (void)state;
    pass(&m, HOUR);
    m.wall += 10ULL * 365 * 24 * HOUR;
    assert_int_equal(left(&m, &t), DELAY - HOUR);
    pass(&m, DELAY - HOUR);
    assert_int_equal(left(&m, &t), 0);
}

static void
clock_set_back_lengthens_it_until_it_is_right_again(void **state)
{
    struct machine m = start();
    struct reset_times t = ask(&m);

    (void)state;
    pass(&m, 10 * HOUR);
    m.wall -= 5 * HOUR;
    assert_int_equal(left(&m, &t), DELAY - 5 * HOUR);
    m.wall -= 20 * HOUR; /* before it was asked for */
    assert_int_equal(left(&m, &t), DELAY + 15 * HOUR);
    m.wall += 25 * HOUR;
    assert_int_equal(left(&m, &t), DELAY - 10 * HOUR);
}

static void
reboot_does_not_start_it_anew(void **state)
{
    struct machine m = start();
    struct reset_times t = ask(&m);

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        pass(&m, 10 * HOUR);
        tell_ledger(&m);
        reboot(&m, HOUR);
    }
    /* 60 hours counted, 66 by the wall: the hours off do not count. */
    assert_int_equal(left(&m, &t), 12 * HOUR);
    pass(&m, 12 * HOUR);
    assert_int_equal(left(&m, &t), 0);
}

static void
crash_loses_what_the_ledger_was_not_told(void **state)
{
    struct machine m = start();
    struct reset_times t = ask(&m);

    (void)state;
    pass(&m, 10 * HOUR);
    tell_ledger(&m);
    pass(&m, 2 * 60 * 1000);
    reboot(&m, 0);
    assert_int_equal(left(&m, &t), DELAY - 10 * HOUR);
}

/* Asked for within the minutes that a crash then lost: what is counted lies before what
 * the reset remembers, and the delay is a little longer, not endless and not over. */
static void
count_that_went_back_behind_the_reset_lengthens_it_by_so_much(void **state)
{
    struct machine m = start();

    (void)state;
    pass(&m, HOUR);
    tell_ledger(&m);
    pass(&m, 60 * 1000);
    struct reset_times t = ask(&m);
    reboot(&m, 0);
    assert_int_equal(left(&m, &t), DELAY + 60 * 1000);
    pass(&m, DELAY + 60 * 1000);
    assert_int_equal(left(&m, &t), 0);
}

static void
impossible_numbers_are_no_way_round(void **state)
{
    const struct reset_times never = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    const struct reset_times long_ago = {0, 0, UINT64_MAX};
    const struct reset_clock full = {INT64_MAX, 0};
    const struct reset_clock back = {5, 1000};

    (void)state;
    assert_true(reset_remaining(&never, 0, 0) == UINT64_MAX);
    assert_true(reset_remaining(&long_ago, UINT64_MAX - 1, UINT64_MAX - 1) == 1);
    assert_true(reset_clock_counted(&full, INT64_MAX) == INT64_MAX);
    assert_true(reset_clock_counted(&back, 0) == 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delay_passes_as_time_does),
        cmocka_unit_test(clock_set_forward_does_not_shorten_it),
        cmocka_unit_test(clock_set_back_lengthens_it_until_it_is_right_again),
        cmocka_unit_test(reboot_does_not_start_it_anew),
        cmocka_unit_test(crash_loses_what_the_ledger_was_not_told),
        cmocka_unit_test(count_that_went_back_behind_the_reset_lengthens_it_by_so_much),
        cmocka_unit_test(impossible_numbers_are_no_way_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
