/* A daemon that takes no more requests, stops, and comes back: nothing in flight is
 * lost, and a client that repeats what it is told to repeat has no request refused. */
#include "ask.h"
#include "people.h"
#include "scale.h"
#include "shape.h"
#include "test.h"

#include <keyd/base/clock.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static atomic_uint_fast64_t next_person;

static void
wait_a_moment(int ms)
{
    kd_ignore(poll(NULL, 0, ms)); /* between two looks at another process */
}

/* --- requests --- */

struct person {
    struct kd_buf ssr;
    char address[64];
    struct keyd_request q;
};

/* A request for a first signet of somebody new. */
static void
person_make(struct person *p)
{
    uint64_t n = atomic_fetch_add(&next_person, 1);

    *p = (struct person){.q.op = KEYD_OP_ISSUE_USER_SIGNET};
    person_request("drain", n, &p->ssr);
    snprintf(p->address, sizeof p->address, "d%llu@example.com", (unsigned long long)n);
    p->q.in.issue_user_signet.address = KEYD_STR(p->address);
    p->q.in.issue_user_signet.ssr = (struct keyd_octets){p->ssr.p, p->ssr.n};
    p->q.in.issue_user_signet.account_mode = KEYD_ACCOUNT_TRUSTFUL;
}

static enum keyd_status
issue(keyd_client *c)
{
    struct person p;
    struct keyd_answer *a = NULL;

    person_make(&p);
    enum keyd_status s = keyd_client_call(c, &p.q, &a);
    keyd_client_answer_free(a);
    kd_buf_free(&p.ssr);
    return s;
}

static bool
prepare(struct daemon *d, const struct daemon_options *o)
{
    return daemon_start(d, o) && daemon_provision(d, NULL) &&
           daemon_provision_domain(d, "example.net", NULL);
}

/* Status on the operators' listener: the state, and whether a word is among the
 * reasons (NULL: there are none). */
static enum keyd_service_state
state_of(keyd_client *admin, const char *word, bool *has)
{
    struct keyd_answer *a = ask(admin, &(struct keyd_request){.op = KEYD_OP_STATUS});
    enum keyd_service_state state = a->out.status.state;

    assert_int_equal(a->status, KEYD_OK);
    bool found = word == NULL && a->out.status.n_reasons == 0;
    for (size_t i = 0; word != NULL && i < a->out.status.n_reasons; i++) {
        struct keyd_octets o = a->out.status.reasons[i];
        found |= o.n == strlen(word) && memcmp(o.p, word, o.n) == 0;
    }
    if (has != NULL)
        *has = found;
    keyd_client_answer_free(a);
    return state;
}

static void
expect_state(keyd_client *admin, enum keyd_service_state state, const char *word)
{
    bool has = false;
    enum keyd_service_state is = state_of(admin, word, &has);

    if (is != state || !has)
        fail_msg("state %d, not %d, or without the reason %s", (int)is, (int)state,
                 word == NULL ? "(none)" : word);
}

static enum keyd_status
drain(keyd_client *admin, enum keyd_drain_action action, bool wait, uint32_t *in_flight)
{
    struct keyd_answer *a = NULL;
    enum keyd_status s = keyd_client_drain(admin, action, wait, &a);

    if (s == KEYD_OK && in_flight != NULL)
        *in_flight = a->out.drain.in_flight;
    keyd_client_answer_free(a);
    return s;
}

/* --- states --- */

