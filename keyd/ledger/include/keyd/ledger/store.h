/* The registry and audit log: the one interface to a back end. A back end is a table
 * of functions (backend.h); the functions here check what is
 * common to all and call through it.
 *
 * A store has one user, one thread and one connection. Nothing but a batch changes
 * it, and reads are made between batches (KD_INVALID within one). What a function hands
 * out as a slice is borrowed until the next call on the store; a visitor's arguments
 * until it returns, and a visitor must not call the store.
 *
 * Errors of all functions, beside those named: KD_UNAVAILABLE when the store is
 * broken. It is broken from the first error of the disk, of memory or of COMMIT on,
 * since what it believes may then differ from what the disk holds: the process ends
 * with _exit, and the next one resolves by opening again (a vault that was not
 * answered sends its records again, see kd_store_add). */
#ifndef KEYD_LEDGER_STORE_H
#define KEYD_LEDGER_STORE_H

#include <keyd/ledger/audit.h>

enum {
    KD_FP_SIZE = 64,        /* SHA-512 */
    KD_STORE_WHY_MAX = 200, /* octets of a reason text, NUL included */
    KD_STORE_SIGNET_MAX = 16777220,
    KD_STORE_KEYSTORE_MAX = 256 * 1024,
    KD_STORE_KEYS_MAX = 32,    /* key_seen rows of one item */
    KD_STORE_COUNTER_MAX = 64, /* octets of a counter's name */
    KD_IDEM_SIZE = 16,
};

struct kd_store;
struct kd_store_ops; /* a back end: backend.h */

/* --- open and close --- */

enum kd_store_check {
    KD_CHECK_QUICK, /* structure, as much of it as 1 s or so allows (see sqlite.c) */
    KD_CHECK_FULL,  /* everything the back end can check, and the whole chain */
    KD_CHECK_COPY,  /* the structure of all tables, however long that takes */
    KD_CHECK_NONE,
};

struct kd_store_conf {
    const char *dir;     /* holds registry and key store; ours alone, mode 0700 */
    bool create;         /* make a registry if there is none */
    unsigned busy_ms;    /* to wait for another opener; 0: 1,500 */
    size_t cache_size;   /* octets of page cache; 0: 8 MiB */
    uint64_t tail_check; /* records of the chain verified at open; 0: 16,384 */
    enum kd_store_check check;
    const struct kd_checkpoint
        *outside; /* refuse a registry older than this; or NULL */
};

/* Opens or creates (files 0600), verifies, resolves a key store change that was cut
 * short. why receives a text for the operator whenever the result is not KD_OK:
 *   KD_NOT_FOUND    no registry there, and create is not set
 *   KD_BUSY         somebody else has it open
 *   KD_UNSUPPORTED  the schema of another version of keyd
 *   KD_INVALID      damaged, altered, truncated, older than the outside checkpoint, or
 *                   the key store file is not the one recorded
 *   KD_IO           cannot be read or written: an operator must look (read-only)
 *   KD_UNAVAILABLE  the disk fails or is full, or there are no descriptors: may be
 *                   better in a moment
 *   KD_NOMEM
 * Before a sandbox, kd_store_setup. */
kd_err kd_store_open(const struct kd_store_ops *ops, const struct kd_store_conf *conf,
                     struct kd_store **out, char why[KD_STORE_WHY_MAX]) KD_MUST_USE;

/* What the back end can do only outside of a sandbox (it seeds its random numbers).
 * Call once before entering one. */
void kd_store_setup(const struct kd_store_ops *ops);

/* Rolls back an open batch. Accepts NULL. */
void kd_store_close(struct kd_store *s);

/* The head of the chain: committed, or within a batch including what was added. */
void kd_store_tail(const struct kd_store *s, struct kd_audit_tail *out);

/* The last record that was dropped, behind which the log begins; all zero but instance
 * if none ever was. */
void kd_store_base(const struct kd_store *s, struct kd_audit_tail *out);

