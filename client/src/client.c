/* The connection: requests wait, fly, and end. */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <keyd/base/clock.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    WAITING_MAX = 4096,
    DEADLINE_MAX = 600000,
    DEADLINE_START = 30000,
    QUEUE_MAX = 256 * 1024,
    RECV_ROUNDS = 16, /* of one process: an answer flood does not hold the caller up */
};

enum phase { CLOSED, GREETING, READY };

struct keyd_client {
    enum phase phase;
    int sock;
    struct kd_frame_in in;
    struct kd_frame_out out;
    struct kd_arena arena;

    struct calls waiting, flying;
    struct boxes ended;
    size_t n_waiting, n_flying, n_pending;
    uint64_t last_id;
    uint64_t hello_id;
    int64_t hello_deadline;
    int64_t next_deadline; /* none is earlier; INT64_MAX: none at all */

    struct keyd_server server;
    uint32_t deadline_ms;
    enum keyd_status why; /* the connection ended */
    char detail[49];
    char name[65];
    bool write_failed; /* only what the server said before is still of interest */
    bool in_callback;
    bool dying; /* free was called within a callback */
    struct kd_frame_scratch scratch;
};

/* ---- making and ending */

keyd_client *
keyd_client_new(void)
{
    keyd_client *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->sock = -1;
    c->why = KEYD_UNAVAILABLE;
    c->deadline_ms = DEADLINE_START;
    c->next_deadline = INT64_MAX;
    memcpy(c->name, "libkeyd", sizeof "libkeyd");
    kd_frame_in_init(&c->in, KD_FRAME_MAX);
    kd_frame_out_init(&c->out, QUEUE_MAX);
    kd_arena_init(&c->arena);
    TAILQ_INIT(&c->waiting);
    TAILQ_INIT(&c->flying);
    TAILQ_INIT(&c->ended);
    return c;
}

static void
call_free(struct call *call)
{
    kd_buf_free(&call->message);
    if (call->fd >= 0)
        close(call->fd);
    box_free(call->box);
    free(call);
}

static void
set_text(char *to, size_t size, const char *from)
{
    kd_ignore(snprintf(to, size, "%s", from)); /* cut is fine */
}

/* The call's box goes to the list of those to be called back; the call stays. */
static void
end_box(keyd_client *c, struct call *call, enum keyd_status status, const char *detail)
{
    struct box *box = call->box;

    if (box == NULL)
        return;
    call->box = NULL;
    box->answer.status = status;
    if (detail != NULL)
        set_text(box->detail, sizeof box->detail, detail);
    TAILQ_INSERT_TAIL(&c->ended, box, link);
}

static void
remove_waiting(keyd_client *c, struct call *call)
{
    TAILQ_REMOVE(&c->waiting, call, link);
    c->n_waiting--;
    call_free(call);
}

static void
remove_flying(keyd_client *c, struct call *call)
{
    TAILQ_REMOVE(&c->flying, call, link);
    c->n_flying--;
    call_free(call);
}

/* Ends the connection and every call on it. What was never sent was not done; what was
 * sent and changes something may have been. */
static void
end_connection(keyd_client *c, enum keyd_status why, const char *detail)
{
    struct call *call;

    if (c->phase == CLOSED)
        return;
    c->phase = CLOSED;
    c->why = why;
    set_text(c->detail, sizeof c->detail, detail);
    close(c->sock);
    c->sock = -1;
    kd_frame_in_clear(&c->in);
    kd_frame_out_clear(&c->out);
    /* The analyzer does not follow the links of a queue: to it the one that was removed
     * is still the first. */
    /* NOLINTBEGIN(clang-analyzer-unix.Malloc) */
    while ((call = TAILQ_FIRST(&c->flying)) != NULL) {
        end_box(c, call, call->changing ? KEYD_UNKNOWN_OUTCOME : KEYD_UNAVAILABLE,
                c->detail);
        remove_flying(c, call);
    }
    while ((call = TAILQ_FIRST(&c->waiting)) != NULL) {
        end_box(c, call, KEYD_UNAVAILABLE, c->detail);
        remove_waiting(c, call);
    }
    /* NOLINTEND(clang-analyzer-unix.Malloc) */
    c->next_deadline = INT64_MAX;
}

/* Calls back; callbacks may submit, close, start and free. True if the client is still
 * there afterwards. */
