/* Quotas and keys of principals, on a running daemon: what is allowed is what the
 * configuration says, within five percent, wherever it is counted; nobody takes from
 * another; a refusal costs nothing and leaves nothing behind.
 *
 * One process is several callers: the kernel notes who connects, so a connection made
 * as another user stays that user's. Needs root. */
#include "ask.h"
#include "people.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ONE = 62001,
    TWO,
    ISSUER,
    FLIGHT,
    ENC_ONLY,
    SOK_ONLY,
    HOURLY,
    BY_ID,
    CONNECTIONS = 8
};

static struct daemon keyd;
static struct daemon_org org;
static uint64_t next_person;

#define LOOKUPS                                                                        \
    "operations = { \"LookupSignet\", \"LookupHistory\", \"VerifyCurrent\" }\n"
#define ISSUES "class = submission operations = { \"IssueUserSignet\" }\n"
#define COM "domains = { \"example.com\" }\n"

static const char sections[] =
    "listener \"mta\" { workers = 2 }\n"
    "principal \"one\" { uid = 62001 class = mta\n" LOOKUPS COM
    " quotas = { \"LookupSignet 200/s burst 100\", \"VerifyCurrent 50/s burst 25\",\n"
    "            \"* in-flight 100\" } }\n"
    "principal \"two\" { uid = 62002 class = mta\n" LOOKUPS COM
    " quotas = { \"LookupSignet 200/s burst 100\", \"VerifyCurrent 500/s burst 250\" } "
    "}\n"
    "principal \"issuer\" { uid = 62003 " ISSUES COM
    " quotas = { \"IssueUserSignet 20/s burst 10\", \"PublicKeys 400/s burst 200\",\n"
    "            \"Status 100/s\" } }\n"
    "principal \"flight\" { uid = 62004 " ISSUES COM
    " quotas = { \"IssueUserSignet in-flight 4\", \"* in-flight 20\" } }\n"
    "principal \"enc-only\" { uid = 62005 " ISSUES COM " keys = { \"enc\" } }\n"
    "principal \"hourly\" { uid = 62007 " ISSUES COM
    " quotas = { \"PublicKeys 1/hour burst 3\" } }\n"
    "principal \"sok-only\" { uid = 62006 " ISSUES COM " keys = { \"sok\" } }\n";

static const char in_domain[] = "quotas = { \"LookupHistory 100/s burst 50\", \"* "
                                "in-flight 1000\" }";

/* --- callers --- */

static keyd_client *
connect_as(uid_t uid, const char *class)
{
    if (setegid(DAEMON_GROUP) != 0 || seteuid(uid) != 0)
        fail_msg("cannot become %u", (unsigned)uid);
    keyd_client *c = daemon_connect(&keyd, class);
    if (seteuid(0) != 0 || setegid(0) != 0)
        fail_msg("cannot become root again");
    assert_non_null(c);
    return c;
}

/* Several connections: the two workers share them. */
struct caller {
    keyd_client *c[CONNECTIONS];
    unsigned next;
};

static void
caller_open(struct caller *x, uid_t uid, const char *class)
{
    x->next = 0;
    for (unsigned i = 0; i < CONNECTIONS; i++)
        x->c[i] = connect_as(uid, class);
}

static void
caller_close(struct caller *x)
{
    for (unsigned i = 0; i < CONNECTIONS; i++)
        keyd_client_free(x->c[i]);
}

static keyd_client *
caller_next(struct caller *x)
{
    return x->c[x->next++ % CONNECTIONS];
}

/* --- requests --- */

static const uint8_t any_fp[KEYD_FP_SIZE];

static struct keyd_request
request_of(enum keyd_op op)
{
    struct keyd_request q = {.op = op};

    switch ((unsigned)op) {
    case KEYD_OP_LOOKUP_SIGNET:
        q.in.lookup_signet.name = KEYD_STR("example.com");
        break;
    case KEYD_OP_VERIFY_CURRENT:
        q.in.verify_current.name = KEYD_STR("example.com");
        q.in.verify_current.fingerprint = (struct keyd_octets){any_fp, sizeof any_fp};
        break;
    case KEYD_OP_LOOKUP_HISTORY:
        q.in.lookup_history.address = KEYD_STR("nobody@example.com");
        break;
    }
    return q;
}

