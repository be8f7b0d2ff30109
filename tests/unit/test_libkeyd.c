/* libkeyd against a scripted server: order, deadlines, loss, nonsense, descriptors. */
#include "fds.h"
#include "rpc_sample.h"
#include "rpc_server.h"
#include "seen.h"
#include <keyd_client.h>

#include <fcntl.h>
#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static keyd_client *client;
static struct rpc_server server;
static struct kd_arena build;
static size_t fds_before;

static void
link_client(void)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    rpc_server_init(&server, pair[1]);
    assert_int_equal(keyd_client_adopt(client, pair[0]), KEYD_OK);
}

static int
start_unlinked(void **state)
{
    (void)state;
    fds_before = count_fds();
    client = keyd_client_new();
    server.sock = server.fd = -1;
    kd_arena_init(&build);
    kd_arena_reset(&build, 1 << 22);
    return client == NULL ? -1 : 0;
}

/* A client that has agreed with the server on 8 requests in flight. */
static int
start(void **state)
{
    if (start_unlinked(state) != 0)
        return -1;
    link_client();
    assert_int_equal(keyd_client_process(client, 0), KEYD_OK);
    rpc_server_greet(&server, 8);
    assert_int_equal(keyd_client_process(client, 0), KEYD_OK);
    assert_int_equal(keyd_client_server(client)->max_in_flight, 8);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    keyd_client_free(client);
    rpc_server_clear(&server);
    kd_arena_free(&build);
    return count_fds() == fds_before ? 0 : -1;
}

static void
count_and_free(void *cookie, struct keyd_answer *answer)
{
    ++*(size_t *)cookie;
    keyd_client_answer_free(answer);
}

static uint64_t
submit(const struct keyd_request *q)
{
    uint64_t id = 0;

    assert_int_equal(keyd_client_submit(client, q, seen_note, seen, &id), KEYD_OK);
    return id;
}

static uint64_t
submit_seal(void)
{
    struct keyd_request q = {.op = KEYD_OP_SEAL};

    return submit(&q);
}

static uint64_t
submit_generate(void)
{
    struct keyd_request q = {.op = KEYD_OP_GENERATE_KEY,
                             .in.generate_key = {.role = KEYD_ROLE_SOK,
                                                 .algorithm = KEYD_ED25519,
                                                 .domain = KEYD_STR("example.org"),
                                                 .permissions = 3}};

    return submit(&q);
}

static void
turn(enum keyd_status wanted)
{
    assert_int_equal(keyd_client_process(client, 0), wanted);
}

static uint64_t
server_takes(unsigned oneof_case)
{
    const Keyd__V1__Request *q = rpc_server_next(&server, 1000);

    assert_non_null(q);
    assert_int_equal(q->op_case, oneof_case);
    return q->id;
}

static void
server_gives(uint64_t id, unsigned oneof_case)
{
    Keyd__V1__Response *m = sample_response(&build, oneof_case);

    m->id = id;
    rpc_server_answer(&server, m, -1);
}

/* ---- connecting */

static void
nothing_leaves_before_the_hello_is_answered(void **state)
{
    (void)state;
    link_client();
    submit_seal();
    turn(KEYD_OK);
    const Keyd__V1__Request *q = rpc_server_next(&server, 0);
    assert_non_null(q);
    assert_int_equal(q->op_case, KEYD__V1__REQUEST__OP_HELLO);
    assert_int_equal(q->hello->min_version, 1);
    assert_true(
        kd_slice_eq(kd_rpc_slice(q->hello->client_name), kd_slice_str("libkeyd")));
    uint64_t hello_id = q->id;
    assert_null(rpc_server_next(&server, 0));
    assert_int_equal(keyd_client_events(client), POLLIN);
    server_gives(hello_id, KEYD__V1__RESPONSE__RESULT_HELLO);
    turn(KEYD_OK);
    server_takes(KEYD__V1__REQUEST__OP_SEAL);
    keyd_client_close(client);
    assert_int_equal(n_seen, 1);
    seen_forget();
}

static void
a_refused_version_ends_the_connection_with_the_word(void **state)
{
    (void)state;
    link_client();
    submit_generate();
    turn(KEYD_OK);
    rpc_server_refuse(&server, server_takes(KEYD__V1__REQUEST__OP_HELLO),
                      KD_UNSUPPORTED, KD_RPC_VERSION, 0);
    turn(KEYD_UNSUPPORTED);
    assert_string_equal(keyd_client_detail(client), "version");
    assert_int_equal(n_seen, 1);
    assert_int_equal(seen[0]->status, KEYD_UNAVAILABLE); /* it was never sent */
    assert_int_equal(keyd_client_fd(client), -1);
    seen_forget();
}

static void
a_version_nobody_offered_is_a_broken_protocol(void **state)
{
    (void)state;
    link_client();
    turn(KEYD_OK);
    uint64_t id = server_takes(KEYD__V1__REQUEST__OP_HELLO);
    Keyd__V1__Response *m = sample_response(&build, KEYD__V1__RESPONSE__RESULT_HELLO);
    m->id = id;
    m->hello->version = 2;
    rpc_server_answer(&server, m, -1);
    turn(KEYD_PROTOCOL);
}

static void
a_silent_server_is_given_up(void **state)
{
    (void)state;
    assert_int_equal(keyd_client_set_deadline(client, 20), KEYD_OK);
    link_client();
    assert_true(keyd_client_timeout_ms(client) <= 20);
    while (keyd_client_process(client, -1) == KEYD_OK)
        continue;
    turn(KEYD_DEADLINE);
}

