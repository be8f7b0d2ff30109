#include "chain.h"
#include "task.h"
#include "vault.h"

#include <keyd/base/clock.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct chain_item *
item_at(struct chain *c, uint64_t seq)
{
    return &c->ring[seq % CHAIN_ROOM];
}

static void
item_clear(struct chain_item *item)
{
    free(item->body);
    if (item->fd >= 0)
        close(item->fd);
    *item = (struct chain_item){.fd = -1};
}

static void
send_item(struct vault *v, const struct chain_item *item)
{
    int fd = item->fd < 0 ? -1 : fcntl(item->fd, F_DUPFD_CLOEXEC, 0);

    if (item->fd >= 0 && fd < 0) {
        kd_chan_close(&v->ledger.chan);
        return;
    }
    if (kd_chan_put(&v->ledger.chan, KD_MSG_commit, kd_slice(item->body, item->size),
                    fd) != KD_OK)
        kd_chan_close(&v->ledger.chan);
}

/* A channel that is gone is no error: everything unacknowledged is sent again when
 * there is a new one. */
void
chain_send(struct vault *v)
{
    struct chain *c = &v->chain;

    if (v->ledger_phase != LEDGER_READY)
        return;
    while (c->sent < c->next && v->ledger.chan.fd >= 0 &&
           v->ledger.chan.backlog <= CHAIN_WINDOW)
        send_item(v, item_at(c, c->sent++));
}

enum chain_clock
chain_clock(const struct chain *c, uint64_t *seconds)
{
    int64_t now = kd_clock_wall_ms(), last = (int64_t)c->time;
    int64_t ahead = now - c->wall_began - (kd_clock_ms() - c->began);
    enum chain_clock is = CLOCK_GOOD;
    int64_t off = 0;

    if (c->epoch != 0 && now < last - KD_AUDIT_CLOCK_BACK_MS) {
        is = CLOCK_BEHIND;
        off = last - now;
    } else if (c->epoch != 0 && c->began != 0 && ahead > CLOCK_AHEAD_MS) {
        is = CLOCK_AHEAD;
        off = ahead;
    }
    if (seconds != NULL)
        *seconds = (uint64_t)off / 1000;
    return is;
}

void
chain_watch_clock(struct vault *v)
{
    enum { AGAIN_MS = 60 * 1000 };
    static const enum vault_event events[] = {[CLOCK_GOOD] = EVENT_CLOCK_GOOD,
                                              [CLOCK_BEHIND] = EVENT_CLOCK_BEHIND,
                                              [CLOCK_AHEAD] = EVENT_CLOCK_AHEAD};
    struct chain *c = &v->chain;
    uint64_t seconds;
    enum chain_clock is = chain_clock(c, &seconds);
    int64_t now = kd_clock_ms();

    if (is == CLOCK_GOOD && c->epoch != 0 && c->began == 0) {
        c->wall_began = kd_clock_wall_ms();
        c->began = now;
    }
    if (is == c->clock && (is == CLOCK_GOOD || now - c->clock_told_at < AGAIN_MS))
        return;
    c->clock = is;
    c->clock_told_at = now;
    vault_event(v, events[is], seconds, 0);
}

/* Wall clock, but never before the last record's, and not one that has jumped. */
static uint64_t
next_time(const struct chain *c)
{
    int64_t now = kd_clock_wall_ms();

    return chain_clock(c, NULL) == CLOCK_GOOD && now > 0 && (uint64_t)now > c->time
               ? (uint64_t)now
               : c->time;
}

static kd_err
encode(const struct kd_audit_record *record, enum kd_row row, struct kd_slice row_body,
       const struct task *waiting, struct chain_item *item)
{
    struct kd_buf octets, body;
    kd_err err;

    kd_buf_init(&octets, KD_AUDIT_RECORD_MAX);
    kd_buf_init(&body, KD_CHAN_BODY_MAX);
    if ((err = kd_audit_encode(record, &octets)) != KD_OK)
        goto out;
    kd_audit_hash(kd_buf_slice(&octets), item->hash);
    struct kd_commit m = {
        .record = kd_buf_slice(&octets), .row = (uint8_t)row, .row_body = row_body};
    if (waiting != NULL && waiting->has_key) {
        m.has_key = 1;
        memcpy(m.key, waiting->key, sizeof m.key);
        memcpy(m.request, waiting->request, sizeof m.request);
    }
    kd_commit_put(&body, &m);
    err = kd_buf_take(&body, &item->body, &item->size);
out:
    kd_buf_free(&octets);
    kd_buf_free(&body);
    return err;
}

kd_err
chain_append(struct vault *v, struct kd_audit_record *record, enum kd_row row,
             struct kd_slice row_body, int row_fd, struct task *waiting)
{
    struct chain *c = &v->chain;
    struct chain_item item = {.fd = row_fd, .task = waiting};
    kd_err err = KD_OK;

