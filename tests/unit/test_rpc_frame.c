/* rpc_frame: streams cut everywhere, descriptors in every position, floods. */
#include "../support/fds.h"

#include <keyd/base/be.h>
#include <keyd/rpc/rpc_frame.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FLAG = 0x80 };

static struct kd_frame_scratch scratch;

/* Every test ends with as many descriptors as it began with. */
static size_t fds_before;

static int
remember_fds(void **state)
{
    (void)state;
    fds_before = count_fds();
    return 0;
}

static int
no_fd_has_leaked(void **state)
{
    (void)state;
    return count_fds() == fds_before ? 0 : -1;
}

static int
new_fd(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static ino_t
inode(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return st.st_ino;
}

/* Puts a frame of n octets of the value at p; returns its size. */
static size_t
frame(uint8_t *p, size_t n, uint8_t value, bool flagged)
{
    kd_put_be32(p, (uint32_t)n);
    if (flagged)
        p[0] |= FLAG;
    memset(p + 4, value, n);
    return 4 + n;
}

static void
expect_frame(struct kd_frame_in *in, size_t n, uint8_t value, bool with_fd)
{
    struct kd_frame f;

    assert_int_equal(kd_frame_next(in, &f), KD_OK);
    assert_int_equal(f.body.n, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(f.body.p[i], value);
    assert_int_equal(f.fd >= 0, with_fd);
    if (f.fd >= 0)
        close(f.fd);
}

static void
expect(struct kd_frame_in *in, kd_err err)
{
    struct kd_frame f;

    assert_int_equal(kd_frame_next(in, &f), err);
}

static void
feed(struct kd_frame_in *in, const uint8_t *p, size_t n, int fd)
{
    assert_int_equal(kd_frame_feed(in, kd_slice(p, n), fd), KD_OK);
}

static void
octets_come_one_at_a_time(void **state)
{
    uint8_t stream[400];
    struct kd_frame_in in;
    size_t n = frame(stream, 1, 'a', false);

    (void)state;
    n += frame(stream + n, 200, 'b', false);
    kd_frame_in_init(&in, KD_FRAME_MAX);
    for (size_t i = 0; i < n; i++) {
        uint8_t one = stream[i];
        feed(&in, &one, 1, -1);
        if (i == 4)
            expect_frame(&in, 1, 'a', false);
        if (i == n - 1)
            expect_frame(&in, 200, 'b', false);
        expect(&in, KD_NOT_FOUND);
        one = 0xee; /* what was fed may be overwritten now */
        assert_int_equal(kd_frame_is_partial(&in), i != 4 && i != n - 1);
    }
    kd_frame_in_clear(&in);
}

static void
every_split_of_pipelined_frames_gives_the_same(void **state)
{
    uint8_t stream[64];
    size_t n = frame(stream, 5, 'a', false);

    (void)state;
    n += frame(stream + n, 9, 'b', false);
    n += frame(stream + n, 1, 'c', false);
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = i; j <= n; j++) {
            const size_t cuts[] = {0, i, j, n};
            struct kd_frame_in in;
            struct kd_frame f;
            char got[4] = "";
            size_t n_got = 0;

            kd_frame_in_init(&in, KD_FRAME_MAX);
            for (size_t k = 0; k < 3; k++) {
                uint8_t part[64];
                size_t size = cuts[k + 1] - cuts[k];
                memcpy(part, stream + cuts[k], size);
                feed(&in, part, size, -1);
                kd_err err;
                while ((err = kd_frame_next(&in, &f)) == KD_OK)
                    got[n_got++] = (char)f.body.p[f.body.n - 1];
                assert_int_equal(err, KD_NOT_FOUND);
                memset(part, 0xee, sizeof part);
            }
            assert_string_equal(got, "abc");
            assert_false(kd_frame_is_partial(&in));
            assert_null(in.kept);
            kd_frame_in_clear(&in);
        }
    }
}

