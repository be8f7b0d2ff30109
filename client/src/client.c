/* The client: requests are submitted, wait, fly on a link, and end. */
#include "client.h"

#include "address.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- making and ending */

keyd_client *
keyd_client_new(void)
{
    keyd_client *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    link_init(&c->solo, c, NULL);
    c->epoll = -1;
    c->deadline_ms = DEADLINE_START;
    c->next_deadline = INT64_MAX;
    memcpy(c->name, "libkeyd", sizeof "libkeyd");
    kd_arena_init(&c->arena);
    TAILQ_INIT(&c->waiting);
    TAILQ_INIT(&c->later);
    TAILQ_INIT(&c->ended);
    kd_ignore(keyd_client_set_options(c, &(struct keyd_options){0})); /* are sound */
    return c;
}

void
set_text(char to[49], const char *from)
{
    kd_ignore(snprintf(to, 49, "%s", from)); /* cut is fine */
}

/* For spreading in time and among endpoints; nothing secret hangs on it. */
uint32_t
random_number(void)
{
    uint32_t v = 0;

    if (getrandom(&v, sizeof v, GRND_NONBLOCK) != (ssize_t)sizeof v)
        v = (uint32_t)kd_clock_ns();
    return v;
}

void
client_due(struct keyd_client *c, int64_t ms)
{
    if (ms < c->next_deadline)
        c->next_deadline = ms;
}

static void
call_free(struct call *call)
{
    kd_buf_free(&call->body);
    if (call->fd >= 0)
        close(call->fd);
    box_free(call->box);
    free(call);
}

/* Out of the list of the client it is in, if any. */
static void
unqueue(struct keyd_client *c, struct call *call)
{
    if (call->again_ms < 0)
        return;
    TAILQ_REMOVE(call->again_ms > 0 ? &c->later : &c->waiting, call, entry);
    c->n_queued--;
    call->again_ms = -1;
}

void
call_queue(struct keyd_client *c, struct call *call, int64_t again_ms)
{
    struct call *at;

    unqueue(c, call);
    call->again_ms = again_ms;
    c->n_queued++;
    if (again_ms == 0) {
        TAILQ_INSERT_TAIL(&c->waiting, call, entry);
        c->is_dirty = true;
        return;
    }
    TAILQ_FOREACH_REVERSE(at, &c->later, calls, entry)
    if (at->again_ms <= again_ms)
        break;
    if (at == NULL)
        TAILQ_INSERT_HEAD(&c->later, call, entry);
    else
        TAILQ_INSERT_AFTER(&c->later, at, call, entry);
}

void
call_end(struct keyd_client *c, struct call *call, enum keyd_status status,
         const char *detail)
{
    struct box *box = call->box;

    if (call->link != NULL)
        link_forget(call->link, call);
    unqueue(c, call);
    call->box = NULL;
    box->answer.status = status;
    if (detail != NULL)
        set_text(box->detail, detail);
    TAILQ_INSERT_TAIL(&c->ended, box, entry);
    call_free(call);
}

static void
client_free(struct keyd_client *c)
{
    pool_free(c);
    kd_arena_free(&c->arena);
    free(c);
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
        TAILQ_REMOVE(&c->ended, box, entry);
        c->n_pending--;
        box->done(box->cookie, &box->answer);
    }
    c->in_callback = false;
    if (!c->is_dying)
        return true;
    client_free(c);
    return false;
}

static void
end_all(keyd_client *c)
{
    if (c->n_endpoints != 0)
        pool_close(c);
    link_end(&c->solo, KEYD_UNAVAILABLE, "closed-here");
}

/* True if the client is still there. */
static bool
close_and_call_back(keyd_client *c)
{
    end_all(c);
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
    end_all(c);
    c->is_dying = true;
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
    for (unsigned i = 0; i < c->n_endpoints; i++)
        if (c->endpoints[i]->link.phase == LINK_READY)
            return &c->endpoints[i]->link.server;
    return &c->solo.server;
}

size_t
keyd_client_pending(const keyd_client *c)
{
    return c->n_pending;
}

int
keyd_client_fd(const keyd_client *c)
{
    return c->n_endpoints != 0 ? c->epoll : c->solo.sock;
}

const char *
keyd_client_detail(const keyd_client *c)
{
    return c->n_endpoints != 0 || c->detail[0] != '\0' ? c->detail : c->solo.detail;
}

short
keyd_client_events(const keyd_client *c)
{
    const struct link *l = &c->solo;

    if (c->n_endpoints != 0)
        return POLLIN;
    if (l->phase == LINK_CLOSED)
        return 0;
    bool may_launch = link_has_room(l) && !TAILQ_EMPTY(&c->waiting);
    return may_launch || (link_wants(l) & EPOLLOUT) != 0 ? POLLIN | POLLOUT : POLLIN;
}

