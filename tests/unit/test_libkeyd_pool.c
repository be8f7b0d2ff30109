/* libkeyd with several endpoints, each a scripted server: who is asked, what is asked
 * again and where, and what never is. */
#include "fds.h"
#include "rpc_sample.h"
#include "rpc_server.h"
#include "seen.h"
#include <keyd_client.h>

#include <errno.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { N_FAKES = 3 };

static keyd_client *client;
static struct kd_arena build;
static size_t fds_before;

/* A server: a listening socket and the one connection it has taken. */
static struct fake {
    int listener;
    struct rpc_server s;
    struct sockaddr_un at;
    char address[128];
} fakes[N_FAKES];

/* Fast enough for a test, and every figure of its own. */
static const struct keyd_options quick = {.backoff_first_ms = 4, .backoff_most_ms = 16};

static void
fake_listen(struct fake *f)
{
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&f->at, sizeof f->at), 0);
    assert_int_equal(listen(f->listener, 8), 0);
}

static void
fake_stop_listening(struct fake *f)
{
    close(f->listener);
    f->listener = -1;
    unlink(f->at.sun_path);
}

static void
fake_close(struct fake *f)
{
    rpc_server_clear(&f->s);
}

static int
start(void **state)
{
    const char *dir = getenv("TMPDIR");

    (void)state;
    fds_before = count_fds();
    client = keyd_client_new();
    kd_arena_init(&build);
    kd_arena_reset(&build, 1 << 22);
    for (int i = 0; i < N_FAKES; i++) {
        struct fake *f = &fakes[i];
        *f = (struct fake){.listener = -1, .at.sun_family = AF_UNIX};
        f->s.sock = f->s.fd = -1;
        snprintf(f->at.sun_path, sizeof f->at.sun_path, "%s/pool.%d.%d",
                 dir == NULL ? "/tmp" : dir, (int)getpid(), i);
        memcpy(f->address, "unix:", 5);
        memcpy(f->address + 5, f->at.sun_path, sizeof f->at.sun_path);
        unlink(f->at.sun_path);
        fake_listen(f);
    }
    assert_int_equal(keyd_client_set_options(client, &quick), KEYD_OK);
    return client == NULL ? -1 : 0;
}

static int
stop(void **state)
{
    (void)state;
    keyd_client_free(client);
    client = NULL;
    seen_forget();
    for (int i = 0; i < N_FAKES; i++) {
        if (fakes[i].listener >= 0)
            fake_stop_listening(&fakes[i]);
        fake_close(&fakes[i]);
    }
    kd_arena_free(&build);
    if (count_fds() == fds_before)
        return 0;
    fprintf(stderr, "descriptors leak\n");
    return -1;
}

static void
turn(void)
{
    assert_int_equal(keyd_client_process(client, 0), KEYD_OK);
}

static void
add(unsigned i, unsigned group)
{
    struct keyd_endpoint e = {.address = fakes[i].address, .group = group};

    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_OK);
}

/* Waits for the client's next connection, takes it and agrees. */
static void
fake_take(struct fake *f, uint32_t max_in_flight)
{
    int64_t until = kd_clock_ms() + 5000;
    int sock;

    fake_close(f);
    while ((sock = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC)) < 0) {
        assert_true(kd_clock_ms() < until);
        assert_int_equal(keyd_client_process(client, 2), KEYD_OK);
    }
    rpc_server_init(&f->s, sock);
    turn();
    rpc_server_greet(&f->s, max_in_flight);
    turn();
}

/* A client whose first n fakes are up. */
static void
up(unsigned n, unsigned group)
{
    for (unsigned i = 0; i < n; i++)
        add(i, group);
    turn();
    for (unsigned i = 0; i < n; i++)
        fake_take(&fakes[i], 32);
}

static uint64_t
submit(const struct keyd_request *q)
{
    uint64_t id = 0;

    assert_int_equal(keyd_client_submit(client, q, seen_note, seen, &id), KEYD_OK);
    return id;
}

static uint64_t
submit_lookup(uint32_t deadline_ms)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET,
                             .deadline_ms = deadline_ms,
                             .in.lookup_signet = {KEYD_STR("example.org"), KEYD_NONE}};

    return submit(&q);
}

static uint64_t
submit_generate(uint32_t deadline_ms)
{
    struct keyd_request q = {
        .op = KEYD_OP_GENERATE_KEY,
        .deadline_ms = deadline_ms,
        .in.generate_key = {KEYD_ROLE_SOK, KEYD_ED25519, KEYD_STR("example.org"), 3}};

    return submit(&q);
}

/* The next request of a server, letting the client work meanwhile; NULL: there is none
 * for as long. */
static const Keyd__V1__Request *
next_within(struct fake *f, int ms)
{
    int64_t until = kd_clock_ms() + ms;
    const Keyd__V1__Request *q;

    do {
        turn();
        if (f->s.sock >= 0 && (q = rpc_server_next(&f->s, 0)) != NULL)
            return q;
        keyd_client_process(client, 1);
    } while (kd_clock_ms() < until);
    return NULL;
}

