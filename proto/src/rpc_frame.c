/* The reading half of rpc_frame.h. */
#include <keyd/base/be.h>
#include <keyd/rpc/rpc_frame.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLAG_FD 0x80000000u

enum {
    KEPT_MIN = 64,
    CONTROL_FDS = 4, /* room for more than is allowed, so that more is seen */
};

void
kd_frame_in_init(struct kd_frame_in *in, size_t max)
{
    assert(max > 0 && max <= KD_FRAME_MAX);
    *in = (struct kd_frame_in){.max = max};
}

static void
close_fds(struct kd_frame_in *in)
{
    while (in->n_fds > 0)
        close(in->fds[--in->n_fds]);
}

static void
drop_kept(struct kd_frame_in *in)
{
    free(in->kept);
    in->kept = NULL;
    in->kept_n = in->kept_cap = in->kept_at = 0;
}

void
kd_frame_in_clear(struct kd_frame_in *in)
{
    close_fds(in);
    drop_kept(in);
    *in = (struct kd_frame_in){.max = in->max};
}

/* The stream is broken for good; what it held is released at once. */
static kd_err
fail(struct kd_frame_in *in, kd_err err, enum kd_rpc_reason why)
{
    close_fds(in);
    drop_kept(in);
    in->fresh = kd_slice(NULL, 0);
    in->parked = false;
    in->broken = err;
    in->why = why;
    return err;
}

/* Appends to what is kept. Grows by doubling, so that a frame that comes octet by octet
 * is copied a constant number of times, and costs at most twice what has come. */
static kd_err
keep(struct kd_frame_in *in, struct kd_slice s)
{
    if (s.n == 0)
        return KD_OK;
    if (in->kept_at != 0) {
        memmove(in->kept, in->kept + in->kept_at, in->kept_n - in->kept_at);
        in->kept_n -= in->kept_at;
        in->kept_at = 0;
    }
    if (s.n > in->kept_cap - in->kept_n) {
        size_t need = in->kept_n + s.n;
        size_t cap = in->kept_cap * 2;
        if (cap < need)
            cap = need;
        if (cap < KEPT_MIN)
            cap = KEPT_MIN;
        uint8_t *p = realloc(in->kept, cap);
        if (p == NULL)
            return fail(in, KD_NOMEM, KD_RPC_NO_REASON);
        in->kept = p;
        in->kept_cap = cap;
    }
    memcpy(in->kept + in->kept_n, s.p, s.n);
    in->kept_n += s.n;
    return KD_OK;
}

/* Moves n octets from fresh to kept. */
static kd_err
keep_fresh(struct kd_frame_in *in, size_t n)
{
    kd_err err;

    if (n > in->fresh.n)
        n = in->fresh.n;
    if ((err = keep(in, kd_slice(in->fresh.p, n))) != KD_OK)
        return err;
    in->fresh = kd_slice(in->fresh.p + n, in->fresh.n - n);
    return KD_OK;
}

static size_t
kept_left(const struct kd_frame_in *in)
{
    return in->kept_n - in->kept_at;
}

kd_err
kd_frame_feed(struct kd_frame_in *in, struct kd_slice octets, int fd)
{
    if (in->broken != KD_OK || in->parked) {
        if (fd >= 0)
            close(fd);
        return in->broken != KD_OK ? in->broken : KD_BUSY;
    }
    assert(in->fresh.n == 0);
    if (fd >= 0) {
        if (in->n_fds == KD_FRAME_IN_FDS) {
            close(fd);
            return fail(in, KD_MALFORMED, KD_RPC_FD_FLOOD);
        }
        in->fds[in->n_fds++] = fd;
    }
    in->fresh = octets;
    return KD_OK;
}

kd_err
kd_frame_hold(struct kd_frame_in *in)
{
    kd_err err;

    if (in->broken != KD_OK)
        return in->broken;
    if ((err = keep_fresh(in, in->fresh.n)) != KD_OK)
        return err;
    in->fresh = kd_slice(NULL, 0);
    in->parked = true;
    return KD_OK;
}

/* Size of header and message, checked; 0 as long as the header is not here. */
static kd_err
frame_size(struct kd_frame_in *in, struct kd_slice s, size_t *size)
{
    *size = 0;
    if (s.n < KD_FRAME_HEADER)
        return KD_OK;
    size_t n = kd_be32(s.p) & ~FLAG_FD;
    if (n == 0)
        return fail(in, KD_MALFORMED, KD_RPC_FRAME_EMPTY);
    if (n > in->max)
        return fail(in, KD_MALFORMED, KD_RPC_FRAME_TOO_LONG);
    *size = KD_FRAME_HEADER + n;
    return KD_OK;
}

/* Hands out the frame that begins at p, with its descriptor. */
static kd_err
hand_out(struct kd_frame_in *in, const uint8_t *p, size_t size, struct kd_frame *out)
{
    int fd = -1;

    if ((kd_be32(p) & FLAG_FD) != 0) {
        if (in->n_fds == 0)
            return fail(in, KD_MALFORMED, KD_RPC_FD_MISSING);
        fd = in->fds[0];
        in->n_fds--;
        memmove(in->fds, in->fds + 1, in->n_fds * sizeof in->fds[0]);
    }
    out->body = kd_slice(p + KD_FRAME_HEADER, size - KD_FRAME_HEADER);
    out->fd = fd;
    return KD_OK;
}

