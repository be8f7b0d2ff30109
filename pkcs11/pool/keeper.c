/* A token's own thread: hosts are brought up, tried and replaced, the breaker is told
 * what came of it, keys are made. It blocks on hosts, so a token's troubles are its
 * own.
 *
 * One turn does one thing, the most urgent first, and says when the next is due. */
#include "pool.h"

#include <keyd/base/clock.h>

enum {
    TRIAL_EVERY_MS = 5000,
    TRIAL_IDLE_MS = 30000, /* nobody has used it since the last one */
    TRIAL_ALL_MS =
        30000, /* every key has had its turn: half of what counts as lately */
    TRIAL_MOST_MS = 1000, /* not more often for that, however many keys there are */
    TRIALS_APART_MS = 50,
    DOUBTED_MS = 800,
    STUCK_MS = 200,   /* an operation without an answer: is it the token? */
    MISSING_MS = 150, /* for a process to be started again by itself */
    LIMIT_AGAIN_MS = 10000,
    STALE_MS = 10000,      /* what a module found so long ago may be gone */
    FRESH_AGAIN_MS = 1500, /* a process that was asked for and is not there */
    LOADS_MS = 300,        /* from a process's look at the token to its link */
};

/* Findings that time does not mend. */
static bool
is_for_operator(enum p11_finding_code code)
{
    switch ((int)code) {
    case P11_MODULE_MISSING:
    case P11_MODULE_WRITABLE:
    case P11_MODULE_NOT_ELF:
    case P11_MODULE_OTHER_MACHINE:
    case P11_MODULE_CUT:
    case P11_MODULE_NOT_LOADED:
    case P11_MODULE_NOT_PKCS11:
    case P11_MODULE_VERSION:
    case P11_PATH_WRITABLE:
    case P11_TWO_TOKENS_MATCH:
    case P11_SERIAL_CHANGED:
    case P11_PIN_MISSING:
    case P11_PIN_NOT_SET:
    case P11_PIN_LOCKED:
    case P11_PIN_FINAL_TRY:
    case P11_PIN_COUNT_LOW:
    case P11_PIN_TO_BE_CHANGED:
    case P11_PIN_PAD:
    case P11_PIN_REFUSED:
        return true;
    default:
        return false;
    }
}

static void
note_finding(struct p11_token *t, const struct p11_finding *why)
{
    t->status.finding = why->code;
    t->status.rv = why->rv;
    memcpy(t->what, why->what, sizeof t->what);
}

static bool
has_trials(const struct p11_token *t)
{
    for (size_t i = 0; i < t->n_keys; i++)
        if (t->keys[i].is.is_probed && t->keys[i].is_known &&
            t->keys[i].finding == P11_FINE)
            return true;
    return false;
}

/* Less than an operation may take, so that the verdict on a hang comes within a second
 * of it. What signs a large message may have no time for anything else. */
int64_t
trial_ms(const struct p11_token *t)
{
    int64_t now = kd_clock_ms(), most = 0;

    for (size_t i = 0; i < P11_SESSIONS_MAX; i++) {
        const struct host *h = &t->hosts[i];
        int64_t left = h->sent_at + h->size_ms - now;
        if (h->state == HOST_BUSY && h->size_ms != 0 && left > most)
            most = left;
    }
    return t->conf.timeout_ms / 3 + most;
}

struct patience
trial_patience(const struct p11_token *t, int64_t began)
{
    return (struct patience){.answered_at = &t->answered_at,
                             .step_ms = t->conf.timeout_ms / 6,
                             .until = began + (int64_t)t->conf.timeout_ms * 2 / 3};
}

static bool
is_any_serving(const struct p11_token *t, int64_t now)
{
    for (size_t i = 0; i < P11_SESSIONS_MAX; i++) {
        const struct host *h = &t->hosts[i];
        if (h->state == HOST_IDLE ||
            (h->state == HOST_BUSY &&
             now - h->sent_at < (int64_t)t->conf.timeout_ms + h->size_ms))
            return true;
    }
    return false;
}

/* --- bringing up --- */