static const Keyd__V1__Request *
next(struct fake *f)
{
    const Keyd__V1__Request *q = next_within(f, 5000);

    assert_non_null(q);
    return q;
}

static void
nothing_comes(struct fake *f)
{
    assert_null(next_within(f, 30));
}

static void
give(struct fake *f, uint64_t id, unsigned oneof_case)
{
    Keyd__V1__Response *m = sample_response(&build, oneof_case);

    m->id = id;
    rpc_server_answer(&f->s, m, -1);
}

static void
serve(struct fake *f)
{
    const Keyd__V1__Request *q = next(f);

    give(f, q->id, (unsigned)q->op_case);
}

static void
refuse(struct fake *f, kd_err err, uint32_t retry_after_ms)
{
    rpc_server_refuse(&f->s, next(f)->id, err, KD_RPC_NOT_SERVED, retry_after_ms);
}

static void
wait_seen(size_t n)
{
    int64_t until = kd_clock_ms() + 5000;

    while (n_seen < n && kd_clock_ms() < until)
        assert_int_equal(keyd_client_process(client, 50), KEYD_OK);
    assert_int_equal(n_seen, n);
}

static void
ended(enum keyd_status status, unsigned endpoint, unsigned attempts)
{
    wait_seen(1);
    if (seen[0]->status != status)
        fail_msg("%s (%s)", keyd_client_status_text(seen[0]->status), seen[0]->detail);
    assert_int_equal(seen[0]->endpoint, endpoint);
    assert_int_equal(seen[0]->attempts, attempts);
    seen_forget();
}

/* ---- spreading */

static void
requests_go_where_the_fewest_are(void **state)
{
    (void)state;
    up(3, 0);
    for (int i = 0; i < 9; i++)
        submit_lookup(0);
    turn();
    for (int i = 0; i < N_FAKES; i++)
        for (int k = 0; k < 3; k++)
            assert_non_null(rpc_server_next(&fakes[i].s, 100));
    for (int i = 0; i < N_FAKES; i++)
        assert_null(rpc_server_next(&fakes[i].s, 0));
    keyd_client_close(client);
    assert_int_equal(n_seen, 9);
}

static void
by_turns_if_that_is_wanted(void **state)
{
    struct keyd_options o = quick;

    (void)state;
    o.spread = KEYD_ROUND_ROBIN;
    assert_int_equal(keyd_client_set_options(client, &o), KEYD_OK);
    up(3, 0);
    /* The first two answer at once, the third never does: it gets its share still. */
    for (int i = 0; i < 9; i++) {
        submit_lookup(0);
        turn();
        if (i % 3 != 2)
            serve(&fakes[i % 3]);
    }
    struct keyd_endpoint_info info;
    turn();
    assert_int_equal(keyd_client_endpoint_info(client, 3, &info), KEYD_OK);
    assert_int_equal(info.in_flight, 3);
    assert_int_equal(keyd_client_endpoint_info(client, 1, &info), KEYD_OK);
    assert_int_equal(info.n_answered, 3);
    assert_string_equal(info.address, fakes[0].address);
    assert_int_equal(info.state, KEYD_ENDPOINT_UP);
    assert_string_equal(info.server.class_name, "test");
    assert_int_equal(keyd_client_endpoint_info(client, 4, &info), KEYD_USAGE);
    assert_int_equal(keyd_client_endpoint_info(client, 0, &info), KEYD_USAGE);
}

static void
as_many_fly_as_each_server_takes(void **state)
{
    (void)state;
    add(0, 0);
    add(1, 0);
    turn();
    fake_take(&fakes[0], 4);
    fake_take(&fakes[1], 9);
    for (int i = 0; i < 20; i++)
        submit_lookup(0);
    turn();
    for (int i = 0; i < 4; i++)
        assert_non_null(rpc_server_next(&fakes[0].s, 100));
    for (int i = 0; i < 9; i++)
        assert_non_null(rpc_server_next(&fakes[1].s, 100));
    assert_null(rpc_server_next(&fakes[0].s, 0));
    assert_null(rpc_server_next(&fakes[1].s, 0));
    keyd_client_close(client);
    assert_int_equal(n_seen, 20);
}

static void
a_request_may_name_its_endpoint(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_STATUS, .endpoint = 2};

    (void)state;
    up(3, 0);
    for (int i = 0; i < 5; i++)
        submit(&q);
    turn();
    for (int i = 0; i < 5; i++)
        serve(&fakes[1]);
    wait_seen(5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(seen[i]->endpoint, 2);
    q.endpoint = 4;
    assert_int_equal(keyd_client_submit(client, &q, seen_note, seen, NULL), KEYD_USAGE);
}

/* ---- loss */

static void
a_read_goes_elsewhere_when_its_connection_is_lost(void **state)
{
    (void)state;
    up(2, 0);
    submit_lookup(1000);
    turn();
    const Keyd__V1__Request *first = rpc_server_next(&fakes[0].s, 100);
    assert_non_null(first);
    uint32_t deadline = first->deadline_ms;
    fake_stop_listening(&fakes[0]);
    usleep(20000);
    fake_close(&fakes[0]);
    const Keyd__V1__Request *again = next(&fakes[1]);
    assert_true(again->deadline_ms <= deadline - 15); /* what is left of it */
    give(&fakes[1], again->id, (unsigned)again->op_case);
    ended(KEYD_OK, 2, 2);
}

