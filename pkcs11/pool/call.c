/* One question to one host, and its answer. The host runs a vendor's code and may say
 * anything: what is not the very answer is malformed, and the end of that host. */
#include "pool.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/cur.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEADER = 8 }; /* of a message on a channel (keyd/base/chan.h) */

/* --- packets --- */

static bool
is_later(void)
{
    return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ||
           errno == ETOOMANYREFS;
}

static bool
waits_on(const struct patience *p, int64_t now, int64_t *until)
{
    if (p->answered_at == NULL || now >= p->until ||
        now - atomic_load_explicit(p->answered_at, memory_order_relaxed) > p->step_ms)
        return false;
    *until = now + p->step_ms < p->until ? now + p->step_ms : p->until;
    return true;
}

static enum call_end
wait_for(const struct host *h, short events, int64_t until)
{
    struct pollfd p = {.fd = h->fd, .events = events};

    for (;;) {
        int64_t left = until - kd_clock_ms();
        int r = poll(&p, 1, left <= 0 ? 0 : left > 60000 ? 60000 : (int)left);
        if (r > 0)
            return CALL_DONE;
        int64_t now = kd_clock_ms();
        if (r == 0 && now >= until && !waits_on(&h->longer, now, &until))
            return CALL_LATE;
        if (r < 0 && errno != EINTR && errno != EAGAIN && errno != ENOMEM)
            return CALL_FAILED;
    }
}

/* Takes fd. */
static enum call_end
send_packet(struct host *h, uint16_t type, struct kd_slice body, int fd, int64_t until)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    uint8_t header[HEADER];
    struct iovec iov[] = {{header, sizeof header}, {(void *)(uintptr_t)body.p, body.n}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    enum call_end end = CALL_DONE;

    kd_put_be32(header, (uint32_t)body.n);
    kd_put_be16(header + 4, type);
    kd_put_be16(header + 6, 0);
    if (fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    while (end == CALL_DONE && sendmsg(h->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EINTR)
            continue;
        end = is_later() ? wait_for(h, POLLOUT, until) : CALL_GONE;
    }
    if (fd >= 0)
        close(fd);
    return end;
}

/* A host has no descriptors to give. */
static bool
drop_descriptors(struct msghdr *msg)
{
    bool any = (msg->msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            close(fd);
            any = true;
        }
    }
    return any;
}

enum call_end
call_await(struct host *h, uint16_t wanted, int64_t until, uint8_t *answer, size_t room,
           size_t *n)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control;
    uint8_t header[HEADER];
    ssize_t got;

    for (;;) {
        struct iovec iov[] = {{header, sizeof header}, {answer, room}};
        struct msghdr msg = {.msg_iov = iov,
                             .msg_iovlen = 2,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
        got = recvmsg(h->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (got > 0 && drop_descriptors(&msg))
            return CALL_MALFORMED;
        if (got >= 0 || (errno != EINTR && errno != EAGAIN))
            break;
        if (errno == EAGAIN) {
            enum call_end end = wait_for(h, POLLIN, until);
            if (end != CALL_DONE)
                return end;
        }
    }
    if (got <= 0)
        return CALL_GONE;
    struct kd_cur c =
        kd_cur(kd_slice(header, (size_t)got < HEADER ? (size_t)got : HEADER));
    uint32_t size = kd_cur_u32(&c);
    uint16_t type = kd_cur_u16(&c), zero = kd_cur_u16(&c);
    /* One message a packet: the one that was asked for. */
    if (c.err != KD_OK || type != wanted || zero != 0 || size != (size_t)got - HEADER)
        return CALL_MALFORMED;
    *n = (size_t)got - HEADER;
    return CALL_DONE;
}

/* --- questions --- */

enum call_end
call_tell(struct host *h, uint16_t type, const struct kd_buf *message)
{
    if (message->err != KD_OK)
        return CALL_FAILED;
    return send_packet(h, type, kd_buf_slice(message), -1, kd_clock_ms() + WAIT_MS);
}

enum call_end
call_host(struct host *h, uint16_t type, const struct kd_buf *question, int fd,
          uint16_t wanted, int64_t until, uint8_t *answer, size_t room, size_t *n)
{
    if (question->err != KD_OK) {
        if (fd >= 0)
            close(fd);
        return CALL_FAILED;
    }
    enum call_end end = send_packet(h, type, kd_buf_slice(question), fd, until);
    return end == CALL_DONE ? call_await(h, wanted, until, answer, room, n) : end;
}

/* Small messages go along, large ones as a sealed file. */
enum call_end
call_sign(struct host *h, uint8_t key, struct kd_slice message, int64_t until,
          uint64_t *rv, struct kd_token_sig *sig)
{
    uint8_t answer[KD_SIG_MAX + 64];
    struct kd_p11_sign ask = {.tag = ++h->tag, .key = key, .size = (uint32_t)message.n};
    struct kd_p11_signed m;
    struct kd_buf b;
    int fd = -1;
    size_t n;

    sig->n = 0;
    if (message.n > UINT32_MAX ||
        kd_memfd_if_large(message, KD_CHAN_INLINE_MAX, &ask.message, &fd) != KD_OK)
        return CALL_FAILED;
    kd_buf_init(&b, KD_CHAN_INLINE_MAX + 64);
    kd_p11_sign_put(&b, &ask);
    enum call_end end = call_host(h, KD_MSG_p11_sign, &b, fd, KD_MSG_p11_signed, until,
                                  answer, sizeof answer, &n);
    kd_buf_free(&b);
    if (end != CALL_DONE)
        return end;
    if (kd_p11_signed_get(kd_slice(answer, n), &m) != KD_OK || m.tag != ask.tag ||
        m.signature.n > sizeof sig->octets)
        return CALL_MALFORMED;
    *rv = m.rv;
    h->kib = m.kib;
    sig->n = m.signature.n;
    if (sig->n != 0)
        memcpy(sig->octets, m.signature.p, sig->n);
    return CALL_DONE;
}

enum call_end
call_derive(struct host *h, uint8_t key, const uint8_t point[65], int64_t until,
            uint64_t *rv, uint8_t z[KD_ECDH_SIZE])
{
    struct kd_p11_derive ask = {.tag = ++h->tag, .key = key};
    struct kd_p11_derived m;
    struct kd_buf b;
    size_t n = 0;

    memcpy(ask.point, point, sizeof ask.point);
    kd_buf_init(&b, 128);
    kd_p11_derive_put(&b, &ask);
    enum call_end end = call_host(h, KD_MSG_p11_derive, &b, -1, KD_MSG_p11_derived,
                                  until, h->secret, SECRET_ANSWER_MAX, &n);
    kd_buf_free(&b);
    if (end == CALL_DONE) {
        if (kd_p11_derived_get(kd_slice(h->secret, n), &m) != KD_OK ||
            m.tag != ask.tag || (m.rv == 0 && m.z.n != KD_ECDH_SIZE)) {
            end = CALL_MALFORMED;
        } else {
            *rv = m.rv;
            h->kib = m.kib;
            if (m.rv == 0)
                memcpy(z, m.z.p, KD_ECDH_SIZE);
        }
    }
    kd_secret_wipe(h->secret, SECRET_ANSWER_MAX);
    return end;
}