struct listener {
    int sock;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void
listen_at(struct listener *l)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    snprintf(l->path, sizeof l->path, "/tmp/test_libkeyd.%d", (int)getpid());
    memcpy(at.sun_path, l->path, sizeof l->path);
    kd_ignore(unlink(l->path));
    l->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l->sock, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(l->sock, 1), 0);
}

static void *
serve_one_status(void *arg)
{
    struct listener *l = arg;
    int sock = accept(l->sock, NULL, NULL);
    const Keyd__V1__Request *q;

    rpc_server_init(&server, sock);
    rpc_server_greet(&server, 4);
    while ((q = rpc_server_next(&server, 5000)) != NULL)
        server_gives(q->id, (unsigned)q->op_case);
    return NULL;
}

static void
blocking_calls_work_over_a_path(void **state)
{
    struct listener l;
    pthread_t thread;
    struct keyd_answer *a = NULL;

    (void)state;
    assert_int_equal(keyd_client_connect(client, "/nonexistent/sock", 1000),
                     KEYD_UNAVAILABLE);
    assert_int_equal(keyd_client_status(client, &a), KEYD_UNAVAILABLE);
    assert_null(a);
    listen_at(&l);
    assert_int_equal(pthread_create(&thread, NULL, serve_one_status, &l), 0);
    assert_int_equal(keyd_client_connect(client, l.path, 5000), KEYD_OK);
    assert_string_equal(keyd_client_server(client)->class_name, "test");
    assert_int_equal(keyd_client_status(client, &a), KEYD_OK);
    assert_int_equal(a->out.status.state, KEYD_STATE_UNPROVISIONED);
    assert_int_equal(a->out.status.n_processes, 1);
    keyd_client_answer_free(a);
    assert_int_equal(
        keyd_client_lookup_signet(client, KEYD_STR("a@example.org"), KEYD_NONE, &a),
        KEYD_OK);
    assert_int_equal(a->out.signet.signet.n, 1);
    keyd_client_answer_free(a);
    keyd_client_close(client);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(l.sock);
    unlink(l.path);
}

static void
a_full_backlog_does_not_hold_anybody_up(void **state)
{
    struct listener l;
    int fill[8];
    size_t n = 0;
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    (void)state;
    listen_at(&l);
    memcpy(at.sun_path, l.path, sizeof l.path);
    for (; n < 8; n++) {
        fill[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(fill[n], (struct sockaddr *)&at, sizeof at) != 0)
            break;
    }
    assert_true(n < 8);
    assert_int_equal(keyd_client_start(client, l.path), KEYD_BUSY);
    int64_t before = kd_clock_ms();
    assert_int_equal(keyd_client_connect(client, l.path, 50), KEYD_DEADLINE);
    assert_true(kd_clock_ms() - before >= 40);
    for (size_t i = 0; i <= n; i++)
        close(fill[i]);
    close(l.sock);
    unlink(l.path);
}

/* ---- answers */

static void
every_operation_goes_out_and_its_answer_comes_back(void **state)
{
    struct keyd_octets key16 = {(const uint8_t *)"0123456789abcdef", 16};
    uint8_t fp[64] = {1};
    struct keyd_profile_field profile[2] = {
        {.type = 16, .value = KEYD_STR("x")},
        {.type = 251, .name = KEYD_STR("n"), .value = KEYD_STR("v")}};
    char secret[4][8] = {"secret0", "secret1", "secret2", "secret3"};
    struct keyd_octets sok_ids[2] = {key16, key16};
    struct keyd_octets print = {fp, 64};
    struct keyd_octets org = KEYD_STR("example.org");
    struct keyd_request all[] = {
        {.op = KEYD_OP_STATUS},
        {.op = KEYD_OP_PUBLIC_KEYS, .in.public_keys = {org, key16}},
        {.op = KEYD_OP_LOOKUP_SIGNET, .in.lookup_signet = {org, print}},
        {.op = KEYD_OP_LOOKUP_HISTORY,
         .in.lookup_history = {org, print, print, org, 7}},
        {.op = KEYD_OP_VERIFY_CURRENT, .in.verify_current = {org, print}},
        {.op = KEYD_OP_ISSUE_USER_SIGNET,
         .in.issue_user_signet = {KEYD_STR("a@example.org"), org, KEYD_ACCOUNT_CAUTIOUS,
                                  profile, 2, KEYD_STR("png"), KEYD_NONE}},
        {.op = KEYD_OP_SIGN_OUTBOUND,
         .in.sign_outbound = {KEYD_STR("a@example.org"), org, print, org}},
        {.op = KEYD_OP_OPEN_ENVELOPE,
         .in.inbound = {org, print, org, print, org, org, 0, 0, 0, 0}},
        {.op = KEYD_OP_OPEN_BOUNCE,
         .in.inbound = {org, print, org, print, org, org, 0, 0, 0, 0}},
        {.op = KEYD_OP_MAKE_BOUNCE,
         .in.inbound = {org, print, org, print, org, org, KEYD_RETURNED_DISPLAY, 5, 1,
                        2}},
        {.op = KEYD_OP_SEAL_NAKED, .in.seal_naked = {KEYD_STR("a@example.org"), org}},
        {.op = KEYD_OP_TOKEN_INIT, .in.slot = {KEYD_SLOT_SHARES, {secret[0], 8}}},
        {.op = KEYD_OP_ADD_UNSEAL_SLOT,
         .in.slot = {KEYD_SLOT_PASSPHRASE, {secret[1], 8}}},
        {.op = KEYD_OP_UNSEAL, .in.slot = {KEYD_SLOT_CREDENTIAL, {secret[2], 8}}},
        {.op = KEYD_OP_SEAL},
        {.op = KEYD_OP_GENERATE_KEY,
         .in.generate_key = {.role = KEYD_ROLE_SOK,
                             .algorithm = KEYD_ED25519,
                             .domain = org,
                             .permissions = 3}},
        {.op = KEYD_OP_RETIRE_KEY, .in.retire_key = {key16}},
        {.op = KEYD_OP_IMPORT_KEY,
         .in.import_key = {.key_file = {secret[3], 8},
                           .signing_role = KEYD_ROLE_POK,
                           .encryption_key = true,
                           .domain = org,
                           .permissions = 2}},
        {.op = KEYD_OP_ISSUE_ORG_SIGNET,
         .in.issue_org_signet = {org, profile, 1, KEYD_NONE, key16, sok_ids, 2, key16}},
        {.op = KEYD_OP_AUDIT_READ, .in.audit_read = {9, 3}},
        {.op = KEYD_OP_AUDIT_HEAD},
        {.op = KEYD_OP_POLICY_EXPLAIN,
         .in.policy_explain = {KEYD_STR("submitd"), KEYD_NONE, 0, 16, org, key16,
                               KEYD_ROLE_SOK}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        uint64_t id = submit(&all[i]);
        turn(KEYD_OK);
        const Keyd__V1__Request *q = rpc_server_next(&server, 1000);
        assert_non_null(q);
        assert_true(q->id == id);
        assert_int_equal(q->op_case, kd_rpc_case(all[i].op));
        assert_in_range(q->deadline_ms, 20000, 30000);
        if (server.fd >= 0) {
            size_t size;
            assert_int_equal(kd_memfd_check(server.fd, 100, &size), KD_OK);
        }
        server_gives(id, (unsigned)q->op_case);
        turn(KEYD_OK);
        assert_int_equal(n_seen, 1);
        assert_int_equal(seen[0]->status, KEYD_OK);
        assert_int_equal(seen[0]->op, all[i].op);
        seen_forget();
    }
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 8; k++)
            assert_int_equal(secret[i][k], 0);
}

