/* Checks on parsed signets: signatures, custody, identifier. What a caller then does
 * with a signet (cache, encrypt, issue) is policy and is decided elsewhere. */
#ifndef DIME_VERIFY_H
#define DIME_VERIFY_H

#include <dime/signet.h>

enum { DIME_SIGNER_NONE = -2, DIME_SIGNER_POK = -1 /* else: index of the SOK */ };

/* If it does not hold, why is all there is: the rest is false. */
struct dime_verdict {
    bool holds;
    enum dime_reason why; /* DIME_FINE, or the first check that failed */
    bool bound;           /* 255 and the identifier were checked: it says whose it is */
    bool anchored;        /* organization: the POK is one of those given as trusted */
    bool chained;         /* custody verified under the predecessor's signing key */
    bool same_link;       /* fields 1 to 5 are those of the predecessor (D-073) */
    int signer;           /* user signets: who made field 6 */
};

/* The checks return KD_OK if the object holds, else dime_reason_err(verdict->why),
 * and write *verdict in both cases. */

/* An organizational signet by its own POK: fields 4 (if present, D-036), 253 and 255,
 * never by a SOK (SG-143), and the identifier's form. trusted: the POKs known for the
 * domain, n of 32 octets each; with n 0 the signet can hold, but not be anchored; with
 * any given, its POK must be one of them (SG-87). A split holds with bound false. */
kd_err dime_org_verify(const struct dime_signet *org,
                       const uint8_t (*trusted)[DIME_ED25519_KEY_SIZE], size_t n,
                       struct dime_verdict *verdict) KD_MUST_USE;

/* A user signet: fields 5, 6, 253 and 255 (as far as it reaches), identifier form,
 * and that it is an address in the domain of org, which dime_org_verify has accepted
 * before; NULL does not hold ("no anchor").
 *
 * prev, if not NULL: the signet that is believed to come before it. Then either it is
 * the same link, or field 4 must be there and verify under prev's key (D-048, D-070).
 * Without prev field 4 is not checked and chained is false (D-071). */
kd_err dime_user_verify(const struct dime_signet *user, const struct dime_signet *org,
                        const struct dime_signet *prev,
                        struct dime_verdict *verdict) KD_MUST_USE;

/* One step of a chain of custody, for links of the past whose organizational keys are
 * gone: fields 5 and, with prev, 4 as above; nothing that the organization made. The
 * verdict says only what these two say. */
kd_err dime_custody_verify(const struct dime_signet *user,
                           const struct dime_signet *prev,
                           struct dime_verdict *verdict) KD_MUST_USE;

/* A signing request: field 5 by the key in it, field 4 under prev's (D-050). prev as
 * in dime_user_verify. */
kd_err dime_ssr_verify(const struct dime_signet *ssr, const struct dime_signet *prev,
                       struct dime_verdict *verdict) KD_MUST_USE;

/* True if key is the POK, or a SOK that has the permission and is not void (D-034). */
bool dime_org_permits(const struct dime_signet *org,
                      const uint8_t key[DIME_ED25519_KEY_SIZE], uint8_t perm);

/* All of them: the POK, then SOKs with the permission in field order. */
size_t dime_org_keys(const struct dime_signet *org, uint8_t perm,
                     uint8_t out[DIME_SOKS_MAX + 1][DIME_ED25519_KEY_SIZE]);

/* Whose signature this is, among the keys that may make one: the POK, then SOKs with
 * the permission in field order (D-068); permissions are looked at before any
 * verification. DIME_SIGNER_NONE if nobody's. */
int dime_org_signer(const struct dime_signet *org, uint8_t perm,
                    struct kd_slice message, const uint8_t sig[DIME_SIG_SIZE]);

#endif
