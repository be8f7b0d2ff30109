/* step.h: what the vault's main thread does with what comes in, a turn at a time. */
#include "vault/step.h"

#include "ops/run.h"
#include "role.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>

#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PACKETS_A_TURN = 64,
    TICK_MS = 1000,
    TELL_REFUSED_MS = 5000,
    TELL_STALE_MS = 60 * 1000,
    UNSEAL_AGAIN_MS = 1000,
    TELL_UPTIME_MS = 2 * 60 * 1000,
    START_DEADLINE_MS = 60 * 1000
};

/* --- gates --- */

struct from_gate {
    struct vault *v;
    unsigned gate;
};

static void
refuse_job(struct vault_gate *g, uint64_t id, kd_err err)
{
    struct kd_done m = {.id = id, .err = (uint8_t)err};
    struct kd_buf b;

    kd_buf_init(&b, 256);
    kd_done_put(&b, &m);
    if (kd_chan_put_buf(&g->link.chan, KD_MSG_done, &b, -1) != KD_OK)
        kd_chan_close(&g->link.chan);
    kd_buf_free(&b);
}

/* Look-ups that the gate allowed or refused: counted for its own class only. */
static kd_err
on_shadow_seen(struct vault *v, const struct vault_gate *g, struct kd_slice body)
{
    struct kd_shadow_seen m;
    kd_err err = kd_shadow_seen_get(body, &m);

    if (err != KD_OK || !kd_op_is_served(m.op, g->klass) ||
        (kd_op_flags(m.op) & KD_OPF_LOOKUP) == 0 ||
        (g->klass == KD_CLASS_TLS) != (m.remote.n != 0))
        return KD_MALFORMED;
    struct kd_caller caller = {.klass = g->klass, .uid = m.uid, .name = m.remote};
    shadow_count(v, v->conf, &caller, (enum kd_op)m.op, m.would_allow != 0, m.n);
    return KD_OK;
}

/* Once a minute: the gate may be captured, and the log is not its to fill. */
static void
tell_stale(struct vault *v, enum kd_class klass)
{
    int64_t now = kd_clock_ms();

    if (now < v->tell_stale_at)
        return;
    v->tell_stale_at = now + TELL_STALE_MS;
    vault_event(v, EVENT_STALE_GATE, klass, 0);
}

static kd_err
take_job(struct vault *v, unsigned gate, const struct kd_job *job, int fd)
{
    struct vault_gate *g = &v->gates[gate];
    struct vault_conf *conf = vault_conf_of(v, job->conf);

    if (conf == NULL) { /* behind by more than the changes of some seconds */
        if (fd >= 0)
            close(fd);
        tell_stale(v, g->klass);
        refuse_job(g, job->id, KD_UNAVAILABLE);
        return KD_OK;
    }
    struct task *t = task_new(v, gate, conf, job, fd);
    if (t == NULL)
        refuse_job(g, job->id, KD_BUSY);
    else if (task_is_late(t))
        task_finish(v, t, KD_TIMEOUT, KD_REASON_TOO_LATE);
    else
        run_start(v, t);
    return KD_OK;
}

static kd_err
on_gate_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct from_gate *from = ctx;
    struct vault *v = from->v;
    struct vault_gate *g = &v->gates[from->gate];
    struct kd_job job;
    kd_err err = KD_MALFORMED;

    if (type == KD_MSG_gate_obeys && fd < 0)
        return stops_on_obeys(v, from->gate, body);

    if (type == KD_MSG_shadow_seen && fd < 0)
        err = on_shadow_seen(v, g, body);
    else if (type == KD_MSG_job)
        err = kd_job_get(body, &job);
    /* A gate asks for its own class's operations only; a captured one that asks for
     * others is dropped, and everybody else goes on. */
    if (err == KD_OK && type == KD_MSG_job &&
        (!kd_op_is_served(job.op, g->klass) ||
         (g->klass == KD_CLASS_TLS) != (job.remote.n != 0)))
        err = KD_MALFORMED;
    if (err != KD_OK) {
        if (fd >= 0)
            close(fd);
        vault_event(v, EVENT_PEER_MALFORMED, g->klass, err);
        return err;
    }
    return type == KD_MSG_job ? take_job(v, from->gate, &job, fd) : KD_OK;
}

/* --- the ledger --- */