static bool
run_callbacks(keyd_client *c)
{
    struct box *box;

    if (c->in_callback)
        return true;
    c->in_callback = true;
    while ((box = TAILQ_FIRST(&c->ended)) != NULL) {
        TAILQ_REMOVE(&c->ended, box, link);
        c->n_pending--;
        box->done(box->cookie, &box->answer);
    }
    c->in_callback = false;
    if (!c->dying)
        return true;
    kd_arena_free(&c->arena);
    free(c);
    return false;
}

/* True if the client is still there. */
static bool
close_and_call_back(keyd_client *c)
{
    end_connection(c, KEYD_UNAVAILABLE, "closed-here");
    return run_callbacks(c);
}

void
keyd_client_close(keyd_client *c)
{
    kd_ignore(close_and_call_back(c)); /* who freed it in a callback knows */
}

void
keyd_client_free(keyd_client *c)
{
    if (c == NULL)
        return;
    end_connection(c, KEYD_UNAVAILABLE, "closed-here");
    c->dying = true;
    kd_ignore(run_callbacks(c)); /* within a callback: freed when that returns */
}

/* ---- settings and state */

enum keyd_status
keyd_client_set_name(keyd_client *c, const char *name)
{
    size_t n = strlen(name);

    if (n >= sizeof c->name)
        return KEYD_USAGE;
    for (size_t i = 0; i < n; i++)
        if (name[i] < 0x20 || name[i] > 0x7e)
            return KEYD_USAGE;
    memcpy(c->name, name, n + 1);
    return KEYD_OK;
}

enum keyd_status
keyd_client_set_deadline(keyd_client *c, uint32_t ms)
{
    if (ms == 0 || ms > DEADLINE_MAX)
        return KEYD_USAGE;
    c->deadline_ms = ms;
    return KEYD_OK;
}

const struct keyd_server *
keyd_client_server(const keyd_client *c)
{
    return &c->server;
}

size_t
keyd_client_pending(const keyd_client *c)
{
    return c->n_pending;
}

int
keyd_client_fd(const keyd_client *c)
{
    return c->sock;
}

const char *
keyd_client_detail(const keyd_client *c)
{
    return c->detail;
}

static bool
may_launch(const keyd_client *c)
{
    return c->phase == READY && c->n_waiting > 0 &&
           c->n_flying < c->server.max_in_flight;
}

short
keyd_client_events(const keyd_client *c)
{
    if (c->phase == CLOSED)
        return 0;
    return kd_frame_out_queued(&c->out) > 0 || may_launch(c) ? POLLIN | POLLOUT
                                                             : POLLIN;
}

int
keyd_client_timeout_ms(const keyd_client *c)
{
    if (!TAILQ_EMPTY(&c->ended))
        return 0;
    if (c->next_deadline == INT64_MAX)
        return -1;
    int64_t left = c->next_deadline - kd_clock_ms();
    return left <= 0 ? 0 : left > DEADLINE_MAX ? DEADLINE_MAX : (int)left;
}

const char *
keyd_client_status_text(enum keyd_status status)
{
    switch (status) {
    case KEYD_OK:
        return "ok";
    case KEYD_INVALID:
        return "invalid";
    case KEYD_DENIED:
        return "denied";
    case KEYD_NOT_FOUND:
        return "not found";
    case KEYD_CONFLICT:
        return "conflict";
    case KEYD_UNAVAILABLE:
        return "unavailable";
    case KEYD_SEALED:
        return "sealed";
    case KEYD_BUSY:
        return "busy";
    case KEYD_UNKNOWN_OUTCOME:
        return "outcome unknown";
    case KEYD_FAILED:
        return "failed";
    case KEYD_UNSUPPORTED:
        return "not supported";
    case KEYD_DEADLINE:
        return "deadline passed";
    case KEYD_APPROVAL_NEEDED:
        return "approval needed";
    case KEYD_NOMEM:
        return "out of memory";
    case KEYD_PROTOCOL:
        return "protocol broken";
    case KEYD_USAGE:
        return "wrong usage";
    default:
        return "unknown status";
    }
}

/* ---- connecting */

