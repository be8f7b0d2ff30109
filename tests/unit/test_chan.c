/* Channels between roles: what a peer can send, and what it can make us keep. */
#include "../support/forget.h"

#include <keyd/base/memfd.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka.h wants setjmp.h and stdarg.h first */
#include <cmocka.h>

struct ends {
    struct kd_chan a, b;
};

static void
make(struct ends *e)
{
    int fds[2];

    assert_int_equal(kd_chan_pair(fds), KD_OK);
    kd_chan_init(&e->a, fds[0]);
    kd_chan_init(&e->b, fds[1]);
}

static void
end(struct ends *e)
{
    kd_chan_close(&e->a);
    kd_chan_close(&e->b);
}

static int
descriptor(void)
{
    int fd = -1;

    assert_int_equal(kd_memfd_seal(kd_slice_str("x"), &fd), KD_OK);
    return fd;
}

/* --- pausing --- */

struct echo {
    struct kd_chan *to;
    size_t answer; /* octets */
    bool with_fd;
    unsigned n;
    uint16_t next; /* type expected */
};

static kd_err
answer_each(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    static const uint8_t octets[KD_CHAN_BODY_MAX];
    struct echo *e = ctx;

    assert_int_equal(type, e->next);
    assert_int_equal(body.n, 3);
    if (fd >= 0)
        close(fd);
    e->n++;
    e->next++;
    return kd_chan_put(e->to, type, kd_slice(octets, e->answer),
                       e->with_fd ? descriptor() : -1);
}

static kd_err
count(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    unsigned *n = ctx;

    (void)body;
    assert_int_equal(type, *n);
    if (fd >= 0)
        close(fd);
    (*n)++;
    return KD_OK;
}

/* n questions of a, answered by b, which pauses; all answers come, in order, and b
 * never keeps more than one answer over its mark. */
static void
exchange(struct echo *echo, unsigned n, size_t pause_at, size_t one)
{
    struct ends e;
    unsigned got = 0;

    make(&e);
    echo->to = &e.b;
    e.b.pause_at = pause_at;
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(kd_chan_put(&e.a, (uint16_t)i, kd_slice_str("abc"), -1),
                         KD_OK);
    for (unsigned turn = 0; got < n; turn++) {
        assert_true(turn < 10000);
        assert_int_equal(kd_chan_flush(&e.a), KD_OK);
        assert_int_equal(kd_chan_recv(&e.b, 64, answer_each, echo), KD_OK);
        assert_true(e.b.backlog <= pause_at + one);
        if (kd_chan_is_paused(&e.b))
            assert_false(kd_chan_has_rest(&e.b));
        assert_int_equal(kd_chan_flush(&e.b), KD_OK);
        assert_int_equal(kd_chan_recv(&e.a, 64, count, &got), KD_OK);
    }
    assert_int_equal(echo->n, n);
    assert_false(kd_chan_has_rest(&e.b));
    assert_int_equal(e.b.backlog, 0);
    end(&e);
}

static void
answers_of_a_paused_channel_are_bounded_and_all_come(void **state)
{
    struct echo echo = {.answer = 40000};

    (void)state;
    exchange(&echo, 5000, 200000, 40008);
}

static void
descriptors_weigh_on_a_channel(void **state)
{
    struct echo echo = {.answer = 10, .with_fd = true};
    size_t one = KD_CHAN_FD_WEIGHT + 18;

    (void)state;
    exchange(&echo, 2000, 4 * (size_t)KD_CHAN_FD_WEIGHT, one);
}

static void
closing_a_paused_channel_closes_what_waits_there(void **state)
{
    struct ends e;
    struct echo echo = {.answer = 40000};

    (void)state;
    make(&e);
    echo.to = &e.b;
    e.b.pause_at = 1;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(kd_chan_put(&e.a, (uint16_t)i, kd_slice_str("abc"), -1),
                         KD_OK);
    assert_int_equal(kd_chan_flush(&e.a), KD_OK);
    assert_int_equal(kd_chan_recv(&e.b, 64, answer_each, &echo), KD_OK);
    assert_int_equal(echo.n, 1);
    end(&e); /* memory checkers see the rest */
}

/* --- limits --- */

