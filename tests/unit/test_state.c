/* The state that Status shows, from all that decides on it: every combination. */
#include "state.h"
#include "test.h"

#include <stdbool.h>
#include <stdio.h>

#include <keyd/job/reasons.h>

enum { LIVES = VAULT_FAILED + 1 };

static bool
is_failing(unsigned reason)
{
    static const unsigned failing[] = {
        KD_STATE_LEDGER_WENT_BACK,      KD_STATE_CHECKPOINT_BAD,
        KD_STATE_KEY_STORE_OLD,         KD_STATE_REGISTRY_BEHIND,
        KD_STATE_REGISTRY_FORKED,       KD_STATE_CHECKPOINT_MISSING,
        KD_STATE_CHECKPOINT_UNREADABLE,
    };

    for (size_t i = 0; i < sizeof failing / sizeof *failing; i++)
        if (failing[i] == reason)
            return true;
    return false;
}

/* Written down a second time, row by row: life, opens itself, draining; then the state
 * with no reason, with one that degrades, with one that fails. */
static const struct {
    enum vault_state life;
    bool opens, drains;
    enum kd_service_state clean, degraded, failing;
} rows[] = {
#define S(name) KD_SERVICE_##name
    {VAULT_STARTING, 0, 0, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_STARTING, 0, 1, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_STARTING, 1, 0, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_STARTING, 1, 1, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_UNPROVISIONED, 0, 0, S(UNPROVISIONED), S(UNPROVISIONED), S(FAILED)},
    {VAULT_UNPROVISIONED, 0, 1, S(DRAINING), S(DRAINING), S(FAILED)},
    {VAULT_UNPROVISIONED, 1, 0, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_UNPROVISIONED, 1, 1, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_SEALED, 0, 0, S(SEALED), S(SEALED), S(FAILED)},
    {VAULT_SEALED, 0, 1, S(DRAINING), S(DRAINING), S(FAILED)},
    {VAULT_SEALED, 1, 0, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_SEALED, 1, 1, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_OPERATIONAL, 0, 0, S(OPERATIONAL), S(DEGRADED), S(FAILED)},
    {VAULT_OPERATIONAL, 0, 1, S(DRAINING), S(DRAINING), S(FAILED)},
    {VAULT_OPERATIONAL, 1, 0, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_OPERATIONAL, 1, 1, S(STARTING), S(STARTING), S(FAILED)},
    {VAULT_FAILED, 0, 0, S(FAILED), S(FAILED), S(FAILED)},
    {VAULT_FAILED, 0, 1, S(FAILED), S(FAILED), S(FAILED)},
    {VAULT_FAILED, 1, 0, S(FAILED), S(FAILED), S(FAILED)},
    {VAULT_FAILED, 1, 1, S(FAILED), S(FAILED), S(FAILED)},
#undef S
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static enum kd_service_state
state_with(size_t row, uint64_t reasons)
{
    const struct vault_facts facts = {.life = rows[row].life,
                                      .opens_itself = rows[row].opens,
                                      .is_draining = rows[row].drains,
                                      .reasons = reasons};

    return vault_state_of(&facts);
}

static void
every_combination_has_its_state(void **state)
{
    (void)state;
    assert_int_equal(N_ROWS, LIVES * 4);
    for (size_t i = 0; i < N_ROWS; i++) {
        assert_int_equal(state_with(i, 0), rows[i].clean);
        for (unsigned r = 0; r < KD_STATE_REASONS; r++)
            assert_int_equal(state_with(i, UINT64_C(1) << r),
                             is_failing(r) ? rows[i].failing : rows[i].degraded);
        /* Two of them: the worse counts. */
        for (unsigned r = 0; r < KD_STATE_REASONS; r++)
            for (unsigned q = 0; q < r; q++)
                assert_int_equal(state_with(i, UINT64_C(1) << r | UINT64_C(1) << q),
                                 is_failing(r) || is_failing(q) ? rows[i].failing
                                                                : rows[i].degraded);
    }
}

static bool
is_word(const char *s)
{
    size_t n = strlen(s);

    for (size_t i = 0; i < n; i++)
        if (!(s[i] >= 'a' && s[i] <= 'z') && s[i] != '-' &&
            !(s[i] >= '0' && s[i] <= '9'))
            return false;
    return n > 0 && n <= 48; /* what the protocol takes */
}

static void
every_reason_has_a_word_and_a_sentence(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KD_STATE_REASONS; i++) {
        const char *word = kd_state_word(i);
        assert_true(is_word(word));
        assert_non_null(kd_state_text(kd_slice_str(word)));
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(kd_state_word(k), word);
    }
    assert_null(kd_state_word(KD_STATE_REASONS));
    assert_null(kd_state_text(kd_slice_str("no-such-reason")));
    assert_null(kd_state_text(kd_slice(NULL, 0)));
}

static void
every_key_that_needs_a_restart_has_its_word(void **state)
{
    char name[KD_REASON_NAME_MAX], want[80];

    (void)state;
    for (unsigned i = 0; i < KD_RESTART_KEYS; i++) {
        kd_reason_name(KD_REASON_RESTART + i, name);
        snprintf(want, sizeof want, "needs-restart-%s", kd_restart_key_name(i));
        assert_string_equal(name, want); /* nothing is cut */
        assert_true(is_word(name));
        const char *text = kd_reason_text(kd_slice_str(name));
        assert_non_null(text);
        assert_non_null(strstr(text, kd_restart_key_name(i)));
    }
    assert_null(kd_restart_key_name(KD_RESTART_KEYS));
    assert_string_equal(kd_reason_name(KD_REASON_RESTART + KD_RESTART_KEYS, name), "");
    assert_null(kd_reason_text(kd_slice_str("needs-restart-")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_has_its_state),
        cmocka_unit_test(every_reason_has_a_word_and_a_sentence),
        cmocka_unit_test(every_key_that_needs_a_restart_has_its_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
