/* What a registry back end provides to store.c. A function here does what its
 * namesake in store.h says; store.c has checked the arguments, knows whether a batch
 * is open and whether the store is broken, verifies the chain and keeps the key store
 * file. Results are those of store.h, and KD_IO or KD_NOMEM for what breaks the store
 * (the back end logs the detail). */
#ifndef KEYD_LEDGER_BACKEND_H
#define KEYD_LEDGER_BACKEND_H

#include <keyd/ledger/store.h>

struct kd_backend;      /* each back end's own */
struct kd_backend_copy; /* a copy that is being made */

/* What the registry says of itself, beside its log. */
struct kd_backend_head {
    uint8_t instance[KD_INSTANCE_SIZE];
    uint64_t seq; /* of the last record committed */
    uint8_t hash[KD_SHA256_SIZE];
    uint64_t referred; /* the highest record that a row names */
    uint64_t keystore_generation;
    uint8_t keystore_sha256[KD_SHA256_SIZE];
    struct kd_audit_tail base; /* of the last record dropped; instance is not set */
    uint64_t fence;            /* epoch of the last acceptance; 0: there was none */
};

/* A row of the log. */
struct kd_backend_record {
    uint64_t seq;
    uint64_t epoch;
    struct kd_slice hash;
    struct kd_slice record;
    kd_err stored;
};
typedef bool (*kd_backend_visitor)(void *arg, const struct kd_backend_record *row);

/* True for a record that makes a row of its own without anything beside it: of an
 * account or a principal. */
bool kd_store_makes_row(const struct kd_audit_record *record);

/* What such a record says; false for a reset's. */
enum kd_hold_kind { KD_HOLD_ADDRESS = 1, KD_HOLD_PRINCIPAL, KD_HOLD_LEVEL };
struct kd_hold_change {
    enum kd_hold_kind kind;
    unsigned state;         /* as the schema says */
    struct kd_slice name;   /* borrows from the record */
    struct kd_slice detail; /* may be empty */
};
bool kd_store_hold_change(const struct kd_audit_record *record,
                          struct kd_hold_change *out);

/* The delay that a record asking for a reset names, in ms. */
kd_err kd_store_reset_delay(const struct kd_audit_record *record,
                            uint64_t *ms) KD_MUST_USE;

struct kd_store_ops {
    const char *name;

    void (*setup)(void);
    kd_err (*open)(const struct kd_store_conf *conf, struct kd_backend **out,
                   char why[KD_STORE_WHY_MAX]);
    void (*close)(struct kd_backend *b);
    /* True if it has seen that its file is damaged, as opposed to a disk that fails. */
    bool (*is_damaged)(const struct kd_backend *b);
    kd_err (*head)(struct kd_backend *b, struct kd_backend_head *out);
    kd_err (*stats)(struct kd_backend *b, struct kd_store_stats *out);
    /* Rows that a record of their own makes (signets, of users and organizations,
     * holds, resets asked for, approved, cancelled), of records from `from` on; counted
     * up to max and a few. */
    kd_err (*rows_since)(struct kd_backend *b, uint64_t from, uint64_t max,
                         uint64_t *n);

