/* Clients that mean no good: whatever comes in on a socket, no process ends, memory
 * stays bounded, and an honest client is served meanwhile. */
#include "ask.h"
#include "ed25519_points.h"
#include "people.h"
#include "rpc_sample.h"
#include "scale.h"
#include "sg.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The sanitizer keeps what is freed. */
#ifdef __SANITIZE_ADDRESS__
enum { MEASURES_MEMORY = 0 };
#else
enum { MEASURES_MEMORY = 1 };
#endif

static struct daemon keyd;
static keyd_client *submit;
static struct daemon_child before[DAEMON_CHILDREN_MAX];
static size_t n_before;

/* --- raw connections --- */

static int
raw_connect(const char *class)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char path[108];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    daemon_socket(&keyd, class, path);
    memcpy(to.sun_path, path, strlen(path) + 1);
    assert_true(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        fail_msg("connect %s: %s", path, strerror(errno));
    return fd;
}

/* Sends what can be sent; that the peer has closed is its right. */
static void
raw_send(int fd, const void *octets, size_t n)
{
    const uint8_t *p = octets;

    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        struct pollfd w = {.fd = fd, .events = POLLOUT};
        if (k > 0) {
            p += k;
            n -= (size_t)k;
        } else if (errno != EAGAIN || poll(&w, 1, 1000) <= 0) {
            return;
        }
    }
}

static void
send_with_fds(int fd, const void *octets, size_t n, const int *fds, size_t n_fds)
{
    union {
        struct cmsghdr align;
        uint8_t octets[CMSG_SPACE(16 * sizeof(int))];
    } control = {0};
    struct iovec v = {(void *)(uintptr_t)octets, n};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control.octets,
                       .msg_controllen = CMSG_SPACE(n_fds * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    assert_true(n_fds <= 16);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
    memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    kd_ignore(sendmsg(fd, &m, MSG_NOSIGNAL)); /* the peer may have gone */
}

/* Reads until the peer closes: true; or until ms have passed: false. */
static bool
closes_within(int fd, int ms)
{
    static uint8_t octets[65536];
    int64_t until = kd_clock_ms() + ms;

    for (;;) {
        struct pollfd r = {.fd = fd, .events = POLLIN};
        int64_t left = until - kd_clock_ms();
        if (left <= 0 || poll(&r, 1, (int)left) <= 0)
            return false;
        ssize_t k = recv(fd, octets, sizeof octets, MSG_DONTWAIT);
        if (k == 0 || (k < 0 && errno != EAGAIN))
            return true;
    }
}

/* A request as a frame; returns its size. flag: the header's bit of a descriptor. */
static size_t
frame_of(const Keyd__V1__Request *m, bool flag, uint8_t *out, size_t room)
{
    struct kd_buf b;

    kd_buf_init(&b, KD_FRAME_MAX);
    assert_int_equal(kd_rpc_encode(&m->base, &b), KD_OK);
    assert_true(b.n + 4 <= room);
    kd_put_be32(out, (uint32_t)b.n | (flag ? 0x80000000u : 0));
    memcpy(out + 4, b.p, b.n);
    size_t n = b.n + 4;
    kd_buf_free(&b);
    return n;
}

static size_t
hello_frame(uint8_t *out, size_t room)
{
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;

    hello.min_version = hello.max_version = 1;
    m.id = 1;
    m.op_case = KEYD__V1__REQUEST__OP_HELLO;
    m.hello = &hello;
    return frame_of(&m, false, out, room);
}

/* A connection that has agreed on a version. */
static int
greeted(const char *class)
{
    uint8_t frame[256], answer[256];
    int fd = raw_connect(class);

    raw_send(fd, frame, hello_frame(frame, sizeof frame));
    assert_true(recv(fd, answer, sizeof answer, 0) > 4);
    return fd;
}

/* --- who is there --- */

static void
assert_nobody_ended(void)
{
    assert_true(daemon_has_children(&keyd, before, n_before));
}

static uint64_t next_person;

static void
assert_honest_client_is_served(void)
{
    char address[64];
    struct kd_buf b;

    snprintf(address, sizeof address, "honest%u@example.com", (unsigned)next_person);
    person_request("honest", next_person++, &b);
    ask_issue_ends(submit, address, kd_buf_slice(&b), KEYD_OK, NULL);
    kd_buf_free(&b);
}

/* Resident KiB of all processes together. */
static size_t
resident(void)
{
    size_t sum = 0;

    for (size_t i = 0; i < n_before; i++) {
        char path[64];
        unsigned long size = 0, rss = 0;
        snprintf(path, sizeof path, "/proc/%d/statm", (int)before[i].pid);
        FILE *f = fopen(path, "re");
        if (f != NULL && fscanf(f, "%lu %lu", &size, &rss) == 2)
            sum += rss * 4;
        if (f != NULL)
            fclose(f);
    }
    return sum;
}

static int
after_each(void **state)
{
    (void)state;
    assert_nobody_ended();
    assert_honest_client_is_served();
    return 0;
}

/* --- frames --- */

static void
a_frame_of_impossible_length_ends_the_connection(void **state)
{
    static const uint32_t lengths[] = {0,          65537,      1 << 20,   0x7fffffff,
                                       0x80000000, 0x80010001, 0xffffffff};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t octets[64] = {0};
        int fd = greeted("submission");
        kd_put_be32(octets, lengths[i]);
        raw_send(fd, octets, sizeof octets);
        if (!closes_within(fd, 3000))
            fail_msg("length %08x is put up with", lengths[i]);
        close(fd);
    }
}

