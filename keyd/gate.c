/* keyd-gate: the socket of one class of callers.
 *
 * Holds     connections, who is behind each (SO_PEERCRED uid), what is in flight. No
 *           keys, no files, no registry.
 * Talks to  clients, all of them hostile until checked; the vault (jobs) and the ledger
 *           (look-ups), to which it speaks for its own class only.
 * May call  sandbox_gate.def: no socket(), no open.
 *
 * It decides nothing but whether octets are a well-formed request within the limits,
 * and look-ups by its projection of the policy. Descriptors of secrets pass through
 * unread. One thread, one event loop, bounded work a turn. */
#include "gate/conn.h"
#include "gate/pending.h"
#include "gate/principal.h"
#include "ops/rpc.h"
#include "role.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/conf/quota_table.h>
#include <keyd/job/reasons.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PACKETS_A_TURN = 64,
    ACCEPTS_A_TURN = 64,
    FRAMES_A_TURN = 64, /* of one connection before others have their turn */
    TICK_MS = 500,
    OUT_MAX = 512 * 1024,   /* octets of answers waiting for a client */
    OUT_HIGH = 128 * 1024,  /* above it nothing more is read from the client */
    ANSWER_GRACE_MS = 2000, /* past a request's deadline, for the vault's answer */
    DEADLINE_DEFAULT_MS = 30000,
    DEADLINE_MOST_MS = 600000,
    BACKLOG_HIGH = 4 * 1024 * 1024, /* octets waiting for vault or ledger */
};

static struct gate {
    struct kd_chan ctl;
    struct kd_role_link vault, ledger;
    struct kd_conf_for_gate conf;
    struct event_base *base;
    struct event *on_ctl, *on_vault, *on_ledger, *on_listener, *on_tick;
    int listener;
    bool accepting;
    struct conn *conns; /* all of them, a list */
    struct conn *dirty; /* those with answers to send this turn */
    unsigned n_conns;
    struct pending_table pending;
    struct principal_table principals;
    struct kd_quota_table quotas;
    const struct kd_quota_shared *all_quotas; /* of every class, to read */
    struct process_line processes[ANSWER_PROCESSES_MAX];
    struct kd_arena arena;
    struct kd_frame_scratch scratch;
    struct kd_buf body, message;
    struct answer answer;
} gate;

static void close_conn(struct gate *g, struct conn *c);

/* --- answers --- */

static void
mark_dirty(struct gate *g, struct conn *c)
{
    if (c->is_dirty)
        return;
    c->is_dirty = true;
    c->next_dirty = g->dirty;
    g->dirty = c;
}

/* A queue of answers takes a few descriptors only; what the client's socket takes of
 * them makes room. */
static kd_err
put_answer(struct conn *c, struct answer *a, struct kd_rpc_fault *fault)
{
    kd_err err = kd_rpc_put_response(&c->out, &a->r, a->fd, fault);

    if (err != KD_BUSY || a->fd < 0)
        return err;
    kd_ignore(kd_frame_flush(&c->out, c->fd)); /* what fails here fails again */
    return kd_rpc_put_response(&c->out, &a->r, a->fd, fault);
}

/* Queues the response in g->answer. A client that does not read what it asked for loses
 * the connection. */
static void
send_answer(struct gate *g, struct conn *c)
{
    struct answer *a = &g->answer;
    struct kd_rpc_fault fault = {0};
    kd_err err = put_answer(c, a, &fault);

    if (err != KD_OK) {
        if (a->fd >= 0)
            close(a->fd);
        a->fd = -1;
        if (err == KD_INVALID)
            kd_log(KD_WARN, "answer breaks a limit: %s.%s", fault.message, fault.field);
        c->is_broken = true;
    }
    a->fd = -1;
    mark_dirty(g, c);
}

static struct answer *
new_answer(struct gate *g, uint64_t id, int fd)
{
    struct answer *a = &g->answer;

    keyd__v1__response__init(&a->r);
    a->r.id = id;
    a->fd = fd;
    a->quotas = g->all_quotas;
    a->processes = g->processes;
    a->n_processes = ANSWER_PROCESSES_MAX;
    return a;
}