/* A whole frame from what is kept, completed from what is fresh; *whole false if there
 * is none. */
static kd_err
next_kept(struct kd_frame_in *in, struct kd_frame *out, bool *whole)
{
    size_t size;
    kd_err err;

    *whole = false;
    if (kept_left(in) < KD_FRAME_HEADER &&
        (err = keep_fresh(in, KD_FRAME_HEADER - kept_left(in))) != KD_OK)
        return err;
    if ((err = frame_size(in, kd_slice(in->kept + in->kept_at, kept_left(in)),
                          &size)) != KD_OK)
        return err;
    if (size > kept_left(in) && (err = keep_fresh(in, size - kept_left(in))) != KD_OK)
        return err;
    if (size == 0 || size > kept_left(in))
        return KD_OK;
    const uint8_t *p = in->kept + in->kept_at;
    in->kept_at += size;
    *whole = true;
    return hand_out(in, p, size, out);
}

/* All is parsed but the beginning of a frame. A descriptor may wait for that one only:
 * its flag is in its first octet. */
static kd_err
settle(struct kd_frame_in *in)
{
    bool begun = kept_left(in) > 0;
    bool flagged = begun && (in->kept[in->kept_at] & 0x80) != 0;

    in->parked = false;
    in->fresh = kd_slice(NULL, 0);
    if (in->n_fds > (flagged ? 1 : 0))
        return fail(in, KD_MALFORMED, KD_RPC_FD_STRAY);
    if (!begun)
        drop_kept(in);
    return KD_NOT_FOUND;
}

kd_err
kd_frame_next(struct kd_frame_in *in, struct kd_frame *out)
{
    size_t size;
    kd_err err;

    if (in->broken != KD_OK)
        return in->broken;
    if (kept_left(in) > 0) {
        bool whole;
        if ((err = next_kept(in, out, &whole)) != KD_OK)
            return err;
        return whole ? KD_OK : settle(in);
    }
    drop_kept(in);
    if ((err = frame_size(in, in->fresh, &size)) != KD_OK)
        return err;
    if (size == 0 || size > in->fresh.n) {
        if ((err = keep_fresh(in, in->fresh.n)) != KD_OK)
            return err;
        return settle(in);
    }
    const uint8_t *p = in->fresh.p;
    in->fresh = kd_slice(p + size, in->fresh.n - size);
    return hand_out(in, p, size, out);
}

bool
kd_frame_is_partial(const struct kd_frame_in *in)
{
    return kept_left(in) > 0;
}

enum kd_rpc_reason
kd_frame_why(const struct kd_frame_in *in)
{
    return in->why;
}

/* The descriptors of one recvmsg: more than one is the caller's to refuse. All but
 * *first are closed. */
static size_t
take_fds(struct msghdr *msg, int *first)
{
    size_t n = 0;

    *first = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t size = c->cmsg_len - CMSG_LEN(0);
        for (size_t at = 0; at + sizeof(int) <= size; at += sizeof(int), n++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            if (n == 0)
                *first = fd;
            else
                close(fd);
        }
    }
    return n;
}

static kd_err
recv_error(struct kd_frame_in *in)
{
    switch (errno) {
    case EAGAIN:
        return KD_UNAVAILABLE;
    case ECONNRESET:
    case EPIPE:
        return fail(in, KD_CLOSED, KD_RPC_NO_REASON);
    default:
        return fail(in, KD_IO, KD_RPC_NO_REASON);
    }
}

static kd_err
end_of_stream(struct kd_frame_in *in)
{
    if (kd_frame_is_partial(in))
        return fail(in, KD_MALFORMED, KD_RPC_FRAME_CUT);
    return fail(in, KD_CLOSED, KD_RPC_NO_REASON);
}

kd_err
kd_frame_recv(struct kd_frame_in *in, int sock, struct kd_frame_scratch *scratch)
{
    union {
        struct cmsghdr align;
        uint8_t octets[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
    } control;
    struct iovec iov = {scratch->octets, sizeof scratch->octets};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (in->broken != KD_OK)
        return in->broken;
    if (in->parked)
        return KD_BUSY;
    do {
        msg.msg_control = control.octets;
        msg.msg_controllen = sizeof control.octets;
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return recv_error(in);

    int fd;
    size_t n_fds = take_fds(&msg, &fd);
    if ((msg.msg_flags & MSG_CTRUNC) != 0 || n_fds > 1) {
        if (fd >= 0)
            close(fd);
        return fail(in, KD_MALFORMED, n_fds > 1 ? KD_RPC_FD_FLOOD : KD_RPC_FD_LOST);
    }
    if (n == 0) {
        if (fd >= 0)
            close(fd);
        return end_of_stream(in);
    }
    return kd_frame_feed(in, kd_slice(scratch->octets, (size_t)n), fd);
}