static void
a_frame_that_is_cut_ends_the_connection(void **state)
{
    uint8_t frame[256];
    size_t n = hello_frame(frame, sizeof frame);

    (void)state;
    for (size_t k = 1; k < n; k++) {
        int fd = raw_connect("submission");
        raw_send(fd, frame, k);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        assert_true(closes_within(fd, 3000));
        close(fd);
    }
}

static void
who_sends_nothing_or_half_a_frame_is_not_waited_for(void **state)
{
    uint8_t frame[256];
    size_t n = hello_frame(frame, sizeof frame);
    int silent = raw_connect("submission"), half = raw_connect("submission");
    int late = greeted("submission");

    (void)state;
    raw_send(half, frame, n - 1);
    raw_send(late, frame, 3);
    /* Each of the limits is a second in this configuration. */
    assert_true(closes_within(silent, 4000));
    assert_true(closes_within(half, 4000));
    assert_true(closes_within(late, 4000));
    close(silent);
    close(half);
    close(late);
}

static void
an_operation_before_hello_and_a_second_hello_are_refused(void **state)
{
    uint8_t frame[256];
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;

    (void)state;
    m.id = 7;
    m.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    m.service_status = &status;
    int fd = raw_connect("submission");
    raw_send(fd, frame, frame_of(&m, false, frame, sizeof frame));
    assert_true(closes_within(fd, 3000));
    close(fd);
    fd = greeted("submission");
    raw_send(fd, frame, hello_frame(frame, sizeof frame));
    uint8_t answer[256];
    assert_true(recv(fd, answer, sizeof answer, 0) > 4);
    close(fd);
}

/* Whole and bent requests of every kind that this class may send, and noise. */
static size_t
make_noise(const char *class, uint8_t *out, size_t room)
{
    struct kd_arena arena;
    size_t n = 0;

    kd_arena_init(&arena);
    kd_arena_reset(&arena, KD_RPC_ARENA_MAX);
    unsigned n_cases = 0;
    while (sample_case(n_cases) != 0)
        n_cases++;
    unsigned which = sample_case(randombytes_uniform(n_cases));
    /* An operator who seals gets what was asked for: not on his socket. */
    if (strcmp(class, "admin") == 0 && which > 120)
        which = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    Keyd__V1__Request *m = sample_request(&arena, which);
    m->id = 2 + randombytes_uniform(100);
    n = frame_of(m, false, out, room);
    kd_arena_free(&arena);
    switch (randombytes_uniform(4)) {
    case 0:
        break;
    case 1: /* some octets of the message changed */
        for (uint32_t k = 1 + randombytes_uniform(4); k > 0; k--)
            out[4 + randombytes_uniform((uint32_t)n - 4)] =
                (uint8_t)randombytes_random();
        break;
    case 2: /* cut, with a length that fits */
        n = 4 + 1 + randombytes_uniform((uint32_t)n - 4);
        kd_put_be32(out, (uint32_t)n - 4);
        break;
    default: /* noise of any length */
        n = 5 + randombytes_uniform(1000);
        randombytes_buf(out, n);
        kd_put_be32(out, (uint32_t)n - 4);
        break;
    }
    return n;
}

