/* Abuse of a listener by one of its principals while another of the same class works:
 * ten thousand connections at once that are idle, silent, half closed, never read,
 * speak an octet a second or nonsense, or come and go as fast as they can. The other
 * one's requests go well (99.9 %) and soon (p99 at most 50 ms), all roles together
 * stay below 256 MiB, nobody is restarted, and five seconds later it is as before.
 *
 * What the abuser does is a way of using links, how a link is made a transport: a new
 * transport is one more row of transports[]. */
#include "ask.h"
#include "people.h"
#include "scale.h"
#include "test.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/err.h>
#include <keyd/base/secret.h>
#include <keyd/rpc/rpc_frame.h>
#include <keyd/rpc/rpc_pb.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LINKS_MOST = 10000,
    SLOW_LINKS = 2000,
    MEMORY_KIB = 256 * 1024,
    P99_MS = 50,
    RECOVERY_MS = 5000,
    CALLS_MOST = 400000,
    LARGE = 30000 /* octets of a signet that is looked up */
};

static struct daemon keyd;

/* --- transports --- */

struct link {
    int fd; /* -1: closed */
    uint64_t at_ms;
};

struct transport {
    const char *name;
    size_t most; /* links at once */
    /* Connects without waiting for an answer; false: not now, errno says why. */
    bool (*open)(struct link *l);
    ssize_t (*send)(struct link *l, const void *p, size_t n); /* as send(2) */
    ssize_t (*recv)(struct link *l, void *p, size_t n);
    void (*half_close)(struct link *l);
    void (*close)(struct link *l);
};

static bool
unix_open(struct link *l)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    daemon_socket(&keyd, "submission", sun.sun_path);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    l->at_ms = (uint64_t)kd_clock_ms();
    if (l->fd >= 0 && connect(l->fd, (const struct sockaddr *)&sun, sizeof sun) == 0)
        return true;
    int why = errno;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    errno = why;
    return false;
}