static enum keyd_status
greet(keyd_client *c, int64_t deadline)
{
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;
    struct kd_rpc_fault fault;

    hello.min_version = KD_RPC_VERSION_MIN;
    hello.max_version = KD_RPC_VERSION_MAX;
    hello.client_name = kd_rpc_data(kd_slice_str(c->name));
    m.id = c->hello_id = ++c->last_id;
    m.op_case = KEYD__V1__REQUEST__OP_HELLO;
    m.hello = &hello;
    c->hello_deadline = deadline;
    if (deadline < c->next_deadline)
        c->next_deadline = deadline;
    return kd_rpc_put_request(&c->out, &m, -1, &fault) == KD_OK ? KEYD_OK : KEYD_NOMEM;
}

/* Takes a connected socket. */
static enum keyd_status
begin(keyd_client *c, int fd, int64_t deadline)
{
    int flags = fcntl(fd, F_GETFL);

    if (c->dying || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        close(fd);
        return KEYD_USAGE;
    }
    end_connection(c, KEYD_UNAVAILABLE, "closed-here"); /* a callback's, if any */
    c->sock = fd;
    c->phase = GREETING;
    c->write_failed = false;
    c->why = KEYD_OK;
    c->detail[0] = '\0';
    c->server = (struct keyd_server){0};
    enum keyd_status status = greet(c, deadline);
    if (status != KEYD_OK)
        end_connection(c, status, "out-of-memory");
    return status;
}

enum keyd_status
keyd_client_adopt(keyd_client *c, int fd)
{
    if (!close_and_call_back(c)) {
        close(fd);
        return KEYD_UNAVAILABLE;
    }
    return begin(c, fd, kd_clock_ms() + c->deadline_ms);
}

static enum keyd_status
connect_error(void)
{
    switch (errno) {
    case EAGAIN:
        return KEYD_BUSY;
    case EACCES:
    case EPERM:
        return KEYD_DENIED;
    case ENOMEM:
    case ENOBUFS:
    case EMFILE:
    case ENFILE:
        return KEYD_NOMEM;
    default:
        return KEYD_UNAVAILABLE;
    }
}

/* A unix socket connects at once or waits for a place in the server's backlog, which
 * poll does not report; so who may wait does it under SO_SNDTIMEO (0: not at all). */
static enum keyd_status
open_socket(const char *path, int timeout_ms, int *out)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval wait = {timeout_ms / 1000, timeout_ms % 1000 * 1000L};
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof to.sun_path)
        return KEYD_USAGE;
    memcpy(to.sun_path, path, n + 1);
    int type = SOCK_STREAM | SOCK_CLOEXEC | (timeout_ms == 0 ? SOCK_NONBLOCK : 0);
    int fd = socket(AF_UNIX, type, 0);
    if (fd < 0)
        return connect_error();
    int64_t deadline = kd_clock_ms() + timeout_ms;
    int err = timeout_ms == 0
                  ? 0
                  : setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (err == 0)
        do {
            err = connect(fd, (const struct sockaddr *)&to, sizeof to);
        } while (err != 0 && errno == EINTR && kd_clock_ms() < deadline);
    if (err != 0) {
        enum keyd_status status = connect_error();
        close(fd);
        return status;
    }
    *out = fd;
    return KEYD_OK;
}

enum keyd_status
keyd_client_start(keyd_client *c, const char *path)
{
    int fd;
    enum keyd_status status;

    if (!close_and_call_back(c))
        return KEYD_UNAVAILABLE;
    if ((status = open_socket(path, 0, &fd)) != KEYD_OK)
        return status;
    return begin(c, fd, kd_clock_ms() + c->deadline_ms);
}

enum keyd_status
keyd_client_connect(keyd_client *c, const char *path, int timeout_ms)
{
    int fd;
    enum keyd_status status;

    if (c->in_callback || timeout_ms <= 0 || timeout_ms > DEADLINE_MAX)
        return KEYD_USAGE;
    int64_t deadline = kd_clock_ms() + timeout_ms;
    if (!close_and_call_back(c))
        return KEYD_UNAVAILABLE;
    status = open_socket(path, timeout_ms, &fd);
    if (status != KEYD_OK)
        return status == KEYD_BUSY ? KEYD_DEADLINE : status;
    status = begin(c, fd, deadline);
    while (status == KEYD_OK && c->phase == GREETING)
        status = keyd_client_process(c, -1);
    return status;
}

/* ---- submitting */