static void
a_change_that_may_be_done_is_asked_again_where_it_was(void **state)
{
    uint8_t key[16];

    (void)state;
    up(2, 0);
    submit_generate(0);
    turn();
    const Keyd__V1__Request *q = rpc_server_next(&fakes[0].s, 100);
    assert_non_null(q);
    memcpy(key, q->idempotency_key.data, 16);
    fake_close(&fakes[0]);
    nothing_comes(&fakes[1]);
    fake_take(&fakes[0], 32);
    q = next(&fakes[0]);
    assert_memory_equal(q->idempotency_key.data, key, 16);
    give(&fakes[0], q->id, (unsigned)q->op_case);
    ended(KEYD_OK, 1, 2);
}

static void
in_a_group_it_is_asked_again_of_another(void **state)
{
    uint8_t key[16];

    (void)state;
    up(2, 7);
    submit_generate(0);
    turn();
    const Keyd__V1__Request *q = rpc_server_next(&fakes[0].s, 100);
    assert_non_null(q);
    memcpy(key, q->idempotency_key.data, 16);
    fake_close(&fakes[0]);
    q = next(&fakes[1]);
    assert_memory_equal(q->idempotency_key.data, key, 16);
    give(&fakes[1], q->id, (unsigned)q->op_case);
    ended(KEYD_OK, 2, 2);
}

static void
a_change_that_never_left_goes_anywhere(void **state)
{
    struct keyd_profile_field profile[2];
    static uint8_t value[30000];
    struct keyd_request q = {.op = KEYD_OP_ISSUE_USER_SIGNET};

    (void)state;
    up(1, 0);
    /* The server reads nothing: its socket fills up, and what is behind stays here. */
    for (size_t i = 0; i < 2; i++)
        profile[i] =
            (struct keyd_profile_field){.type = 160, .value = {value, sizeof value}};
    q.in.issue_user_signet.address = KEYD_STR("a@example.org");
    q.in.issue_user_signet.ssr = KEYD_STR("ssr");
    q.in.issue_user_signet.account_mode = KEYD_ACCOUNT_CAUTIOUS;
    q.in.issue_user_signet.profile = profile;
    q.in.issue_user_signet.n_profile = 2;
    for (int i = 0; i < 16; i++)
        submit(&q);
    for (int i = 0; i < 20; i++)
        turn();
    add(1, 0);
    turn();
    size_t read_there = 0;
    while (rpc_server_next(&fakes[0].s, 0) != NULL)
        read_there++; /* no turn of the client between: what was in the socket */
    assert_in_range(read_there, 1, 14);
    fake_stop_listening(&fakes[0]);
    fake_close(&fakes[0]);
    fake_take(&fakes[1], 32);
    size_t n = 0;
    const Keyd__V1__Request *m;
    while ((m = next_within(&fakes[1], 30)) != NULL) {
        give(&fakes[1], m->id, (unsigned)m->op_case);
        n++;
    }
    assert_int_equal(n, 16 - read_there); /* the others may have been done */
    wait_seen(n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(seen[i]->status, KEYD_OK);
    seen_forget();
    keyd_client_close(client);
    assert_int_equal(n_seen, read_there);
    for (size_t i = 0; i < n_seen; i++)
        assert_int_equal(seen[i]->status, KEYD_UNKNOWN_OUTCOME);
}

static void
what_is_neither_read_nor_change_is_sent_once(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_SEAL};
    char secret[] = "secret";
    struct keyd_request u = {.op = KEYD_OP_UNSEAL,
                             .in.slot = {KEYD_SLOT_PASSPHRASE, {secret, 6}}};

    (void)state;
    up(2, 7);
    submit(&q);
    turn();
    assert_non_null(rpc_server_next(&fakes[0].s, 100));
    fake_close(&fakes[0]);
    ended(KEYD_UNAVAILABLE, 1, 1);
    fake_take(&fakes[0], 32);
    u.endpoint = 2;
    submit(&u);
    refuse(&fakes[1], KD_BUSY, 0);
    ended(KEYD_BUSY, 2, 1);
}

static void
an_endpoint_that_is_silent_is_given_up(void **state)
{
    struct keyd_options o = quick;

    (void)state;
    o.silent_ms = 30;
    assert_int_equal(keyd_client_set_options(client, &o), KEYD_OK);
    up(2, 0);
    submit_lookup(0);
    turn();
    assert_non_null(rpc_server_next(&fakes[0].s, 100));
    serve(&fakes[1]);
    ended(KEYD_OK, 2, 2);
    struct keyd_endpoint_info info;
    assert_int_equal(keyd_client_endpoint_info(client, 1, &info), KEYD_OK);
    assert_string_equal(info.detail, "silent");
    assert_int_equal(info.n_lost, 1);
}

/* However far an answer came before the connection was cut, the request is answered by
 * the other, and nothing is left behind. */