static kd_err
take_store(uint8_t **store, size_t *size, struct kd_slice body, int fd)
{
    struct kd_buf b;
    kd_err err = KD_OK;

    kd_buf_init(&b, KD_STORE_MAX);
    if (fd < 0) {
        kd_buf_put(&b, body);
    } else {
        err = kd_memfd_append(fd, KD_STORE_MAX, &b);
    }
    if (err == KD_OK) {
        free(*store);
        *store = NULL;
        *size = 0;
        err = kd_buf_take(&b, store, size);
    }
    kd_buf_free(&b);
    return err;
}

/* Tried again until there is an answer that memory or descriptors had no part in. */
static void
unseal_with_credential(struct vault *v)
{
    uint8_t kind = KD_SLOT_CREDENTIAL;
    struct kd_job job = {.op = KD_OP_Unseal, .body = kd_slice(&kind, 1)};
    int fd = fcntl(v->credential, F_DUPFD_CLOEXEC, 0);

    v->unseal_at = kd_clock_ms() + UNSEAL_AGAIN_MS;

    job.deadline = (uint64_t)(kd_clock_ms() + START_DEADLINE_MS);
    struct task *t = fd < 0 ? NULL : task_new(v, TASK_INTERNAL, v->conf, &job, fd);
    if (t == NULL)
        return;
    v->opens_itself = true;
    run_start(v, t);
}

static void
record_own(struct vault *v, enum kd_audit_op op)
{
    struct kd_audit_record record = {
        .op = op,
        .class = KD_AUDIT_CLASS_SELF,
        .outcome = KD_OUTCOME_DONE,
        .principal = kd_slice("keyd", 4),
        .n_digests = op == KD_AUDIT_START,
    };

    if (op == KD_AUDIT_START)
        memcpy(record.digests[0], v->conf->hash, sizeof record.digests[0]);
    if (approvals_single_operator(v, v->conf))
        record.notes = KD_NOTE_SINGLE_OPERATOR;
    kd_err err = chain_append(v, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, NULL);
    if (err != KD_OK)
        vault_event(v, EVENT_PEER_MALFORMED, KD_CLASS_COUNT, err);
}

void
vault_open(struct vault *v)
{
    v->state = v->token != NULL   ? VAULT_OPERATIONAL
               : v->store == NULL ? VAULT_UNPROVISIONED
                                  : VAULT_SEALED;
    record_own(v, KD_AUDIT_START);
    if (v->token != NULL) /* it was unsealed while nothing could be recorded */
        record_own(v, KD_AUDIT_UNSEAL);
    vault_event(v, EVENT_OPEN, v->chain.epoch, v->chain.first - 1);
    if (v->token != NULL)
        tokens_attach(v);
    if (v->store == NULL && v->aside != NULL)
        vault_event(v, EVENT_SET_ASIDE, v->store_recorded, v->aside_size);
    else if (v->store == NULL)
        vault_event(v, EVENT_NO_KEYSTORE, 0, 0);
    else if (v->token == NULL && v->credential >= 0)
        unseal_with_credential(v);
}

void
vault_hold(struct vault *v, enum kd_standing why)
{
    static const uint16_t events[KD_STANDS_COUNT] = {
        [KD_STANDS_BEHIND] = EVENT_REGISTRY_BEHIND,
        [KD_STANDS_FORKED] = EVENT_REGISTRY_FORKED,
        [KD_STANDS_MISSING] = EVENT_CHECKPOINT_MISSING,
        [KD_STANDS_UNREADABLE] = EVENT_CHECKPOINT_UNREADABLE,
        [KD_STANDS_KEYSTORE] = EVENT_KEYSTORE_OLD,
    };
    bool keystore = why == KD_STANDS_KEYSTORE;

    v->state = VAULT_FAILED;
    v->standing = why;
    vault_event(v, (enum vault_event)events[why],
                keystore ? v->store_found : v->chain.first - 1,
                keystore ? v->store_recorded : v->outside.seq);
}

/* What the ledger says of the files outside; that the head known there lies beyond its
 * own is seen here as well. */
static kd_err
take_standing(struct vault *v, const struct kd_ledger_state *m)
{
    enum kd_standing standing = (enum kd_standing)m->standing;

    if (m->standing >= KD_STANDS_KEYSTORE || m->outside.n > sizeof v->outside.octets)
        return KD_MALFORMED;
    if (standing == KD_STANDS_WELL && m->outside_epoch >= m->epoch &&
        m->outside_seq > m->seq)
        standing = KD_STANDS_BEHIND;
    v->standing = standing;
    v->outside.epoch = m->outside_epoch;
    v->outside.seq = m->outside_seq;
    v->outside.n = m->outside.n;
    if (m->outside.n != 0)
        memcpy(v->outside.octets, m->outside.p, m->outside.n);
    return KD_OK;
}