/* How the registry stands against a head that was noted elsewhere (a checkpoint, whose
 * signature is not looked at). What lies before the base is taken to lie on the log. */
enum kd_store_order {
    KD_ORDER_LIES,      /* on the log */
    KD_ORDER_AHEAD,     /* of our head: records are missing here */
    KD_ORDER_OTHER,     /* another record stands there, or it is another registry */
    KD_ORDER_SET_ASIDE, /* noted before the last acceptance: means nothing any more */
};
kd_err kd_store_compare(struct kd_store *s, const struct kd_checkpoint *noted,
                        enum kd_store_order *out) KD_MUST_USE;

/* --- reading signets --- */

/* One signed form of one step of a custody chain. */
struct kd_signet_row {
    uint64_t link; /* internal number of the step */
    uint32_t generation, seq, version;
    bool head;              /* the last step of the current generation */
    bool newest;            /* no later version of this step */
    uint64_t made_ms;       /* this version */
    uint64_t superseded_ms; /* when the next step was made; 0 for a head */
    uint64_t audit_seq;
    uint8_t ssr_fp[KD_FP_SIZE]; /* fields 1 to 5; the same in every version */
    uint8_t core_fp[KD_FP_SIZE], full_fp[KD_FP_SIZE], id_fp[KD_FP_SIZE];
    uint8_t org_fp[KD_FP_SIZE]; /* full fingerprint of the org signet it is under */
    uint32_t core_size;         /* octets of fields 1 to 6 */
    struct kd_slice address;
    struct kd_slice signet; /* with its 5-octet header */
};

/* The newest version of the head of the current generation. KD_NOT_FOUND. */
kd_err kd_store_user_current(struct kd_store *s, struct kd_slice address,
                             struct kd_signet_row *out) KD_MUST_USE;

/* By a core or full fingerprint, of any step, version and generation (D-073). */
kd_err kd_store_user_by_fp(struct kd_store *s, struct kd_slice address,
                           const uint8_t fp[KD_FP_SIZE],
                           struct kd_signet_row *out) KD_MUST_USE;

typedef bool (*kd_signet_visitor)(void *arg, const struct kd_signet_row *row);

/* The signed forms of the head and of the steps of its generation that were superseded
 * at since_ms or later: the newest step first, its newest version first; at most max.
 * None for an address without a signet. */
kd_err kd_store_user_since(struct kd_store *s, struct kd_slice address,
                           uint64_t since_ms, unsigned max, kd_signet_visitor visitor,
                           void *arg) KD_MUST_USE;

/* VRFY (D-168): *current, and the newest core fingerprint of the head whatever it is.
 * KD_NOT_FOUND for an address without a signet. */
kd_err kd_store_user_verify(struct kd_store *s, struct kd_slice address,
                            const uint8_t core_fp[KD_FP_SIZE], bool *current,
                            uint8_t newest[KD_FP_SIZE]) KD_MUST_USE;

/* HIST (D-165): steps first to last, inclusive, of the current generation, or of the
 * older one that start lies in (D-072), whose head is step head. A step once given out
 * never changes, so pages can be asked for in turn.
 */
struct kd_history {
    uint32_t generation, first, last, head;
};

/* start, stop: core fingerprint of any version of a step, or NULL. KD_NOT_FOUND if the
 * address or start is unknown, stop is not of the same generation, or start comes after
 * stop. (291 of D-167: stop is NULL and first equals head.) */
kd_err kd_store_user_history(struct kd_store *s, struct kd_slice address,
                             const uint8_t *start, const uint8_t *stop,
                             struct kd_history *out) KD_MUST_USE;

/* A visitor returns false to stop. core: a core split signet with its header, of the
 * newest version of step seq. */
typedef bool (*kd_history_visitor)(void *arg, uint32_t seq, struct kd_slice core);