static void
fields_arrive_as_they_were_sent(void **state)
{
    char secret[] = "correct horse";
    char back[sizeof secret];
    struct keyd_request q = {.op = KEYD_OP_UNSEAL,
                             .in.slot = {KEYD_SLOT_PASSPHRASE, {secret, 13}}};
    struct keyd_profile_field profile = {251, KEYD_STR("name"), KEYD_STR("value")};
    struct keyd_request issue = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {KEYD_STR("a@example.org"), KEYD_STR("ssr"),
                                 KEYD_ACCOUNT_PARANOID, &profile, 1, KEYD_NONE,
                                 KEYD_NONE}};
    const Keyd__V1__Request *m;

    (void)state;
    submit(&q);
    turn(KEYD_OK);
    assert_non_null(m = rpc_server_next(&server, 1000));
    assert_int_equal(m->unseal->slot_kind, KEYD__V1__SLOT_KIND__SLOT_KIND_PASSPHRASE);
    assert_int_equal(kd_memfd_read(server.fd, 0, back, 13), KD_OK);
    assert_memory_equal(back, "correct horse", 13);

    submit(&issue);
    turn(KEYD_OK);
    assert_non_null(m = rpc_server_next(&server, 1000));
    assert_int_equal(m->idempotency_key.len, 16);
    assert_int_equal(m->issue_user_signet->account_mode, KEYD_ACCOUNT_PARANOID);
    assert_int_equal(m->issue_user_signet->n_profile, 1);
    assert_memory_equal(m->issue_user_signet->profile[0]->name.data, "name", 4);
    assert_memory_equal(m->issue_user_signet->profile[0]->value.data, "value", 5);
    keyd_client_close(client);
    seen_forget();
}

static void
answers_come_in_any_order(void **state)
{
    uint64_t ids[8];

    (void)state;
    for (size_t i = 0; i < 8; i++)
        ids[i] = submit_seal();
    turn(KEYD_OK);
    for (size_t i = 0; i < 8; i++)
        server_takes(KEYD__V1__REQUEST__OP_SEAL);
    static const size_t order[] = {5, 0, 7, 2, 1, 6, 4, 3};
    for (size_t i = 0; i < 8; i++)
        server_gives(ids[order[i]], KEYD__V1__RESPONSE__RESULT_SEAL);
    turn(KEYD_OK);
    assert_int_equal(n_seen, 8);
    for (size_t i = 0; i < 8; i++)
        assert_true(seen[i]->id == ids[order[i]]);
    assert_int_equal(keyd_client_pending(client), 0);
    seen_forget();
}

static void
no_more_fly_than_the_server_takes(void **state)
{
    uint64_t first = 0;

    (void)state;
    for (size_t i = 0; i < 20; i++) {
        uint64_t id = submit_seal();
        first = i == 0 ? id : first;
    }
    turn(KEYD_OK);
    for (size_t i = 0; i < 8; i++)
        server_takes(KEYD__V1__REQUEST__OP_SEAL);
    assert_null(rpc_server_next(&server, 0));
    assert_int_equal(keyd_client_events(client), POLLIN);
    server_gives(first, KEYD__V1__RESPONSE__RESULT_SEAL);
    turn(KEYD_OK);
    server_takes(KEYD__V1__REQUEST__OP_SEAL);
    assert_null(rpc_server_next(&server, 0));
    keyd_client_close(client);
    assert_int_equal(n_seen, 20);
    seen_forget();
}

static void
refusals_carry_status_word_and_advice(void **state)
{
    (void)state;
    submit_seal();
    turn(KEYD_OK);
    rpc_server_refuse(&server, server_takes(KEYD__V1__REQUEST__OP_SEAL), KD_BUSY,
                      KD_RPC_ID_IN_USE, 250);
    turn(KEYD_OK);
    assert_int_equal(n_seen, 1);
    assert_int_equal(seen[0]->status, KEYD_BUSY);
    assert_string_equal(seen[0]->detail, "id-in-use");
    assert_int_equal(seen[0]->retry_after_ms, 250);
    seen_forget();
}

