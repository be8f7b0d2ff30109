/* When a token counts as away and when as back, with a clock of our own. */
#include "../../pkcs11/pool/breaker.h"
#include "../support/test.h"

static struct breaker b;
static int64_t now;

static void
start(void)
{
    now = 1000;
    breaker_init(&b, now);
    assert_int_equal(b.state, P11_IDLE);
    assert_true(breaker_see(&b, SEEN_SOMETHING_TO_HOLD, now));
    assert_int_equal(b.state, P11_STARTING);
}

static void
close_it(void)
{
    start();
    assert_true(breaker_see(&b, SEEN_UP, now));
    assert_int_equal(b.state, P11_CLOSED);
}

static void
open_it(void)
{
    close_it();
    breaker_see(&b, SEEN_BAD, now);
    breaker_see(&b, SEEN_BAD, now);
    assert_int_equal(b.state, P11_OPEN);
}

static void
nothing_is_asked_before_there_is_something_to_hold(void **state)
{
    (void)state;
    breaker_init(&b, 1);
    assert_int_equal(breaker_allows(&b), KD_SEALED);
    assert_false(breaker_wants_hosts(&b));
    for (int i = SEEN_UP; i <= SEEN_DRAINED; i++)
        assert_false(breaker_see(&b, (enum breaker_seen)i, 2));
    assert_true(breaker_see(&b, SEEN_NOT_ADOPTED, 3));
    assert_int_equal(b.state, P11_NEW);
    assert_int_equal(breaker_allows(&b), KD_UNAVAILABLE);
    for (int i = SEEN_UP; i <= SEEN_DRAINED; i++)
        assert_false(breaker_see(&b, (enum breaker_seen)i, 4));
}

static void
operations_wait_while_it_starts_and_go_on_when_it_is_up(void **state)
{
    (void)state;
    start();
    assert_int_equal(breaker_allows(&b), KD_OK);
    assert_true(breaker_wants_hosts(&b));
    breaker_see(&b, SEEN_UP, now);
    assert_int_equal(b.state, P11_CLOSED);
    assert_int_equal(breaker_allows(&b), KD_OK);
}

static void
one_failed_trial_is_a_doubt_and_two_are_a_verdict(void **state)
{
    (void)state;
    close_it();
    assert_false(breaker_see(&b, SEEN_BAD, now));
    assert_false(breaker_see(&b, SEEN_GOOD, now)); /* no doubt any more */
    assert_false(breaker_see(&b, SEEN_BAD, now));
    assert_true(breaker_see(&b, SEEN_BAD, now));
    assert_int_equal(b.state, P11_OPEN);
    assert_int_equal(breaker_allows(&b), KD_UNAVAILABLE);
    assert_int_equal(b.next, now + BREAKER_FIRST_MS);
}

/* What a client asked for may hang a module as often as it likes. */
static void
hangs_alone_never_open_it(void **state)
{
    (void)state;
    close_it();
    for (int i = 0; i < 1000; i++)
        assert_false(breaker_see(&b, SEEN_HANG, now));
    assert_int_equal(breaker_allows(&b), KD_OK);
    breaker_see(&b, SEEN_GOOD, now);
    for (int i = 0; i < 1000; i++)
        assert_false(breaker_see(&b, SEEN_HANG, now));
    assert_true(breaker_see(&b, SEEN_DOWN, now)); /* and a host that does not come up */
    assert_int_equal(b.state, P11_OPEN);
}

static void
no_host_for_a_second_is_a_verdict(void **state)
{
    (void)state;
    close_it();
    assert_true(breaker_see(&b, SEEN_NO_HOST, now));
    assert_int_equal(b.state, P11_OPEN);
}

static void
tries_come_later_and_later_but_once_a_second(void **state)
{
    static const int64_t waits[] = {500, 1000, 1000, 1000};

    (void)state;
    open_it();
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        now = b.next;
        assert_false(breaker_see(&b, SEEN_DOWN, now));
        assert_int_equal(b.next, now + waits[i]);
    }
}

static void
it_closes_after_good_trials_and_not_before(void **state)
{
    (void)state;
    open_it();
    assert_true(breaker_see(&b, SEEN_UP, now));
    assert_int_equal(b.state, P11_HALF);
    assert_int_equal(breaker_allows(&b), KD_UNAVAILABLE);
    assert_true(breaker_wants_hosts(&b));
    assert_false(breaker_see(&b, SEEN_GOOD, now));
    assert_true(breaker_see(&b, SEEN_GOOD, now));
    assert_int_equal(b.state, P11_CLOSED);
}

