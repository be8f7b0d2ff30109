/* The management record of one name, out of DNS: present, absent or broken. Only what
 * is positively not there is absent (D-011). */
#ifndef DIME_RESOLVER_LOOKUP_H
#define DIME_RESOLVER_LOOKUP_H

#include "dns.h"
#include "steps.h"

#include <dime/mrec.h>

enum record_state { RECORD_PRESENT, RECORD_ABSENT, RECORD_BROKEN };

enum {
    RECORD_WHY_MAX = 400,
    RECORD_ABSENT_MAX_S = 3600, /* an absence is not kept longer, whatever its TTL */
};

struct record {
    enum record_state state;
    bool secure;                  /* validated; an absence: the denial */
    uint32_t ttl;                 /* seconds; an absence: how long it may be kept */
    char owner[DNS_NAME_MAX + 1]; /* present: where it was ("_dime.example.com") */
    char why[RECORD_WHY_MAX];     /* broken: for people; may hold what others wrote */
    uint8_t *text;                /* present: as published, owned */
    size_t n_text;
    struct dime_mrec mrec; /* present */
};

void record_clear(struct record *r);
const char *record_state_text(enum record_state s); /* "present", "absent", "broken" */

struct lookup {
    struct dns *dns;
    uint16_t numeric_type; /* asked for first, at the name itself; 0: none (D-005) */
};

/* Asks for the numeric type, for TXT at _dime. and, where that is positively absent, at
 * _dx. name as of name_normal. Always writes *out, which record_clear empties.
 * Where the numeric type could not be asked for and no TXT is there the record is
 * broken: it may be that only the answer was kept from us. */
enum record_state lookup_record(const struct lookup *l, const char *name,
                                int64_t deadline, struct steps *steps,
                                struct record *out);

/* The verdict on an answer alone: the one candidate among its data. For lookup_record,
 * and for tests. */
enum record_state lookup_judge(const struct dns_answer *a, struct record *out);

#endif