static uint64_t
submit_lookup(void)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET,
                             .in.lookup_signet = {KEYD_STR("example.org"), KEYD_NONE}};

    return submit(&q);
}

static void
large_signets_come_whole_out_of_a_descriptor(void **state)
{
    size_t size = 300000;
    uint8_t *octets = malloc(size);
    int fd = -1;

    (void)state;
    for (size_t i = 0; i < size; i++)
        octets[i] = (uint8_t)(i * 7);
    assert_int_equal(kd_memfd_seal(kd_slice(octets, size), &fd), KD_OK);
    submit_lookup();
    turn(KEYD_OK);
    Keyd__V1__Response *m =
        sample_response(&build, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);
    m->id = server_takes(KEYD__V1__REQUEST__OP_LOOKUP_SIGNET);
    m->lookup_signet->signet.len = 0;
    m->lookup_signet->signet_fd_size = (uint32_t)size;
    rpc_server_answer(&server, m, fd);
    turn(KEYD_OK);
    assert_int_equal(n_seen, 1);
    assert_int_equal(seen[0]->status, KEYD_OK);
    assert_int_equal(seen[0]->out.signet.signet.n, size);
    assert_memory_equal(seen[0]->out.signet.signet.p, octets, size);
    seen_forget();
    free(octets);
}

/* Sanitizers reserve more than any limit lets them. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

static void
what_was_done_and_cannot_be_kept_is_not_called_undone(void **state)
{
    enum { SIZE = 32 << 20, ROOM = 8 << 20 };
    struct keyd_request issue = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {KEYD_STR("a@example.org"), KEYD_STR("ssr"),
                                 KEYD_ACCOUNT_TRUSTFUL, NULL, 0, KEYD_NONE, KEYD_NONE}};
    struct rlimit before, little;
    unsigned long pages;
    int fd = memfd_create("large", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    (void)state;
    assert_int_equal(ftruncate(fd, SIZE), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS,
                           F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
                     0);
    submit(&issue);
    turn(KEYD_OK);
    Keyd__V1__Response *m =
        sample_response(&build, KEYD__V1__RESPONSE__RESULT_ISSUE_USER_SIGNET);
    m->id = server_takes(KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET);
    m->issue_user_signet->signet.len = 0;
    m->issue_user_signet->signet_fd_size = SIZE;
    rpc_server_answer(&server, m, fd);
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    little = before;
    little.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + ROOM;
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    turn(KEYD_OK);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(n_seen, 1);
    assert_int_equal(seen[0]->status, KEYD_UNKNOWN_OUTCOME);
    seen_forget();
}

#else

static void
what_was_done_and_cannot_be_kept_is_not_called_undone(void **state)
{
    (void)state;
    skip();
}

#endif

static void
an_unsealed_or_wrong_sized_descriptor_breaks_the_protocol(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        int fd = -1;
        if (round == 0)
            fd = dup(server.sock);
        else
            assert_int_equal(kd_memfd_seal(kd_slice("12345", 5), &fd), KD_OK);
        submit_lookup();
        turn(KEYD_OK);
        Keyd__V1__Response *m =
            sample_response(&build, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);
        m->id = server_takes(KEYD__V1__REQUEST__OP_LOOKUP_SIGNET);
        m->lookup_signet->signet.len = 0;
        m->lookup_signet->signet_fd_size = 6;
        rpc_server_answer(&server, m, fd);
        turn(KEYD_PROTOCOL);
        assert_string_equal(keyd_client_detail(client), "bad-object");
        assert_int_equal(n_seen, 1);
        assert_int_equal(seen[0]->status, KEYD_UNAVAILABLE);
        seen_forget();
        if (round == 1)
            break;
        rpc_server_clear(&server);
        link_client();
        turn(KEYD_OK);
        rpc_server_greet(&server, 8);
        turn(KEYD_OK);
    }
}

/* ---- loss and nonsense */

static void
loss_is_told_by_what_may_have_happened(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        submit_seal();
        submit_generate();
    }
    submit_generate(); /* the ninth waits and never leaves */
    turn(KEYD_OK);
    rpc_server_clear(&server);
    turn(KEYD_UNAVAILABLE);
    assert_int_equal(n_seen, 9);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(seen[i]->status,
                         i % 2 == 0 ? KEYD_UNAVAILABLE : KEYD_UNKNOWN_OUTCOME);
    assert_int_equal(seen[8]->status, KEYD_UNAVAILABLE);
    static const uint8_t none[16];
    assert_memory_equal(seen[0]->idempotency_key, none, 16);
    assert_memory_not_equal(seen[1]->idempotency_key, none, 16);
    assert_memory_not_equal(seen[1]->idempotency_key, seen[3]->idempotency_key, 16);
    seen_forget();
    struct keyd_request q = {.op = KEYD_OP_SEAL};
    assert_int_equal(keyd_client_submit(client, &q, seen_note, seen, NULL),
                     KEYD_UNAVAILABLE);
}

static void
the_same_key_asks_again_after_a_loss(void **state)
{
    uint8_t key[16];
    struct keyd_request q = {.op = KEYD_OP_RETIRE_KEY,
                             .idempotency_key = key,
                             .in.retire_key = {KEYD_STR("0123456789abcdef")}};

    (void)state;
    submit_generate();
    turn(KEYD_OK);
    rpc_server_clear(&server);
    turn(KEYD_UNAVAILABLE);
    memcpy(key, seen[0]->idempotency_key, 16);
    seen_forget();
    link_client();
    submit(&q);
    turn(KEYD_OK);
    rpc_server_greet(&server, 8);
    turn(KEYD_OK);
    const Keyd__V1__Request *m = rpc_server_next(&server, 1000);
    assert_non_null(m);
    assert_memory_equal(m->idempotency_key.data, key, 16);
    keyd_client_close(client);
    seen_forget();
}