static void
a_bad_trial_on_the_way_back_opens_it_again(void **state)
{
    (void)state;
    open_it();
    breaker_see(&b, SEEN_UP, now);
    breaker_see(&b, SEEN_GOOD, now);
    assert_true(breaker_see(&b, SEEN_BAD, now));
    assert_int_equal(b.state, P11_OPEN);
    breaker_see(&b, SEEN_UP, now);
    assert_false(breaker_see(&b, SEEN_GOOD, now)); /* counted from the start */
    assert_int_equal(b.state, P11_HALF);
}

static void
what_an_operator_has_to_mend_is_looked_at_every_five_seconds(void **state)
{
    (void)state;
    start();
    assert_true(breaker_see(&b, SEEN_REFUSED, now));
    assert_int_equal(b.state, P11_REFUSED);
    assert_int_equal(b.next, now + BREAKER_REFUSED_MS);
    assert_false(breaker_see(&b, SEEN_NO_HOST, now));
    now = b.next;
    assert_false(breaker_see(&b, SEEN_REFUSED, now));
    assert_int_equal(b.next, now + BREAKER_REFUSED_MS);
    assert_true(breaker_see(&b, SEEN_UP, now));
    assert_int_equal(b.state, P11_HALF);
}

static void
keys_are_made_while_operations_are_told_to_come_again(void **state)
{
    (void)state;
    close_it();
    assert_true(breaker_see(&b, SEEN_DRAIN, now));
    assert_int_equal(breaker_allows(&b), KD_BUSY);
    assert_false(breaker_see(&b, SEEN_NO_HOST, now));
    assert_false(breaker_see(&b, SEEN_BAD, now));
    assert_true(breaker_see(&b, SEEN_DRAINED, now));
    assert_int_equal(b.state, P11_CLOSED);
}

static void
sealing_ends_it_from_everywhere(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            start();
        else if (i == 1)
            close_it();
        else
            open_it();
        assert_true(breaker_see(&b, SEEN_NOTHING_TO_HOLD, now));
        assert_int_equal(breaker_allows(&b), KD_SEALED);
        assert_int_equal(b.next, INT64_MAX);
    }
}

/* Another list of keys is no reason to begin again. */
static void
what_is_held_may_change_while_it_is_in_use(void **state)
{
    (void)state;
    close_it();
    assert_false(breaker_see(&b, SEEN_SOMETHING_TO_HOLD, now));
    open_it();
    assert_false(breaker_see(&b, SEEN_SOMETHING_TO_HOLD, now));
    assert_int_equal(b.state, P11_OPEN);
}

/* How long it was away: from when it was not in use any more. */
static void
the_time_away_counts_from_its_beginning(void **state)
{
    (void)state;
    open_it();
    int64_t began = now;
    now += 5000;
    breaker_see(&b, SEEN_DOWN, now);
    now += 1000;
    breaker_see(&b, SEEN_UP, now);
    assert_int_equal(b.open_since, began);
    assert_int_equal(b.since, now);
}

static void
one_that_was_never_up_starts_again_after_keys_were_made(void **state)
{
    (void)state;
    start();
    int64_t away = b.open_since;
    now += 100;
    assert_true(breaker_see(&b, SEEN_DRAIN, now));
    assert_false(breaker_see(&b, SEEN_DRAIN, now));
    assert_true(breaker_see(&b, SEEN_DRAINED, now));
    assert_int_equal(b.state, P11_STARTING);
    assert_int_equal(b.open_since, away);
    assert_true(breaker_see(&b, SEEN_UP, now));
    assert_int_equal(b.state, P11_CLOSED);
    breaker_see(&b, SEEN_DRAIN, now);
    breaker_see(&b, SEEN_DRAINED, now);
    assert_int_equal(b.state, P11_CLOSED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_asked_before_there_is_something_to_hold),
        cmocka_unit_test(operations_wait_while_it_starts_and_go_on_when_it_is_up),
        cmocka_unit_test(one_failed_trial_is_a_doubt_and_two_are_a_verdict),
        cmocka_unit_test(hangs_alone_never_open_it),
        cmocka_unit_test(no_host_for_a_second_is_a_verdict),
        cmocka_unit_test(tries_come_later_and_later_but_once_a_second),
        cmocka_unit_test(it_closes_after_good_trials_and_not_before),
        cmocka_unit_test(a_bad_trial_on_the_way_back_opens_it_again),
        cmocka_unit_test(what_an_operator_has_to_mend_is_looked_at_every_five_seconds),
        cmocka_unit_test(keys_are_made_while_operations_are_told_to_come_again),
        cmocka_unit_test(sealing_ends_it_from_everywhere),
        cmocka_unit_test(what_is_held_may_change_while_it_is_in_use),
        cmocka_unit_test(the_time_away_counts_from_its_beginning),
        cmocka_unit_test(one_that_was_never_up_starts_again_after_keys_were_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
