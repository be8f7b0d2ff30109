/* Endpoints: which one a request goes to, and what becomes of it when that one fails.
 *
 * Two things keep an outage from becoming a storm. A call that was refused or lost goes
 * again only with a retry from the client's budget, which fills slowly; and an endpoint
 * that failed is left alone for longer and longer, then asked by one request before the
 * others follow. */
#include "address.h"
#include "client.h"
#include "tls.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    CONNECT_MS = 5000,
    SILENT_MS = 10000,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MOST_MS = 10000,
    RETRIES_BURST = 100,
    RETRIES_PER_SECOND = 10,
};

/* State and keys; look-ups; what the vault does. A sealed vault refuses the last only.
 */
unsigned
op_kind(unsigned oneof_case)
{
    unsigned op = oneof_case - 100;

    return op < KEYD_OP_LOOKUP_SIGNET ? 0 : op < KEYD_OP_ISSUE_USER_SIGNET ? 1 : 2;
}

/* ---- times */

/* After the n-th failure in a row: doubled each time, and some of it by chance, so that
 * clients that failed together do not come back together. */
static int64_t
backoff_ms(const struct keyd_client *c, unsigned n)
{
    int64_t ms = c->options.backoff_first_ms;

    for (unsigned i = 1; i < n && ms < c->options.backoff_most_ms; i++)
        ms *= 2;
    if (ms > c->options.backoff_most_ms)
        ms = c->options.backoff_most_ms;
    return ms / 2 + random_number() % (ms / 2 + 1) + 1;
}

static int64_t
later_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t
sooner_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void
refill(struct keyd_client *c, int64_t now)
{
    int64_t most = (int64_t)c->options.retries_burst * 1000;

    c->budget += (now - c->budget_ms) * c->options.retries_per_second;
    c->budget_ms = now;
    if (c->budget > most)
        c->budget = most;
}

/* ---- choosing */

static bool
is_allowed(const struct endpoint *e, const struct call *call)
{
    return (call->endpoint == 0 || call->endpoint == e->number) &&
           (call->group == 0 || call->group == e->group) &&
           (!call->secret || e->path != NULL);
}

static bool
is_untried(const struct endpoint *e, const struct call *call)
{
    return (call->tried & UINT32_C(1) << (e->number - 1)) == 0;
}

static bool
is_well(const struct endpoint *e, const struct call *call, int64_t now)
{
    const struct health *h = &e->health[op_kind(call->oneof_case)];

    return h->again_ms <= now;
}

/* After a rest, one request goes first. */
static bool
is_free(const struct endpoint *e, const struct call *call)
{
    unsigned kind = op_kind(call->oneof_case);

    return e->health[kind].failures == 0 || e->link.n_kind[kind] == 0;
}

struct link *
pool_pick(struct keyd_client *c, const struct call *call, int64_t now)
{
    struct endpoint *best = NULL;

    for (unsigned i = 0; i < c->n_endpoints; i++) {
        struct endpoint *e = c->endpoints[(c->turn + i) % c->n_endpoints];
        if (!link_takes(&e->link, call) || !is_allowed(e, call) ||
            !is_untried(e, call) || !is_well(e, call, now) || !is_free(e, call))
            continue;
        if (best == NULL || e->link.n_flying < best->link.n_flying)
            best = e;
        if (c->options.spread == KEYD_ROUND_ROBIN)
            break;
    }
    if (best == NULL)
        return NULL;
    c->turn = best->number % c->n_endpoints; /* the one after it */
    return &best->link;
}

/* Another endpoint that is up and has not refused the call in this round. */
static bool
has_another(const struct keyd_client *c, const struct call *call, int64_t now)
{
    for (unsigned i = 0; i < c->n_endpoints; i++) {
        const struct endpoint *e = c->endpoints[i];
        if (e->link.phase == LINK_READY && is_allowed(e, call) && is_untried(e, call) &&
            is_well(e, call, now))
            return true;
    }
    return false;
}

bool
pool_is_hopeless(const struct keyd_client *c, const struct call *call, int64_t now)
{
    for (unsigned i = 0; i < c->n_endpoints; i++) {
        const struct endpoint *e = c->endpoints[i];
        if (!is_allowed(e, call))
            continue;
        if (e->link.phase == LINK_READY
                ? is_well(e, call, now)
                : e->link.phase != LINK_CLOSED || e->failures == 0)
            return false;
    }
    return true;
}