static struct host *
linked(struct p11_token *t, enum host_state state)
{
    for (size_t i = 0; i < P11_SESSIONS_MAX; i++)
        if (t->hosts[i].state == state)
            return &t->hosts[i];
    return NULL;
}

/* The token is not used: what it tells of itself is all that is asked. */
static void
look_only(struct p11_token *t, struct host *h)
{
    struct p11_finding why;

    h->state = HOST_BUSY;
    pthread_mutex_unlock(&t->lock);
    enum p11_finding_code code = bring_up(t, h, &why);
    pthread_mutex_lock(&t->lock);
    note_finding(t, &why);
    if (code != P11_MODULE_HANGS && code != P11_MODULE_DIES && h->next_fd < 0)
        h->state = HOST_SEEN;
    else
        host_drop(t, h, code == P11_MODULE_HANGS);
}

/* A process in use that ended on its way may have been anybody's doing: that none
 * serves is what tells. A hang has taken long enough, if none does. */
static enum breaker_seen
what_it_means(const struct p11_token *t, enum p11_finding_code code)
{
    if (is_for_operator(code))
        return SEEN_REFUSED;
    if (code == P11_MODULE_HANGS && !is_any_serving(t, kd_clock_ms()))
        return SEEN_NO_HOST;
    return code == P11_MODULE_DIES && t->breaker.state == P11_CLOSED ? SEEN_HANG
                                                                     : SEEN_DOWN;
}

/* What it saw of the token was perhaps being written by who made a key: SoftHSM's is
 * blank for so long. Whoever comes in its place sees it whole. */
static bool
may_have_seen_half(const struct p11_token *t, const struct host *h,
                   enum p11_finding_code code)
{
    return t->made_at != 0 && h->linked_at < t->made_at + LOADS_MS &&
           code != P11_MODULE_HANGS && code != P11_MODULE_DIES &&
           code != P11_PIN_REFUSED && code != P11_PIN_UNRECORDED;
}

void
keeper_raise(struct p11_token *t, struct host *h)
{
    struct p11_finding why;
    bool is_first = t->breaker.state != P11_CLOSED;

    h->state = HOST_BUSY;
    pthread_mutex_unlock(&t->lock);
    enum p11_finding_code code = bring_up(t, h, &why);
    if (code == P11_FINE)
        code = bring_keys(t, h, is_first, &why);
    pthread_mutex_lock(&t->lock);
    if (h->is_stale) { /* sealed meanwhile, and perhaps opened again */
        host_drop(t, h, code == P11_MODULE_HANGS);
        return;
    }
    if (code == P11_FINE) {
        t->served_at = kd_clock_ms();
        t->was_up = true;
        token_see(t, SEEN_UP);
        host_give_back(t, h);
        /* Without keys nothing is left to be tried. */
        for (int i = 0; i < BREAKER_TRIALS && !has_trials(t); i++)
            token_see(t, SEEN_GOOD);
        pthread_cond_broadcast(&t->changed);
        return;
    }
    bool is_evidence = !may_have_seen_half(t, h, code);
    host_drop(t, h, code == P11_MODULE_HANGS);
    if (!is_evidence)
        return;
    note_finding(t, &why);
    token_see(t, what_it_means(t, code));
}

/* While it is away only a process that is younger than the last failure is tried: what
 * was loaded before may never find the token again. */
static bool
try_fresh(struct p11_token *t, int64_t now)
{
    struct breaker *b = &t->breaker;

    if ((b->state != P11_OPEN && b->state != P11_REFUSED) || now < b->next)
        return false;
    if (t->asked_at < b->next || now - t->asked_at > FRESH_AGAIN_MS) {
        hosts_drop_all(t);
        t->asked_at = now;
        t->out.start |= 1; /* the first of them */
        token_say(t);
        return true;
    }
    struct host *h = linked(t, HOST_LINKED);
    if (h == NULL || h->linked_at < t->asked_at)
        return false;
    keeper_raise(t, h);
    t->asked_at = 0;
    return true;
}

