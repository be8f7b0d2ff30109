/* serve.h */
#include "serve.h"
#include "part.h"
#include "request.h"
#include "transport.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_A_TURN = 64,
    FRAMES_A_TURN = 64,    /* of one connection before others have their turn */
    FRAMES_BESIDE = 8,     /* the same where others of its principal wait for theirs */
    OUT_MAX = 512 * 1024,  /* octets of answers waiting for a client */
    OUT_HIGH = 128 * 1024, /* above it nothing more is read from the client */
};

void
serve_later(struct gate *g, struct conn *c)
{
    if (c->is_dirty)
        return;
    c->is_dirty = true;
    c->next_dirty = g->dirty;
    g->dirty = c;
}

/* --- turns of a principal's connections --- */

static struct conn_queue *
queue_of(struct conn *c)
{
    return c->is_kept_waiting ? &c->principal->kept_waiting
                              : &c->principal->fresh_waiting;
}

static void
wait_for_turn(struct conn *c)
{
    if (c->is_waiting)
        return;
    c->is_waiting = true;
    c->is_kept_waiting = c->in.kept_cap != 0;
    struct conn_queue *q = queue_of(c);
    c->next_waiting = NULL;
    c->prev_waiting = q->last;
    if (q->last == NULL)
        q->first = c;
    else
        q->last->next_waiting = c;
    q->last = c;
}

static void
wait_no_more(struct conn *c)
{
    if (!c->is_waiting)
        return;
    struct conn_queue *q = queue_of(c);
    c->is_waiting = false;
    if (c->prev_waiting == NULL)
        q->first = c->next_waiting;
    else
        c->prev_waiting->next_waiting = c->next_waiting;
    if (c->next_waiting == NULL)
        q->last = c->prev_waiting;
    else
        c->next_waiting->prev_waiting = c->prev_waiting;
}

/* What its principal is charged for it. */
static void
charge(struct conn *c, size_t queued, size_t kept)
{
    c->principal->queued += queued;
    c->principal->queued -= c->queued;
    c->queued = queued;
    c->principal->kept += kept;
    c->principal->kept -= c->kept;
    c->kept = kept;
}

void
serve_rejoin(struct gate *g, struct conn *c, bool is_known)
{
    size_t queued = c->queued, kept = c->kept;

    wait_no_more(c);
    charge(c, 0, 0);
    principal_leave(c->principal);
    c->principal = principal_join(&g->principals, &c->caller, is_known);
    charge(c, queued, kept);
}

/* --- connections --- */

/* Frames that were read; stops when the client should first take its answers, or others
 * have their turn. */
static kd_err
take_frames(struct gate *g, struct conn *c)
{
    const struct principal *p = c->principal;
    bool is_alone = p->kept_waiting.first == NULL && p->fresh_waiting.first == NULL;
    unsigned most = is_alone ? FRAMES_A_TURN : FRAMES_BESIDE;
    struct kd_frame frame;
    kd_err err;

    for (unsigned n = 0;; n++) {
        if (c->is_leaving || kd_frame_out_queued(&c->out) > OUT_HIGH || n == most ||
            principal_must_wait(&g->principals, c->principal)) {
            c->is_held = true;
            return kd_frame_hold(&c->in);
        }
        if ((err = kd_frame_next(&c->in, &frame)) != KD_OK)
            return err == KD_NOT_FOUND ? KD_OK : err;
        c->principal->n_taken++;
        request_frame(g, c, &frame);
    }
}

static kd_err
read_more(struct gate *g, struct conn *c)
{
    bool again = false;

    if (c->principal->kept > PRINCIPAL_KEPT_MAX && c->in.kept_cap == 0) {
        wait_for_turn(c);
        return KD_OK;
    }
    kd_err err = gate_transport.recv(g, c, &again);

    c->has_more = again;
    if (err != KD_OK)
        return err == KD_UNAVAILABLE ? KD_OK : err;
    c->has_spoken = true;
    c->active_at = kd_clock_ms();
    return take_frames(g, c);
}