static void
bent_requests_and_noise_on_every_socket_end_nothing(void **state)
{
    static const char *const classes[] = {"submission", "mta", "milter", "admin"};
    size_t rounds = test_rounds(20000);
    static uint8_t octets[KD_FRAME_MAX + 4];

    (void)state;
    for (size_t i = 0; i < rounds; i++) {
        const char *class = classes[i % 4];
        int fd = i % 8 < 6 && strcmp(class, "milter") != 0 ? greeted(class)
                                                           : raw_connect(class);
        for (uint32_t k = 1 + randombytes_uniform(8); k > 0; k--)
            raw_send(fd, octets, make_noise(class, octets, sizeof octets));
        if (i % 16 == 0)
            kd_ignore(closes_within(fd, 5)); /* some wait for an answer */
        close(fd);
        if (i % 500 == 0)
            assert_honest_client_is_served();
    }
}

static void
thousands_of_empty_sub_messages_cost_no_memory(void **state)
{
    static uint8_t frame[KD_FRAME_MAX + 4];
    size_t at = resident();

    (void)state;
    for (int i = 0; i < 20; i++) {
        int fd = greeted("submission");
        size_t n = 4;
        frame[n++] = 0x08; /* id = 5 */
        frame[n++] = 5;
        frame[n++] = 0xa2; /* issue_user_signet = 116, a length of three octets */
        frame[n++] = 0x07;
        uint32_t inner = 60000;
        frame[n++] = (uint8_t)(0x80 | (inner & 0x7f));
        frame[n++] = (uint8_t)(0x80 | (inner >> 7 & 0x7f));
        frame[n++] = (uint8_t)(inner >> 14);
        for (uint32_t k = 0; k < inner; k += 2) {
            frame[n++] = 0x22; /* profile = 4, empty */
            frame[n++] = 0;
        }
        kd_put_be32(frame, (uint32_t)n - 4);
        raw_send(fd, frame, n);
        assert_true(closes_within(fd, 3000));
        close(fd);
    }
    assert_true(!MEASURES_MEMORY || resident() < at + 4096);
}

/* --- descriptors --- */

static size_t
issue_frame_with_image(uint8_t *frame, size_t room, bool flag)
{
    Keyd__V1__IssueUserSignetRequest issue = KEYD__V1__ISSUE_USER_SIGNET_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;
    struct kd_buf b;
    uint8_t key[16];

    person_request("image", randombytes_random(), &b);
    randombytes_buf(key, sizeof key);
    m.id = 9;
    m.takes_fd = flag;
    m.idempotency_key = kd_rpc_data(kd_slice(key, sizeof key));
    m.op_case = KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET;
    m.issue_user_signet = &issue;
    issue.address = kd_rpc_data(kd_slice_str("image@example.com"));
    issue.ssr = kd_rpc_data(kd_buf_slice(&b));
    issue.account_mode = KEYD__V1__ACCOUNT_MODE__ACCOUNT_MODE_TRUSTFUL;
    issue.image_fd = flag;
    size_t n = frame_of(&m, flag, frame, room);
    kd_buf_free(&b);
    return n;
}