static void
an_answer_cut_anywhere_is_asked_for_elsewhere(void **state)
{
    uint8_t octets[200];
    struct kd_frame_out out;
    struct kd_rpc_fault fault;

    (void)state;
    up(2, 0);
    for (size_t n = 0;; n++) {
        submit_lookup(0);
        turn();
        int which = 0;
        const Keyd__V1__Request *q = rpc_server_next(&fakes[0].s, 0);
        if (q == NULL)
            q = rpc_server_next(&fakes[which = 1].s, 100);
        assert_non_null(q);
        Keyd__V1__Response *m =
            sample_response(&build, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);
        m->id = q->id;
        kd_frame_out_init(&out, KD_FRAME_MAX);
        assert_int_equal(kd_rpc_put_response(&out, m, -1, &fault), KD_OK);
        size_t size = kd_frame_out_queued(&out);
        assert_true(size < sizeof octets);
        memcpy(octets, out.p, size);
        kd_frame_out_clear(&out);
        if (n == size)
            break;
        if (n > 0)
            rpc_server_raw(&fakes[which].s, octets, n);
        fake_close(&fakes[which]);
        serve(&fakes[1 - which]);
        ended(KEYD_OK, (unsigned)(2 - which), 2);
        fake_take(&fakes[which], 32);
        kd_arena_reset(&build, 1 << 22);
    }
}

static void
garbage_closes_and_the_read_goes_elsewhere(void **state)
{
    static const struct {
        const char *p;
        size_t n;
    } garbage[] = {
        {"HTTP/1.0 400 Bad Request\r\n\r\n", 28},
        {"\0\0\0\0", 4},
        {"\0\0\0\3abc", 7},
        {"\0\0\0\2\x08", 5}, /* cut */
    };

    (void)state;
    up(2, 0);
    for (size_t i = 0; i < 4; i++) {
        struct keyd_request q = {.op = KEYD_OP_AUDIT_HEAD};
        submit(&q);
        turn();
        int which = rpc_server_next(&fakes[0].s, 0) != NULL ? 0 : 1;
        rpc_server_raw(&fakes[which].s, garbage[i].p, garbage[i].n);
        if (i == 3) {
            fake_close(&fakes[which]);
        } else {
            struct keyd_endpoint_info info;
            turn();
            assert_int_equal(
                keyd_client_endpoint_info(client, (unsigned)which + 1, &info), KEYD_OK);
            assert_int_equal(info.why, KEYD_PROTOCOL);
        }
        if (which == 1)
            rpc_server_next(&fakes[1].s, 0);
        serve(&fakes[1 - which]);
        ended(KEYD_OK, (unsigned)(2 - which), 2);
        fake_take(&fakes[which], 32);
    }
}

static void
an_answer_given_twice_loses_that_connection_only(void **state)
{
    (void)state;
    up(2, 0);
    submit_lookup(0);
    turn();
    const Keyd__V1__Request *q = rpc_server_next(&fakes[0].s, 100);
    assert_non_null(q);
    uint64_t id = q->id;
    give(&fakes[0], id, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);
    give(&fakes[0], id, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);
    ended(KEYD_OK, 1, 1);
    struct keyd_endpoint_info info;
    assert_int_equal(keyd_client_endpoint_info(client, 1, &info), KEYD_OK);
    assert_string_equal(info.detail, "unknown-id");
    assert_int_equal(keyd_client_endpoint_info(client, 2, &info), KEYD_OK);
    assert_int_equal(info.state, KEYD_ENDPOINT_UP);
}

/* ---- refusals */

static void
final_answers_come_back_at_once(void **state)
{
    static const struct {
        kd_err err;
        enum keyd_status status;
    } finals[] = {
        {KD_INVALID, KEYD_INVALID},         {KD_DENIED, KEYD_DENIED},
        {KD_NOT_FOUND, KEYD_NOT_FOUND},     {KD_CONFLICT, KEYD_CONFLICT},
        {KD_UNSUPPORTED, KEYD_UNSUPPORTED}, {KD_FAILED, KEYD_FAILED},
        {KD_TIMEOUT, KEYD_DEADLINE},
    };

    (void)state;
    up(2, 7);
    for (size_t i = 0; i < sizeof finals / sizeof finals[0]; i++) {
        struct fake *f = &fakes[i % 2];
        if (i % 4 < 2)
            submit_lookup(0);
        else
            submit_generate(0);
        refuse(f, finals[i].err, 0);
        ended(finals[i].status, (unsigned)(i % 2) + 1, 1);
        nothing_comes(&fakes[1 - i % 2]);
    }
}

static void
busy_goes_to_another_at_once(void **state)
{
    (void)state;
    up(2, 0);
    submit_generate(0);
    refuse(&fakes[0], KD_BUSY, 60000);
    serve(&fakes[1]);
    ended(KEYD_OK, 2, 2);
}