/* retry_ms: when it could pass; 0: no advice. */
static void
refuse_until(struct gate *g, struct conn *c, uint64_t id, kd_err err, uint16_t reason,
             uint32_t retry_ms)
{
    char name[KD_REASON_NAME_MAX];
    struct answer *a = new_answer(g, id, -1);

    a->r.status = kd_rpc_status(err);
    a->r.detail = kd_rpc_data(kd_slice_str(kd_reason_name(reason, name)));
    a->r.retry_after_ms =
        retry_ms < KD_QUOTA_WAIT_MAX_MS ? retry_ms : KD_QUOTA_WAIT_MAX_MS;
    send_answer(g, c);
}

static void
refuse(struct gate *g, struct conn *c, uint64_t id, kd_err err, uint16_t reason)
{
    refuse_until(g, c, id, err, reason, 0);
}

static void
refuse_rpc(struct gate *g, struct conn *c, uint64_t id, kd_err err,
           enum kd_rpc_reason reason)
{
    struct answer *a = new_answer(g, id, -1);

    kd_rpc_refuse(&a->r, id, err, reason);
    send_answer(g, c);
}

/* --- requests --- */

static void
on_hello(struct gate *g, struct conn *c, const Keyd__V1__Request *r)
{
    const Keyd__V1__HelloRequest *in = r->hello;

    if (c->is_greeted) {
        refuse_rpc(g, c, r->id, KD_INVALID, KD_RPC_HELLO_AGAIN);
        return;
    }
    if (in->min_version > KD_RPC_VERSION_MAX || in->max_version < KD_RPC_VERSION_MIN) {
        refuse_rpc(g, c, r->id, KD_UNSUPPORTED, KD_RPC_VERSION);
        return;
    }
    struct answer *a = new_answer(g, r->id, -1);
    Keyd__V1__HelloResult *out = &a->u.hello;
    keyd__v1__hello_result__init(out);
    out->version =
        in->max_version < KD_RPC_VERSION_MAX ? in->max_version : KD_RPC_VERSION_MAX;
    out->max_frame = g->conf.limits.max_frame;
    out->max_in_flight = g->conf.limits.max_in_flight;
    out->class_name = kd_rpc_data(kd_slice_str(kd_class_name(g->conf.klass)));
    out->max_object = g->conf.limits.max_upload < KD_RPC_OBJECT_MAX
                          ? g->conf.limits.max_upload
                          : KD_RPC_OBJECT_MAX;
    out->idle_timeout_ms = g->conf.limits.idle_timeout * 1000;
    out->server_name = kd_rpc_data(kd_slice_str("keyd " KEYD_VERSION));
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_HELLO;
    a->r.hello = out;
    c->is_greeted = true;
    send_answer(g, c);
}

/* A large object: sealed and within the limit, or the request is refused before
 * anybody else sees it. The vault looks again. */
static bool
descriptor_is_good(struct gate *g, struct conn *c, uint64_t id, int fd, size_t *size)
{
    *size = 0;
    if (fd < 0 || kd_memfd_check(fd, g->conf.limits.max_upload, size) == KD_OK)
        return true;
    refuse(g, c, id, KD_INVALID, KD_REASON_BAD_DESCRIPTOR);
    return false;
}

/* An object is kept no longer than its own time, however long the client would wait. */
static int64_t
deadline_of(const struct gate *g, const Keyd__V1__Request *r, size_t upload)
{
    int64_t most =
        upload == 0 ? DEADLINE_MOST_MS : (int64_t)g->conf.limits.upload_timeout * 1000;
    int64_t ms = r->deadline_ms == 0 ? DEADLINE_DEFAULT_MS : r->deadline_ms;

    return kd_clock_ms() + (ms < most ? ms : most);
}

/* The request has ended: its slot and the room it took are free. */
static void
end_request(struct gate *g, struct pending *p)
{
    principal_give(&g->principals, p->principal, p->frame, p->upload);
    kd_quota_give(&g->quotas, &p->quota);
    pending_free(&g->pending, p);
}

