/* What one principal may take of a gate. */
#include "principal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants setjmp.h and stdarg.h first */
#include <cmocka.h>

static const struct kd_limits limits = {.max_connections = 80,
                                        .max_principal_frames = 1000000,
                                        .max_principal_uploads = 2,
                                        .upload_pool = 100};

static struct principal_table table;

static struct principal *
join_uid(uint32_t uid, bool is_known)
{
    const struct kd_caller caller = kd_caller_local(KD_CLASS_MTA, uid);

    return principal_join(&table, &caller, is_known);
}

static struct principal *
join_name(const char *name)
{
    const struct kd_caller caller = kd_caller_remote(kd_slice_str(name));

    return principal_join(&table, &caller, true);
}

static void
connections_of_one_leave_some_to_the_others(void **state)
{
    struct principal *p = NULL;

    (void)state;
    table = (struct principal_table){.is_shared = true};
    for (int i = 0; i < 70; i++) {
        p = join_uid(1000, true);
        assert_false(principal_is_over(&table, p, limits.max_connections));
    }
    assert_ptr_equal(join_uid(1000, true), p);
    assert_true(principal_is_over(&table, p, limits.max_connections));
    struct principal *other = join_uid(1001, true);
    assert_ptr_not_equal(other, p);
    assert_false(principal_is_over(&table, other, limits.max_connections));
    principal_leave(p);
    assert_false(principal_is_over(&table, p, limits.max_connections));
}

static void
the_only_principal_may_have_them_all(void **state)
{
    struct principal *p = NULL;

    (void)state;
    table = (struct principal_table){.is_shared = false};
    for (int i = 0; i < 80; i++)
        p = join_uid(1000, true);
    assert_false(principal_is_over(&table, p, limits.max_connections));
    for (int i = 0; i < 2 * PRINCIPAL_REQUESTS_MAX; i++)
        assert_int_equal(principal_take(&table, p, &limits, 10, 0), KD_OK);
}

static void
strangers_share_a_small_part(void **state)
{
    struct principal *p = NULL;

    (void)state;
    table = (struct principal_table){.is_shared = false};
    for (uint32_t uid = 1; uid <= 10; uid++) {
        p = join_uid(uid, false);
        assert_false(principal_is_over(&table, p, limits.max_connections));
    }
    assert_ptr_equal(join_uid(11, false), p);
    assert_true(principal_is_over(&table, p, limits.max_connections));
    assert_true(p->n_conns > 1);
    table = (struct principal_table){.is_shared = false};
    assert_false(principal_is_over(&table, join_uid(1, false), 1));
}

static void
requests_octets_and_uploads_have_limits_and_come_back(void **state)
{
    (void)state;
    table = (struct principal_table){.is_shared = true};
    struct principal *p = join_uid(1000, true);
    struct principal *other = join_uid(1001, true);
    for (int i = 0; i < PRINCIPAL_REQUESTS_MAX; i++)
        assert_int_equal(principal_take(&table, p, &limits, 1, 0), KD_OK);
    assert_int_equal(principal_take(&table, p, &limits, 1, 0), KD_BUSY);
    assert_int_equal(principal_take(&table, other, &limits, 1000000, 0), KD_OK);
    assert_int_equal(principal_take(&table, other, &limits, 1, 0), KD_BUSY);
    principal_give(&table, p, 1, 0);
    assert_int_equal(principal_take(&table, p, &limits, 1, 60), KD_OK);
    principal_give(&table, other, 1000000, 0);
    assert_int_equal(principal_take(&table, other, &limits, 1, 41), KD_BUSY);
    assert_int_equal(principal_take(&table, other, &limits, 1, 20), KD_OK);
    assert_int_equal(principal_take(&table, other, &limits, 1, 20), KD_OK);
    principal_give(&table, p, 1, 60);
    assert_int_equal(principal_take(&table, other, &limits, 1, 1), KD_BUSY);
    assert_int_equal(other->n_requests, 2);
    assert_int_equal(table.uploads, 40);
}