static void
states_and_their_reasons_follow_each_other(void **state)
{
    struct daemon d;
    keyd_client *c;
    struct keyd_answer *a = NULL;

    (void)state;
    assert_true(daemon_start(&d, NULL));
    c = ask_connect(&d, "admin");
    expect_state(c, KEYD_STATE_UNPROVISIONED, NULL);
    assert_true(daemon_init_token(&d));
    expect_state(c, KEYD_STATE_DEGRADED, "org-signet-missing");
    assert_true(daemon_provision_domain(&d, "example.com", NULL));
    expect_state(c, KEYD_STATE_DEGRADED, "org-signet-missing"); /* the other domain's */
    assert_true(daemon_provision_domain(&d, "example.net", NULL));
    expect_state(c, KEYD_STATE_OPERATIONAL, NULL);
    assert_int_equal(keyd_client_seal(c, &a), KEYD_OK);
    keyd_client_answer_free(a);
    expect_state(c, KEYD_STATE_SEALED, NULL);
    assert_int_equal(daemon_unseal(&d, c), KEYD_OK);
    expect_state(c, KEYD_STATE_OPERATIONAL, NULL);
    assert_int_equal(drain(c, KEYD_DRAIN_BEGIN, true, NULL), KEYD_OK);
    expect_state(c, KEYD_STATE_DRAINING, NULL);
    assert_int_equal(drain(c, KEYD_DRAIN_CANCEL, false, NULL), KEYD_OK);
    expect_state(c, KEYD_STATE_OPERATIONAL, NULL);
    /* A domain that comes without a signet. */
    static const struct shape more = {.issue = true, .net = true, .more = 1};
    static const struct shape both = {.issue = true, .net = true};
    shape_init(&d);
    shape_use(&d, c, &more);
    expect_state(c, KEYD_STATE_DEGRADED, "org-signet-missing");
    shape_use(&d, c, &both);
    expect_state(c, KEYD_STATE_OPERATIONAL, NULL);
    keyd_client_free(c);
    daemon_clear(&d);
}

/* The one key that may sign user signets is retired. */
static void
a_domain_without_a_key_that_signs_degrades(void **state)
{
    struct daemon d;
    struct daemon_org org;
    struct keyd_answer *a = NULL;

    (void)state;
    assert_true(daemon_start(&d, NULL) && daemon_provision(&d, &org) &&
                daemon_provision_domain(&d, "example.net", NULL));
    keyd_client *c = ask_connect(&d, "admin");
    expect_state(c, KEYD_STATE_OPERATIONAL, NULL);
    assert_int_equal(keyd_client_retire_key(c, (struct keyd_octets){org.sok, 16}, &a),
                     KEYD_OK);
    keyd_client_answer_free(a);
    assert_int_equal(keyd_client_retire_key(c, (struct keyd_octets){org.pok, 16}, &a),
                     KEYD_OK);
    keyd_client_answer_free(a);
    expect_state(c, KEYD_STATE_DEGRADED, "signing-key-missing");
    keyd_client_free(c);
    daemon_clear(&d);
}

/* Front-ends may have messages signed for the domain and mail to it opened: what they
 * ask is refused until the keys are there, and an operator sees why. */
static void
a_domain_without_keys_for_messages_degrades_while_they_may_be_asked_for(void **state)
{
    static const struct shape no_mail = {.issue = true};
    static const struct shape mail = {
        .issue = true,
        .sections =
            "principal \"dmtpd\" {\n uid = 60998\n class = \"mta\"\n operations "
            "= { \"MakeBounce\" }\n domains = { \"example.com\" }\n}\n"};
    struct daemon d;
    struct daemon_org org;
    struct keyd_answer *a = NULL;

    (void)state;
    assert_true(daemon_start(&d, NULL) && daemon_provision(&d, &org));
    keyd_client *c = ask_connect(&d, "admin");
    shape_init(&d);
    shape_use(&d, c, &mail);
    expect_state(c, KEYD_STATE_OPERATIONAL, NULL);
    assert_false(daemon_log_has(&d, "no message can be signed"));
    assert_int_equal(keyd_client_retire_key(c, (struct keyd_octets){org.sok, 16}, &a),
                     KEYD_OK);
    keyd_client_answer_free(a);
    expect_state(c, KEYD_STATE_DEGRADED, "message-key-missing");
    assert_true(
        daemon_log_wait(&d, "no message can be signed for example.com: ", 5000));
    assert_false(daemon_log_has(&d, "no mail can be opened"));
    shape_use(&d, c, &no_mail);
    bool has = true;
    state_of(c, "message-key-missing", &has);
    assert_false(has);
    shape_use(&d, c, &mail);
    expect_state(c, KEYD_STATE_DEGRADED, "message-key-missing");
    keyd_client_free(c);
    daemon_clear(&d);
}

/* --- drain --- */