/* A slot for the request and the room it takes; NULL if there is not enough. The
 * principal's entry stays as long as the request, which may outlive the client. */
static struct pending *
begin_request(struct gate *g, struct conn *c, const struct op_rpc *rpc,
              const Keyd__V1__Request *r, size_t frame, size_t upload)
{
    if (principal_take(&g->principals, c->principal, &g->conf.limits, frame, upload) !=
        KD_OK)
        return NULL;
    struct pending *p =
        pending_new(&g->pending, c, r->id, rpc, deadline_of(g, r, upload));
    if (p == NULL) {
        principal_give(&g->principals, c->principal, frame, upload);
        return NULL;
    }
    p->principal = c->principal;
    p->frame = frame;
    p->upload = upload;
    return p;
}

/* Sends the packed body to whoever answers the operation. Takes fd. */
static kd_err
forward(struct gate *g, const struct op_rpc *rpc, const Keyd__V1__Request *r,
        const struct pending *p, int fd)
{
    struct kd_slice body = kd_buf_slice(&g->body);

    if (rpc->message != KD_MSG_NONE)
        return kd_chan_put(&g->ledger.chan, rpc->message, body, fd);
    struct kd_job job = {.id = p->tag,
                         .op = (uint8_t)p->op,
                         .uid = p->conn->caller.uid,
                         .remote = p->conn->caller.name,
                         .deadline = (uint64_t)p->deadline,
                         .has_key = r->idempotency_key.len == sizeof job.key,
                         .body = body};
    if (job.has_key)
        memcpy(job.key, r->idempotency_key.data, sizeof job.key);
    kd_buf_reset(&g->message);
    kd_job_put(&g->message, &job);
    if (g->message.err != KD_OK) {
        if (fd >= 0)
            close(fd);
        return g->message.err;
    }
    return kd_chan_put(&g->vault.chan, KD_MSG_job, kd_buf_slice(&g->message), fd);
}

/* What the ledger answers without the vault (look-ups, the log) is decided and counted
 * here: KD_DENIED, or KD_BUSY and the time to wait. */
static kd_err
allow_direct(struct gate *g, const struct conn *c, const struct op_rpc *rpc,
             const struct ask *ask, struct kd_quota_held *held, uint32_t *wait_ms)
{
    if (rpc->message == KD_MSG_NONE)
        return KD_OK;
    if (kd_policy_check(g->conf.policy, &c->caller, rpc->op, ask->domain) != KD_OK)
        return KD_DENIED;
    return kd_quota_take(&g->quotas, g->conf.policy, &c->caller, rpc->op, ask->domain,
                         kd_clock_ns(), held, wait_ms);
}

/* Takes fd. */
static void
start_request(struct gate *g, struct conn *c, const struct op_rpc *rpc,
              const Keyd__V1__Request *r, size_t frame, int fd, size_t upload)
{
    struct ask ask = {0};
    struct kd_role_link *to = rpc->message == KD_MSG_NONE ? &g->vault : &g->ledger;

    if (to->chan.fd < 0 || to->chan.backlog > BACKLOG_HIGH) {
        if (fd >= 0)
            close(fd);
        refuse(g, c, r->id, to->chan.fd < 0 ? KD_UNAVAILABLE : KD_BUSY, 0);
        return;
    }
    struct pending *p = begin_request(g, c, rpc, r, frame, upload);
    uint32_t wait_ms = 0;
    uint16_t reason = 0;
    kd_buf_reset(&g->body);
    kd_err err = p == NULL ? KD_BUSY : rpc->pack(r, p->tag, &g->body, &ask);
    if (err == KD_OK) {
        err = allow_direct(g, c, rpc, &ask, &p->quota, &wait_ms);
        reason = err == KD_DENIED ? KD_REASON_NOT_PERMITTED
                 : err == KD_BUSY ? KD_REASON_OVER_QUOTA
                                  : 0;
    }
    if (err == KD_OK) {
        p->from = ask.from;
        err = forward(g, rpc, r, p, fd);
        fd = -1;
    }
    if (fd >= 0)
        close(fd);
    if (err == KD_OK)
        return;
    if (p != NULL)
        end_request(g, p);
    refuse_until(g, c, r->id, err, reason, wait_ms);
}