static void
busy_everywhere_waits_as_long_as_it_was_told(void **state)
{
    (void)state;
    up(2, 0);
    submit_generate(0);
    refuse(&fakes[0], KD_BUSY, 80);
    int64_t before = kd_clock_ms();
    refuse(&fakes[1], KD_BUSY, 80);
    turn();
    assert_true(keyd_client_timeout_ms(client) > 0);
    const Keyd__V1__Request *q = NULL;
    int which = 0;
    while (q == NULL && kd_clock_ms() < before + 5000) {
        which = 1 - which;
        q = next_within(&fakes[which], 1);
    }
    assert_non_null(q);
    assert_true(kd_clock_ms() - before >= 79);
    give(&fakes[which], q->id, (unsigned)q->op_case);
    ended(KEYD_OK, (unsigned)which + 1, 3);
}

static void
advice_beyond_the_deadline_ends_the_request(void **state)
{
    (void)state;
    up(1, 0);
    submit_lookup(500);
    refuse(&fakes[0], KD_BUSY, 600);
    int64_t before = kd_clock_ms();
    wait_seen(1);
    assert_true(kd_clock_ms() - before < 100);
    assert_int_equal(seen[0]->status, KEYD_BUSY);
    assert_int_equal(seen[0]->retry_after_ms, 600);
    assert_string_equal(seen[0]->detail, "operation-not-served");
}

static void
an_unknown_outcome_is_asked_about_with_the_same_key(void **state)
{
    uint8_t key[16];

    (void)state;
    up(2, 0);
    submit_generate(0);
    const Keyd__V1__Request *q = next(&fakes[0]);
    memcpy(key, q->idempotency_key.data, 16);
    for (int i = 0; i < 3; i++) {
        rpc_server_refuse(&fakes[0].s, q->id, KD_UNKNOWN, KD_RPC_NOT_SERVED, 0);
        q = next(&fakes[0]);
        assert_memory_equal(q->idempotency_key.data, key, 16);
    }
    nothing_comes(&fakes[1]);
    give(&fakes[0], q->id, (unsigned)q->op_case);
    ended(KEYD_OK, 1, 4);
}

/* The attempt before may have been served: what is said of the second is said before
 * anybody has looked at the key. */
static void
a_second_attempt_refused_leaves_the_first_unknown(void **state)
{
    static const kd_err all[] = {KD_TIMEOUT, KD_DENIED, KD_UNSUPPORTED};

    (void)state;
    up(1, 0);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        submit_generate(5000);
        next(&fakes[0]);
        fake_close(&fakes[0]);
        fake_take(&fakes[0], 32);
        refuse(&fakes[0], all[i], 0);
        ended(KEYD_UNKNOWN_OUTCOME, 1, 2);
    }
}

static void
an_outcome_nobody_knows_by_the_deadline_is_unknown(void **state)
{
    (void)state;
    up(1, 0);
    submit_generate(60);
    next(&fakes[0]);
    fake_stop_listening(&fakes[0]);
    fake_close(&fakes[0]);
    ended(KEYD_UNKNOWN_OUTCOME, 1, 1);
}

/* Sealed: what takes keys goes elsewhere, what does not is served there still. */
static void
a_sealed_endpoint_rests_for_what_takes_keys(void **state)
{
    struct keyd_endpoint_info info;
    struct keyd_options o = quick;

    (void)state;
    o.backoff_first_ms = o.backoff_most_ms = 600000;
    assert_int_equal(keyd_client_set_options(client, &o), KEYD_OK);
    up(2, 0);
    submit_generate(0);
    refuse(&fakes[0], KD_SEALED, 0);
    serve(&fakes[1]);
    ended(KEYD_OK, 2, 2);
    assert_int_equal(keyd_client_endpoint_info(client, 1, &info), KEYD_OK);
    assert_int_equal(info.state, KEYD_ENDPOINT_RESTING);
    for (int i = 0; i < 3; i++) {
        submit_generate(0);
        serve(&fakes[1]);
        ended(KEYD_OK, 2, 1);
    }
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET,
                             .endpoint = 1,
                             .in.lookup_signet = {KEYD_STR("example.org"), KEYD_NONE}};
    submit(&q);
    serve(&fakes[0]);
    ended(KEYD_OK, 1, 1);
    /* Nothing else will do: its deadline passes, and the reason is told. */
    q = (struct keyd_request){
        .op = KEYD_OP_GENERATE_KEY,
        .deadline_ms = 30,
        .endpoint = 1,
        .in.generate_key = {KEYD_ROLE_SOK, KEYD_ED25519, KEYD_STR("example.org"), 3}};
    submit(&q);
    ended(KEYD_SEALED, 0, 0);
}

