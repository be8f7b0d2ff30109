/* What a resolver remembers, on disk (RS-16, RS-29, D-020, D-021, D-076, D-077).
 *
 * Two files with different promises. The cache may be lost, and is begun anew if it is
 * damaged; that is told, since the records in it are what keeps a domain a DIME one
 * when its record is taken away (MR-81). The ring may not: it holds the signets that
 * were validated and the pins that make a change visible, is kept twice, and each copy
 * mends the other.
 *
 * Times are seconds since 1970 and are given. Names are lower-case A-labels. Several
 * processes and threads may use one directory at once. Every row carries a checksum,
 * and one that does not hold is not believed. */
#ifndef DIME_RESOLVER_STORE_H
#define DIME_RESOLVER_STORE_H

#include "hold.h"
#include "steps.h"

#include <dime/fingerprint.h>
#include <keyd/base/buf.h>

struct store;

/* dir: made with mode 0700 if it is not there; one that others may enter is refused.
 * What was found damaged, and what was done, goes to steps. KD_OK; KD_DENIED, KD_IO
 * (with *why), KD_UNSUPPORTED for files of a later release, which stay untouched. */
kd_err store_open(const char *dir, struct steps *steps, struct store **out,
                  const char **why) KD_MUST_USE;
void store_close(struct store *s);

/* --- management records --- */

struct store_record {
    struct kd_buf text; /* the record's; the caller's to free */
    bool is_secure;
    int64_t fetched_at, refresh_at; /* when the DNS is asked again */
    int64_t purge_at;               /* it lives so long whatever the DNS says */
};

/* KD_OK; KD_NOT_FOUND: none that lives at now. */
kd_err store_record_get(struct store *s, const char *domain, int64_t now,
                        struct store_record *out) KD_MUST_USE;

/* What the DNS said now. purge_at = max(what was, now + days), each term within 365
 * days of now (D-020, D-021). A record that is not secure does not replace one that is
 * and still lives: then only refresh_at moves, and *is_kept is set (T-MR-67). */
kd_err store_record_put(struct store *s, const char *domain, struct kd_slice text,
                        bool is_secure, uint32_t ttl, unsigned expiry_days, int64_t now,
                        bool *is_kept) KD_MUST_USE;

/* The DNS has none, or cannot be asked: when it is asked again; nothing else changes.
 */
kd_err store_record_later(struct store *s, const char *domain,
                          int64_t refresh_at) KD_MUST_USE;

/* --- the ring --- */

/* A signet that was validated, current when it was last confirmed. */
struct store_signet {
    struct kd_buf octets; /* the caller's to free */
    int64_t first_seen, confirmed_at;
    bool is_accepted; /* by a user, against a broken chain (D-070) */
};

/* name: a domain's organizational signet, or an address's. */
kd_err store_signet_get(struct store *s, const char *name,
                        struct store_signet *out) KD_MUST_USE;

/* Becomes the current one; the ones before stay in the ring with the time at which they
 * were superseded, at most 1,000 a name. The same octets only confirm. */
kd_err store_signet_put(struct store *s, const char *name, struct kd_slice octets,
                        const uint8_t core[DIME_FINGERPRINT_SIZE],
                        const uint8_t full[DIME_FINGERPRINT_SIZE], bool is_accepted,
                        int64_t now) KD_MUST_USE;

/* Its host said that it is current. */
kd_err store_signet_confirm(struct store *s, const char *name, int64_t now) KD_MUST_USE;

/* By fingerprint (core or full), current or superseded, of that name. */
kd_err store_signet_find(struct store *s, const char *name,
                         const uint8_t fingerprint[DIME_FINGERPRINT_SIZE],
                         struct store_signet *out) KD_MUST_USE;

/* What was found against a broken chain, waiting for the user; one a name, the last. */
kd_err store_found_put(struct store *s, const char *name, struct kd_slice octets,
                       const uint8_t core[DIME_FINGERPRINT_SIZE],
                       int64_t now) KD_MUST_USE;
kd_err store_found_get(struct store *s, const char *name, struct kd_buf *octets,
                       uint8_t core[DIME_FINGERPRINT_SIZE]) KD_MUST_USE;
kd_err store_found_forget(struct store *s, const char *name) KD_MUST_USE;

/* A primary key that is waited for. KD_NOT_FOUND: none. */
kd_err store_hold_get(struct store *s, const char *domain,
                      struct hold *out) KD_MUST_USE;
kd_err store_hold_put(struct store *s, const char *domain,
                      const struct hold *hold) KD_MUST_USE;
kd_err store_hold_forget(struct store *s, const char *domain) KD_MUST_USE;

#endif
