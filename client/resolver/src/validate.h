/* Whether a signet that somebody sent is the one that was asked for, by the legs of the
 * specification (RS-5 to RS-10): an organization's by the primary keys of its
 * management record, a user's by the keys of the organizational signet; both by their
 * identifier, since a signet says whose it is and the wire does not (D-069). Nothing
 * here trusts the connection: that is the certificate's part. */
#ifndef DIME_RESOLVER_VALIDATE_H
#define DIME_RESOLVER_VALIDATE_H

#include <dime/fingerprint.h>
#include <dime/mrec.h>
#include <dime/verify.h>

enum validate_fault {
    VALIDATE_FINE,
    VALIDATE_FORM,        /* does not parse, or is another kind of object: see reason */
    VALIDATE_UNBOUND,     /* a split: it does not say whose it is (D-069) */
    VALIDATE_OTHER_NAME,  /* it says that it is somebody else's */
    VALIDATE_OTHER_POK,   /* its primary key is none of the record's */
    VALIDATE_SIGNATURE,   /* a signature does not verify: see reason */
    VALIDATE_FINGERPRINT, /* not the one that was asked for by its fingerprint (RS-20)
                           */
    VALIDATE_FAULTS
};

struct validate_why {
    enum validate_fault fault;
    enum dime_reason reason; /* DIME_FINE where the fault says it all */
};

/* An organizational signet of that domain under one of the record's keys. KD_OK, or
 * KD_INVALID with *why; *out borrows octets. */
kd_err validate_org(struct kd_slice octets, const char *domain,
                    const struct dime_mrec *record, struct dime_signet *out,
                    struct validate_why *why) KD_MUST_USE;

/* A user signet of that address, made by org. A subdomain without a record of its own
 * is its parent's (MR-119): then org is the parent's, and the address lies below it;
 * supplier is the name whose record it was, and nothing else may speak for the address.
 *
 * A split has VALIDATE_UNBOUND only if all else about it holds: KD_INVALID still, but a
 * caller may take it by a policy of its own. */
kd_err validate_user(struct kd_slice octets, const char *address, const char *supplier,
                     const struct dime_signet *org, struct dime_signet *out,
                     struct validate_why *why) KD_MUST_USE;

/* Whether s has that fingerprint: full or, of users, core (TR-156). */
kd_err validate_fingerprint(const struct dime_signet *s,
                            const uint8_t fp[DIME_FINGERPRINT_SIZE],
                            struct validate_why *why) KD_MUST_USE;

/* A short lower-case text; what reason adds stands behind it where there is one. */
const char *validate_text(enum validate_fault fault);

#endif