static void
a_draining_daemon_sends_new_requests_away(void **state)
{
    struct daemon d;
    char path[108];
    struct keyd_answer *a = NULL;
    struct person p;

    (void)state;
    assert_true(prepare(&d, NULL));
    keyd_client *admin = ask_connect(&d, "admin");
    keyd_client *c = ask_connect(&d, "submission");
    assert_int_equal(issue(c), KEYD_OK);
    assert_int_equal(drain(admin, KEYD_DRAIN_BEGIN, false, NULL), KEYD_OK);
    person_make(&p);
    assert_int_equal(keyd_client_call(c, &p.q, &a), KEYD_UNAVAILABLE);
    assert_string_equal(a->detail, "draining");
    assert_true(a->retry_after_ms > 0);
    keyd_client_answer_free(a);
    /* Looking on is not refused; who connects waits. */
    assert_int_equal(keyd_client_status(c, &a), KEYD_OK);
    assert_int_equal(a->out.status.state, KEYD_STATE_DRAINING);
    keyd_client_answer_free(a);
    daemon_socket(&d, "submission", path);
    keyd_client *late = keyd_client_new();
    assert_int_equal(keyd_client_connect(late, path, 300), KEYD_DEADLINE);
    keyd_client_free(late);
    /* Draining twice is draining; a gate that is started again drains too. */
    assert_int_equal(drain(admin, KEYD_DRAIN_BEGIN, true, NULL), KEYD_OK);
    pid_t gate = daemon_role(&d, KEYD_PROCESS_GATE, "submission");
    assert_int_equal(kill(gate, SIGKILL), 0);
    while (daemon_role(&d, KEYD_PROCESS_GATE, "submission") == gate)
        wait_a_moment(5);
    late = keyd_client_new();
    assert_int_equal(keyd_client_connect(late, path, 300), KEYD_DEADLINE);
    keyd_client_free(late);
    /* And a vault says so. */
    keyd_client_free(admin);
    assert_int_equal(kill(daemon_role(&d, KEYD_PROCESS_VAULT, ""), SIGKILL), 0);
    for (int i = 0;; i++) {
        admin = ask_connect(&d, "admin");
        if (keyd_client_status(admin, &a) == KEYD_OK &&
            a->out.status.state == KEYD_STATE_DRAINING)
            break;
        keyd_client_answer_free(a);
        keyd_client_free(admin);
        assert_true(i < 500);
        wait_a_moment(10);
    }
    keyd_client_answer_free(a);
    /* All of it is over when it is cancelled. */
    assert_int_equal(drain(admin, KEYD_DRAIN_CANCEL, false, NULL), KEYD_OK);
    keyd_client_free(c);
    c = ask_connect(&d, "submission");
    assert_int_equal(keyd_client_call(c, &p.q, &a), KEYD_OK);
    keyd_client_answer_free(a);
    kd_buf_free(&p.ssr);
    keyd_client_free(c);
    keyd_client_free(admin);
    assert_int_equal(daemon_stop(&d), 0);
    daemon_clear(&d);
}

/* What a burst of requests came to. */
struct burst {
    unsigned n_ok, n_draining, n_other;
};

static void
on_answer(void *cookie, struct keyd_answer *a)
{
    struct burst *b = cookie;

    if (a->status == KEYD_OK)
        b->n_ok++;
    else if (a->status == KEYD_UNAVAILABLE && strcmp(a->detail, "draining") == 0)
        b->n_draining++;
    else
        b->n_other++;
    keyd_client_answer_free(a);
}

enum { BURST = 200, BURST_CONNS = 8 };

/* Sends it over some connections. */
static void
burst_send(const struct daemon *d, keyd_client *c[BURST_CONNS], struct burst *b)
{
    *b = (struct burst){0};
    for (size_t i = 0; i < BURST_CONNS; i++)
        c[i] = ask_connect(d, "submission");
    for (size_t i = 0; i < BURST; i++) {
        struct person p;
        person_make(&p);
        assert_int_equal(
            keyd_client_submit(c[i % BURST_CONNS], &p.q, on_answer, b, NULL), KEYD_OK);
        kd_buf_free(&p.ssr);
    }
    for (size_t i = 0; i < BURST_CONNS; i++)
        assert_int_equal(keyd_client_process(c[i], 0), KEYD_OK);
}

static void
burst_end(keyd_client *c[BURST_CONNS])
{
    int64_t until = kd_clock_ms() + 20000;

    for (size_t i = 0; i < BURST_CONNS; i++) {
        while (keyd_client_pending(c[i]) > 0 && kd_clock_ms() < until &&
               keyd_client_process(c[i], 100) == KEYD_OK)
            ;
        keyd_client_free(c[i]);
    }
}