static void
after_a_rest_one_request_goes_first(void **state)
{
    (void)state;
    up(1, 0);
    for (int i = 0; i < 4; i++)
        submit_generate(0);
    turn();
    for (int i = 0; i < 4; i++) {
        const Keyd__V1__Request *q = rpc_server_next(&fakes[0].s, 100);
        assert_non_null(q);
        rpc_server_refuse(&fakes[0].s, q->id, KD_UNAVAILABLE, KD_RPC_NOT_SERVED, 0);
    }
    uint64_t id = next(&fakes[0])->id;
    nothing_comes(&fakes[0]);
    rpc_server_refuse(&fakes[0].s, id, KD_UNAVAILABLE, KD_RPC_NOT_SERVED, 0);
    id = next(&fakes[0])->id;
    nothing_comes(&fakes[0]);
    give(&fakes[0], id, KEYD__V1__RESPONSE__RESULT_GENERATE_KEY);
    for (int i = 0; i < 3; i++) { /* it works again: the others follow together */
        const Keyd__V1__Request *q = next(&fakes[0]);
        give(&fakes[0], q->id, (unsigned)q->op_case);
    }
    wait_seen(4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(seen[i]->status, KEYD_OK);
}

static void
a_farewell_moves_what_was_under_way(void **state)
{
    (void)state;
    up(2, 0);
    submit_lookup(0);
    turn();
    assert_non_null(rpc_server_next(&fakes[0].s, 100));
    rpc_server_refuse(&fakes[0].s, 0, KD_UNAVAILABLE, KD_RPC_NOT_SERVED, 0);
    serve(&fakes[1]);
    ended(KEYD_OK, 2, 2);
}

/* ---- nobody there */

static void
requests_wait_for_the_first_endpoint_that_comes_up(void **state)
{
    (void)state;
    fake_stop_listening(&fakes[0]);
    fake_stop_listening(&fakes[1]);
    add(0, 0);
    add(1, 0);
    submit_lookup(0);
    submit_generate(0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(keyd_client_process(client, 5), KEYD_OK);
    assert_int_equal(n_seen, 0);
    fake_listen(&fakes[1]);
    fake_take(&fakes[1], 32);
    serve(&fakes[1]);
    serve(&fakes[1]);
    wait_seen(2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(seen[i]->status, KEYD_OK);
        assert_int_equal(seen[i]->attempts, 1);
    }
}

static void
with_nobody_there_the_deadline_says_why(void **state)
{
    (void)state;
    fake_stop_listening(&fakes[0]);
    add(0, 0);
    submit_generate(30);
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_UNAVAILABLE);
    assert_string_equal(seen[0]->detail, "connection-refused");
    assert_int_equal(seen[0]->attempts, 0);
}

static void
failing_at_once_waits_for_nobody(void **state)
{
    struct keyd_options o = quick;
    struct keyd_request q = {.op = KEYD_OP_AUDIT_HEAD};

    (void)state;
    o.fail_at_once = true;
    assert_int_equal(keyd_client_set_options(client, &o), KEYD_OK);
    fake_stop_listening(&fakes[0]);
    add(0, 0);
    int64_t before = kd_clock_ms();
    submit(&q); /* it has not been tried yet */
    wait_seen(1);
    assert_string_equal(seen[0]->detail, "connection-refused");
    ended(KEYD_UNAVAILABLE, 0, 0);
    assert_int_equal(keyd_client_submit(client, &q, seen_note, seen, NULL),
                     KEYD_UNAVAILABLE);
    assert_true(kd_clock_ms() - before < 1000);
    fake_listen(&fakes[0]);
    fake_take(&fakes[0], 32);
    submit(&q);
    refuse(&fakes[0], KD_BUSY, 5);
    ended(KEYD_BUSY, 1, 1);
    submit(&q);
    refuse(&fakes[0], KD_UNAVAILABLE, 5);
    ended(KEYD_UNAVAILABLE, 1, 1);
}

/* Thirty reads lost at once may be asked again by as many as the budget has, the others
 * by and by. */
static void
retries_are_rationed(void **state)
{
    struct keyd_options o = quick;

    (void)state;
    o.retries_burst = 10;
    o.retries_per_second = 20;
    assert_int_equal(keyd_client_set_options(client, &o), KEYD_OK);
    add(0, 0);
    turn();
    fake_take(&fakes[0], 32);
    for (int i = 0; i < 30; i++)
        submit_lookup(0);
    turn();
    for (int i = 0; i < 30; i++)
        assert_non_null(rpc_server_next(&fakes[0].s, 100));
    fake_close(&fakes[0]);
    fake_take(&fakes[0], 32);
    int64_t since = kd_clock_ms();
    int n = 0;
    while (kd_clock_ms() < since + 25 && n < 30)
        if (next_within(&fakes[0], 1) != NULL)
            n++;
    assert_in_range(n, 10, 12);
    while (kd_clock_ms() < since + 325 && n < 30)
        if (next_within(&fakes[0], 1) != NULL)
            n++;
    assert_in_range(n, 14, 18); /* 20 a second */
    keyd_client_close(client);
    assert_int_equal(n_seen, 30);
}

/* ---- the rest */

static void
an_object_goes_with_every_attempt(void **state)
{
    static uint8_t image[100000];
    uint8_t back[sizeof image];
    struct keyd_request q = {.op = KEYD_OP_ISSUE_USER_SIGNET};

    (void)state;
    for (size_t i = 0; i < sizeof image; i++)
        image[i] = (uint8_t)(i * 31);
    q.in.issue_user_signet.address = KEYD_STR("a@example.org");
    q.in.issue_user_signet.ssr = KEYD_STR("ssr");
    q.in.issue_user_signet.account_mode = KEYD_ACCOUNT_CAUTIOUS;
    q.in.issue_user_signet.image = (struct keyd_octets){image, sizeof image};
    up(2, 0);
    submit(&q);
    for (int i = 0; i < 2; i++) {
        const Keyd__V1__Request *m = next(&fakes[i]);
        assert_true(m->takes_fd && m->issue_user_signet->image_fd);
        assert_int_equal(m->upload_id.len, 0);
        assert_int_equal(kd_memfd_read(fakes[i].s.fd, 0, back, sizeof back), KD_OK);
        assert_memory_equal(back, image, sizeof image);
        if (i == 0)
            rpc_server_refuse(&fakes[0].s, m->id, KD_UNAVAILABLE, KD_RPC_NOT_SERVED, 0);
        else
            give(&fakes[1], m->id, (unsigned)m->op_case);
    }
    ended(KEYD_OK, 2, 2);
}

static void
one_descriptor_is_polled_for_all(void **state)
{
    struct pollfd p = {.events = POLLIN};

    (void)state;
    up(2, 0);
    p.fd = keyd_client_fd(client);
    assert_true(p.fd >= 0);
    assert_int_equal(keyd_client_events(client), POLLIN);
    assert_true(keyd_client_timeout_ms(client) > 1000);
    submit_lookup(0);
    assert_int_equal(keyd_client_timeout_ms(client), 0); /* it is to leave */
    turn();
    assert_true(keyd_client_timeout_ms(client) > 1000);
    assert_int_equal(poll(&p, 1, 0), 0);
    const Keyd__V1__Request *q = rpc_server_next(&fakes[0].s, 100);
    assert_non_null(q);
    give(&fakes[0], q->id, (unsigned)q->op_case);
    assert_int_equal(poll(&p, 1, 1000), 1);
    turn();
    assert_int_equal(n_seen, 1);
    assert_int_equal(poll(&p, 1, 0), 0);
    fake_close(&fakes[1]);
    assert_int_equal(poll(&p, 1, 1000), 1);
    turn();
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_in_range(keyd_client_timeout_ms(client), 0, 16); /* the next attempt */
    assert_int_equal(p.fd, keyd_client_fd(client));
}

static void
closing_ends_all_and_the_next_request_connects_again(void **state)
{
    (void)state;
    up(2, 0);
    submit_lookup(0);
    submit_generate(0);
    turn();
    keyd_client_close(client);
    assert_int_equal(n_seen, 2);
    assert_int_equal(seen[0]->status, KEYD_UNAVAILABLE);
    assert_int_equal(seen[1]->status, KEYD_UNKNOWN_OUTCOME);
    seen_forget();
    turn();
    assert_int_equal(accept4(fakes[0].listener, NULL, NULL, 0), -1);
    assert_int_equal(keyd_client_timeout_ms(client), -1);
    submit_lookup(0);
    fake_take(&fakes[0], 32);
    serve(&fakes[0]);
    ended(KEYD_OK, 1, 1);
}

static void
close_in_callback(void *cookie, struct keyd_answer *answer)
{
    ++*(int *)cookie;
    keyd_client_answer_free(answer);
    keyd_client_close(client);
}

static void
free_in_callback(void *cookie, struct keyd_answer *answer)
{
    ++*(int *)cookie;
    keyd_client_answer_free(answer);
    keyd_client_free(client);
    client = NULL;
}

static void
callbacks_may_close_and_free(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_AUDIT_HEAD};
    int n = 0;

    (void)state;
    up(2, 0);
    assert_int_equal(keyd_client_submit(client, &q, close_in_callback, &n, NULL),
                     KEYD_OK);
    submit_lookup(0);
    submit_lookup(0);
    serve(&fakes[0]);
    wait_seen(2);
    assert_int_equal(n, 1);
    seen_forget();
    assert_int_equal(keyd_client_submit(client, &q, free_in_callback, &n, NULL),
                     KEYD_OK);
    submit_lookup(0);
    fake_take(&fakes[0], 32);
    const Keyd__V1__Request *m = rpc_server_next(&fakes[0].s, 100);
    assert_non_null(m);
    give(&fakes[0], m->id, (unsigned)m->op_case);
    assert_int_equal(keyd_client_process(client, 1000), KEYD_UNAVAILABLE);
    assert_int_equal(n, 2);
    assert_int_equal(n_seen, 1);
}

