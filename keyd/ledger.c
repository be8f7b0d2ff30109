/* ledger.h: a turn of the ledger, and what belongs to no other file. */
#include "ledger/ledger.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PACKETS_A_TURN = 64,
    TICK_MS = 1000,
    COUNT_MS = 10 * 1000,
    PURGE_MS = 3600 * 1000,
    PURGE_MOST = 10000,
    IDEM_KEEP_MS = 14LL * 24 * 3600 * 1000,
};

_Noreturn void
ledger_disk_failed(const char *where, kd_err err)
{
    kd_log(KD_WARN, "%s: %s; ending, to open again and resolve", where,
           kd_err_text(err));
    _exit(1);
}

void
ledger_send(struct ledger *l, struct kd_chan *ch, uint16_t type, int fd)
{
    kd_err err = l->scratch.err;

    if (err == KD_OK)
        err = kd_chan_put(ch, type, kd_buf_slice(&l->scratch), fd);
    else if (fd >= 0)
        close(fd);
    if (err != KD_OK)
        kd_chan_close(ch);
    kd_buf_reset(&l->scratch);
}

/* --- counters --- */

static void
add_counter(struct ledger *l, const char *kind, const char *of, uint64_t *n)
{
    char name[KD_STORE_COUNTER_MAX];

    if (*n == 0)
        return;
    int size = snprintf(name, sizeof name, "%s.%s", kind, of);
    for (int i = 0; i < size; i++) /* operations are in camel case */
        name[i] =
            (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
    batch_open(l);
    l->n_open++;
    kd_err err = kd_store_count(l->store, kd_slice(name, (size_t)size), *n);
    if (err != KD_OK)
        ledger_disk_failed("counter", err);
    *n = 0;
}

static void
store_counters_if_due(struct ledger *l)
{
    int64_t now = kd_clock_ms();

    if (now < l->count_at)
        return;
    l->count_at = now + COUNT_MS;
    for (unsigned i = 0; i < KD_CLASS_COUNT; i++)
        add_counter(l, "looked-up", kd_class_name(i), &l->looked[i]);
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        if (kd_op_name(op) != NULL)
            add_counter(l, "refused", kd_op_name(op), &l->refused[op]);
    batch_commit(l);
}

/* Idempotency keys serve retries; after two weeks nobody retries (issuance is bound to
 * its request for ever). */
static void
purge_keys_if_due(struct ledger *l)
{
    int64_t now = kd_clock_ms(), before = kd_clock_wall_ms() - IDEM_KEEP_MS;
    unsigned n;

    if (now < l->purge_at || before < 0)
        return;
    l->purge_at = now + PURGE_MS;
    batch_open(l);
    l->n_open++;
    kd_err err = kd_store_purge_idem(l->store, (uint64_t)before, PURGE_MOST, &n);
    if (err != KD_OK)
        ledger_disk_failed("idempotency keys", err);
    batch_commit(l);
}

/* --- start and loop --- */

static kd_err
prepare(struct ledger *l, int fd)
{
    struct kd_buf b;
    kd_err err = kd_role_conf_read(fd, &b);

    if (err == KD_OK)
        err = kd_conf_for_ledger_decode(kd_buf_slice(&b), &l->next);
    kd_buf_free(&b);
    return err;
}

/* A change of the configuration (job.h, enum kd_turn). Nothing of the ledger's part
 * decides on a request: it just takes it. */
static kd_err
on_turn(struct ledger *l, struct kd_slice body, int fd)
{
    struct kd_ctl_turn m;
    kd_err err = kd_ctl_turn_get(body, &m);

    if (err != KD_OK)
        return err;
    if (m.turn == KD_TURN_PREPARE) {
        err = prepare(l, fd);
        l->next_serial = err == KD_OK ? m.serial : 0;
    } else if (m.turn == KD_TURN_TAKE && m.serial == l->next_serial) {
        /* These two need a restart; what is under way with them goes on. */
        memcpy(l->next.checkpoint_file, l->conf.checkpoint_file,
               sizeof l->next.checkpoint_file);
        l->next.reserve_space = l->conf.reserve_space;
        l->conf = l->next;
        kd_log_setup("keyd-ledger", l->conf.log_level);
    } else {
        return m.turn == KD_TURN_NUMBER || m.turn == KD_TURN_DROP ? KD_OK
                                                                  : KD_MALFORMED;
    }
    kd_role_turned(&l->ctl, (enum kd_turn)m.turn, m.serial, err, 0);
    return KD_OK;
}

static kd_err
on_ctl_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct ledger *l = ctx;
    struct kd_ctl_link m;

    if (type == KD_MSG_ctl_turn) {
        kd_err err = on_turn(l, body, fd);
        if (fd >= 0)
            close(fd);
        if (err != KD_OK)
            kd_role_die("bad message from the supervisor", err);
        return KD_OK;
    }
    if (type != KD_MSG_ctl_link || fd < 0 || kd_ctl_link_get(body, &m) != KD_OK ||
        m.gate >= KD_GATES_MAX)
        kd_role_die("bad message from the supervisor", KD_MALFORMED);
    if (m.link == KD_LINK_VAULT) {
        batch_store(l); /* what the old vault sent counts; nobody hears of it */
        kd_role_relink_asking(&l->vault, &m, fd);
        questions_greet(l);
    } else if (m.link == KD_LINK_GATE) {
        kd_role_relink_asking(&l->gates[m.gate], &m, fd);
    } else {
        close(fd);
    }
    return KD_OK;
}