static void
what_is_in_flight_is_finished(void **state)
{
    struct daemon d;
    keyd_client *c[BURST_CONNS];
    struct burst b;
    uint64_t issued = 0;
    uint32_t left;

    (void)state;
    assert_true(prepare(&d, NULL));
    keyd_client *admin = ask_connect(&d, "admin");
    for (size_t round = 0; round < 5; round++) {
        burst_send(&d, c, &b);
        wait_a_moment((int)(round * 3));
        assert_int_equal(drain(admin, KEYD_DRAIN_BEGIN, true, &left), KEYD_OK);
        assert_int_equal(left, 0);
        burst_end(c);
        assert_int_equal(b.n_other, 0);
        assert_int_equal(b.n_ok + b.n_draining, BURST);
        issued += b.n_ok;
        assert_int_equal(ask_counter(&d, "issued"), issued);
        assert_int_equal(drain(admin, KEYD_DRAIN_CANCEL, false, NULL), KEYD_OK);
    }
    assert_true(issued > 0);
    keyd_client_free(admin);
    daemon_clear(&d);
}

/* --- the end --- */

static void
a_daemon_told_to_stop_answers_and_ends_with_0(void **state)
{
    struct daemon d;
    keyd_client *c[BURST_CONNS];
    struct burst b;

    (void)state;
    for (int by_signal = 0; by_signal < 2; by_signal++) {
        assert_true(prepare(&d, NULL));
        burst_send(&d, c, &b);
        wait_a_moment(3);
        if (by_signal) {
            assert_int_equal(kill(d.pid, SIGTERM), 0);
        } else {
            keyd_client *admin = ask_connect(&d, "admin");
            assert_int_equal(drain(admin, KEYD_DRAIN_STOP, true, NULL), KEYD_OK);
            keyd_client_free(admin);
        }
        burst_end(c);
        /* What did not get in at all, or was told to go elsewhere, is not lost: the
         * client knows that nothing was done. */
        assert_true(b.n_ok > 0);
        assert_int_equal(b.n_other, 0);
        assert_int_equal(daemon_wait_end(&d, 15000), 0);
        daemon_clear(&d);
    }
}

/* With a burst in flight that a stopped ledger, whose pid this is, does not answer. */
static pid_t
start_stuck(struct daemon *d, const struct daemon_options *options,
            keyd_client *c[BURST_CONNS], struct burst *b)
{
    assert_true(prepare(d, options));
    pid_t ledger = daemon_role(d, KEYD_PROCESS_LEDGER, "");
    assert_int_equal(kill(ledger, SIGSTOP), 0);
    burst_send(d, c, b);
    wait_a_moment(50);
    return ledger;
}

/* It goes on, and all ends in order. */
static void
end_stuck(struct daemon *d, pid_t ledger, keyd_client *c[BURST_CONNS])
{
    assert_int_equal(kill(ledger, SIGCONT), 0);
    burst_end(c);
    assert_int_equal(daemon_wait_end(d, 20000), 0);
    daemon_clear(d);
}

/* The ledger does not answer: what is in flight will not end. */
static void
a_stop_waits_no_longer_than_it_was_told(void **state)
{
    static const struct daemon_options options = {.top = "drain-timeout = 1"};
    struct daemon d;
    keyd_client *c[BURST_CONNS];
    struct burst b;

    (void)state;
    pid_t ledger = start_stuck(&d, &options, c, &b);
    int64_t begun = kd_clock_ms();
    assert_int_equal(kill(d.pid, SIGTERM), 0);
    assert_true(daemon_log_wait(&d, "drain-timeout is over", 5000));
    assert_true(kd_clock_ms() - begun >= 900 && kd_clock_ms() - begun < 4000);
    end_stuck(&d, ledger, c);
}

static void
the_second_signal_stops_at_once(void **state)
{
    static const struct daemon_options options = {.top = "drain-timeout = 300"};
    struct daemon d;
    keyd_client *c[BURST_CONNS];
    struct burst b;

    (void)state;
    pid_t ledger = start_stuck(&d, &options, c, &b);
    assert_int_equal(kill(d.pid, SIGTERM), 0);
    assert_true(daemon_log_wait(&d, "draining", 5000));
    wait_a_moment(200);
    assert_false(daemon_log_has(&d, "stopped"));
    assert_int_equal(kill(d.pid, SIGTERM), 0);
    end_stuck(&d, ledger, c);
}

