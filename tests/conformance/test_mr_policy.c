/* What two domains' policies make of a mail (client/resolver/include/dime/policy.h). */
#include <dime/policy.h>

#include "../support/test.h"

static const enum dime_stance L = DIME_STANCE_LEGACY, E = DIME_STANCE_EXPERIMENTAL,
                              M = DIME_STANCE_MIXED, S = DIME_STANCE_STRICT;

static void
sends(enum dime_stance ours, enum dime_stance theirs, enum dime_outcome outcome,
      enum dime_disposition want)
{
    enum dime_disposition got = dime_policy_of(ours, theirs, outcome);

    if (got != want)
        fail_msg("%s to %s, %s: %s, not %s", dime_stance_name(ours),
                 dime_stance_name(theirs), dime_outcome_name(outcome),
                 dime_disposition_name(got), dime_disposition_name(want));
}

static void
T_MR_85_T_MR_86_of_legacy_domains(void **state)
{
    (void)state;
    sends(L, L, DIME_IS_LEGACY, DIME_SEND_NAKED);
    sends(L, E, DIME_IS_DARK, DIME_SEND_NAKED);
    sends(L, M, DIME_IS_DARK, DIME_SEND_NAKED);
    sends(L, S, DIME_IS_DARK, DIME_SEND_NEVER);
    sends(L, M, DIME_IS_UNREACHABLE,
          DIME_SEND_NAKED); /* who has no keys needs no signet */
    sends(L, L, DIME_IS_RECORD_BROKEN, DIME_SEND_LATER);
}

static void
T_MR_87_T_MR_88_T_MR_89_of_experimental_domains(void **state)
{
    (void)state;
    sends(E, L, DIME_IS_LEGACY, DIME_SEND_NAKED);
    sends(E, E, DIME_IS_DARK, DIME_SEND_EITHER);
    sends(E, M, DIME_IS_DARK, DIME_SEND_EITHER);
    sends(E, S, DIME_IS_DARK, DIME_SEND_DARK);
    sends(E, S, DIME_IS_NO_SIGNET, DIME_SEND_NEVER);
    sends(E, E, DIME_IS_NOT_ENABLED, DIME_SEND_NAKED);
}

static void
T_MR_90_T_MR_91_T_MR_92_T_MR_93_T_MR_94_of_mixed_domains(void **state)
{
    (void)state;
    sends(M, L, DIME_IS_LEGACY, DIME_SEND_NAKED);
    sends(M, E, DIME_IS_NOT_ENABLED, DIME_SEND_NAKED);
    sends(M, E, DIME_IS_DARK, DIME_SEND_DARK);
    sends(M, E, DIME_IS_NO_SIGNET, DIME_SEND_NEVER);
    sends(M, E, DIME_IS_UNREACHABLE, DIME_SEND_LATER);
    sends(M, E, DIME_IS_NO_TIME, DIME_SEND_LATER);
    sends(M, M, DIME_IS_DARK, DIME_SEND_DARK);
    sends(M, S, DIME_IS_DARK, DIME_SEND_DARK);
    sends(M, M, DIME_IS_NOT_ENABLED, DIME_SEND_LATER);
    sends(M, S, DIME_IS_NOT_ENABLED, DIME_SEND_LATER);
}

static void
T_MR_95_T_MR_96_of_strict_domains(void **state)
{
    (void)state;
    sends(S, L, DIME_IS_LEGACY, DIME_SEND_NEVER);
    for (unsigned theirs = E; theirs <= S; theirs++) {
        sends(S, (enum dime_stance)theirs, DIME_IS_DARK, DIME_SEND_DARK);
        sends(S, (enum dime_stance)theirs, DIME_IS_NOT_ENABLED, DIME_SEND_NEVER);
        sends(S, (enum dime_stance)theirs, DIME_IS_NO_SIGNET, DIME_SEND_NEVER);
        sends(S, (enum dime_stance)theirs, DIME_IS_UNREACHABLE, DIME_SEND_LATER);
    }
}