/* Everything the ledger says at the start of a channel is here. */
static kd_err
on_ledger_ready(struct vault *v, struct kd_slice body)
{
    struct kd_ledger_ready m;
    kd_err err = kd_ledger_ready_get(body, &m);

    if (err != KD_OK)
        return err;
    /* Without knowing who is stopped nobody is served. */
    if (!v->knows_accounts)
        return KD_MALFORMED;
    v->ledger_phase = LEDGER_READY;
    if (v->formers_bad != 0)
        vault_event(v, EVENT_FORMERS_BAD, v->formers_bad, v->former_bad);
    v->formers_bad = 0;
    if (v->state != VAULT_STARTING) {
        chain_send(v);
        task_ask_again(v);
        return KD_OK;
    }
    v->store_recorded = m.keystore;
    stops_tell(v, KD_CLASS_COUNT);
    if (v->standing == KD_STANDS_UNKNOWN)
        vault_event(v, EVENT_NO_CHECKPOINT_FILE, 0, 0);
    if (v->standing <= KD_STANDS_WELL) {
        vault_open(v);
        return KD_OK;
    }
    vault_hold(v, v->standing);
    vault_event(v, EVENT_OPEN, v->chain.epoch, v->chain.first - 1);
    if (v->store != NULL && v->credential >= 0)
        unseal_with_credential(v);
    return KD_OK;
}

/* Not for each megabyte: only when it changes what is done. */
static kd_err
on_health(struct vault *v, struct kd_slice body)
{
    struct kd_ledger_health m;
    kd_err err = kd_ledger_health_get(body, &m);

    if (err != KD_OK)
        return err;
    unsigned set = m.flags & ~(unsigned)v->health.flags;
    unsigned gone = v->health.flags & ~(unsigned)m.flags;
    if ((set & KD_HEALTH_DISK_LOW) != 0)
        vault_event(v, EVENT_DISK_LOW, m.free, 0);
    if ((gone & KD_HEALTH_DISK_LOW) != 0)
        vault_event(v, EVENT_DISK_GOOD, m.free, 0);
    if ((set & KD_HEALTH_OUTSIDE_FAILING) != 0)
        vault_event(v, EVENT_CHECKPOINT_FAILING, m.failures, 0);
    if ((set & KD_HEALTH_OUTSIDE_OVERDUE) != 0)
        vault_event(v, EVENT_CHECKPOINT_OVERDUE, 0, 0);
    if ((gone & KD_HEALTH_OUTSIDE_FAILING) != 0)
        vault_event(v, EVENT_CHECKPOINT_WRITTEN, m.outside, 0);
    v->health = m;
    return KD_OK;
}

static kd_err
on_ledger_state(struct vault *v, struct kd_slice body)
{
    struct kd_ledger_state m;
    kd_err err = kd_ledger_state_get(body, &m);

    if (err != KD_OK)
        return err;
    if (v->state == VAULT_STARTING) {
        memcpy(v->checkpoint, m.checkpoint.p == NULL ? v->checkpoint : m.checkpoint.p,
               m.checkpoint.n);
        v->checkpoint_size = m.checkpoint.n;
        if ((err = take_standing(v, &m)) != KD_OK)
            return err;
    }
    v->ledger_phase = LEDGER_STANDS;
    if ((err = chain_on_state(v, body)) != KD_OK || v->state == VAULT_STARTING ||
        v->state == VAULT_FAILED || m.standing <= KD_STANDS_WELL)
        return err;
    /* The files outside were changed while a ledger was gone. */
    if ((err = take_standing(v, &m)) == KD_OK)
        vault_hold(v, v->standing);
    return err;
}

static kd_err
on_ledger_accounts(struct vault *v, struct kd_slice body)
{
    struct kd_ledger_accounts m;
    kd_err err = kd_ledger_accounts_get(body, &m);

    if (err != KD_OK || m.uptime > INT64_MAX)
        return KD_MALFORMED;
    v->n_resets = m.resets;
    /* What this process has stopped and counted since is newer. */
    if (v->state != VAULT_STARTING)
        return KD_OK;
    v->clock = (struct reset_clock){m.uptime, kd_clock_boot_ms()};
    v->stops.n = 0;
    err = stops_load(v, m.stopped);
    v->knows_accounts = err == KD_OK;
    return err;
}

