/* libkeyd over TLS: handshakes that must fail, and objects in parts. */
#include "certs.h"
#include "fds.h"
#include "rpc_sample.h"
#include "rpc_server.h"
#include "seen.h"
#include "tls_server.h"
#include <keyd_client.h>

#include <dirent.h>
#include <keyd/base/clock.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OBJECT_SIZE = 300000 };

static char dir[200];
static uint8_t server_pin[32], lone_pin[32];
static char own_pem[256], own_key[256], ca_pem[256], other_ca_pem[256];

static keyd_client *client;
static struct tls_server peer;
static struct rpc_server server;
static struct kd_arena build;
static struct keyd_tls tls;
static size_t fds_before;
static uint8_t object[OBJECT_SIZE];

/* ---- people */

static void
join(char to[256], const char *name)
{
    assert_true(snprintf(to, 256, "%s/%s", dir, name) < 256);
}

enum { DAY = 24 * 60 * 60 };

static struct identity ca, other_ca;

/* Writes name.pem and name.key. pin may be NULL. */
static void
make_person(const char *name, const struct cert_spec *is, uint8_t pin[32])
{
    struct identity id;
    const struct identity *const alone[] = {&id};
    char path[300];

    identity_make(&id, is);
    snprintf(path, sizeof path, "%s/%s.pem", dir, name);
    certs_write(path, alone, 1);
    snprintf(path, sizeof path, "%s/%s.key", dir, name);
    key_write(path, &id);
    if (pin != NULL)
        identity_pin(&id, pin);
    identity_clear(&id);
}

static void
make_ca(struct identity *id, const char *name)
{
    const struct identity *const alone[] = {id};
    char path[300];

    identity_root(id, name);
    snprintf(path, sizeof path, "%s/%s.pem", dir, name);
    certs_write(path, alone, 1);
}

static int
make_people(void **state)
{
    static const struct {
        const char *name;
        struct cert_spec is;
        uint8_t *pin;
    } people[] = {
#define KEYD1 .san = "DNS:keyd1.example.net"
#define MTA1 .san = "DNS:mta1.example.net"
#define SERVER .eku = "serverAuth"
#define BY(who) .issuer = &(who)
#define NOW .from = -DAY, .to = 2 * DAY
        {"client", {BY(ca), MTA1, NOW}, NULL},
        {"stranger", {BY(other_ca), MTA1, NOW}, NULL},
        {"server",
         {BY(ca), .san = "DNS:keyd1.example.net,IP:127.0.0.1", SERVER, NOW},
         server_pin},
        {"wild", {BY(ca), .san = "DNS:*.example.net", SERVER, NOW}, NULL},
        {"nameless", {BY(ca), SERVER, NOW}, NULL},
        {"expired", {BY(ca), KEYD1, SERVER, .from = -3 * DAY, .to = -DAY}, NULL},
        {"early", {BY(ca), KEYD1, SERVER, .from = DAY, .to = 3 * DAY}, NULL},
        {"foreign", {BY(other_ca), KEYD1, SERVER, NOW}, NULL},
        {"no-server", {BY(ca), KEYD1, NOW}, NULL},
        {"lone",
         {.san = "DNS:elsewhere.example.net",
          .no_eku = true,
          .from = -3 * DAY,
          .to = -DAY},
         lone_pin},
    };
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof dir, "%s/test_libkeyd_tls.XXXXXX", tmp == NULL ? "/tmp" : tmp);
    if (mkdtemp(dir) == NULL)
        return -1;
    make_ca(&ca, "ca");
    make_ca(&other_ca, "other-ca");
    for (size_t i = 0; i < sizeof people / sizeof people[0]; i++)
        make_person(people[i].name, &people[i].is, people[i].pin);
    join(own_pem, "client.pem");
    join(own_key, "client.key");
    join(ca_pem, "ca.pem");
    join(other_ca_pem, "other-ca.pem");
    for (size_t i = 0; i < OBJECT_SIZE; i++)
        object[i] = (uint8_t)(i * 7 + i / 251);
    return 0;
}