/* True if it passed the quotas, however it ended; else it was refused as it should be.
 */
static bool
passes(keyd_client *c, const struct keyd_request *q, uint32_t *wait_ms)
{
    struct keyd_answer *a = ask(c, q);
    bool busy = a->status == KEYD_BUSY;

    if (busy)
        assert_string_equal(a->detail, "over-quota");
    else if (a->status != KEYD_OK && a->status != KEYD_NOT_FOUND)
        fail_msg("%s: %s", keyd_client_status_text(a->status), a->detail);
    *wait_ms = a->retry_after_ms;
    assert_int_equal(busy, a->retry_after_ms != 0);
    keyd_client_answer_free(a);
    return !busy;
}

/* Asks as fast as it goes for a while, after the burst is gone: requests a second. */
static double
measure(struct caller *x, const struct keyd_request *q, int64_t ms)
{
    uint32_t wait;
    unsigned n = 0;

    while (passes(caller_next(x), q, &wait))
        ;
    int64_t start = kd_clock_ns(), until = start + ms * 1000000;
    while (kd_clock_ns() < until)
        if (passes(caller_next(x), q, &wait))
            n++;
        else
            poll(NULL, 0, 0);
    return n * 1e9 / (double)(kd_clock_ns() - start);
}

/* Until nobody has anything left of the burst, in one round: while one is emptied the
 * other fills. */
static void
drain(struct caller who[2], const struct keyd_request *q)
{
    unsigned left = 1;
    uint32_t wait;

    while (left != 0) {
        left = 0;
        for (unsigned i = 0; i < 2; i++)
            left += passes(caller_next(&who[i]), q, &wait);
    }
}

/* More than is allowed is a fault at once. Less may be the machine's, whose disk and
 * processors others use: then it is measured again. */
static bool
is_rate(const char *what, double got, double want)
{
    print_message("%-40s %8.1f/s of %8.1f/s\n", what, got, want);
    assert_true(got < 1.05 * want);
    return got > 0.95 * want;
}

enum { TRIES = 4 };

static void
assert_measured(const char *what, struct caller *x, const struct keyd_request *q,
                int64_t ms, double want)
{
    int tries = 1;

    while (!is_rate(what, measure(x, q, ms), want))
        assert_true(tries++ < TRIES);
}

/* --- what Status and PolicyExplain say --- */

static uint64_t
counter(const char *name)
{
    keyd_client *c = ask_connect(&keyd, "admin");
    struct keyd_request q = {.op = KEYD_OP_STATUS};
    struct keyd_answer *a = ask(c, &q);
    uint64_t value = 0;

    assert_int_equal(a->status, KEYD_OK);
    for (size_t i = 0; i < a->out.status.n_counters; i++)
        if (kd_slice_eq(ask_slice(a->out.status.counters[i].name), kd_slice_str(name)))
            value = a->out.status.counters[i].value;
    if (strcmp(name, "audit-seq") == 0)
        value = a->out.status.audit_seq;
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return value;
}

static struct keyd_answer *
explain(const char *name, unsigned op, const char *domain)
{
    keyd_client *c = ask_connect(&keyd, "admin");
    struct keyd_request q = {.op = KEYD_OP_POLICY_EXPLAIN,
                             .in.policy_explain = {.principal = KEYD_STR(name),
                                                   .operation = op,
                                                   .domain = KEYD_STR(domain)}};
    struct keyd_answer *a = ask(c, &q);

    assert_int_equal(a->status, KEYD_OK);
    keyd_client_free(c);
    return a;
}

static uint64_t
in_flight_of(const char *name)
{
    struct keyd_answer *a = explain(name, 0, "example.com");
    uint64_t n = 0;

    assert_true(a->out.policy.n_quotas > 1);
    for (size_t i = 0; i < a->out.policy.n_quotas; i++)
        n += a->out.policy.quotas[i].jobs.in_flight +
             a->out.policy.quotas[i].lookups.in_flight;
    keyd_client_answer_free(a);
    return n;
}

