/* abuse.h: what an abuser does with its links. */
#include "abuse.h"
#include "test.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/err.h>
#include <keyd/rpc/rpc_frame.h>
#include <keyd/rpc/rpc_pb.h>

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SLOW_LINKS = 2000 };

static const uint8_t zero;

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

void
ways_setup(void)
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

void
ways_clear(void)
{
    kd_buf_free(&hello);
    kd_buf_free(&lookups);
    kd_buf_free(&noise);
}

/* --- links --- */

static size_t
count_open(const struct abuser *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++)
        n += a->links[i].fd >= 0;
    return n;
}

static size_t
count_up(const struct abuser *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++)
        n += a->links[i].is_up;
    return n;
}

static bool
reopen(struct abuser *a, struct link *l)
{
    a->t->close(l);
    l->is_up = false;
    if (!a->t->open(l))
        return false;
    a->n_made++;
    return true;
}

static void
lose(struct abuser *a, struct link *l)
{
    a->t->close(l);
    l->is_up = false;
}

/* Opens what is closed, at most most of them, and goes on with those that are not up
 * yet; first is done once with each that is. */
static void
open_some(struct abuser *a, size_t most, void (*first)(struct abuser *, struct link *))
{
    size_t n_new = count_open(a) - count_up(a);
    size_t room = a->t->most_new == 0 ? a->n : a->t->most_new;

    room = n_new < room ? room - n_new : 0;
    most = most < room ? most : room;
    for (size_t i = 0; i < a->n; i++) {
        struct link *l = &a->links[i];
        if (l->fd < 0 && most > 0)
            most = reopen(a, l) ? most - 1 : 0; /* the queue is full: later */
        if (l->fd < 0 || l->is_up)
            continue;
        int k = a->t->go_on(l);
        if (k < 0) {
            lose(a, l);
        } else if (k > 0) {
            l->is_up = true;
            if (first != NULL)
                first(a, l);
        }
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
        if (!l->is_up || poll(&p, 1, 0) <= 0)
            continue;
        ssize_t k = reads ? a->t->recv(l, octets, sizeof octets) : -1;
        if ((p.revents & (POLLHUP | POLLERR)) != 0 || k == 0 ||
            (k < 0 && reads && errno != EAGAIN))
            lose(a, l);
    }
}

/* --- ways --- */

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
    for (int i = 0; i < 8; i++)
        if (a->t->send(l, lookups.p, lookups.n) != (ssize_t)lookups.n)
            return;
}

static void
never_reading(struct abuser *a)
{
    open_some(a, 200, ask_much);
    for (size_t i = 0; i < a->n; i += 7) /* and more, as it takes it */
        if (a->links[i].is_up)
            kd_ignore(a->t->send(&a->links[i], lookups.p, lookups.n));
    notice_closed(a, false);
}

/* Of a ClientHello where one is expected, else of a frame's length and so on. */
static void
slowly(struct abuser *a)
{
    static const uint8_t client_hello[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
    uint64_t now = (uint64_t)kd_clock_ms();

    open_some(a, 500, NULL);
    for (size_t i = 0; i < a->n; i++) {
        struct link *l = &a->links[i];
        bool of_tls = a->t->bit == ON_TCP && l->n_sent < sizeof client_hello;
        if (!l->is_up || now - l->at_ms < 1000)
            continue;
        l->at_ms = now;
        kd_ignore(a->t->send(l, of_tls ? client_hello + l->n_sent++ : &zero, 1));
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
        if (l->fd < 0) {
            kd_ignore(reopen(a, l)); /* not now: the next time */
            continue;
        }
        int k = l->is_up ? 0 : a->t->go_on(l);
        l->is_up |= k > 0;
        if (k > 0 && randombytes_uniform(2) == 0)
            say_hello(a, l);
        else if (k != 0 || l->is_up || randombytes_uniform(8) == 0)
            lose(a, l);
    }
}

/* Until the daemon ends them. */
static void
left_unfinished(struct abuser *a)
{
    open_some(a, 500, NULL);
    notice_closed(a, false);
}

static void
abort_it(struct abuser *a, struct link *l)
{
    lose(a, l);
}

static void
aborted(struct abuser *a)
{
    open_some(a, 500, abort_it);
}

static const struct way ways[] = {
    {"idle after Hello", ON_UNIX | ON_TLS, 0, idle_after_hello},
    {"silent before Hello", ON_UNIX | ON_TLS, 0, silent},
    {"half closed", ON_UNIX | ON_TLS, 0, half_closed},
    {"never reading", ON_UNIX | ON_TLS, 0, never_reading},
    {"an octet a second", ON_UNIX | ON_TLS | ON_TCP, SLOW_LINKS, slowly},
    {"half a large frame", ON_UNIX | ON_TLS, 0, half_frames},
    {"nonsense", ON_UNIX | ON_TLS | ON_TCP, 1000, nonsense},
    {"coming and going", ON_UNIX | ON_TLS | ON_TCP, 1000, coming_and_going},
    {"no handshake", ON_TCP, 0, silent},
    {"handshakes left unfinished", ON_STEPS, 0, left_unfinished},
    {"handshakes aborted", ON_STEPS, 0, aborted},
};

const struct way *
way_find(const char *name)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(ways[i].name, name) == 0)
            return &ways[i];
    fail_msg("no way of abuse: %s", name);
    return NULL;
}

/* --- the abuser, a process of its own --- */

static bool
start(struct abuser *a, pid_t parent)
{
    const gid_t group = DAEMON_GROUP;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
        setgroups(1, &group) != 0 || setresgid(group, group, group) != 0 ||
        setresuid(DAEMON_SUBMITD, DAEMON_SUBMITD, DAEMON_SUBMITD) != 0 ||
        (a->links = calloc(a->n, sizeof *a->links)) == NULL)
        return false;
    /* Another machine would not take the time of this one's processors. */
    if (a->t->is_far)
        kd_ignore(setpriority(PRIO_PROCESS, 0, 0));
    for (size_t i = 0; i < a->n; i++)
        a->links[i] = (struct link){.fd = -1, .number = i};
    return true;
}

_Noreturn void
be_abuser(const struct way *w, const struct transport *t, pid_t parent,
          struct abuse_count *count)
{
    struct abuser a = {.t = t, .n = w->most == 0 ? t->most : w->most};

    if (!start(&a, parent))
        _exit(126);
    for (;;) {
        w->turn(&a);
        size_t n = count_open(&a), up = count_up(&a);
        if (n > count->open)
            count->open = n;
        if (up > count->up)
            count->up = up;
        count->made = a.n_made;
        kd_ignore(poll(NULL, 0, 2)); /* the machine is small */
    }
}