static ssize_t
unix_send(struct link *l, const void *p, size_t n)
{
    return send(l->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t
unix_recv(struct link *l, void *p, size_t n)
{
    return recv(l->fd, p, n, MSG_DONTWAIT);
}

static void
unix_half_close(struct link *l)
{
    kd_ignore(shutdown(l->fd, SHUT_WR)); /* gone already: as good */
}

static void
unix_close(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

static const struct transport transports[] = {
    {"unix", LINKS_MOST, unix_open, unix_send, unix_recv, unix_half_close, unix_close},
};

/* --- what is sent --- */

static struct kd_buf hello, lookups, noise;

static void
put_frame(struct kd_buf *b, const Keyd__V1__Request *m)
{
    struct kd_buf one;

    kd_buf_init(&one, KD_FRAME_MAX);
    assert_int_equal(kd_rpc_encode(&m->base, &one), KD_OK);
    kd_buf_u32(b, (uint32_t)one.n);
    kd_buf_put(b, kd_buf_slice(&one));
    kd_buf_free(&one);
}

static void
make_frames(void)
{
    Keyd__V1__HelloRequest greeting = KEYD__V1__HELLO_REQUEST__INIT;
    Keyd__V1__LookupSignetRequest look = KEYD__V1__LOOKUP_SIGNET_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;

    kd_buf_init(&hello, KD_FRAME_MAX);
    kd_buf_init(&lookups, KD_FRAME_MAX);
    kd_buf_init(&noise, KD_FRAME_MAX);
    greeting.min_version = greeting.max_version = 1;
    m.id = 1;
    m.op_case = KEYD__V1__REQUEST__OP_HELLO;
    m.hello = &greeting;
    put_frame(&hello, &m);
    look.name = kd_rpc_data(kd_slice_str("large@example.com"));
    m.op_case = KEYD__V1__REQUEST__OP_LOOKUP_SIGNET;
    m.lookup_signet = &look;
    for (m.id = 2; m.id < 34; m.id++)
        put_frame(&lookups, &m);
    uint8_t *octets = kd_buf_add(&noise, 4096);
    randombytes_buf(octets, 4096);
    assert_true(hello.err == KD_OK && lookups.err == KD_OK && noise.err == KD_OK);
}

/* --- the abuser, a process of its own --- */

struct abuser {
    const struct transport *t;
    struct link *links;
    size_t n;
    int ready; /* written to once all links are there */
    uint64_t n_opened, n_lost, n_refused;
};

static bool
reopen(struct abuser *a, size_t i)
{
    struct link *l = &a->links[i];

    a->t->close(l);
    if (!a->t->open(l)) {
        a->n_refused++;
        return false;
    }
    a->n_opened++;
    return true;
}

/* Opens what is closed, at most most of them. */
static void
open_some(struct abuser *a, size_t most, void (*first)(struct abuser *, struct link *))
{
    for (size_t i = 0; i < a->n && most > 0; i++) {
        if (a->links[i].fd >= 0)
            continue;
        if (!reopen(a, i))
            return; /* the queue is full: later */
        most--;
        if (first != NULL)
            first(a, &a->links[i]);
    }
}

/* Closes here what the daemon has closed; reads nothing else if it should not. */
static void
notice_closed(struct abuser *a, bool reads)
{
    static uint8_t octets[65536];

    for (size_t i = 0; i < a->n; i++) {
        struct link *l = &a->links[i];
        struct pollfd p = {.fd = l->fd, .events = reads ? POLLIN : 0};
        if (l->fd < 0 || poll(&p, 1, 0) <= 0)
            continue;
        ssize_t k = reads ? a->t->recv(l, octets, sizeof octets) : -1;
        if ((p.revents & (POLLHUP | POLLERR)) != 0 || k == 0 ||
            (k < 0 && reads && errno != EAGAIN)) {
            a->t->close(l);
            a->n_lost++;
        }
    }
}

static void
say_hello(struct abuser *a, struct link *l)
{
    kd_ignore(a->t->send(l, hello.p, hello.n)); /* a link that is gone is seen later */
}

static void
idle_after_hello(struct abuser *a)
{
    open_some(a, 500, say_hello);
    notice_closed(a, true);
}

static void
silent(struct abuser *a)
{
    open_some(a, 500, NULL);
    notice_closed(a, true);
}

static void
say_hello_and_leave(struct abuser *a, struct link *l)
{
    kd_ignore(a->t->send(l, hello.p, hello.n));     /* as above */
    kd_ignore(a->t->send(l, lookups.p, lookups.n)); /* as above */
    a->t->half_close(l);
}

static void
half_closed(struct abuser *a)
{
    open_some(a, 500, say_hello_and_leave);
    notice_closed(a, false);
}

static void
ask_much(struct abuser *a, struct link *l)
{
    kd_ignore(a->t->send(l, hello.p, hello.n)); /* as above */
    while (a->t->send(l, lookups.p, lookups.n) == (ssize_t)lookups.n)
        continue;
}

static void
never_reading(struct abuser *a)
{
    open_some(a, 200, ask_much);
    for (size_t i = 0; i < a->n; i += 7) /* and more, as it takes it */
        if (a->links[i].fd >= 0)
            kd_ignore(a->t->send(&a->links[i], lookups.p, lookups.n));
    notice_closed(a, false);
}

static void
slowly(struct abuser *a)
{
    uint64_t now = (uint64_t)kd_clock_ms();

    open_some(a, 500, NULL);
    for (size_t i = 0; i < a->n; i++) {
        struct link *l = &a->links[i];
        if (l->fd < 0 || now - l->at_ms < 1000)
            continue;
        l->at_ms = now;
        kd_ignore(a->t->send(l, "\0", 1)); /* of a length, and so on */
    }
    notice_closed(a, true);
}

/* All but the last octet of a large frame. */
static void
begin_frame(struct abuser *a, struct link *l)
{
    static uint8_t octets[4 + KD_FRAME_MAX - 1];

    kd_put_be32(octets, KD_FRAME_MAX);
    kd_ignore(a->t->send(l, hello.p, hello.n));      /* as above */
    kd_ignore(a->t->send(l, octets, sizeof octets)); /* as above */
}

static void
half_frames(struct abuser *a)
{
    open_some(a, 200, begin_frame);
    notice_closed(a, true);
}

static void
speak_nonsense(struct abuser *a, struct link *l)
{
    static const uint32_t lengths[] = {0, 65537, 1 << 20, 0x7fffffff, 0xffffffff, 4000};
    uint8_t head[4];

    if (randombytes_uniform(2) == 0)
        kd_ignore(a->t->send(l, hello.p, hello.n)); /* as above */
    kd_put_be32(head, lengths[randombytes_uniform(6)]);
    kd_ignore(a->t->send(l, head, sizeof head)); /* as above */
    kd_ignore(a->t->send(l, noise.p, 1 + randombytes_uniform((uint32_t)noise.n)));
}

static void
nonsense(struct abuser *a)
{
    open_some(a, 500, speak_nonsense);
    notice_closed(a, true);
}

static void
coming_and_going(struct abuser *a)
{
    for (size_t i = 0; i < 500; i++) {
        struct link *l = &a->links[randombytes_uniform((uint32_t)a->n)];
        bool is_new = l->fd < 0;
        a->t->close(l);
        if (is_new && a->t->open(l)) {
            a->n_opened++;
            if (randombytes_uniform(2) == 0)
                say_hello(a, l);
        }
    }
}

static const struct way {
    const char *name;
    size_t most; /* of the transport's links; 0: all */
    void (*turn)(struct abuser *a);
} ways[] = {
    {"idle after Hello", 0, idle_after_hello},
    {"silent before Hello", 0, silent},
    {"half closed", 0, half_closed},
    {"never reading", 0, never_reading},
    {"an octet a second", SLOW_LINKS, slowly},
    {"half a large frame", 0, half_frames},
    {"nonsense", 1000, nonsense},
    {"coming and going", 1000, coming_and_going},
};

static size_t
count_open(const struct abuser *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++)
        n += a->links[i].fd >= 0;
    return n;
}

static _Noreturn void
be_abuser(const struct way *w, const struct transport *t, int ready, pid_t parent)
{
    struct abuser a = {.t = t, .ready = ready, .n = w->most == 0 ? t->most : w->most};
    const gid_t group = DAEMON_GROUP;
    size_t most = 0;
    bool told = false;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
        setgroups(1, &group) != 0 || setresgid(group, group, group) != 0 ||
        setresuid(DAEMON_SUBMITD, DAEMON_SUBMITD, DAEMON_SUBMITD) != 0 ||
        (a.links = calloc(a.n, sizeof *a.links)) == NULL)
        _exit(126);
    for (size_t i = 0; i < a.n; i++)
        a.links[i].fd = -1;
    int64_t began = kd_clock_ms();
    for (;;) {
        w->turn(&a);
        size_t n = count_open(&a);
        most = n > most ? n : most;
        if (!told && (n >= a.n * 8 / 10 || kd_clock_ms() - began > 3000)) {
            told = true;
            if (write(ready, &most, sizeof most) != sizeof most)
                _exit(126);
        }
        kd_ignore(poll(NULL, 0, 2)); /* the machine is small */
    }
}

/* --- the roles --- */

struct roles {
    struct daemon_child list[DAEMON_CHILDREN_MAX];
    size_t n;
};

static struct roles
roles_now(void)
{
    struct roles r;

    r.n = daemon_children(&keyd, r.list, DAEMON_CHILDREN_MAX);
    return r;
}

static size_t
resident_kib(const struct roles *r)
{
    size_t sum = 0;

    for (size_t i = 0; i <= r->n; i++) {
        char path[64];
        unsigned long size = 0, rss = 0;
        snprintf(path, sizeof path, "/proc/%d/statm",
                 (int)(i == r->n ? keyd.pid : r->list[i].pid));
        FILE *f = fopen(path, "re");
        if (f != NULL && fscanf(f, "%lu %lu", &size, &rss) == 2)
            sum += rss * 4;
        if (f != NULL)
            fclose(f);
    }
    return sum;
}

static size_t
descriptors(const struct roles *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/fd", (int)r->list[i].pid);
        DIR *dir = opendir(path);
        for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
            n += e->d_name[0] != '.';
        if (dir != NULL)
            closedir(dir);
    }
    return n;
}