static void
calls_that_wait_work_as_before(void **state)
{
    struct keyd_answer *a = NULL;

    (void)state;
    fake_stop_listening(&fakes[0]);
    add(0, 0);
    assert_int_equal(keyd_client_set_deadline(client, 40), KEYD_OK);
    assert_int_equal(keyd_client_status(client, &a), KEYD_UNAVAILABLE);
    assert_non_null(a);
    assert_string_equal(a->detail, "connection-refused");
    keyd_client_answer_free(a);
}

static void
a_client_is_of_one_kind(void **state)
{
    int pair[2];
    struct keyd_endpoint e = {.address = fakes[0].address};

    (void)state;
    up(1, 0);
    assert_int_equal(keyd_client_connect(client, fakes[1].at.sun_path, 100),
                     KEYD_USAGE);
    assert_int_equal(keyd_client_start(client, fakes[1].at.sun_path), KEYD_USAGE);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(keyd_client_adopt(client, pair[0]), KEYD_USAGE);
    keyd_client_free(client);
    client = keyd_client_new();
    assert_int_equal(keyd_client_start(client, fakes[1].at.sun_path), KEYD_OK);
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_USAGE);
    close(pair[1]);
}

static void
addresses_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {
        "",        "/run/x",      "unix:",     "tls:host",     "tls::4433",
        "tls:h:0", "tls:h:65536", "tls:h:44x", "tls:[::1:44",  "tls:[]:44",
        "tls:h:",  "tls:[::1]44", "http:h:80", "tls:h:000443", "tls:h:-1",
    };
    static const struct keyd_tls tls = {
        .certificate = "/nonexistent", .key = "x", .ca = "x"};
    char name[] = "unix:/x";
    char longer[400];
    struct keyd_endpoint e = {.address = name};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        e = (struct keyd_endpoint){.address = bad[i], .tls = &tls};
        if (strncmp(bad[i], "unix", 4) == 0)
            e.tls = NULL;
        assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_USAGE);
    }
    memset(longer, 'x', sizeof longer);
    memcpy(longer, "unix:", 5);
    longer[399] = '\0';
    e = (struct keyd_endpoint){.address = longer};
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_USAGE);
    e = (struct keyd_endpoint){.address = name, .tls = &tls};
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_USAGE);
    e = (struct keyd_endpoint){.address = "tls:[2001:db8::1]:4433"};
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_USAGE);
    e.tls = &tls;
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_DENIED);
    assert_string_equal(keyd_client_detail(client), "tls-own-certificate");
    assert_int_equal(keyd_client_n_endpoints(client), 0);
    assert_int_equal(keyd_client_add_endpoints(client, " ", NULL), KEYD_USAGE);
    assert_int_equal(
        keyd_client_add_endpoints(client, "unix:/a, unix:/b\nunix:/c", NULL), KEYD_OK);
    assert_int_equal(keyd_client_n_endpoints(client), 3);
    e = (struct keyd_endpoint){.address = name};
    while (keyd_client_add_endpoint(client, &e) == KEYD_OK)
        assert_true(keyd_client_n_endpoints(client) <= KEYD_ENDPOINTS_MAX);
    assert_int_equal(keyd_client_n_endpoints(client), KEYD_ENDPOINTS_MAX);
}