/* The status of the answer to request 9, or -1 if the connection ended. */
static int
answer_status(int fd)
{
    uint8_t octets[65536];
    struct kd_arena arena;
    const Keyd__V1__Response *m;
    struct kd_rpc_fault fault;
    ssize_t n = recv(fd, octets, sizeof octets, 0);
    int status = -1;

    kd_arena_init(&arena);
    if (n > 4 && kd_rpc_decode_response(&arena, kd_slice(octets + 4, (size_t)n - 4),
                                        false, &m, &fault) == KD_OK)
        status = (int)m->status;
    kd_arena_free(&arena);
    return status;
}

static void
assert_descriptor_refused(int object, const char *what)
{
    uint8_t frame[4096];
    size_t n = issue_frame_with_image(frame, sizeof frame, true);
    int fd = greeted("submission");

    send_with_fds(fd, frame, n, &object, 1);
    int status = answer_status(fd);
    if (status != KEYD_INVALID)
        fail_msg("%s: %d", what, status);
    close(fd);
}

static void
only_a_sealed_memfd_of_fair_size_is_taken(void **state)
{
    static const int partial[] = {F_SEAL_WRITE, F_SEAL_WRITE | F_SEAL_SHRINK,
                                  F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW,
                                  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL};
    int pipe_fds[2];

    (void)state;
    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, "png", 3), 3);
    assert_descriptor_refused(fd, "an unsealed memfd");
    close(fd);
    for (size_t i = 0; i < sizeof partial / sizeof *partial; i++) {
        fd = memfd_create("half", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_int_equal(write(fd, "png", 3), 3);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, partial[i]), 0);
        assert_descriptor_refused(fd, "a memfd with too few seals");
        close(fd);
    }
    fd = open(keyd.conf, O_RDONLY | O_CLOEXEC);
    assert_descriptor_refused(fd, "a file");
    close(fd);
    fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_descriptor_refused(fd, "a device");
    close(fd);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_descriptor_refused(pipe_fds[0], "a pipe");
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS,
                           F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
                     0);
    assert_descriptor_refused(fd, "a memfd of 1 TiB");
    close(fd);
}

static size_t
open_descriptors(pid_t pid)
{
    char command[64];
    unsigned n = 0;

    snprintf(command, sizeof command, "ls /proc/%d/fd 2>/dev/null | wc -l", (int)pid);
    FILE *f = popen(command, "re");
    if (f != NULL && fscanf(f, "%u", &n) != 1)
        n = 0;
    if (f != NULL)
        pclose(f);
    return n;
}

static void
descriptors_nobody_asked_for_are_not_kept(void **state)
{
    pid_t gate = daemon_role(&keyd, KEYD_PROCESS_GATE, "submission");
    size_t at_first = open_descriptors(gate);
    uint8_t frame[4096];
    int fds[16], object;

    (void)state;
    assert_int_equal(kd_memfd_seal(kd_slice_str("x"), &object), KD_OK);
    for (size_t i = 0; i < 16; i++)
        fds[i] = object;
    for (int i = 0; i < 200; i++) {
        int fd = greeted("submission");
        size_t n = hello_frame(frame, sizeof frame);
        if (i % 4 == 0) /* with a frame that wants none */
            send_with_fds(fd, frame, n, fds, 1);
        else if (i % 4 == 1) /* sixteen at once */
            send_with_fds(fd, frame, n, fds, 16);
        else if (i % 4 == 2) { /* one with every octet */
            n = issue_frame_with_image(frame, sizeof frame, true);
            for (size_t k = 0; k < 40 && k < n; k++)
                send_with_fds(fd, frame + k, 1, fds, 1);
        } else { /* a frame that wants one and brings none */
            n = issue_frame_with_image(frame, sizeof frame, true);
            raw_send(fd, frame, n);
        }
        assert_true(closes_within(fd, 3000));
        close(fd);
    }
    close(object);
    if (at_first == 0) {
        print_message("not root: the gate's descriptors cannot be counted\n");
        return;
    }
    assert_true(open_descriptors(gate) <= at_first + 2);
}

/* --- behaviour --- */