static bool
same_roles(const struct roles *a, const struct roles *b)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < b->n; k++)
            n += a->list[i].pid == b->list[k].pid;
    return n == a->n && a->n == b->n;
}

/* --- the honest one --- */

struct honest {
    keyd_client *c;
    uint64_t n, n_bad;
    size_t n_us;
    enum keyd_status last_bad;
};

static uint32_t call_us[CALLS_MOST];
static unsigned n_person;

static int
by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static enum keyd_status
issue(keyd_client *c)
{
    struct person_keys own;
    struct keyd_answer *a = NULL;
    char address[64];
    struct kd_buf ssr;

    person_keys("abuse", n_person, 0, &own);
    kd_buf_init(&ssr, PERSON_SSR_MAX);
    assert_int_equal(person_ssr(&own, NULL, &ssr), KD_OK);
    snprintf(address, sizeof address, "honest%u@example.com", n_person++);
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {.address = KEYD_STR(address),
                                 .ssr = {ssr.p, ssr.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
    int64_t began = kd_clock_ns();
    enum keyd_status s = keyd_client_call(c, &q, &a);
    call_us[0] = (uint32_t)((kd_clock_ns() - began) / 1000);
    keyd_client_answer_free(a);
    kd_buf_free(&ssr);
    return s;
}

static enum keyd_status
look_up(keyd_client *c)
{
    struct keyd_answer *a = NULL;
    int64_t began = kd_clock_ns();
    enum keyd_status s =
        keyd_client_lookup_signet(c, KEYD_STR("example.com"), KEYD_NONE, &a);

    call_us[0] = (uint32_t)((kd_clock_ns() - began) / 1000);
    keyd_client_answer_free(a);
    return s;
}

/* Connects, or goes on with what it has; a connection is made anew every 50 calls. */
static enum keyd_status
connect_honestly(struct honest *h)
{
    char path[108];

    if (h->c != NULL && h->n % 50 != 0)
        return KEYD_OK;
    keyd_client_free(h->c);
    h->c = keyd_client_new();
    assert_non_null(h->c);
    daemon_socket(&keyd, "submission", path);
    enum keyd_status s = keyd_client_connect(h->c, path, 5000);
    if (s == KEYD_OK)
        return s;
    keyd_client_free(h->c);
    h->c = NULL;
    return s;
}

/* Works for so long; times of calls are added to call_us. */
static void
work(struct honest *h, int64_t ms, const struct roles *r, size_t *most_kib)
{
    int64_t until = kd_clock_ms() + ms;

    while (kd_clock_ms() < until && h->n_us < CALLS_MOST - 1) {
        enum keyd_status s = connect_honestly(h);
        if (s == KEYD_OK)
            s = h->n % 4 == 0 ? issue(h->c) : look_up(h->c);
        if (s == KEYD_OK) {
            h->n_us++;
            call_us[h->n_us] = call_us[0];
        } else {
            h->n_bad++;
            h->last_bad = s;
        }
        h->n++;
        if (h->n % 20 == 0) {
            size_t kib = resident_kib(r);
            *most_kib = kib > *most_kib ? kib : *most_kib;
        }
        kd_ignore(poll(NULL, 0, 2)); /* about 300 calls a second */
    }
}

static uint32_t
p99_us(struct honest *h)
{
    qsort(call_us + 1, h->n_us, sizeof *call_us, by_value);
    return h->n_us == 0 ? UINT32_MAX : call_us[1 + h->n_us * 99 / 100];
}

static void
abuse(const struct way *w, const struct transport *t)
{
    struct roles before = roles_now(), after;
    size_t most_kib = 0, opened = 0, had = descriptors(&before);
    struct honest alone = {0}, beside = {0};
    int64_t ms = 2000 * (int64_t)test_scale();
    int pipes[2];
    pid_t parent = getpid();

    work(&alone, 1000, &before, &most_kib);
    uint32_t alone_us = p99_us(&alone);
    keyd_client_free(alone.c);
    assert_int_equal(alone.n_bad, 0);
    assert_int_equal(pipe(pipes), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        be_abuser(w, t, pipes[1], parent);
    assert_true(pid > 0); /* it is killed below, and -1 is everybody */
    close(pipes[1]);
    /* From its first connection on; "opened" comes once it has what it can get. */
    most_kib = 0;
    work(&beside, ms, &before, &most_kib);
    assert_int_equal(read(pipes[0], &opened, sizeof opened), sizeof opened);
    close(pipes[0]);
    work(&beside, ms, &before, &most_kib);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);

    int64_t ended = kd_clock_ms(), took = -1;
    while (took < 0 && kd_clock_ms() - ended < 2 * RECOVERY_MS) {
        keyd_client *c = daemon_connect(&keyd, "submission");
        bool served = c != NULL && look_up(c) == KEYD_OK;
        keyd_client_free(c);
        after = roles_now();
        if (served && descriptors(&after) <= had + 2)
            took = kd_clock_ms() - ended;
    }
    keyd_client_free(beside.c);
    uint32_t us = p99_us(&beside);
    after = roles_now();
    print_message(
        "%s, %s: %zu links; honest: %llu calls, %llu failed, p99 %u us (alone "
        "%u us); %zu MiB; as before after %lld ms\n",
        t->name, w->name, opened, (unsigned long long)beside.n,
        (unsigned long long)beside.n_bad, us, alone_us, most_kib / 1024,
        (long long)took);
    if (beside.n_bad * 1000 > beside.n)
        fail_msg("%llu of %llu failed, the last: %s", (unsigned long long)beside.n_bad,
                 (unsigned long long)beside.n,
                 keyd_client_status_text(beside.last_bad));
    assert_true(same_roles(&before, &after));
    assert_true(most_kib <= MEMORY_KIB);
    assert_true(took >= 0 && took <= RECOVERY_MS);
    /* A machine that others use as well is slow without any abuse. */
    assert_true(us <= P99_MS * 1000 || us <= 10 * alone_us);
}

static void
abuse_by(const char *name)
{
    for (size_t t = 0; t < sizeof transports / sizeof *transports; t++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
            if (strcmp(ways[i].name, name) == 0)
                abuse(&ways[i], &transports[t]);
}

#define ABUSE(function, name)                                                          \
    static void function(void **state)                                                 \
    {                                                                                  \
        (void)state;                                                                   \
        abuse_by(name);                                                                \
    }
ABUSE(idle_connections_leave_room_for_others, "idle after Hello")
ABUSE(silent_connections_leave_room_for_others, "silent before Hello")
ABUSE(half_closed_connections_leave_room_for_others, "half closed")
ABUSE(those_who_never_read_leave_room_for_others, "never reading")
ABUSE(those_who_send_an_octet_a_second_leave_room_for_others, "an octet a second")
ABUSE(half_frames_leave_room_for_others, "half a large frame")
ABUSE(those_who_speak_nonsense_leave_room_for_others, "nonsense")
ABUSE(those_who_come_and_go_leave_room_for_others, "coming and going")

/* --- start and end --- */

/* A signet so large that answers fill queues soon. */
static void
issue_large(void)
{
    static uint8_t octets[LARGE];
    struct person_keys own;
    struct kd_buf ssr;
    keyd_client *c = ask_connect(&keyd, "submission");
    const struct keyd_profile_field profile[] = {
        {.type = 251, .name = KEYD_STR("x"), .value = {octets, sizeof octets}}};

    memset(octets, 'x', sizeof octets);
    person_keys("large", 0, 0, &own);
    kd_buf_init(&ssr, PERSON_SSR_MAX);
    assert_int_equal(person_ssr(&own, NULL, &ssr), KD_OK);
    const struct ask_issue in = {.address = "large@example.com",
                                 .ssr = kd_buf_slice(&ssr),
                                 .profile = profile,
                                 .n_profile = 1};
    ask_ends(ask_issue(c, &in), KEYD_OK, NULL);
    kd_buf_free(&ssr);
    keyd_client_free(c);
}

static int
set_up(void **state)
{
    const struct rlimit files = {LINKS_MOST + 512, LINKS_MOST + 512};
    struct rlimit had;

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: needs another user for the abuser\n");
        exit(77);
    }
    if (getrlimit(RLIMIT_NOFILE, &had) != 0 ||
        (had.rlim_cur < files.rlim_cur && setrlimit(RLIMIT_NOFILE, &files) != 0)) {
        print_message("skipped: too few descriptors\n");
        exit(77);
    }
    /* What else runs here should count little; without the right to, it counts. */
    kd_ignore(setpriority(PRIO_PROCESS, 0, -15));
    if (kd_secret_setup(65536) != KD_OK || !daemon_start(&keyd, NULL) ||
        !daemon_provision(&keyd, NULL))
        return -1;
    make_frames();
    issue_large();
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    kd_buf_free(&hello);
    kd_buf_free(&lookups);
    kd_buf_free(&noise);
    assert_int_equal(daemon_stop(&keyd), 0);
    daemon_clear(&keyd);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connections_leave_room_for_others),
        cmocka_unit_test(silent_connections_leave_room_for_others),
        cmocka_unit_test(half_closed_connections_leave_room_for_others),
        cmocka_unit_test(those_who_never_read_leave_room_for_others),
        cmocka_unit_test(those_who_send_an_octet_a_second_leave_room_for_others),
        cmocka_unit_test(half_frames_leave_room_for_others),
        cmocka_unit_test(those_who_speak_nonsense_leave_room_for_others),
        cmocka_unit_test(those_who_come_and_go_leave_room_for_others),
    };

    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* of one test, * and ? allowed */
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