    if (c->epoch == 0 || (v->state == VAULT_FAILED && !c->accepts))
        err = KD_UNAVAILABLE;
    else if (c->next - c->first >= CHAIN_ROOM)
        err = KD_BUSY;
    if (err != KD_OK)
        goto fail;
    memcpy(record->instance, c->instance, sizeof record->instance);
    record->epoch = c->epoch;
    record->seq = c->next;
    record->time_ms = next_time(c);
    memcpy(record->prev, c->head, sizeof record->prev);
    if ((err = encode(record, row, row_body, waiting, &item)) != KD_OK)
        goto fail;
    c->time = record->time_ms;
    memcpy(c->head, item.hash, sizeof c->head);
    *item_at(c, c->next) = item;
    c->next++;
    c->since_checkpoint++;
    chain_send(v);
    return KD_OK;
fail:
    item_clear(&item);
    return err;
}

/* True if this vault has been where the ledger says it stands. */
static bool
knows(struct chain *c, uint64_t seq, const uint8_t hash[32])
{
    if (seq + 1 < c->first || seq >= c->next)
        return false;
    const uint8_t *ours = seq + 1 == c->first ? c->acked : item_at(c, seq)->hash;
    return memcmp(ours, hash, 32) == 0;
}

static void
begin(struct chain *c, const struct kd_ledger_state *state)
{
    memcpy(c->instance, state->instance, sizeof c->instance);
    c->epoch = state->epoch + 1;
    c->first = c->next = c->sent = state->seq + 1;
    memcpy(c->head, state->hash, sizeof c->head);
    memcpy(c->acked, state->hash, sizeof c->acked);
    c->time = state->time;
    c->began = 0;
    if (chain_clock(c, NULL) == CLOCK_GOOD) {
        c->wall_began = kd_clock_wall_ms();
        c->began = kd_clock_ms();
    }
}

void
chain_fence(struct vault *v)
{
    struct chain *c = &v->chain;
    uint64_t known = v->outside.epoch > c->epoch ? v->outside.epoch : c->epoch;

    if (known < INT64_MAX - CHAIN_FENCE)
        c->epoch = known + CHAIN_FENCE;
}

kd_err
chain_on_state(struct vault *v, struct kd_slice body)
{
    struct chain *c = &v->chain;
    struct kd_ledger_state state;
    kd_err err;

    if ((err = kd_ledger_state_get(body, &state)) != KD_OK)
        return err;
    if (state.seq == UINT64_MAX || state.epoch == UINT64_MAX)
        return KD_MALFORMED;
    if (c->epoch == 0) {
        begin(c, &state);
    } else if (memcmp(c->instance, state.instance, sizeof c->instance) != 0 ||
               !knows(c, state.seq, state.hash)) {
        vault_event(v, EVENT_LEDGER_WENT_BACK, state.seq, c->first - 1);
        vault_raise(v, KD_STATE_LEDGER_WENT_BACK);
        v->state = VAULT_FAILED;
        v->standing = KD_STANDS_UNKNOWN; /* no operation lifts this */
        chain_give_up(v);
        return KD_OK;
    }
    /* What the ledger already has it acknowledges again, with the outcome. */
    c->sent = c->first;
    return KD_OK;
}

void
chain_give_up(struct vault *v)
{
    struct chain *c = &v->chain;

    for (uint64_t seq = c->first; seq < c->next; seq++) {
        struct chain_item *item = item_at(c, seq);
        struct task *t = item->task;
        item->task = NULL;
        if (t != NULL)
            task_step_on(v, t, KD_UNKNOWN);
    }
}

kd_err
chain_on_ack(struct vault *v, struct kd_slice body)
{
    struct chain *c = &v->chain;
    struct kd_ack ack;
    kd_err err;

    if ((err = kd_ack_get(body, &ack)) != KD_OK)
        return err;
    /* Acknowledgements come in order; anything else is dropped, so that a captured
     * ledger releases nothing that is not recorded. */
    if (ack.epoch != c->epoch || ack.seq != c->first || ack.seq >= c->next ||
        memcmp(ack.hash, item_at(c, ack.seq)->hash, sizeof ack.hash) != 0)
        return KD_OK;
    struct chain_item *item = item_at(c, ack.seq);
    struct task *t = item->task;
    memcpy(c->acked, item->hash, sizeof c->acked);
    item_clear(item);
    c->first++;
    if (c->sent < c->first)
        c->sent = c->first;
    if (t != NULL) {
        t->is_recorded = ack.outcome == KD_OK;
        task_step_on(v, t, ack.outcome == KD_OK ? KD_OK : KD_CONFLICT);
    }
    return KD_OK;
}
