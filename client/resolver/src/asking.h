/* One resolution while it goes on: what its parts share. */
#ifndef DIME_RESOLVER_ASKING_H
#define DIME_RESOLVER_ASKING_H

#include "answer.h"
#include "chain.h"
#include "fresh.h"
#include "hold.h"
#include "session.h"
#include "store.h"
#include "validate.h"

struct settings {
    int64_t user_lifetime, org_lifetime, grace;
    bool takes_libdime;
};

struct asking {
    const struct settings *conf;
    struct store *store; /* NULL: nothing is kept */
    struct session *session;
    struct steps *steps;
    unsigned flags; /* DIME_QUERY_ */
    int64_t now, deadline;

    const char *name;           /* normal */
    const uint8_t *fingerprint; /* or NULL */
    const char *supplier;       /* the domain whose record it is */
    const struct dime_mrec *record;
    bool is_secure;
};

/* The domain's signet, in octets that the caller frees: from the ring while it is
 * fresh, else confirmed or fetched, judged, and put into the ring. DIME_IS_DARK, or why
 * there is none; *fresh_until only if there is. */
enum dime_outcome org_find(struct asking *a, struct kd_buf *octets,
                           int64_t *fresh_until);

/* The same of an address, under that organizational signet. known and found are written
 * for DIME_IS_CHAIN_BROKEN. */
enum dime_outcome user_find(struct asking *a, const struct dime_signet *org,
                            struct kd_buf *octets, int64_t *fresh_until,
                            uint8_t known[DIME_FINGERPRINT_SIZE],
                            uint8_t found[DIME_FINGERPRINT_SIZE]);

/* Asks the syndicates for the domain's signet, as witnesses (D-024): what they say is
 * told, and begins a hold anew if it differs; it changes nothing else. */
void witness_ask(struct asking *a, const struct dime_signet *org);

/* Whether the hosts may be asked at all. */
static inline bool
may_ask(const struct asking *a)
{
    return (a->flags & DIME_QUERY_OFFLINE) == 0;
}

/* --- shared by org.c and user.c (signets.c) --- */

/* A signet of the ring, parsed; octets are its own. */
struct pinned {
    bool is_there;
    struct store_signet row;
    struct dime_signet signet;
    uint8_t core[DIME_FINGERPRINT_SIZE], full[DIME_FINGERPRINT_SIZE];
};

/* What the ring has of that name; nothing if it cannot be read, which is told. */
void pinned_get(struct asking *a, const char *name, enum dime_kind kind,
                struct pinned *out);
void pinned_free(struct pinned *p);

/* Into the ring, as current. What cannot be written is told: the answer holds all the
 * same. */
void pinned_put(struct asking *a, const char *name, const struct dime_signet *signet,
                bool is_accepted);

/* An answer of the ring: copied. */
enum dime_outcome pinned_use(const struct pinned *p, struct kd_buf *octets,
                             int64_t *fresh_until, int64_t until);

/* Nobody could be asked: within the grace the pinned one still serves (D-077). */
enum dime_outcome pinned_serves(struct asking *a, const struct pinned *p,
                                int64_t lifetime, enum dime_outcome otherwise,
                                struct kd_buf *octets, int64_t *fresh_until);

/* Tells a fault of a signet; the outcome it means. */
enum dime_outcome tell_fault(struct asking *a, enum step_code code,
                             const struct validate_why *why);

#endif