static void
read_conn(struct gate *g, struct conn *c)
{
    kd_err err = KD_OK;

    if (principal_must_wait(&g->principals, c->principal)) {
        wait_for_turn(c);
        serve_later(g, c); /* which stops reading */
        return;
    }
    if (c->is_held) {
        c->is_held = false;
        err = take_frames(g, c);
    }
    if (err == KD_OK && !c->is_held && !c->is_leaving)
        err = read_more(g, c);
    if (err == KD_MALFORMED)
        request_bad_stream(g, c, kd_frame_why(&c->in));
    if (err == KD_CLOSED && c->n_pending > 0)
        c->is_half_closed = true; /* it may still read what it asked for */
    else if (err != KD_OK)
        c->is_leaving = true;
    if (!kd_frame_is_partial(&c->in))
        c->partial_since = 0;
    else if (c->partial_since == 0)
        c->partial_since = c->active_at;
    serve_later(g, c);
}

static void
on_conn_event(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    if ((what & EV_READ) != 0)
        read_conn(c->gate, c);
    else
        serve_later(c->gate, c);
}

/* What the loop should wait for next; false without memory for it. */
static bool
rearm(struct conn *c, bool wants_write)
{
    short want = 0;

    if (!c->is_leaving && !c->is_half_closed && !c->is_held && !c->is_waiting)
        want |= EV_READ;
    if (wants_write)
        want |= EV_WRITE;
    if (want == c->armed)
        return true;
    event_del(c->event);
    c->armed = want;
    return want == 0 ||
           (event_assign(c->event, c->gate->base, c->fd, (short)(want | EV_PERSIST),
                         on_conn_event, c) == 0 &&
            event_add(c->event, NULL) == 0);
}

/* Sends what waits and decides what becomes of the connection. */
static void
settle_conn(struct gate *g, struct conn *c)
{
    if (c->is_stopped && c->n_pending == 0 && !c->is_leaving && !c->is_broken)
        request_tell_stop(g, c);
    kd_err err = c->is_broken ? KD_IO : gate_transport.flush(c);
    bool drained = err == KD_OK;

    charge(c, kd_frame_out_queued(&c->out), c->in.kept_cap);
    if (err != KD_OK && err != KD_UNAVAILABLE) {
        serve_close(g, c);
        return;
    }
    if (drained)
        c->stalled_since = 0;
    else if (c->stalled_since == 0)
        c->stalled_since = kd_clock_ms();
    if (drained && (c->is_leaving || (c->is_half_closed && c->n_pending == 0))) {
        serve_close(g, c);
        return;
    }
    if (!rearm(c, !drained)) {
        serve_close(g, c); /* it would never be heard again */
        return;
    }
    if ((c->is_held || c->has_more) && !c->is_leaving && !c->is_half_closed &&
        !c->is_waiting && kd_frame_out_queued(&c->out) <= OUT_HIGH)
        event_active(c->event, EV_READ, 0); /* frames wait that need no reading */
}

/* May the first of the queue have its turn now? */
static bool
is_next(struct gate *g, struct principal *p, const struct conn_queue *q)
{
    return q->first != NULL && !principal_must_wait(&g->principals, p) &&
           (q == &p->kept_waiting || p->kept <= PRINCIPAL_KEPT_MAX);
}

/* Nobody is there any more who could read an answer: what it has asked is not worth the
 * others' time. One that only says no more is still there. */
static bool
is_gone(const struct conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = 0};

    return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void
give_turn(struct gate *g, struct conn *c)
{
    wait_no_more(c);
    if (is_gone(c)) {
        c->is_broken = true;
        serve_later(g, c);
        return;
    }
    c->active_at = kd_clock_ms(); /* the waiting was not its fault */
    if (c->partial_since != 0)
        c->partial_since = c->active_at;
    read_conn(g, c);
}

/* Those that have waited longest, of both kinds by turns; true if there are others that
 * wait for nothing but their turn. */
static bool
next_turn_of(struct gate *g, struct principal *p)
{
    unsigned most = PRINCIPAL_FRAMES_A_TURN;

    p->n_taken = 0;
    for (bool kept = is_next(g, p, &p->kept_waiting),
              fresh = is_next(g, p, &p->fresh_waiting);
         most > 0 && (kept || fresh); most--) {
        bool is_fresh = fresh && (!kept || p->is_fresh_next);
        p->is_fresh_next = !is_fresh;
        give_turn(g, is_fresh ? p->fresh_waiting.first : p->kept_waiting.first);
        kept = is_next(g, p, &p->kept_waiting);
        fresh = is_next(g, p, &p->fresh_waiting);
    }
    p->n_taken = 0; /* what they were given is of the turn that ends */
    return is_next(g, p, &p->kept_waiting) || is_next(g, p, &p->fresh_waiting);
}

