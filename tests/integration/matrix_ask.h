/* The matrix's requests: one of each operation, as a caller who may would make it. */
#ifndef KEYD_TESTS_MATRIX_ASK_H
#define KEYD_TESTS_MATRIX_ASK_H

#include "people.h"

#include <keyd/ops/ops.h>
#include <keyd_client.h>

/* What a request points to. */
struct matrix_ask {
    struct keyd_request q;
    struct kd_buf ssr;
    char address[64];
    char secret[64];
    uint8_t id[16], fp[64];
};

/* Fills q for an operation about example.com. serial: makes keys and names of its own.
 * credential: the daemon's, DAEMON_CREDENTIAL_SIZE octets. False for an operation that
 * it has no request for. */
bool matrix_ask(struct matrix_ask *a, enum kd_op op, uint64_t serial,
                const uint8_t *credential);
void matrix_ask_clear(struct matrix_ask *a);

#endif
