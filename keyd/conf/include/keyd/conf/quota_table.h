/* Counting against the quotas of a policy. Who decides whether an operation is allowed
 * also counts it: the vault its jobs, in memory of its own, and the gates what the
 * ledger answers directly (look-ups and the audit log), in memory they share. So a line
 * of every operation allows its rate for each of the two.
 *
 * Why shared: a listener has one to four gates, and a client's connections fall to them
 * as they come. Divided by their number, a quota would give a client with one
 * connection a quarter; and a domain's counts for the gates of all classes. The
 * supervisor makes the memory, of a sealed size; every gate writes the region of its
 * own class and that of the domains (which its class may use up anyway by asking), and
 * reads the others for Status and PolicyExplain. The vault does not map it: a captured
 * gate cannot give itself more than look-ups. Whatever stands in a cell is at worst an
 * empty bucket. */
#ifndef KEYD_CONF_QUOTA_TABLE_H
#define KEYD_CONF_QUOTA_TABLE_H

#include <keyd/conf/policy.h>

enum {
    KD_QUOTA_SLOTS = 20, /* processes that count in one region: the gates */
    KD_QUOTA_WAIT_MAX_MS = 3600000
};

/* Of one line. */
struct kd_quota_cell {
    kd_rate_state rate;
    _Atomic uint64_t made_for; /* what the line said: another one starts anew */
    _Atomic uint64_t refused;
    _Atomic uint16_t in_flight[KD_QUOTA_SLOTS]; /* of each process */
};

/* The lines of a class's rows by their index in the class's policy (or of all rows, in
 * the vault), or those of the domains. */
struct kd_quota_region {
    _Alignas(4096) struct kd_quota_cell cells[KD_POLICY_QUOTAS_MAX];
    _Atomic uint64_t refused[512]; /* by row; of domains unused */
};

struct kd_quota_shared {
    struct kd_quota_region classes[KD_CLASS_COUNT];
    struct kd_quota_region domains;
};

struct kd_quota_table {
    struct kd_quota_region *rows, *domains;
    unsigned slot; /* ours */
};

/* What a request in flight gives back at its end. All zero: nothing. */
struct kd_quota_held {
    uint8_t n;
    struct kd_quota_cell *of[KD_QUOTA_MATCHES_MAX];
};

/* Before the first request: lines that say something else than when their cell was last
 * used start anew, and what an earlier process in our slot left in flight is forgotten.
 * Again after a new policy, with keep_in_flight: what is in flight will be given back.
 */
void kd_quota_claim(const struct kd_quota_table *t, const struct kd_policy *policy,
                    bool keep_in_flight);

/* Takes one operation from every line that matches. KD_BUSY if one of them has none
 * left: nothing is taken then, the refusal is counted, and *wait_ms is the time after
 * which there is one (0: unknown, too many are in flight). now: CLOCK_MONOTONIC, ns. */
kd_err kd_quota_take(const struct kd_quota_table *t, const struct kd_policy *policy,
                     const struct kd_caller *caller, unsigned op,
                     struct kd_slice domain, int64_t now, struct kd_quota_held *held,
                     uint32_t *wait_ms) KD_MUST_USE;

/* The operation has ended. Empties held; giving twice gives once. */
void kd_quota_give(const struct kd_quota_table *t, struct kd_quota_held *held);

/* How a cell stands. */
struct kd_quota_level {
    uint32_t left; /* of the burst; 0 without a rate */
    uint32_t in_flight;
    uint64_t refused;
};
struct kd_quota_level kd_quota_level(const struct kd_quota_cell *cell,
                                     const struct kd_quota *quota, int64_t now);

/* Nothing in flight in any line: for tests of who gives back. */
bool kd_quota_is_at_rest(const struct kd_quota_table *t,
                         const struct kd_policy *policy);

/* --- the memory --- */

/* Two descriptors of one memfd of sealed size: one to write, one that can only be read.
 * KD_NOMEM, KD_IO. */
kd_err kd_quota_shared_make(int *writing, int *reading) KD_MUST_USE;

/* The class's view: t->rows and t->domains to write, *all to read. Without good
 * descriptors it is memory of this process alone. Closes neither. KD_NOMEM. */
kd_err kd_quota_shared_map(int writing, int reading, enum kd_class klass, unsigned slot,
                           struct kd_quota_table *t,
                           const struct kd_quota_shared **all) KD_MUST_USE;

/* A table of this process's own, for the vault. KD_NOMEM. */
kd_err kd_quota_private(struct kd_quota_table *t) KD_MUST_USE;

#endif
