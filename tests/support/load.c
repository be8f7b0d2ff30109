#include "load.h"

#include "letter.h"
#include "people.h"

#include <keyd/base/clock.h>

#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    AGAIN_MS = 10,
    RECONNECT_MS = 5,
    CONNECT_MS = 5000,
    THREADS = 2,
    ISSUE_A_SECOND = 4000
};

/* One user, and the requests of its chain. */
struct chain {
    uint64_t person;
    uint32_t n_steps, at;
    bool has_signet;
    uint8_t core_fp[64];
    uint8_t *signet; /* the one issued last, if it will be looked up; owned */
    size_t signet_n;
    struct letter *letter; /* instead of steps; owned */
    struct chain *next;
    struct {
        uint8_t octets[PERSON_SSR_MAX];
        uint8_t n;
    } step[]; /* n_steps */
};

/* One request from its first attempt to its end. */
struct flight {
    struct flight *next;
    struct chain *chain;
    struct load *load;
    struct conn *conn;
    uint8_t key[KEYD_KEY_SIZE];
    int64_t first_ns, again_ms;
};

struct conn {
    keyd_client *client;
    unsigned in_flight;
    bool dirty; /* something was submitted */
    int64_t reconnect_ms;
};

struct load {
    const struct load_options *o;
    enum load_mix mix; /* of this phase */
    struct load_result *result;

    struct chain **made; /* prepared; owned */
    uint64_t n_made, next_made, next_person;
    struct chain *ready, *ready_last; /* their last step is acknowledged */
    struct chain **known;             /* population; owned */
    uint64_t n_known;

    struct flight *flights, *idle;
    struct flight *again, *again_last; /* by time */
    struct conn *conns;
    struct pollfd *polled;
    uint64_t chance; /* state of next_random */
    struct letter_org org;

    uint64_t n_started, n_ended, count;
    int64_t begin_ns, end_ns, last_ok_ns;
    uint32_t *micros;
    uint64_t n_micros, cap_micros;
};

/* --- making requests ----------------------------------------------------------------
 */

static void
chain_free(struct chain *c)
{
    if (c != NULL) {
        free(c->signet);
        free(c->letter);
    }
    free(c);
}

static struct chain *
chain_new(const struct load_options *o, uint64_t person, uint32_t n_steps)
{
    struct chain *c = calloc(1, sizeof *c + n_steps * sizeof c->step[0]);
    struct person_keys own, prev;
    struct kd_buf b;

    if (c == NULL)
        return NULL;
    c->person = person;
    c->n_steps = n_steps;
    kd_buf_init(&b, sizeof c->step[0].octets);
    for (uint32_t i = 0; i < n_steps; i++) {
        person_keys(o->seed, person, i, &own);
        kd_buf_reset(&b);
        if (person_ssr(&own, i == 0 ? NULL : &prev, &b) != KD_OK) {
            free(c);
            c = NULL;
            break;
        }
        memcpy(c->step[i].octets, b.p, b.n);
        c->step[i].n = (uint8_t)b.n;
        prev = own;
    }
    kd_buf_free(&b);
    return c;
}

static bool
is_mail(const struct load *l)
{
    return l->o->mix == LOAD_SIGN || l->o->mix == LOAD_OPEN;
}

/* NULL unless messages are opened. */
static const struct letter_org *
org_of(const struct load *l)
{
    return l->o->mix == LOAD_OPEN ? &l->org : NULL;
}

static struct chain *
make_one(const struct load *l, uint64_t person, uint32_t n_steps)
{
    if (!is_mail(l))
        return chain_new(l->o, person, n_steps);
    struct chain *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->person = person;
    c->letter = letter_new(person, l->o->content, org_of(l));
    if (c->letter != NULL)
        return c;
    free(c);
    return NULL;
}

struct maker {
    pthread_t thread;
    struct load *l;
    uint64_t first, step;
    uint32_t n_steps;
};

static void *
make_some(void *arg)
{
    struct maker *m = arg;

    for (uint64_t i = m->first; i < m->l->n_made; i += m->step)
        m->l->made[i] = make_one(m->l, i, m->n_steps);
    return NULL;
}