static void
zero_oversize_and_negative_lengths_are_refused(void **state)
{
    static const struct {
        uint8_t header[4];
        enum kd_rpc_reason why;
    } cases[] = {
        {{0, 0, 0, 0}, KD_RPC_FRAME_EMPTY},
        {{FLAG, 0, 0, 0}, KD_RPC_FRAME_EMPTY},
        {{0, 1, 0, 1}, KD_RPC_FRAME_TOO_LONG},
        {{0x7f, 0xff, 0xff, 0xff}, KD_RPC_FRAME_TOO_LONG},
        {{0xff, 0xff, 0xff, 0xff}, KD_RPC_FRAME_TOO_LONG}, /* -1 */
        {{FLAG, 1, 0, 1}, KD_RPC_FRAME_TOO_LONG},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kd_frame_in in;
        kd_frame_in_init(&in, KD_FRAME_MAX);
        feed(&in, cases[i].header, 4, new_fd());
        expect(&in, KD_MALFORMED);
        assert_int_equal(kd_frame_why(&in), cases[i].why);
        expect(&in, KD_MALFORMED); /* and stays so */
        assert_int_equal(kd_frame_feed(&in, kd_slice("x", 1), new_fd()), KD_MALFORMED);
        assert_null(in.kept);
        kd_frame_in_clear(&in);
    }
}

static void
the_largest_frame_and_a_lower_maximum_hold(void **state)
{
    uint8_t *stream = malloc(KD_FRAME_MAX + 5);
    struct kd_frame_in in;
    size_t n = frame(stream, KD_FRAME_MAX, 'm', false);

    (void)state;
    kd_frame_in_init(&in, KD_FRAME_MAX);
    feed(&in, stream, 1000, -1);
    expect(&in, KD_NOT_FOUND);
    feed(&in, stream + 1000, n - 1000, -1);
    expect_frame(&in, KD_FRAME_MAX, 'm', false);
    expect(&in, KD_NOT_FOUND);
    kd_frame_in_clear(&in);

    kd_frame_in_init(&in, 4096);
    n = frame(stream, 4096, 'x', false);
    feed(&in, stream, n, -1);
    expect_frame(&in, 4096, 'x', false);
    expect(&in, KD_NOT_FOUND);
    kd_put_be32(stream, 4097);
    feed(&in, stream, 4, -1);
    expect(&in, KD_MALFORMED);
    kd_frame_in_clear(&in);
    free(stream);
}

static void
memory_follows_what_has_come_not_what_is_announced(void **state)
{
    uint8_t header[104] = {0};
    struct kd_frame_in in;

    (void)state;
    assert_true(sizeof(struct kd_frame_in) + sizeof(struct kd_frame_out) <= 300);
    kd_put_be32(header, KD_FRAME_MAX);
    kd_frame_in_init(&in, KD_FRAME_MAX);
    assert_null(in.kept);
    feed(&in, header, 1, -1);
    expect(&in, KD_NOT_FOUND);
    assert_true(in.kept_cap <= 64);
    feed(&in, header + 1, 103, -1);
    expect(&in, KD_NOT_FOUND);
    assert_true(in.kept_cap <= 208);
    kd_frame_in_clear(&in);
}

static void
held_frames_come_later_and_block_reading(void **state)
{
    uint8_t stream[64];
    struct kd_frame_in in;
    int pair[2];
    size_t n = frame(stream, 3, 'a', false);

    (void)state;
    n += frame(stream + n, 4, 'b', false);
    n += frame(stream + n, 5, 'c', false);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    kd_frame_in_init(&in, KD_FRAME_MAX);
    feed(&in, stream, n - 2, -1);
    expect_frame(&in, 3, 'a', false);
    assert_int_equal(kd_frame_hold(&in), KD_OK);
    uint8_t tail[2] = {stream[n - 2], stream[n - 1]};
    memset(stream, 0xee, sizeof stream);
    assert_int_equal(kd_frame_feed(&in, kd_slice(tail, 2), new_fd()), KD_BUSY);
    assert_int_equal(kd_frame_recv(&in, pair[0], &scratch), KD_BUSY);
    expect_frame(&in, 4, 'b', false);
    expect(&in, KD_NOT_FOUND);
    feed(&in, tail, 2, -1);
    expect_frame(&in, 5, 'c', false);
    expect(&in, KD_NOT_FOUND);
    kd_frame_in_clear(&in);
    close(pair[0]);
    close(pair[1]);
}

