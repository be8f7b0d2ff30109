/* One connection: from a name to a socket to a version agreed on, then frames. */
#include "address.h"
#include "client.h"
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void next_name(struct link *l, enum keyd_status why);
static void shake(struct link *l);

void
link_init(struct link *l, struct keyd_client *c, struct endpoint *e)
{
    *l = (struct link){.client = c, .endpoint = e, .sock = -1, .why = KEYD_UNAVAILABLE};
    kd_frame_in_init(&l->in, KD_FRAME_MAX);
    kd_frame_out_init(&l->out, QUEUE_MAX);
    TAILQ_INIT(&l->flying);
    TAILQ_INIT(&l->calls);
}

/* ---- flights */

static void
remove_flight(struct link *l, struct flight *f)
{
    TAILQ_REMOVE(&l->flying, f, entry);
    l->n_flying--;
    if (f->call != NULL && f->kind != FLIGHT_CALL)
        f->call->parts--;
    free(f);
}

static struct flight *
find_flight(struct link *l, uint64_t id)
{
    struct flight *f;

    TAILQ_FOREACH(f, &l->flying, entry)
    if (f->id == id)
        return f;
    return NULL;
}

void
link_forget(struct link *l, struct call *call)
{
    struct flight *f;

    TAILQ_FOREACH(f, &l->flying, entry)
    if (f->call == call)
        f->call = NULL;
    TAILQ_REMOVE(&l->calls, call, entry);
    l->n_kind[op_kind(call->oneof_case)]--;
    if (call->stage == CALL_UPLOADING || call->stage == CALL_FETCHING)
        l->n_moves--;
    call->link = NULL;
    call->stage = CALL_QUEUED;
    call->parts = 0;
    call->response = NULL;
}

/* ---- the end */

static void
let_go_of_names(struct link *l)
{
    struct addrinfo *found = l->naming == NULL ? NULL : naming_end(l->naming);

    if (found != NULL)
        freeaddrinfo(found);
    if (l->names != NULL)
        freeaddrinfo(l->names);
    l->naming = NULL;
    l->names = l->next_name = NULL;
}

static void
close_socket(struct link *l)
{
    tls_free(l->tls);
    l->tls = NULL;
    /* Closing is not enough where another descriptor of it is left. */
    if (l->watched != 0)
        kd_ignore(epoll_ctl(l->client->epoll, EPOLL_CTL_DEL, l->sock, NULL));
    if (l->sock >= 0)
        close(l->sock);
    l->sock = -1;
    l->watched = 0;
}

/* What was never sent was not done; what was sent and changes something may have been.
 * A frame of which the last octet has not left cannot have been read. */
static void
lose_call(struct link *l, struct call *call, uint64_t sent)
{
    bool may_be_done = call->stage == CALL_FETCHING ||
                       (call->stage == CALL_ASKED && call->ends_at <= sent);

    link_forget(l, call);
    if (l->endpoint != NULL)
        pool_lost_call(l->endpoint, call, may_be_done);
    else
        call_end(l->client, call,
                 may_be_done && call->changing ? KEYD_UNKNOWN_OUTCOME
                                               : KEYD_UNAVAILABLE,
                 l->detail);
}

void
link_end(struct link *l, enum keyd_status why, const char *detail)
{
    struct keyd_client *c = l->client;
    struct call *call;
    struct flight *f;
    uint64_t sent = l->out.sent;

    if (l->phase == LINK_CLOSED)
        return;
    l->phase = LINK_CLOSED;
    l->why = why;
    set_text(l->detail, detail);
    let_go_of_names(l);
    close_socket(l);
    kd_frame_in_clear(&l->in);
    kd_frame_out_clear(&l->out);
    /* The analyzer does not follow the links of a queue: to it the one that was removed
     * is still the first. */
    /* NOLINTBEGIN(clang-analyzer-unix.Malloc) */
    while ((call = TAILQ_FIRST(&l->calls)) != NULL)
        lose_call(l, call, sent);
    while ((f = TAILQ_FIRST(&l->flying)) != NULL)
        remove_flight(l, f);
    if (l->endpoint != NULL) {
        pool_lost(l->endpoint);
        return;
    }
    while ((call = TAILQ_FIRST(&c->waiting)) != NULL)
        call_end(c, call, KEYD_UNAVAILABLE, l->detail);
    /* NOLINTEND(clang-analyzer-unix.Malloc) */
    c->next_deadline = INT64_MAX;
}

