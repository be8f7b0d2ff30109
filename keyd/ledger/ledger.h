/* Inside the ledger: what its few files share. Nothing but ledger.c, its main and
 * the files of keyd/ledger beside this one includes it. */
#ifndef KEYD_LEDGER_LEDGER_H
#define KEYD_LEDGER_LEDGER_H

#include "../pool.h"
#include "../role.h"

#include <keyd/job/job.h>
#include <keyd/job/reasons.h>
#include <keyd/ledger/manifest.h>
#include <keyd/ledger/outside.h>
#include <keyd/ledger/store.h>
#include <keyd/ops/ops.h>

struct ledger;

/* A commit message that waits for the end of the turn. */
struct ledger_record;

/* Work for a thread beside the main one; done runs on the main thread after it. */
struct ledger_job {
    struct pool_item item; /* first: the pool knows only this */
    void (*done)(struct ledger *l, struct ledger_job *job);
};

struct outside_job {
    struct ledger_job base;
    int dir, head_fd;
    const char *name;
    bool with_head, is_synced, removes;
    unsigned slot;
    struct kd_checkpoint head;
    uint8_t octets[KD_CHECKPOINT_SIGNED_MAX];
    size_t n; /* 0: no checkpoint to write */
    uint64_t seq;
    kd_err err;
    int error;
};

/* What is kept outside (outside.c). */
struct outside {
    bool is_configured;
    int dir;  /* of the folder, -1 if it could not be opened */
    int head; /* the locked file, -1 before */
    enum kd_standing standing;
    struct kd_outside found;
    struct kd_checkpoint known; /* the newest head that was known at start */

    /* To be written, and how writing goes. */
    bool head_due, checkpoint_due, removal_due, is_busy;
    uint8_t octets[KD_CHECKPOINT_SIGNED_MAX]; /* the newest checkpoint */
    size_t n;
    uint64_t seq;     /* that it covers */
    uint64_t written; /* the one outside covers this */
    uint64_t failures;
    unsigned slot;
    int64_t again_at, failing_since; /* CLOCK_MONOTONIC, ms; 0: not failing */
    struct outside_job job;
};

/* Room on the disk (room.c). */
struct room {
    int fd; /* of the reserve */
    uint64_t free;
    bool is_low, lacks_reserve;
    int64_t look_at;
    unsigned n_commits;
};

struct copy_job {
    struct ledger_job base;
    char name[KD_BACKUP_NAME_MAX + 1];
    struct kd_manifest manifest;
    kd_err err;
};

/* A backup being made, or the last that was (copy.c). */
struct copy {
    enum kd_copy_state state;
    char name[KD_BACKUP_NAME_MAX + 1];
    uint16_t failed; /* why */
    uint64_t pages, total;
    struct kd_store_copy *store;
    struct copy_job job;
};

/* A drop being looked at, and rows to be swept away (drop.c). */
struct drop {
    bool is_hashing, is_sweeping;
    uint64_t tag, through, next;
    uint8_t hash[KD_SHA256_SIZE], claimed[KD_SHA256_SIZE];
    int64_t sweep_at;
};

struct ledger {
    struct kd_chan ctl;
    struct kd_role_link vault;
    struct kd_role_link gates[KD_GATES_MAX];
    struct kd_conf_for_ledger conf;
    struct kd_conf_for_ledger next; /* prepared, if next_serial is not 0 */
    uint32_t next_serial;
    struct kd_store *store;
    uint64_t looked[KD_CLASS_COUNT];    /* look-ups by class: counted, not recorded */
    uint64_t refused[KD_OP_MAX + 1];    /* refusals of the vault by operation */
    int64_t count_at, purge_at;         /* CLOCK_MONOTONIC, ms: when to do so next */
    struct ledger_record *first, *last; /* that came this turn */
    unsigned n_open;                    /* items in the open batch */
    struct kd_buf acks;    /* ack messages of the open batch, each behind a length */
    bool keystore_staged;  /* to be activated after the commit */
    uint32_t n_resets;     /* pending, as the vault was told */
    bool resets_moved;     /* the open batch may have changed that */
    struct kd_buf scratch; /* the message being made */
    bool batch_has_checkpoint, batch_restores, batch_drops;

