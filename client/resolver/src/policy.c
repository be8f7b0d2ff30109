#include <dime/policy.h>

enum dime_stance
dime_stance_of(enum dime_mrec_policy policy)
{
    switch (policy) {
    case DIME_POLICY_EXPERIMENTAL:
        return DIME_STANCE_EXPERIMENTAL;
    case DIME_POLICY_STRICT:
        return DIME_STANCE_STRICT;
    case DIME_POLICY_MIXED:
    case DIME_POLICIES:
        break;
    }
    return DIME_STANCE_MIXED;
}

const char *
dime_stance_name(enum dime_stance stance)
{
    static const char *const names[DIME_STANCES] = {"legacy", "experimental", "mixed",
                                                    "strict"};

    return (unsigned)stance < DIME_STANCES ? names[stance] : "?";
}

const char *
dime_disposition_name(enum dime_disposition d)
{
    static const char *const names[] = {[DIME_SEND_DARK] = "dark",
                                        [DIME_SEND_EITHER] = "dark or naked",
                                        [DIME_SEND_NAKED] = "naked",
                                        [DIME_SEND_LATER] = "later",
                                        [DIME_SEND_NEVER] = "never"};

    return (unsigned)d < sizeof names / sizeof *names ? names[d] : "?";
}

/* Rows: the sender; columns: the recipient. As read in D-027: a valid signet is there,
 * or the sender has none to write with. */
static const enum dime_disposition matrix[DIME_STANCES][DIME_STANCES] = {
    [DIME_STANCE_LEGACY] = {DIME_SEND_NAKED, DIME_SEND_NAKED, DIME_SEND_NAKED,
                            DIME_SEND_NEVER},
    [DIME_STANCE_EXPERIMENTAL] = {DIME_SEND_NAKED, DIME_SEND_EITHER, DIME_SEND_EITHER,
                                  DIME_SEND_DARK},
    [DIME_STANCE_MIXED] = {DIME_SEND_NAKED, DIME_SEND_DARK, DIME_SEND_DARK,
                           DIME_SEND_DARK},
    [DIME_STANCE_STRICT] = {DIME_SEND_NEVER, DIME_SEND_DARK, DIME_SEND_DARK,
                            DIME_SEND_DARK},
};

/* Without a signet: a valid address that is not enabled, and nothing else, may be
 * written to naked, where both allow it (MR-91, MR-94, D-028). */
static enum dime_disposition
without_signet(enum dime_stance ours, enum dime_stance theirs,
               enum dime_outcome outcome)
{
    bool may_be_naked = outcome == DIME_IS_NOT_ENABLED &&
                        theirs == DIME_STANCE_EXPERIMENTAL &&
                        (ours == DIME_STANCE_EXPERIMENTAL || ours == DIME_STANCE_MIXED);

    if (may_be_naked)
        return DIME_SEND_NAKED;
    /* 476 says "temporarily": somebody may enable it (TR-165); to the strict it is a
     * failure (MR-100). */
    if (outcome == DIME_IS_NOT_ENABLED && ours == DIME_STANCE_STRICT)
        return DIME_SEND_NEVER;
    return dime_outcome_is_temporary(outcome) ? DIME_SEND_LATER : DIME_SEND_NEVER;
}

enum dime_disposition
dime_policy_of(enum dime_stance ours, enum dime_stance theirs,
               enum dime_outcome outcome)
{
    if ((unsigned)ours >= DIME_STANCES || (unsigned)theirs >= DIME_STANCES ||
        outcome == DIME_IS_BAD_NAME)
        return DIME_SEND_NEVER;
    if (outcome == DIME_IS_LEGACY)
        return matrix[ours][DIME_STANCE_LEGACY];
    /* Who has no keys asks for no signets; a record that cannot be read may say strict.
     */
    if (ours == DIME_STANCE_LEGACY)
        return outcome == DIME_IS_RECORD_BROKEN || outcome == DIME_IS_NO_TIME
                   ? DIME_SEND_LATER
                   : matrix[ours][theirs];
    if (outcome == DIME_IS_DARK)
        return matrix[ours][theirs];
    return without_signet(ours, theirs, outcome);
}

enum dime_disposition
dime_policy_send(enum dime_stance ours, const struct dime_answer *recipient)
{
    enum dime_stance theirs = recipient->record != NULL
                                  ? dime_stance_of(recipient->record->policy)
                                  : DIME_STANCE_LEGACY;

    /* No record, and yet not surely legacy: as if it were strict. */
    if (recipient->record == NULL && recipient->outcome != DIME_IS_LEGACY)
        theirs = DIME_STANCE_STRICT;
    return dime_policy_of(ours, theirs, recipient->outcome);
}

enum dime_acceptance
dime_policy_take_naked(enum dime_stance ours, enum dime_stance theirs)
{
    if (ours == DIME_STANCE_STRICT || theirs == DIME_STANCE_STRICT)
        return DIME_TAKE_NOT;
    if (theirs == DIME_STANCE_MIXED && ours == DIME_STANCE_MIXED)
        return DIME_TAKE_NOT;
    return DIME_TAKE;
}

enum dime_acceptance
dime_policy_take_dark(enum dime_stance ours, enum dime_outcome sender)
{
    if (ours == DIME_STANCE_LEGACY)
        return DIME_TAKE_NOT;
    if (sender == DIME_IS_DARK)
        return DIME_TAKE;
    return dime_outcome_is_temporary(sender) ? DIME_TAKE_LATER : DIME_TAKE_NOT;
}
