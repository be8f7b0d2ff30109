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
    KD_QUOTA_SLOTS = 20,      /* processes that count in one region: the gates */
    KD_QUOTA_CELLS = 1 << 14, /* the lines and rows of three policies, and some */
    KD_QUOTA_WAIT_MAX_MS = 3600000
};

/* What is counted for one line; for a row, refused alone. */
struct kd_quota_cell {
    _Alignas(128) kd_rate_state rate;
    _Atomic uint64_t mark; /* whose it is; 0: nobody's */
    _Atomic uint64_t refused;
    _Atomic uint32_t serial; /* of the last configuration that had it */
    _Atomic uint16_t in_flight[KD_QUOTA_SLOTS]; /* of each process */
};

/* A line has its cell by its mark, a hash of whose line it is and of what it says, in
 * an open table: what a new configuration leaves as it was goes on counting where it
 * counted, wherever it stands now, and what says something else starts anew. When none
 * is free, a cell that the last configurations did not have becomes another line's. */
struct kd_quota_region {
    struct kd_quota_cell cells[KD_QUOTA_CELLS];
};

struct kd_quota_shared {
    struct kd_quota_region classes[KD_CLASS_COUNT];
    struct kd_quota_region domains;
};

struct kd_quota_table {
    struct kd_quota_region *rows, *domains;
    unsigned slot; /* ours */
};

/* Where the lines of one policy count: indices of cells. */
struct kd_quota_map {
    uint16_t *of_lines;   /* owned; of each line of rows */
    uint16_t *of_rows;    /* behind them: where a row's refusals count */
    uint16_t *of_domains; /* behind those: of each line of domains */
    size_t n_rows_and_lines, n_domains;
};

/* What a request in flight gives back at its end. All zero: nothing. */
struct kd_quota_held {
    uint8_t n;
    struct kd_quota_cell *of[KD_QUOTA_MATCHES_MAX];
};

/* The marks of a line and of a row. */
uint64_t kd_quota_mark_line(const struct kd_policy *policy, bool of_domain, size_t at);
uint64_t kd_quota_mark_row(const struct kd_policy *policy, size_t row);

/* Finds or takes the cells of a policy that comes into force, the serial'th
 * configuration; 0: a new process does not know yet, and claims again when it does.
 * before: where this process counted until now; what it had not is not in flight here,
 * whatever a process before it left in the slot. NULL: it is new. KD_NOMEM. */
kd_err kd_quota_claim(const struct kd_quota_table *t, const struct kd_policy *policy,
                      uint32_t serial, const struct kd_quota_map *before,
                      struct kd_quota_map *out) KD_MUST_USE;
void kd_quota_map_clear(struct kd_quota_map *map);

/* Takes one operation from every line of match, which is of the policy that map is of.
 * KD_BUSY if one of them has none left: nothing is taken then, the refusal is counted,
 * and *wait_ms is the time after which there is one (0: unknown, too many are in
 * flight). now: CLOCK_MONOTONIC, ns. */
kd_err kd_quota_take(const struct kd_quota_table *t, const struct kd_quota_map *map,
                     const struct kd_quota_match *match, int64_t now,
                     struct kd_quota_held *held, uint32_t *wait_ms) KD_MUST_USE;

/* The operation has ended. Empties held; giving twice gives once. */
void kd_quota_give(const struct kd_quota_table *t, struct kd_quota_held *held);

/* The cell of a mark, to read; NULL if it has none. */
const struct kd_quota_cell *kd_quota_find(const struct kd_quota_region *region,
                                          uint64_t mark);

/* How a cell stands. */
struct kd_quota_level {
    uint32_t left; /* of the burst; 0 without a rate */
    uint32_t in_flight;
    uint64_t refused;
};
struct kd_quota_level kd_quota_level(const struct kd_quota_cell *cell,
                                     const struct kd_quota *quota, int64_t now);

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