/* Something the server sends ends the connection as broken, with a word. */
static void
expect_broken(const char *word)
{
    turn(KEYD_PROTOCOL);
    assert_string_equal(keyd_client_detail(client), word);
    assert_int_equal(n_seen, 1);
    assert_int_equal(seen[0]->status, KEYD_UNKNOWN_OUTCOME);
    seen_forget();
    rpc_server_clear(&server);
    link_client();
    turn(KEYD_OK);
    rpc_server_greet(&server, 8);
    turn(KEYD_OK);
    submit_generate();
    turn(KEYD_OK);
    server_takes(KEYD__V1__REQUEST__OP_GENERATE_KEY);
}

static void
nonsense_from_the_server_ends_the_connection(void **state)
{
    (void)state;
    uint64_t id = submit_generate();
    turn(KEYD_OK);
    server_takes(KEYD__V1__REQUEST__OP_GENERATE_KEY);

    rpc_server_raw(&server, "\0\0\0\0", 4);
    expect_broken("frame-empty");
    rpc_server_raw(&server, "\0\1\0\1", 4);
    expect_broken("frame-too-long");
    rpc_server_raw(&server, "\0\0\0\5hello", 9);
    expect_broken("message-malformed");
    rpc_server_raw(&server, "\0\0\0\2\x08\x02", 6);
    expect_broken("result-mismatch");
    rpc_server_raw(&server, "\x80\0\0\2\x08\x02", 6);
    expect_broken("descriptor-missing");
    server_gives(id + 1000, KEYD__V1__RESPONSE__RESULT_SEAL);
    expect_broken("unknown-id");
    rpc_server_raw(&server, "\0\0\0\5\x08", 5);
    shutdown(server.sock, SHUT_WR);
    expect_broken("frame-cut");
    keyd_client_close(client);
    seen_forget();
}

static void
a_result_of_another_operation_ends_the_connection(void **state)
{
    (void)state;
    uint64_t id = submit_generate();
    turn(KEYD_OK);
    server_gives(id, KEYD__V1__RESPONSE__RESULT_SEAL);
    turn(KEYD_PROTOCOL);
    assert_string_equal(keyd_client_detail(client), "wrong-result");
    assert_int_equal(seen[0]->status, KEYD_UNKNOWN_OUTCOME);
    seen_forget();
}

static void
an_answer_given_twice_ends_the_connection(void **state)
{
    (void)state;
    uint64_t id = submit_seal();
    turn(KEYD_OK);
    server_gives(id, KEYD__V1__RESPONSE__RESULT_SEAL);
    server_gives(id, KEYD__V1__RESPONSE__RESULT_SEAL);
    turn(KEYD_PROTOCOL);
    assert_int_equal(n_seen, 1);
    assert_int_equal(seen[0]->status, KEYD_OK);
    seen_forget();
}

static void
a_farewell_is_handed_on(void **state)
{
    (void)state;
    submit_seal();
    turn(KEYD_OK);
    rpc_server_refuse(&server, 0, KD_UNAVAILABLE, KD_RPC_NOT_SERVED, 0);
    rpc_server_clear(&server);
    turn(KEYD_UNAVAILABLE);
    assert_string_equal(keyd_client_detail(client), "operation-not-served");
    assert_string_equal(seen[0]->detail, "operation-not-served");
    seen_forget();
}

static void
what_the_server_said_last_is_read_although_writing_fails(void **state)
{
    (void)state;
    uint64_t id = submit_seal();
    turn(KEYD_OK);
    server_gives(id, KEYD__V1__RESPONSE__RESULT_SEAL);
    rpc_server_clear(&server);
    submit_generate();
    turn(KEYD_UNAVAILABLE);
    assert_int_equal(n_seen, 2);
    assert_int_equal(seen[0]->status, KEYD_OK);
    seen_forget();
}

/* ---- deadlines */

static void
wait_seen(size_t n)
{
    int64_t until = kd_clock_ms() + 5000;

    while (n_seen < n && kd_clock_ms() < until)
        assert_int_equal(keyd_client_process(client, 1000), KEYD_OK);
    assert_int_equal(n_seen, n);
}

static void
deadlines_pass_and_late_answers_are_dropped(void **state)
{
    struct keyd_request slow = {.op = KEYD_OP_SEAL, .deadline_ms = 20};
    struct keyd_request change = {.op = KEYD_OP_RETIRE_KEY,
                                  .deadline_ms = 20,
                                  .in.retire_key = {KEYD_STR("0123456789abcdef")}};

    (void)state;
    uint64_t a = submit(&slow);
    uint64_t b = submit(&change);
    turn(KEYD_OK);
    const Keyd__V1__Request *q = rpc_server_next(&server, 1000);
    assert_in_range(q->deadline_ms, 1, 20);
    wait_seen(2);
    assert_int_equal(seen[0]->status, KEYD_DEADLINE);
    assert_int_equal(seen[1]->status, KEYD_UNKNOWN_OUTCOME);
    seen_forget();
    /* Both places are taken until the server answers; then that is quietly dropped. */
    server_gives(a, KEYD__V1__RESPONSE__RESULT_SEAL);
    server_gives(b, KEYD__V1__RESPONSE__RESULT_RETIRE_KEY);
    turn(KEYD_OK);
    assert_int_equal(n_seen, 0);
    uint64_t c = submit_seal();
    turn(KEYD_OK);
    server_gives(c, KEYD__V1__RESPONSE__RESULT_SEAL);
    turn(KEYD_OK);
    assert_int_equal(seen[0]->status, KEYD_OK);
    seen_forget();
}

