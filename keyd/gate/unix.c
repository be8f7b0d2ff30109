/* Unix sockets: the caller is the uid that the kernel gave at connect, descriptors
 * travel beside the octets. */
#include "serve.h"
#include "transport.h"

#include <unistd.h>

/* Who connected: uid and gid as of connect(). The overflow uid stands for users the
 * kernel cannot map and is nobody (policy.h leaves it out, whatever is configured). */
static bool
peer_uid(int fd, uint32_t *uid)
{
    struct ucred cred;
    socklen_t size = sizeof cred;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0)
        return false;
    *uid = cred.uid;
    return true;
}

static void
accepted(struct gate *g, int fd, const struct sockaddr *from)
{
    uint32_t uid;

    (void)from; /* clients have no names */
    if (!peer_uid(fd, &uid)) {
        close(fd);
        return;
    }
    struct kd_caller who = kd_caller_local(g->conf.klass, uid);
    kd_ignore(serve_open(g, fd, &who) == NULL); /* closed, then */
}

static kd_err
receive(struct gate *g, struct conn *c, bool *again)
{
    *again = false;
    return kd_frame_recv(&c->in, c->fd, &g->scratch);
}

static kd_err
flush(struct conn *c)
{
    return kd_frame_flush(&c->out, c->fd);
}

const struct transport gate_transport = {.program = "keyd-gate",
                                         .role = KD_ROLE_GATE,
                                         .has_descriptors = true,
                                         .accepted = accepted,
                                         .recv = receive,
                                         .flush = flush};