static int
remove_people(void **state)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[512];

    (void)state;
    identity_clear(&ca);
    identity_clear(&other_ca);
    while (d != NULL && (e = readdir(d)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        unlink(path);
    }
    closedir(d);
    return rmdir(dir);
}

/* ---- one server and one client */

static int
start(void **state)
{
    (void)state;
    fds_before = count_fds();
    client = keyd_client_new();
    peer = (struct tls_server){.listener = -1, .dir = dir, .own = "server", .ca = "ca"};
    tls = (struct keyd_tls){.certificate = own_pem,
                            .key = own_key,
                            .ca = ca_pem,
                            .server_name = "keyd1.example.net"};
    server.sock = server.fd = -1;
    kd_arena_init(&build);
    kd_arena_reset(&build, 1 << 22);
    return client == NULL ? -1 : 0;
}

static int
stop(void **state)
{
    (void)state;
    keyd_client_free(client);
    seen_forget();
    if (server.sock >= 0)
        rpc_server_clear(&server);
    if (peer.listener >= 0)
        tls_server_stop(&peer);
    kd_arena_free(&build);
    /* A thread that looks a name up may still have one. */
    for (int i = 0; i < 2000 && count_fds() != fds_before; i++)
        usleep(5000);
    if (count_fds() == fds_before)
        return 0;
    fprintf(stderr, "descriptors leak\n");
    return -1;
}

static void
submit(const struct keyd_request *q)
{
    assert_int_equal(keyd_client_submit(client, q, seen_note, seen, NULL), KEYD_OK);
}

static void
submit_lookup(void)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET,
                             .in.lookup_signet = {KEYD_STR("example.org"), KEYD_NONE}};

    submit(&q);
}

static void
submit_issue(void)
{
    struct keyd_request q = {.op = KEYD_OP_ISSUE_USER_SIGNET};

    q.in.issue_user_signet.address = KEYD_STR("a@example.org");
    q.in.issue_user_signet.ssr = KEYD_STR("ssr");
    q.in.issue_user_signet.account_mode = KEYD_ACCOUNT_CAUTIOUS;
    q.in.issue_user_signet.image = (struct keyd_octets){object, OBJECT_SIZE};
    submit(&q);
}

static void
add(const char *host)
{
    char address[64];
    struct keyd_endpoint e = {.address = address, .tls = &tls};
    struct keyd_options quick = {.backoff_first_ms = 5, .backoff_most_ms = 20};

    snprintf(address, sizeof address, "tls:%s:%d", host, peer.port);
    assert_int_equal(keyd_client_set_options(client, &quick), KEYD_OK);
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_OK);
}

static void
turn(void)
{
    assert_int_equal(keyd_client_process(client, 2), KEYD_OK);
}

/* The plain side of the next connection, agreed on a version. */
static void
take_and_greet(uint32_t max_in_flight)
{
    int sock = -1;

    if (server.sock >= 0)
        rpc_server_clear(&server);
    for (int i = 0; i < 2000 && sock < 0; i++) {
        turn();
        sock = tls_server_take(&peer, 0);
    }
    assert_true(sock >= 0);
    rpc_server_init(&server, sock);
    turn();
    rpc_server_greet(&server, max_in_flight);
}

static void
up(uint32_t max_in_flight)
{
    tls_server_start(&peer);
    add("127.0.0.1");
    take_and_greet(max_in_flight);
}

static const Keyd__V1__Request *
next(void)
{
    const Keyd__V1__Request *q = NULL;

    for (int i = 0; i < 2000 && q == NULL; i++) {
        turn();
        q = rpc_server_next(&server, 1);
    }
    assert_non_null(q);
    return q;
}

static void
wait_seen(size_t n)
{
    for (int i = 0; i < 2000 && n_seen < n; i++)
        turn();
    assert_int_equal(n_seen, n);
}

static void
give(uint64_t id, unsigned oneof_case)
{
    Keyd__V1__Response *m = sample_response(&build, oneof_case);

    m->id = id;
    rpc_server_answer(&server, m, -1);
}

/* ---- handshakes */

