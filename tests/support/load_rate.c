#include "load_rate.h"

#include "people.h"

#include <keyd/base/clock.h>
#include <sodium.h>
#include <stdlib.h>

enum { LATE_MAX = 4000 }; /* requests submitted and not answered: the rest waits */

struct micros {
    uint32_t *p;
    size_t n, cap;
};

struct run {
    const struct load_rate_options *o;
    struct load_rate_result *result;
    keyd_client *client;
    uint64_t n_submitted, n_issues, n_known;
    int64_t begin_ns, last_ok_ns;
    struct micros look_ups, issues;
};

/* One request, from when it was due. */
struct shot {
    struct run *run;
    int64_t due_ns;
    bool issues;
    char address[300];
};

static bool
keep(struct micros *m, int64_t ns)
{
    if (m->n == m->cap) {
        size_t cap = m->cap == 0 ? 4096 : 2 * m->cap;
        uint32_t *p = reallocarray(m->p, cap, sizeof *p);
        if (p == NULL)
            return false;
        m->p = p;
        m->cap = cap;
    }
    int64_t us = ns / 1000;
    m->p[m->n++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    return true;
}

/* --- answers --- */

static void
note_issued(struct run *r, const struct shot *shot, const struct keyd_answer *a)
{
    uint8_t sha[32];
    char hex[65];

    r->n_known++;
    if (r->o->acks == NULL)
        return;
    crypto_hash_sha256(sha, a->out.signet.signet.p, a->out.signet.signet.n);
    sodium_bin2hex(hex, sizeof hex, sha, sizeof sha);
    fprintf(r->o->acks, "%s %s %u\n", shot->address, hex, a->endpoint);
    fflush(r->o->acks);
}

static void
note_ok(struct run *r, const struct shot *shot, const struct keyd_answer *a,
        int64_t now_ns)
{
    struct load_rate_kind *kind =
        shot->issues ? &r->result->issues : &r->result->look_ups;
    int64_t gap_ms = (now_ns - r->last_ok_ns) / 1000000;

    kind->n_ok++;
    if (gap_ms > r->result->longest_gap_ms)
        r->result->longest_gap_ms = (uint32_t)gap_ms;
    r->last_ok_ns = now_ns;
    if (!keep(shot->issues ? &r->issues : &r->look_ups, now_ns - shot->due_ns))
        fputs("keyd-load: out of memory for times\n", stderr);
    if (a->out.signet.signet.n == 0 || (!shot->issues && !a->out.signet.current))
        kind->n_wrong++;
    if (shot->issues)
        note_issued(r, shot, a);
}

static void
note_failed(struct run *r, const struct shot *shot, enum keyd_status status,
            const char *detail)
{
    struct load_rate_kind *kind =
        shot->issues ? &r->result->issues : &r->result->look_ups;

    kind->n_failed++;
    if (r->result->failed[(unsigned)status % LOAD_RATE_STATUSES]++ < 3)
        fprintf(stderr, "keyd-load: %s %s: %s (%s) after %.1f ms\n",
                shot->issues ? "issuing" : "looking up", shot->address,
                keyd_client_status_text(status), detail,
                (double)(kd_clock_ns() - shot->due_ns) / 1e6);
}

static void
on_answer(void *cookie, struct keyd_answer *a)
{
    struct shot *shot = cookie;
    struct run *r = shot->run;
    struct load_rate_kind *kind =
        shot->issues ? &r->result->issues : &r->result->look_ups;

    if (a->attempts > 1)
        kind->n_repeated++;
    if (a->status == KEYD_OK)
        note_ok(r, shot, a, kd_clock_ns());
    else
        note_failed(r, shot, a->status, a->detail);
    keyd_client_answer_free(a);
    free(shot);
}

/* --- requests --- */

static enum keyd_status
submit_issue(struct run *r, struct shot *shot)
{
    struct keyd_request q = {.op = KEYD_OP_ISSUE_USER_SIGNET,
                             .deadline_ms = r->o->deadline_ms};
    struct person_keys keys;
    struct kd_buf ssr;
    enum keyd_status status = KEYD_NOMEM;

    snprintf(shot->address, sizeof shot->address, "%s-%llu@%s", r->o->seed,
             (unsigned long long)r->n_issues, r->o->domain);
    kd_buf_init(&ssr, PERSON_SSR_MAX);
    person_keys(r->o->seed, r->n_issues++, 0, &keys);
    if (person_ssr(&keys, NULL, &ssr) == KD_OK) {
        q.in.issue_user_signet.address = KEYD_STR(shot->address);
        q.in.issue_user_signet.ssr = (struct keyd_octets){ssr.p, ssr.n};
        q.in.issue_user_signet.account_mode = KEYD_ACCOUNT_TRUSTFUL;
        status = keyd_client_submit(r->client, &q, on_answer, shot, NULL);
    }
    kd_buf_free(&ssr);
    return status;
}

static enum keyd_status
submit_look_up(struct run *r, struct shot *shot)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET,
                             .deadline_ms = r->o->deadline_ms};

    /* Answers come in about the order of the requests: those long ago are known. */
    if (r->o->look_up_issued && r->n_known > 100)
        snprintf(shot->address, sizeof shot->address, "%s-%u@%s", r->o->seed,
                 randombytes_uniform((uint32_t)(r->n_known - 100)), r->o->domain);
    else
        snprintf(shot->address, sizeof shot->address, "%s", r->o->domain);
    q.in.lookup_signet.name = KEYD_STR(shot->address);
    return keyd_client_submit(r->client, &q, on_answer, shot, NULL);
}