static void
a_stop_can_be_taken_back_while_it_waits(void **state)
{
    static const struct daemon_options options = {.top = "drain-timeout = 60"};
    struct daemon d;
    keyd_client *c[BURST_CONNS];
    struct burst b;

    (void)state;
    assert_true(prepare(&d, &options));
    keyd_client *admin = ask_connect(&d, "admin");
    pid_t vault = daemon_role(&d, KEYD_PROCESS_LEDGER, "");
    assert_int_equal(kill(vault, SIGSTOP), 0);
    burst_send(&d, c, &b);
    wait_a_moment(50);
    uint32_t left = 0;
    assert_int_equal(drain(admin, KEYD_DRAIN_STOP, false, &left), KEYD_OK);
    assert_true(left > 0);
    assert_int_equal(drain(admin, KEYD_DRAIN_CANCEL, false, NULL), KEYD_OK);
    assert_int_equal(kill(vault, SIGCONT), 0);
    burst_end(c);
    assert_int_equal(b.n_ok, BURST);
    keyd_client *one = ask_connect(&d, "submission");
    assert_int_equal(issue(one), KEYD_OK);
    keyd_client_free(one);
    keyd_client_free(admin);
    daemon_clear(&d);
}

/* --- systemd --- */

static int
datagrams(const char *name)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    size_t n = strlen(name);

    assert_true(fd >= 0);
    memcpy(sun.sun_path + 1, name + 1, n - 1); /* abstract */
    assert_int_equal(bind(fd, (const struct sockaddr *)&sun,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
                     0);
    return fd;
}

/* The next message with that word; what comes before it is skipped. */
static void
notified(int fd, const char *word, char out[512])
{
    for (int i = 0; i < 50; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 10000), 1);
        ssize_t n = recv(fd, out, 511, 0);
        assert_true(n > 0);
        out[n] = '\0';
        if (strstr(out, word) != NULL)
            return;
    }
    fail_msg("never told: %s", word);
}

static void
the_service_manager_is_told_how_it_stands(void **state)
{
    char name[64], text[512];
    struct daemon d;
    struct keyd_answer *a = NULL;

    (void)state;
    snprintf(name, sizeof name, "@keyd-test-%d", (int)getpid());
    int fd = datagrams(name);
    const struct daemon_options options = {.notify = name};
    assert_true(daemon_start(&d, &options));
    notified(fd, "READY=1", text);
    keyd_client *admin = ask_connect(&d, "admin");
    assert_int_equal(keyd_client_reload(admin, &a), KEYD_OK);
    keyd_client_answer_free(a);
    notified(fd, "RELOADING=1", text);
    char *usec = strstr(text, "MONOTONIC_USEC=");
    assert_non_null(usec);
    int64_t told = strtoll(usec + strlen("MONOTONIC_USEC="), NULL, 10);
    assert_true(told > 0 && told <= kd_clock_ns() / 1000 &&
                told > kd_clock_ns() / 1000 - 10000000);
    notified(fd, "READY=1", text);
    /* A file that is refused is no end of the service. */
    shape_write(&d, "nonsense\n");
    assert_int_equal(kill(d.pid, SIGHUP), 0);
    notified(fd, "RELOADING=1", text);
    notified(fd, "READY=1", text);
    assert_non_null(strstr(text, "refused"));
    keyd_client_free(admin);
    assert_int_equal(daemon_stop(&d), 0);
    notified(fd, "STOPPING=1", text);
    close(fd);
    daemon_clear(&d);
}

static int
listening(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(chmod(path, 0660), 0);
    assert_int_equal(listen(fd, 512), 0);
    return fd;
}

/* --- no request is refused --- */

/* So many a second, whatever becomes of them: each is due at its time, and one that
 * takes long makes the next ones late, not fewer. */
struct steady_load {
    pthread_t thread;
    struct steady steady;
    bool looks_up;
    atomic_bool is_over;
    uint64_t n, n_failed;
    int64_t longest_ms;
    enum keyd_status last_bad;
};
enum { A_SECOND = 200, GIVE_UP_MS = 20000 };

