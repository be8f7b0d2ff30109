/* A bump allocator with a budget: what one decoded message may cost. Everything goes
 * at once; single blocks are never given back, which also makes it safe to hand to
 * protobuf-c as it is. */
#ifndef KEYD_RPC_RPC_ARENA_H
#define KEYD_RPC_RPC_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct kd_arena_chunk;

struct kd_arena {
    struct kd_arena_chunk *newest;
    size_t held;    /* octets taken from malloc */
    size_t budget;  /* the most it may hold */
    bool over;      /* since the reset, a block was refused because of the budget */
    bool no_memory; /* ... or because malloc failed */
};

/* No memory until the first block, and none at all before a reset gives a budget. */
void kd_arena_init(struct kd_arena *a);

/* Forgets every block; keeps one chunk for the next message if it fits the budget. */
void kd_arena_reset(struct kd_arena *a, size_t budget);

void kd_arena_free(struct kd_arena *a);

/* 16-octet aligned, not zeroed; NULL past the budget or without memory. n = 0 yields a
 * pointer that is not NULL. */
void *kd_arena_alloc(struct kd_arena *a, size_t n);

#endif
