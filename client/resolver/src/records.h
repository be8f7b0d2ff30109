/* Management records with what is remembered of them (RS-28, RS-29, MR-81 to MR-83,
 * D-011, D-021): the DNS is asked when its TTL is over; a record that was seen lives on
 * for its days whatever the DNS says since, and an error never takes it away. */
#ifndef DIME_RESOLVER_RECORDS_H
#define DIME_RESOLVER_RECORDS_H

#include "lookup.h"
#include "store.h"

struct records {
    const struct lookup *lookup;
    struct store *store; /* NULL: nothing is remembered */
    struct steps *steps;
    unsigned flags; /* DIME_QUERY_FRESH, DIME_QUERY_OFFLINE */
    int64_t now, deadline;
};

/* Beside the record: whether it is what was remembered although the DNS has none, or
 * none as good, now; how long it lives; when the DNS is asked again (of an absence,
 * too). */
struct record_life {
    bool is_kept;
    int64_t until, refresh_at;
};

/* Of one name. record_clear(out) in every case. */
enum record_state records_get(const struct records *r, const char *name,
                              struct record *out, struct record_life *life);

#endif