static bool
raise_hosts(struct p11_token *t)
{
    struct host *h = linked(t, HOST_LINKED);

    if (h == NULL || t->work != NULL)
        return false;
    if (t->breaker.state == P11_NEW) {
        look_only(t, h);
        return true;
    }
    if (!breaker_wants_hosts(&t->breaker) ||
        (t->breaker.state == P11_HALF && linked(t, HOST_IDLE) != NULL))
        return false;
    if (kd_clock_ms() - h->linked_at > STALE_MS)
        host_drop(t, h, false);
    else
        keeper_raise(t, h);
    return true;
}

/* Not what it is to be used for any more, or too long ago for what it said. */
static bool
drop_seen(struct p11_token *t, int64_t now)
{
    struct host *h = linked(t, HOST_SEEN);

    if (h == NULL ||
        (t->breaker.state == P11_NEW && (t->status.finding == P11_NOT_ADOPTED ||
                                         now - h->linked_at < BREAKER_REFUSED_MS)))
        return false;
    host_drop(t, h, false);
    return true;
}

/* --- keys of hosts that serve --- */

static struct host *
own_idle(struct p11_token *t, bool with_keys)
{
    for (size_t i = 0; i < P11_SESSIONS_MAX; i++) {
        struct host *h = &t->hosts[i];
        if (h->state == HOST_IDLE && (h->keys_serial == t->keys_serial) == with_keys) {
            h->state = HOST_BUSY;
            h->sent_at = kd_clock_ms();
            return h;
        }
    }
    return NULL;
}

/* The list has changed. */
static bool
bind_again(struct p11_token *t)
{
    struct p11_finding why;
    struct host *h = own_idle(t, false);

    if (h == NULL)
        return false;
    pthread_mutex_unlock(&t->lock);
    enum p11_finding_code code = bring_keys(t, h, false, &why);
    pthread_mutex_lock(&t->lock);
    if (code == P11_FINE) {
        host_give_back(t, h);
        pthread_cond_broadcast(&t->changed);
        return true;
    }
    if (code == P11_KEY_MISSING && h->linked_at < t->made_at) {
        host_drop(t, h, false); /* it is older than the key: another will see it */
        return true;
    }
    note_finding(t, &why);
    host_drop(t, h, true);
    token_see(t, SEEN_DOWN);
    return true;
}

/* Found, but wrong when it was tried or looked at: perhaps it is right by now. */
static bool
look_at_bad_keys(struct p11_token *t, int64_t now)
{
    bool any = false;

    if (t->breaker.state != P11_CLOSED || now < t->recheck_at)
        return false;
    for (size_t i = 0; i < t->n_keys; i++)
        any = any || (t->keys[i].is_known && t->keys[i].finding != P11_FINE);
    t->recheck_at = any ? now + KEY_AGAIN_MS : INT64_MAX;
    if (!any)
        return false;
    t->keys_serial++; /* all of them are bound and looked at again */
    return true;
}

/* --- trials --- */

/* A key that is not bound cannot be tried: that it fails would say nothing of the
 * token. It is looked at again by itself. */
static bool
is_asked(const struct pool_key *k)
{
    return k->is_asked && k->is_known && k->finding == P11_FINE;
}

/* Who is waited for first; else one after another. */
static struct pool_key *
choose_key(struct p11_token *t)
{
    for (size_t i = 0; i < t->n_keys; i++)
        if (is_asked(&t->keys[i]))
            return &t->keys[i];
    for (size_t i = 0; i < t->n_keys; i++) {
        struct pool_key *k = &t->keys[(t->trial_next + i) % t->n_keys];
        if (!k->is.is_probed || !k->is_known || k->finding != P11_FINE)
            continue;
        t->trial_next = (size_t)(k - t->keys) + 1;
        return k;
    }
    return NULL;
}

static void
note_trial(struct p11_token *t, struct host *h, struct pool_key *k, uint64_t serial,
           int64_t began, kd_err err, uint64_t rv)
{
    bool is_ours = serial == t->keys_serial;

    if (is_ours) {
        k->is_asked = false;
        *(err == KD_OK ? &k->good_at : &k->bad_at) = began;
    }
    if (err == KD_OK) {
        host_give_back(t, h);
    } else {
        t->status.finding = P11_PROBE_FAILED;
        t->status.rv = rv;
        if (err == KD_FAILED)
            token_event(t, P11_EVENT_FAULT, ++t->status.faults, 0);
        host_drop(t, h, err != KD_CLOSED);
        t->wants_trial = true; /* on another process */
    }
    pthread_cond_broadcast(&t->changed);
    /* That a process ended may have been anybody's doing; the next will tell. */
    token_see(t, err == KD_OK ? SEEN_GOOD : err == KD_CLOSED ? SEEN_HANG : SEEN_BAD);
}

