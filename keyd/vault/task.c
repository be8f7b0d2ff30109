#include "task.h"

#include "../ops/quorum.h"
#include "vault.h"

#include <keyd/base/clock.h>
#include <keyd/base/sha256.h>
#include <keyd/job/reasons.h>

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum { REPLY_MAX = KD_JOB_BODY_MAX, ASK_MAX = 4096 };

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The request an idempotency key is bound to: operation and canonical body. */
static void
request_hash(struct task *t)
{
    uint8_t op = (uint8_t)t->op;
    struct kd_sha256 h;

    kd_sha256_init(&h);
    kd_sha256_add(&h, kd_slice(&op, 1));
    kd_sha256_add(&h, t->body);
    kd_sha256_final(&h, t->request);
}

/* A free slot; the caller has checked that there is one. */
static unsigned
free_slot(struct task_table *table)
{
    unsigned i = table->next_free;

    while (table->slot[i] != NULL)
        i = (i + 1) % TASKS_MAX;
    table->next_free = (i + 1) % TASKS_MAX;
    return i;
}

static bool
has_room(const struct vault *v, unsigned gate, const struct kd_job *job, int fd)
{
    const struct vault_gate *g = gate == TASK_INTERNAL ? NULL : &v->gates[gate];

    return v->tasks.n < TASKS_MAX &&
           (g == NULL || (g->n_tasks < TASKS_OF_GATE_MAX &&
                          (fd < 0 || g->n_fds < TASK_FDS_OF_GATE_MAX) &&
                          job->body.n <= TASK_OCTETS_OF_GATE_MAX - g->octets));
}

struct task *
task_new(struct vault *v, unsigned gate, struct vault_conf *conf,
         const struct kd_job *job, int fd)
{
    struct task *t = has_room(v, gate, job, fd) ? calloc(1, sizeof *t) : NULL;
    uint8_t *octets = t == NULL ? NULL : malloc(job->body.n + 1);

    if (octets == NULL) {
        free(t);
        close_fd(&fd);
        return NULL;
    }
    unsigned slot = free_slot(&v->tasks);
    v->tasks.slot[slot] = t;
    v->tasks.n++;
    *t = (struct task){
        .vault = v,
        .conf = vault_conf_hold(conf),
        .tag = (uint64_t)++v->tasks.generation[slot] << 32 | slot,
        .gate = gate,
        .gate_job = job->id,
        .op = (enum kd_op)job->op,
        .caller.uid = job->uid,
        .deadline = (int64_t)job->deadline,
        .has_key = job->has_key != 0,
        .octets = octets,
        .body = kd_slice(octets, job->body.n),
        .fd = fd,
        .has_fd = fd >= 0,
        .told_fd = -1,
        .reply_fd = -1,
    };
    if (gate != TASK_INTERNAL) {
        t->gate_generation = v->gates[gate].generation;
        t->caller.klass = v->gates[gate].klass;
        v->gates[gate].n_tasks++;
        v->gates[gate].n_fds += t->has_fd;
        v->gates[gate].octets += t->body.n;
    }
    t->caller.name = kd_slice(t->remote, job->remote.n);
    if (job->remote.n != 0)
        memcpy(t->remote, job->remote.p, job->remote.n);
    memcpy(t->key, job->key, sizeof t->key);
    if (job->body.n != 0)
        memcpy(octets, job->body.p, job->body.n);
    kd_buf_init(&t->ask, ASK_MAX);
    kd_buf_init(&t->reply, REPLY_MAX);
    request_hash(t);
    return t;
}

static void
task_free(struct vault *v, struct task *t)
{
    unsigned slot = (unsigned)(t->tag & 0xffffffff);

    assert(v->tasks.slot[slot] == t);
    v->tasks.slot[slot] = NULL;
    v->tasks.n--;
    if (!task_is_internal(t)) {
        struct vault_gate *g = &v->gates[t->gate];
        g->n_tasks--;
        g->n_fds -= t->has_fd;
        g->octets -= t->body.n;
    }
    kd_quota_give(&v->quotas, &t->quota);
    if (t->data_free != NULL)
        t->data_free(t->data);
    close_fd(&t->fd);
    close_fd(&t->told_fd);
    close_fd(&t->reply_fd);
    kd_buf_free(&t->ask);
    kd_buf_free(&t->reply);
    vault_conf_drop(t->conf);
    free(t->octets);
    free(t);
}

