/* The writing half of rpc_frame.h: one queue of octets, and which of them take
 * a descriptor along. */
#include <keyd/base/be.h>
#include <keyd/rpc/rpc_frame.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLAG_FD 0x80000000u

enum { CAP_MIN = 512 };

void
kd_frame_out_init(struct kd_frame_out *out, size_t max_queue)
{
    if (max_queue < KD_FRAME_MAX + KD_FRAME_HEADER)
        max_queue = KD_FRAME_MAX + KD_FRAME_HEADER;
    *out = (struct kd_frame_out){.max = max_queue};
}

void
kd_frame_out_clear(struct kd_frame_out *out)
{
    for (unsigned i = 0; i < out->n_fds; i++)
        close(out->fds[i].fd);
    free(out->p);
    *out = (struct kd_frame_out){.max = out->max};
}

/* Room for n more octets: first what was sent is given up, then the buffer doubles. */
static kd_err
make_room(struct kd_frame_out *out, size_t n)
{
    if (n <= out->cap - out->n)
        return KD_OK;
    size_t waiting = kd_frame_out_queued(out);
    if (out->at > 0) {
        memmove(out->p, out->p + out->at, waiting);
        out->n = waiting;
        out->at = 0;
    }
    /* Moving alone is enough only if it gave a good part back, else every small frame
     * would move the whole queue. */
    if (n <= out->cap - out->n && out->cap - out->n >= out->cap / 2)
        return KD_OK;
    size_t cap = out->cap < CAP_MIN / 2 ? CAP_MIN : out->cap * 2;
    if (cap < out->n + n)
        cap = out->n + n;
    uint8_t *p = realloc(out->p, cap);
    if (p == NULL)
        return n <= out->cap - out->n ? KD_OK : KD_NOMEM;
    out->p = p;
    out->cap = cap;
    return KD_OK;
}

kd_err
kd_frame_reserve(struct kd_frame_out *out, size_t n, int fd, uint8_t **at)
{
    kd_err err;

    if (n == 0 || n > KD_FRAME_MAX)
        return KD_TOO_LARGE;
    size_t size = KD_FRAME_HEADER + n;
    if (size > out->max - kd_frame_out_queued(out))
        return KD_BUSY;
    if (fd >= 0 && out->n_fds == KD_FRAME_OUT_FDS)
        return KD_BUSY;
    if ((err = make_room(out, size)) != KD_OK)
        return err;
    if (fd >= 0)
        out->fds[out->n_fds++] =
            (struct kd_frame_fd){out->sent + kd_frame_out_queued(out), fd};
    kd_put_be32(out->p + out->n, (uint32_t)n | (fd >= 0 ? FLAG_FD : 0));
    *at = out->p + out->n + KD_FRAME_HEADER;
    out->n += size;
    return KD_OK;
}

kd_err
kd_frame_put(struct kd_frame_out *out, struct kd_slice message, int fd)
{
    uint8_t *at = NULL;
    kd_err err;

    if ((err = kd_frame_reserve(out, message.n, fd, &at)) != KD_OK)
        return err;
    memcpy(at, message.p, message.n);
    return KD_OK;
}

static void
advance(struct kd_frame_out *out, size_t n)
{
    out->at += n;
    out->sent += n;
    if (out->at == out->n) {
        free(out->p);
        out->p = NULL;
        out->n = out->cap = out->at = 0;
    }
}

static void
pop_fd(struct kd_frame_out *out)
{
    close(out->fds[0].fd);
    out->n_fds--;
    memmove(out->fds, out->fds + 1, out->n_fds * sizeof out->fds[0]);
}

static kd_err
send_error(void)
{
    switch (errno) {
    case EAGAIN:
        return KD_UNAVAILABLE;
    case EPIPE:
    case ECONNRESET:
        return KD_CLOSED;
    default:
        return KD_IO;
    }
}

/* One sendmsg: up to, not into, the next frame that takes a descriptor, because the
 * receiver gets it with the first octet of the call that carries it. */
static kd_err
send_run(struct kd_frame_out *out, int sock)
{
    union {
        struct cmsghdr align;
        uint8_t octets[CMSG_SPACE(sizeof(int))];
    } control;
    bool with_fd = out->n_fds > 0 && out->fds[0].at == out->sent;
    unsigned next = with_fd ? 1 : 0;
    size_t run = kd_frame_out_queued(out);
    ssize_t n;

    if (out->n_fds > next && out->fds[next].at - out->sent < run)
        run = (size_t)(out->fds[next].at - out->sent);
    struct iovec iov = {out->p + out->at, run};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (with_fd) {
        msg.msg_control = memset(control.octets, 0, sizeof control.octets);
        msg.msg_controllen = sizeof control.octets;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &out->fds[0].fd, sizeof(int));
    }
    do {
        n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return send_error();
    if (with_fd) /* gone with the first octet, however few were taken */
        pop_fd(out);
    advance(out, (size_t)n);
    return KD_OK;
}

kd_err
kd_frame_flush(struct kd_frame_out *out, int sock)
{
    kd_err err = KD_OK;

    while (err == KD_OK && kd_frame_out_queued(out) > 0)
        err = send_run(out, sock);
    return err;
}

kd_err
kd_frame_out_peek(const struct kd_frame_out *out, struct kd_slice *octets)
{
    if (out->n_fds > 0)
        return KD_UNSUPPORTED;
    *octets =
        kd_slice(out->p == NULL ? NULL : out->p + out->at, kd_frame_out_queued(out));
    return KD_OK;
}

void
kd_frame_out_drop(struct kd_frame_out *out, size_t n)
{
    assert(n <= kd_frame_out_queued(out));
    advance(out, n);
}