/* Takes fd. */
static void
on_request(struct gate *g, struct conn *c, const Keyd__V1__Request *r, size_t frame,
           int fd)
{
    size_t upload;
    const struct kd_rpc_op *op = kd_rpc_op(r->op_case);
    const struct op_rpc *rpc = op == NULL ? NULL : op_rpc_find((enum kd_op)op->number);

    if (!c->is_known) {
        refuse(g, c, r->id, KD_DENIED, KD_REASON_NOT_PERMITTED);
        c->is_leaving = true;
    } else if (r->op_case == KEYD__V1__REQUEST__OP_HELLO) {
        on_hello(g, c, r);
    } else if (!c->is_greeted) {
        refuse_rpc(g, c, r->id, KD_INVALID, KD_RPC_HELLO_FIRST);
        c->is_leaving = true;
    } else if (rpc == NULL || !kd_op_is_served(rpc->op, g->conf.klass)) {
        refuse(g, c, r->id, KD_UNSUPPORTED, 0);
    } else if (c->n_pending >= g->conf.limits.max_in_flight) {
        refuse(g, c, r->id, KD_BUSY, 0);
    } else if (pending_find(c, r->id) != NULL) {
        refuse_rpc(g, c, r->id, KD_INVALID, KD_RPC_ID_IN_USE);
    } else if (descriptor_is_good(g, c, r->id, fd, &upload)) {
        start_request(g, c, rpc, r, frame, fd, upload);
        return;
    }
    if (fd >= 0)
        close(fd);
}

/* A frame that does not decode: where an id can be named it is answered, then or at
 * once the connection ends, since a peer that writes such frames is not a client. */
static void
on_bad_frame(struct gate *g, struct conn *c, kd_err err, const struct kd_rpc_fault *f)
{
    kd_log(KD_DEBUG, "bad frame uid=%u reason=%s field=%s.%s", c->caller.uid,
           kd_rpc_reason_text(f->reason), f->message == NULL ? "" : f->message,
           f->field == NULL ? "" : f->field);
    refuse_rpc(g, c, f->id, err, f->reason);
    if (err == KD_MALFORMED || f->id == 0)
        c->is_leaving = true;
}

static void
on_frame(struct gate *g, struct conn *c, const struct kd_frame *frame)
{
    const Keyd__V1__Request *r;
    struct kd_rpc_fault fault = {0};
    kd_err err =
        kd_rpc_decode_request(&g->arena, frame->body, frame->fd >= 0, &r, &fault);

    if (err == KD_OK) {
        on_request(g, c, r, frame->body.n, frame->fd);
        return;
    }
    if (frame->fd >= 0)
        close(frame->fd);
    on_bad_frame(g, c, err, &fault);
}

/* --- connections --- */

/* Frames that were read; stops when the client should first take its answers. */
static kd_err
take_frames(struct gate *g, struct conn *c)
{
    struct kd_frame frame;
    kd_err err;

    for (unsigned n = 0;; n++) {
        if (c->is_leaving || kd_frame_out_queued(&c->out) > OUT_HIGH ||
            n == FRAMES_A_TURN) {
            c->is_held = true;
            return kd_frame_hold(&c->in);
        }
        if ((err = kd_frame_next(&c->in, &frame)) != KD_OK)
            return err == KD_NOT_FOUND ? KD_OK : err;
        on_frame(g, c, &frame);
    }
}