static struct call *
call_new(const struct keyd_request *in, keyd_client_done done, void *cookie)
{
    struct call *call = calloc(1, sizeof *call);
    struct box *box = calloc(1, sizeof *box);

    if (call == NULL || box == NULL) {
        free(call);
        free(box);
        return NULL;
    }
    kd_arena_init(&box->arena);
    box->answer.op = in->op;
    box->answer.detail = box->detail;
    box->done = done;
    box->cookie = cookie;
    kd_buf_init(&call->message, KD_FRAME_MAX);
    call->fd = -1;
    call->box = box;
    return call;
}

/* The key that goes with a changing operation: the caller's or a random one. */
static enum keyd_status
choose_key(const struct keyd_request *in, bool changing, uint8_t key[KEYD_KEY_SIZE])
{
    if (!changing)
        return in->idempotency_key == NULL ? KEYD_OK : KEYD_USAGE;
    if (in->idempotency_key != NULL)
        memcpy(key, in->idempotency_key, KEYD_KEY_SIZE);
    else if (getrandom(key, KEYD_KEY_SIZE, 0) != KEYD_KEY_SIZE)
        return KEYD_NOMEM;
    return KEYD_OK;
}

static enum keyd_status
enqueue(keyd_client *c, const struct keyd_request *in, keyd_client_done done,
        void *cookie, struct call **out)
{
    const struct kd_rpc_op *op = kd_rpc_op(kd_rpc_case(in->op));
    uint32_t deadline_ms = in->deadline_ms == 0 ? c->deadline_ms : in->deadline_ms;
    enum keyd_status status;

    if (op == NULL || in->op == 1 || deadline_ms > DEADLINE_MAX)
        return KEYD_USAGE;
    if (c->phase == CLOSED)
        return KEYD_UNAVAILABLE;
    if (c->n_waiting >= WAITING_MAX)
        return KEYD_BUSY;
    struct call *call = call_new(in, done, cookie);
    if (call == NULL)
        return KEYD_NOMEM;
    struct keyd_answer *answer = &call->box->answer;
    struct request_head head = {.id = c->last_id + 1,
                                .deadline_ms = deadline_ms,
                                .key = op->changing ? answer->idempotency_key : NULL};
    struct kd_arena arena;
    kd_arena_init(&arena);
    status = choose_key(in, op->changing, answer->idempotency_key);
    if (status == KEYD_OK)
        status = request_encode(in, &head, &arena, &call->message, &call->fd);
    kd_arena_free(&arena);
    if (status != KEYD_OK) {
        call_free(call);
        return status;
    }
    call->id = answer->id = ++c->last_id;
    call->oneof_case = kd_rpc_case(op->number);
    call->changing = op->changing;
    call->deadline_ms = kd_clock_ms() + deadline_ms;
    *out = call;
    return KEYD_OK;
}

enum keyd_status
keyd_client_submit(keyd_client *c, const struct keyd_request *request,
                   keyd_client_done done, void *cookie, uint64_t *id)
{
    struct call *call = NULL;
    enum keyd_status status = enqueue(c, request, done, cookie, &call);

    request_wipe(request);
    if (status != KEYD_OK)
        return status;
    TAILQ_INSERT_TAIL(&c->waiting, call, link);
    c->n_waiting++;
    c->n_pending++;
    if (call->deadline_ms < c->next_deadline)
        c->next_deadline = call->deadline_ms;
    if (id != NULL)
        *id = call->id;
    return KEYD_OK;
}

/* ---- sending */

/* Moves requests from waiting to flying as far as server and queue allow. */
static void
launch(keyd_client *c)
{
    while (may_launch(c)) {
        struct call *call = TAILQ_FIRST(&c->waiting);
        struct kd_slice message = kd_buf_slice(&call->message);
        if (message.n > c->server.max_frame) {
            end_box(c, call, KEYD_INVALID, kd_rpc_reason_text(KD_RPC_FRAME_TOO_LONG));
            remove_waiting(c, call);
            continue;
        }
        if (kd_frame_put(&c->out, message, call->fd) != KD_OK)
            return; /* the queue is full: later */
        call->fd = -1;
        kd_buf_free(&call->message);
        TAILQ_REMOVE(&c->waiting, call, link);
        c->n_waiting--;
        TAILQ_INSERT_TAIL(&c->flying, call, link);
        c->n_flying++;
    }
}