    kd_err (*user_current)(struct kd_backend *b, struct kd_slice address,
                           struct kd_signet_row *out);
    kd_err (*user_by_fp)(struct kd_backend *b, struct kd_slice address,
                         const uint8_t *fp, struct kd_signet_row *out);
    kd_err (*user_since)(struct kd_backend *b, struct kd_slice address,
                         uint64_t since_ms, unsigned max, kd_signet_visitor visitor,
                         void *arg);
    kd_err (*user_verify)(struct kd_backend *b, struct kd_slice address,
                          uint8_t newest[KD_FP_SIZE]);
    kd_err (*user_history)(struct kd_backend *b, struct kd_slice address,
                           const uint8_t *start, const uint8_t *stop,
                           struct kd_history *out);
    kd_err (*user_cores)(struct kd_backend *b, struct kd_slice address,
                         const struct kd_history *history, uint32_t from,
                         kd_history_visitor visitor, void *arg);
    kd_err (*user_next)(struct kd_backend *b, uint64_t after, bool heads_only,
                        struct kd_signet_row *out);
    kd_err (*org_current)(struct kd_backend *b, struct kd_slice domain,
                          struct kd_org_row *out);
    kd_err (*org_by_fp)(struct kd_backend *b, struct kd_slice domain,
                        const uint8_t *full_fp, struct kd_org_row *out);
    kd_err (*org_history)(struct kd_backend *b, struct kd_slice domain,
                          kd_org_visitor visitor, void *arg);
    kd_err (*org_heads)(struct kd_backend *b, kd_org_visitor visitor, void *arg);
    kd_err (*org_formers)(struct kd_backend *b, uint64_t since_ms, unsigned max,
                          kd_org_visitor visitor, void *arg);
    kd_err (*account)(struct kd_backend *b, struct kd_slice address,
                      struct kd_account *out);
    kd_err (*stopped)(struct kd_backend *b, kd_stopped_visitor visitor, void *arg);
    kd_err (*resets)(struct kd_backend *b, struct kd_slice after,
                     kd_reset_visitor visitor, void *arg);
    kd_err (*n_resets)(struct kd_backend *b, uint32_t *n);
    kd_err (*uptime)(struct kd_backend *b, uint64_t *ms);
    kd_err (*issue_query)(struct kd_backend *b, const struct kd_issue_query *query,
                          struct kd_issue_state *out);
    kd_err (*signing_key_known)(struct kd_backend *b, const uint8_t *key, bool *known);
    kd_err (*idem_find)(struct kd_backend *b, const uint8_t *key, uint8_t *request,
                        uint64_t *audit_seq);

    /* from .. to, in order */
    kd_err (*records)(struct kd_backend *b, uint64_t from, uint64_t to,
                      kd_backend_visitor visitor, void *arg);
    kd_err (*checkpoints)(struct kd_backend *b, uint64_t from,
                          kd_checkpoint_visitor visitor, void *arg);
    kd_err (*checkpoint_last)(struct kd_backend *b, struct kd_slice *signed_octets);
    kd_err (*checkpoint_at)(struct kd_backend *b, uint64_t seq,
                            struct kd_slice *signed_octets);
    kd_err (*counters)(struct kd_backend *b, kd_counter_visitor visitor, void *arg);

    kd_err (*begin)(struct kd_backend *b);
    /* The record is the next of the chain. Only KD_OK (*outcome tells of the rows) or
     * what breaks the store. */
    kd_err (*add)(struct kd_backend *b, const struct kd_store_item *item,
                  const struct kd_audit_record *record, const uint8_t *hash,
                  kd_err *outcome);
    kd_err (*count)(struct kd_backend *b, struct kd_slice name, uint64_t n);
    kd_err (*count_uptime)(struct kd_backend *b, uint64_t ms);
    kd_err (*purge_idem)(struct kd_backend *b, uint64_t before_ms, unsigned max,
                         unsigned *n);
    kd_err (*sweep)(struct kd_backend *b, unsigned max, unsigned *n);
    /* tail: of the last record in the batch, recorded as the head. Anything but KD_OK
     * is taken for unknown. */
    kd_err (*commit)(struct kd_backend *b, const struct kd_audit_tail *tail);
    void (*abort)(struct kd_backend *b);
    kd_err (*tend)(struct kd_backend *b);

    kd_err (*copy_begin)(struct kd_backend *b, const char *path,
                         struct kd_backend_copy **out);
    kd_err (*copy_step)(struct kd_backend_copy *c, unsigned pages,
                        struct kd_store_copied *out);
    kd_err (*copy_end)(struct kd_backend_copy *c);
};

#endif