static int
prepare(struct load *l, uint64_t n, uint32_t n_steps)
{
    struct maker makers[THREADS];
    unsigned n_threads = 0;

    l->made = calloc(n + 1, sizeof *l->made);
    if (l->made == NULL)
        return -1;
    l->n_made = l->next_person = n;
    for (; n_threads < THREADS; n_threads++) {
        struct maker *m = &makers[n_threads];
        *m = (struct maker){
            .l = l, .first = n_threads, .step = THREADS, .n_steps = n_steps};
        if (pthread_create(&m->thread, NULL, make_some, m) != 0)
            break;
    }
    for (unsigned i = 0; i < n_threads; i++)
        pthread_join(makers[i].thread, NULL);
    for (uint64_t i = 0; i < n; i++)
        if (l->made[i] == NULL)
            return -1;
    return 0;
}

/* --- what comes next ----------------------------------------------------------------
 */

static void
chain_is_ready(struct load *l, struct chain *c)
{
    c->next = NULL;
    if (l->ready == NULL)
        l->ready = c;
    else
        l->ready_last->next = c;
    l->ready_last = c;
}

static bool
is_lookup(const struct load *l)
{
    return l->mix == LOAD_LOOKUP || l->mix == LOAD_VERIFY;
}

/* One of those there are is asked about again and again. */
static bool
has_population(const struct load *l)
{
    return is_lookup(l) || (is_mail(l) && !l->o->lazy);
}

static struct chain *
take_issue(struct load *l)
{
    struct chain *c = l->ready;

    if (c != NULL) {
        l->ready = c->next;
        return c;
    }
    if (l->next_made < l->n_made) {
        c = l->made[l->next_made];
        l->made[l->next_made++] = NULL;
        return c;
    }
    if (l->o->lazy)
        return make_one(l, l->next_person++, l->mix == LOAD_ROTATE ? l->o->steps : 1);
    return NULL;
}

/* Good enough to choose by, and without a system call for each request (splitmix64). */
static uint64_t
next_random(struct load *l)
{
    uint64_t z = l->chance += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static struct chain *
take_known(struct load *l)
{
    return l->known[next_random(l) % l->n_known];
}

static bool
is_stopped(const struct load *l)
{
    return l->o->stop != NULL && *l->o->stop != 0;
}

/* No new request begins any more. */
static bool
is_finished(const struct load *l, int64_t now_ns)
{
    return is_stopped(l) || now_ns >= l->end_ns ||
           (l->count != 0 && l->n_started >= l->count);
}

static bool
may_start(const struct load *l, int64_t now_ns)
{
    double at = (double)(now_ns - l->begin_ns) / 1e9;

    return !is_finished(l, now_ns) &&
           (l->o->rate == 0 || (double)l->n_started < at * l->o->rate + 1);
}

/* A request to be submitted now: one to be tried again, or a new one. */
static struct flight *
next_flight(struct load *l, int64_t now_ns)
{
    struct flight *f = l->again;

    if (f != NULL && f->again_ms <= now_ns / 1000000) {
        l->again = f->next;
        return f;
    }
    if ((f = l->idle) == NULL || !may_start(l, now_ns))
        return NULL;
    struct chain *c = has_population(l) ? take_known(l) : take_issue(l);
    if (c == NULL)
        return NULL;
    l->idle = f->next;
    f->chain = c;
    f->first_ns = now_ns;
    if (!is_lookup(l) && !is_mail(l))
        randombytes_buf(f->key, sizeof f->key);
    l->n_started++;
    return f;
}

static void
try_again(struct load *l, struct flight *f)
{
    f->again_ms = kd_clock_ms() + AGAIN_MS;
    f->next = NULL;
    if (l->again == NULL)
        l->again = f;
    else
        l->again_last->next = f;
    l->again_last = f;
    l->result->n_retried++;
}

/* --- answers ------------------------------------------------------------------------
 */

static void
keep_micros(struct load *l, int64_t ns)
{
    if (l->n_micros == l->cap_micros) {
        uint64_t cap = l->cap_micros == 0 ? 65536 : 2 * l->cap_micros;
        uint32_t *more = realloc(l->micros, cap * sizeof *more);
        if (more == NULL)
            return;
        l->micros = more;
        l->cap_micros = cap;
    }
    l->micros[l->n_micros++] =
        ns / 1000 > UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 1000);
}