static void
send_queue(keyd_client *c)
{
    while (c->phase != CLOSED && !c->write_failed) {
        launch(c);
        if (kd_frame_out_queued(&c->out) == 0)
            return;
        kd_err err = kd_frame_flush(&c->out, c->sock);
        if (err == KD_UNAVAILABLE)
            return;
        if (err != KD_OK) {
            c->write_failed = true;
            kd_frame_out_clear(&c->out);
            return;
        }
    }
}

/* ---- receiving */

/* The server speaks about the connection itself, which it closes. */
static void
take_farewell(keyd_client *c, const Keyd__V1__Response *m)
{
    char word[49] = "";

    if (m->detail.len != 0)
        memcpy(word, m->detail.data, m->detail.len); /* 48 at most; room for the NUL */
    end_connection(c, (enum keyd_status)m->status, word);
}

static void
take_hello(keyd_client *c, const Keyd__V1__Response *m)
{
    const Keyd__V1__HelloResult *h = m->hello;

    if (m->status != KEYD__V1__STATUS__STATUS_OK) {
        take_farewell(c, m);
        return;
    }
    if (m->result_case != KEYD__V1__RESPONSE__RESULT_HELLO ||
        h->version < KD_RPC_VERSION_MIN || h->version > KD_RPC_VERSION_MAX) {
        end_connection(c, KEYD_PROTOCOL, "bad-hello");
        return;
    }
    c->server = (struct keyd_server){
        .version = h->version,
        .max_frame = h->max_frame,
        .max_in_flight = h->max_in_flight,
        .max_object = h->max_object,
        .idle_timeout_ms = h->idle_timeout_ms,
    };
    memcpy(c->server.class_name, h->class_name.data, h->class_name.len);
    if (h->server_name.len != 0)
        memcpy(c->server.name, h->server_name.data, h->server_name.len);
    c->phase = READY;
}

static struct call *
find_flying(keyd_client *c, uint64_t id)
{
    struct call *call;

    TAILQ_FOREACH(call, &c->flying, link)
    if (call->id == id)
        return call;
    return NULL;
}

/* Fills the box of a call from its response, which lives in the client's arena. */
static enum keyd_status
fill_box(keyd_client *c, struct box *box, const Keyd__V1__Response *m, int fd)
{
    box->arena = c->arena;
    kd_arena_init(&c->arena);
    box->answer.retry_after_ms = m->retry_after_ms;
    box->answer.approvals_missing = m->approvals_missing;
    if (m->approval_id.len != 0) /* exactly so many, or it had been refused */
        memcpy(box->answer.approval_id, m->approval_id.data,
               sizeof box->answer.approval_id);
    if (m->detail.len != 0)
        memcpy(box->detail, m->detail.data, m->detail.len);
    if (m->status != KEYD__V1__STATUS__STATUS_OK)
        return (enum keyd_status)m->status;
    return answer_fill(box, m, fd);
}

static void
take_answer(keyd_client *c, const Keyd__V1__Response *m, int fd)
{
    struct call *call = find_flying(c, m->id);
    bool ok = m->status == KEYD__V1__STATUS__STATUS_OK;

    if (call == NULL) {
        end_connection(c, KEYD_PROTOCOL, "unknown-id");
        return;
    }
    if (ok && (unsigned)m->result_case != call->oneof_case) {
        end_connection(c, KEYD_PROTOCOL, "wrong-result");
        return;
    }
    if (call->box != NULL) {
        enum keyd_status status = fill_box(c, call->box, m, fd);
        if (status == KEYD_PROTOCOL) {
            end_connection(c, KEYD_PROTOCOL, "bad-object");
            return;
        }
        end_box(c, call, status, NULL);
    }
    remove_flying(c, call);
}

static void
take_frame(keyd_client *c, const struct kd_frame *f)
{
    const Keyd__V1__Response *m = NULL;
    struct kd_rpc_fault fault;
    kd_err err = kd_rpc_decode_response(&c->arena, f->body, f->fd >= 0, &m, &fault);

    if (err == KD_NOMEM)
        end_connection(c, KEYD_NOMEM, "out-of-memory");
    else if (err != KD_OK)
        end_connection(c, KEYD_PROTOCOL, kd_rpc_reason_text(fault.reason));
    else if (m->id == 0)
        take_farewell(c, m);
    else if (c->phase == GREETING && m->id == c->hello_id)
        take_hello(c, m);
    else
        take_answer(c, m, f->fd);
}