int
keyd_client_timeout_ms(const keyd_client *c)
{
    int64_t due = c->next_deadline;

    if (!TAILQ_EMPTY(&c->ended))
        return 0;
    if (c->n_endpoints != 0) {
        int64_t pool = pool_due(c);
        due = pool < due ? pool : due;
    }
    if (due == INT64_MAX)
        return -1;
    int64_t left = due - kd_clock_ms();
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
        return "unsupported";
    case KEYD_DEADLINE:
        return "deadline passed";
    case KEYD_APPROVAL_NEEDED:
        return "approval needed";
    case KEYD_NOMEM:
        return "out of memory";
    case KEYD_PROTOCOL:
        return "protocol broken";
    case KEYD_USAGE:
        return "wrong use";
    }
    return "unknown status";
}

/* ---- one connection */

/* Takes a connected socket. */
static enum keyd_status
begin(keyd_client *c, int fd, int64_t deadline)
{
    if (c->is_dying) {
        close(fd);
        return KEYD_USAGE;
    }
    link_end(&c->solo, KEYD_UNAVAILABLE, "closed-here"); /* a callback's, if any */
    return link_adopt(&c->solo, fd, deadline);
}

enum keyd_status
keyd_client_adopt(keyd_client *c, int fd)
{
    if (c->n_endpoints != 0) {
        close(fd);
        return KEYD_USAGE;
    }
    if (!close_and_call_back(c)) {
        close(fd);
        return KEYD_UNAVAILABLE;
    }
    return begin(c, fd, kd_clock_ms() + c->deadline_ms);
}

enum keyd_status
keyd_client_start(keyd_client *c, const char *path)
{
    int fd;
    enum keyd_status status;

    if (c->n_endpoints != 0)
        return KEYD_USAGE;
    if (!close_and_call_back(c))
        return KEYD_UNAVAILABLE;
    if ((status = address_open_unix(path, 0, &fd)) != KEYD_OK)
        return status;
    return begin(c, fd, kd_clock_ms() + c->deadline_ms);
}