/* Over everything there is. */
static void
no_error_is_ever_sent_naked(void **state)
{
    (void)state;
    for (unsigned o = 0; o < DIME_OUTCOMES; o++)
        for (unsigned ours = L; ours <= S; ours++)
            for (unsigned theirs = L; theirs <= S; theirs++) {
                enum dime_disposition d =
                    dime_policy_of((enum dime_stance)ours, (enum dime_stance)theirs,
                                   (enum dime_outcome)o);
                bool naked = d == DIME_SEND_NAKED || d == DIME_SEND_EITHER;
                bool dark = d == DIME_SEND_DARK || d == DIME_SEND_EITHER;
                if (dark)
                    assert_int_equal(o, DIME_IS_DARK);
                if (ours == S || (theirs == S && o != DIME_IS_LEGACY))
                    assert_false(naked);
                if (naked && ours != L)
                    assert_true(o == DIME_IS_LEGACY || o == DIME_IS_DARK ||
                                (o == DIME_IS_NOT_ENABLED && theirs == E));
            }
    assert_int_equal(dime_policy_of(DIME_STANCES, L, DIME_IS_LEGACY), DIME_SEND_NEVER);
    assert_int_equal(dime_policy_of(M, DIME_STANCES, DIME_IS_LEGACY), DIME_SEND_NEVER);
}

static void
an_answer_without_a_record_is_not_legacy_by_itself(void **state)
{
    struct dime_mrec record = {.policy = DIME_POLICY_EXPERIMENTAL};
    struct dime_answer a = {.outcome = DIME_IS_RECORD_BROKEN};

    (void)state;
    for (unsigned ours = L; ours <= S; ours++)
        assert_int_equal(dime_policy_send((enum dime_stance)ours, &a), DIME_SEND_LATER);
    a.outcome = DIME_IS_LEGACY;
    assert_int_equal(dime_policy_send(M, &a), DIME_SEND_NAKED);
    a.record = &record;
    a.outcome = DIME_IS_NOT_ENABLED;
    assert_int_equal(dime_policy_send(M, &a), DIME_SEND_NAKED);
    record.policy = DIME_POLICY_STRICT;
    assert_int_equal(dime_policy_send(M, &a), DIME_SEND_LATER);
}

static void
T_MR_97_T_MR_98_T_MR_99_T_MR_100_naked_mail_that_is_taken(void **state)
{
    (void)state;
    for (unsigned theirs = L; theirs <= S; theirs++)
        assert_int_equal(dime_policy_take_naked(S, (enum dime_stance)theirs),
                         DIME_TAKE_NOT);
    assert_int_equal(dime_policy_take_naked(M, S), DIME_TAKE_NOT);
    assert_int_equal(dime_policy_take_naked(M, M), DIME_TAKE_NOT);
    assert_int_equal(dime_policy_take_naked(M, E), DIME_TAKE);
    assert_int_equal(dime_policy_take_naked(M, L), DIME_TAKE);
    assert_int_equal(dime_policy_take_naked(E, L), DIME_TAKE);
    assert_int_equal(dime_policy_take_naked(E, M), DIME_TAKE);
    assert_int_equal(dime_policy_take_naked(E, S), DIME_TAKE_NOT);
}

static void
T_MR_101_dark_mail_of_a_domain_without_a_record(void **state)
{
    (void)state;
    assert_int_equal(dime_policy_take_dark(M, DIME_IS_LEGACY), DIME_TAKE_NOT);
    assert_int_equal(dime_policy_take_dark(M, DIME_IS_DARK), DIME_TAKE);
    assert_int_equal(dime_policy_take_dark(M, DIME_IS_RECORD_BROKEN), DIME_TAKE_LATER);
    assert_int_equal(dime_policy_take_dark(M, DIME_IS_UNTRUSTED), DIME_TAKE_LATER);
    assert_int_equal(dime_policy_take_dark(L, DIME_IS_DARK), DIME_TAKE_NOT);
}

static void
names_are_there_for_all(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DIME_OUTCOMES; i++)
        assert_true(dime_outcome_name((enum dime_outcome)i)[1] != '\0');
    assert_int_equal(dime_stance_of(DIME_POLICY_STRICT), S);
    assert_int_equal(dime_stance_of(DIME_POLICY_EXPERIMENTAL), E);
    assert_int_equal(dime_stance_of(DIME_POLICY_MIXED), M);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_MR_85_T_MR_86_of_legacy_domains),
        cmocka_unit_test(T_MR_87_T_MR_88_T_MR_89_of_experimental_domains),
        cmocka_unit_test(T_MR_90_T_MR_91_T_MR_92_T_MR_93_T_MR_94_of_mixed_domains),
        cmocka_unit_test(T_MR_95_T_MR_96_of_strict_domains),
        cmocka_unit_test(no_error_is_ever_sent_naked),
        cmocka_unit_test(an_answer_without_a_record_is_not_legacy_by_itself),
        cmocka_unit_test(T_MR_97_T_MR_98_T_MR_99_T_MR_100_naked_mail_that_is_taken),
        cmocka_unit_test(T_MR_101_dark_mail_of_a_domain_without_a_record),
        cmocka_unit_test(names_are_there_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