/* ---- the beginning */

kd_err
link_request(struct link *l, const Keyd__V1__Request *m, enum flight_kind kind,
             struct call *call, uint32_t at, uint32_t n)
{
    struct flight *f = calloc(1, sizeof *f);
    struct kd_rpc_fault fault;
    kd_err err;

    if (f == NULL)
        return KD_NOMEM;
    *f = (struct flight){.id = m->id,
                         .oneof_case = (unsigned)m->op_case,
                         .kind = kind,
                         .at = at,
                         .n = n,
                         .call = call};
    if ((err = kd_rpc_put_request(&l->out, m, -1, &fault)) != KD_OK) {
        free(f);
        return err;
    }
    if (l->n_flying++ == 0)
        l->heard_ms = kd_clock_ms();
    TAILQ_INSERT_TAIL(&l->flying, f, entry);
    return KD_OK;
}

static enum keyd_status
greet(struct link *l)
{
    struct keyd_client *c = l->client;
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;
    struct kd_rpc_fault fault;

    hello.min_version = KD_RPC_VERSION_MIN;
    hello.max_version = KD_RPC_VERSION_MAX;
    hello.client_name = kd_rpc_data(kd_slice_str(c->name));
    m.id = l->hello_id = ++c->last_id;
    m.op_case = KEYD__V1__REQUEST__OP_HELLO;
    m.hello = &hello;
    l->phase = LINK_GREETING;
    return kd_rpc_put_request(&l->out, &m, -1, &fault) == KD_OK ? KEYD_OK : KEYD_NOMEM;
}

static void
start_clean(struct link *l, int64_t open_by)
{
    l->write_failed = l->has_more = false;
    if (l->endpoint == NULL) { /* that of an endpoint stays until the next */
        l->why = KEYD_OK;
        l->detail[0] = '\0';
    }
    l->server = (struct keyd_server){0};
    l->open_by = open_by;
    client_due(l->client, open_by);
}

enum keyd_status
link_adopt(struct link *l, int fd, int64_t open_by)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        close(fd);
        return KEYD_USAGE;
    }
    start_clean(l, open_by);
    l->sock = fd;
    enum keyd_status status = greet(l);
    if (status != KEYD_OK)
        link_end(l, status, "out-of-memory");
    return status;
}

static void
open_path(struct link *l)
{
    enum keyd_status status = address_open_unix(l->endpoint->path, 0, &l->sock);

    l->phase = LINK_GREETING;
    if (status == KEYD_OK)
        status = greet(l);
    if (status == KEYD_OK)
        return;
    link_end(l, status == KEYD_BUSY ? KEYD_UNAVAILABLE : status,
             status == KEYD_BUSY     ? "connection-backlog"
             : status == KEYD_DENIED ? "connection-denied"
             : status == KEYD_NOMEM  ? "out-of-memory"
                                     : "connection-refused");
}

static void
open_name(struct link *l)
{
    struct endpoint *e = l->endpoint;

    l->phase = LINK_CONNECTING;
    if ((l->names = naming_of_digits(e->host, e->port)) != NULL) {
        l->next_name = l->names;
        next_name(l, KEYD_UNAVAILABLE);
        return;
    }
    l->phase = LINK_NAMING;
    if ((l->naming = naming_new(e->host, e->port, &l->sock)) == NULL)
        link_end(l, KEYD_NOMEM, "out-of-memory");
}

void
link_open(struct link *l, int64_t open_by)
{
    start_clean(l, open_by);
    if (l->endpoint->path != NULL)
        open_path(l);
    else
        open_name(l);
}

/* The name was looked up. */
static void
named(struct link *l)
{
    l->names = l->next_name = naming_end(l->naming);
    l->naming = NULL;
    close_socket(l);
    if (l->names == NULL)
        link_end(l, KEYD_UNAVAILABLE, "name-unknown");
    else
        next_name(l, KEYD_UNAVAILABLE);
}

