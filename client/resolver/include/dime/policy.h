/* What two domains' policies make of a mail: Figure 6 of the specification as one table
 * (MR-84 to MR-116, D-027, D-028). Legacy is a policy here: that of a domain without a
 * record. */
#ifndef DIME_POLICY_H
#define DIME_POLICY_H

#include <dime/resolver.h>

enum dime_stance {
    DIME_STANCE_LEGACY, /* surely no record */
    DIME_STANCE_EXPERIMENTAL,
    DIME_STANCE_MIXED,
    DIME_STANCE_STRICT,
    DIME_STANCES
};

enum dime_stance dime_stance_of(enum dime_mrec_policy policy);
/* "legacy", "experimental", "mixed", "strict". */
const char *dime_stance_name(enum dime_stance stance);

/* How a mail leaves. */
enum dime_disposition {
    DIME_SEND_DARK,   /* as D/MIME, and not otherwise */
    DIME_SEND_EITHER, /* as D/MIME; naked is allowed too */
    DIME_SEND_NAKED,  /* naked: there is no other way, or the other's host said so */
    DIME_SEND_LATER,  /* not now: try again, report after the time for it */
    DIME_SEND_NEVER,  /* refused; the author is told */
};

const char *dime_disposition_name(enum dime_disposition d);

/* What the sender's stance makes of an answer to the recipient's address. Only what is
 * surely legacy, and what an experimental domain's own host says over a validated
 * connection (476), is ever sent naked; no error is. */
enum dime_disposition dime_policy_send(enum dime_stance ours,
                                       const struct dime_answer *recipient);

/* The same from what it depends on. theirs counts only where the outcome says that
 * there is a record. */
enum dime_disposition dime_policy_of(enum dime_stance ours, enum dime_stance theirs,
                                     enum dime_outcome outcome);

/* What we take from a sender's domain. */
enum dime_acceptance {
    DIME_TAKE,
    DIME_TAKE_NOT,  /* naked: 550; D/MIME: 575 */
    DIME_TAKE_LATER /* the sender's record is broken: no verdict */
};

/* Naked mail whose envelope sender has that stance (MR-87, 88, 95 to 98). */
enum dime_acceptance dime_policy_take_naked(enum dime_stance ours,
                                            enum dime_stance theirs);
/* D/MIME of a domain of that answer (MR-85): its organization has a valid record and
 * signet. */
enum dime_acceptance dime_policy_take_dark(enum dime_stance ours,
                                           enum dime_outcome sender);

#endif