static void
answer(struct vault *v, struct task *t, kd_err err, uint16_t reason)
{
    struct vault_gate *g = task_is_internal(t) ? NULL : &v->gates[t->gate];
    struct kd_done done = {.id = t->gate_job,
                           .err = (uint8_t)err,
                           .reason = reason,
                           .retry_ms = t->retry_ms};
    struct kd_buf b;

    if (g == NULL || g->generation != t->gate_generation || g->link.chan.fd < 0)
        return; /* whoever asks again finds what was stored */
    /* It is done; only the answer could not be made. "Nothing was done" would be wrong.
     */
    if (err == KD_OK && t->reply.err != KD_OK)
        done.err = (uint8_t)((kd_op_flags(t->op) & KD_OPF_CHANGES) != 0 ? KD_UNKNOWN
                                                                        : t->reply.err);
    if (done.err == KD_OK || done.err == KD_APPROVAL)
        done.body = kd_buf_slice(&t->reply);
    kd_buf_init(&b, KD_CHAN_BODY_MAX);
    kd_done_put(&b, &done);
    int fd = done.err == KD_OK ? t->reply_fd : -1;
    if (fd >= 0)
        t->reply_fd = -1;
    if (kd_chan_put_buf(&g->link.chan, KD_MSG_done, &b, fd) != KD_OK)
        kd_chan_close(
            &g->link.chan); /* without memory for an answer it waits for nothing */
    kd_buf_free(&b);
}

static void release_held(struct vault *v);
static void next_alone(struct vault *v);

static bool
is_fault(kd_err err)
{
    return err == KD_FAILED || err == KD_NOMEM || err == KD_IO || err == KD_CLOSED;
}

/* Who was refused by a rule has not met a failure. */
static void
count_refusal(struct vault *v, const struct task *t, kd_err err, uint16_t reason)
{
    v->n_refused++;
    v->refused[t->op]++;
    if (err == KD_DENIED)
        v->n_denied++;
    else if (err == KD_BUSY && reason == KD_REASON_OVER_QUOTA)
        v->n_over_quota++;
    else if (is_fault(err))
        v->n_failed++;
}

void
task_finish(struct vault *v, struct task *t, kd_err err, uint16_t reason)
{
    bool was_alone = t == v->tasks.alone;

    /* Its key finds what was stored. */
    if (t->is_recorded && err != KD_OK && (kd_op_flags(t->op) & KD_OPF_CHANGES) != 0) {
        err = KD_UNKNOWN;
        reason = 0;
    }
    if (err != KD_OK && err != KD_APPROVAL)
        count_refusal(v, t, err, reason);
    quorum_finished(v, t, err, reason);
    answer(v, t, err, reason);
    task_free(v, t);
    if (was_alone) {
        v->tasks.alone = NULL;
        release_held(v);
        next_alone(v);
    }
}

bool
task_is_internal(const struct task *t)
{
    return t->gate == TASK_INTERNAL;
}

bool
task_is_late(const struct task *t)
{
    return kd_clock_ms() > t->deadline;
}

void
task_step_on(struct vault *v, struct task *t, kd_err err)
{
    task_step next = t->next;

    t->stage = TASK_STEPPING;
    t->err = err;
    next(v, t);
}

/* --- crypto threads --- */

static void
item_work(struct pool_item *item)
{
    struct task *t = (struct task *)item;

    kd_token_set_until(t->deadline);
    t->work(t);
    kd_token_set_until(0);
}

static void
start_work(struct vault *v, struct task *t)
{
    t->stage = TASK_WORKING;
    t->item.work = item_work;
    if (t->is_apart)
        v->tasks.n_apart++;
    else
        v->tasks.n_working++;
    if (t->waits != 0)
        pool_run_waiting(&v->pool, &t->item, t->waits);
    else if (t->is_long)
        pool_run_long(&v->pool, &t->item);
    else
        pool_run(&v->pool, &t->item);
}

