#include "pool.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* --- what the main thread is told --- */

void
token_say(struct p11_token *t)
{
    uint64_t one = 1;

    /* Full is told already. */
    kd_ignore(write(t->pool->event_fd, &one, sizeof one));
}

void
token_event(struct p11_token *t, unsigned event, uint64_t a, uint64_t b)
{
    struct outbox *o = &t->out;

    if (o->n_events == EVENTS_MAX) { /* nobody reads: the oldest goes */
        memmove(o->events, o->events + 1, sizeof o->events - sizeof *o->events);
        o->n_events--;
    }
    o->events[o->n_events].event = (uint16_t)event;
    o->events[o->n_events].a = a;
    o->events[o->n_events++].b = b;
    token_say(t);
}

static bool
next_host(unsigned *set, struct p11_note *out, enum p11_say say)
{
    for (unsigned i = 0; i < P11_HOSTS_A_TOKEN; i++) {
        if ((*set >> i & 1) == 0)
            continue;
        *set &= ~(1u << i);
        out->say = say;
        out->host = out->token * P11_HOSTS_A_TOKEN + i;
        return true;
    }
    return false;
}

static bool
next_of(struct p11_token *t, struct p11_note *out)
{
    struct outbox *o = &t->out;

    out->token = t->number;
    if (next_host(&o->kill, out, P11_SAY_KILL) ||
        next_host(&o->start, out, P11_SAY_START) ||
        next_host(&o->pin, out, P11_SAY_PIN))
        return true;
    if (o->maker) {
        o->maker = false;
        out->say = P11_SAY_MAKER;
        out->host = t->number * P11_HOSTS_A_TOKEN + P11_MAKER;
        return true;
    }
    /* One at a time, so that what is told of it is told of these. */
    if (o->tags && !t->tags_are_away) {
        o->tags = false;
        t->tags_are_away = true;
        if (t->tags == TAGS_SAID)
            t->tags = TAGS_GIVEN;
        out->say = P11_SAY_TAGS;
        memcpy(out->good, t->good, sizeof out->good);
        memcpy(out->tried, t->tried, sizeof out->tried);
        return true;
    }
    if (o->n_events == 0)
        return false;
    out->say = P11_SAY_EVENT;
    out->event = o->events[0].event;
    out->a = o->events[0].a;
    out->b = o->events[0].b;
    o->n_events--;
    memmove(o->events, o->events + 1, o->n_events * sizeof *o->events);
    return true;
}

bool
p11_next(struct p11 *p, struct p11_note *out)
{
    uint64_t n;

    /* Before looking: what is said after this is read wakes again. */
    kd_ignore(read(p->event_fd, &n, sizeof n));
    *out = (struct p11_note){.host = 0};
    for (size_t i = 0; i < p->n; i++) {
        struct p11_token *t = &p->tokens[i];
        pthread_mutex_lock(&t->lock);
        bool any = next_of(t, out);
        pthread_mutex_unlock(&t->lock);
        if (!any)
            continue;
        token_say(t); /* there may be more */
        return true;
    }
    return false;
}

int
p11_event_fd(const struct p11 *p)
{
    return p->event_fd;
}

/* --- what it tells us --- */