enum keyd_status
pool_excuse(const struct keyd_client *c, const struct call *call, char detail[49])
{
    unsigned kind = op_kind(call->oneof_case);
    enum keyd_status status = KEYD_UNAVAILABLE;

    set_text(detail, "no-endpoint");
    for (unsigned i = 0; i < c->n_endpoints; i++) {
        const struct endpoint *e = c->endpoints[i];
        if (!is_allowed(e, call))
            continue;
        if (e->link.phase != LINK_READY) {
            if (e->link.detail[0] != '\0')
                set_text(detail, e->link.detail);
            continue;
        }
        set_text(detail, "not-sent");
        if (e->health[kind].failures == 0)
            return KEYD_DEADLINE;
        status = e->health[kind].why;
    }
    return status;
}

/* ---- again */

static void
give_up(struct keyd_client *c, struct call *call)
{
    char detail[49] = "";
    enum keyd_status status = call->refusal;

    if (status == KEYD_OK)
        status = call->box->detail[0] == '\0' ? pool_excuse(c, call, detail)
                                              : KEYD_UNAVAILABLE;
    if (call->maybe_done && call->changing)
        status = KEYD_UNKNOWN_OUTCOME;
    call_end(c, call, status, detail[0] == '\0' ? NULL : detail);
}

/* To be sent again, not before wait_ms have passed; at its own cost to the budget. */
static void
ask_again(struct keyd_client *c, struct call *call, int64_t wait_ms)
{
    int64_t again = kd_clock_ms() + wait_ms;

    if (again >= call->deadline_ms || (wait_ms > 0 && c->options.fail_at_once))
        give_up(c, call);
    else
        call_queue(c, call, again);
}

static void
ask_when_free(struct keyd_client *c, struct call *call, uint32_t retry_after_ms)
{
    call->tried = 0;
    ask_again(c, call,
              later_of(retry_after_ms, backoff_ms(c, call->box->answer.attempts)));
}

/* Where it may have been done is where the key is known. */
static void
bind_call(struct call *call, const struct endpoint *e)
{
    call->maybe_done = true;
    call->tried = 0;
    if (e->group != 0)
        call->group = e->group;
    else
        call->endpoint = e->number;
}

/* Requests that were sent before the last refusal say nothing new. */
static void
rest(struct endpoint *e, const struct call *call, enum keyd_status why,
     uint32_t retry_after_ms)
{
    struct health *h = &e->health[op_kind(call->oneof_case)];
    int64_t now = kd_clock_ms();

    if (h->failures > 0 && call->sent_ms < h->since_ms)
        return;
    h->failures++;
    h->why = why;
    h->since_ms = now;
    h->again_ms =
        now + later_of(retry_after_ms, backoff_ms(e->link.client, h->failures));
}

void
pool_answered(struct endpoint *e, const struct call *call)
{
    struct health *h = &e->health[op_kind(call->oneof_case)];

    e->n_answered++;
    e->has_worked = true;
    if (call->sent_ms >= h->since_ms)
        h->failures = 0;
}

/* A changing request carries the key under which it is known; one that only reads may
 * be made any number of times; the rest, and what is secret, goes once. */
static bool
may_repeat(const struct call *call)
{
    return !call->secret && (call->changing || call->reads);
}

static void
refused_as_busy(struct endpoint *e, struct call *call, uint32_t retry_after_ms)
{
    struct keyd_client *c = e->link.client;

    call->tried |= UINT32_C(1) << (e->number - 1);
    if (has_another(c, call, kd_clock_ms()))
        ask_again(c, call, 0);
    else
        ask_when_free(c, call, retry_after_ms);
}

/* Said before the server looks for the key: of an attempt before it says nothing. */
static bool
is_of_this_attempt(enum keyd_status status)
{
    return status == KEYD_DEADLINE || status == KEYD_DENIED ||
           status == KEYD_UNSUPPORTED;
}

void
pool_refused(struct endpoint *e, struct call *call, enum keyd_status status,
             uint32_t retry_after_ms)
{
    struct keyd_client *c = e->link.client;
    bool rests = status == KEYD_UNAVAILABLE || status == KEYD_SEALED;

    e->has_worked = true;
    if (rests) {
        e->n_answered++;
        rest(e, call, status, retry_after_ms);
    } else {
        pool_answered(e, call);
    }
    if ((!rests && status != KEYD_BUSY && status != KEYD_UNKNOWN_OUTCOME) ||
        !may_repeat(call)) {
        bool is_open = call->maybe_done && is_of_this_attempt(status);
        call_end(c, call, is_open ? KEYD_UNKNOWN_OUTCOME : status, NULL);
        return;
    }
    call->refusal = status;
    if (status == KEYD_BUSY) {
        refused_as_busy(e, call, retry_after_ms);
    } else if (rests) {
        ask_again(c, call, 0); /* the endpoint's rest is what is waited for */
    } else {
        bind_call(call, e);
        ask_when_free(c, call, retry_after_ms);
    }
}