/* Each of a name's addresses has its turn. */
static void
next_name(struct link *l, enum keyd_status why)
{
    l->phase = LINK_CONNECTING;
    while (l->next_name != NULL) {
        const struct addrinfo *to = l->next_name;
        l->next_name = to->ai_next;
        close_socket(l);
        if ((why = address_open_tcp(to, &l->sock)) == KEYD_OK)
            return;
    }
    link_end(l, why, why == KEYD_NOMEM ? "out-of-memory" : "connection-refused");
}

static void
connected(struct link *l)
{
    enum keyd_status status = address_connected(l->sock);

    if (status != KEYD_OK) {
        next_name(l, status);
        return;
    }
    l->phase = LINK_SHAKING;
    if ((l->tls = tls_new(l->endpoint->tls, l->sock)) == NULL)
        link_end(l, KEYD_NOMEM, "out-of-memory");
    else
        shake(l);
}

static void
end_tls(struct link *l, kd_err err)
{
    const char *why = tls_why(l->tls);

    if (err == KD_CLOSED)
        link_end(l, KEYD_UNAVAILABLE, "server-closed");
    else
        link_end(l, err == KD_DENIED ? KEYD_DENIED : KEYD_PROTOCOL,
                 *why == '\0' ? "tls-failed" : why);
}

static void
shake(struct link *l)
{
    kd_err err = tls_shake(l->tls);

    if (err == KD_UNAVAILABLE)
        return;
    if (err != KD_OK)
        end_tls(l, err);
    else if (greet(l) != KEYD_OK)
        link_end(l, KEYD_NOMEM, "out-of-memory");
    else
        l->has_more = tls_has_more(l->tls); /* that came with the handshake's last */
}

/* ---- asking */

bool
link_has_room(const struct link *l)
{
    return l->phase == LINK_READY && !l->write_failed &&
           l->n_flying < l->server.max_in_flight &&
           kd_frame_out_queued(&l->out) <= QUEUE_HIGH &&
           l->out.n_fds < KD_FRAME_OUT_FDS;
}

/* The head of a request, which comes before its operation whatever that is; together
 * they are the message. */
static kd_err
encode_head(const struct link *l, const struct call *call, uint64_t id,
            struct kd_buf *out)
{
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;
    int64_t left = call->deadline_ms - kd_clock_ms();

    m.id = id;
    m.deadline_ms = left < 1 ? 1 : (uint32_t)left;
    if (call->changing)
        m.idempotency_key =
            kd_rpc_data(kd_slice(call->box->answer.idempotency_key, KEYD_KEY_SIZE));
    if (call->fd >= 0 && l->is_parted)
        m.upload_id = kd_rpc_data(kd_slice(call->object_id, sizeof call->object_id));
    else
        m.takes_fd = call->fd >= 0;
    return kd_rpc_encode(&m.base, out);
}