static kd_err
on_ledger_resets(struct vault *v, struct kd_slice body)
{
    struct kd_ledger_resets m;
    kd_err err = kd_ledger_resets_get(body, &m);

    if (err == KD_OK)
        v->n_resets = m.resets;
    return err;
}

static kd_err
on_ledger_org(struct vault *v, struct kd_slice body, int fd)
{
    struct kd_ledger_org m;
    struct kd_buf large;
    kd_err err = kd_ledger_org_get(body, &m);

    /* What this process has seen since is newer than what a returning ledger says. */
    if (err != KD_OK || v->state != VAULT_STARTING)
        return err;
    kd_buf_init(&large, DIME_SIGNET_MAX);
    if (fd >= 0)
        err = kd_memfd_append(fd, DIME_SIGNET_MAX, &large);
    else
        kd_buf_put(&large, m.signet);
    if (err == KD_OK && m.superseded != 0) {
        err = vault_org_former(v, m.domain, kd_buf_slice(&large), m.superseded);
        /* It opens nothing, and everything else goes on. */
        if (err == KD_INVALID || err == KD_MALFORMED || err == KD_UNSUPPORTED) {
            v->formers_bad++;
            v->former_bad = err;
            err = KD_OK;
        }
    } else if (err == KD_OK) {
        err = vault_org_set(v, m.domain, m.version, &large);
    }
    kd_buf_free(&large);
    /* Of domains that are not served as many are kept as there is room for. */
    return err == KD_TOO_LARGE ? KD_OK : err;
}

/* Every told message starts with the tag. */
static kd_err
on_told(struct vault *v, struct kd_slice body, int fd)
{
    struct kd_cur c = kd_cur(body);
    uint64_t tag = kd_cur_u64(&c);

    if (c.err == KD_OK)
        return task_told(v, tag, body, fd);
    if (fd >= 0)
        close(fd);
    return c.err;
}

/* What is out of order would be done again and again, as often as it is said: all that
 * is unacknowledged sent, all that is open asked. */
static bool
is_in_order(const struct vault *v, uint16_t type)
{
    switch (type) {
    case KD_MSG_ledger_state:
        return v->ledger_phase == LEDGER_SILENT;
    case KD_MSG_ledger_org:
    case KD_MSG_ledger_accounts:
    case KD_MSG_KEYSTORE:
    case KD_MSG_KEYSTORE_ASIDE:
    case KD_MSG_ledger_ready:
        return v->ledger_phase == LEDGER_STANDS;
    default:
        return v->ledger_phase == LEDGER_READY;
    }
}

static kd_err
on_ledger_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct vault *v = ctx;
    kd_err err;

    if (v->state == VAULT_FAILED && !vault_is_held(v)) { /* nothing it says counts */
        if (fd >= 0)
            close(fd);
        return KD_OK;
    }
    bool in_order = is_in_order(v, type);
    if (in_order && (type == KD_MSG_told_issue || type == KD_MSG_told_key ||
                     type == KD_MSG_told_account || type == KD_MSG_told_resets ||
                     type == KD_MSG_told_author || type == KD_MSG_told_recipient ||
                     type == KD_MSG_told_naked || type == KD_MSG_told_backup ||
                     type == KD_MSG_told_drop))
        return on_told(v, body, fd);
    if (!in_order)
        type = KD_MSG_NONE;
    if (type == KD_MSG_ack)
        err = chain_on_ack(v, body);
    else if (type == KD_MSG_ledger_health)
        err = on_health(v, body);
    else if (type == KD_MSG_ledger_state)
        err = on_ledger_state(v, body);
    else if (type == KD_MSG_ledger_org)
        err = on_ledger_org(v, body, fd);
    else if (type == KD_MSG_ledger_accounts && fd < 0)
        err = on_ledger_accounts(v, body);
    else if (type == KD_MSG_ledger_resets && fd < 0)
        err = on_ledger_resets(v, body);
    else if (type == KD_MSG_KEYSTORE)
        err = v->state == VAULT_STARTING
                  ? take_store(&v->store, &v->store_size, body, fd)
                  : KD_OK;
    else if (type == KD_MSG_KEYSTORE_ASIDE)
        err = v->state == VAULT_STARTING
                  ? take_store(&v->aside, &v->aside_size, body, fd)
                  : KD_OK;
    else if (type == KD_MSG_ledger_ready)
        err = on_ledger_ready(v, body);
    else
        err = KD_MALFORMED;
    if (fd >= 0)
        close(fd);
    if (err != KD_OK)
        vault_event(v, EVENT_PEER_MALFORMED, KD_CLASS_COUNT, err);
    return err;
}