static int
address_of(const struct load *l, const struct chain *c, char out[300])
{
    return snprintf(out, 300, "%s-%llu@%s", l->o->seed, (unsigned long long)c->person,
                    l->o->domain);
}

/* To be compared with what look-ups answer: octets, because a hash of each answer would
 * be a good part of what a request costs here. */
static void
keep_signet(const struct load *l, struct chain *c, const struct keyd_octets *signet)
{
    if (l->known == NULL)
        return;
    free(c->signet);
    c->signet_n = 0;
    if ((c->signet = malloc(signet->n)) == NULL)
        return; /* every look-up of it will be wrong */
    memcpy(c->signet, signet->p, signet->n);
    c->signet_n = signet->n;
}

/* Acknowledged: from here on it must never be lost. */
static void
on_issued(struct load *l, struct chain *c, const struct keyd_answer *a)
{
    char address[300], hex[65];
    uint8_t sha[32];

    keep_signet(l, c, &a->out.signet.signet);
    if (a->out.signet.core_fp.n == sizeof c->core_fp)
        memcpy(c->core_fp, a->out.signet.core_fp.p, sizeof c->core_fp);
    c->has_signet = true;
    if (a->out.signet.replayed)
        l->result->n_replayed++;
    if (l->mix != LOAD_LEARN && a->out.signet.seq != c->at + 1)
        l->result->n_wrong++;
    if (l->o->acks == NULL)
        return;
    address_of(l, c, address);
    crypto_hash_sha256(sha, a->out.signet.signet.p, a->out.signet.signet.n);
    sodium_bin2hex(hex, sizeof hex, sha, sizeof sha);
    fprintf(l->o->acks, "%s %s\n", address, hex);
    fflush(l->o->acks);
}

/* Whoever has it has it: a record of it must be there from here on. */
static void
on_mail(struct load *l, const struct letter *letter, const struct keyd_answer *a)
{
    char hex[65];

    l->result->n_wrong += !letter_is_right(letter, a);
    if (l->o->acks == NULL)
        return;
    sodium_bin2hex(hex, sizeof hex, letter->record, sizeof letter->record);
    fprintf(l->o->acks, "! %s\n", hex);
    fflush(l->o->acks);
}

static bool
is_right(const struct load *l, const struct chain *c, const struct keyd_answer *a)
{
    const struct keyd_octets *signet = &a->out.signet.signet;

    if (l->mix == LOAD_VERIFY)
        return a->out.verify.verdict == KEYD_CURRENT;
    return a->out.signet.current && c->signet_n != 0 && signet->n == c->signet_n &&
           memcmp(signet->p, c->signet, c->signet_n) == 0;
}

static void
chain_done(struct load *l, struct chain *c, bool ok)
{
    if (has_population(l))
        return;
    if (ok && ++c->at < c->n_steps)
        chain_is_ready(l, c);
    else if (ok && l->known != NULL)
        l->known[l->n_known++] = c;
    else
        chain_free(c);
}

static void
flight_done(struct load *l, struct flight *f, bool ok)
{
    chain_done(l, f->chain, ok);
    l->n_ended++;
    f->next = l->idle;
    l->idle = f;
}

/* Whether the request has had its time; less of it once the run was stopped. */
static bool
is_too_old(const struct load *l, const struct flight *f, int64_t now_ns)
{
    unsigned seconds = is_stopped(l) && l->o->give_up > 5 ? 5 : l->o->give_up;

    return now_ns - f->first_ns >= (int64_t)seconds * 1000000000;
}

/* What waits to be tried again while nobody answers. */
static void
give_up_old(struct load *l, int64_t now_ns)
{
    struct flight *keep = NULL, *last = NULL;

    for (struct flight *f = l->again, *next; f != NULL; f = next) {
        next = f->next;
        f->next = NULL;
        if (is_too_old(l, f, now_ns)) {
            l->result->n_gave_up++;
            flight_done(l, f, false);
        } else if (keep == NULL) {
            keep = last = f;
        } else {
            last = last->next = f;
        }
    }
    l->again = keep;
    l->again_last = last;
}

static bool
is_worth_retrying(enum keyd_status s)
{
    return s == KEYD_UNAVAILABLE || s == KEYD_UNKNOWN_OUTCOME || s == KEYD_BUSY ||
           s == KEYD_SEALED || s == KEYD_DEADLINE;
}

