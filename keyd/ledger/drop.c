/* Dropping what was exported: whether the asker has the records is found out a few at a
 * time, and their rows go a few at a time once the drop is recorded, so that nobody
 * waits for either. */
#include "ledger.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <limits.h>

enum { RECORDS_A_TURN = 512, SWEEP_A_TURN = 256, SWEEP_MS = 5 };

static kd_err
answer(struct ledger *l, uint64_t tag, kd_err err, enum kd_reason reason,
       struct kd_slice checkpoint)
{
    struct kd_told_drop m = {.tag = tag,
                             .err = (uint8_t)err,
                             .reason = (uint16_t)reason,
                             .checkpoint = checkpoint};

    kd_told_drop_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_told_drop, -1);
    return KD_OK;
}

static kd_err
refuse(struct ledger *l, uint64_t tag, kd_err err, enum kd_reason reason)
{
    return answer(l, tag, err, reason, kd_slice(NULL, 0));
}

/* KD_OK, or why these records may not go. */
static kd_err
may_go(struct ledger *l, uint64_t through, enum kd_reason *reason)
{
    struct kd_audit_tail base;
    struct kd_checkpoint last;
    struct kd_slice octets;
    kd_err err;

    kd_store_base(l->store, &base);
    *reason = KD_REASON_NOT_A_CHECKPOINT;
    if (through <= base.seq)
        return KD_NOT_FOUND;
    if ((err = kd_store_checkpoint_at(l->store, through, &octets)) != KD_OK)
        return err;
    *reason = KD_REASON_LAST_SEGMENT;
    if ((err = kd_store_checkpoint_last(l->store, &octets)) != KD_OK)
        return err;
    if (kd_checkpoint_decode(octets, &last) != KD_OK || last.seq <= through)
        return KD_CONFLICT;
    /* What is outside must still lie on what is left. */
    *reason = KD_REASON_CHECKPOINT_OVERDUE;
    if (l->outside.is_configured && l->outside.written < through)
        return KD_UNAVAILABLE;
    *reason = KD_REASON_NONE;
    return KD_OK;
}

kd_err
drop_on_ask(struct ledger *l, struct kd_slice body)
{
    struct kd_ask_drop ask;
    enum kd_reason reason;
    struct kd_audit_tail base;
    kd_err err = kd_ask_drop_get(body, &ask);

    if (err != KD_OK)
        return err;
    if (l->drop.is_hashing)
        return refuse(l, ask.tag, KD_BUSY, KD_REASON_DROP_RUNS);
    err = may_go(l, ask.through, &reason);
    if (err == KD_UNAVAILABLE && reason != KD_REASON_CHECKPOINT_OVERDUE)
        ledger_disk_failed("drop", err);
    if (err != KD_OK)
        return refuse(l, ask.tag, err, reason);
    kd_store_base(l->store, &base);
    l->drop.is_hashing = true;
    l->drop.tag = ask.tag;
    l->drop.through = ask.through;
    l->drop.next = base.seq + 1;
    memset(l->drop.hash, 0, sizeof l->drop.hash);
    memcpy(l->drop.claimed, ask.segment, sizeof l->drop.claimed);
    return KD_OK;
}

struct portion {
    struct drop *drop;
    unsigned left;
};

static bool
hash_one(void *arg, uint64_t seq, struct kd_slice record, kd_err stored)
{
    struct portion *p = arg;

    (void)stored;
    if (p->left == 0 || seq > p->drop->through)
        return false;
    kd_segment_add(p->drop->hash, record);
    p->drop->next = seq + 1;
    p->left--;
    return true;
}

static void
hash_some(struct ledger *l)
{
    struct drop *d = &l->drop;
    struct portion p = {d, RECORDS_A_TURN};
    struct kd_slice checkpoint;
    kd_err err = kd_store_records(l->store, d->next, hash_one, &p);

    if (err == KD_UNAVAILABLE)
        ledger_disk_failed("drop", err);
    if (err == KD_OK && d->next <= d->through && p.left == 0)
        return;
    d->is_hashing = false;
    if (err != KD_OK || d->next <= d->through) {
        /* The base moved meanwhile. */
        kd_ignore(refuse(l, d->tag, KD_CONFLICT, KD_REASON_SEGMENT_DIFFERS));
        return;
    }
    if (memcmp(d->hash, d->claimed, sizeof d->hash) != 0) {
        kd_ignore(refuse(l, d->tag, KD_INVALID, KD_REASON_SEGMENT_DIFFERS));
        return;
    }
    if ((err = kd_store_checkpoint_at(l->store, d->through, &checkpoint)) != KD_OK)
        ledger_disk_failed("drop", err);
    kd_ignore(answer(l, d->tag, KD_OK, KD_REASON_NONE, checkpoint));
}

static void
sweep_some(struct ledger *l)
{
    unsigned n = 0;

    batch_open(l);
    l->n_open++;
    kd_err err = kd_store_sweep(l->store, SWEEP_A_TURN, &n);
    if (err != KD_OK)
        ledger_disk_failed("dropped records", err);
    batch_commit(l);
    l->drop.is_sweeping = n != 0;
    l->drop.sweep_at = kd_clock_ms() + SWEEP_MS;
}

void
drop_forget(struct ledger *l)
{
    l->drop.is_hashing = false;
}

int
drop_turn(struct ledger *l)
{
    if (l->drop.is_hashing)
        hash_some(l);
    if (l->drop.is_sweeping && kd_clock_ms() >= l->drop.sweep_at)
        sweep_some(l);
    return l->drop.is_hashing ? 0 : l->drop.is_sweeping ? SWEEP_MS : INT_MAX;
}