static void
receive(keyd_client *c)
{
    for (int round = 0; round < RECV_ROUNDS && c->phase != CLOSED; round++) {
        struct kd_frame f;
        kd_err err = kd_frame_recv(&c->in, c->sock, &c->scratch);
        while (c->phase != CLOSED && err == KD_OK &&
               (err = kd_frame_next(&c->in, &f)) == KD_OK) {
            take_frame(c, &f);
            if (f.fd >= 0)
                close(f.fd);
        }
        if (c->phase == CLOSED || err == KD_UNAVAILABLE)
            return;
        if (err == KD_MALFORMED)
            end_connection(c, KEYD_PROTOCOL, kd_rpc_reason_text(kd_frame_why(&c->in)));
        else if (err == KD_NOMEM)
            end_connection(c, KEYD_NOMEM, "out-of-memory");
        else if (err != KD_NOT_FOUND)
            end_connection(c, KEYD_UNAVAILABLE, "server-closed");
    }
}

/* ---- deadlines */

static void
expire_list(keyd_client *c, struct calls *list, int64_t now, int64_t *next)
{
    struct call *call, *after;

    for (call = TAILQ_FIRST(list); call != NULL; call = after) {
        after = TAILQ_NEXT(call, link);
        if (call->box == NULL)
            continue;
        if (call->deadline_ms > now) {
            if (call->deadline_ms < *next)
                *next = call->deadline_ms;
            continue;
        }
        if (list == &c->waiting) {
            end_box(c, call, KEYD_DEADLINE, "not-sent");
            remove_waiting(c, call);
        } else {
            end_box(c, call, call->changing ? KEYD_UNKNOWN_OUTCOME : KEYD_DEADLINE,
                    "no-answer");
        }
    }
}

static void
expire(keyd_client *c)
{
    int64_t now = kd_clock_ms();
    int64_t next = INT64_MAX;

    if (now < c->next_deadline)
        return;
    if (c->phase == GREETING) {
        if (now >= c->hello_deadline) {
            end_connection(c, KEYD_DEADLINE, "no-hello");
            return;
        }
        next = c->hello_deadline;
    }
    expire_list(c, &c->waiting, now, &next);
    expire_list(c, &c->flying, now, &next);
    c->next_deadline = next;
}

/* ---- turning */

static void
wait_for_io(const keyd_client *c, int timeout_ms)
{
    int limit = keyd_client_timeout_ms(c);
    struct pollfd p = {.fd = c->sock, .events = keyd_client_events(c)};

    if (timeout_ms < 0 || (limit >= 0 && limit < timeout_ms))
        timeout_ms = limit;
    kd_ignore(poll(&p, 1, timeout_ms)); /* whatever it says, recv and flush find out */
}

enum keyd_status
keyd_client_process(keyd_client *c, int timeout_ms)
{
    if (c->in_callback)
        return KEYD_USAGE;
    send_queue(c);
    if (c->phase != CLOSED && timeout_ms != 0 && TAILQ_EMPTY(&c->ended))
        wait_for_io(c, timeout_ms);
    receive(c);
    if (c->write_failed)
        end_connection(c, KEYD_UNAVAILABLE, "server-closed");
    send_queue(c);
    expire(c);
    if (!run_callbacks(c))
        return KEYD_UNAVAILABLE;
    return c->phase == CLOSED ? c->why : KEYD_OK;
}

static void
keep_answer(void *cookie, struct keyd_answer *answer)
{
    *(struct keyd_answer **)cookie = answer;
}

enum keyd_status
keyd_client_call(keyd_client *c, const struct keyd_request *request,
                 struct keyd_answer **answer)
{
    struct keyd_answer *got = NULL;

    *answer = NULL;
    if (c->in_callback) {
        request_wipe(request);
        return KEYD_USAGE;
    }
    enum keyd_status status = keyd_client_submit(c, request, keep_answer, &got, NULL);
    if (status != KEYD_OK)
        return status;
    /* Every call ends, if by its deadline; who frees the client in another's callback
     * ends this one first, and the loop with it. */
    while (got == NULL) /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        kd_ignore(keyd_client_process(c, -1)); /* what came of it is in got */
    *answer = got;
    return got->status;
}