static void
what_was_never_sent_ends_as_deadline_even_if_it_changes_something(void **state)
{
    struct keyd_request change = {.op = KEYD_OP_RETIRE_KEY,
                                  .deadline_ms = 20,
                                  .in.retire_key = {KEYD_STR("0123456789abcdef")}};

    (void)state;
    for (size_t i = 0; i < 8; i++)
        submit_seal();
    submit(&change);
    turn(KEYD_OK);
    wait_seen(1);
    assert_int_equal(seen[0]->op, KEYD_OP_RETIRE_KEY);
    assert_int_equal(seen[0]->status, KEYD_DEADLINE);
    keyd_client_close(client);
    seen_forget();
}

/* ---- usage */

static void
wrong_requests_are_refused_here_and_secrets_wiped_anyway(void **state)
{
    char secret[] = "secret";
    uint8_t key[16] = {1};
    static uint8_t big[40000];
    struct keyd_request bad[] = {
        {.op = 99},
        {.op = (enum keyd_op)1}, /* Hello is the library's */
        {.op = KEYD_OP_SEAL, .idempotency_key = key},
        {.op = KEYD_OP_SEAL, .deadline_ms = 600001},
        {.op = KEYD_OP_LOOKUP_SIGNET},
        {.op = KEYD_OP_LOOKUP_SIGNET,
         .in.lookup_signet = {KEYD_STR("x"), KEYD_STR("not 64")}},
        {.op = KEYD_OP_LOOKUP_SIGNET, .in.lookup_signet = {{big, 255}, KEYD_NONE}},
        {.op = KEYD_OP_LOOKUP_SIGNET, .in.lookup_signet = {{NULL, 5}, KEYD_NONE}},
        {.op = KEYD_OP_ISSUE_USER_SIGNET,
         .in.issue_user_signet = {{big, 5},
                                  {big, 5},
                                  KEYD_ACCOUNT_CAUTIOUS,
                                  NULL,
                                  1,
                                  KEYD_NONE,
                                  KEYD_NONE}},
        {.op = KEYD_OP_ISSUE_USER_SIGNET,
         .in.issue_user_signet = {{big, 5},
                                  {big, 5},
                                  KEYD_ACCOUNT_CAUTIOUS,
                                  (const struct keyd_profile_field *)(void *)big,
                                  SIZE_MAX,
                                  KEYD_NONE,
                                  KEYD_NONE}},
        {.op = KEYD_OP_UNSEAL, .in.slot = {KEYD_SLOT_PASSPHRASE, {NULL, 0}}},
        {.op = KEYD_OP_UNSEAL, .in.slot = {(enum keyd_slot_kind)9, {secret, 6}}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(keyd_client_submit(client, &bad[i], seen_note, seen, NULL),
                         KEYD_USAGE);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(secret[i], 0);
    keyd_client_close(client);
    memcpy(secret, "secret", 6);
    struct keyd_answer *a;
    assert_int_equal(keyd_client_unseal(client, KEYD_SLOT_PASSPHRASE,
                                        (struct keyd_secret){secret, 6}, &a),
                     KEYD_UNAVAILABLE);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(secret[i], 0);
    assert_int_equal(keyd_client_set_name(client, "bad\nname"), KEYD_USAGE);
    assert_int_equal(keyd_client_set_deadline(client, 0), KEYD_USAGE);
    assert_int_equal(keyd_client_connect(client, "", 100), KEYD_USAGE);
    assert_int_equal(keyd_client_connect(client, "/x", 0), KEYD_USAGE);
}

static void
waiting_requests_are_bounded(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_SEAL};
    size_t n = 0;
    struct keyd_client *idle = keyd_client_new();
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(keyd_client_adopt(idle, pair[0]), KEYD_OK);
    while (keyd_client_submit(idle, &q, count_and_free, &n, NULL) == KEYD_OK)
        assert_true(keyd_client_pending(idle) <= 4096);
    assert_int_equal(keyd_client_pending(idle), 4096);
    assert_int_equal(keyd_client_submit(idle, &q, count_and_free, &n, NULL), KEYD_BUSY);
    keyd_client_free(idle);
    assert_int_equal(n, 4096);
    close(pair[1]);
}

/* ---- callbacks that do things */

static void
resubmit(void *cookie, struct keyd_answer *answer)
{
    size_t *left = cookie;
    struct keyd_request q = {.op = KEYD_OP_SEAL};
    struct keyd_answer *a;

    assert_int_equal(answer->status, KEYD_OK);
    keyd_client_answer_free(answer);
    assert_int_equal(keyd_client_call(client, &q, &a), KEYD_USAGE);
    assert_int_equal(keyd_client_process(client, 0), KEYD_USAGE);
    if (--*left > 0)
        assert_int_equal(keyd_client_submit(client, &q, resubmit, left, NULL), KEYD_OK);
}

static void
a_callback_may_submit_the_next(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_SEAL};
    size_t left = 5;

    (void)state;
    assert_int_equal(keyd_client_submit(client, &q, resubmit, &left, NULL), KEYD_OK);
    for (int i = 0; i < 5; i++) {
        turn(KEYD_OK);
        server_gives(server_takes(KEYD__V1__REQUEST__OP_SEAL),
                     KEYD__V1__RESPONSE__RESULT_SEAL);
        turn(KEYD_OK);
    }
    assert_int_equal(left, 0);
}

