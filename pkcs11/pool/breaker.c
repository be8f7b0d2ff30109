#include "breaker.h"

const char *
p11_state_name(enum p11_state state)
{
    static const char *const names[P11_STATES] = {
        [P11_NEW] = "new",         [P11_STARTING] = "starting",
        [P11_CLOSED] = "ready",    [P11_OPEN] = "away",
        [P11_HALF] = "returning",  [P11_DRAINED] = "drained",
        [P11_REFUSED] = "refused", [P11_IDLE] = "sealed"};

    return (unsigned)state < P11_STATES ? names[state] : "?";
}

void
breaker_init(struct breaker *b, int64_t now)
{
    *b = (struct breaker){.state = P11_IDLE, .since = now, .next = INT64_MAX};
}

static void
go(struct breaker *b, enum p11_state state, int64_t now)
{
    bool was_away = b->state == P11_OPEN || b->state == P11_HALF ||
                    b->state == P11_REFUSED || b->state == P11_STARTING;

    if (b->state == state)
        return;
    if ((state == P11_OPEN || state == P11_REFUSED || state == P11_STARTING) &&
        !was_away)
        b->open_since = now;
    b->state = state;
    b->since = now;
    b->strikes = b->trials = 0;
    b->next = INT64_MAX;
}

/* Each try that fails doubles the pause before the next one. */
static void
away(struct breaker *b, int64_t now)
{
    if (b->state != P11_OPEN && b->state != P11_HALF)
        b->wait_ms = BREAKER_FIRST_MS;
    else if ((b->wait_ms *= 2) > BREAKER_MOST_MS)
        b->wait_ms = BREAKER_MOST_MS;
    go(b, P11_OPEN, now);
    b->next = now + b->wait_ms;
}

static void
refused(struct breaker *b, int64_t now)
{
    go(b, P11_REFUSED, now);
    b->next = now + BREAKER_REFUSED_MS;
}

/* One that was never up is not by this: hosts come up first. */
static void
drained(struct breaker *b, int64_t now)
{
    int64_t open_since = b->open_since;

    go(b, b->before == P11_STARTING ? P11_STARTING : P11_CLOSED, now);
    b->open_since = open_since;
}

/* In use: one strike is a doubt, two are a verdict. */
static void
strike(struct breaker *b, int64_t now)
{
    if (++b->strikes >= BREAKER_STRIKES)
        away(b, now);
}

static void
see_in_use(struct breaker *b, enum breaker_seen what, int64_t now)
{
    switch (what) {
    case SEEN_UP:
    case SEEN_GOOD:
        b->strikes = 0;
        break;
    case SEEN_BAD:
    case SEEN_DOWN:
    case SEEN_REFUSED:
        strike(b, now);
        break;
    case SEEN_HANG: /* alone it never suffices, however many there are */
        if (b->strikes == 0)
            b->strikes = 1;
        break;
    case SEEN_NO_HOST:
        away(b, now);
        break;
    case SEEN_NOTHING_TO_HOLD:
    case SEEN_NOT_ADOPTED:
    case SEEN_SOMETHING_TO_HOLD:
    case SEEN_DRAIN:
    case SEEN_DRAINED:
        break;
    }
}

/* Not in use, and to be. */
static void
see_away(struct breaker *b, enum breaker_seen what, int64_t now)
{
    bool is_first = b->state == P11_STARTING;

    if (what == SEEN_UP && b->state != P11_HALF)
        go(b, is_first ? P11_CLOSED : P11_HALF, now);
    else if (what == SEEN_GOOD && b->state == P11_HALF && ++b->trials >= BREAKER_TRIALS)
        go(b, P11_CLOSED, now);
    else if (what == SEEN_REFUSED)
        refused(b, now);
    else if (what == SEEN_DOWN || (what == SEEN_NO_HOST && b->state != P11_REFUSED) ||
             (what == SEEN_BAD && b->state == P11_HALF))
        away(b, now);
}

static void
see_use(struct breaker *b, enum breaker_seen what, int64_t now)
{
    switch (b->state) {
    case P11_CLOSED:
        see_in_use(b, what, now);
        break;
    case P11_STARTING:
    case P11_OPEN:
    case P11_HALF:
    case P11_REFUSED:
        see_away(b, what, now);
        break;
    case P11_DRAINED:
        if (what == SEEN_DRAINED)
            drained(b, now);
        break;
    case P11_NEW:
    case P11_IDLE:
    case P11_STATES:
        break;
    }
}

bool
breaker_see(struct breaker *b, enum breaker_seen what, int64_t now)
{
    enum p11_state was = b->state;
    bool holds = was != P11_IDLE && was != P11_NEW;

    if (what == SEEN_NOTHING_TO_HOLD)
        go(b, P11_IDLE, now);
    else if (what == SEEN_NOT_ADOPTED)
        go(b, P11_NEW, now);
    else if (what == SEEN_SOMETHING_TO_HOLD)
        go(b, holds ? was : P11_STARTING, now);
    else if (what == SEEN_DRAIN && holds) {
        b->before = was == P11_DRAINED ? b->before : was;
        go(b, P11_DRAINED, now);
    } else
        see_use(b, what, now);
    return b->state != was;
}

kd_err
breaker_allows(const struct breaker *b)
{
    switch (b->state) {
    case P11_STARTING:
    case P11_CLOSED:
        return KD_OK;
    case P11_DRAINED:
        return KD_BUSY;
    case P11_IDLE:
        return KD_SEALED;
    case P11_NEW:
    case P11_OPEN:
    case P11_HALF:
    case P11_REFUSED:
    case P11_STATES:
        break;
    }
    return KD_UNAVAILABLE;
}

bool
breaker_wants_hosts(const struct breaker *b)
{
    return b->state == P11_STARTING || b->state == P11_CLOSED || b->state == P11_HALF;
}
