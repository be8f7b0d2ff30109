#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <keyd/base/clock.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* KD_OK if the socket is ready for it, or has an error to tell. A deadline that is in
 * the past still finds what is ready. */
static kd_err
wait_for(struct net *n, short events, int64_t deadline)
{
    struct pollfd p = {.fd = n->sock, .events = events};

    for (;;) {
        int64_t left = deadline - kd_clock_ms();
        if (left < 0)
            left = 0;
        int ready = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (ready > 0)
            return KD_OK;
        if (ready < 0 && errno != EINTR)
            return KD_CLOSED;
        if (kd_clock_ms() >= deadline)
            return KD_TIMEOUT;
    }
}

static socklen_t
with_port(struct sockaddr_storage *a, uint16_t port)
{
    if (a->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)a)->sin6_port = htons(port);
        return sizeof(struct sockaddr_in6);
    }
    ((struct sockaddr_in *)a)->sin_port = htons(port);
    return sizeof(struct sockaddr_in);
}

static kd_err
begin_connecting(struct net *n, const struct sockaddr_storage *address, uint16_t port)
{
    struct sockaddr_storage a = *address;
    socklen_t size = with_port(&a, port), error_size = sizeof(int);
    int error = 0, one = 1;
    kd_err err;

    kd_ignore(setsockopt(n->sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
    if (connect(n->sock, (const struct sockaddr *)&a, size) == 0)
        return KD_OK;
    if (errno != EINPROGRESS)
        return KD_UNAVAILABLE;
    if ((err = wait_for(n, POLLOUT, n->deadline)) != KD_OK)
        return err == KD_TIMEOUT ? err : KD_UNAVAILABLE;
    if (getsockopt(n->sock, SOL_SOCKET, SO_ERROR, &error, &error_size) != 0)
        return KD_UNAVAILABLE;
    errno = error;
    return error == 0 ? KD_OK : KD_UNAVAILABLE;
}

kd_err
net_connect(struct net *n, const struct sockaddr_storage *address, uint16_t port,
            int64_t deadline)
{
    *n = (struct net){.sock = -1, .deadline = deadline};
    if (address->ss_family != AF_INET && address->ss_family != AF_INET6) {
        errno = EAFNOSUPPORT;
        return KD_UNAVAILABLE;
    }
    n->sock = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (n->sock < 0)
        return KD_UNAVAILABLE;
    kd_err err = begin_connecting(n, address, port);
    if (err != KD_OK) {
        int error = errno;
        net_close(n);
        errno = error;
    }
    return err;
}

void
net_close(struct net *n)
{
    if (n->sock >= 0)
        close(n->sock);
    n->sock = -1;
}

/* Who sends, or takes, without a pause is late, too. */
static kd_err
wait_in_time(struct net *n, short events)
{
    return kd_clock_ms() >= n->deadline ? KD_TIMEOUT : wait_for(n, events, n->deadline);
}

static kd_err
failed(struct net *n, kd_err err)
{
    n->was_late |= err == KD_TIMEOUT;
    return err;
}

kd_err
net_write(struct net *n, const void *p, size_t size)
{
    const char *at = p;

    while (size > 0) {
        kd_err err = wait_in_time(n, POLLOUT);
        if (err != KD_OK)
            return failed(n, err);
        ssize_t sent = send(n->sock, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return KD_CLOSED;
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
        }
    }
    return KD_OK;
}

kd_err
net_read(struct net *n, void *p, size_t size, size_t *got)
{
    for (;;) {
        kd_err err = wait_in_time(n, POLLIN);
        if (err != KD_OK)
            return failed(n, err);
        ssize_t r = recv(n->sock, p, size, 0);
        if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
            return KD_CLOSED;
        if (r > 0) {
            *got = (size_t)r;
            return KD_OK;
        }
    }
}

bool
net_can_read(struct net *n, int64_t by)
{
    return wait_for(n, POLLIN, by) == KD_OK;
}

void
net_text(const struct sockaddr_storage *address, char out[NET_TEXT_MAX])
{
    const void *octets =
        address->ss_family == AF_INET6
            ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
            : (const void *)&((const struct sockaddr_in *)address)->sin_addr;

    if (inet_ntop(address->ss_family, octets, out, NET_TEXT_MAX) == NULL)
        snprintf(out, NET_TEXT_MAX, "?");
}

/* ---- the BIO: it waits itself, so that OpenSSL never has to be asked again */

static int
bio_write(BIO *b, const char *p, int size)
{
    struct net *n = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    return size >= 0 && net_write(n, p, (size_t)size) == KD_OK ? size : -1;
}

static int
bio_read(BIO *b, char *p, int size)
{
    struct net *n = BIO_get_data(b);
    size_t got = 0;

    BIO_clear_retry_flags(b);
    if (size <= 0)
        return 0;
    kd_err err = net_read(n, p, (size_t)size, &got);
    return err == KD_OK ? (int)got : err == KD_CLOSED ? 0 : -1;
}

static long
bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

/* Made once and kept: OpenSSL has a limited number of BIO types. */
static BIO_METHOD *
method(void)
{
    static BIO_METHOD *kept;
    BIO_METHOD *m = __atomic_load_n(&kept, __ATOMIC_ACQUIRE), *none = NULL;

    if (m != NULL)
        return m;
    if ((m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "dime socket")) == NULL)
        return NULL;
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_ctrl(m, bio_ctrl);
    if (__atomic_compare_exchange_n(&kept, &none, m, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return m;
    BIO_meth_free(m);
    return none;
}

BIO *
net_bio(struct net *n)
{
    BIO_METHOD *m = method();
    BIO *b = m == NULL ? NULL : BIO_new(m);

    if (b == NULL)
        return NULL;
    BIO_set_data(b, n);
    BIO_set_init(b, 1);
    return b;
}
