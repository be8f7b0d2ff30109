/* A scripted server for tests of clients: takes frames apart and answers as told. */
#ifndef KEYD_TESTS_RPC_SERVER_H
#define KEYD_TESTS_RPC_SERVER_H

#include <keyd/rpc/rpc_pb.h>

struct rpc_server {
    int sock;
    struct kd_frame_in in;
    struct kd_frame_out out;
    struct kd_arena arena;
    struct kd_frame_scratch scratch;
    int fd; /* that came with the last request, closed by the next; -1 */
    struct kd_rpc_fault fault;
};

/* Takes the socket and makes it non-blocking. */
void rpc_server_init(struct rpc_server *s, int sock);
void rpc_server_clear(struct rpc_server *s);

/* The next request, waiting for at most wait_ms; NULL if there is none (or, with
 * s->fault, it was not one). Lives until the next call. */
const Keyd__V1__Request *rpc_server_next(struct rpc_server *s, int wait_ms);

/* Sends; fd is taken. */
void rpc_server_answer(struct rpc_server *s, const Keyd__V1__Response *m, int fd);

/* Sends octets as they are. */
void rpc_server_raw(struct rpc_server *s, const void *p, size_t n);

/* An answer without a result. */
void rpc_server_refuse(struct rpc_server *s, uint64_t id, kd_err err,
                       enum kd_rpc_reason reason, uint32_t retry_after_ms);

/* Takes the Hello and agrees. */
void rpc_server_greet(struct rpc_server *s, uint32_t max_in_flight);

#endif