static void
unseal_if_due(struct vault *v)
{
    if (v->unseal_at != 0 && kd_clock_ms() >= v->unseal_at &&
        v->state == VAULT_SEALED && v->tasks.alone == NULL)
        unseal_with_credential(v);
}

/* --- checkpoints --- */

/* The signature is made here, on the main thread: once in a while, and its record must
 * follow the head it covers. */
static void
make_checkpoint(struct vault *v)
{
    struct kd_checkpoint c = {
        .epoch = v->chain.epoch, .seq = v->chain.next - 1, .time_ms = v->chain.time};
    struct kd_audit_record record = {
        .op = KD_AUDIT_CHECKPOINT,
        .class = KD_AUDIT_CLASS_SELF,
        .outcome = KD_OUTCOME_DONE,
        .principal = kd_slice("keyd", 4),
        .has_key = true,
        .n_digests = 1,
    };
    struct kd_row_checkpoint row;
    struct kd_token_sig sig;
    struct kd_buf octets, body;

    memcpy(c.instance, v->chain.instance, sizeof c.instance);
    memcpy(c.hash, v->chain.head, sizeof c.hash);
    memcpy(record.key_id, v->audit.octets, sizeof record.key_id);
    kd_buf_init(&octets, KD_CHECKPOINT_SIGNED_MAX);
    kd_buf_init(&body, 512);
    kd_err err = kd_checkpoint_encode(&c, &octets);
    if (err == KD_OK)
        err = kd_token_sign(v->token, &v->audit, KD_SIGN_AUDIT, kd_buf_slice(&octets),
                            &sig);
    if (err == KD_OK) {
        crypto_hash_sha256(record.digests[0], octets.p, octets.n);
        kd_buf_put(&octets, kd_slice(sig.octets, sig.n));
        row.octets = kd_buf_slice(&octets);
        kd_row_checkpoint_put(&body, &row);
        err =
            chain_append(v, &record, KD_ROW_CHECKPOINT, kd_buf_slice(&body), -1, NULL);
    }
    if (err != KD_OK)
        vault_event(v, EVENT_PROBE_FAILED, err, KD_KEY_ROLE_AUDIT);
    else
        v->chain.since_checkpoint = 0;
    kd_buf_free(&octets);
    kd_buf_free(&body);
}

static void
checkpoint_if_due(struct vault *v)
{
    int64_t now = kd_clock_ms();

    if (v->state != VAULT_OPERATIONAL || !v->has_audit || v->tasks.alone != NULL ||
        v->chain.since_checkpoint == 0 || now < v->checkpoint_due)
        return;
    v->checkpoint_due = now + (int64_t)v->conf->is.audit_checkpoint_interval * 1000;
    make_checkpoint(v);
}

static void
tell_refused_if_due(struct vault *v)
{
    int64_t now = kd_clock_ms();
    struct kd_buf b;

    if (now < v->tell_refused_at || v->ledger_phase != LEDGER_READY)
        return;
    v->tell_refused_at = now + TELL_REFUSED_MS;
    kd_buf_init(&b, 64);
    for (unsigned op = 0; op <= KD_OP_MAX; op++) {
        struct kd_refused m = {(uint8_t)op, v->refused[op]};
        if (m.n == 0)
            continue;
        kd_buf_reset(&b);
        kd_refused_put(&b, &m);
        if (kd_chan_put_buf(&v->ledger.chan, KD_MSG_refused, &b, -1) == KD_OK)
            v->refused[op] = 0;
    }
    kd_buf_free(&b);
}

/* The delay of pending resets is counted on this too; a crash loses what was not told.
 */
static void
tell_uptime_if_due(struct vault *v)
{
    struct kd_uptime m;
    int64_t now = kd_clock_ms();
    struct kd_buf b;

    if (now < v->tell_uptime_at || v->ledger_phase != LEDGER_READY || v->n_resets == 0)
        return;
    v->tell_uptime_at = now + TELL_UPTIME_MS;
    m.ms = reset_clock_counted(&v->clock, kd_clock_boot_ms());
    kd_buf_init(&b, 64);
    kd_uptime_put(&b, &m);
    /* Without a channel it is told later: it only adds up. */
    kd_ignore(kd_chan_put_buf(&v->ledger.chan, KD_MSG_uptime, &b, -1));
    kd_buf_free(&b);
}

