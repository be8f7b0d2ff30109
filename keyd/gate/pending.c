#include "pending.h"

#include "../ops/rpc.h"

#include <stdlib.h>

struct pending *
pending_new(struct pending_table *table, struct conn *c, uint64_t id,
            const struct op_rpc *rpc, int64_t deadline)
{
    struct pending *p = table->n < PENDING_MAX ? calloc(1, sizeof *p) : NULL;

    if (p == NULL)
        return NULL;
    unsigned i = table->next_free;
    while (table->slot[i] != NULL)
        i = (i + 1) % PENDING_MAX;
    table->next_free = (i + 1) % PENDING_MAX;
    table->slot[i] = p;
    table->n++;
    *p = (struct pending){.next = c->pending,
                          .conn = c,
                          .rpc = rpc,
                          .tag = (uint64_t)++table->generation[i] << 32 | i,
                          .id = id,
                          .op = rpc->op,
                          .deadline = deadline};
    if (p->next != NULL)
        p->next->prev = p;
    c->pending = p;
    c->n_pending++;
    return p;
}

void
pending_orphan(struct pending_table *table, struct pending *p)
{
    struct conn *c = p->conn;

    (void)table;
    if (c == NULL)
        return;
    if (p->prev == NULL)
        c->pending = p->next;
    else
        p->prev->next = p->next;
    if (p->next != NULL)
        p->next->prev = p->prev;
    p->prev = p->next = NULL;
    p->conn = NULL;
    c->n_pending--;
}

void
pending_free(struct pending_table *table, struct pending *p)
{
    pending_orphan(table, p);
    table->slot[p->tag & 0xffffffff] = NULL;
    table->n--;
    free(p);
}

struct pending *
pending_of_tag(struct pending_table *table, uint64_t tag)
{
    uint64_t i = tag & 0xffffffff;
    struct pending *p = i < PENDING_MAX ? table->slot[i] : NULL;

    return p != NULL && p->tag == tag ? p : NULL;
}

struct pending *
pending_find(const struct conn *c, uint64_t id)
{
    for (struct pending *p = c->pending; p != NULL; p = p->next)
        if (p->id == id)
            return p;
    return NULL;
}