static void
read_conn(struct gate *g, struct conn *c)
{
    kd_err err = KD_OK;

    c->active_at = kd_clock_ms();
    if (c->is_held) {
        c->is_held = false;
        err = take_frames(g, c);
    }
    if (err == KD_OK && !c->is_held && !c->is_leaving) {
        err = kd_frame_recv(&c->in, c->fd, &g->scratch);
        c->has_spoken |= err == KD_OK;
        if (err == KD_OK)
            err = take_frames(g, c);
        else if (err == KD_UNAVAILABLE)
            err = KD_OK;
    }
    if (err == KD_MALFORMED)
        refuse_rpc(g, c, 0, KD_MALFORMED, kd_frame_why(&c->in));
    if (err == KD_CLOSED && c->n_pending > 0)
        c->is_half_closed = true; /* it may still read what it asked for */
    else if (err != KD_OK)
        c->is_leaving = true;
    if (!kd_frame_is_partial(&c->in))
        c->partial_since = 0;
    else if (c->partial_since == 0)
        c->partial_since = c->active_at;
    mark_dirty(g, c);
}

static void
on_conn_event(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    if ((what & EV_READ) != 0)
        read_conn(&gate, c);
    else
        mark_dirty(&gate, c);
}

/* What the loop should wait for next. */
static void
rearm(struct conn *c, bool wants_write)
{
    short want = 0;

    if (!c->is_leaving && !c->is_half_closed && !c->is_held)
        want |= EV_READ;
    if (wants_write)
        want |= EV_WRITE;
    if (want == c->armed)
        return;
    event_del(c->event);
    if (want != 0) {
        event_assign(c->event, gate.base, c->fd, (short)(want | EV_PERSIST),
                     on_conn_event, c);
        event_add(c->event, NULL);
    }
    c->armed = want;
}

/* Sends what waits and decides what becomes of the connection. */
static void
settle_conn(struct gate *g, struct conn *c)
{
    kd_err err = c->is_broken ? KD_IO : kd_frame_flush(&c->out, c->fd);
    bool drained = err == KD_OK;

    if (err != KD_OK && err != KD_UNAVAILABLE) {
        close_conn(g, c);
        return;
    }
    if (drained)
        c->stalled_since = 0;
    else if (c->stalled_since == 0)
        c->stalled_since = kd_clock_ms();
    if (drained && (c->is_leaving || (c->is_half_closed && c->n_pending == 0))) {
        close_conn(g, c);
        return;
    }
    rearm(c, !drained);
    if (c->is_held && !c->is_leaving && kd_frame_out_queued(&c->out) <= OUT_HIGH)
        event_active(c->event, EV_READ, 0); /* frames wait that need no reading */
}

static void
settle_dirty(struct gate *g)
{
    while (g->dirty != NULL) {
        struct conn *c = g->dirty;
        g->dirty = c->next_dirty;
        c->is_dirty = false;
        settle_conn(g, c);
    }
}

static void
set_accepting(struct gate *g, bool on)
{
    if (g->on_listener == NULL || g->accepting == on)
        return;
    if (on)
        event_add(g->on_listener, NULL);
    else
        event_del(g->on_listener);
    g->accepting = on;
}

static void
close_conn(struct gate *g, struct conn *c)
{
    if (c->is_dirty) {
        struct conn **at = &g->dirty;
        while (*at != c)
            at = &(*at)->next_dirty;
        *at = c->next_dirty;
    }
    while (c->pending != NULL)
        pending_orphan(&g->pending, c->pending); /* what it started goes on */
    principal_leave(c->principal);
    conn_free(&g->conns, c);
    g->n_conns--;
    set_accepting(g, true);
}

/* Who connected: uid and gid as of connect(). The overflow uid stands for users the
 * kernel cannot map and is nobody (policy.h leaves it out, whatever is configured). */
static bool
peer_uid(int fd, uint32_t *uid)
{
    struct ucred cred;
    socklen_t size = sizeof cred;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0)
        return false;
    *uid = cred.uid;
    return true;
}