static void
queue_put(struct pool_queue *q, struct task *t)
{
    t->stage = TASK_HELD;
    t->item.next = NULL;
    if (q->last == NULL)
        q->first = &t->item;
    else
        q->last->next = &t->item;
    q->last = &t->item;
}

static struct task *
queue_take(struct pool_queue *q)
{
    struct pool_item *item = q->first;

    if (item == NULL)
        return NULL;
    q->first = item->next;
    if (q->first == NULL)
        q->last = NULL;
    return (struct task *)item;
}

/* A single small task is done sooner on the main thread than after two wake-ups; what
 * comes meanwhile waits as long as one signing takes. */
static bool
is_quick_here(const struct vault *v, const struct task *t)
{
    return v->tasks.n == 1 && v->tasks.alone == NULL && t->fd < 0 && t->told_fd < 0 &&
           !t->is_long && t->waits == 0;
}

static void
work_somewhere(struct vault *v, struct task *t, task_working work, task_step next)
{
    t->work = work;
    t->next = next;
    if (is_quick_here(v, t)) {
        work(t);
        task_step_on(v, t, t->err);
    } else if (v->tasks.alone != NULL && v->tasks.alone != t)
        queue_put(&v->tasks.held, t);
    else
        start_work(v, t);
}

void
task_work(struct vault *v, struct task *t, task_working work, task_step next)
{
    t->is_long = false;
    work_somewhere(v, t, work, next);
}

void
task_work_long(struct vault *v, struct task *t, task_working work, task_step next)
{
    t->is_long = true;
    work_somewhere(v, t, work, next);
}

void
task_uses(struct vault *v, struct task *t, const struct kd_key_id *ids, size_t n)
{
    t->waits = v->token == NULL ? 0 : kd_token_waits(v->token, ids, n);
}

static void
start_alone_if_quiet(struct vault *v)
{
    struct task_table *table = &v->tasks;

    if (table->alone == NULL || table->alone_works || table->n_working != 0)
        return;
    table->alone_works = true;
    start_work(v, table->alone);
}

static void
be_alone(struct vault *v, struct task *t)
{
    t->stage = TASK_HELD;
    v->tasks.alone = t;
    v->tasks.alone_works = false;
    start_alone_if_quiet(v);
}

static bool
has_same_key(const struct task *a, const struct task *b)
{
    return a->has_key && b->has_key && memcmp(a->key, b->key, sizeof a->key) == 0;
}

/* The same request is being done already, or is about to: what is stored for its key
 * was asked before there was anything. */
static bool
is_under_way(const struct vault *v, const struct task *t)
{
    const struct pool_item *item = v->tasks.want_alone.first;

    while (item != NULL && !has_same_key((const struct task *)item, t))
        item = item->next;
    return item != NULL || has_same_key(v->tasks.alone, t);
}

void
task_work_alone(struct vault *v, struct task *t, task_working work, task_step next)
{
    t->work = work;
    t->next = next;
    t->is_long = false; /* there is nothing short beside it */
    if (v->tasks.alone == NULL) {
        be_alone(v, t);
    } else if (is_under_way(v, t)) {
        task_finish(v, t, KD_BUSY, KD_REASON_UNDER_WAY);
    } else if (v->tasks.n_want_alone < WANT_ALONE_MAX) {
        v->tasks.n_want_alone++;
        queue_put(&v->tasks.want_alone, t);
    } else {
        task_finish(v, t, KD_BUSY, 0);
    }
}

static bool
has_twin_apart(const struct vault *v, const struct task *t)
{
    for (unsigned i = 0; v->tasks.n_apart != 0 && i < TASKS_MAX; i++) {
        const struct task *other = v->tasks.slot[i];
        if (other != NULL && other != t && other->is_apart && has_same_key(other, t))
            return true;
    }
    return false;
}