static void
expect_handshake(const char *word)
{
    struct keyd_endpoint_info info = {0};

    tls_server_start(&peer);
    add("127.0.0.1");
    for (int i = 0; i < 2000 && info.n_lost == 0; i++) {
        turn();
        assert_int_equal(keyd_client_endpoint_info(client, 1, &info), KEYD_OK);
    }
    if (info.n_lost == 0 || strcmp(info.detail, word) != 0)
        fail_msg("%s, lost %u times, not %s", info.detail, (unsigned)info.n_lost, word);
    submit_lookup();
    assert_int_equal(keyd_client_pending(client), 1); /* and waits */
}

static void
a_server_of_another_name_is_not_spoken_to(void **state)
{
    (void)state;
    tls.server_name = "keyd2.example.net";
    expect_handshake("tls-server-name");
}

static void
a_server_named_by_its_address_only_if_that_is_certified(void **state)
{
    (void)state;
    tls.server_name = NULL; /* the address's: 127.0.0.1 */
    up(8);
    tls_server_stop(&peer);
    peer.listener = -1;
    keyd_client_free(client);
    client = keyd_client_new();
    peer.own = "wild";
    expect_handshake("tls-server-name");
}

static void
wildcards_name_nobody(void **state)
{
    (void)state;
    peer.own = "wild";
    expect_handshake("tls-server-name");
}

static void
a_common_name_is_no_name(void **state)
{
    (void)state;
    peer.own = "nameless";
    tls.server_name = "nameless";
    expect_handshake("tls-server-name");
}

static void
a_server_of_another_ca_is_not_spoken_to(void **state)
{
    (void)state;
    peer.own = "foreign";
    expect_handshake("tls-server-certificate");
}

static void
an_expired_certificate_is_refused(void **state)
{
    (void)state;
    peer.own = "expired";
    expect_handshake("tls-server-dates");
}

static void
one_from_the_future_too(void **state)
{
    (void)state;
    peer.own = "early";
    expect_handshake("tls-server-dates");
}

static void
a_clients_certificate_makes_no_server(void **state)
{
    (void)state;
    peer.own = "no-server";
    expect_handshake("tls-server-certificate");
}

static void
another_key_than_the_pinned_one_is_refused(void **state)
{
    (void)state;
    tls.server_key = lone_pin;
    expect_handshake("tls-server-key");
}

static void
a_pinned_key_is_enough(void **state)
{
    (void)state;
    tls.server_key = lone_pin;
    tls.ca = NULL;
    tls.server_name = NULL;
    peer.own = "lone"; /* expired, signed by itself, named otherwise */
    up(8);
}

static void
a_pinned_key_and_another_name_are_not(void **state)
{
    (void)state;
    tls.server_key = lone_pin;
    tls.ca = NULL;
    peer.own = "lone";
    expect_handshake("tls-server-name");
}

static void
key_and_ca_must_both_hold(void **state)
{
    (void)state;
    tls.server_key = server_pin;
    up(8);
}

static void
a_server_that_does_not_know_us_says_so(void **state)
{
    (void)state;
    peer.ca = "other-ca";
    expect_handshake("tls-refused");
}

static void
old_tls_is_not_spoken(void **state)
{
    (void)state;
    peer.manner = TLS_MANNER_OLD;
    expect_handshake("tls-version");
}

static void
what_is_no_tls_is_told(void **state)
{
    (void)state;
    peer.manner = TLS_MANNER_GARBAGE;
    expect_handshake("tls-failed");
}

static void
a_hang_up_is_told(void **state)
{
    (void)state;
    peer.manner = TLS_MANNER_HANGUP;
    expect_handshake("server-closed");
}

static void
silence_is_given_up(void **state)
{
    struct keyd_options o = {.connect_ms = 30};
    struct keyd_endpoint_info info = {0};

    (void)state;
    peer.manner = TLS_MANNER_SILENT;
    tls_server_start(&peer);
    add("127.0.0.1");
    assert_int_equal(keyd_client_set_options(client, &o), KEYD_OK);
    for (int i = 0; i < 2000 && info.n_lost == 0; i++) {
        turn();
        assert_int_equal(keyd_client_endpoint_info(client, 1, &info), KEYD_OK);
    }
    assert_string_equal(info.detail, "too-slow");
}

