/* A primary key that changes (D-076). Organizational signets have no chain of custody:
 * who rules a domain's unsigned DNS for an hour could replace everything. So a new key
 * that the old one does not vouch for is taken at once only if DNSSEC says so, and is
 * then reported; without, the old one is kept until the new one has been seen again
 * over a day. */
#ifndef DIME_RESOLVER_HOLD_H
#define DIME_RESOLVER_HOLD_H

#include <dime/mrec.h>
#include <dime/signet.h>

enum {
    HOLD_SECONDS = 24 * 3600,
    HOLD_TIMES = 4,    /* the new key is seen at least so often */
    HOLD_APART = 3600, /* seconds between two that count */
};

/* What was seen of a new key so far; all zero before the first time. */
struct hold {
    uint8_t pok[DIME_ED25519_KEY_SIZE];
    int64_t first_seen, last_counted; /* seconds since 1970 */
    uint32_t times;
    uint32_t contradicted; /* by a syndicate, since it was first seen */
};

enum hold_verdict {
    HOLD_SAME,   /* the signet is by the old key: nothing has changed */
    HOLD_LISTED, /* the old key is in the record, or a SOK of the new signet: taken */
    HOLD_SECURE, /* taken, because DNSSEC says so; reported */
    HOLD_HELD,   /* the old one is kept, and this is reported */
    HOLD_OVER,   /* taken after the time; a warning */
};

/* HOLD_LISTED is what an orderly change looks like (MR-54, D-075). That the old key is
 * listed proves nothing, however: nothing of it is signed by the old key, and whoever
 * rules unsigned DNS can list it too. Without DNSSEC a caller says so aloud.
 *
 * old: the key of the signet that was trusted. signet: validated under record. hold is
 * brought up to date with what is seen now: another new key begins anew, a clock that
 * went back too. Whoever takes the new key forgets the hold. */
enum hold_verdict hold_judge(struct hold *hold,
                             const uint8_t old[DIME_ED25519_KEY_SIZE],
                             const struct dime_mrec *record, bool is_secure,
                             const struct dime_signet *signet, int64_t now);

/* A syndicate answered with another signet than this domain's hosts: it begins anew. */
void hold_contradict(struct hold *hold, int64_t now);

/* Seconds until the earliest time at which it may be over; 0: now. */
int64_t hold_left(const struct hold *hold, int64_t now);

#endif