static void
options_are_checked(void **state)
{
    struct keyd_options o = {.connect_ms = 600001};

    (void)state;
    assert_int_equal(keyd_client_set_options(client, &o), KEYD_USAGE);
    o = (struct keyd_options){.backoff_first_ms = 20000};
    assert_int_equal(keyd_client_set_options(client, &o), KEYD_USAGE);
    o = (struct keyd_options){.spread = (enum keyd_spread)2};
    assert_int_equal(keyd_client_set_options(client, &o), KEYD_USAGE);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
    static const struct CMUnitTest tests[] = {
        T(requests_go_where_the_fewest_are),
        T(by_turns_if_that_is_wanted),
        T(as_many_fly_as_each_server_takes),
        T(a_request_may_name_its_endpoint),
        T(a_read_goes_elsewhere_when_its_connection_is_lost),
        T(a_change_that_may_be_done_is_asked_again_where_it_was),
        T(in_a_group_it_is_asked_again_of_another),
        T(a_change_that_never_left_goes_anywhere),
        T(what_is_neither_read_nor_change_is_sent_once),
        T(an_endpoint_that_is_silent_is_given_up),
        T(an_answer_cut_anywhere_is_asked_for_elsewhere),
        T(garbage_closes_and_the_read_goes_elsewhere),
        T(an_answer_given_twice_loses_that_connection_only),
        T(final_answers_come_back_at_once),
        T(busy_goes_to_another_at_once),
        T(busy_everywhere_waits_as_long_as_it_was_told),
        T(advice_beyond_the_deadline_ends_the_request),
        T(an_unknown_outcome_is_asked_about_with_the_same_key),
        T(a_second_attempt_refused_leaves_the_first_unknown),
        T(an_outcome_nobody_knows_by_the_deadline_is_unknown),
        T(a_sealed_endpoint_rests_for_what_takes_keys),
        T(after_a_rest_one_request_goes_first),
        T(a_farewell_moves_what_was_under_way),
        T(requests_wait_for_the_first_endpoint_that_comes_up),
        T(with_nobody_there_the_deadline_says_why),
        T(failing_at_once_waits_for_nobody),
        T(retries_are_rationed),
        T(an_object_goes_with_every_attempt),
        T(one_descriptor_is_polled_for_all),
        T(closing_ends_all_and_the_next_request_connects_again),
        T(callbacks_may_close_and_free),
        T(calls_that_wait_work_as_before),
        T(a_client_is_of_one_kind),
        T(addresses_that_are_none_are_refused),
        T(options_are_checked),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