static void
nothing_is_resumed(void **state)
{
    (void)state;
    up(8);
    submit_lookup();
    const Keyd__V1__Request *q = next(); /* tickets have come by now */
    give(q->id, (unsigned)q->op_case);
    wait_seen(1);
    take_and_greet(8); /* closes the first */
    assert_int_equal(peer.n_shaken, 2);
    assert_false(peer.was_resumed);
}

static void
files_that_do_not_fit_are_refused(void **state)
{
    static char stranger_key[256], nothing[256];
    struct keyd_endpoint e = {.address = "tls:127.0.0.1:4433", .tls = &tls};

    (void)state;
    join(stranger_key, "stranger.key");
    join(nothing, "nothing");
    tls.key = stranger_key;
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_DENIED);
    assert_string_equal(keyd_client_detail(client), "tls-own-key");
    tls.key = own_key;
    tls.ca = nothing;
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_DENIED);
    assert_string_equal(keyd_client_detail(client), "tls-ca");
    tls.ca = NULL;
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_USAGE);
    tls.ca = ca_pem;
    tls.certificate = NULL;
    assert_int_equal(keyd_client_add_endpoint(client, &e), KEYD_USAGE);
}

static void
renewed_files_are_read_when_told(void **state)
{
    static char name[256], key[256];
    struct cert_spec self = {BY(other_ca), MTA1, NOW};

    (void)state;
    join(name, "changing.pem");
    join(key, "changing.key");
    tls.certificate = name;
    tls.key = key;
    make_person("changing", &self, NULL);
    expect_handshake("tls-refused");
    self.issuer = &ca;
    make_person("changing", &self, NULL);
    for (int i = 0; i < 20; i++)
        turn();
    assert_int_equal(keyd_client_reload_tls(client), KEYD_OK);
    take_and_greet(8);
    const Keyd__V1__Request *q = next(); /* the look-up that waited */
    give(q->id, (unsigned)q->op_case);
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_OK);
    assert_int_equal(truncate(key, 10), 0);
    assert_int_equal(keyd_client_reload_tls(client), KEYD_DENIED);
    assert_string_equal(keyd_client_detail(client), "tls-own-key");
}

static bool
system_knows(const char *name)
{
    struct addrinfo *found;

    if (getaddrinfo(name, NULL, NULL, &found) != 0)
        return false;
    freeaddrinfo(found);
    return true;
}

static void
names_are_looked_up(void **state)
{
    struct keyd_endpoint_info info = {0};

    (void)state;
    if (!system_knows("localhost")) {
        print_message("skipped: no localhost in this system's hosts\n");
        skip();
    }
    tls_server_start(&peer);
    add("localhost");
    take_and_greet(8);
    add("no-such-host.invalid");
    for (int i = 0; i < 15000 && info.n_lost == 0; i++) {
        turn();
        assert_int_equal(keyd_client_endpoint_info(client, 2, &info), KEYD_OK);
    }
    assert_string_equal(info.detail, "name-unknown");
    add("no-such-host-2.invalid"); /* and is freed while the thread is at work */
    turn();
    assert_int_equal(keyd_client_endpoint_info(client, 3, &info), KEYD_OK);
}

/* ---- objects */

static void
secrets_do_not_travel_over_tls(void **state)
{
    char secret[] = "secret";
    struct keyd_request q = {.op = KEYD_OP_UNSEAL,
                             .in.slot = {KEYD_SLOT_PASSPHRASE, {secret, 6}}};

    (void)state;
    up(8);
    assert_int_equal(keyd_client_submit(client, &q, seen_note, seen, NULL),
                     KEYD_UNSUPPORTED);
    assert_int_equal(secret[0], 0);
}

