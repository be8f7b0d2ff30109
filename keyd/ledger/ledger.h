/* Inside the ledger: what its few files share. Nothing but keyd/ledger.c and the files
 * of keyd/ledger beside this one includes it. */
#ifndef KEYD_LEDGER_LEDGER_H
#define KEYD_LEDGER_LEDGER_H

#include "../role.h"

#include <keyd/job/job.h>
#include <keyd/ledger/store.h>
#include <keyd/ops/ops.h>

/* A commit message that waits for the end of the turn. */
struct ledger_record;

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
};

/* --- ledger.c */

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

/* --- questions.c: the vault */

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
