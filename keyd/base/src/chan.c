#include <keyd/base/be.h>
#include <keyd/base/chan.h>
#include <keyd/base/cur.h>
#include <keyd/base/secret.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* On the wire: u32 size of the body, u16 type, u16 zero, body. */
enum { HEADER = 8, PACKET_MAX = 60 * 1024, SOCKET_BUFFER = 1024 * 1024 };

struct kd_chan_packet {
    struct kd_chan_packet *next;
    size_t n;
    int fd;
    uint8_t octets[PACKET_MAX];
};

/* The messages of a packet from at on, and the descriptor if it is still to come. */
struct kd_chan_rest {
    size_t n;
    int fd;
    uint8_t octets[];
};

/* Of one thread, whatever channel it receives from. */
static _Thread_local struct {
    size_t n; /* received last */
    uint8_t octets[PACKET_MAX];
} received;

kd_err
kd_chan_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        return KD_IO;
    for (int i = 0; i < 2; i++) {
        int size = SOCKET_BUFFER;
        /* Silently capped by net.core.wmem_max: a smaller buffer is only slower. */
        kd_ignore(setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    }
    return KD_OK;
}

void
kd_chan_init(struct kd_chan *ch, int fd)
{
    *ch = (struct kd_chan){.fd = fd};
}

static void
packet_free(struct kd_chan_packet *p)
{
    if (p != NULL && p->fd >= 0)
        close(p->fd);
    free(p);
}

static void
rest_free(struct kd_chan_rest *rest)
{
    if (rest != NULL && rest->fd >= 0)
        close(rest->fd);
    free(rest);
}

void
kd_chan_close(struct kd_chan *ch)
{
    if (ch->fd >= 0)
        close(ch->fd);
    for (struct kd_chan_packet *p = ch->first, *next; p != NULL; p = next) {
        next = p->next;
        packet_free(p);
    }
    packet_free(ch->spare);
    rest_free(ch->rest);
    *ch = (struct kd_chan){.fd = -1};
}

static size_t
weight(const struct kd_chan_packet *p)
{
    return p->n + (p->fd >= 0 ? KD_CHAN_FD_WEIGHT : 0);
}

/* A new empty packet at the end of the queue. */
static struct kd_chan_packet *
packet_add(struct kd_chan *ch)
{
    struct kd_chan_packet *p = ch->spare;

    if (p != NULL)
        ch->spare = NULL;
    else if ((p = malloc(sizeof *p)) == NULL)
        return NULL;
    p->next = NULL;
    p->n = 0;
    p->fd = -1;
    if (ch->last == NULL)
        ch->first = p;
    else
        ch->last->next = p;
    ch->last = p;
    return p;
}

kd_err
kd_chan_put(struct kd_chan *ch, uint16_t type, struct kd_slice body, int message_fd)
{
    kd_err err = KD_OK;
    struct kd_chan_packet *p = ch->last;

    if (ch->fd < 0)
        err = KD_CLOSED;
    else if (body.n > KD_CHAN_BODY_MAX)
        err = KD_TOO_LARGE;
    else if (ch->backlog > KD_CHAN_BACKLOG_MAX)
        err = KD_BUSY;
    else if (p == NULL || message_fd >= 0 || p->fd >= 0 ||
             HEADER + body.n > PACKET_MAX - p->n)
        err = (p = packet_add(ch)) == NULL ? KD_NOMEM : KD_OK;
    if (err != KD_OK) {
        if (message_fd >= 0)
            close(message_fd);
        return err;
    }
    uint8_t *at = p->octets + p->n;
    kd_put_be32(at, (uint32_t)body.n);
    kd_put_be16(at + 4, type);
    kd_put_be16(at + 6, 0);
    if (body.n != 0)
        memcpy(at + HEADER, body.p, body.n);
    p->n += HEADER + body.n;
    p->fd = message_fd;
    ch->backlog += HEADER + body.n + (message_fd >= 0 ? KD_CHAN_FD_WEIGHT : 0);
    return KD_OK;
}

kd_err
kd_chan_put_buf(struct kd_chan *ch, uint16_t type, const struct kd_buf *body,
                int message_fd)
{
    if (body->err == KD_OK)
        return kd_chan_put(ch, type, kd_buf_slice(body), message_fd);
    if (message_fd >= 0)
        close(message_fd);
    return body->err;
}

static ssize_t
packet_send(int socket, struct kd_chan_packet *p)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {p->octets, p->n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (p->fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &p->fd, sizeof(int));
    }
    return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

