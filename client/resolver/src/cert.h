/* Whether a host that speaks TLS is the domain's: the table of the specification over
 * DNSSEC, the tls values of the management record and X.509 (P7 "Certificates"; TR-32
 * to TR-52, MR-64 to MR-69, D-025, D-026, D-029, D-132 to D-135).
 *
 *     DNSSEC  tls      X.509   verdict
 *     yes     match    -       pass
 *     any     differs  -       fail
 *     yes     none     good    pass, if it is not revoked
 *     no      match    good    pass
 *     no      none     good    pass, if it is not revoked
 *     any other                fail
 *
 * Without DNSSEC the host's name is what an attacker may have put there: the
 * certificate must also have to do with the domain (D-029). A key that is too weak
 * fails before all else. Nothing here opens a connection or reads a clock. */
#ifndef DIME_RESOLVER_CERT_H
#define DIME_RESOLVER_CERT_H

#include <dime/mrec.h>

#include <openssl/x509.h>

enum { CERT_RSA_MIN = 2048, CERT_RSA_MAX = 16384 }; /* bits */

enum cert_why {
    CERT_PINNED,       /* by a tls value and DNSSEC */
    CERT_PINNED_VALID, /* by a tls value, and by X.509 */
    CERT_VALID,        /* by X.509; is it revoked? */
    CERT_ABSENT,       /* there is none, or no key in it */
    CERT_WEAK_KEY,     /* RSA under 2048 bits: the connection ends with QUIT (TR-34) */
    CERT_KEY_KIND,     /* no key that this version of TLS may have (D-133) */
    CERT_MISMATCH,     /* the record has tls values, none of them is its */
    CERT_CHAIN,        /* it does not come from a recognised authority, or not now */
    CERT_HOST,         /* it is not the host's */
    CERT_STRANGER,     /* the host has nothing to do with the domain (D-029) */
    CERT_NO_MEMORY,
    CERT_WHYS
};

/* All of it borrowed. */
struct cert_question {
    const struct dime_mrec *record;
    bool is_secure;  /* the record is, by DNSSEC */
    bool is_relaxed; /* D-029 is not asked */
    const char *host, *domain;
    X509 *cert;                    /* NULL: none */
    const STACK_OF(X509) * others; /* that came with it; NULL: none */
    X509_STORE *authorities;
    bool is_tls13;
    int64_t now; /* seconds since 1970 */
};

struct cert_verdict {
    enum cert_why why;
    int x509_error; /* X509_V_..., of CERT_CHAIN */
    /* Its issuers as they were found, from itself to the authority; only with
     * CERT_VALID and CERT_PINNED_VALID. */
    STACK_OF(X509) * chain;
};

/* out is to be cleared whatever it says. */
void cert_judge(const struct cert_question *q, struct cert_verdict *out);
void cert_verdict_clear(struct cert_verdict *v);

bool cert_passes(const struct cert_verdict *v);
bool cert_why_passes(enum cert_why why);
bool cert_wants_revocation(const struct cert_verdict *v);

/* A short lower-case text, never NULL; of CERT_CHAIN that of X.509. */
const char *cert_text(const struct cert_verdict *v);

/* The table alone. differs: there are values, and none matches. */
enum cert_tls { CERT_TLS_NONE, CERT_TLS_MATCH, CERT_TLS_DIFFERS };
enum cert_why cert_table(bool is_secure, enum cert_tls tls, enum cert_why x509);

#endif