static void
nothing(void *cookie, struct keyd_answer *a)
{
    (void)cookie;
    keyd_client_answer_free(a);
}

static void
submit_many(keyd_client *c, uint64_t first, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char address[64];
        struct kd_buf b;
        person_request("gone", first + i, &b);
        snprintf(address, sizeof address, "gone%u@example.com", (unsigned)(first + i));
        const struct keyd_request q = {
            .op = KEYD_OP_ISSUE_USER_SIGNET,
            .in.issue_user_signet = {.address = KEYD_STR(address),
                                     .ssr = {b.p, b.n},
                                     .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
        assert_int_equal(keyd_client_submit(c, &q, nothing, NULL, NULL), KEYD_OK);
        kd_buf_free(&b);
    }
}

static void
clients_that_leave_in_the_middle_do_no_harm(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 50; i++) {
        keyd_client *c = ask_connect(&keyd, "submission");
        submit_many(c, i * 32, 32);
        kd_ignore(keyd_client_process(c, 0)); /* sent; not waited for */
        keyd_client_free(c);
    }
    /* What was begun was finished or not begun: asking again answers either way. */
    keyd_client *c = ask_connect(&keyd, "submission");
    submit_many(c, 0, 1600);
    while (keyd_client_pending(c) > 0)
        assert_int_equal(keyd_client_process(c, -1), KEYD_OK);
    keyd_client_free(c);
}

/* Look-ups until the socket takes no more for a while. */
static void
ask_and_ask(int fd)
{
    static uint8_t octets[128 * 1024];
    Keyd__V1__LookupSignetRequest look = KEYD__V1__LOOKUP_SIGNET_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;
    size_t n = 0, at = 0;

    m.op_case = KEYD__V1__REQUEST__OP_LOOKUP_SIGNET;
    m.lookup_signet = &look;
    look.name = kd_rpc_data(kd_slice_str("example.com"));
    for (m.id = 2; n + 64 < sizeof octets; m.id++)
        n += frame_of(&m, false, octets + n, sizeof octets - n);
    for (unsigned sent = 0; sent < 8 * 1024 * 1024;) {
        struct pollfd w = {.fd = fd, .events = POLLOUT};
        ssize_t k = send(fd, octets + at, n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k <= 0 && (errno != EAGAIN || poll(&w, 1, 100) != 1))
            return;
        if (k > 0) {
            sent += (unsigned)k;
            at = (at + (size_t)k) % n;
        }
    }
    fail_msg("8 MiB of requests are taken from one who reads nothing");
}

static void
who_asks_and_never_reads_is_dropped_and_costs_little(void **state)
{
    enum { N = 10 };
    size_t at = resident();
    int fds[N];

    (void)state;
    for (size_t i = 0; i < N; i++) {
        fds[i] = greeted("submission");
        ask_and_ask(fds[i]);
    }
    size_t most = resident();
    for (size_t i = 0; i < N; i++) {
        struct pollfd p = {.fd = fds[i], .events = POLLRDHUP};
        assert_true(poll(&p, 1, 6000) == 1);
        close(fds[i]);
    }
    print_message("%d who never read: %zu KiB more\n", N, most > at ? most - at : 0);
    assert_true(!MEASURES_MEMORY || most < at + 32 * 1024);
}

