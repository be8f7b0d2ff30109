/* The audit chain as the vault sees it: it numbers and chains every record, keeps it
 * until the ledger has acknowledged exactly {epoch, sequence, hash}, and sends again
 * what has no acknowledgement when the ledger comes back. Nothing is released before.
 *
 * Where a returning ledger says it stands must be a place we have been; otherwise it
 * went back (or is another) and the vault refuses to go on. */
#ifndef KEYD_VAULT_CHAIN_H
#define KEYD_VAULT_CHAIN_H

#include <keyd/job/job.h>
#include <keyd/ledger/audit.h>

struct vault;
struct task;

enum {
    CHAIN_ROOM = 4096,               /* records without acknowledgement */
    CHAIN_WINDOW = 16 * 1024 * 1024, /* octets of them queued to the ledger */
    CHAIN_FENCE = 1000, /* epochs left out at an acceptance: the branch that is set
                         * aside may have begun some that nobody outside knew of */
};

struct chain_item {
    uint8_t hash[32];
    uint8_t *body; /* owned: the commit message */
    size_t size;
    int fd;            /* owned: the row's large object, or -1 */
    struct task *task; /* NULL: a record of the vault's own */
};

/* What the machine's clock is worth. Behind: by more than KD_AUDIT_CLOCK_BACK_MS before
 * the last record. Ahead: it has gone CLOCK_AHEAD_MS further than the monotonic clock
 * since this vault began;
 * one record with that time would make it "behind" for as long
 * when it is put right. Records of the vault's own then have the last good time. */
enum chain_clock { CLOCK_GOOD, CLOCK_BEHIND, CLOCK_AHEAD };
enum { CLOCK_AHEAD_MS = 3600 * 1000 };

struct chain {
    bool open;
    bool accepts; /* the record of an acceptance may be made, in spite of all */
    uint8_t instance[16];
    uint64_t epoch;       /* of this vault process; 0 before the ledger first spoke */
    uint64_t first, next; /* first <= unacknowledged < next */
    uint64_t sent;        /* the first that this channel was not given yet */
    uint8_t head[32];     /* hash of record next - 1 */
    uint8_t acked[32];    /* hash of record first - 1 */
    uint64_t time;        /* of record next - 1: never goes back */
    uint64_t since_checkpoint;
    int64_t wall_began, began; /* both clocks when this vault began, ms; 0: its clock
                                * was behind then, so that going ahead is right */
    enum chain_clock clock;    /* as it was last told of */
    int64_t clock_told_at;     /* CLOCK_MONOTONIC, ms */
    struct chain_item ring[CHAIN_ROOM];
};

/* Completes the record (instance, epoch, sequence, time, previous hash) and sends it
 * with its row. waiting (may be NULL) steps on at the acknowledgement; its idempotency
 * key is stored with the record. Takes row_fd. KD_UNAVAILABLE when the ledger has never
 * said where it stands, KD_BUSY when there is no room. */
kd_err chain_append(struct vault *v, struct kd_audit_record *record, enum kd_row row,
                    struct kd_slice row_body, int row_fd,
                    struct task *waiting) KD_MUST_USE;

/* Begins an epoch above every one that is known. Before the first record only. */
void chain_fence(struct vault *v);
/* The clock now; *seconds (may be NULL): how far it is off. */
enum chain_clock chain_clock(const struct chain *c, uint64_t *seconds);

/* Says so when it becomes wrong, every minute while it is, and when it is good again.
 * For every tick. */
void chain_watch_clock(struct vault *v);

/* Queues what the ledger has not been given yet, as far as the window goes. Nothing
 * before it has said that it is ready. For the end of every turn. */
void chain_send(struct vault *v);

/* Steps every task that waits for an acknowledgement on, with KD_UNKNOWN: none will
 * come (the vault has failed). */
void chain_give_up(struct vault *v);

/* The ledger's first message on a channel, and its acknowledgements. */
kd_err chain_on_state(struct vault *v, struct kd_slice body) KD_MUST_USE;
kd_err chain_on_ack(struct vault *v, struct kd_slice body) KD_MUST_USE;

#endif
