/* Requests that vault or ledger is working on: what the gate needs to give the answer
 * to the right client under the right id. */
#ifndef KEYD_GATE_PENDING_H
#define KEYD_GATE_PENDING_H

#include "conn.h"

#include <keyd/conf/quota_table.h>
#include <keyd/ops/ops.h>

struct op_rpc;
struct principal;

enum { PENDING_MAX = 8192 };

struct pending {
    struct pending *prev, *next; /* of the same connection */
    struct conn *conn;           /* NULL: the client is gone */
    const struct op_rpc *rpc;
    uint64_t tag; /* slot and generation: what the answer names */
    uint64_t id;  /* the client's */
    enum kd_op op;
    int64_t deadline; /* CLOCK_MONOTONIC, ms */
    uint64_t from;
    /* Room taken (principal.h), given back when this ends; it may outlive the client.
     */
    struct principal *principal;
    size_t frame, upload;
    struct kd_quota_held quota;
};

struct pending_table {
    struct pending *slot[PENDING_MAX];
    uint32_t generation[PENDING_MAX];
    unsigned n, next_free;
};

/* NULL when all slots are taken or without memory. */
struct pending *pending_new(struct pending_table *table, struct conn *c, uint64_t id,
                            const struct op_rpc *rpc, int64_t deadline);
void pending_free(struct pending_table *table, struct pending *p);

/* The client is gone: the request goes on, its answer goes nowhere. */
void pending_orphan(struct pending_table *table, struct pending *p);

struct pending *pending_of_tag(struct pending_table *table, uint64_t tag);
struct pending *pending_find(const struct conn *c, uint64_t id);

#endif
