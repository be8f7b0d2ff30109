/* How long a signet is believed before its host is asked again (D-077), and how long
 * while it cannot be asked. */
#ifndef DIME_RESOLVER_FRESH_H
#define DIME_RESOLVER_FRESH_H

#include <stdint.h>

enum {
    FRESH_USER = 60 * 60,       /* seconds */
    FRESH_ORG = 16 * 24 * 3600, /* and at every change of the primary key */
    FRESH_GRACE = 24 * 3600,    /* after that, while nobody answers */
};

enum freshness {
    FRESH,     /* it is used */
    FRESH_DUE, /* its host is asked; it is used if that fails for no fault of its own */
    FRESH_STALE
};

/* confirmed: when its host last said that it is current, in seconds since 1970. A time
 * in the future was written by a clock that was wrong: it is asked. */
static inline enum freshness
freshness_of(int64_t confirmed, int64_t lifetime, int64_t grace, int64_t now)
{
    if (now < confirmed)
        return FRESH_DUE;
    if (now - confirmed < lifetime)
        return FRESH;
    return now - confirmed - lifetime < grace ? FRESH_DUE : FRESH_STALE;
}

#endif