static void
more_in_flight_than_agreed_is_refused_and_the_rest_answered(void **state)
{
    enum { N = 300 };
    uint8_t frame[1024];
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;
    Keyd__V1__IssueUserSignetRequest issue = KEYD__V1__ISSUE_USER_SIGNET_REQUEST__INIT;
    int fd = greeted("submission");
    unsigned done = 0, busy = 0;

    (void)state;
    m.op_case = KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET;
    m.issue_user_signet = &issue;
    issue.account_mode = KEYD__V1__ACCOUNT_MODE__ACCOUNT_MODE_TRUSTFUL;
    for (unsigned i = 0; i < N; i++) {
        struct kd_buf b;
        char address[64];
        uint8_t key[16];
        randombytes_buf(key, sizeof key);
        person_request("flood", i, &b);
        snprintf(address, sizeof address, "flood%u@example.com", i);
        m.id = 2 + i;
        m.idempotency_key = kd_rpc_data(kd_slice(key, sizeof key));
        issue.address = kd_rpc_data(kd_slice_str(address));
        issue.ssr = kd_rpc_data(kd_buf_slice(&b));
        raw_send(fd, frame, frame_of(&m, false, frame, sizeof frame));
        kd_buf_free(&b);
    }
    struct kd_frame_in in;
    static struct kd_frame_scratch scratch;
    struct kd_arena arena;
    kd_frame_in_init(&in, KD_FRAME_MAX);
    kd_arena_init(&arena);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while (done + busy < N) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        struct kd_frame f;
        assert_int_equal(poll(&p, 1, 10000), 1);
        kd_err err = kd_frame_recv(&in, fd, &scratch);
        assert_true(err == KD_OK || err == KD_UNAVAILABLE);
        while (err == KD_OK && (err = kd_frame_next(&in, &f)) == KD_OK) {
            const Keyd__V1__Response *r;
            struct kd_rpc_fault fault;
            assert_int_equal(kd_rpc_decode_response(&arena, f.body, false, &r, &fault),
                             KD_OK);
            done += r->status == KEYD__V1__STATUS__STATUS_OK;
            busy += r->status == KEYD__V1__STATUS__STATUS_BUSY;
            assert_true(r->status == KEYD__V1__STATUS__STATUS_OK ||
                        r->status == KEYD__V1__STATUS__STATUS_BUSY);
        }
    }
    print_message("%u issued, %u refused as too many\n", done, busy);
    assert_true(done >= 32 && busy > 0);
    kd_arena_free(&arena);
    kd_frame_in_clear(&in);
    close(fd);
}

static int
by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void
thousands_of_connections_leave_an_honest_client_its_place(void **state)
{
    enum { ASKED = 400, MOST = 10000 };
    static int fds[MOST];
    static int64_t ns[ASKED];
    size_t n = test_rounds(MOST * 2) > MOST ? MOST : test_rounds(MOST * 2);
    struct rlimit files = {MOST + 512, MOST + 512}, had;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
    if (had.rlim_cur < files.rlim_cur && setrlimit(RLIMIT_NOFILE, &files) != 0) {
        print_message("skipped: too few descriptors\n");
        skip();
    }
    for (size_t i = 0; i < n; i++)
        fds[i] = raw_connect("mta");
    for (size_t i = 0; i < ASKED; i++) {
        int64_t start = kd_clock_ns();
        assert_honest_client_is_served();
        ns[i] = kd_clock_ns() - start;
        if (i % 4 == 0) /* some go, others come */
            close(fds[i]), fds[i] = raw_connect("mta");
    }
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    qsort(ns, ASKED, sizeof *ns, by_value);
    print_message("beside %zu connections: p50 %lld us, p99 %lld us\n", n,
                  (long long)ns[ASKED / 2] / 1000,
                  (long long)ns[ASKED * 99 / 100] / 1000);
    assert_true(ns[ASKED * 99 / 100] < 250 * 1000000LL);
}

/* --- points --- */

static void
assert_point_refused(const uint8_t key[32], const uint8_t enc[33], const char *detail,
                     const char *what)
{
    struct sg_pair pair = sg_pair_text("hostile points");
    struct kd_buf b;

    sg_begin(&b, DIME_MAGIC_SSR);
    sg_sign_key(&b, DIME_LAYOUT_L, key == NULL ? pair.key : key);
    sg_enc_key(&b, 2, DIME_LAYOUT_L, enc);
    sg_sign(&b, 5, &pair);
    struct keyd_answer *a = ask_plain(submit, "points@example.com", sg_end(&b));
    if (a->status != KEYD_INVALID || strcmp(a->detail, detail) != 0)
        fail_msg("%s: %s (%s)", what, keyd_client_status_text(a->status), a->detail);
    keyd_client_answer_free(a);
    kd_buf_free(&b);
}