/* Sends octets with n_fds descriptors attached to the first. */
static void
send_with(int sock, const uint8_t *p, size_t n, const int *fds, size_t n_fds)
{
    union {
        struct cmsghdr align;
        uint8_t octets[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct iovec iov = {(void *)(uintptr_t)p, n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    assert_true(n_fds <= 16);
    if (n_fds > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.octets;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    assert_int_equal(sendmsg(sock, &msg, MSG_NOSIGNAL), n);
}

struct link {
    int here, there;
    struct kd_frame_in in;
};

static void
link_open(struct link *l)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    l->here = pair[0];
    l->there = pair[1];
    kd_frame_in_init(&l->in, KD_FRAME_MAX);
}

static void
link_close(struct link *l)
{
    kd_frame_in_clear(&l->in);
    close(l->here);
    close(l->there);
}

/* Reads all there is; how it ended. Frames are counted, with which descriptor. */
static kd_err
read_all(struct link *l, char *log, size_t size)
{
    struct kd_frame f;
    size_t at = strlen(log);
    kd_err err;

    while ((err = kd_frame_recv(&l->in, l->here, &scratch)) == KD_OK) {
        while ((err = kd_frame_next(&l->in, &f)) == KD_OK) {
            assert_true(at + 2 < size);
            log[at++] = (char)f.body.p[0];
            if (f.fd >= 0) {
                assert_int_equal(fcntl(f.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
                log[at++] = '+';
                close(f.fd);
            }
            log[at] = '\0';
        }
        if (err != KD_NOT_FOUND)
            return err;
    }
    return err;
}

/* Three frames, the flagged one first, second or last, its descriptor sent with every
 * octet of it in turn, with and without a reader in between. */
static void
a_descriptor_may_come_with_any_octet_of_its_frame(void **state)
{
    static const char *const logs[] = {"a+bc", "ab+c", "abc+"};

    (void)state;
    for (size_t which = 0; which < 3; which++) {
        for (size_t octet = 0; octet < 10; octet++) {
            for (int eager = 0; eager < 2; eager++) {
                struct link l;
                uint8_t stream[30];
                char log[16] = "";
                int fd = new_fd();

                link_open(&l);
                for (size_t i = 0; i < 3; i++)
                    frame(stream + 10 * i, 6, (uint8_t)('a' + i), i == which);
                size_t cut = 10 * which + octet;
                if (cut > 0)
                    send_with(l.there, stream, cut, NULL, 0);
                if (eager)
                    assert_int_equal(read_all(&l, log, sizeof log), KD_UNAVAILABLE);
                send_with(l.there, stream + cut, 1, &fd, 1);
                if (eager)
                    assert_int_equal(read_all(&l, log, sizeof log), KD_UNAVAILABLE);
                if (cut + 1 < sizeof stream)
                    send_with(l.there, stream + cut + 1, sizeof stream - cut - 1, NULL,
                              0);
                assert_int_equal(read_all(&l, log, sizeof log), KD_UNAVAILABLE);
                assert_string_equal(log, logs[which]);
                close(fd);
                link_close(&l);
            }
        }
    }
}

static void
descriptors_keep_the_order_of_their_frames(void **state)
{
    struct link l;
    struct kd_frame f;
    ino_t inodes[3];

    (void)state;
    link_open(&l);
    for (size_t i = 0; i < 3; i++) {
        uint8_t one[10];
        int fd = new_fd();
        inodes[i] = inode(fd);
        send_with(l.there, one, frame(one, 6, 'x', true), &fd, 1);
        close(fd);
    }
    for (size_t i = 0; i < 3;) {
        assert_int_equal(kd_frame_recv(&l.in, l.here, &scratch), KD_OK);
        while (kd_frame_next(&l.in, &f) == KD_OK) {
            assert_true(inode(f.fd) == inodes[i]);
            close(f.fd);
            i++;
        }
    }
    link_close(&l);
}

static void
expect_end(struct link *l, enum kd_rpc_reason why)
{
    char log[16] = "";

    assert_int_equal(read_all(l, log, sizeof log), KD_MALFORMED);
    assert_int_equal(kd_frame_why(&l->in), why);
    link_close(l);
}

static void
a_flagged_frame_without_a_descriptor_is_refused(void **state)
{
    struct link l;
    uint8_t one[10];

    (void)state;
    link_open(&l);
    send_with(l.there, one, frame(one, 6, 'x', true), NULL, 0);
    expect_end(&l, KD_RPC_FD_MISSING);
}

static void
a_descriptor_that_no_frame_asks_for_is_refused_at_once(void **state)
{
    struct link l;
    uint8_t one[10];
    size_t n = frame(one, 6, 'x', false);
    int fd = new_fd();

    (void)state;
    link_open(&l); /* with a whole frame */
    send_with(l.there, one, n, &fd, 1);
    expect_end(&l, KD_RPC_FD_STRAY);

    link_open(&l); /* with the first octet of one */
    send_with(l.there, one, 1, &fd, 1);
    expect_end(&l, KD_RPC_FD_STRAY);

    link_open(&l); /* the second for a frame that has one */
    frame(one, 6, 'x', true);
    send_with(l.there, one, 1, &fd, 1);
    send_with(l.there, one + 1, 1, &fd, 1);
    expect_end(&l, KD_RPC_FD_STRAY);
    close(fd);
}

static void
a_flood_of_descriptors_is_closed(void **state)
{
    uint8_t one[10];
    size_t n = frame(one, 6, 'x', true);
    int fds[16];

    (void)state;
    for (size_t i = 0; i < 16; i++)
        fds[i] = new_fd();
    for (size_t k = 2; k <= 16; k++) {
        struct link l;
        link_open(&l);
        send_with(l.there, one, n, fds, k);
        expect_end(&l, KD_RPC_FD_FLOOD);
        assert_int_equal(count_fds(), fds_before + 16);
    }
    for (size_t i = 0; i < 16; i++)
        close(fds[i]);
}

/* The kernel cuts control messages when the receiver has no descriptor numbers left. */
static void
a_truncated_control_message_is_refused(void **state)
{
    struct link l;
    uint8_t one[10];
    size_t n = frame(one, 6, 'x', true);
    int fd = new_fd();
    int filler[1024];
    size_t n_filler = 0;
    char log[8] = "";

    (void)state;
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){256, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    link_open(&l);
    send_with(l.there, one, n, &fd, 1);
    while (n_filler < 1024 && (filler[n_filler] = dup(fd)) >= 0)
        n_filler++;
    int why = errno;
    kd_err err = read_all(&l, log, sizeof log);
    while (n_filler > 0)
        close(filler[--n_filler]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    enum kd_rpc_reason reason = kd_frame_why(&l.in);
    close(fd);
    link_close(&l);
    assert_int_equal(why, EMFILE);
    if (strcmp(log, "x+") == 0)
        skip(); /* no kernel limit after all: valgrind only imitates it for dup */
    assert_int_equal(err, KD_MALFORMED);
    assert_int_equal(reason, KD_RPC_FD_LOST);
}

static void
the_end_of_the_stream_is_told_from_a_cut_frame(void **state)
{
    struct link l;
    uint8_t one[10];
    size_t n = frame(one, 6, 'x', false);
    char log[8] = "";

    (void)state;
    link_open(&l);
    send_with(l.there, one, n, NULL, 0);
    shutdown(l.there, SHUT_WR);
    assert_int_equal(read_all(&l, log, sizeof log), KD_CLOSED);
    assert_string_equal(log, "x");
    assert_int_equal(kd_frame_recv(&l.in, l.here, &scratch), KD_CLOSED);
    link_close(&l);
    for (size_t cut = 1; cut < n; cut++) {
        link_open(&l);
        send_with(l.there, one, cut, NULL, 0);
        shutdown(l.there, SHUT_WR);
        expect_end(&l, KD_RPC_FRAME_CUT);
    }
}

static void
a_waiting_descriptor_is_closed_with_the_connection(void **state)
{
    struct link l;
    uint8_t one[10];
    int fd = new_fd();
    char log[8] = "";

    (void)state;
    frame(one, 6, 'x', true);
    link_open(&l);
    send_with(l.there, one, 5, &fd, 1);
    assert_int_equal(read_all(&l, log, sizeof log), KD_UNAVAILABLE);
    assert_int_equal(l.in.n_fds, 1);
    close(fd);
    link_close(&l);
}

static void
a_written_stream_reads_back_with_its_descriptors(void **state)
{
    struct link l;
    struct kd_frame_out out;
    char log[64] = "";

    (void)state;
    link_open(&l);
    kd_frame_out_init(&out, 0);
    for (char c = 'a'; c <= 'p'; c++) {
        uint8_t body[100];
        memset(body, c, sizeof body);
        assert_int_equal(
            kd_frame_put(&out, kd_slice(body, sizeof body), c % 3 == 0 ? new_fd() : -1),
            KD_OK);
    }
    assert_int_equal(kd_frame_out_queued(&out), 16 * 104);
    assert_int_equal(kd_frame_flush(&out, l.there), KD_OK);
    assert_int_equal(kd_frame_out_queued(&out), 0);
    assert_null(out.p);
    assert_int_equal(read_all(&l, log, sizeof log), KD_UNAVAILABLE);
    assert_string_equal(log, "abc+def+ghi+jkl+mno+p");
    kd_frame_out_clear(&out);
    link_close(&l);
}

/* A socket that takes little at a time cuts frames anywhere; nothing may get lost. */
static void
a_slow_reader_gets_everything_in_order(void **state)
{
    struct link l;
    struct kd_frame_out out;
    char log[4096] = "", wanted[4096] = "";
    size_t at = 0, put = 0;
    int size = 2048;

    (void)state;
    link_open(&l);
    assert_int_equal(setsockopt(l.there, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    kd_frame_out_init(&out, 0);
    while (put < 600 || kd_frame_out_queued(&out) > 0) {
        for (size_t i = 0; i < 40 && put < 600; i++) {
            uint8_t body[333];
            bool with_fd = put % 7 == 0;
            int fd = with_fd ? new_fd() : -1;
            memset(body, 'a' + (int)(put % 26), sizeof body);
            kd_err err = kd_frame_put(&out, kd_slice(body, 1 + put % 333), fd);
            if (err == KD_BUSY) {
                if (fd >= 0)
                    close(fd);
                break;
            }
            assert_int_equal(err, KD_OK);
            wanted[at++] = (char)body[0];
            if (with_fd)
                wanted[at++] = '+';
            put++;
        }
        kd_err err = kd_frame_flush(&out, l.there);
        assert_true(err == KD_OK || err == KD_UNAVAILABLE);
        assert_int_equal(read_all(&l, log, sizeof log), KD_UNAVAILABLE);
    }
    assert_string_equal(log, wanted);
    kd_frame_out_clear(&out);
    link_close(&l);
}

static void
the_queue_is_bounded(void **state)
{
    static const uint8_t body[KD_FRAME_MAX];
    struct kd_frame_out out;
    uint8_t *at;

    (void)state;
    kd_frame_out_init(&out, 0);
    assert_int_equal(kd_frame_reserve(&out, 0, -1, &at), KD_TOO_LARGE);
    assert_int_equal(kd_frame_reserve(&out, KD_FRAME_MAX + 1, -1, &at), KD_TOO_LARGE);
    assert_int_equal(kd_frame_put(&out, kd_slice(body, sizeof body), -1), KD_OK);
    assert_int_equal(kd_frame_put(&out, kd_slice(body, 1), -1), KD_BUSY);
    kd_frame_out_clear(&out);

    kd_frame_out_init(&out, 1 << 20);
    for (size_t i = 0; i < KD_FRAME_OUT_FDS; i++)
        assert_int_equal(kd_frame_put(&out, kd_slice(body, 1), new_fd()), KD_OK);
    int fd = new_fd();
    assert_int_equal(kd_frame_put(&out, kd_slice(body, 1), fd), KD_BUSY);
    close(fd);
    struct kd_slice s;
    assert_int_equal(kd_frame_out_peek(&out, &s), KD_UNSUPPORTED);
    kd_frame_out_clear(&out);
}

static void
a_peer_that_is_gone_ends_writing_without_a_signal(void **state)
{
    struct link l;
    struct kd_frame_out out;

    (void)state;
    link_open(&l);
    shutdown(l.here, SHUT_RDWR);
    kd_frame_out_init(&out, 0);
    assert_int_equal(kd_frame_put(&out, kd_slice("x", 1), new_fd()), KD_OK);
    assert_int_equal(kd_frame_flush(&out, l.there), KD_CLOSED);
    kd_frame_out_clear(&out);
    link_close(&l);
}

static void
other_streams_take_the_queue_in_pieces(void **state)
{
    struct kd_frame_out out;
    struct kd_frame_in in;
    struct kd_slice s;

    (void)state;
    kd_frame_out_init(&out, 0);
    kd_frame_in_init(&in, KD_FRAME_MAX);
    assert_int_equal(kd_frame_put(&out, kd_slice("hello", 5), -1), KD_OK);
    while (kd_frame_out_queued(&out) > 0) {
        assert_int_equal(kd_frame_out_peek(&out, &s), KD_OK);
        size_t n = s.n < 2 ? s.n : 2;
        feed(&in, s.p, n, -1);
        struct kd_frame f;
        kd_err err = kd_frame_next(&in, &f);
        kd_frame_out_drop(&out, n);
        if (kd_frame_out_queued(&out) == 0) {
            assert_int_equal(err, KD_OK);
            assert_memory_equal(f.body.p, "hello", 5);
        } else {
            assert_int_equal(err, KD_NOT_FOUND);
        }
    }
    kd_frame_out_clear(&out);
    kd_frame_in_clear(&in);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, remember_fds, no_fd_has_leaked)
    static const struct CMUnitTest tests[] = {
        T(octets_come_one_at_a_time),
        T(every_split_of_pipelined_frames_gives_the_same),
        T(zero_oversize_and_negative_lengths_are_refused),
        T(the_largest_frame_and_a_lower_maximum_hold),
        T(memory_follows_what_has_come_not_what_is_announced),
        T(held_frames_come_later_and_block_reading),
        T(a_descriptor_may_come_with_any_octet_of_its_frame),
        T(descriptors_keep_the_order_of_their_frames),
        T(a_flagged_frame_without_a_descriptor_is_refused),
        T(a_descriptor_that_no_frame_asks_for_is_refused_at_once),
        T(a_flood_of_descriptors_is_closed),
        T(a_truncated_control_message_is_refused),
        T(the_end_of_the_stream_is_told_from_a_cut_frame),
        T(a_waiting_descriptor_is_closed_with_the_connection),
        T(a_written_stream_reads_back_with_its_descriptors),
        T(a_slow_reader_gets_everything_in_order),
        T(the_queue_is_bounded),
        T(a_peer_that_is_gone_ends_writing_without_a_signal),
        T(other_streams_take_the_queue_in_pieces),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