void
pool_passed_over(struct keyd_client *c, struct call *call, int64_t now)
{
    if (call->tried != 0 && !has_another(c, call, now))
        ask_when_free(c, call, 0);
    else if (c->options.fail_at_once && pool_is_hopeless(c, call, now))
        give_up(c, call);
}

void
pool_lost_call(struct endpoint *e, struct call *call, bool may_be_done)
{
    struct keyd_client *c = e->link.client;

    set_text(call->box->detail, e->link.detail);
    if (may_be_done && call->changing)
        bind_call(call, e);
    if (c->is_paused || (may_be_done && !may_repeat(call))) {
        call->refusal = KEYD_OK;
        give_up(c, call);
    } else if (may_be_done) {
        ask_again(c, call, 0);
    } else {
        call->box->answer.attempts--; /* it did not leave */
        call_queue(c, call, 0);
    }
}

void
pool_lost(struct endpoint *e)
{
    struct keyd_client *c = e->link.client;
    int64_t now = kd_clock_ms();

    if (e->has_worked ||
        (e->link.up_ms != 0 && now - e->link.up_ms > c->options.backoff_most_ms))
        e->failures = 0;
    e->has_worked = false;
    e->link.up_ms = 0;
    if (c->is_paused) {
        e->again_ms = 0;
        return;
    }
    e->failures++;
    e->n_lost++;
    e->again_ms = now + backoff_ms(c, e->failures);
}

/* ---- turning */

static bool
is_silent(const struct link *l, int64_t now)
{
    return l->phase == LINK_READY && l->n_flying > 0 &&
           now - l->heard_ms >= l->client->options.silent_ms;
}

static void
wake(struct keyd_client *c, int64_t now)
{
    struct call *call;

    refill(c, now);
    while (c->budget >= 1000 && (call = TAILQ_FIRST(&c->later)) != NULL &&
           call->again_ms <= now) {
        c->budget -= 1000;
        call_queue(c, call, 0);
    }
}

void
pool_turn(struct keyd_client *c, int64_t now)
{
    for (unsigned i = 0; i < c->n_endpoints; i++) {
        struct endpoint *e = c->endpoints[i];
        if (is_silent(&e->link, now))
            link_end(&e->link, KEYD_UNAVAILABLE, "silent");
        if (e->link.phase == LINK_CLOSED && !c->is_paused && e->again_ms <= now)
            link_open(&e->link, now + c->options.connect_ms);
    }
    wake(c, now);
}

static int64_t
endpoint_due(const struct keyd_client *c, const struct endpoint *e)
{
    int64_t due = INT64_MAX;

    if (e->link.phase == LINK_CLOSED)
        return c->is_paused ? INT64_MAX : e->again_ms;
    if (e->link.has_more)
        return 0;
    if (e->link.phase == LINK_READY && e->link.n_flying > 0)
        due = e->link.heard_ms + c->options.silent_ms;
    for (unsigned i = 0; i < KINDS && !TAILQ_EMPTY(&c->waiting); i++)
        if (e->health[i].again_ms > c->launch_ms) /* those before were looked at */
            due = sooner_of(due, e->health[i].again_ms);
    return due;
}

/* The first of those that wait for their time, and for the budget. */
static int64_t
later_due(const struct keyd_client *c)
{
    const struct call *first = TAILQ_FIRST(&c->later);

    if (first == NULL)
        return INT64_MAX;
    if (c->budget >= 1000)
        return first->again_ms;
    if (c->options.retries_per_second == 0)
        return INT64_MAX;
    int64_t missing = 1000 - c->budget;
    return later_of(first->again_ms,
                    c->budget_ms + missing / c->options.retries_per_second + 1);
}

int64_t
pool_due(const struct keyd_client *c)
{
    int64_t due = c->is_dirty ? 0 : later_due(c);

    for (unsigned i = 0; i < c->n_endpoints; i++)
        due = sooner_of(due, endpoint_due(c, c->endpoints[i]));
    return due;
}

