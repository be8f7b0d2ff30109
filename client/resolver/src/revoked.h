/* Whether a certificate that an authority vouches for was revoked by it (D-134): by the
 * staple that came with the handshake, which must be good if there is one; else by the
 * authority's OCSP responder; without one by its list, if it offers any. Only a signed
 * answer counts. Who cannot be reached, or says nothing that holds, makes no
 * certificate bad: that is told, and passes. */
#ifndef DIME_RESOLVER_REVOKED_H
#define DIME_RESOLVER_REVOKED_H

#include "steps.h"

#include <keyd/base/slice.h>
#include <openssl/x509.h>

enum {
    REVOKED_PATIENCE_MS = 10000, /* for all that is asked */
    REVOKED_SKEW = 300,          /* seconds that clocks may differ */
    REVOKED_OCSP_MAX = 64 << 10, /* octets */
    REVOKED_LIST_MAX = 8 << 20,
    REVOKED_URLS_MAX = 2 /* that are asked, of each kind */
};

enum revoked {
    REVOKED_NOT,        /* said so by the authority */
    REVOKED_UNKNOWN,    /* nobody says anything: passes */
    REVOKED_IS,         /* fails */
    REVOKED_BAD_STAPLE, /* fails */
};

/* chain is that of cert_judge: the certificate, its issuer, ... A staple is empty if
 * there is none. now: seconds since 1970; deadline: kd_clock_ms(). */
enum revoked revoked_check(const STACK_OF(X509) * chain, X509_STORE *authorities,
                           struct kd_slice staple, int64_t now, int64_t deadline,
                           struct steps *steps);

#endif