static void
wait_for_rest(const char *name)
{
    int64_t until = kd_clock_ms() + 10000;

    while (in_flight_of(name) != 0) {
        assert_true(kd_clock_ms() < until);
        poll(NULL, 0, 20);
    }
}

/* --- issuing --- */

struct order {
    char address[64];
    struct kd_buf ssr;
    struct keyd_request q;
};

static void
order_new(struct order *o, const char *domain)
{

    person_request("quota", ++next_person, &o->ssr);
    snprintf(o->address, sizeof o->address, "q%u@%s", (unsigned)next_person, domain);
    o->q = (struct keyd_request){
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {.address = KEYD_STR(o->address),
                                 .ssr = {o->ssr.p, o->ssr.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
}

static void
order_free(struct order *o)
{
    kd_buf_free(&o->ssr);
}

static void
issue_as(uid_t uid, enum keyd_status status, const char *detail)
{
    keyd_client *c = connect_as(uid, "submission");
    struct order o;

    order_new(&o, "example.com");
    ask_ends(ask(c, &o.q), status, detail);
    order_free(&o);
    keyd_client_free(c);
}

/* --- tests --- */

static void
what_gates_count_is_within_five_percent_with_two_workers(void **state)
{
    const struct keyd_request signet = request_of(KEYD_OP_LOOKUP_SIGNET),
                              verify = request_of(KEYD_OP_VERIFY_CURRENT);
    struct caller one, two;

    (void)state;
    caller_open(&one, ONE, "mta");
    caller_open(&two, TWO, "mta");
    assert_measured("LookupSignet, gates", &one, &signet, 2000, 200);
    assert_measured("VerifyCurrent, gates", &one, &verify, 2500, 50);
    assert_measured("VerifyCurrent of another, gates", &two, &verify, 2000, 500);
    caller_close(&one);
    caller_close(&two);
}

/* Signets a second, from where the burst is gone; all counts those of the burst, too.
 */
static double
issue_for(struct caller *issuer, int64_t ms, unsigned *all)
{
    struct order o;
    uint32_t wait;
    unsigned n = 0;
    int64_t start = 0, now = 0;

    for (order_new(&o, "example.com"); start == 0 || now - start < ms * 1000000;) {
        now = kd_clock_ns();
        if (passes(caller_next(issuer), &o.q, &wait)) {
            n += start != 0;
            ++*all;
            order_free(&o);
            order_new(&o, "example.com");
        } else if (start == 0) {
            start = now;
        }
    }
    order_free(&o);
    return n * 1e9 / (double)(now - start);
}

static void
what_the_vault_counts_is_within_five_percent(void **state)
{
    const struct keyd_request keys = request_of(KEYD_OP_PUBLIC_KEYS),
                              status = request_of(KEYD_OP_STATUS);
    struct caller issuer;
    unsigned all = 0;
    int tries = 1;

    (void)state;
    caller_open(&issuer, ISSUER, "submission");
    assert_measured("PublicKeys, vault", &issuer, &keys, 2000, 400);
    assert_measured("Status, vault", &issuer, &status, 2000, 100);
    uint64_t issued = counter("issued"), seq = counter("audit-seq");
    while (!is_rate("IssueUserSignet, vault", issue_for(&issuer, 3000, &all), 20))
        assert_true(tries++ < TRIES);
    /* nothing was signed for those that were refused: one record for each that passed,
     * and a checkpoint or two */
    assert_int_equal(counter("issued") - issued, all);
    assert_true(counter("audit-seq") - seq <= all + 2);
    caller_close(&issuer);
}

/* Rates of two who ask at once for a while, the first so many times as often. */
static void
ask_both(struct caller who[2], const struct keyd_request *q, unsigned times, int64_t ms,
         double rates[2])
{
    unsigned n[2] = {0, 0};
    uint32_t wait;

    drain(who, q);
    int64_t start = kd_clock_ns();
    while (kd_clock_ns() - start < ms * 1000000)
        for (unsigned i = 0; i < 2; i++)
            for (unsigned k = 0; k < (i == 0 ? times : 1); k++)
                n[i] += passes(caller_next(&who[i]), q, &wait);
    double s = (double)(kd_clock_ns() - start) / 1e9;
    rates[0] = n[0] / s;
    rates[1] = n[1] / s;
}

static void
two_principals_do_not_take_from_each_other(void **state)
{
    const struct keyd_request q = request_of(KEYD_OP_LOOKUP_SIGNET);
    struct caller who[2];
    double rates[2];
    bool good = false;

    (void)state;
    caller_open(&who[0], ONE, "mta");
    caller_open(&who[1], TWO, "mta");
    for (int tries = 0; !good; tries++) {
        assert_true(tries < TRIES);
        ask_both(who, &q, 5, 3000, rates); /* one asks far more */
        good = is_rate("the one who floods", rates[0], 200);
        good = is_rate("the other", rates[1], 200) && good;
    }
    caller_close(&who[0]);
    caller_close(&who[1]);
}

static void
a_domains_quota_is_shared_by_its_principals(void **state)
{
    const struct keyd_request q = request_of(KEYD_OP_LOOKUP_HISTORY);
    struct caller who[2];
    double rates[2];
    bool good = false;

    (void)state;
    caller_open(&who[0], ONE, "mta");
    caller_open(&who[1], DAEMON_SUBMITD, "submission"); /* another listener's gate */
    for (int tries = 0; !good; tries++) {
        assert_true(tries < TRIES);
        ask_both(who, &q, 1, 2500, rates);
        assert_true(rates[0] > 0 && rates[1] > 0);
        good = is_rate("both together", rates[0] + rates[1], 100);
    }
    caller_close(&who[0]);
    caller_close(&who[1]);
}

static void
the_time_told_is_long_enough_and_needed(void **state)
{
    const struct keyd_request q = request_of(KEYD_OP_VERIFY_CURRENT);
    keyd_client *c = connect_as(ONE, "mta");
    uint32_t wait = 0, other;

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        while (passes(c, &q, &wait))
            ;
        assert_true(wait >= 1 && wait <= 21);
        poll(NULL, 0, (int)wait);
        assert_true(passes(c, &q, &other));
    }
    keyd_client_free(c);
}

static void
refusals_are_counted_for_their_principal_alone(void **state)
{
    const struct keyd_request q = request_of(KEYD_OP_LOOKUP_SIGNET),
                              status = request_of(KEYD_OP_STATUS);
    uint64_t one = counter("over-quota:one"), two = counter("over-quota:two"),
             all = counter("over-quota"), failed = counter("failed");
    keyd_client *c = connect_as(ONE, "mta");
    unsigned n = 0;
    uint32_t wait;

    (void)state;
    for (unsigned i = 0; i < 400; i++)
        n += !passes(c, &q, &wait);
    assert_true(n > 100);
    assert_int_equal(counter("over-quota:one"), one + n);
    assert_int_equal(counter("over-quota:two"), two);
    assert_int_equal(counter("over-quota"), all + n);
    assert_int_equal(counter("failed"), failed);
    /* who is no operator sees its own */
    struct keyd_answer *a = ask(c, &status);
    assert_int_equal(a->status, KEYD_OK);
    for (size_t i = 0; i < a->out.status.n_counters; i++) {
        struct kd_slice name = ask_slice(a->out.status.counters[i].name);
        if (name.n > 11 && memcmp(name.p, "over-quota:", 11) == 0)
            assert_true(kd_slice_eq(name, kd_slice_str("over-quota:one")));
    }
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

static void
denied_is_not_failed_and_costs_nothing(void **state)
{
    keyd_client *c = connect_as(ISSUER, "submission"), *m = connect_as(ONE, "mta");
    struct keyd_request q = request_of(KEYD_OP_LOOKUP_SIGNET);
    struct order o;

    (void)state;
    poll(NULL, 0, 400); /* its bucket fills */
    uint64_t failed = counter("failed"), denied = counter("denied"),
             over = counter("over-quota:issuer"), seq = counter("audit-seq");
    order_new(&o, "example.net");
    for (unsigned i = 0; i < 50; i++)
        ask_ends(ask(c, &o.q), KEYD_DENIED, "not-permitted");
    order_free(&o);
    q.in.lookup_signet.name = KEYD_STR("example.net");
    for (unsigned i = 0; i < 50; i++)
        ask_ends(ask(m, &q), KEYD_DENIED, "not-permitted");
    assert_int_equal(counter("denied"), denied + 50); /* a gate denies by itself */
    assert_int_equal(counter("failed"), failed);
    assert_int_equal(counter("over-quota:issuer"), over);
    assert_int_equal(counter("audit-seq"), seq);
    /* and has used up nothing */
    issue_as(ISSUER, KEYD_OK, "");
    keyd_client_free(c);
    keyd_client_free(m);
}

static void
a_principal_has_only_its_keys_used(void **state)
{
    (void)state;
    uint64_t seq = counter("audit-seq"), failed = counter("failed");
    issue_as(ENC_ONLY, KEYD_DENIED, "key-not-permitted");
    assert_int_equal(counter("audit-seq"), seq);
    assert_int_equal(counter("failed"), failed);
    issue_as(SOK_ONLY, KEYD_OK, "");
}

/* --- what is in flight --- */

static unsigned n_ended, n_ok, n_busy;

static void
ended(void *cookie, struct keyd_answer *a)
{
    (void)cookie;
    n_ended++;
    n_ok += a->status == KEYD_OK;
    n_busy += a->status == KEYD_BUSY && strcmp(a->detail, "over-quota") == 0;
    keyd_client_answer_free(a);
}

static void
submit_orders(keyd_client *c, struct order *orders, unsigned n, uint32_t deadline_ms)
{
    for (unsigned i = 0; i < n; i++) {
        order_new(&orders[i], "example.com");
        orders[i].q.deadline_ms = deadline_ms;
        assert_int_equal(keyd_client_submit(c, &orders[i].q, ended, NULL, NULL),
                         KEYD_OK);
    }
}

static void
free_orders(struct order *orders, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        order_free(&orders[i]);
}

static void
what_is_in_flight_is_bounded(void **state)
{
    enum { N = 24 };
    struct order orders[N];
    keyd_client *c = connect_as(FLIGHT, "submission");

    (void)state;
    n_ended = n_ok = n_busy = 0;
    submit_orders(c, orders, N, 0);
    while (n_ended < N)
        kd_ignore((kd_err)keyd_client_process(c, 1000));
    assert_int_equal(n_ok + n_busy, N);
    assert_true(n_ok >= 4 && n_busy > 0);
    assert_int_equal(in_flight_of("flight"), 0);
    free_orders(orders, N);
    keyd_client_free(c);
}

static void
kill_role(enum keyd_process_role role, const char *class)
{
    pid_t pid = daemon_role(&keyd, role, class);

    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
}

/* Requests on their way when something happens. */
static void
disturb(uid_t uid, enum keyd_process_role role, const char *class)
{
    enum { N = 8 };
    struct order orders[N];
    keyd_client *c = connect_as(uid, "submission"), *m = connect_as(ONE, "mta");
    const struct keyd_request q = request_of(KEYD_OP_LOOKUP_SIGNET);

    submit_orders(c, orders, N, 3000);
    for (unsigned i = 0; i < N; i++)
        kd_ignore((kd_err)keyd_client_submit(m, &q, ended, NULL, NULL));
    keyd_client_process(c, 0);
    keyd_client_process(m, 0);
    if (role != 0)
        kill_role(role, class);
    keyd_client_process(c, 50);
    keyd_client_free(c); /* the rest ends without anybody to tell */
    keyd_client_free(m);
    free_orders(orders, N);
    assert_true(daemon_wait(&keyd, 20000));
}

/* However a request ends, what it held is given back. */
static void
requests_that_end_in_every_way_leave_nothing_in_flight(void **state)
{
    keyd_client *c = connect_as(FLIGHT, "submission"), *m = connect_as(ONE, "mta");
    struct keyd_request q = request_of(KEYD_OP_LOOKUP_SIGNET);
    struct order o;

    (void)state;
    order_new(&o, "example.com");
    ask_ends(ask(c, &o.q), KEYD_OK, "");
    ask_ends(ask(c, &o.q), KEYD_OK, ""); /* the same again: replayed */
    o.ssr.p[20] ^= 1;
    ask_ends(ask(c, &o.q), KEYD_INVALID, NULL);
    o.q.in.issue_user_signet.address = KEYD_STR("q@example.net");
    ask_ends(ask(c, &o.q), KEYD_DENIED, "not-permitted");
    o.q.in.issue_user_signet.address = KEYD_STR("not an address");
    ask_ends(ask(c, &o.q), KEYD_INVALID, NULL);
    order_free(&o);
    poll(NULL, 0, 100);
    ask_ends(ask(m, &q), KEYD_OK, "");
    q.in.lookup_signet.name = KEYD_STR("none@example.com");
    ask_ends(ask(m, &q), KEYD_NOT_FOUND, NULL);
    q.in.lookup_signet.name = KEYD_STR("none@example.net");
    ask_ends(ask(m, &q), KEYD_DENIED, NULL);
    keyd_client_free(c);
    keyd_client_free(m);
    for (unsigned i = 0; i < 3; i++) {
        disturb(FLIGHT, 0, ""); /* the client is gone */
        disturb(FLIGHT, KEYD_PROCESS_LEDGER, "");
        disturb(FLIGHT, KEYD_PROCESS_VAULT, "");
        disturb(FLIGHT, KEYD_PROCESS_GATE, "mta");
        disturb(FLIGHT, KEYD_PROCESS_GATE, "submission");
    }
    wait_for_rest("flight");
    wait_for_rest("one");
    wait_for_rest("issuer");
}

static void
explain_says_where_it_stands_and_what_is_left(void **state)
{
    struct keyd_answer *a = explain("one", KEYD_OP_LOOKUP_SIGNET, "example.com");
    char text[32];

    (void)state;
    poll(NULL, 0, 1200);
    keyd_client_answer_free(a);
    a = explain("one", KEYD_OP_LOOKUP_SIGNET, "example.com");
    assert_true(kd_slice_eq(ask_slice(a->out.policy.principal), kd_slice_str("one")));
    assert_int_equal(a->out.policy.uid, ONE);
    assert_int_equal(a->out.policy.n_decisions, 1);
    assert_int_equal(a->out.policy.decisions[0].verdict, KEYD_POLICY_ALLOWED);
    assert_int_equal(a->out.policy.n_quotas, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct keyd_policy_quota *q = &a->out.policy.quotas[i];
        if (q->operation == KEYD_OP_LOOKUP_SIGNET) {
            assert_int_equal(q->lookups.left, 100);
            assert_true(q->lookups.refused > 0);
        }
    }
    /* the line it names is the line in the file */
    FILE *f = fopen(keyd.conf, "re");
    char line[512] = "";
    assert_non_null(f);
    for (unsigned i = 0; i < a->out.policy.section_line; i++)
        assert_non_null(fgets(line, sizeof line, f));
    fclose(f);
    snprintf(text, sizeof text, "principal \"one\"");
    assert_non_null(strstr(line, text));
    keyd_client_answer_free(a);

    a = explain("one", KEYD_OP_LOOKUP_SIGNET, "example.net");
    assert_int_equal(a->out.policy.decisions[0].verdict, KEYD_POLICY_OTHER_DOMAIN);
    keyd_client_answer_free(a);
    a = explain("nobody-of-that-name", KEYD_OP_LOOKUP_SIGNET, "example.com");
    assert_int_equal(a->out.policy.decisions[0].verdict, KEYD_POLICY_NO_PRINCIPAL);
    assert_int_equal(a->out.policy.principal.n, 0);
    keyd_client_answer_free(a);
}

static void
append_conf(const char *fmt, const char *text)
{
    FILE *f = fopen(keyd.conf, "ae");

    assert_non_null(f);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    fprintf(f, fmt, text);
#pragma GCC diagnostic pop
    assert_int_equal(fclose(f), 0);
}

static void
reload(void)
{
    keyd_client *c = ask_connect(&keyd, "admin");
    const struct keyd_request q = {.op = KEYD_OP_RELOAD};

    ask_ends(ask(c, &q), KEYD_OK, NULL);
    keyd_client_free(c);
}

static void
a_reload_gives_nobody_a_new_burst(void **state)
{
    const struct keyd_request keys = request_of(KEYD_OP_PUBLIC_KEYS),
                              history = request_of(KEYD_OP_LOOKUP_HISTORY);
    keyd_client *c = connect_as(HOURLY, "submission"), *m = connect_as(ONE, "mta");
    uint32_t wait;
    unsigned n = 0;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        assert_true(passes(c, &keys, &wait));
    assert_false(passes(c, &keys, &wait));
    assert_true(wait > 3500000 && wait <= 3600000);
    /* one that comes before it in the policy's order, with a line of its own */
    append_conf("principal \"%s\" { uid = 62000 class = submission operations = { }"
                " quotas = { \"* 1/s\" } }\n",
                "before-all");
    while (passes(m, &history, &wait))
        ;
    reload();
    assert_false(passes(c, &keys, &wait));
    assert_true(wait > 3400000 && wait <= 3600000);
    for (unsigned i = 0; i < 40; i++)
        n += passes(m, &history, &wait);
    assert_true(n < 40); /* a new burst would have been 50 */
    keyd_client_free(c);
    keyd_client_free(m);
}

/* The configuration with one principal more, who may use one key by its id. */
static void
a_key_may_be_named_by_its_id(void **state)
{
    char sok[33], enc[33];
    FILE *f;

    (void)state;
    for (size_t i = 0; i < 16; i++) {
        snprintf(sok + 2 * i, 3, "%02x", org.sok[i]);
        snprintf(enc + 2 * i, 3, "%02x", org.enc[i]);
    }
    daemon_stop(&keyd);
    assert_non_null(f = fopen(keyd.conf, "ae"));
    fprintf(f,
            "principal \"by-id\" { uid = %d " ISSUES COM " keys = { \"%s\" } }\n"
            "principal \"by-other-id\" { uid = %d " ISSUES COM " keys = { \"%s\" } }\n",
            BY_ID, sok, BY_ID + 1, enc);
    assert_int_equal(fclose(f), 0);
    assert_true(daemon_launch(&keyd) && daemon_wait(&keyd, 20000));
    issue_as(BY_ID, KEYD_OK, "");
    issue_as(BY_ID + 1, KEYD_DENIED, "key-not-permitted");
}

static int
set_up(void **state)
{
    const struct daemon_options options = {.sections = sections,
                                           .in_domain = in_domain};

    (void)state;
    suite_needs_root("to be several callers takes root");
    return daemon_start(&keyd, &options) && daemon_provision(&keyd, &org) ? 0 : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    daemon_clear(&keyd);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_gates_count_is_within_five_percent_with_two_workers),
        cmocka_unit_test(what_the_vault_counts_is_within_five_percent),
        cmocka_unit_test(two_principals_do_not_take_from_each_other),
        cmocka_unit_test(a_domains_quota_is_shared_by_its_principals),
        cmocka_unit_test(the_time_told_is_long_enough_and_needed),
        cmocka_unit_test(refusals_are_counted_for_their_principal_alone),
        cmocka_unit_test(denied_is_not_failed_and_costs_nothing),
        cmocka_unit_test(a_principal_has_only_its_keys_used),
        cmocka_unit_test(what_is_in_flight_is_bounded),
        cmocka_unit_test(requests_that_end_in_every_way_leave_nothing_in_flight),
        cmocka_unit_test(explain_says_where_it_stands_and_what_is_left),
        cmocka_unit_test(a_reload_gives_nobody_a_new_burst),
        cmocka_unit_test(a_key_may_be_named_by_its_id),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