int64_t
trial_every_ms(size_t n_keys, bool in_use)
{
    int64_t ms = in_use ? TRIAL_EVERY_MS : TRIAL_IDLE_MS;
    int64_t share = n_keys == 0 ? ms : TRIAL_ALL_MS / (int64_t)n_keys;

    if (share < TRIAL_MOST_MS)
        share = TRIAL_MOST_MS;
    return share < ms ? share : ms;
}

static bool
is_trial_due(struct p11_token *t, int64_t now)
{
    bool in_use = t->status.signed_ + t->status.derived != t->trial_served;
    bool asked = t->wants_trial || t->breaker.state == P11_HALF;

    if (t->breaker.state != P11_CLOSED && t->breaker.state != P11_HALF)
        return false;
    for (size_t i = 0; !asked && i < t->n_keys; i++)
        asked = is_asked(&t->keys[i]);
    return now - t->trial_at >=
           (asked ? TRIALS_APART_MS : trial_every_ms(t->n_keys, in_use));
}

static bool
try_keys(struct p11_token *t, int64_t now)
{
    struct pool_key *k;
    struct host *h;
    uint64_t rv;

    if (!is_trial_due(t, now) || (k = choose_key(t)) == NULL ||
        (h = own_idle(t, true)) == NULL)
        return false;
    uint64_t serial = t->keys_serial;
    uint8_t key[KD_KEY_PUBLIC_MAX];
    enum kd_key_alg alg = k->is.alg;
    size_t n = k->is.public_key.n;
    uint8_t number = (uint8_t)(k - t->keys);

    memcpy(key, k->public_key, n);
    t->wants_trial = false;
    t->trial_at = now;
    t->trial_served = t->status.signed_ + t->status.derived;
    int64_t until = now + trial_ms(t);
    h->longer = trial_patience(t, now);
    pthread_mutex_unlock(&t->lock);
    kd_err err = trial_key(h, number, alg, kd_slice(key, n), until, &rv);
    pthread_mutex_lock(&t->lock);
    h->longer = (struct patience){.until = 0};
    note_trial(t, h, k, serial, now, err, rv);
    return true;
}

static unsigned
count_idle(const struct p11_token *t)
{
    unsigned n = 0;

    for (size_t i = 0; i < P11_SESSIONS_MAX; i++)
        n +=
            t->hosts[i].state == HOST_IDLE && t->hosts[i].keys_serial == t->keys_serial;
    return n;
}

/* Once: how much it signs in one go. It takes long, and the keeper with it: only while
 * another host serves, and no sooner than the keys have settled. */
static bool
find_limit(struct p11_token *t, int64_t now)
{
    struct pool_key *k = NULL;
    struct host *h;
    uint8_t key[KD_KEY_PUBLIC_MAX];

    if (t->limit_known || t->breaker.state != P11_CLOSED || now < t->limit_at ||
        count_idle(t) < (t->conf.sessions > 1 ? 2U : 1U))
        return false;
    for (size_t i = 0; i < t->n_keys && k == NULL; i++)
        if (t->keys[i].is.alg == KD_ALG_ED25519 && t->keys[i].is_known &&
            t->keys[i].finding == P11_FINE)
            k = &t->keys[i];
    if (k == NULL || (h = own_idle(t, true)) == NULL)
        return false;
    uint8_t number = (uint8_t)(k - t->keys);
    struct kd_slice public_key = kd_slice(key, k->is.public_key.n);
    memcpy(key, k->public_key, public_key.n);
    pthread_mutex_unlock(&t->lock);
    size_t most;
    bool known = trial_limit(h, number, public_key, t->conf.timeout_ms, &most);
    pthread_mutex_lock(&t->lock);
    t->limit_known = known;
    t->limit_at = kd_clock_ms() + LIMIT_AGAIN_MS;
    if (known) {
        t->status.max_message = most;
        t->served_at = kd_clock_ms(); /* all this time, if not clients */
    }
    host_drop(t, h, true); /* it took in what it never will again, or hangs */
    return true;
}

