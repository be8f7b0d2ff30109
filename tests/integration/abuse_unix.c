/* abuse.h: the socket of class submission. */
#include "abuse.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un at = {.sun_family = AF_UNIX};

void
unix_abuse_setup(const struct daemon *d)
{
    daemon_socket(d, "submission", at.sun_path);
}

static bool
open_link(struct link *l)
{
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    l->at_ms = (uint64_t)kd_clock_ms();
    if (l->fd >= 0 && connect(l->fd, (const struct sockaddr *)&at, sizeof at) == 0)
        return true;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    return false;
}

static int
go_on(struct link *l)
{
    (void)l; /* connect has done all */
    return 1;
}

static ssize_t
send_some(struct link *l, const void *p, size_t n)
{
    return send(l->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t
receive(struct link *l, void *p, size_t n)
{
    return recv(l->fd, p, n, MSG_DONTWAIT);
}

static void
half_close(struct link *l)
{
    kd_ignore(shutdown(l->fd, SHUT_WR)); /* gone already: as good */
}

static void
close_link(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

const struct transport unix_transport = {.name = "unix",
                                         .bit = ON_UNIX,
                                         .most = 10000,
                                         .open = open_link,
                                         .go_on = go_on,
                                         .send = send_some,
                                         .recv = receive,
                                         .half_close = half_close,
                                         .close = close_link};