static void
watch(struct keyd_client *c, struct link *l)
{
    uint32_t wants = link_wants(l);
    struct epoll_event ev = {.events = wants, .data.ptr = l};

    if (l->sock < 0 || wants == l->watched)
        return;
    if (epoll_ctl(c->epoll, l->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, l->sock,
                  &ev) == 0)
        l->watched = wants;
    else
        link_end(l, KEYD_NOMEM, "out-of-memory");
}

void
pool_send(struct keyd_client *c)
{
    for (unsigned i = 0; i < c->n_endpoints; i++) {
        struct link *l = &c->endpoints[i]->link;
        link_send(l);
        if (l->write_failed)
            link_receive(l); /* the last words */
        watch(c, l);
    }
}

void
pool_receive(struct keyd_client *c, int timeout_ms)
{
    struct epoll_event ready[KEYD_ENDPOINTS_MAX];
    int limit = keyd_client_timeout_ms(c);

    if (timeout_ms < 0 || (limit >= 0 && limit < timeout_ms))
        timeout_ms = limit;
    for (unsigned i = 0; i < c->n_endpoints; i++)
        if (c->endpoints[i]->link.has_more)
            link_receive(&c->endpoints[i]->link);
    int n = epoll_wait(c->epoll, ready, KEYD_ENDPOINTS_MAX, timeout_ms);
    for (int i = 0; i < n; i++)
        link_receive(ready[i].data.ptr);
}

/* ---- endpoints come and go */

static void
endpoint_free(struct endpoint *e)
{
    if (e == NULL)
        return;
    tls_setup_free(e->tls);
    free(e->text);
    free(e->host);
    free(e->port);
    free(e);
}

static enum keyd_status
refuse_here(struct keyd_client *c, enum keyd_status status, const char *why)
{
    set_text(c->detail, why);
    return status;
}

static enum keyd_status
endpoint_new(struct keyd_client *c, const struct keyd_endpoint *from,
             struct endpoint **out)
{
    struct endpoint *e = calloc(1, sizeof *e);
    enum keyd_status status = KEYD_NOMEM;
    const char *why = "out-of-memory";

    if (e == NULL || (e->text = strdup(from->address)) == NULL)
        goto out;
    link_init(&e->link, c, e);
    e->group = from->group;
    why = "address";
    status = address_parse(e->text, &e->path, &e->host, &e->port);
    if (status == KEYD_OK && (from->tls != NULL) != (e->host != NULL))
        status = KEYD_USAGE;
    if (status == KEYD_OK && e->host != NULL)
        status = tls_setup_new(from->tls, e->host, &e->tls, &why);
    e->link.is_parted = e->host != NULL;
out:
    if (status != KEYD_OK) {
        endpoint_free(e);
        return refuse_here(c, status, why);
    }
    *out = e;
    return KEYD_OK;
}