static void
free_the_client(void *cookie, struct keyd_answer *answer)
{
    ++*(size_t *)cookie;
    keyd_client_answer_free(answer);
    keyd_client_free(client);
    client = NULL;
}

static void
a_callback_may_free_the_client(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_SEAL};
    size_t n = 0;

    (void)state;
    assert_int_equal(keyd_client_submit(client, &q, free_the_client, &n, NULL),
                     KEYD_OK);
    submit_generate();
    turn(KEYD_OK);
    server_gives(server_takes(KEYD__V1__REQUEST__OP_SEAL),
                 KEYD__V1__RESPONSE__RESULT_SEAL);
    assert_int_equal(keyd_client_process(client, 0), KEYD_UNAVAILABLE);
    assert_int_equal(n, 1);
    assert_int_equal(n_seen, 1);
    assert_int_equal(seen[0]->status, KEYD_UNKNOWN_OUTCOME);
    seen_forget();
}

static void
close_and_start_again(void *cookie, struct keyd_answer *answer)
{
    int *sock = cookie;

    keyd_client_answer_free(answer);
    if (*sock >= 0)
        assert_int_equal(keyd_client_adopt(client, *sock), KEYD_OK);
    *sock = -1;
}

static void
a_callback_may_reconnect(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_SEAL};
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(
        keyd_client_submit(client, &q, close_and_start_again, &pair[0], NULL), KEYD_OK);
    turn(KEYD_OK);
    rpc_server_clear(&server);
    turn(KEYD_OK); /* lost, called back, and connected to the next */
    rpc_server_init(&server, pair[1]);
    turn(KEYD_OK);
    rpc_server_greet(&server, 8);
    turn(KEYD_OK);
    uint64_t id = submit_seal();
    turn(KEYD_OK);
    server_gives(id, KEYD__V1__RESPONSE__RESULT_SEAL);
    turn(KEYD_OK);
    assert_int_equal(n_seen, 1);
    seen_forget();
}

/* Many requests through a socket that takes little, answered as they come. */
static void
a_slow_link_loses_nothing(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_UNSEAL};
    size_t n_served = 0, n_done = 0;
    int size = 2048;

    (void)state;
    assert_int_equal(
        setsockopt(keyd_client_fd(client), SOL_SOCKET, SO_SNDBUF, &size, sizeof size),
        0);
    for (size_t i = 0; i < 300; i++) {
        char secret[] = "x";
        q.in.slot.kind = KEYD_SLOT_PASSPHRASE;
        q.in.slot.secret = (struct keyd_secret){secret, 1};
        assert_int_equal(keyd_client_submit(client, &q, count_and_free, &n_done, NULL),
                         KEYD_OK);
        if (i % 3 == 0)
            turn(KEYD_OK);
        const Keyd__V1__Request *m;
        while (i % 5 == 0 && (m = rpc_server_next(&server, 0)) != NULL) {
            n_served++;
            assert_true(server.fd >= 0);
            server_gives(m->id, KEYD__V1__RESPONSE__RESULT_UNSEAL);
        }
    }
    while (n_done < 300) {
        const Keyd__V1__Request *m;
        turn(KEYD_OK);
        while ((m = rpc_server_next(&server, 0)) != NULL) {
            n_served++;
            server_gives(m->id, KEYD__V1__RESPONSE__RESULT_UNSEAL);
        }
    }
    assert_int_equal(n_served, 300);
}

/* ---- the two lists of numbers are one */