enum keyd_status
keyd_client_connect(keyd_client *c, const char *path, int timeout_ms)
{
    int fd;
    enum keyd_status status;

    if (c->n_endpoints != 0 || c->in_callback || timeout_ms <= 0 ||
        timeout_ms > DEADLINE_MAX)
        return KEYD_USAGE;
    int64_t deadline = kd_clock_ms() + timeout_ms;
    if (!close_and_call_back(c))
        return KEYD_UNAVAILABLE;
    status = address_open_unix(path, timeout_ms, &fd);
    if (status != KEYD_OK)
        return status == KEYD_BUSY ? KEYD_DEADLINE : status;
    status = begin(c, fd, deadline);
    while (status == KEYD_OK && c->solo.phase == LINK_GREETING)
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
    kd_buf_init(&call->body, KD_FRAME_MAX);
    call->fd = -1;
    call->again_ms = -1;
    call->endpoint = in->endpoint;
    call->reads = request_reads(in->op);
    call->secret = request_is_secret(in->op);
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
fill_call(struct call *call, const struct keyd_request *in, const struct kd_rpc_op *op)
{
    uint8_t *key = call->box->answer.idempotency_key;
    struct kd_arena arena;
    enum keyd_status status = choose_key(in, op->changing, key);

    kd_arena_init(&arena);
    if (status == KEYD_OK)
        status = request_encode(in, op->changing ? key : NULL, &arena, &call->body,
                                &call->fd);
    kd_arena_free(&arena);
    call->oneof_case = kd_rpc_case(op->number);
    call->changing = op->changing;
    return status;
}

/* Whether there is anything that a request could be sent on, now or later. */
static enum keyd_status
can_ask(const keyd_client *c, const struct keyd_request *in)
{
    if (in->endpoint > c->n_endpoints)
        return KEYD_USAGE;
    if (c->is_dying)
        return KEYD_UNAVAILABLE;
    if (c->n_endpoints == 0)
        return c->solo.phase == LINK_CLOSED ? KEYD_UNAVAILABLE : KEYD_OK;
    if (!request_is_secret(in->op))
        return KEYD_OK;
    for (unsigned i = 0; i < c->n_endpoints; i++)
        if (c->endpoints[i]->path != NULL &&
            (in->endpoint == 0 || in->endpoint == i + 1))
            return KEYD_OK;
    return KEYD_UNSUPPORTED;
}

static enum keyd_status
enqueue(keyd_client *c, const struct keyd_request *in, keyd_client_done done,
        void *cookie, struct call **out)
{
    const struct kd_rpc_op *op = kd_rpc_op(kd_rpc_case(in->op));
    uint32_t deadline_ms = in->deadline_ms == 0 ? c->deadline_ms : in->deadline_ms;
    int64_t now = kd_clock_ms();
    enum keyd_status status;

    if (op == NULL || op->number == 1 || deadline_ms > DEADLINE_MAX)
        return KEYD_USAGE;
    if ((status = can_ask(c, in)) != KEYD_OK)
        return status;
    if (c->n_queued >= WAITING_MAX)
        return KEYD_BUSY;
    struct call *call = call_new(in, done, cookie);
    if (call == NULL)
        return KEYD_NOMEM;
    if ((status = fill_call(call, in, op)) == KEYD_OK && c->options.fail_at_once &&
        c->n_endpoints != 0 && pool_is_hopeless(c, call, now))
        status = KEYD_UNAVAILABLE;
    if (status != KEYD_OK) {
        call_free(call);
        return status;
    }
    call->id = call->box->answer.id = ++c->last_id;
    call->deadline_ms = now + deadline_ms;
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
    call_queue(c, call, 0);
    c->n_pending++;
    c->is_paused = false;
    c->budget += 200; /* a fifth of a retry */
    client_due(c, call->deadline_ms);
    if (id != NULL)
        *id = call->id;
    return KEYD_OK;
}

/* ---- turning */

/* Requests from waiting to flying, as far as there is room. */
static void
launch(keyd_client *c)
{
    int64_t now = kd_clock_ms();
    struct call *call, *after;

    c->launch_ms = now;
    for (call = TAILQ_FIRST(&c->waiting); call != NULL; call = after) {
        struct link *l = c->n_endpoints == 0 ? &c->solo : pool_pick(c, call, now);
        after = TAILQ_NEXT(call, entry);
        if (l == NULL) {
            pool_passed_over(c, call, now);
            continue;
        }
        if (!link_takes(l, call)) /* the only one */
            return;
        unqueue(c, call);
        link_ask(l, call);
    }
}

static void
end_late(keyd_client *c, struct call *call)
{
    char detail[49] = "not-sent";
    enum keyd_status status = KEYD_DEADLINE;

    if (call->maybe_done && call->changing) {
        call_end(c, call, KEYD_UNKNOWN_OUTCOME, "no-answer");
        return;
    }
    if (call->refusal != KEYD_OK) {
        call_end(c, call, call->refusal, NULL);
        return;
    }
    if (c->n_endpoints != 0)
        status = pool_excuse(c, call, detail);
    call_end(c, call, status, detail);
}

static void
expire_list(keyd_client *c, struct calls *list, int64_t now)
{
    struct call *call, *after;

    for (call = TAILQ_FIRST(list); call != NULL; call = after) {
        after = TAILQ_NEXT(call, entry);
        if (call->deadline_ms > now)
            client_due(c, call->deadline_ms);
        else if (call->link == NULL || call->stage == CALL_UPLOADING)
            end_late(c, call);
        else
            call_end(c, call, call->changing ? KEYD_UNKNOWN_OUTCOME : KEYD_DEADLINE,
                     "no-answer");
    }
}

static void
expire_link(struct link *l, int64_t now)
{
    expire_list(l->client, &l->calls, now);
    if (l->phase == LINK_CLOSED || l->phase == LINK_READY)
        return;
    if (now >= l->open_by)
        link_end(l, KEYD_DEADLINE, l->phase == LINK_GREETING ? "no-hello" : "too-slow");
    else
        client_due(l->client, l->open_by);
}

static void
expire(keyd_client *c)
{
    int64_t now = kd_clock_ms();

    if (now < c->next_deadline)
        return;
    c->next_deadline = INT64_MAX;
    expire_list(c, &c->waiting, now);
    expire_list(c, &c->later, now);
    expire_link(&c->solo, now);
    for (unsigned i = 0; i < c->n_endpoints; i++)
        expire_link(&c->endpoints[i]->link, now);
}

static void
wait_for_io(const keyd_client *c, int timeout_ms)
{
    int limit = keyd_client_timeout_ms(c);
    struct pollfd p = {.fd = c->solo.sock, .events = keyd_client_events(c)};

    if (timeout_ms < 0 || (limit >= 0 && limit < timeout_ms))
        timeout_ms = limit;
    kd_ignore(poll(&p, 1, timeout_ms)); /* whatever it says, recv and flush find out */
}

static void
turn_solo(keyd_client *c, int timeout_ms)
{
    struct link *l = &c->solo;

    launch(c);
    link_send(l);
    if (l->phase != LINK_CLOSED && timeout_ms != 0 && TAILQ_EMPTY(&c->ended))
        wait_for_io(c, timeout_ms);
    link_receive(l);
    launch(c);
    link_send(l);
}

static void
turn_pool(keyd_client *c, int timeout_ms)
{
    c->is_dirty = false;
    pool_turn(c, kd_clock_ms());
    launch(c);
    pool_send(c);
    pool_receive(c, timeout_ms);
    c->is_dirty = false;
    pool_turn(c, kd_clock_ms());
    launch(c);
    pool_send(c);
}

enum keyd_status
keyd_client_process(keyd_client *c, int timeout_ms)
{
    if (c->in_callback)
        return KEYD_USAGE;
    if (c->n_endpoints == 0)
        turn_solo(c, timeout_ms);
    else
        turn_pool(c, timeout_ms);
    expire(c);
    if (!run_callbacks(c))
        return KEYD_UNAVAILABLE;
    if (c->n_endpoints != 0)
        return KEYD_OK;
    return c->solo.phase == LINK_CLOSED ? c->solo.why : KEYD_OK;
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