static void *
load(void *arg)
{
    struct steady_load *l = arg;
    int64_t begun = kd_clock_ms();

    while (!atomic_load(&l->is_over)) {
        struct keyd_request look = {.op = KEYD_OP_LOOKUP_SIGNET,
                                    .in.lookup_signet.name = KEYD_STR("example.com")};
        struct keyd_answer *a = NULL;
        struct person p = {0};
        int64_t due = begun + (int64_t)l->n * 1000 / A_SECOND;
        int64_t now = kd_clock_ms();
        if (due > now)
            kd_ignore(poll(NULL, 0, (int)(due - now)));
        if (!l->looks_up)
            person_make(&p);
        enum keyd_status s = steady_ask(&l->steady, l->looks_up ? &look : &p.q, &a);
        keyd_client_answer_free(a);
        kd_buf_free(&p.ssr);
        l->n++;
        if (kd_clock_ms() - now > l->longest_ms)
            l->longest_ms = kd_clock_ms() - now;
        if (s != KEYD_OK) {
            l->n_failed++;
            l->last_bad = s;
        }
    }
    steady_clear(&l->steady);
    return NULL;
}

static void
load_begin(struct steady_load *l)
{
    l->steady.give_up_ms = GIVE_UP_MS;
    assert_int_equal(pthread_create(&l->thread, NULL, load, l), 0);
}

static void
load_end(struct steady_load *l, const char *what)
{
    wait_a_moment(300);
    atomic_store(&l->is_over, true);
    assert_int_equal(pthread_join(l->thread, NULL), 0);
    print_message("%s: %llu requests, %llu failed, %llu asked again, %llu times "
                  "elsewhere, the longest %lld ms\n",
                  what, (unsigned long long)l->n, (unsigned long long)l->n_failed,
                  (unsigned long long)l->steady.n_retried,
                  (unsigned long long)l->steady.n_moved, (long long)l->longest_ms);
    if (l->n_failed != 0)
        fail_msg("%llu requests failed, the last: %s", (unsigned long long)l->n_failed,
                 keyd_client_status_text(l->last_bad));
    assert_true(l->n > 100);
}

static void
restart(struct daemon *d)
{
    assert_int_equal(daemon_stop(d), 0);
    assert_true(daemon_launch(d) && daemon_wait(d, 20000));
}

/* One daemon, its sockets outlive it. */
static void
reload_drain_and_restart_refuse_no_request(void **state)
{
    static struct steady_load l; /* zero */
    struct daemon_options options = {.top = "drain-timeout = 5"};
    char submission[108], admin_path[108];
    int sockets[2];
    struct daemon d;

    (void)state;
    assert_true(daemon_prepare(&d, &options));
    daemon_socket(&d, "submission", submission);
    daemon_socket(&d, "admin", admin_path);
    char dir[160];
    assert_int_equal(mkdir(d.run, 0755), 0);
    snprintf(dir, sizeof dir, "%s/admin", d.run);
    assert_int_equal(mkdir(dir, 0755), 0);
    sockets[0] = listening(submission);
    sockets[1] = listening(admin_path);
    d.options.sockets = sockets;
    d.options.n_sockets = 2;
    assert_true(daemon_launch(&d) && daemon_wait(&d, 20000));
    assert_true(daemon_log_has(&d, "\"submission\" has its socket from"));
    assert_true(daemon_provision(&d, NULL) &&
                daemon_provision_domain(&d, "example.net", NULL));
    l.steady = (struct steady){.sockets = {submission}, .n = 1};
    load_begin(&l);
    for (size_t round = 0; round < test_rounds(30); round++) {
        keyd_client *admin = ask_connect(&d, "admin");
        struct keyd_answer *a = NULL;
        assert_int_equal(keyd_client_reload(admin, &a), KEYD_OK);
        keyd_client_answer_free(a);
        wait_a_moment(100);
        assert_int_equal(drain(admin, KEYD_DRAIN_BEGIN, true, NULL), KEYD_OK);
        wait_a_moment(50);
        assert_int_equal(drain(admin, KEYD_DRAIN_CANCEL, false, NULL), KEYD_OK);
        keyd_client_free(admin);
        wait_a_moment(100);
        restart(&d);
        wait_a_moment(100);
        admin = ask_connect(&d, "admin");
        assert_int_equal(drain(admin, KEYD_DRAIN_STOP, false, NULL), KEYD_OK);
        keyd_client_free(admin);
        assert_int_equal(daemon_wait_end(&d, 20000), 0);
        assert_true(daemon_launch(&d) && daemon_wait(&d, 20000));
    }
    load_end(&l, "one daemon, sockets that outlive it");
    daemon_stop(&d);
    struct stat st;
    assert_int_equal(stat(submission, &st), 0); /* not ours to remove */
    close(sockets[0]);
    close(sockets[1]);
    daemon_clear(&d);
}

