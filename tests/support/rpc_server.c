#include "rpc_server.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void
must(bool x, const char *what)
{
    if (x)
        return;
    fprintf(stderr, "rpc_server: %s\n", what);
    abort();
}

void
rpc_server_init(struct rpc_server *s, int sock)
{
    must(fcntl(sock, F_SETFL, O_NONBLOCK) == 0, "non-blocking");
    s->sock = sock;
    s->fd = -1;
    kd_frame_in_init(&s->in, KD_FRAME_MAX);
    kd_frame_out_init(&s->out, 1 << 20);
    kd_arena_init(&s->arena);
    s->fault = (struct kd_rpc_fault){0};
}

static void
drop_fd(struct rpc_server *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

void
rpc_server_clear(struct rpc_server *s)
{
    drop_fd(s);
    if (s->sock >= 0)
        close(s->sock);
    s->sock = -1;
    kd_frame_in_clear(&s->in);
    kd_frame_out_clear(&s->out);
    kd_arena_free(&s->arena);
}

static kd_err
next_frame(struct rpc_server *s, struct kd_frame *f, int wait_ms)
{
    struct pollfd p = {.fd = s->sock, .events = POLLIN};
    kd_err err;

    while ((err = kd_frame_next(&s->in, f)) == KD_NOT_FOUND) {
        if (poll(&p, 1, wait_ms) == 0)
            return KD_UNAVAILABLE;
        err = kd_frame_recv(&s->in, s->sock, &s->scratch);
        if (err != KD_OK && err != KD_UNAVAILABLE)
            return err;
    }
    return err;
}

const Keyd__V1__Request *
rpc_server_next(struct rpc_server *s, int wait_ms)
{
    struct kd_frame f;
    const Keyd__V1__Request *m = NULL;

    drop_fd(s);
    if (next_frame(s, &f, wait_ms) != KD_OK)
        return NULL;
    s->fd = f.fd;
    if (kd_rpc_decode_request(&s->arena, f.body, f.fd >= 0, &m, &s->fault) != KD_OK)
        return NULL;
    return m;
}

static void
flush(struct rpc_server *s)
{
    kd_err err;

    while ((err = kd_frame_flush(&s->out, s->sock)) == KD_UNAVAILABLE) {
        struct pollfd p = {.fd = s->sock, .events = POLLOUT};
        must(poll(&p, 1, 10000) == 1, "the client reads");
    }
    if (err != KD_OK)
        kd_frame_out_clear(&s->out); /* the client is gone, as some tests want */
}

void
rpc_server_answer(struct rpc_server *s, const Keyd__V1__Response *m, int fd)
{
    kd_err err = kd_rpc_put_response(&s->out, m, fd, &s->fault);

    if (err != KD_OK)
        fprintf(stderr, "%s.%s: %s\n", s->fault.message, s->fault.field,
                kd_rpc_reason_text(s->fault.reason));
    must(err == KD_OK, "a sound answer");
    flush(s);
}

void
rpc_server_raw(struct rpc_server *s, const void *p, size_t n)
{
    must(send(s->sock, p, n, MSG_NOSIGNAL) == (ssize_t)n, "send");
}

void
rpc_server_refuse(struct rpc_server *s, uint64_t id, kd_err err,
                  enum kd_rpc_reason reason, uint32_t retry_after_ms)
{
    Keyd__V1__Response m;

    kd_rpc_refuse(&m, id, err, reason);
    m.retry_after_ms = retry_after_ms;
    rpc_server_answer(s, &m, -1);
}

void
rpc_server_greet(struct rpc_server *s, uint32_t max_in_flight)
{
    Keyd__V1__HelloResult hello = KEYD__V1__HELLO_RESULT__INIT;
    Keyd__V1__Response m = KEYD__V1__RESPONSE__INIT;
    const Keyd__V1__Request *q = rpc_server_next(s, 10000);

    must(q != NULL && q->op_case == KEYD__V1__REQUEST__OP_HELLO, "a Hello");
    hello.version = 1;
    hello.max_frame = KD_FRAME_MAX;
    hello.max_in_flight = max_in_flight;
    hello.max_object = KD_RPC_OBJECT_MAX;
    hello.class_name = kd_rpc_data(kd_slice_str("test"));
    m.id = q->id;
    m.result_case = KEYD__V1__RESPONSE__RESULT_HELLO;
    m.hello = &hello;
    rpc_server_answer(s, &m, -1);
}