/* Takes an upload, checking order; the id of the whole, and its octets in back. */
static void
take_upload(uint8_t id[16], uint8_t *back)
{
    uint64_t at = 0;

    while (at < OBJECT_SIZE) {
        const Keyd__V1__Request *q = next();
        assert_int_equal(q->op_case, KEYD__V1__REQUEST__OP_UPLOAD_PART);
        assert_int_equal(q->upload_part->offset, at);
        assert_int_equal(q->upload_part->total, OBJECT_SIZE);
        if (at != 0)
            assert_memory_equal(q->upload_part->upload_id.data, id, 16);
        memcpy(id, q->upload_part->upload_id.data, 16);
        memcpy(back + at, q->upload_part->data.data, q->upload_part->data.len);
        at += q->upload_part->data.len;
        Keyd__V1__Response *m =
            sample_response(&build, KEYD__V1__RESPONSE__RESULT_UPLOAD_PART);
        m->id = q->id;
        m->upload_part->received = at;
        rpc_server_answer(&server, m, -1);
    }
}

static void
an_object_is_uploaded_before_its_request(void **state)
{
    uint8_t id[16];
    uint8_t *back = calloc(1, OBJECT_SIZE);

    (void)state;
    up(8);
    submit_issue();
    take_upload(id, back);
    assert_memory_equal(back, object, OBJECT_SIZE);
    const Keyd__V1__Request *q = next();
    assert_int_equal(q->op_case, KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET);
    assert_false(q->takes_fd);
    assert_true(q->issue_user_signet->image_fd);
    assert_memory_equal(q->upload_id.data, id, 16);
    assert_int_equal(q->idempotency_key.len, 16);
    give(q->id, (unsigned)q->op_case);
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_OK);
    assert_int_equal(seen[0]->attempts, 1);
    free(back);
}

static void
an_upload_works_one_part_at_a_time(void **state)
{
    uint8_t id[16];
    uint8_t *back = calloc(1, OBJECT_SIZE);

    (void)state;
    up(1);
    submit_issue();
    take_upload(id, back);
    assert_memory_equal(back, object, OBJECT_SIZE);
    const Keyd__V1__Request *q = next();
    give(q->id, (unsigned)q->op_case);
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_OK);
    free(back);
}

/* Lost half way: nothing was done, so all of it goes again, under another id. */
static void
an_upload_begins_anew_after_a_loss(void **state)
{
    uint8_t id[16], first[16];
    uint8_t *back = calloc(1, OBJECT_SIZE);

    (void)state;
    up(8);
    submit_issue();
    const Keyd__V1__Request *q = next();
    memcpy(first, q->upload_part->upload_id.data, 16);
    take_and_greet(8);
    take_upload(id, back);
    assert_memory_equal(back, object, OBJECT_SIZE);
    assert_memory_not_equal(id, first, 16);
    q = next();
    assert_memory_equal(q->upload_id.data, id, 16);
    give(q->id, (unsigned)q->op_case);
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_OK);
    free(back);
}

static void
a_refused_part_is_a_refused_request(void **state)
{
    (void)state;
    up(8);
    submit_issue();
    rpc_server_refuse(&server, next()->id, KD_INVALID, KD_RPC_UPLOAD_ORDER, 0);
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_INVALID);
    assert_string_equal(seen[0]->detail, "upload-order");
}

static void
a_busy_server_gets_the_object_again_later(void **state)
{
    uint8_t id[16];
    uint8_t *back = calloc(1, OBJECT_SIZE);

    (void)state;
    up(1);
    submit_issue();
    rpc_server_refuse(&server, next()->id, KD_BUSY, KD_RPC_ID_IN_USE, 30);
    int64_t before = kd_clock_ms();
    take_upload(id, back);
    assert_true(kd_clock_ms() - before >= 29);
    const Keyd__V1__Request *q = next();
    give(q->id, (unsigned)q->op_case);
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_OK);
    assert_int_equal(seen[0]->attempts, 2);
    free(back);
}

