/* client/resolver/src/steps.h */
#include <steps.h>

#include "../support/test.h"

#include <stdio.h>
#include <string.h>

static void
steps_keep_their_order_and_weight(void **state)
{
    struct steps *s = steps_new(), *other = steps_new();

    (void)state;
    steps_add(s, STEP_DNS, "asked for %s", "example.com");
    steps_warn(other, STEP_SYNDICATE, "another fingerprint");
    steps_alarm(other, STEP_HOLD, "%d keys", 2);
    steps_join(s, other);
    assert_int_equal(steps_n(s), 3);
    assert_string_equal(steps_get(s, 0)->text, "asked for example.com");
    assert_int_equal(steps_get(s, 0)->weight, STEP_NOTE);
    assert_int_equal(steps_get(s, 1)->weight, STEP_WARNING);
    assert_int_equal(steps_get(s, 2)->weight, STEP_ALARM);
    assert_string_equal(step_word(steps_get(s, 2)->code), "hold");
    assert_null(steps_get(s, 3));
    steps_free(other);
    steps_free(s);
}

static void
what_moves_a_terminal_is_shown(void **state)
{
    struct steps *s = steps_new();
    char long_text[2 * STEP_TEXT_MAX];

    (void)state;
    steps_add(s, STEP_DMTP, "%s", "a\x1b[2J\r\n\\ \xc2\x9b\x7f");
    assert_string_equal(steps_get(s, 0)->text,
                        "a\\x1b[2J\\x0d\\x0a\\\\ \\xc2\\x9b\\x7f");
    memset(long_text, '\n', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    steps_add(s, STEP_DMTP, "%s", long_text);
    const char *text = steps_get(s, 1)->text;
    assert_true(strlen(text) < STEP_TEXT_MAX && strlen(text) > STEP_TEXT_MAX - 10);
    assert_int_equal(strlen(text) % 4, 0);
    steps_free(s);
}

static void
what_finds_no_room_is_counted(void **state)
{
    struct steps *s = steps_new(), *other = steps_new();

    (void)state;
    for (int i = 0; i < STEPS_MAX + 10; i++)
        steps_add(s, STEP_DNS, "%d", i);
    assert_int_equal(steps_n(s), STEPS_MAX);
    assert_int_equal(steps_lost(s), 10);
    assert_string_equal(steps_get(s, STEPS_MAX - 1)->text, "255");
    steps_join(other, s);
    assert_int_equal(steps_n(other), STEPS_MAX);
    assert_int_equal(steps_lost(other), 10);
    steps_free(s);
    steps_free(other);
}

static void
nobody_may_listen(void **state)
{
    (void)state;
    steps_add(NULL, STEP_DNS, "x");
    steps_warn(NULL, STEP_DNS, "x");
    steps_alarm(NULL, STEP_DNS, "x");
    steps_join(NULL, NULL);
    assert_int_equal(steps_n(NULL), 0);
    assert_int_equal(steps_lost(NULL), 0);
    steps_free(NULL);
    for (unsigned i = 0; i <= STEP_CODES; i++)
        assert_true(strlen(step_word((enum step_code)i)) >= 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_keep_their_order_and_weight),
        cmocka_unit_test(what_moves_a_terminal_is_shown),
        cmocka_unit_test(what_finds_no_room_is_counted),
        cmocka_unit_test(nobody_may_listen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