enum keyd_status
keyd_client_add_endpoint(keyd_client *c, const struct keyd_endpoint *endpoint)
{
    struct endpoint *e = NULL;

    if (c->solo.phase != LINK_CLOSED || c->is_dying || endpoint->address == NULL)
        return refuse_here(c, KEYD_USAGE, "connected-already");
    if (c->n_endpoints == KEYD_ENDPOINTS_MAX)
        return refuse_here(c, KEYD_USAGE, "too-many-endpoints");
    if (c->epoll < 0 && (c->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
        return refuse_here(c, KEYD_NOMEM, "out-of-memory");
    enum keyd_status status = endpoint_new(c, endpoint, &e);
    if (status != KEYD_OK)
        return status;
    c->endpoints[c->n_endpoints++] = e;
    e->number = c->n_endpoints;
    c->is_dirty = true;
    return KEYD_OK;
}

enum keyd_status
keyd_client_add_endpoints(keyd_client *c, const char *list, const struct keyd_tls *tls)
{
    enum keyd_status status = refuse_here(c, KEYD_USAGE, "address");

    while (*(list += strspn(list, ", \t\n")) != '\0') {
        size_t n = strcspn(list, ", \t\n");
        char *one = strndup(list, n);
        if (one == NULL)
            return refuse_here(c, KEYD_NOMEM, "out-of-memory");
        bool is_tls = strncmp(one, "tls:", 4) == 0;
        status = keyd_client_add_endpoint(
            c, &(struct keyd_endpoint){.address = one, .tls = is_tls ? tls : NULL});
        free(one);
        if (status != KEYD_OK)
            return status;
        list += n;
    }
    return status;
}

enum keyd_status
keyd_client_reload_tls(keyd_client *c)
{
    enum keyd_status worst = KEYD_OK;

    for (unsigned i = 0; i < c->n_endpoints; i++) {
        const char *why = "";
        struct tls_setup *s = c->endpoints[i]->tls;
        enum keyd_status status = s == NULL ? KEYD_OK : tls_setup_reload(s, &why);
        if (status != KEYD_OK)
            worst = refuse_here(c, status, why);
    }
    return worst;
}

void
pool_close(struct keyd_client *c)
{
    struct call *call;

    c->is_paused = true;
    for (unsigned i = 0; i < c->n_endpoints; i++)
        link_end(&c->endpoints[i]->link, KEYD_UNAVAILABLE, "closed-here");
    /* NOLINTBEGIN(clang-analyzer-unix.Malloc): see link_end */
    while ((call = TAILQ_FIRST(&c->waiting)) != NULL ||
           (call = TAILQ_FIRST(&c->later)) != NULL) {
        call->refusal = KEYD_OK;
        set_text(call->box->detail, "closed-here");
        give_up(c, call);
    }
    /* NOLINTEND(clang-analyzer-unix.Malloc) */
    c->next_deadline = INT64_MAX;
    c->is_dirty = false;
}

void
pool_free(struct keyd_client *c)
{
    for (unsigned i = 0; i < c->n_endpoints; i++)
        endpoint_free(c->endpoints[i]);
    if (c->epoll >= 0)
        close(c->epoll);
}

/* ---- settings and state */

static uint32_t
or_else(uint32_t v, uint32_t otherwise)
{
    return v == 0 ? otherwise : v;
}

enum keyd_status
keyd_client_set_options(keyd_client *c, const struct keyd_options *options)
{
    struct keyd_options o = *options;
    const uint32_t *const numbers[] = {&o.connect_ms,       &o.silent_ms,
                                       &o.backoff_first_ms, &o.backoff_most_ms,
                                       &o.retries_burst,    &o.retries_per_second};

    o.connect_ms = or_else(o.connect_ms, CONNECT_MS);
    o.silent_ms = or_else(o.silent_ms, SILENT_MS);
    o.backoff_first_ms = or_else(o.backoff_first_ms, BACKOFF_FIRST_MS);
    o.backoff_most_ms = or_else(o.backoff_most_ms, BACKOFF_MOST_MS);
    o.retries_burst = or_else(o.retries_burst, RETRIES_BURST);
    o.retries_per_second = or_else(o.retries_per_second, RETRIES_PER_SECOND);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (*numbers[i] > DEADLINE_MAX)
            return KEYD_USAGE;
    if (o.backoff_first_ms > o.backoff_most_ms ||
        (o.spread != KEYD_LEAST_BUSY && o.spread != KEYD_ROUND_ROBIN))
        return KEYD_USAGE;
    c->options = o;
    c->budget = (int64_t)o.retries_burst * 1000;
    c->budget_ms = kd_clock_ms();
    return KEYD_OK;
}

size_t
keyd_client_n_endpoints(const keyd_client *c)
{
    return c->n_endpoints;
}

static enum keyd_endpoint_state
state_of(const struct endpoint *e)
{
    if (e->link.phase == LINK_CLOSED)
        return KEYD_ENDPOINT_DOWN;
    if (e->link.phase != LINK_READY)
        return KEYD_ENDPOINT_CONNECTING;
    for (unsigned i = 0; i < KINDS; i++)
        if (e->health[i].failures != 0)
            return KEYD_ENDPOINT_RESTING;
    return KEYD_ENDPOINT_UP;
}

enum keyd_status
keyd_client_endpoint_info(const keyd_client *c, unsigned number,
                          struct keyd_endpoint_info *info)
{
    if (number == 0 || number > c->n_endpoints)
        return KEYD_USAGE;
    const struct endpoint *e = c->endpoints[number - 1];
    *info = (struct keyd_endpoint_info){
        .address = e->text,
        .state = state_of(e),
        .in_flight = e->link.n_flying,
        .failures = e->failures,
        .n_answered = e->n_answered,
        .n_lost = e->n_lost,
        .why = e->n_lost == 0 ? KEYD_OK : e->link.why,
        .detail = e->link.detail,
        .server = e->link.server,
    };
    return KEYD_OK;
}