void
ledger_begin(struct ledger *l)
{
    kd_role_unlinked(&l->vault);
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        kd_role_unlinked(&l->gates[i]);
    kd_buf_init(&l->acks, (size_t)1 << 20);
    kd_buf_init(&l->scratch, KD_CHAN_BODY_MAX);
}

static void
wait_for_work(struct ledger *l, int most_ms)
{
    struct pollfd p[KD_GATES_MAX + 3];

    p[0] = kd_role_watch(&l->ctl);
    p[1] = kd_role_watch(&l->vault.chan);
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        p[2 + i] = kd_role_watch(&l->gates[i].chan);
    p[KD_GATES_MAX + 2] = (struct pollfd){.fd = l->pool.event, .events = POLLIN};
    kd_ignore(poll(p, KD_GATES_MAX + 3, most_ms)); /* failures show when receiving */
}

static void
take_jobs(struct ledger *l)
{
    struct pool_item *item = pool_take_done(&l->pool);

    while (item != NULL) {
        struct ledger_job *job = (struct ledger_job *)item;
        item = item->next;
        job->done(l, job);
    }
}

/* The last head is written when the thread has done with the one before; storage that
 * hangs does not keep the daemon. */
static void
end_outside(struct ledger *l)
{
    enum { LONGEST_MS = 2000, LOOK_MS = 20 };
    int64_t until = kd_clock_ms() + LONGEST_MS;

    while (l->outside.is_busy && kd_clock_ms() < until) {
        struct pollfd p = {.fd = l->pool.event, .events = POLLIN};
        kd_ignore(poll(&p, 1, LOOK_MS)); /* looked at again in any case */
        take_jobs(l);
    }
    outside_end(l);
}

/* The supervisor's end is ours, and comes after the vault's: what that had sent counts,
 * read or not. */
static _Noreturn void
end(struct ledger *l)
{
    enum { TURNS = 64 };
    kd_err err = KD_OK;

    for (unsigned i = 0; i < TURNS && err == KD_OK && l->vault.chan.fd >= 0; i++) {
        err = kd_chan_recv(&l->vault.chan, PACKETS_A_TURN, questions_on_message, l);
        batch_store(l);
    }
    batch_store(l);
    end_outside(l);
    _exit(0);
}

static void
serve_ctl(struct ledger *l)
{
    enum { PACKETS = 64 };

    if (kd_chan_recv(&l->ctl, PACKETS, on_ctl_message, l) != KD_OK)
        end(l);
}

static int
least(int a, int b)
{
    return a < b ? a : b;
}

int
ledger_step(struct ledger *l, int wait_ms)
{
    wait_for_work(l, wait_ms);
    serve_ctl(l);
    take_jobs(l);
    kd_role_serve(&l->ctl, &l->vault, PACKETS_A_TURN, questions_on_message, l);
    for (unsigned i = 0; i < KD_GATES_MAX; i++) {
        struct looks_from from = {l, i};
        kd_role_serve(&l->ctl, &l->gates[i], PACKETS_A_TURN, looks_on_message, &from);
    }
    batch_store(l);
    store_counters_if_due(l);
    purge_keys_if_due(l);
    room_look_if_due(l);
    int next = least(TICK_MS, drop_turn(l));
    questions_health_if_due(l);
    kd_role_flush(&l->ctl, &l->vault);
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        kd_role_flush(&l->ctl, &l->gates[i]);
    if (kd_chan_flush(&l->ctl) != KD_OK)
        end(l);
    kd_err err = kd_store_tend(l->store);
    if (err != KD_OK)
        ledger_disk_failed("checkpoint of the write-ahead log", err);
    next = least(next, copy_turn(l));
    return least(next, outside_turn(l));
}