void
task_work_apart(struct vault *v, struct task *t, unsigned devices, task_working work,
                task_step next)
{
    if (has_twin_apart(v, t)) {
        task_finish(v, t, KD_BUSY, KD_REASON_UNDER_WAY);
        return;
    }
    t->work = work;
    t->next = next;
    t->waits = devices;
    t->is_apart = true;
    start_work(v, t);
}

/* Of those who waited for it, the first who may still be. The one before may have
 * sealed the store or changed the operators. */
static void
next_alone(struct vault *v)
{
    struct task *t;

    while (v->tasks.alone == NULL && (t = queue_take(&v->tasks.want_alone)) != NULL) {
        v->tasks.n_want_alone--;
        t->stage = TASK_STEPPING;
        if (!task_is_internal(t) && stops_has(v, t->conf, &t->caller))
            task_finish(v, t, KD_DENIED, KD_REASON_PRINCIPAL_STOPPED);
        else if (!task_is_internal(t) && task_is_late(t))
            task_finish(v, t, KD_TIMEOUT, KD_REASON_TOO_LATE);
        else if (quorum_still_holds(v, t))
            be_alone(v, t);
    }
}

static void
release_held(struct vault *v)
{
    struct pool_queue held = v->tasks.held;
    struct task *t;

    v->tasks.held = (struct pool_queue){NULL, NULL};
    while ((t = queue_take(&held)) != NULL)
        start_work(v, t);
}

void
task_take_done(struct vault *v)
{
    struct pool_item *item = pool_take_done(&v->pool);

    while (item != NULL) {
        struct pool_item *next = item->next;
        struct task *t = (struct task *)item;
        if (t->is_apart)
            v->tasks.n_apart--;
        else
            v->tasks.n_working--;
        t->is_apart = false;
        t->waits = 0;
        /* Its principal was stopped meanwhile: what was made is not recorded, so it is
         * not let out. */
        if (t->err == KD_OK && kd_op_is_recorded(t->op) && !task_is_internal(t) &&
            stops_has(v, t->conf, &t->caller)) {
            t->err = KD_DENIED;
            t->reason = KD_REASON_PRINCIPAL_STOPPED;
        }
        task_step_on(v, t, t->err);
        item = next;
    }
    start_alone_if_quiet(v);
}

/* --- the ledger --- */

/* It is not waited for an answer. */
static void
end_ask(struct vault *v, struct task *t, kd_err err, uint16_t reason)
{
    if (!t->owes_record) {
        task_finish(v, t, err, reason);
        return;
    }
    t->reason = reason;
    task_step_on(v, t, err);
}

static void
send_ask(struct vault *v, struct task *t)
{
    kd_err err = t->ask.err;

    if (err == KD_OK && v->ledger_phase != LEDGER_READY)
        return; /* asked when it is (task_ask_again) */
    if (err == KD_OK)
        err = kd_chan_put_buf(&v->ledger.chan, t->ask_type, &t->ask, -1);
    /* No channel now: the question is asked again when there is one. */
    if (err != KD_OK && err != KD_CLOSED)
        end_ask(v, t, err, 0);
}

void
task_ask(struct vault *v, struct task *t, uint16_t type, task_step next)
{
    t->stage = TASK_ASKING;
    t->ask_type = type;
    t->next = next;
    send_ask(v, t);
}

void
task_ask_again(struct vault *v)
{
    for (unsigned i = 0; i < TASKS_MAX; i++) {
        struct task *t = v->tasks.slot[i];
        if (t != NULL && t->stage == TASK_ASKING)
            send_ask(v, t);
    }
}

struct task *
task_of_tag(const struct vault *v, uint64_t tag)
{
    uint64_t slot = tag & 0xffffffff;
    struct task *t = slot < TASKS_MAX ? v->tasks.slot[slot] : NULL;

    return t != NULL && t->tag == tag ? t : NULL;
}