static void
numbers_of_the_header_are_those_of_the_wire(void **state)
{
    (void)state;
#define SAME(a, b) assert_int_equal(a, KEYD__V1__##b)
    SAME(KEYD_OK, STATUS__STATUS_OK);
    SAME(KEYD_INVALID, STATUS__STATUS_INVALID);
    SAME(KEYD_DENIED, STATUS__STATUS_DENIED);
    SAME(KEYD_NOT_FOUND, STATUS__STATUS_NOT_FOUND);
    SAME(KEYD_CONFLICT, STATUS__STATUS_CONFLICT);
    SAME(KEYD_UNAVAILABLE, STATUS__STATUS_UNAVAILABLE);
    SAME(KEYD_SEALED, STATUS__STATUS_SEALED);
    SAME(KEYD_BUSY, STATUS__STATUS_BUSY);
    SAME(KEYD_UNKNOWN_OUTCOME, STATUS__STATUS_UNKNOWN_OUTCOME);
    SAME(KEYD_FAILED, STATUS__STATUS_FAILED);
    SAME(KEYD_UNSUPPORTED, STATUS__STATUS_UNSUPPORTED);
    SAME(KEYD_DEADLINE, STATUS__STATUS_DEADLINE);
    SAME(KEYD_ACCOUNT_TRUSTFUL, ACCOUNT_MODE__ACCOUNT_MODE_TRUSTFUL);
    SAME(KEYD_ACCOUNT_CAUTIOUS, ACCOUNT_MODE__ACCOUNT_MODE_CAUTIOUS);
    SAME(KEYD_ACCOUNT_PARANOID, ACCOUNT_MODE__ACCOUNT_MODE_PARANOID);
    SAME(KEYD_STATE_UNPROVISIONED, SERVICE_STATE__SERVICE_STATE_UNPROVISIONED);
    SAME(KEYD_STATE_SEALED, SERVICE_STATE__SERVICE_STATE_SEALED);
    SAME(KEYD_STATE_OPERATIONAL, SERVICE_STATE__SERVICE_STATE_OPERATIONAL);
    SAME(KEYD_STATE_DEGRADED, SERVICE_STATE__SERVICE_STATE_DEGRADED);
    SAME(KEYD_STATE_DRAINING, SERVICE_STATE__SERVICE_STATE_DRAINING);
    SAME(KEYD_STATE_FAILED, SERVICE_STATE__SERVICE_STATE_FAILED);
    SAME(KEYD_STATE_STARTING, SERVICE_STATE__SERVICE_STATE_STARTING);
    SAME(KEYD_PROCESS_SUPERVISOR, PROCESS_ROLE__PROCESS_ROLE_SUPERVISOR);
    SAME(KEYD_PROCESS_GATE, PROCESS_ROLE__PROCESS_ROLE_GATE);
    SAME(KEYD_PROCESS_VAULT, PROCESS_ROLE__PROCESS_ROLE_VAULT);
    SAME(KEYD_PROCESS_LEDGER, PROCESS_ROLE__PROCESS_ROLE_LEDGER);
    SAME(KEYD_PROCESS_P11, PROCESS_ROLE__PROCESS_ROLE_P11);
    SAME(KEYD_ROLE_NONE, KEY_ROLE__KEY_ROLE_NONE);
    SAME(KEYD_ROLE_POK, KEY_ROLE__KEY_ROLE_POK);
    SAME(KEYD_ROLE_SOK, KEY_ROLE__KEY_ROLE_SOK);
    SAME(KEYD_ROLE_ENC, KEY_ROLE__KEY_ROLE_ENC);
    SAME(KEYD_ROLE_DKIM, KEY_ROLE__KEY_ROLE_DKIM);
    SAME(KEYD_ROLE_AUDIT, KEY_ROLE__KEY_ROLE_AUDIT);
    SAME(KEYD_ED25519, KEY_ALGORITHM__KEY_ALGORITHM_ED25519);
    SAME(KEYD_SECP256K1, KEY_ALGORITHM__KEY_ALGORITHM_SECP256K1);
    SAME(KEYD_RSA, KEY_ALGORITHM__KEY_ALGORITHM_RSA);
    SAME(KEYD_KEY_PRE_ACTIVE, KEY_STATE__KEY_STATE_PRE_ACTIVE);
    SAME(KEYD_KEY_ACTIVE, KEY_STATE__KEY_STATE_ACTIVE);
    SAME(KEYD_KEY_RETAINED, KEY_STATE__KEY_STATE_RETAINED);
    SAME(KEYD_KEY_REVOKED, KEY_STATE__KEY_STATE_REVOKED);
    SAME(KEYD_KEY_DESTROYED, KEY_STATE__KEY_STATE_DESTROYED);
    SAME(KEYD_CURRENT, VERDICT__VERDICT_CURRENT);
    SAME(KEYD_UPDATE, VERDICT__VERDICT_UPDATE);
    SAME(KEYD_UNKNOWN, VERDICT__VERDICT_UNKNOWN);
    SAME(KEYD_SLOT_PASSPHRASE, SLOT_KIND__SLOT_KIND_PASSPHRASE);
    SAME(KEYD_SLOT_CREDENTIAL, SLOT_KIND__SLOT_KIND_CREDENTIAL);
    SAME(KEYD_SLOT_SHARES, SLOT_KIND__SLOT_KIND_SHARES);
#undef SAME
    static const enum keyd_status local[] = {KEYD_NOMEM, KEYD_PROTOCOL, KEYD_USAGE};
    for (unsigned i = 0; i < keyd__v1__status__descriptor.n_values; i++)
        assert_string_not_equal(keyd_client_status_text((enum keyd_status)i),
                                "unknown status");
    for (size_t i = 0; i < 3; i++)
        assert_string_not_equal(keyd_client_status_text(local[i]), "unknown status");
    assert_string_equal(keyd_client_status_text((enum keyd_status)50),
                        "unknown status");
}

int
main(void)
{
#define U(name) cmocka_unit_test_setup_teardown(name, start_unlinked, stop)
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
    static const struct CMUnitTest tests[] = {
        /* Before there are threads, whose memory would do. */
        T(what_was_done_and_cannot_be_kept_is_not_called_undone),
        U(nothing_leaves_before_the_hello_is_answered),
        U(a_refused_version_ends_the_connection_with_the_word),
        U(a_version_nobody_offered_is_a_broken_protocol),
        U(a_silent_server_is_given_up),
        U(blocking_calls_work_over_a_path),
        U(a_full_backlog_does_not_hold_anybody_up),
        T(every_operation_goes_out_and_its_answer_comes_back),
        T(fields_arrive_as_they_were_sent),
        T(answers_come_in_any_order),
        T(no_more_fly_than_the_server_takes),
        T(refusals_carry_status_word_and_advice),
        T(large_signets_come_whole_out_of_a_descriptor),
        T(an_unsealed_or_wrong_sized_descriptor_breaks_the_protocol),
        T(loss_is_told_by_what_may_have_happened),
        T(the_same_key_asks_again_after_a_loss),
        T(nonsense_from_the_server_ends_the_connection),
        T(a_result_of_another_operation_ends_the_connection),
        T(an_answer_given_twice_ends_the_connection),
        T(a_farewell_is_handed_on),
        T(what_the_server_said_last_is_read_although_writing_fails),
        T(deadlines_pass_and_late_answers_are_dropped),
        T(what_was_never_sent_ends_as_deadline_even_if_it_changes_something),
        T(wrong_requests_are_refused_here_and_secrets_wiped_anyway),
        U(waiting_requests_are_bounded),
        T(a_callback_may_submit_the_next),
        T(a_callback_may_free_the_client),
        T(a_callback_may_reconnect),
        T(a_slow_link_loses_nothing),
        U(numbers_of_the_header_are_those_of_the_wire),
    };
#undef T
#undef U

    return cmocka_run_group_tests(tests, NULL, NULL);
}