static void
signing_keys_of_small_mixed_or_no_order_are_refused(void **state)
{
    uint8_t enc[33], mixed[32], torsion[32], off[32];

    (void)state;
    sg_enc_text("hostile points", enc);
    for (size_t i = 0; i < SMALL_ORDER_ALL; i++)
        assert_point_refused(small_order[i], enc, "signet-bad-point", "small order");
    for (unsigned i = 1; i < 8; i++) {
        torsion_point(i, torsion);
        point_add(sg_world()->bob.key, torsion, mixed);
        assert_point_refused(mixed, enc, "signet-bad-point", "mixed order");
    }
    unsigned n_off = 0;
    for (uint8_t y = 2; n_off < 20; y++) {
        memset(off, 0, sizeof off);
        off[0] = y;
        if (crypto_core_ed25519_is_valid_point(off) == 1)
            continue;
        assert_point_refused(off, enc, "signet-bad-point", "no point");
        n_off++;
    }
    memset(off, 0xff, sizeof off);
    assert_point_refused(off, enc, "signet-bad-point", "no field element");
}

static void
encryption_keys_that_are_no_compressed_point_are_refused(void **state)
{
    uint8_t enc[33];

    (void)state;
    for (unsigned tag = 0; tag < 256; tag++) {
        if (tag == 2 || tag == 3)
            continue;
        sg_enc_text("hostile points", enc);
        enc[0] = (uint8_t)tag; /* 00 infinity, 04 whole, 06 and 07 hybrid, ... */
        assert_point_refused(NULL, enc, "signet-bad-enc-point", "first octet");
    }
    memset(enc, 0, sizeof enc);
    enc[0] = 2;
    enc[32] = 5; /* no point has x = 5 */
    assert_point_refused(NULL, enc, "signet-bad-enc-point", "off the curve");
    memset(enc + 1, 0xff, 32); /* x above p */
    assert_point_refused(NULL, enc, "signet-bad-enc-point", "x above the field");
}

/* --- start and end --- */

static int
set_up(void **state)
{
    const struct daemon_options impatient = {
        .top = "hello-timeout = 1\nfirst-octet-timeout = 1\nframe-timeout = 1\n"
               "write-timeout = 1"};

    (void)state;
    if (kd_secret_setup(65536) != KD_OK || !daemon_start(&keyd, &impatient) ||
        !daemon_provision(&keyd, NULL) ||
        (submit = daemon_connect(&keyd, "submission")) == NULL)
        return -1;
    n_before = daemon_children(&keyd, before, DAEMON_CHILDREN_MAX);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    keyd_client_free(submit);
    if (daemon_stop(&keyd) != 0)
        return -1;
    const char *const arguments[] = {keyd.state, NULL};
    int checked =
        daemon_reap(daemon_spawn(&keyd, "keyd-check", "check.out", arguments), 60000);
    daemon_clear(&keyd);
    return checked;
}

#define hostile(test) cmocka_unit_test_teardown(test, after_each)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        hostile(a_frame_of_impossible_length_ends_the_connection),
        hostile(a_frame_that_is_cut_ends_the_connection),
        hostile(who_sends_nothing_or_half_a_frame_is_not_waited_for),
        hostile(an_operation_before_hello_and_a_second_hello_are_refused),
        hostile(bent_requests_and_noise_on_every_socket_end_nothing),
        hostile(thousands_of_empty_sub_messages_cost_no_memory),
        hostile(only_a_sealed_memfd_of_fair_size_is_taken),
        hostile(descriptors_nobody_asked_for_are_not_kept),
        hostile(clients_that_leave_in_the_middle_do_no_harm),
        hostile(who_asks_and_never_reads_is_dropped_and_costs_little),
        hostile(more_in_flight_than_agreed_is_refused_and_the_rest_answered),
        hostile(thousands_of_connections_leave_an_honest_client_its_place),
        hostile(signing_keys_of_small_mixed_or_no_order_are_refused),
        hostile(encryption_keys_that_are_no_compressed_point_are_refused),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