kd_err
kd_chan_flush(struct kd_chan *ch)
{
    if (ch->fd < 0)
        return KD_CLOSED;
    while (ch->first != NULL) {
        struct kd_chan_packet *p = ch->first;
        if (packet_send(ch->fd, p) < 0) {
            if (errno == EINTR)
                continue;
            /* ETOOMANYREFS: too many descriptors in flight; they drain like octets. */
            bool later = errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ||
                         errno == ETOOMANYREFS;
            return later ? KD_OK : KD_CLOSED;
        }
        ch->backlog -= weight(p);
        ch->first = p->next;
        if (ch->first == NULL)
            ch->last = NULL;
        if (p->fd >= 0) {
            close(p->fd);
            p->fd = -1;
        }
        if (ch->spare == NULL)
            ch->spare = p;
        else
            free(p);
    }
    return KD_OK;
}

/* The descriptor that came along, or -1. More than one, or a cut list: *bad. */
static int
received_fd(struct msghdr *msg, bool *bad)
{
    int fd = -1;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int one;
            memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof one);
            if (fd < 0) {
                fd = one;
            } else {
                close(one);
                *bad = true;
            }
        }
    }
    if ((msg->msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0)
        *bad = true;
    return fd;
}

/* Keeps what was not handed out. Takes fd. */
static kd_err
keep_rest(struct kd_chan *ch, struct kd_slice octets, int fd)
{
    struct kd_chan_rest *rest = malloc(sizeof *rest + octets.n);

    if (rest == NULL) {
        if (fd >= 0)
            close(fd);
        return KD_NOMEM;
    }
    rest->n = octets.n;
    rest->fd = fd;
    memcpy(rest->octets, octets.p, octets.n);
    ch->rest = rest;
    return KD_OK;
}

/* Hands out the messages of one packet. Takes fd. */
static kd_err
packet_deliver(struct kd_chan *ch, struct kd_slice packet, int fd,
               kd_chan_handler handler, void *ctx)
{
    struct kd_cur c = kd_cur(packet);
    kd_err err = KD_OK;

    do {
        if (kd_chan_is_paused(ch))
            return keep_rest(ch, kd_cur_take(&c, kd_cur_left(&c)), fd);
        uint32_t size = kd_cur_u32(&c);
        uint16_t type = kd_cur_u16(&c);
        if (kd_cur_u16(&c) != 0 || size > KD_CHAN_BODY_MAX)
            kd_cur_fail(&c, KD_MALFORMED);
        struct kd_slice body = kd_cur_take(&c, size);
        /* A descriptor belongs to a message that is alone. */
        if (fd >= 0 && kd_cur_left(&c) != 0)
            kd_cur_fail(&c, KD_MALFORMED);
        if ((err = c.err) != KD_OK)
            break;
        int given = fd;
        fd = -1;
        err = handler(ctx, type, body, given);
    } while (err == KD_OK && ch->fd >= 0 && kd_cur_left(&c) != 0);
    if (fd >= 0)
        close(fd);
    return err;
}

static kd_err
deliver_rest(struct kd_chan *ch, kd_chan_handler handler, void *ctx)
{
    struct kd_chan_rest *rest = ch->rest;

    if (rest == NULL)
        return KD_OK;
    ch->rest = NULL;
    int fd = rest->fd;
    kd_err err = packet_deliver(ch, kd_slice(rest->octets, rest->n), fd, handler, ctx);
    free(rest);
    return err;
}

kd_err
kd_chan_recv(struct kd_chan *ch, unsigned max_packets, kd_chan_handler handler,
             void *ctx)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control;
    kd_err err;

    if (ch->fd >= 0 && !kd_chan_is_paused(ch) &&
        (err = deliver_rest(ch, handler, ctx)) != KD_OK)
        return err;
    for (unsigned i = 0; i < max_packets && ch->fd >= 0 && !kd_chan_is_paused(ch);
         i++) {
        struct iovec iov = {received.octets, sizeof received.octets};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
        ssize_t n = recvmsg(ch->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? KD_OK : KD_CLOSED;
        bool bad = false;
        received.n = (size_t)n;
        int fd = received_fd(&msg, &bad);
        if (n == 0 && fd < 0 && !bad)
            return KD_CLOSED;
        if (bad) {
            if (fd >= 0)
                close(fd);
            return KD_MALFORMED;
        }
        err =
            packet_deliver(ch, kd_slice(received.octets, (size_t)n), fd, handler, ctx);
        if (err != KD_OK)
            return err;
    }
    return KD_OK;
}

void
kd_chan_wipe(struct kd_chan *ch)
{
    if (ch->spare != NULL)
        kd_secret_wipe(ch->spare->octets, ch->spare->n);
    kd_secret_wipe(received.octets, received.n);
    received.n = 0;
}