/* Queues the frame of a call; the descriptor stays the call's own, for another time. */
static kd_err
put_call(struct link *l, struct call *call, uint64_t id)
{
    struct kd_buf head;
    struct kd_slice body = kd_buf_slice(&call->body);
    uint8_t *at = NULL;
    int fd = -1;
    kd_err err;

    kd_buf_init(&head, KD_FRAME_MAX);
    if ((err = encode_head(l, call, id, &head)) != KD_OK)
        goto out;
    if (head.n + body.n > l->server.max_frame) {
        err = KD_TOO_LARGE;
        goto out;
    }
    if (call->fd >= 0 && !l->is_parted &&
        (fd = fcntl(call->fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        err = KD_NOMEM;
        goto out;
    }
    if ((err = kd_frame_reserve(&l->out, head.n + body.n, fd, &at)) != KD_OK)
        goto out;
    fd = -1;
    memcpy(at, head.p, head.n);
    memcpy(at + head.n, body.p, body.n);
    call->ends_at = l->out.sent + kd_frame_out_queued(&l->out);
out:
    if (fd >= 0)
        close(fd);
    kd_buf_free(&head);
    return err;
}

/* The request itself, after its object if that went in parts. */
static kd_err
fly(struct link *l, struct call *call)
{
    struct flight *f = calloc(1, sizeof *f);
    kd_err err;

    if (f == NULL)
        return KD_NOMEM;
    uint64_t id = call->box->answer.attempts == 1 ? call->id : ++l->client->last_id;
    if ((err = put_call(l, call, id)) != KD_OK) {
        free(f);
        return err;
    }
    *f = (struct flight){
        .id = id, .oneof_case = call->oneof_case, .kind = FLIGHT_CALL, .call = call};
    if (l->n_flying++ == 0)
        l->heard_ms = kd_clock_ms();
    TAILQ_INSERT_TAIL(&l->flying, f, entry);
    call->stage = CALL_ASKED;
    return KD_OK;
}

/* An attempt that could not be made for want of something here. */
static void
end_unsent(struct link *l, struct call *call, enum keyd_status status,
           const char *detail)
{
    link_forget(l, call);
    call_end(l->client, call, call->maybe_done ? KEYD_UNKNOWN_OUTCOME : status, detail);
}

static void
fly_or_end(struct link *l, struct call *call)
{
    kd_err err = fly(l, call);

    if (err == KD_TOO_LARGE)
        end_unsent(l, call, KEYD_INVALID, kd_rpc_reason_text(KD_RPC_FRAME_TOO_LONG));
    else if (err != KD_OK)
        end_unsent(l, call, KEYD_NOMEM, "out-of-memory");
}

static bool
uploads(const struct link *l, const struct call *call)
{
    return call->fd >= 0 && l->is_parted;
}

bool
link_takes(const struct link *l, const struct call *call)
{
    return link_has_room(l) && (!uploads(l, call) || l->n_moves < MOVES_MAX);
}

void
link_ask(struct link *l, struct call *call)
{
    call->link = l;
    call->sent_ms = kd_clock_ms();
    call->box->answer.attempts++;
    call->box->answer.endpoint = l->endpoint == NULL ? 0 : l->endpoint->number;
    TAILQ_INSERT_TAIL(&l->calls, call, entry);
    l->n_kind[op_kind(call->oneof_case)]++;
    if (!uploads(l, call)) {
        fly_or_end(l, call);
        return;
    }
    l->n_moves++;
    call->stage = CALL_UPLOADING;
    if (parts_upload(l, call) != KEYD_OK)
        end_unsent(l, call, KEYD_NOMEM, "out-of-memory");
}

/* Its object is there: the request goes even if there is no room by the count, because
 * the parts have just left theirs. */
static void
ask_uploaded(struct link *l, struct call *call)
{
    l->n_moves--;
    call->stage = CALL_ASKED;
    fly_or_end(l, call);
}

/* ---- sending */

static kd_err
flush(struct link *l)
{
    struct kd_slice octets;
    kd_err err = KD_OK;
    size_t n;

    if (l->tls == NULL)
        return kd_frame_flush(&l->out, l->sock);
    while (err == KD_OK && kd_frame_out_queued(&l->out) > 0) {
        if ((err = kd_frame_out_peek(&l->out, &octets)) == KD_OK &&
            (err = tls_send(l->tls, octets, &n)) == KD_OK)
            kd_frame_out_drop(&l->out, n);
    }
    return err;
}

void
link_send(struct link *l)
{
    if (l->phase < LINK_GREETING || l->write_failed)
        return;
    parts_turn(l);
    if (kd_frame_out_queued(&l->out) == 0)
        return;
    kd_err err = flush(l);
    if (err == KD_OK || err == KD_UNAVAILABLE)
        return;
    /* The queue stays: how much of it was sent is still asked. */
    l->write_failed = true;
}

/* ---- receiving */

/* The server speaks about the connection itself, which it closes. */
static void
take_farewell(struct link *l, const Keyd__V1__Response *m)
{
    char word[49] = "";

    if (m->detail.len != 0)
        memcpy(word, m->detail.data, m->detail.len); /* 48 at most; room for the NUL */
    link_end(l, (enum keyd_status)m->status, word);
}

static void
take_hello(struct link *l, const Keyd__V1__Response *m)
{
    const Keyd__V1__HelloResult *h = m->hello;

    if (m->status != KEYD__V1__STATUS__STATUS_OK) {
        take_farewell(l, m);
        return;
    }
    if (m->result_case != KEYD__V1__RESPONSE__RESULT_HELLO ||
        h->version < KD_RPC_VERSION_MIN || h->version > KD_RPC_VERSION_MAX) {
        link_end(l, KEYD_PROTOCOL, "bad-hello");
        return;
    }
    l->server = (struct keyd_server){
        .version = h->version,
        .max_frame = h->max_frame,
        .max_in_flight = h->max_in_flight,
        .max_object = h->max_object,
        .idle_timeout_ms = h->idle_timeout_ms,
    };
    memcpy(l->server.class_name, h->class_name.data, h->class_name.len);
    if (h->server_name.len != 0)
        memcpy(l->server.name, h->server_name.data, h->server_name.len);
    l->phase = LINK_READY;
    l->up_ms = kd_clock_ms();
}

static void
note_refusal(struct box *box, const Keyd__V1__Response *m)
{
    box->answer.retry_after_ms = m->retry_after_ms;
    box->answer.approvals_missing = m->approvals_missing;
    if (m->approval_id.len != 0) /* exactly so many, or it had been refused */
        memcpy(box->answer.approval_id, m->approval_id.data,
               sizeof box->answer.approval_id);
    set_text(box->detail, "");
    if (m->detail.len != 0)
        memcpy(box->detail, m->detail.data, m->detail.len);
    box->detail[m->detail.len] = '\0'; /* 48 at most */
}

static void
take_refusal(struct link *l, struct call *call, const Keyd__V1__Response *m)
{
    enum keyd_status status = (enum keyd_status)m->status;
    bool fetching = call->stage == CALL_FETCHING;

    note_refusal(call->box, m);
    /* It was done, and its object can be had by asking once more. */
    if (fetching)
        status = call->changing ? KEYD_UNKNOWN_OUTCOME : KEYD_BUSY;
    link_forget(l, call);
    if (l->endpoint != NULL)
        pool_refused(l->endpoint, call, status, m->retry_after_ms);
    else
        call_end(l->client, call, status, NULL);
}

static void
finish(struct link *l, struct call *call, enum keyd_status status)
{
    link_forget(l, call);
    if (l->endpoint != NULL)
        pool_answered(l->endpoint, call);
    /* It was done; only the answer could not be kept. */
    if (status == KEYD_NOMEM && call->changing)
        status = KEYD_UNKNOWN_OUTCOME;
    call_end(l->client, call, status, status == KEYD_OK ? "" : NULL);
}

/* The response lives in the client's arena, which becomes the box's. */
static void
take_result(struct link *l, struct call *call, const Keyd__V1__Response *m, int fd)
{
    struct box *box = call->box;
    enum keyd_status status;

    box_reset(box);
    box->arena = l->client->arena;
    kd_arena_init(&l->client->arena);
    if (m->object_id.len != 0) {
        parts_fetch(call, m);
        call->stage = CALL_FETCHING;
        l->n_moves++;
        return;
    }
    status = answer_fill(box, m, fd, 0);
    if (status == KEYD_PROTOCOL)
        link_end(l, KEYD_PROTOCOL, "bad-object");
    else
        finish(l, call, status);
}

/* A part was taken or given; when it was the last, the call goes on. */
static void
take_part(struct link *l, const struct flight *f, struct call *call,
          const Keyd__V1__Response *m)
{
    if (!parts_answered(l, f, call, m) || call->moved < call->size)
        return;
    if (f->kind == FLIGHT_UPLOAD)
        ask_uploaded(l, call);
    else
        finish(l, call, answer_fill(call->box, call->response, -1, call->size));
}

static void
take_answer(struct link *l, const Keyd__V1__Response *m, int fd)
{
    struct flight *f = find_flight(l, m->id);
    bool ok = m->status == KEYD__V1__STATUS__STATUS_OK;

    if (f == NULL) {
        link_end(l, KEYD_PROTOCOL, "unknown-id");
        return;
    }
    if (ok && (unsigned)m->result_case != f->oneof_case) {
        link_end(l, KEYD_PROTOCOL, "wrong-result");
        return;
    }
    if ((m->object_id.len != 0) != (ok && l->is_parted && answer_object_size(m) != 0)) {
        link_end(l, KEYD_PROTOCOL, "bad-object");
        return;
    }
    struct flight was = *f;
    remove_flight(l, f);
    struct call *call = was.call;
    if (call == NULL)
        return;
    if (!ok)
        take_refusal(l, call, m);
    else if (was.kind == FLIGHT_CALL)
        take_result(l, call, m, fd);
    else
        take_part(l, &was, call, m);
}

static void
take_frame(struct link *l, const struct kd_frame *f)
{
    const Keyd__V1__Response *m = NULL;
    struct kd_rpc_fault fault;
    kd_err err =
        kd_rpc_decode_response(&l->client->arena, f->body, f->fd >= 0, &m, &fault);

    if (err == KD_NOMEM)
        link_end(l, KEYD_NOMEM, "out-of-memory");
    else if (err != KD_OK)
        link_end(l, KEYD_PROTOCOL, kd_rpc_reason_text(fault.reason));
    else if (m->id == 0)
        take_farewell(l, m);
    else if (l->phase == LINK_GREETING && m->id == l->hello_id)
        take_hello(l, m);
    else
        take_answer(l, m, f->fd);
}

/* One read, fed to the reader of frames. */
static kd_err
read_some(struct link *l)
{
    struct kd_frame_scratch *scratch = &l->client->scratch;
    size_t n;
    kd_err err;

    if (l->tls == NULL)
        return kd_frame_recv(&l->in, l->sock, scratch);
    if ((err = tls_recv(l->tls, scratch->octets, sizeof scratch->octets, &n)) != KD_OK)
        return err;
    return kd_frame_feed(&l->in, kd_slice(scratch->octets, n), -1);
}

static void
end_reading(struct link *l, kd_err err)
{
    if (kd_frame_why(&l->in) != KD_RPC_NO_REASON)
        link_end(l, KEYD_PROTOCOL, kd_rpc_reason_text(kd_frame_why(&l->in)));
    else if (err == KD_NOMEM)
        link_end(l, KEYD_NOMEM, "out-of-memory");
    else if (l->tls != NULL)
        end_tls(l, err);
    else
        link_end(l, KEYD_UNAVAILABLE, "server-closed");
}

static void
take_frames(struct link *l)
{
    struct kd_frame f;

    for (int round = 0; round < RECV_ROUNDS && l->phase >= LINK_GREETING; round++) {
        kd_err err = read_some(l);
        if (err == KD_OK)
            l->heard_ms = kd_clock_ms();
        while (l->phase >= LINK_GREETING && err == KD_OK &&
               (err = kd_frame_next(&l->in, &f)) == KD_OK) {
            take_frame(l, &f);
            if (f.fd >= 0)
                close(f.fd);
        }
        if (l->phase < LINK_GREETING || err == KD_UNAVAILABLE)
            return;
        if (err != KD_NOT_FOUND)
            end_reading(l, err);
        else if (l->tls != NULL && !l->write_failed && !tls_has_more(l->tls))
            return; /* of what else comes a poll tells */
    }
    l->has_more = l->tls != NULL && l->phase >= LINK_GREETING;
}

void
link_receive(struct link *l)
{
    l->has_more = false;
    if (l->phase == LINK_NAMING)
        named(l);
    else if (l->phase == LINK_CONNECTING)
        connected(l);
    else if (l->phase == LINK_SHAKING)
        shake(l);
    else if (l->phase != LINK_CLOSED)
        take_frames(l);
    if (l->write_failed && l->phase != LINK_CLOSED && !l->has_more)
        link_end(l, KEYD_UNAVAILABLE, "server-closed");
}

uint32_t
link_wants(const struct link *l)
{
    switch (l->phase) {
    case LINK_NAMING:
        return EPOLLIN;
    case LINK_CONNECTING:
        return EPOLLOUT;
    case LINK_SHAKING:
        return tls_wants_write(l->tls) ? EPOLLOUT : EPOLLIN;
    case LINK_GREETING:
    case LINK_READY:
        return kd_frame_out_queued(&l->out) > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN;
    case LINK_CLOSED:
    default:
        return 0;
    }
}
