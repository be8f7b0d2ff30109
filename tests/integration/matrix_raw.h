/* What libkeyd does not ask for by itself, or not there: frames and messages by kd-rpc,
 * on a unix socket or over TLS. */
#ifndef KEYD_TESTS_MATRIX_RAW_H
#define KEYD_TESTS_MATRIX_RAW_H

#include "tls_peer.h"

#include <keyd/ops/ops.h>

struct raw {
    bool is_tls, is_open;
    struct tls_peer tls;
    int fd; /* unix */
    struct kd_frame_in in;
    struct kd_frame_out out;
    struct kd_arena arena;
    uint64_t id;
};

/* A connected unix socket, or -1. */
int raw_connect(const char *path);

/* Connects; over TLS with the client's half of the handshake done. id may be NULL:
 * without a certificate. */
void raw_open_unix(struct raw *r, const char *path);
void raw_open_tls(struct raw *r, uint16_t port, const struct identity *id);
void raw_close(struct raw *r);

/* The status of the answer, or NO_ANSWER if the connection ended without one. */
unsigned raw_hello(struct raw *r);
unsigned raw_ask(struct raw *r, enum kd_op op);

/* True for what raw_ask has a request for. What carries a secret names an upload, since
 * over TLS there are no descriptors. */
bool raw_can_ask(enum kd_op op);

#endif