/* Visits steps from .. history->last, oldest first. */
kd_err kd_store_user_cores(struct kd_store *s, struct kd_slice address,
                           const struct kd_history *history, uint32_t from,
                           kd_history_visitor visitor, void *arg) KD_MUST_USE;

/* For mass re-signing: the first step numbered above after, in its newest version;
 * heads_only leaves out superseded ones. KD_NOT_FOUND at the end. */
kd_err kd_store_user_next(struct kd_store *s, uint64_t after, bool heads_only,
                          struct kd_signet_row *out) KD_MUST_USE;

struct kd_org_row {
    uint32_t version;
    bool current;
    uint64_t made_ms;
    uint64_t superseded_ms; /* 0 for the current one */
    uint64_t audit_seq;
    uint8_t core_fp[KD_FP_SIZE], full_fp[KD_FP_SIZE], id_fp[KD_FP_SIZE];
    struct kd_slice domain;
    struct kd_slice signet;
};

/* KD_NOT_FOUND. */
kd_err kd_store_org_current(struct kd_store *s, struct kd_slice domain,
                            struct kd_org_row *out) KD_MUST_USE;
kd_err kd_store_org_by_fp(struct kd_store *s, struct kd_slice domain,
                          const uint8_t full_fp[KD_FP_SIZE],
                          struct kd_org_row *out) KD_MUST_USE;

typedef bool (*kd_org_visitor)(void *arg, const struct kd_org_row *row);

/* All versions, oldest first. */
kd_err kd_store_org_history(struct kd_store *s, struct kd_slice domain,
                            kd_org_visitor visitor, void *arg) KD_MUST_USE;

/* The current one of every domain. */
kd_err kd_store_org_heads(struct kd_store *s, kd_org_visitor visitor,
                          void *arg) KD_MUST_USE;

/* Of every domain the versions that were superseded at since_ms or later, oldest first;
 * at most max of a domain, the newest. */
kd_err kd_store_org_formers(struct kd_store *s, uint64_t since_ms, unsigned max,
                            kd_org_visitor visitor, void *arg) KD_MUST_USE;

/* --- accounts and principals --- */

enum kd_hold { KD_HOLD_NONE, KD_HOLD_FROZEN, KD_HOLD_CLOSED };

/* A reset that is pending (D-072). Its delay has passed when both clocks say so: the
 * wall clock is at made_ms + delay_ms, and as much has been counted (uptime). */
struct kd_reset_row {
    struct kd_slice address;
    uint32_t generation; /* of the chain that it ends */
    bool approved;
    uint64_t made_ms; /* wall clock */
    uint64_t delay_ms;
    uint64_t uptime_ms; /* counted when it was asked for */
};

/* What is recorded of an address, which need not have a signet. */
struct kd_account {
    enum kd_hold hold;
    uint64_t since_ms;      /* of the last change of hold; 0: never */
    struct kd_slice reason; /* of the freeze, as its record says */
    bool attested;          /* an operator has attested level ECI (D-081) */
    uint32_t generation;    /* of its chain; 0: it has no signet */
    bool has_reset;
    struct kd_reset_row reset; /* its address is left out */
};

/* Never KD_NOT_FOUND: what nobody spoke of is open. KD_INVALID for no address. */
kd_err kd_store_account(struct kd_store *s, struct kd_slice address,
                        struct kd_account *out) KD_MUST_USE;

typedef bool (*kd_stopped_visitor)(void *arg, struct kd_slice name);

/* The principals that are stopped, as their records name them, in no order. */
kd_err kd_store_stopped(struct kd_store *s, kd_stopped_visitor visitor,
                        void *arg) KD_MUST_USE;

typedef bool (*kd_reset_visitor)(void *arg, const struct kd_reset_row *row);

/* Pending resets of addresses after `after` (may be empty), in octet order. */
kd_err kd_store_resets(struct kd_store *s, struct kd_slice after,
                       kd_reset_visitor visitor, void *arg) KD_MUST_USE;

