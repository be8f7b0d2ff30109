/* request.h */
#include "request.h"
#include "part.h"
#include "serve.h"
#include "stops.h"
#include "transport.h"
#include "turn.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/job/reasons.h>

#include <unistd.h>

enum {
    ANSWER_GRACE_MS = 2000, /* past a request's deadline, for the vault's answer */
    DEADLINE_DEFAULT_MS = 30000,
    DEADLINE_MOST_MS = 600000,
    RETRY_AFTER_MS = 500, /* for one that is stopping: about what a restart takes */
    BACKLOG_HIGH = 4 * 1024 * 1024, /* octets waiting for vault or ledger */
};

/* --- answers --- */

/* A queue of answers takes a few descriptors only; what the client's socket takes of
 * them makes room. */
static kd_err
put_answer(struct conn *c, struct answer *a, struct kd_rpc_fault *fault)
{
    kd_err err = kd_rpc_put_response(&c->out, &a->r, a->fd, fault);

    if (err != KD_BUSY || a->fd < 0)
        return err;
    kd_ignore(gate_transport.flush(c)); /* what fails here fails again */
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
    serve_later(g, c);
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

/* Nothing was done; the answer names what operators are to approve. */
static void
refuse_waiting(struct gate *g, struct conn *c, uint64_t id, uint16_t reason,
               struct kd_slice body)
{
    char name[KD_REASON_NAME_MAX];
    struct answer *a = new_answer(g, id, -1);

    if (kd_approval_needed_get(body, &a->waits) != KD_OK || a->waits.missing == 0) {
        refuse(g, c, id, KD_FAILED, 0);
        return;
    }
    a->r.status = kd_rpc_status(KD_APPROVAL);
    a->r.detail = kd_rpc_data(kd_slice_str(kd_reason_name(reason, name)));
    a->r.approval_id = kd_rpc_data(kd_slice(a->waits.id, sizeof a->waits.id));
    a->r.approvals_missing = a->waits.missing;
    send_answer(g, c);
}

/* Whoever knows of another keyd goes there at once; the others ask again here. */
static void
refuse_draining(struct gate *g, struct conn *c, uint64_t id)
{
    refuse_until(g, c, id, KD_UNAVAILABLE, KD_REASON_DRAINING, RETRY_AFTER_MS);
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
        c->is_leaving = true;
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
                         .conf = g->serial,
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

static bool
direct_is_allowed(struct gate *g, const struct conn *c, const struct op_rpc *rpc,
                  const struct ask *ask, struct kd_quota_match *match)
{
    bool allowed = kd_policy_decide(g->conf.policy, &c->caller, rpc->op, ask->domain,
                                    match) == KD_OK;
    if (g->watched != NULL) {
        bool would =
            kd_policy_check(g->watched, &c->caller, rpc->op, ask->domain) == KD_OK;
        if (would != allowed)
            seen_add(&g->seen, &g->vault.chan, &c->caller, rpc->op, would);
    }
    return allowed;
}

/* What the ledger answers without the vault (look-ups, the log) is decided and counted
 * here: KD_DENIED, or KD_BUSY and the time to wait. */
static kd_err
allow_direct(struct gate *g, const struct conn *c, const struct op_rpc *rpc,
             const struct ask *ask, struct kd_quota_held *held, uint32_t *wait_ms)
{
    struct kd_quota_match match;

    if (rpc->message == KD_MSG_NONE)
        return KD_OK;
    if (!direct_is_allowed(g, c, rpc, ask, &match))
        return KD_DENIED;
    return kd_quota_take(&g->quotas, &g->quota_map, &match, kd_clock_ns(), held,
                         wait_ms);
}

/* Takes fd. */
static void
start_request(struct gate *g, struct conn *c, const struct op_rpc *rpc,
              const Keyd__V1__Request *r, size_t frame, int fd, size_t upload)
{
    struct ask ask = {0};
    struct kd_role_link *to = rpc->message == KD_MSG_NONE ? &g->vault : &g->ledger;

    /* Look-ups pass the vault by, which alone knows who is stopped. */
    if (rpc->message != KD_MSG_NONE && !g->stops_known) {
        if (fd >= 0)
            close(fd);
        refuse(g, c, r->id, KD_UNAVAILABLE, KD_REASON_STARTING);
        return;
    }
    if (to->chan.fd < 0 || to->chan.backlog > BACKLOG_HIGH) {
        if (fd >= 0)
            close(fd);
        refuse(g, c, r->id, to->chan.fd < 0 ? KD_UNAVAILABLE : KD_BUSY, 0);
        return;
    }
    if (upload != 0 &&
        !principal_has_room(&g->principals, c->principal, &g->conf.limits, upload)) {
        close(fd);
        refuse_rpc(g, c, r->id, KD_BUSY, KD_RPC_TOO_MANY_OBJECTS);
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

/* --- objects in parts --- */

static void
on_upload_part(struct gate *g, struct conn *c, const Keyd__V1__Request *r)
{
    uint64_t received;
    enum kd_rpc_reason why;
    kd_err err = part_upload(g, c, r->upload_part, &received, &why);

    if (err != KD_OK) {
        refuse_rpc(g, c, r->id, err, why);
        return;
    }
    struct answer *a = new_answer(g, r->id, -1);
    keyd__v1__upload_part_result__init(&a->u.upload_part);
    a->u.upload_part.received = received;
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_UPLOAD_PART;
    a->r.upload_part = &a->u.upload_part;
    send_answer(g, c);
}

static void
on_fetch_part(struct gate *g, struct conn *c, const Keyd__V1__Request *r)
{
    kd_buf_reset(&g->body);
    kd_err err = part_fetch(g, c, r->fetch_part, &g->body);

    if (err != KD_OK) {
        refuse_rpc(g, c, r->id, err,
                   err == KD_NOT_FOUND ? KD_RPC_OBJECT_GONE : KD_RPC_FIELD_VALUE);
        return;
    }
    struct answer *a = new_answer(g, r->id, -1);
    keyd__v1__fetch_part_result__init(&a->u.fetch_part);
    a->u.fetch_part.data = kd_rpc_data(kd_buf_slice(&g->body));
    a->r.result_case = KEYD__V1__RESPONSE__RESULT_FETCH_PART;
    a->r.fetch_part = &a->u.fetch_part;
    send_answer(g, c);
}

/* What answers with a descriptor does so by name where there are none. Takes a->fd, or
 * leaves it after an error. */
static kd_err
offer_object(struct gate *g, struct conn *c, struct answer *a)
{
    kd_err err;

    if (a->fd < 0 || gate_transport.has_descriptors)
        return KD_OK;
    if ((err = part_offer(g, c, a->fd, a->object_id)) != KD_OK)
        return err;
    a->fd = -1;
    a->r.object_id = kd_rpc_data(kd_slice(a->object_id, sizeof a->object_id));
    return KD_OK;
}

/* An upload in place of a descriptor. */
static bool
take_upload(struct gate *g, struct conn *c, const Keyd__V1__Request *r, int *fd)
{
    struct kd_slice id = kd_rpc_slice(r->upload_id);

    if (id.n == 0)
        return true;
    if (gate_transport.has_descriptors)
        refuse_rpc(g, c, r->id, KD_INVALID, KD_RPC_UPLOAD_UNWANTED);
    else if (part_take(g, c, id, fd) != KD_OK)
        refuse_rpc(g, c, r->id, KD_INVALID, KD_RPC_UPLOAD_UNKNOWN);
    else
        return true;
    return false;
}

/* --- what becomes of a request --- */

/* A caller that may ask nothing, or no more, loses the connection. */
static bool
may_ask(struct gate *g, struct conn *c, uint64_t id)
{
    turn_look(g, c);
    kd_err err = !c->is_known                     ? KD_DENIED
                 : gate_transport.may_ask == NULL ? KD_OK
                                                  : gate_transport.may_ask(g, c);

    if (err == KD_OK && stops_has(g, &c->caller)) {
        refuse(g, c, id, KD_DENIED, KD_REASON_PRINCIPAL_STOPPED);
        c->is_leaving = true;
        return false;
    }
    if (err == KD_OK)
        return true;
    refuse(g, c, id, err, err == KD_DENIED ? KD_REASON_NOT_PERMITTED : 0);
    c->is_leaving = true;
    return false;
}

/* Takes *fd if it goes on. */
static void
on_operation(struct gate *g, struct conn *c, const struct op_rpc *rpc,
             const Keyd__V1__Request *r, size_t frame, int *fd)
{
    size_t upload;

    if (c->n_pending >= g->conf.limits.max_in_flight) {
        refuse(g, c, r->id, KD_BUSY, 0);
    } else if (pending_find(c, r->id) != NULL) {
        refuse_rpc(g, c, r->id, KD_INVALID, KD_RPC_ID_IN_USE);
    } else if (take_upload(g, c, r, fd) &&
               descriptor_is_good(g, c, r->id, *fd, &upload)) {
        start_request(g, c, rpc, r, frame, *fd, upload);
        *fd = -1;
    }
}

/* Takes fd. */
static void
on_request(struct gate *g, struct conn *c, const Keyd__V1__Request *r, size_t frame,
           int fd)
{
    const struct kd_rpc_op *op = kd_rpc_op(r->op_case);
    unsigned number = op == NULL ? KD_OP_NONE : op->number;
    const struct op_rpc *rpc = op_rpc_find((enum kd_op)number);

    if (!may_ask(g, c, r->id)) {
        /* refused */
    } else if (number == KD_OP_Hello) {
        on_hello(g, c, r);
    } else if (!c->is_greeted) {
        refuse_rpc(g, c, r->id, KD_INVALID, KD_RPC_HELLO_FIRST);
        c->is_leaving = true;
    } else if (!kd_op_is_served(number, g->conf.klass)) {
        refuse_rpc(g, c, r->id, KD_UNSUPPORTED, KD_RPC_NOT_SERVED);
    } else if (turn_refuses(g, (enum kd_op)number)) {
        refuse_draining(g, c, r->id);
    } else if (number == KD_OP_UploadPart) {
        on_upload_part(g, c, r);
    } else if (number == KD_OP_FetchPart) {
        on_fetch_part(g, c, r);
    } else if (rpc == NULL) {
        refuse_rpc(g, c, r->id, KD_UNSUPPORTED, KD_RPC_NOT_SERVED);
    } else {
        on_operation(g, c, rpc, r, frame, &fd);
    }
    if (r->upload_id.len != 0)
        part_drop(g, c, kd_rpc_slice(r->upload_id)); /* used up, whatever came of it */
    if (fd >= 0)
        close(fd);
}

/* A frame that does not decode: where an id can be named it is answered, then or at
 * once the connection ends, since a peer that writes such frames is not a client. */
static void
on_bad_frame(struct gate *g, struct conn *c, kd_err err, const struct kd_rpc_fault *f)
{
    char name[KD_POLICY_NAME_MAX + 1];

    kd_log(KD_DEBUG, "bad frame uid=%u name=%s reason=%s field=%s.%s", c->caller.uid,
           kd_log_text(c->caller.name, name, sizeof name),
           kd_rpc_reason_text(f->reason), f->message == NULL ? "" : f->message,
           f->field == NULL ? "" : f->field);
    refuse_rpc(g, c, f->id, err, f->reason);
    if (err == KD_MALFORMED || f->id == 0)
        c->is_leaving = true;
}

void
request_frame(struct gate *g, struct conn *c, const struct kd_frame *frame)
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

void
request_bad_stream(struct gate *g, struct conn *c, enum kd_rpc_reason reason)
{
    refuse_rpc(g, c, 0, KD_MALFORMED, reason);
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
    if (err == KD_OK && (err = rpc->unpack(body, a)) == KD_MALFORMED)
        /* Our own process's fault, and not the client's. */
        err = (kd_op_flags(rpc->op) & KD_OPF_CHANGES) != 0 ? KD_UNKNOWN : KD_FAILED;
    if (err == KD_OK && (err = offer_object(g, c, a)) != KD_OK &&
        (kd_op_flags(rpc->op) & KD_OPF_CHANGES) != 0)
        err = KD_UNKNOWN; /* it was done: the same request again gets the object */
    if (err == KD_OK) {
        send_answer(g, c);
        return;
    }
    if (a->fd >= 0)
        close(a->fd);
    if (err == KD_APPROVAL)
        refuse_waiting(g, c, id, reason, body);
    else
        refuse_until(g, c, id, err, reason, retry_ms);
}

kd_err
request_on_vault(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct gate *g = ctx;
    struct kd_done m;

    if (type == KD_MSG_gate_stopped && fd < 0)
        return stops_on_message(g, body);
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

kd_err
request_on_ledger(void *ctx, uint16_t type, struct kd_slice body, int fd)
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

void
request_stop(struct gate *g, struct conn *c)
{
    for (struct pending *p = c->pending, *next; p != NULL; p = next) {
        next = p->next;
        if (p->rpc->message != KD_MSG_NONE)
            answer_request(g, p, KD_DENIED, KD_REASON_PRINCIPAL_STOPPED, 0,
                           kd_slice(NULL, 0), -1);
    }
    c->is_stopped = true;
    c->is_half_closed = true;
    serve_later(g, c);
}

void
request_tell_stop(struct gate *g, struct conn *c)
{
    refuse(g, c, 0, KD_DENIED, KD_REASON_PRINCIPAL_STOPPED);
    c->is_leaving = true;
}

/* The channel is new, so nobody answers what went through the old one. A changing
 * request may have been done: its key tells. */
void
request_fail_all(struct gate *g, bool of_vault)
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

/* --- time --- */

void
request_tick(struct gate *g, int64_t now)
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
