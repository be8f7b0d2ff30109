#include "drain.h"
#include "child.h"
#include "report.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

enum { ANSWER_BEFORE_MS = 500 /* a wish ends, so that its client hears of it */ };

/* --- the gates --- */

static bool
is_operators(const struct child *c)
{
    return kd_gate_class(c->gate) == KD_CLASS_ADMIN;
}

static bool
is_told(const struct supervisor *s, const struct child *c)
{
    return c->role == KD_ROLE_GATE && c->pid > 0 &&
           (s->drain.is_all || !is_operators(c));
}

static void
tell(struct supervisor *s, struct child *c)
{
    struct kd_ctl_turn m = {
        .turn = (uint8_t)(s->drain.is_on ? KD_TURN_DRAIN : KD_TURN_SERVE),
        .serial = s->drain.serial};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_turn_put(&b, &m);
    /* Who is gone is told when it is started again. */
    kd_ignore(kd_chan_put_buf(&c->ctl, KD_MSG_ctl_turn, &b, -1));
    kd_buf_free(&b);
}

static void
tell_all(struct supervisor *s)
{
    s->drain.serial++;
    for (unsigned i = 0; i < s->n_children; i++) {
        struct child *c = &s->children[i];
        if (is_told(s, c) || (c->role == KD_ROLE_VAULT && c->pid > 0))
            tell(s, c);
    }
}

/* True if every gate that was told has done it; then how much is in flight. */
static bool
all_done(const struct supervisor *s, uint32_t *in_flight)
{
    *in_flight = 0;
    for (unsigned i = 0; i < s->n_children; i++) {
        const struct child *c = &s->children[i];
        if (!is_told(s, c))
            continue;
        if (c->turns.drained != s->drain.serial)
            return false;
        *in_flight += c->turns.in_flight;
    }
    return true;
}

/* --- answers --- */

static void
answer_due(struct supervisor *s)
{
    struct drain *d = &s->drain;
    struct kd_ctl_granted m = {.draining = d->is_on};
    bool is_done = all_done(s, &m.in_flight);
    int64_t now = kd_clock_ms();

    for (size_t i = d->wishes.n; i-- > 0;) {
        const struct wish *w = &d->wishes.list[i];
        bool is_over = is_done && (!w->waits || m.in_flight == 0);
        if (is_over || now >= w->until)
            wishes_grant(s, &d->wishes, i, &m);
    }
}

/* --- steps --- */

static void
begin(struct supervisor *s)
{
    if (s->drain.is_on)
        return;
    s->drain.is_on = true;
    kd_log(KD_WARN, "draining: no more requests are taken");
    tell_all(s);
}

static void
begin_ending(struct supervisor *s)
{
    struct drain *d = &s->drain;

    begin(s);
    if (d->is_ending)
        return;
    d->is_ending = true;
    d->until = kd_clock_ms() + (int64_t)s->conf->drain_timeout * 1000;
    report_stopping(s->conf->drain_timeout);
}

static kd_err
cancel(struct supervisor *s)
{
    struct drain *d = &s->drain;

    if (d->is_all) /* the answers of the last listener are on their way out */
        return KD_CONFLICT;
    if (!d->is_on)
        return KD_OK;
    d->is_on = d->is_ending = false;
    kd_log(KD_INFO, "serving again");
    tell_all(s);
    report_ready("serving");
    return KD_OK;
}

/* The others are done: now the operators' listener, whose answers go out as well. */
static void
drain_operators(struct supervisor *s)
{
    s->drain.is_all = true;
    tell_all(s);
}

static void
go_on(struct supervisor *s)
{
    struct drain *d = &s->drain;
    uint32_t in_flight;
    bool is_late = d->is_ending && kd_clock_ms() >= d->until;
    bool is_done = all_done(s, &in_flight) && in_flight == 0;

    answer_due(s);
    if (!d->is_ending || (!is_done && !is_late))
        return;
    if (is_late && !is_done)
        kd_log(KD_WARN, "stopping with requests in flight: drain-timeout is over");
    if (d->is_all || is_late)
        s->is_stopping = true;
    else
        drain_operators(s);
}

/* --- who asks --- */

void
drain_by_wish(struct supervisor *s, const struct kd_ctl_wish *m)
{
    int64_t ms = m->ms > ANSWER_BEFORE_MS ? (int64_t)m->ms - ANSWER_BEFORE_MS : 0;
    const struct wish wish = {
        .tag = m->tag, .waits = m->wait != 0, .until = kd_clock_ms() + ms};
    struct kd_ctl_granted no = {.err = KD_OK};

    if (m->wish == KD_WISH_SERVE)
        no.err = (uint8_t)cancel(s);
    if (no.err == KD_OK && !wishes_add(&s->drain.wishes, &wish))
        no.err = KD_BUSY;
    if (no.err != KD_OK) {
        wish_grant(s, m->tag, &no);
        return;
    }
    if (m->wish == KD_WISH_STOP)
        begin_ending(s);
    else if (m->wish == KD_WISH_DRAIN)
        begin(s);
    go_on(s);
}

void
drain_by_signal(struct supervisor *s)
{
    struct drain *d = &s->drain;

    if (!s->is_settled || d->is_all) {
        s->is_stopping = true;
        return;
    }
    d->is_all = true;
    d->is_on = false; /* those that drain already are told with the rest */
    begin_ending(s);
    go_on(s);
}

/* --- children --- */

void
drain_child_started(struct supervisor *s, struct child *c)
{
    if (s->drain.is_on && (is_told(s, c) || c->role == KD_ROLE_VAULT))
        tell(s, c);
}

void
drain_child_ended(struct supervisor *s, struct child *c)
{
    if (c->role == KD_ROLE_VAULT)
        s->drain.wishes.n = 0; /* it forgot them */
    if (s->drain.is_on || s->drain.wishes.n > 0)
        go_on(s);
}

void
drain_on_turned(struct supervisor *s, struct child *c, const struct kd_ctl_turned *m)
{
    if (m->serial != s->drain.serial)
        return; /* of a change before the last */
    c->turns.drained = m->serial;
    c->turns.in_flight = m->in_flight;
    go_on(s);
}

int
drain_due(struct supervisor *s, int timeout)
{
    struct drain *d = &s->drain;
    int64_t now = kd_clock_ms(), next = now + timeout;

    if (d->is_ending && d->until < next)
        next = d->until;
    for (size_t i = 0; i < d->wishes.n; i++)
        if (d->wishes.list[i].until < next)
            next = d->wishes.list[i].until;
    if (next > now)
        return (int)(next - now);
    go_on(s);
    return 0;
}