static bool
fire(struct run *r, int64_t due_ns)
{
    struct shot *shot = calloc(1, sizeof *shot);

    if (shot == NULL)
        return false;
    /* Spread evenly, whatever the share. */
    uint64_t n = r->n_submitted++;
    shot->run = r;
    shot->due_ns = due_ns;
    shot->issues = n * r->o->issue / 100 != (n + 1) * r->o->issue / 100;
    enum keyd_status status =
        shot->issues ? submit_issue(r, shot) : submit_look_up(r, shot);
    if (status != KEYD_OK) {
        note_failed(r, shot, status, keyd_client_detail(r->client));
        free(shot);
    }
    return true;
}

static int64_t
due_of(const struct run *r, uint64_t n)
{
    return r->begin_ns + (int64_t)((double)n * 1e9 / r->o->rate);
}

static bool
is_over(const struct run *r, int64_t now_ns)
{
    return (r->o->stop != NULL && *r->o->stop != 0) ||
           (double)(now_ns - r->begin_ns) >= r->o->seconds * 1e9;
}

static void
shoot(struct run *r)
{
    int64_t now = kd_clock_ns();

    while (!is_over(r, now)) {
        while (due_of(r, r->n_submitted) <= now &&
               keyd_client_pending(r->client) < LATE_MAX)
            if (!fire(r, due_of(r, r->n_submitted)))
                return;
        int64_t wait_ms = (due_of(r, r->n_submitted) - now) / 1000000;
        kd_ignore(keyd_client_process(r->client, wait_ms < 1 ? 1 : (int)wait_ms));
        now = kd_clock_ns();
    }
}

/* --- start and end --- */

static int
by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void
summarise(struct load_rate_kind *kind, const struct micros *m)
{
    if (m->n == 0)
        return;
    qsort(m->p, m->n, sizeof *m->p, by_value);
    kind->p50_us = m->p[m->n / 2];
    kind->p90_us = m->p[m->n - 1 - m->n / 10];
    kind->p99_us = m->p[m->n - 1 - m->n / 100];
    kind->p999_us = m->p[m->n - 1 - m->n / 1000];
    kind->max_us = m->p[m->n - 1];
}

/* One look-up, so that the clock starts when somebody is there. */
static int
connect_first(struct run *r)
{
    struct keyd_answer *a = NULL;
    enum keyd_status status =
        keyd_client_add_endpoints(r->client, r->o->endpoints, r->o->tls);

    if (status == KEYD_OK)
        status =
            keyd_client_lookup_signet(r->client, KEYD_STR(r->o->domain), KEYD_NONE, &a);
    if (status != KEYD_OK)
        fprintf(stderr, "keyd-load: %s: %s (%s)\n", r->o->endpoints,
                keyd_client_status_text(status),
                a == NULL ? keyd_client_detail(r->client) : a->detail);
    keyd_client_answer_free(a);
    return status == KEYD_OK ? 0 : -1;
}

int
load_rate_run(const struct load_rate_options *o, struct load_rate_result *result)
{
    struct run r = {.o = o, .result = result, .client = keyd_client_new()};
    int rc = -1;

    *result = (struct load_rate_result){0};
    if (r.client == NULL || sodium_init() < 0 || connect_first(&r) != 0)
        goto out;
    r.begin_ns = r.last_ok_ns = kd_clock_ns();
    shoot(&r);
    while (keyd_client_pending(r.client) > 0) /* ends by their deadlines */
        kd_ignore(keyd_client_process(r.client, -1));
    result->seconds = (double)(kd_clock_ns() - r.begin_ns) / 1e9;
    for (unsigned i = 1; i <= keyd_client_n_endpoints(r.client); i++) {
        struct keyd_endpoint_info info;
        if (keyd_client_endpoint_info(r.client, i, &info) == KEYD_OK)
            result->n_lost += info.n_lost;
    }
    summarise(&result->look_ups, &r.look_ups);
    summarise(&result->issues, &r.issues);
    rc = 0;
out:
    keyd_client_free(r.client);
    free(r.look_ups.p);
    free(r.issues.p);
    return rc;
}