static void
on_answer(void *cookie, struct keyd_answer *a)
{
    struct flight *f = cookie;
    struct load *l = f->load;
    int64_t now = kd_clock_ns();
    bool ok = a->status == KEYD_OK;

    f->conn->in_flight--;
    if (!ok && is_worth_retrying(a->status) && !is_too_old(l, f, now)) {
        l->result->retried[a->status]++;
        try_again(l, f);
        keyd_client_answer_free(a);
        return;
    }
    if (ok) {
        l->result->n_ok++;
        l->last_ok_ns = now;
        keep_micros(l, now - f->first_ns);
        if (is_mail(l))
            on_mail(l, f->chain->letter, a);
        else if (!is_lookup(l))
            on_issued(l, f->chain, a);
        else if (!is_right(l, f->chain, a))
            l->result->n_wrong++;
    } else if (is_worth_retrying(a->status)) {
        l->result->n_gave_up++;
    } else {
        unsigned status = a->status;
        if (status >= LOAD_STATUSES)
            status = 0;
        if (++l->result->failed[status] == 1)
            fprintf(stderr, "keyd-load: %s (%s)\n", keyd_client_status_text(a->status),
                    a->detail);
    }
    flight_done(l, f, ok);
    keyd_client_answer_free(a);
}

/* --- connections --------------------------------------------------------------------
 */

static enum keyd_status
submit(struct load *l, struct conn *conn, struct flight *f)
{
    char address[300];
    struct chain *c = f->chain;
    struct keyd_request q = {0};
    struct keyd_octets name = {(const uint8_t *)address,
                               (size_t)address_of(l, c, address)};

    if (is_mail(l)) {
        q = letter_request(c->letter, org_of(l));
    } else if (l->mix == LOAD_LOOKUP || l->mix == LOAD_LEARN) {
        q.op = KEYD_OP_LOOKUP_SIGNET;
        q.in.lookup_signet.name = name;
    } else if (l->mix == LOAD_VERIFY) {
        q.op = KEYD_OP_VERIFY_CURRENT;
        q.in.verify_current.name = name;
        q.in.verify_current.fingerprint =
            (struct keyd_octets){c->core_fp, sizeof c->core_fp};
    } else {
        q.op = KEYD_OP_ISSUE_USER_SIGNET;
        q.idempotency_key = f->key;
        q.in.issue_user_signet.address = name;
        q.in.issue_user_signet.ssr =
            (struct keyd_octets){c->step[c->at].octets, c->step[c->at].n};
        q.in.issue_user_signet.account_mode = KEYD_ACCOUNT_TRUSTFUL;
    }
    f->conn = conn;
    return keyd_client_submit(conn->client, &q, on_answer, f, NULL);
}

static void
feed(struct load *l, struct conn *conn, int64_t now_ns)
{
    while (conn->in_flight < l->o->in_flight) {
        struct flight *f = next_flight(l, now_ns);
        if (f == NULL)
            return;
        if (submit(l, conn, f) != KEYD_OK) {
            try_again(l, f);
            return;
        }
        conn->in_flight++;
        conn->dirty = true;
    }
}

static void
keep_connected(struct load *l, struct conn *conn, int64_t now_ms)
{
    if (l->o->endpoint != NULL || keyd_client_fd(conn->client) >= 0 ||
        now_ms < conn->reconnect_ms)
        return;
    conn->reconnect_ms = now_ms + RECONNECT_MS;
    if (keyd_client_start(conn->client, l->o->socket) == KEYD_OK)
        l->result->n_reconnected++;
}

/* True if there are requests to make, beside those to be tried again. */
static bool
has_more(const struct load *l)
{
    return has_population(l) || l->o->lazy || l->ready != NULL ||
           l->next_made < l->n_made;
}

/* An answer that came while its own request was sent leaves room for the next. */
static bool
can_go_on(const struct load *l)
{
    if (!may_start(l, kd_clock_ns()) || !has_more(l))
        return false;
    for (unsigned i = 0; i < l->o->connections; i++)
        if (l->conns[i].in_flight < l->o->in_flight)
            return true;
    return false;
}