    struct pool pool;
    struct outside outside;
    struct room room;
    struct copy copy;
    struct drop drop;
    struct kd_ledger_health health; /* as the vault was told */
    int64_t health_at;
};

/* --- ledger.c */

/* Buffers, and no link yet; configuration and store are the caller's to set. */
void ledger_begin(struct ledger *l);

/* One turn: waits at most so long for something to do, and does what there is. How long
 * the next may wait. */
int ledger_step(struct ledger *l, int wait_ms);

/* The disk or our memory failed, or the commit's outcome is unknown: ends the process,
 * and the next one opens and resolves. */
_Noreturn void ledger_disk_failed(const char *where, kd_err err);

/* Queues the message in scratch; without memory for it the peer must ask again. Takes
 * fd. */
void ledger_send(struct ledger *l, struct kd_chan *ch, uint16_t type, int fd);

/* --- batch.c: group commit */

/* Opens a batch unless one is open; who adds to it by the store's functions counts
 * n_open. */
void batch_open(struct ledger *l);

/* Commits what is open and queues its acknowledgements. */
void batch_commit(struct ledger *l);

/* Keeps a commit message for the end of the turn. Takes fd. */
void batch_set_aside(struct ledger *l, struct kd_slice body, int fd);

/* Stores what was set aside, and commits. */
void batch_store(struct ledger *l);

/* --- outside.c: the checkpoint on other storage */

/* Before the sandbox: opens the folder. */
void outside_setup(struct ledger *l);
/* Compares the registry with what is there; ends the process if another keyd has it. */
void outside_look(struct ledger *l);
/* After a commit, after that of an acceptance, and when this process is to end. */
void outside_committed(struct ledger *l, bool with_checkpoint);
void outside_accepted(struct ledger *l);
void outside_end(struct ledger *l);
bool outside_is_failing(const struct ledger *l);
bool outside_is_overdue(const struct ledger *l);

/* --- room.c: room on the disk */

/* In the state directory, before the registry is opened. */
void room_setup(struct ledger *l);
void room_look_if_due(struct ledger *l);
/* True if that much could be written and the reserve's size be left. */
bool room_has(const struct ledger *l, uint64_t octets);

/* --- copy.c: backups. drop.c: exported records */

kd_err copy_on_ask(struct ledger *l, struct kd_slice body) KD_MUST_USE;
kd_err drop_on_ask(struct ledger *l, struct kd_slice body) KD_MUST_USE;
/* The vault that asked is gone. */
void drop_forget(struct ledger *l);

/* A little of what is to be done; in how many ms there is more, INT_MAX for never. */
int outside_turn(struct ledger *l);
int copy_turn(struct ledger *l);
int drop_turn(struct ledger *l);

/* --- questions.c: the vault */

/* Tells the vault how things stand around the ledger, if that changed. */
void questions_health_if_due(struct ledger *l);

/* Where the ledger stands, and what a vault must know from the registry: the first
 * messages on every channel to it. */
void questions_greet(struct ledger *l);

/* Tells the vault how many resets are pending, if that has changed; after a commit. */
void questions_tell_resets(struct ledger *l);

/* A kd_chan_handler; ctx is the ledger. */
kd_err questions_on_message(void *ctx, uint16_t type, struct kd_slice body, int fd);

/* --- looks.c: the gates */

struct looks_from {
    struct ledger *l;
    unsigned gate;
};

/* A kd_chan_handler; ctx is a struct looks_from. */
kd_err looks_on_message(void *ctx, uint16_t type, struct kd_slice body, int fd);

#endif