static void
open_conn(struct gate *g, int fd)
{
    uint32_t uid;
    struct conn *c = NULL;

    if (!peer_uid(fd, &uid) ||
        (c = conn_new(&g->conns, fd, g->conf.limits.max_frame, OUT_MAX)) == NULL) {
        close(fd);
        return;
    }
    c->caller = kd_caller_local(g->conf.klass, uid);
    struct kd_slice name;
    g->n_conns++;
    c->is_known = kd_policy_name(g->conf.policy, &c->caller, &name) == KD_OK;
    c->principal = principal_join(&g->principals, &c->caller, c->is_known);
    if (principal_is_over(&g->principals, c->principal,
                          g->conf.limits.max_connections)) {
        close_conn(g, c);
        return;
    }
    c->event = event_new(g->base, fd, EV_READ | EV_PERSIST, on_conn_event, c);
    if (c->event == NULL || event_add(c->event, NULL) != 0) {
        close_conn(g, c);
        return;
    }
    c->armed = EV_READ;
    if (!c->is_known)
        kd_log(KD_WARN, "connection of a uid that policy does not know: %u", uid);
    if (g->n_conns >= g->conf.limits.max_connections)
        set_accepting(g, false); /* the rest waits in the kernel's queue */
}

static void
on_accept(evutil_socket_t listener, short what, void *arg)
{
    struct gate *g = arg;

    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN && g->accepting; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            open_conn(g, fd);
        } else {
            /* Without descriptors, wait for some to be closed instead of spinning. */
            if (errno == EMFILE || errno == ENFILE)
                set_accepting(g, false);
            return;
        }
    }
}

/* --- answers of vault and ledger
 * ------------------------------------------------------ */

/* Takes fd. */
static void
answer_request(struct gate *g, struct pending *p, kd_err err, uint16_t reason,
               uint32_t retry_ms, struct kd_slice body, int fd)
{
    struct conn *c = p->conn;
    const struct op_rpc *rpc = p->rpc;
    uint64_t id = p->id, from = p->from;

    end_request(g, p);
    if (c == NULL) { /* the client is gone */
        if (fd >= 0)
            close(fd);
        return;
    }
    struct answer *a = new_answer(g, id, fd);
    a->from = from;
    if (err == KD_OK)
        err = rpc->unpack(body, a);
    if (err == KD_OK) {
        send_answer(g, c);
        return;
    }
    if (a->fd >= 0)
        close(a->fd);
    refuse_until(g, c, id, err, reason, retry_ms);
}

static kd_err
on_vault_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct gate *g = ctx;
    struct kd_done m;
    kd_err err = type == KD_MSG_done ? kd_done_get(body, &m) : KD_MALFORMED;

    if (err != KD_OK) {
        if (fd >= 0)
            close(fd);
        return err;
    }
    struct pending *p = pending_of_tag(&g->pending, m.id);
    if (p != NULL && p->rpc->message == KD_MSG_NONE)
        answer_request(g, p, (kd_err)m.err, m.reason, m.retry_ms, m.body, fd);
    else if (fd >= 0)
        close(fd);
    return KD_OK;
}

static kd_err
on_ledger_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct gate *g = ctx;
    struct kd_cur c = kd_cur(body);
    uint64_t tag = kd_cur_u64(&c); /* the first field of every looked message */
    struct pending *p = pending_of_tag(&g->pending, tag);

    (void)type; /* a body of another kind does not unpack */
    /* The ledger answers what it was asked and nothing in the vault's name. */
    if (c.err == KD_OK && p != NULL && p->rpc->message != KD_MSG_NONE)
        answer_request(g, p, KD_OK, 0, 0, body, fd);
    else if (fd >= 0)
        close(fd);
    return c.err;
}

/* The channel is new, so nobody answers what went through the old one. A changing
 * request may have been done: its key tells. */
static void
fail_pending_of(struct gate *g, bool of_vault)
{
    for (unsigned i = 0; i < PENDING_MAX; i++) {
        struct pending *p = g->pending.slot[i];
        if (p == NULL || (p->rpc->message == KD_MSG_NONE) != of_vault)
            continue;
        bool changes = (kd_op_flags(p->op) & KD_OPF_CHANGES) != 0;
        answer_request(g, p, changes ? KD_UNKNOWN : KD_UNAVAILABLE, 0, 0,
                       kd_slice(NULL, 0), -1);
    }
}

/* --- the supervisor --- */