static void
wait_for_answers(struct load *l)
{
    int timeout = 100;

    if (can_go_on(l))
        timeout = 0;
    else if (l->again != NULL || l->o->rate != 0)
        timeout = 1;
    for (unsigned i = 0; i < l->o->connections; i++) {
        keyd_client *c = l->conns[i].client;
        l->polled[i] = (struct pollfd){keyd_client_fd(c), keyd_client_events(c), 0};
        if (keyd_client_fd(c) < 0)
            timeout = RECONNECT_MS;
    }
    kd_ignore(poll(l->polled, l->o->connections, timeout)); /* process finds out */
}

static void
turn(struct load *l)
{
    int64_t now_ns = kd_clock_ns();

    for (unsigned i = 0; i < l->o->connections; i++) {
        struct conn *conn = &l->conns[i];
        keep_connected(l, conn, now_ns / 1000000);
        if (keyd_client_fd(conn->client) >= 0)
            feed(l, conn, now_ns);
        if (conn->dirty)
            kd_ignore(keyd_client_process(conn->client, 0)); /* its calls end there */
        conn->dirty = false;
    }
    give_up_old(l, now_ns);
    wait_for_answers(l);
    for (unsigned i = 0; i < l->o->connections; i++) {
        keyd_client *c = l->conns[i].client;
        if (l->polled[i].revents != 0 || keyd_client_timeout_ms(c) == 0)
            kd_ignore(keyd_client_process(c, 0)); /* the same */
    }
}

static bool
is_over(struct load *l)
{
    if (l->n_ended < l->n_started)
        return false;
    if (is_finished(l, kd_clock_ns()))
        return true;
    if (has_more(l))
        return false;
    l->result->ran_out = true;
    return true;
}

/* One phase: at most count requests (0: any number) and seconds (0: any time). */
static void
run_phase(struct load *l, enum load_mix mix, uint64_t count, double seconds)
{
    l->mix = mix;
    l->count = count;
    l->n_started = l->n_ended = 0;
    l->n_micros = 0;
    l->begin_ns = l->last_ok_ns = kd_clock_ns();
    l->end_ns = seconds > 0 ? l->begin_ns + (int64_t)(seconds * 1e9) : INT64_MAX;
    while (!is_over(l))
        turn(l);
}

/* --- start and end ------------------------------------------------------------------
 */

/* Waits until the endpoint is up, or has failed once. */
static enum keyd_status
connect_endpoint(const struct load_options *o, keyd_client *c)
{
    struct keyd_endpoint e = {.address = o->endpoint,
                              .tls =
                                  strncmp(o->endpoint, "tls:", 4) == 0 ? o->tls : NULL};
    struct keyd_endpoint_info info = {.state = KEYD_ENDPOINT_DOWN};
    int64_t until = kd_clock_ms() + CONNECT_MS;
    enum keyd_status s = keyd_client_add_endpoint(c, &e);

    while (s == KEYD_OK && info.state != KEYD_ENDPOINT_UP) {
        if (kd_clock_ms() >= until)
            return KEYD_DEADLINE;
        if ((s = keyd_client_process(c, 100)) != KEYD_OK ||
            (s = keyd_client_endpoint_info(c, 1, &info)) != KEYD_OK)
            return s;
        if (info.n_lost != 0) {
            fprintf(stderr, "keyd-load: %s\n", info.detail);
            return info.why;
        }
    }
    return s;
}

static enum keyd_status
connect_one(const struct load_options *o, keyd_client *c)
{
    return o->endpoint != NULL ? connect_endpoint(o, c)
                               : keyd_client_connect(c, o->socket, CONNECT_MS);
}

static int
connect_all(struct load *l)
{
    const struct load_options *o = l->o;
    size_t n = (size_t)o->connections * o->in_flight;

    l->conns = calloc(o->connections, sizeof *l->conns);
    l->polled = calloc(o->connections, sizeof *l->polled);
    l->flights = calloc(n, sizeof *l->flights);
    if (l->conns == NULL || l->polled == NULL || l->flights == NULL)
        return -1;
    for (size_t i = 0; i < n; i++) {
        l->flights[i].load = l;
        l->flights[i].next = l->idle;
        l->idle = &l->flights[i];
    }
    for (unsigned i = 0; i < o->connections; i++) {
        keyd_client *c = l->conns[i].client = keyd_client_new();
        if (c == NULL)
            return -1;
        enum keyd_status s = connect_one(o, c);
        if (s != KEYD_OK) {
            fprintf(stderr, "keyd-load: %s: %s %s\n",
                    o->endpoint != NULL ? o->endpoint : o->socket,
                    keyd_client_status_text(s), keyd_client_detail(c));
            return -1;
        }
    }
    return 0;
}