static void
a_peer_that_reads_nothing_is_kept_no_more_than_the_maximum(void **state)
{
    static const uint8_t octets[KD_CHAN_BODY_MAX];
    struct ends e;
    kd_err err;

    (void)state;
    make(&e);
    do {
        err = kd_chan_put(&e.a, 1, kd_slice(octets, sizeof octets), -1);
    } while (err == KD_OK);
    assert_int_equal(err, KD_BUSY);
    assert_true(e.a.backlog <= KD_CHAN_BACKLOG_MAX + sizeof octets + 8);
    end(&e);
    make(&e);
    for (unsigned i = 0; i <= KD_CHAN_BACKLOG_MAX / KD_CHAN_FD_WEIGHT; i++)
        err = kd_chan_put(&e.a, 1, kd_slice_str("x"), descriptor());
    assert_int_equal(err, KD_BUSY);
    end(&e);
}

static kd_err
close_it(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct kd_chan *ch = ctx;

    (void)body;
    assert_int_equal(fd, -1);
    assert_int_equal(type, 1); /* the second is not handed out */
    kd_chan_close(ch);
    return KD_OK;
}

static void
nothing_more_comes_of_a_channel_that_its_handler_closed(void **state)
{
    struct ends e;

    (void)state;
    make(&e);
    assert_int_equal(kd_chan_put(&e.a, 1, kd_slice_str("x"), -1), KD_OK);
    assert_int_equal(kd_chan_put(&e.a, 2, kd_slice_str("x"), -1), KD_OK);
    assert_int_equal(kd_chan_flush(&e.a), KD_OK);
    assert_int_equal(kd_chan_recv(&e.b, 64, close_it, &e.b), KD_OK);
    assert_int_equal(e.b.fd, -1);
    end(&e);
}

/* --- packets that are none of ours --- */

static void
send_octets(int fd, const char *octets, size_t n, const int *fds, size_t n_fds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)octets, n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds != 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &msg, 0), (ssize_t)n);
}

static unsigned
open_descriptors(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void
malformed_packets_end_the_channel_and_leave_no_descriptor(void **state)
{
#define OCTETS(text) text, sizeof(text) - 1
    static const struct {
        const char *octets;
        size_t n, n_fds;
    } packets[] = {
        {OCTETS("\0\0\0\1\0\1\0"), 0},                   /* header cut */
        {OCTETS("\0\0\0\2\0\1\0\0x"), 0},                /* body cut */
        {OCTETS("\0\0\0\1\0\1\0\1x"), 0},                /* not zero */
        {OCTETS("\xff\xff\xff\xff\0\1\0\0x"), 0},        /* large */
        {OCTETS("\0\0\0\1\0\1\0\0xy"), 0},               /* leftover */
        {OCTETS("\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0"), 1}, /* two and a descriptor */
        {OCTETS("\0\0\0\1\0\1\0\0x"), 2},                /* two descriptors */
        {OCTETS("\0\0\0\1\0\1\0\0x"), 4},                /* more than are taken */
        {OCTETS("\0\0\0\2\0\1\0\0x"), 1},                /* cut, with one */
    };

    (void)state;
    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++) {
        struct ends e;
        int fds[4];
        make(&e);
        unsigned before = open_descriptors();
        for (size_t k = 0; k < packets[i].n_fds; k++)
            fds[k] = descriptor();
        send_octets(e.a.fd, packets[i].octets, packets[i].n, fds, packets[i].n_fds);
        for (size_t k = 0; k < packets[i].n_fds; k++)
            close(fds[k]);
        assert_int_equal(kd_chan_recv(&e.b, 1, forget, NULL), KD_MALFORMED);
        assert_int_equal(open_descriptors(), before);
        end(&e);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_a_paused_channel_are_bounded_and_all_come),
        cmocka_unit_test(descriptors_weigh_on_a_channel),
        cmocka_unit_test(closing_a_paused_channel_closes_what_waits_there),
        cmocka_unit_test(a_peer_that_reads_nothing_is_kept_no_more_than_the_maximum),
        cmocka_unit_test(nothing_more_comes_of_a_channel_that_its_handler_closed),
        cmocka_unit_test(malformed_packets_end_the_channel_and_leave_no_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