static void
on_link_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg; /* the loop serves the links every turn; this only wakes it */
}

static void
watch_link(struct gate *g, struct event **ev, int fd)
{
    if (*ev != NULL)
        event_free(*ev);
    *ev = event_new(g->base, fd, EV_READ | EV_PERSIST, on_link_event, g);
    if (*ev == NULL || event_add(*ev, NULL) != 0)
        kd_role_die("event", KD_NOMEM);
}

/* Before the loop runs again, in which the next client may get the number of a
 * descriptor that was closed: libevent would take it for the one it knows and never
 * look at it. */
static void
unwatch_closed(struct event **ev, const struct kd_role_link *link)
{
    if (link->chan.fd >= 0 || *ev == NULL)
        return;
    event_free(*ev);
    *ev = NULL;
}

static void
listen_on(struct gate *g, int fd)
{
    if (g->on_listener != NULL)
        event_free(g->on_listener);
    if (g->listener >= 0)
        close(g->listener);
    g->listener = fd;
    g->on_listener = event_new(g->base, fd, EV_READ | EV_PERSIST, on_accept, g);
    if (g->on_listener == NULL)
        kd_role_die("event", KD_NOMEM);
    g->accepting = false;
    set_accepting(g, true);
}

static void
keep_process(struct gate *g, const struct kd_ctl_process *m)
{
    for (size_t i = 0; i < ANSWER_PROCESSES_MAX; i++) {
        struct process_line *line = &g->processes[i];
        bool same =
            line->present && line->is.role == m->role && line->is.gate == m->gate;
        if (line->present && !same)
            continue;
        *line = (struct process_line){*m, true};
        return;
    }
}

static kd_err
on_ctl_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct gate *g = ctx;
    struct kd_ctl_link m;
    struct kd_ctl_process process;

    if (type == KD_MSG_ctl_process && fd < 0 &&
        kd_ctl_process_get(body, &process) == KD_OK) {
        keep_process(g, &process);
        return KD_OK;
    }
    if (type != KD_MSG_ctl_link || fd < 0 || kd_ctl_link_get(body, &m) != KD_OK)
        kd_role_die("bad message from the supervisor", KD_MALFORMED);
    if (m.link == KD_LINK_VAULT) {
        kd_role_relink(&g->vault, &m, fd);
        watch_link(g, &g->on_vault, fd);
        fail_pending_of(g, true);
    } else if (m.link == KD_LINK_LEDGER) {
        kd_role_relink(&g->ledger, &m, fd);
        watch_link(g, &g->on_ledger, fd);
        fail_pending_of(g, false);
    } else if (m.link == KD_LINK_LISTENER) {
        listen_on(g, fd);
    } else {
        close(fd);
    }
    return KD_OK;
}

/* --- time --- */

static bool
is_overdue(const struct gate *g, const struct conn *c, int64_t now)
{
    const struct kd_limits *l = &g->conf.limits;
    int64_t quiet = now - c->active_at;

    if (c->stalled_since != 0 &&
        now - c->stalled_since > (int64_t)l->write_timeout * 1000)
        return true;
    if (c->partial_since != 0 &&
        now - c->partial_since > (int64_t)l->frame_timeout * 1000)
        return true;
    if (!c->has_spoken && now - c->opened_at > (int64_t)l->first_octet_timeout * 1000)
        return true;
    if (!c->is_greeted)
        return now - c->opened_at > (int64_t)l->hello_timeout * 1000;
    return c->n_pending == 0 && quiet > (int64_t)l->idle_timeout * 1000;
}

static void
end_late_requests(struct gate *g, int64_t now)
{
    for (unsigned i = 0; i < PENDING_MAX; i++) {
        struct pending *p = g->pending.slot[i];
        if (p == NULL || now < p->deadline + ANSWER_GRACE_MS)
            continue;
        bool changes = (kd_op_flags(p->op) & KD_OPF_CHANGES) != 0;
        answer_request(g, p, changes ? KD_UNKNOWN : KD_TIMEOUT, 0, 0, kd_slice(NULL, 0),
                       -1);
    }
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct gate *g = arg;
    int64_t now = kd_clock_ms();

    (void)fd;
    (void)what;
    end_late_requests(g, now);
    for (struct conn *c = g->conns, *next; c != NULL; c = next) {
        next = c->next;
        if (is_overdue(g, c, now))
            close_conn(g, c);
    }
    set_accepting(g, g->n_conns < g->conf.limits.max_connections);
}