/* How many are pending, and the milliseconds counted so far. */
kd_err kd_store_n_resets(struct kd_store *s, uint32_t *n) KD_MUST_USE;
kd_err kd_store_uptime(struct kd_store *s, uint64_t *ms) KD_MUST_USE;

/* --- what the vault asks before issuing --- */

struct kd_issue_query {
    struct kd_slice address;
    uint8_t ssr_fp[KD_FP_SIZE];
    uint8_t signing_key[32];
    uint8_t encryption_key[32]; /* x coordinate */
    bool has_idem;
    uint8_t idem[KD_IDEM_SIZE];
};

struct kd_issue_state {
    /* This very SSR was issued to this address before: the answer is stored.signet. */
    bool issued;
    struct kd_signet_row stored;
    /* The chain's head in its newest version; without one this would be a first
     * issuance. generation and seq of a next step follow from it. */
    bool has_head;
    struct kd_signet_row head;
    /* Any step of any address, or any organizational key, has it (D-080); not set for
     * the step that is stored. */
    bool signing_key_known;
    bool encryption_key_known;
    bool idem_seen;
    uint8_t idem_request[KD_SHA256_SIZE];
    uint64_t idem_seq;
    struct kd_account account;
};

kd_err kd_store_issue_query(struct kd_store *s, const struct kd_issue_query *query,
                            struct kd_issue_state *out) KD_MUST_USE;

/* *known: it is or was a user's signing key, or is an organizational key. */
kd_err kd_store_signing_key_known(struct kd_store *s, const uint8_t key[32],
                                  bool *known) KD_MUST_USE;

/* The request that used an idempotency key. KD_NOT_FOUND. */
kd_err kd_store_idem_find(struct kd_store *s, const uint8_t key[KD_IDEM_SIZE],
                          uint8_t request[KD_SHA256_SIZE],
                          uint64_t *audit_seq) KD_MUST_USE;

/* --- reading the log --- */

/* stored: KD_OK, or KD_CONFLICT if the rows that came with the record were not taken.
 */
typedef bool (*kd_record_visitor)(void *arg, uint64_t seq, struct kd_slice record,
                                  kd_err stored);

/* Records from .. the head, in order; KD_NOT_FOUND if from was dropped. */
kd_err kd_store_records(struct kd_store *s, uint64_t from, kd_record_visitor visitor,
                        void *arg) KD_MUST_USE;

typedef bool (*kd_checkpoint_visitor)(void *arg, uint64_t seq,
                                      struct kd_slice signed_octets);

/* Checkpoints of heads from .., in order. */
kd_err kd_store_checkpoints(struct kd_store *s, uint64_t from,
                            kd_checkpoint_visitor visitor, void *arg) KD_MUST_USE;

/* The latest one; KD_NOT_FOUND. */
kd_err kd_store_checkpoint_last(struct kd_store *s,
                                struct kd_slice *signed_octets) KD_MUST_USE;

/* The checkpoint of this very record; KD_NOT_FOUND. */
kd_err kd_store_checkpoint_at(struct kd_store *s, uint64_t seq,
                              struct kd_slice *signed_octets) KD_MUST_USE;

typedef bool (*kd_counter_visitor)(void *arg, struct kd_slice name, uint64_t value);
kd_err kd_store_counters(struct kd_store *s, kd_counter_visitor visitor,
                         void *arg) KD_MUST_USE;

struct kd_store_stats {
    uint64_t n_links;   /* steps of all chains */
    uint64_t size;      /* octets of the registry's file */
    uint64_t wal_size;  /* octets waiting for kd_store_tend */
    bool checked_whole; /* the check at open came to its end */
};
kd_err kd_store_stats(struct kd_store *s, struct kd_store_stats *out) KD_MUST_USE;

/* --- a batch: one transaction --- */

/* A new step of the chain named in the record (address, generation, link seq). */
struct kd_link_put {
    uint8_t predecessor[KD_FP_SIZE]; /* ssr_fp of the step before; zero for a root */
    uint8_t ssr_fp[KD_FP_SIZE];
    uint8_t signing_key[32];
    uint8_t encryption_key[32]; /* x coordinate: 02x and 03x are one key to ECDH */
    uint64_t uptime_ms;         /* counted so far; of a root that a reset allows */
};