/* Two daemons, each with what the clients ask for; one after the other is away. */
static void
two_daemons_of_which_one_is_away_refuse_no_request(void **state)
{
    static struct steady_load l; /* zero */
    static const struct daemon_options options = {.top = "drain-timeout = 5"};
    char path[2][108];
    struct daemon d[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(prepare(&d[i], &options));
        daemon_socket(&d[i], "submission", path[i]);
    }
    l.looks_up = true;
    l.steady = (struct steady){.sockets = {path[0], path[1]}, .n = 2};
    load_begin(&l);
    for (size_t round = 0; round < 2 * test_rounds(30); round++) {
        struct daemon *one = &d[round % 2];
        keyd_client *admin = ask_connect(one, "admin");
        struct keyd_answer *a = NULL;
        assert_int_equal(keyd_client_reload(admin, &a), KEYD_OK);
        keyd_client_answer_free(a);
        wait_a_moment(100);
        assert_int_equal(drain(admin, KEYD_DRAIN_STOP, true, NULL), KEYD_OK);
        keyd_client_free(admin);
        assert_int_equal(daemon_wait_end(one, 20000), 0);
        wait_a_moment(100);
        assert_true(daemon_launch(one) && daemon_wait(one, 20000));
    }
    load_end(&l, "two daemons");
    assert_true(l.steady.n_moved > 0);
    daemon_clear(&d[0]);
    daemon_clear(&d[1]);
}

/* A socket that no listener has is closed, one that lets in too many is told of. */
static void
sockets_of_nobody_and_open_ones_are_noticed(void **state)
{
    char submission[108], other[160], dir[160];
    int sockets[2];
    struct daemon d;

    (void)state;
    assert_true(daemon_prepare(&d, NULL));
    assert_int_equal(mkdir(d.run, 0755), 0);
    snprintf(dir, sizeof dir, "%s/admin", d.run);
    assert_int_equal(mkdir(dir, 0755), 0);
    daemon_socket(&d, "submission", submission);
    snprintf(other, sizeof other, "%s/other.sock", d.dir);
    sockets[0] = listening(other);
    sockets[1] = listening(submission);
    assert_int_equal(chmod(submission, 0666), 0);
    d.options.sockets = sockets;
    d.options.n_sockets = 2;
    assert_true(daemon_launch(&d) && daemon_wait(&d, 20000));
    assert_true(daemon_log_has(&d, "is no listener's: closed"));
    assert_true(daemon_log_has(&d, "mode 0666, more than the configured 0660"));
    close(sockets[0]);
    close(sockets[1]);
    daemon_clear(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_and_their_reasons_follow_each_other),
        cmocka_unit_test(a_domain_without_a_key_that_signs_degrades),
        cmocka_unit_test(
            a_domain_without_keys_for_messages_degrades_while_they_may_be_asked_for),
        cmocka_unit_test(a_draining_daemon_sends_new_requests_away),
        cmocka_unit_test(what_is_in_flight_is_finished),
        cmocka_unit_test(a_daemon_told_to_stop_answers_and_ends_with_0),
        cmocka_unit_test(a_stop_waits_no_longer_than_it_was_told),
        cmocka_unit_test(the_second_signal_stops_at_once),
        cmocka_unit_test(a_stop_can_be_taken_back_while_it_waits),
        cmocka_unit_test(the_service_manager_is_told_how_it_stands),
        cmocka_unit_test(reload_drain_and_restart_refuse_no_request),
        cmocka_unit_test(two_daemons_of_which_one_is_away_refuse_no_request),
        cmocka_unit_test(sockets_of_nobody_and_open_ones_are_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