static int
by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static double
cpu_seconds(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
summarise(struct load *l)
{
    struct load_result *r = l->result;

    r->seconds = (double)(l->last_ok_ns - l->begin_ns) / 1e9;
    if (l->n_micros == 0)
        return;
    qsort(l->micros, l->n_micros, sizeof *l->micros, by_value);
    r->p50_us = l->micros[l->n_micros / 2];
    r->p99_us = l->micros[l->n_micros - 1 - l->n_micros / 100];
    r->max_us = l->micros[l->n_micros - 1];
}

static uint64_t
chosen_preparation(const struct load_options *o)
{
    uint64_t steps = o->mix == LOAD_ROTATE ? o->steps : 1;

    if (o->mix == LOAD_LOOKUP || o->mix == LOAD_VERIFY ||
        (!o->lazy && (o->mix == LOAD_SIGN || o->mix == LOAD_OPEN)))
        return o->population;
    uint64_t n = o->prepare != 0 ? o->prepare
                 : o->count != 0 ? o->count
                 : o->lazy       ? 0
                                 : (uint64_t)(o->seconds * ISSUE_A_SECOND);
    return (n + steps - 1) / steps;
}

static void
clear(struct load *l)
{
    for (uint64_t i = 0; l->made != NULL && i < l->n_made; i++)
        chain_free(l->made[i]);
    for (uint64_t i = 0; i < l->n_known; i++)
        chain_free(l->known[i]);
    while (l->ready != NULL) {
        struct chain *c = l->ready;
        l->ready = c->next;
        chain_free(c);
    }
    for (unsigned i = 0; l->conns != NULL && i < l->o->connections; i++)
        keyd_client_free(l->conns[i].client);
    free(l->made);
    free(l->known);
    free(l->conns);
    free(l->polled);
    free(l->flights);
    free(l->micros);
}

/* Messages to be opened are from and to the organization that is there. */
static bool
meet_organization(struct load *l)
{
    int64_t until = kd_clock_ms() + CONNECT_MS;
    bool good = l->mix != LOAD_OPEN;

    /* A daemon whose roles are killed is not always there at once. */
    while (!good && kd_clock_ms() < until) {
        keyd_client *c = keyd_client_new();
        if (c == NULL)
            return false;
        good = connect_one(l->o, c) == KEYD_OK && letter_org_get(c, &l->org);
        keyd_client_free(c);
        if (!good)
            kd_ignore(poll(NULL, 0, RECONNECT_MS)); /* and again */
    }
    return good;
}

/* What was made is the population. */
static void
know_all(struct load *l)
{
    l->known = l->made;
    l->n_known = l->n_made;
    l->made = NULL;
    l->n_made = 0;
}

int
load_run(const struct load_options *o, struct load_result *result)
{
    struct load l = {.o = o, .mix = o->mix, .result = result};
    bool looks_up = is_lookup(&l);
    uint32_t steps = o->mix == LOAD_ROTATE ? o->steps : looks_up && o->known ? 0 : 1;
    int rc = -1;

    *result = (struct load_result){0};
    randombytes_buf(&l.chance, sizeof l.chance);
    if (sodium_init() < 0 || !meet_organization(&l) ||
        prepare(&l, chosen_preparation(o), steps) != 0 || connect_all(&l) != 0)
        goto out;
    if (looks_up) {
        if ((l.known = calloc(o->population, sizeof(struct chain *))) == NULL)
            goto out;
        run_phase(&l, o->known ? LOAD_LEARN : LOAD_ISSUE, o->population, 0);
        if (l.n_known == 0) {
            fputs("keyd-load: no population\n", stderr);
            goto out;
        }
        *result = (struct load_result){0};
    }
    if (is_mail(&l) && has_population(&l))
        know_all(&l);
    if (o->say_begin)
        fputs("begin\n", stderr);
    double cpu = cpu_seconds();
    run_phase(&l, o->mix, o->count, o->seconds);
    result->cpu_seconds = cpu_seconds() - cpu;
    summarise(&l);
    rc = 0;
out:
    clear(&l);
    return rc;
}