/* --- the supervisor --- */

static kd_err
take_link(struct vault *v, const struct kd_ctl_link *m, int fd)
{
    if (fd < 0 || (m->link == KD_LINK_GATE && m->gate >= KD_GATES_MAX))
        return KD_MALFORMED;
    if (m->link == KD_LINK_GATE) {
        struct vault_gate *g = &v->gates[m->gate];
        kd_role_relink_asking(&g->link, m, fd);
        g->generation++;
        g->obeys = v->stops.serial - 1;
        stops_tell_gate(v, m->gate);
    } else if (m->link == KD_LINK_LEDGER) {
        kd_role_relink(&v->ledger, m, fd);
        v->ledger_phase = LEDGER_SILENT;
    } else if (m->link == KD_LINK_P11) {
        return tokens_link(v, m->gate, fd);
    } else if (m->link == KD_LINK_CREDENTIAL && v->credential < 0) {
        v->credential = fd;
    } else {
        close(fd);
    }
    return KD_OK;
}

static kd_err
on_ctl_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct vault *v = ctx;
    struct kd_ctl_link m;
    kd_err err = KD_MALFORMED;

    if (type == KD_MSG_ctl_link && (err = kd_ctl_link_get(body, &m)) == KD_OK)
        err = take_link(v, &m, fd);
    else if (type == KD_MSG_ctl_turn)
        err = vault_turn(v, body, fd);
    else if (type == KD_MSG_ctl_granted && fd < 0)
        err = task_granted(v, body);
    else if (type == KD_MSG_ctl_no_pin && fd < 0)
        err = tokens_no_pin(v, body);
    if (err != KD_OK)
        kd_role_die("bad message from the supervisor", err);
    return KD_OK;
}

static void
serve_gate(struct vault *v, unsigned i)
{
    struct from_gate from = {v, i};

    kd_role_serve(&v->ctl, &v->gates[i].link, PACKETS_A_TURN, on_gate_message, &from);
}

/* --- start and loop --- */

kd_err
vault_begin(struct vault *v, struct kd_slice conf)
{
    kd_err err = kd_quota_private(&v->quotas);

    if (err == KD_OK)
        err = vault_conf_new(v, conf, &v->conf);
    if (err == KD_OK)
        err = approvals_init(&v->approvals);
    if (err != KD_OK)
        return err;
    v->started = (uint64_t)kd_clock_wall_ms();
    v->credential = -1;
    origins_init(&v->origins);
    kd_role_unlinked(&v->ledger);
    for (unsigned i = 0; i < KD_GATES_MAX; i++) {
        v->gates[i].klass = kd_gate_class(i);
        kd_role_unlinked(&v->gates[i].link);
    }
    return KD_OK;
}

static void
wait_for_work(struct vault *v, int wait_ms)
{
    struct pollfd p[KD_GATES_MAX + 4];

    p[0] = kd_role_watch(&v->ctl);
    p[1] = kd_role_watch(&v->ledger.chan);
    p[2] = (struct pollfd){.fd = v->pool.event, .events = POLLIN};
    p[3] = tokens_watch(v);
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        p[4 + i] = kd_role_watch(&v->gates[i].link.chan);
    kd_ignore(poll(p, KD_GATES_MAX + 4, wait_ms)); /* failures show when receiving */
}

void
vault_step(struct vault *v, int wait_ms)
{
    wait_for_work(v, wait_ms < TICK_MS ? wait_ms : TICK_MS);
    kd_role_serve_ctl(&v->ctl, on_ctl_message, v);
    task_take_done(v);
    tokens_step(v);
    kd_role_serve(&v->ctl, &v->ledger, PACKETS_A_TURN, on_ledger_message, v);
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        serve_gate(v, i);
    unseal_if_due(v);
    checkpoint_if_due(v);
    tell_refused_if_due(v);
    vault_conf_tend(v);
    tell_uptime_if_due(v);
    task_tell_done(v);
    kd_role_flush(&v->ctl, &v->ledger);
    chain_send(v); /* what there was no room for */
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        kd_role_flush(&v->ctl, &v->gates[i].link);
    kd_role_flush_ctl(&v->ctl);
    if (kd_clock_ms() < v->next_tick)
        return;
    v->next_tick = kd_clock_ms() + TICK_MS;
    task_expire(v);
    approvals_expire(v);
    chain_watch_clock(v);
}