void
p11_link(struct p11 *p, unsigned host, int fd)
{
    struct p11_token *t;
    struct host *h;

    if (p11_host_token(host) >= p->n) {
        close(fd);
        return;
    }
    t = &p->tokens[p11_host_token(host)];
    h = &t->hosts[host % P11_HOSTS_A_TOKEN];
    pthread_mutex_lock(&t->lock);
    if (h->next_fd >= 0)
        close(h->next_fd);
    h->next_fd = fd;
    if (h->state != HOST_BUSY)
        host_drop(t, h, false);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

void
p11_no_pin(struct p11 *p, unsigned host, kd_err err)
{
    if (p11_host_token(host) >= p->n)
        return;
    struct p11_token *t = &p->tokens[p11_host_token(host)];
    pthread_mutex_lock(&t->lock);
    /* Of one that was given up it may come late. */
    if (host % P11_HOSTS_A_TOKEN == t->pin_host) {
        t->has_no_pin = true;
        t->no_pin = err;
    }
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

void
p11_tags_stored(struct p11 *p, size_t token, kd_err err)
{
    struct p11_token *t = &p->tokens[token];

    pthread_mutex_lock(&t->lock);
    t->tags_are_away = false;
    if (t->tags == TAGS_GIVEN)
        t->tags = err == KD_OK ? TAGS_KEPT : TAGS_FAILED;
    else if (err != KD_OK) /* what came of a login: nobody waits, and it must not go */
        t->tags_again_at = kd_clock_ms() + TAGS_AGAIN_MS;
    if (t->out.tags)
        token_say(t);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

/* --- for all files --- */

bool
token_wait(struct p11_token *t, pthread_cond_t *cond, int64_t until)
{
    struct timespec ts = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    if (until == INT64_MAX)
        return pthread_cond_wait(cond, &t->lock) == 0;
    return pthread_cond_timedwait(cond, &t->lock, &ts) != ETIMEDOUT;
}

struct pool_key *
token_key(struct p11_token *t, const struct kd_key_id *id)
{
    for (size_t i = 0; i < t->n_keys; i++)
        if (memcmp(t->keys[i].is.id.octets, id->octets, sizeof id->octets) == 0)
            return &t->keys[i];
    return NULL;
}

void
token_want_trial(struct p11_token *t)
{
    t->wants_trial = true;
    pthread_cond_signal(&t->wake);
}

/* It was why the token was not in use, or in doubt. */
static void
forget_finding(struct p11_token *t)
{
    t->status.finding = P11_FINE;
    t->status.rv = 0;
    t->what[0] = '\0';
}

void
token_see(struct p11_token *t, enum breaker_seen what)
{
    struct breaker *b = &t->breaker;
    int64_t now = kd_clock_ms(), open_since = b->open_since;
    enum p11_state was = b->state;

    bool is_other = breaker_see(b, what, now);
    if (b->state == P11_CLOSED && (is_other || what == SEEN_GOOD || what == SEEN_UP))
        forget_finding(t);
    if (!is_other)
        return;
    t->status.since = now;
    if (b->state == P11_OPEN && was != P11_HALF) {
        t->status.opened++;
        token_event(t, P11_EVENT_OPEN, t->status.finding, t->status.rv);
    } else if (b->state == P11_REFUSED) {
        token_event(t,
                    t->status.finding == P11_PIN_REFUSED ? P11_EVENT_PIN_REFUSED
                                                         : P11_EVENT_REFUSED,
                    t->status.finding, t->status.rv);
    } else if (b->state == P11_CLOSED && was != P11_DRAINED) {
        token_event(t, P11_EVENT_CLOSED, (uint64_t)(now - open_since), 0);
    }
    if (!breaker_wants_hosts(b) && b->state != P11_DRAINED)
        hosts_drop_all(t);
    pthread_cond_broadcast(&t->changed);
    pthread_cond_signal(&t->wake);
}

void
p11_status(struct p11 *p, size_t token, struct p11_status *out)
{
    struct p11_token *t = &p->tokens[token];

    pthread_mutex_lock(&t->lock);
    *out = t->status;
    out->state = t->breaker.state;
    if (out->state == P11_CLOSED) { /* a doubt is not told before it is a verdict */
        out->finding = P11_FINE;
        out->rv = 0;
    }
    out->since = t->breaker.since;
    out->hosts = 0;
    for (size_t i = 0; i < P11_SESSIONS_MAX; i++)
        out->hosts += t->hosts[i].state == HOST_IDLE || t->hosts[i].state == HOST_BUSY;
    pthread_mutex_unlock(&t->lock);
}

struct kd_device *
p11_device(struct p11 *p, size_t token)
{
    return &p->tokens[token].device;
}

/* --- making it --- */

static kd_err
make_token(struct p11_token *t)
{
    pthread_condattr_t monotonic;

    if ((t->keys = calloc(POOL_KEYS_MAX, sizeof *t->keys)) == NULL)
        return KD_NOMEM;
    for (unsigned i = 0; i < P11_HOSTS_A_TOKEN; i++) {
        struct host *h = &t->hosts[i];
        *h = (struct host){.fd = -1, .next_fd = -1, .number = i};
        if ((h->secret = kd_secret_new(SECRET_ANSWER_MAX)) == NULL)
            return KD_NOMEM;
    }
    breaker_init(&t->breaker, kd_clock_ms());
    t->status.since = t->breaker.since;
    t->status.max_message = t->conf.max_message; /* 0: to be found by trying */
    t->limit_known = t->conf.max_message != 0;
    if (pthread_mutex_init(&t->lock, NULL) != 0 ||
        pthread_condattr_init(&monotonic) != 0 ||
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&t->wake, &monotonic) != 0 ||
        pthread_cond_init(&t->changed, &monotonic) != 0 ||
        pthread_create(&t->thread, NULL, keeper_main, t) != 0)
        return KD_NOMEM;
    pthread_condattr_destroy(&monotonic);
    return KD_OK;
}

/* What failed half is left as it is: the process does not start. */
kd_err
p11_new(const struct p11_conf *conf, size_t n, struct p11 **out)
{
    struct p11 *p = calloc(1, sizeof *p);
    kd_err err = KD_OK;

    if (p == NULL)
        return KD_NOMEM;
    if (n > KD_TOKENS_MAX ||
        (p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        free(p);
        return n > KD_TOKENS_MAX ? KD_INVALID : KD_NOMEM;
    }
    p->n = n;
    for (unsigned i = 0; i < n && err == KD_OK; i++) {
        struct p11_token *t = &p->tokens[i];
        t->device.ops = &pool_device;
        t->pool = p;
        t->number = i;
        t->conf = conf[i];
        err = make_token(t);
    }
    *out = p;
    return err;
}