/* Of a record that asks for a reset. */
struct kd_reset_put {
    uint64_t uptime_ms; /* counted so far */
};

/* A signed form of the step named in the record, which is new with it (version 1) or
 * was there (the next version). */
struct kd_signing_put {
    uint32_t version;
    uint32_t core_size; /* octets of fields 1 to 6, following the 5-octet header */
    uint8_t core_fp[KD_FP_SIZE], full_fp[KD_FP_SIZE], id_fp[KD_FP_SIZE];
    uint8_t org_fp[KD_FP_SIZE];
    struct kd_slice signet;
};

/* The next version of the org signet of the record's domain. */
struct kd_org_put {
    uint32_t version; /* from 1 */
    uint8_t core_fp[KD_FP_SIZE], full_fp[KD_FP_SIZE], id_fp[KD_FP_SIZE];
    struct kd_slice signet;
};

/* An organizational key, never to be a user's. Its being there already is no conflict;
 * its being a user's is. */
enum kd_org_key_kind { KD_ORG_KEY_POK = 1, KD_ORG_KEY_SOK, KD_ORG_KEY_ENCRYPTION };
struct kd_org_key_put {
    enum kd_org_key_kind kind;
    uint8_t key[32]; /* x coordinate for encryption keys */
};

struct kd_idem_put {
    uint8_t key[KD_IDEM_SIZE];
    uint8_t request[KD_SHA256_SIZE];
};

/* One audit record, and the rows that stand or fall with each other. NULL or empty is
 * "none". A record of a key store change moves the recorded generation by itself; the
 * file must have been staged. A record that freezes, thaws, closes, attests or revokes,
 * stops or allows, approves or cancels has its row by itself; what changes nothing, or
 * opens what is closed, is a conflict. No step is added for an address that is not
 * open; the root of a generation after the first takes a reset, which the same record
 * uses up; any other step ends the pending reset. A checkpoint must be of a head before
 * this record. */
struct kd_store_item {
    struct kd_slice record;
    const struct kd_link_put *link;
    const struct kd_signing_put *signing;
    const struct kd_org_put *org;
    const struct kd_reset_put *reset;
    const struct kd_idem_put *idem;
    const struct kd_org_key_put *keys;
    size_t n_keys;
    struct kd_slice checkpoint; /* signed octets */
    /* A RESTORE: the record's epoch becomes the one before which nothing noted
     * elsewhere counts, and if it names a key store, whose file must be in place, that
     * becomes the recorded one whatever its generation. */
    bool restore;
    /* A DROP: the log begins behind the record that the record is about, which must
     * have a checkpoint that is not the last. kd_store_sweep removes the rows. */
    bool drop;
};

/* What to acknowledge, after the commit. */
struct kd_store_ack {
    uint64_t epoch;
    uint64_t seq;
    uint8_t hash[KD_SHA256_SIZE];
    kd_err outcome; /* KD_OK; KD_CONFLICT: the record is stored, its rows are not */
};

/* Opens a batch. */
kd_err kd_store_begin(struct kd_store *s) KD_MUST_USE;

/* Adds an item. The record is stored whatever becomes of its rows; a constraint broken
 * by a row (another holds the place, the key is known, the predecessor is not the
 * head) drops the rows of this item alone, ack->outcome KD_CONFLICT.
 *
 * The record must continue the chain (kd_chain_feed). One that is stored already, the
 * same in seq and hash, is acknowledged with its earlier outcome and changes nothing:
 * so a vault may send again what it had no answer for.
 *
 * KD_INVALID, KD_MALFORMED: the item breaks a rule of this interface; it is not
 * stored, the batch goes on without it (the vault is at fault: log it, drop it).
 * KD_UNAVAILABLE: the disk is full or failed; nothing of the batch is stored. */