static void
limits_that_a_reload_lowers_hold_at_once(void **state)
{
    struct kd_limits lower = limits;

    (void)state;
    table = (struct principal_table){.is_shared = true};
    struct principal *p = join_uid(1000, true);
    assert_int_equal(principal_take(&table, p, &limits, 1000000, 60), KD_OK);
    lower.max_principal_frames = 999999;
    assert_int_equal(principal_take(&table, p, &lower, 1, 0), KD_BUSY);
    lower = limits;
    lower.upload_pool = 59;
    assert_true(principal_has_room(&table, p, &limits, 40));
    assert_false(principal_has_room(&table, p, &limits, 41));
    assert_false(principal_has_room(&table, p, &lower, 0));
    assert_int_equal(principal_take_object(&table, p, &lower, 1), KD_BUSY);
    principal_give(&table, p, 1000000, 60);
    assert_int_equal(principal_take(&table, p, &lower, 1, 59), KD_OK);
}

/* A client that is gone leaves requests behind: its entry is nobody else's before they
 * ended. */
static void
an_entry_with_requests_is_not_given_away(void **state)
{
    (void)state;
    table = (struct principal_table){.is_shared = true};
    struct principal *p = join_uid(1000, true);
    assert_int_equal(principal_take(&table, p, &limits, 1, 0), KD_OK);
    principal_leave(p);
    assert_ptr_not_equal(join_uid(1001, true), p);
    assert_ptr_equal(join_uid(1000, true), p);
    principal_leave(p);
    principal_give(&table, p, 1, 0);
    assert_ptr_equal(join_uid(1002, true), p);
    assert_int_equal(p->caller.uid, 1002);
}

/* The name is copied: the caller's may go. */
static void
remote_principals_are_told_apart_by_name(void **state)
{
    char name[] = "mx1";

    (void)state;
    table = (struct principal_table){.is_shared = true};
    struct principal *p = join_name(name);
    name[2] = '2';
    assert_ptr_not_equal(join_name(name), p);
    assert_ptr_equal(join_name("mx1"), p);
    assert_ptr_not_equal(join_name("mx11"), p);
    assert_ptr_not_equal(join_uid(KD_UID_NONE, true), p);
}

static void
one_that_has_had_its_turn_waits_where_there_are_others(void **state)
{
    (void)state;
    table = (struct principal_table){.is_shared = true};
    struct principal *a = join_uid(1, true), *b = join_uid(2, true);
    a->n_taken = PRINCIPAL_FRAMES_A_TURN - 1;
    assert_false(principal_must_wait(&table, a));
    a->n_taken++;
    assert_true(principal_must_wait(&table, a));
    assert_false(principal_must_wait(&table, b));
    a->n_taken = 0;
    assert_false(principal_must_wait(&table, a));
    a->n_requests = PRINCIPAL_UNDER_WAY_MAX;
    assert_true(principal_must_wait(&table, a));
    assert_false(principal_must_wait(&table, b));
    table.is_shared = false;
    assert_false(principal_must_wait(&table, a));
}

static void
one_whose_answers_are_not_read_waits_even_alone(void **state)
{
    (void)state;
    table = (struct principal_table){.is_shared = false};
    struct principal *a = join_uid(1, true);
    a->queued = PRINCIPAL_QUEUED_MAX;
    assert_false(principal_must_wait(&table, a));
    a->queued++;
    assert_true(principal_must_wait(&table, a));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_of_one_leave_some_to_the_others),
        cmocka_unit_test(the_only_principal_may_have_them_all),
        cmocka_unit_test(strangers_share_a_small_part),
        cmocka_unit_test(requests_octets_and_uploads_have_limits_and_come_back),
        cmocka_unit_test(limits_that_a_reload_lowers_hold_at_once),
        cmocka_unit_test(remote_principals_are_told_apart_by_name),
        cmocka_unit_test(an_entry_with_requests_is_not_given_away),
        cmocka_unit_test(one_that_has_had_its_turn_waits_where_there_are_others),
        cmocka_unit_test(one_whose_answers_are_not_read_waits_even_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