bool
serve_settle(struct gate *g)
{
    bool more = false;

    for (unsigned i = 0; i <= KD_POLICY_ROWS_MAX; i++)
        more |= next_turn_of(g, &g->principals.list[i]);
    while (g->dirty != NULL) {
        struct conn *c = g->dirty;
        g->dirty = c->next_dirty;
        c->is_dirty = false;
        settle_conn(g, c);
    }
    return more;
}

static void
set_accepting(struct gate *g, bool on)
{
    on = on && !g->is_draining;
    if (g->on_listener == NULL || g->accepting == on)
        return;
    if (!on)
        event_del(g->on_listener);
    else if (event_add(g->on_listener, NULL) != 0)
        return; /* the next tick tries again */
    g->accepting = on;
}

void
serve_close(struct gate *g, struct conn *c)
{
    if (c->is_dirty) {
        struct conn **at = &g->dirty;
        while (*at != c)
            at = &(*at)->next_dirty;
        *at = c->next_dirty;
    }
    while (c->pending != NULL)
        pending_orphan(&g->pending, c->pending); /* what it started goes on */
    if (gate_transport.clear != NULL)
        gate_transport.clear(c);
    parts_clear(g, c);
    wait_no_more(c);
    charge(c, 0, 0);
    principal_leave(c->principal);
    conn_free(&g->conns, c);
    g->n_conns--;
    set_accepting(g, true);
}

static void
log_unknown(const struct kd_caller *who)
{
    char name[KD_POLICY_NAME_MAX + 1];

    if (who->name.n == 0)
        kd_log(KD_WARN, "connection of a uid that policy does not know: %u", who->uid);
    else
        kd_log(KD_WARN, "connection of a principal that policy does not know: %s",
               kd_log_text(who->name, name, sizeof name));
}

/* The caller's name is the connection's own copy. */
static void
keep_caller(struct conn *c, const struct kd_caller *who)
{
    assert(who->name.n <= sizeof c->remote);
    c->caller = *who;
    if (who->name.n != 0)
        memcpy(c->remote, who->name.p, who->name.n);
    c->caller.name = kd_slice(c->remote, who->name.n);
}

struct conn *
serve_open(struct gate *g, int fd, const struct kd_caller *who)
{
    struct conn *c = conn_new(&g->conns, fd, g->conf.limits.max_frame, OUT_MAX);
    struct kd_slice name;

    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->gate = g;
    keep_caller(c, who);
    g->n_conns++;
    c->serial = g->serial;
    c->is_known = kd_policy_name(g->conf.policy, &c->caller, &name) == KD_OK;
    c->principal = principal_join(&g->principals, &c->caller, c->is_known);
    c->event = event_new(g->base, fd, EV_READ | EV_PERSIST, on_conn_event, c);
    if (principal_is_over(&g->principals, c->principal, g->max_conns) ||
        c->event == NULL || event_add(c->event, NULL) != 0) {
        serve_close(g, c);
        return NULL;
    }
    c->armed = EV_READ;
    if (!c->is_known)
        log_unknown(&c->caller);
    if (g->n_conns >= g->max_conns)
        set_accepting(g, false); /* the rest waits in the kernel's queue */
    return c;
}

static void
on_accept(evutil_socket_t listener, short what, void *arg)
{
    struct gate *g = arg;

    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN && g->accepting; i++) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof from;
        int fd = accept4(listener, (struct sockaddr *)&from, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            gate_transport.accepted(g, fd, (struct sockaddr *)&from);
        } else {
            /* Without descriptors, wait for some to be closed instead of spinning. */
            if (errno == EMFILE || errno == ENFILE)
                set_accepting(g, false);
            return;
        }
    }
}

void
serve_listen(struct gate *g, int fd)
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

void
serve_accept(struct gate *g)
{
    set_accepting(g, g->n_conns < g->max_conns);
}

/* --- time --- */

static bool
is_overdue(const struct gate *g, const struct conn *c, int64_t now)
{
    const struct kd_limits *l = &g->conf.limits;
    int64_t quiet = now - c->active_at;

    /* For us; but half a frame must not keep what the others wait for. */
    if (c->is_waiting && c->stalled_since == 0 &&
        c->principal->kept <= PRINCIPAL_KEPT_MAX)
        return false;
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

void
serve_tick(struct gate *g, int64_t now)
{
    for (struct conn *c = g->conns, *next; c != NULL; c = next) {
        next = c->next;
        if (is_overdue(g, c, now))
            serve_close(g, c);
        else
            parts_tick(g, c, now);
    }
    serve_accept(g);
}