/* --- hosts that are lost --- */

/* The supervisor waits longer and longer for what keeps ending. */
static void
ask_for_missing(struct p11_token *t, int64_t now)
{
    if (!breaker_wants_hosts(&t->breaker) || now < t->start_at)
        return;
    for (unsigned i = 0; i < t->conf.sessions; i++) {
        if (t->hosts[i].state != HOST_NONE)
            continue;
        if (t->start_at != 0)
            t->out.start |= 1u << i;
        t->start_at = now + MISSING_MS;
    }
    if (t->out.start != 0)
        token_say(t);
}

/* Without it a right PIN would count as tried after the next start. */
static void
store_again(struct p11_token *t, int64_t now)
{
    if (t->tags_again_at == 0 || now < t->tags_again_at || t->breaker.state == P11_IDLE)
        return;
    t->tags_again_at = 0;
    t->out.tags = true;
    token_say(t);
}

/* Without any process that serves, for a verdict that comes within a second. Where
 * there is a doubt already it need not wait for as long as requests do. */
static int64_t
patience_ms(const struct p11_token *t)
{
    int64_t most = host_wait_ms(t);

    return t->breaker.strikes == 0           ? most
           : t->conf.timeout_ms > DOUBTED_MS ? most
                                             : DOUBTED_MS;
}

static bool
watch(struct p11_token *t, int64_t now)
{
    bool is_stuck = false;

    store_again(t, now);

    for (size_t i = 0; i < P11_SESSIONS_MAX; i++)
        is_stuck =
            is_stuck || (t->hosts[i].state == HOST_BUSY &&
                         now - t->hosts[i].sent_at > STUCK_MS + t->hosts[i].size_ms);
    if (is_stuck)
        t->wants_trial = true;
    ask_for_missing(t, now);
    if (is_any_serving(t, now))
        t->served_at = now;
    if (t->breaker.state != P11_CLOSED || now - t->served_at < patience_ms(t))
        return false;
    token_see(t, SEEN_NO_HOST);
    return true;
}

/* --- the thread --- */

static bool
do_work(struct p11_token *t)
{
    struct work *w = t->work;

    if (w == NULL || w->is_done)
        return false;
    w->is_begun = true;
    keeper_work(t, w);
    w->is_done = true;
    t->work = NULL;
    if (w->is_left)
        work_free(w);
    pthread_cond_broadcast(&t->changed);
    return true;
}

static bool
turn(struct p11_token *t)
{
    int64_t now = kd_clock_ms();

    return do_work(t) || drop_seen(t, now) || watch(t, now) || try_fresh(t, now) ||
           raise_hosts(t) || bind_again(t) || look_at_bad_keys(t, now) ||
           try_keys(t, now) || find_limit(t, now);
}

/* Often while anything is in work or away, else seldom. */
static int64_t
next_turn(const struct p11_token *t)
{
    enum { SOON_MS = 50, SELDOM_MS = 1000 };
    int64_t now = kd_clock_ms(), next = now + SELDOM_MS;
    bool soon = t->wants_trial || t->breaker.state == P11_HALF ||
                t->breaker.state == P11_OPEN || t->breaker.state == P11_STARTING;

    for (size_t i = 0; i < t->conf.sessions; i++)
        soon = soon || t->hosts[i].state == HOST_BUSY || t->hosts[i].state == HOST_NONE;
    for (size_t i = 0; !soon && i < t->n_keys; i++)
        soon = is_asked(&t->keys[i]);
    if (soon)
        next = now + SOON_MS;
    return t->breaker.next < next ? t->breaker.next : next;
}

void *
keeper_main(void *token)
{
    struct p11_token *t = token;

    pthread_mutex_lock(&t->lock);
    for (;;)
        if (!turn(t))
            kd_ignore(token_wait(t, &t->wake, next_turn(t)));
    return NULL;
}