kd_err kd_store_add(struct kd_store *s, const struct kd_store_item *item,
                    struct kd_store_ack *ack) KD_MUST_USE;

/* Within a batch: adds n to a counter (lower case, digits, '-', '_', '.'). */
kd_err kd_store_count(struct kd_store *s, struct kd_slice name, uint64_t n) KD_MUST_USE;

/* Within a batch: ms have been counted (kd_store_uptime). It never goes back: less than
 * there is changes nothing. */
kd_err kd_store_count_uptime(struct kd_store *s, uint64_t ms) KD_MUST_USE;

/* Within a batch: forgets idempotency keys older than before_ms, at most max of
 * them; *n were forgotten. */
kd_err kd_store_purge_idem(struct kd_store *s, uint64_t before_ms, unsigned max,
                           unsigned *n) KD_MUST_USE;

/* Within a batch: removes at most max records that were dropped; *n were. */
kd_err kd_store_sweep(struct kd_store *s, unsigned max, unsigned *n) KD_MUST_USE;

/* Ends the batch durably. Anything but KD_OK is KD_UNKNOWN: it may or may not be
 * stored (F1). Answer nobody, _exit, open again. */
kd_err kd_store_commit(struct kd_store *s) KD_MUST_USE;

/* Ends the batch with nothing stored. */
void kd_store_abort(struct kd_store *s);

/* Work put off from commits: moves the write-ahead log into the registry's file when
 * it has grown. Call after the answers of a commit are out. KD_UNKNOWN: _exit as
 * above (all that was acknowledged is safe). */
kd_err kd_store_tend(struct kd_store *s) KD_MUST_USE;

/* --- the key store file --- */

/* Writes octets beside the key store, durably, and reads them back. The record that
 * names their SHA-256 and the next generation is then added and committed, and
 * activate puts the file in place. Staging again replaces what was staged. */
kd_err kd_store_keystore_stage(struct kd_store *s, struct kd_slice octets) KD_MUST_USE;

/* After a commit: puts the staged file in place if it is the one recorded, else removes
 * it (its change lost a race, or was made before and has been followed by another, as
 * when a vault sends its record again). Nothing to do if nothing is staged. */
kd_err kd_store_keystore_activate(struct kd_store *s) KD_MUST_USE;

/* The key store as recorded; *generation 0 if no change was ever recorded (the file
 * then comes from the ceremony). KD_NOT_FOUND if there is no file. */
kd_err kd_store_keystore_read(struct kd_store *s, struct kd_slice *octets,
                              uint64_t *generation) KD_MUST_USE;

/* The recorded key store that an operator set aside (keystore.set-aside), while there
 * is none in its place; KD_NOT_FOUND otherwise. */
kd_err kd_store_keystore_aside(struct kd_store *s, struct kd_slice *octets,
                               uint64_t *generation) KD_MUST_USE;
/* --- a copy while the store is in use --- */

/* A copy of the registry into a new file, a few pages at a time, between batches; what
 * is committed meanwhile is in it. After the step that says done it is the registry as
 * it was then, and nothing may be committed before the key store's file was copied too
 * if the two are to belong together. Nothing is synced. */
struct kd_store_copy;
struct kd_store_copied {
    uint64_t pages, total;
    bool done;
};
kd_err kd_store_copy_begin(struct kd_store *s, const char *path,
                           struct kd_store_copy **out) KD_MUST_USE;
/* KD_IO: the copy failed (the store did not). */
kd_err kd_store_copy_step(struct kd_store_copy *c, unsigned pages,
                          struct kd_store_copied *out) KD_MUST_USE;
/* Closes the file, whatever it holds; accepts NULL. KD_IO if it was done and cannot be
 * closed in order. */
kd_err kd_store_copy_end(struct kd_store_copy *c);

/* --- back ends --- */

extern const struct kd_store_ops kd_store_sqlite;

#endif