static void
a_wrong_count_of_what_was_received_breaks_the_protocol(void **state)
{
    struct keyd_endpoint_info info;

    (void)state;
    up(8);
    submit_issue();
    Keyd__V1__Response *m =
        sample_response(&build, KEYD__V1__RESPONSE__RESULT_UPLOAD_PART);
    m->id = next()->id;
    m->upload_part->received = 1;
    rpc_server_answer(&server, m, -1);
    do {
        turn();
        assert_int_equal(keyd_client_endpoint_info(client, 1, &info), KEYD_OK);
    } while (info.n_lost == 0);
    assert_string_equal(info.detail, "bad-part");
}

/* ---- fetching */

static void
give_object(const Keyd__V1__Request *q, uint32_t size)
{
    Keyd__V1__Response *m =
        sample_response(&build, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);

    m->id = q->id;
    m->lookup_signet->signet.len = 0;
    m->lookup_signet->signet_fd_size = size;
    m->object_id = sample_octets(&build, 16);
    rpc_server_answer(&server, m, -1);
}

static void
give_part(const Keyd__V1__Request *q, size_t n)
{
    Keyd__V1__Response *m =
        sample_response(&build, KEYD__V1__RESPONSE__RESULT_FETCH_PART);

    m->id = q->id;
    m->fetch_part->data = kd_rpc_data(kd_slice(object + q->fetch_part->offset, n));
    rpc_server_answer(&server, m, -1);
}

static const Keyd__V1__Request *
next_fetch(void)
{
    const Keyd__V1__Request *q = next();

    assert_int_equal(q->op_case, KEYD__V1__REQUEST__OP_FETCH_PART);
    assert_memory_equal(q->fetch_part->object_id.data, "abcdefghijklmnop", 16);
    return q;
}

/* Parts of every size, the later ones first where two are asked for. */
static void
a_large_signet_comes_whole(void **state)
{
    size_t left = OBJECT_SIZE;

    (void)state;
    up(8);
    submit_lookup();
    give_object(next(), OBJECT_SIZE);
    for (unsigned i = 0; left > 0; i++) {
        const Keyd__V1__Request *q = next_fetch();
        size_t n = i % 3 == 1 ? 1 + q->fetch_part->limit / 2 : q->fetch_part->limit;
        give_part(q, n);
        left -= n;
    }
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_OK);
    assert_int_equal(seen[0]->out.signet.signet.n, OBJECT_SIZE);
    assert_memory_equal(seen[0]->out.signet.signet.p, object, OBJECT_SIZE);
}

static void
a_small_signet_comes_at_once(void **state)
{
    (void)state;
    up(8);
    submit_lookup();
    const Keyd__V1__Request *q = next();
    give(q->id, (unsigned)q->op_case);
    wait_seen(1);
    assert_int_equal(seen[0]->out.signet.signet.n, 1);
}

/* More than is read in one go, with the end right behind. */
static void
answers_before_the_end_all_come(void **state)
{
    enum { N = 8, SIZE = 20000 };
    struct keyd_endpoint_info info = {0};
    uint64_t ids[N];

    (void)state;
    up(N);
    for (size_t i = 0; i < N; i++)
        submit_lookup();
    for (size_t i = 0; i < N; i++)
        ids[i] = next()->id;
    for (size_t i = 0; i < N; i++) {
        Keyd__V1__Response *m =
            sample_response(&build, KEYD__V1__RESPONSE__RESULT_LOOKUP_SIGNET);
        m->id = ids[i];
        m->lookup_signet->signet = kd_rpc_data(kd_slice(object + i, SIZE));
        rpc_server_answer(&server, m, -1);
    }
    rpc_server_clear(&server);
    server.sock = -1;
    kd_ignore(usleep(50000)); /* most of it is here before the first look */
    wait_seen(N);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(seen[i]->status, KEYD_OK);
        assert_int_equal(seen[i]->attempts, 1);
        assert_int_equal(seen[i]->out.signet.signet.n, SIZE);
        assert_memory_equal(seen[i]->out.signet.signet.p, object + i, SIZE);
    }
    for (int i = 0; i < 2000 && info.n_lost == 0; i++) {
        turn();
        assert_int_equal(keyd_client_endpoint_info(client, 1, &info), KEYD_OK);
    }
    assert_string_equal(info.detail, "server-closed");
}