kd_err
task_told(struct vault *v, uint64_t tag, struct kd_slice body, int fd)
{
    struct task *t = task_of_tag(v, tag);

    /* An answer nobody waits for: the question was asked twice around a restart. */
    if (t == NULL || t->stage != TASK_ASKING) {
        close_fd(&fd);
        return KD_OK;
    }
    /* What was recorded before comes out. */
    if (!task_is_internal(t) && !t->is_recorded && stops_has(v, t->conf, &t->caller)) {
        close_fd(&fd);
        end_ask(v, t, KD_DENIED, KD_REASON_PRINCIPAL_STOPPED);
        return KD_OK;
    }
    t->told = body;
    t->told_fd = fd;
    kd_buf_reset(&t->ask);
    task_step_on(v, t, KD_OK);
    /* The step may have ended the task, and a crypto thread may have it; neither looks
     * at what was told, which is gone in any case. */
    t = task_of_tag(v, tag);
    if (t != NULL) {
        t->told = kd_slice(NULL, 0);
        close_fd(&t->told_fd);
    }
    return KD_OK;
}

void
task_overtake(struct vault *v, struct kd_slice account, uint16_t reason)
{
    for (unsigned i = 0; i < TASKS_MAX; i++) {
        struct task *t = v->tasks.slot[i];
        if (t != NULL && t->account.n != 0 && t->stage != TASK_COMMITTING &&
            kd_slice_eq(t->account, account))
            t->overtaken = reason;
    }
}

void
task_commit(struct vault *v, struct task *t, struct kd_audit_record *record,
            enum kd_row row, struct kd_slice row_body, int row_fd, task_step next)
{
    t->stage = TASK_COMMITTING;
    t->next = next;
    kd_err err = chain_append(v, record, row, row_body, row_fd, t);
    if (err != KD_OK)
        task_step_on(v, t, err);
}

/* --- the supervisor --- */

void
task_wish(struct vault *v, struct task *t, enum kd_wish wish, bool wait, task_step next)
{
    int64_t left = t->deadline - kd_clock_ms();
    struct kd_ctl_wish m = {.tag = t->tag,
                            .wish = (uint8_t)wish,
                            .wait = wait,
                            .ms = left < 0            ? 0
                                  : left > UINT32_MAX ? UINT32_MAX
                                                      : (uint32_t)left};
    struct kd_buf b;

    t->stage = TASK_WISHING;
    t->next = next;
    kd_buf_init(&b, 64);
    kd_ctl_wish_put(&b, &m);
    kd_err err = kd_chan_put_buf(&v->ctl, KD_MSG_ctl_wish, &b, -1);
    kd_buf_free(&b);
    if (err != KD_OK)
        task_finish(v, t, err, 0);
}

kd_err
task_granted(struct vault *v, struct kd_slice body)
{
    struct kd_ctl_granted m;
    kd_err err = kd_ctl_granted_get(body, &m);

    if (err != KD_OK)
        return err;
    struct task *t = task_of_tag(v, m.tag);
    if (t == NULL || t->stage != TASK_WISHING)
        return KD_OK; /* it was late */
    t->granted = m;
    task_step_on(v, t, (kd_err)m.err);
    return KD_OK;
}

void
task_tell_gates(struct vault *v, struct task *t, unsigned klass, task_step next)
{
    t->stage = TASK_TELLING;
    t->next = next;
    t->telling_class = klass;
    t->telling_serial = v->stops.serial;
    t->telling_until = kd_clock_ms() + TASK_TELLING_MS;
    v->tasks.n_telling++;
}

void
task_tell_done(struct vault *v)
{
    for (unsigned i = 0; v->tasks.n_telling != 0 && i < TASKS_MAX; i++) {
        struct task *t = v->tasks.slot[i];
        if (t == NULL || t->stage != TASK_TELLING ||
            (!stops_are_obeyed(v, t->telling_class, t->telling_serial) &&
             kd_clock_ms() < t->telling_until))
            continue;
        v->tasks.n_telling--;
        task_step_on(v, t, KD_OK);
    }
}

void
task_expire(struct vault *v)
{
    for (unsigned i = 0; i < TASKS_MAX; i++) {
        struct task *t = v->tasks.slot[i];
        if (t == NULL || !task_is_late(t))
            continue;
        if (t->stage == TASK_ASKING)
            end_ask(v, t, KD_UNAVAILABLE, 0);
        else if (t->stage == TASK_WISHING)
            task_finish(v, t, KD_UNKNOWN, 0);
    }
}