/* --- start and loop --- */

/* Taken before the filter, which has no mapping of descriptors. */
static void
map_quotas(struct gate *g)
{
    unsigned slot = g->conf.klass * KD_GATE_WORKERS_MAX + g->conf.worker;
    kd_err err = kd_quota_shared_map(KD_ROLE_QUOTA_FD, KD_ROLE_QUOTA_READ_FD,
                                     g->conf.klass, slot, &g->quotas, &g->all_quotas);

    if (err != KD_OK)
        kd_role_die("quotas", err);
    close(KD_ROLE_QUOTA_FD);
    close(KD_ROLE_QUOTA_READ_FD);
    kd_quota_claim(&g->quotas, g->conf.policy, false);
}

_Static_assert((int)KD_GATES_MAX <= (int)KD_QUOTA_SLOTS,
               "every gate has a slot to count in");

static void
setup(struct gate *g)
{
    static const struct timeval tick = {0, TICK_MS * 1000L};
    struct kd_buf octets;
    kd_err err;

    kd_buf_init(&octets, KD_ROLE_CONF_SIZE_MAX);
    kd_role_start(&g->ctl, "keyd-gate", &octets);
    if ((err = kd_conf_for_gate_decode(kd_buf_slice(&octets), &g->conf)) != KD_OK)
        kd_role_die("bad configuration", err);
    kd_buf_free(&octets);
    kd_log_setup("keyd-gate", g->conf.log_level);
    map_quotas(g);
    kd_role_unlinked(&g->vault);
    kd_role_unlinked(&g->ledger);
    g->listener = -1;
    g->principals.is_shared = kd_policy_n_rows(g->conf.policy) > 1;
    kd_arena_init(&g->arena);
    kd_buf_init(&g->body, KD_JOB_BODY_MAX);
    kd_buf_init(&g->message, KD_CHAN_BODY_MAX);
    g->base = event_base_new();
    if (g->base == NULL)
        kd_role_die("event loop", KD_NOMEM);
    kd_role_enter(KD_ROLE_GATE, NULL, g->conf.hardening);
    watch_link(g, &g->on_ctl, g->ctl.fd);
    g->on_tick = event_new(g->base, -1, EV_PERSIST, on_tick, g);
    if (g->on_tick == NULL || event_add(g->on_tick, &tick) != 0)
        kd_role_die("timer", KD_NOMEM);
    kd_role_ready(&g->ctl);
}

/* What a full channel could not take goes when it is writable; with no event for that
 * the loop looks again soon. */
static void
turn(struct gate *g)
{
    static const struct timeval soon = {0, 1000};

    if (kd_chan_pending(&g->vault.chan) || kd_chan_pending(&g->ledger.chan))
        event_base_loopexit(g->base, &soon);
    if (event_base_loop(g->base, EVLOOP_ONCE) < 0)
        kd_role_die("event loop", KD_FAILED);
    kd_role_serve_ctl(&g->ctl, on_ctl_message, g);
    kd_role_serve(&g->ctl, &g->vault, PACKETS_A_TURN, on_vault_message, g);
    kd_role_serve(&g->ctl, &g->ledger, PACKETS_A_TURN, on_ledger_message, g);
    settle_dirty(g);
    kd_role_flush(&g->ctl, &g->vault);
    kd_role_flush(&g->ctl, &g->ledger);
    unwatch_closed(&g->on_vault, &g->vault);
    unwatch_closed(&g->on_ledger, &g->ledger);
    kd_role_flush_ctl(&g->ctl);
}

int
main(void)
{
    setup(&gate);
    for (;;)
        turn(&gate);
}