static void
an_object_that_is_gone_is_asked_for_anew(void **state)
{
    (void)state;
    up(8);
    submit_lookup();
    give_object(next(), 60000);
    rpc_server_refuse(&server, next_fetch()->id, KD_NOT_FOUND, KD_RPC_OBJECT_GONE, 0);
    const Keyd__V1__Request *q;
    while ((q = next())->op_case == KEYD__V1__REQUEST__OP_FETCH_PART)
        rpc_server_refuse(&server, q->id, KD_NOT_FOUND, KD_RPC_OBJECT_GONE, 0);
    assert_int_equal(q->op_case, KEYD__V1__REQUEST__OP_LOOKUP_SIGNET);
    give(q->id, (unsigned)q->op_case);
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_OK);
    assert_int_equal(seen[0]->attempts, 2);
}

static void
more_or_nothing_in_a_part_breaks_the_protocol(void **state)
{
    struct keyd_endpoint_info info;

    (void)state;
    up(8);
    for (unsigned i = 0; i < 2; i++) {
        submit_lookup();
        give_object(next(), 50000);
        const Keyd__V1__Request *q = next_fetch();
        if (i == 0)
            q = next_fetch(); /* the rest: 848 octets */
        give_part(q, i == 0 ? 849 : 0);
        do {
            turn();
            assert_int_equal(keyd_client_endpoint_info(client, 1, &info), KEYD_OK);
        } while (info.n_lost == i);
        assert_string_equal(info.detail, "bad-part");
        take_and_greet(8);
        q = next(); /* asked again */
        give(q->id, (unsigned)q->op_case);
        wait_seen(i + 1);
    }
}

static void
an_object_whose_time_is_over_ends_the_call(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_LOOKUP_SIGNET,
                             .deadline_ms = 80,
                             .in.lookup_signet = {KEYD_STR("example.org"), KEYD_NONE}};

    (void)state;
    up(8);
    submit(&q);
    give_object(next(), OBJECT_SIZE);
    next_fetch();
    wait_seen(1);
    assert_int_equal(seen[0]->status, KEYD_DEADLINE);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
    static const struct CMUnitTest tests[] = {
        T(a_server_of_another_name_is_not_spoken_to),
        T(a_server_named_by_its_address_only_if_that_is_certified),
        T(wildcards_name_nobody),
        T(a_common_name_is_no_name),
        T(a_server_of_another_ca_is_not_spoken_to),
        T(an_expired_certificate_is_refused),
        T(one_from_the_future_too),
        T(a_clients_certificate_makes_no_server),
        T(another_key_than_the_pinned_one_is_refused),
        T(a_pinned_key_is_enough),
        T(a_pinned_key_and_another_name_are_not),
        T(key_and_ca_must_both_hold),
        T(a_server_that_does_not_know_us_says_so),
        T(old_tls_is_not_spoken),
        T(what_is_no_tls_is_told),
        T(a_hang_up_is_told),
        T(silence_is_given_up),
        T(nothing_is_resumed),
        T(files_that_do_not_fit_are_refused),
        T(renewed_files_are_read_when_told),
        T(names_are_looked_up),
        T(secrets_do_not_travel_over_tls),
        T(an_object_is_uploaded_before_its_request),
        T(an_upload_works_one_part_at_a_time),
        T(an_upload_begins_anew_after_a_loss),
        T(a_refused_part_is_a_refused_request),
        T(a_busy_server_gets_the_object_again_later),
        T(a_wrong_count_of_what_was_received_breaks_the_protocol),
        T(a_large_signet_comes_whole),
        T(a_small_signet_comes_at_once),
        T(answers_before_the_end_all_come),
        T(an_object_that_is_gone_is_asked_for_anew),
        T(more_or_nothing_in_a_part_breaks_the_protocol),
        T(an_object_whose_time_is_over_ends_the_call),
    };
#undef T

    /* Where name servers are out of reach, that is soon known. */
    setenv("RES_OPTIONS", "timeout:1 attempts:1", 1);
    return cmocka_run_group_tests(tests, make_people, remove_people);
}
