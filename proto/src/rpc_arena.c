#include <keyd/rpc/rpc_arena.h>

#include <stdint.h>
#include <stdlib.h>

enum { ALIGN = 16, CHUNK_MIN = 2048 };

struct kd_arena_chunk {
    struct kd_arena_chunk *older;
    size_t size; /* octets at data */
    size_t used;
    size_t unused_; /* keeps data aligned */
    uint8_t data[];
};

_Static_assert(sizeof(struct kd_arena_chunk) % ALIGN == 0, "data is aligned");

void
kd_arena_init(struct kd_arena *a)
{
    *a = (struct kd_arena){0};
}

static void
drop_newest(struct kd_arena *a)
{
    struct kd_arena_chunk *c = a->newest;

    a->newest = c->older;
    a->held -= sizeof *c + c->size;
    free(c);
}

void
kd_arena_reset(struct kd_arena *a, size_t budget)
{
    while (a->newest != NULL && (a->newest->older != NULL || a->held > budget))
        drop_newest(a);
    if (a->newest != NULL)
        a->newest->used = 0;
    a->budget = budget;
    a->over = a->no_memory = false;
}

void
kd_arena_free(struct kd_arena *a)
{
    while (a->newest != NULL)
        drop_newest(a);
    a->budget = 0;
}

/* Chunks double, so that a message takes few; near the end of the budget a chunk is
 * as large as what is left. */
static struct kd_arena_chunk *
add_chunk(struct kd_arena *a, size_t need)
{
    size_t left = a->budget - a->held;

    if (left < sizeof(struct kd_arena_chunk) ||
        need > left - sizeof(struct kd_arena_chunk)) {
        a->over = true;
        return NULL;
    }
    left -= sizeof(struct kd_arena_chunk);
    size_t size = a->newest == NULL ? CHUNK_MIN : a->newest->size * 2;
    if (size < need)
        size = need;
    if (size > left)
        size = left;
    struct kd_arena_chunk *c = malloc(sizeof *c + size);
    if (c == NULL) {
        a->no_memory = true;
        return NULL;
    }
    *c = (struct kd_arena_chunk){.older = a->newest, .size = size};
    a->newest = c;
    a->held += sizeof *c + size;
    return c;
}

void *
kd_arena_alloc(struct kd_arena *a, size_t n)
{
    if (n > SIZE_MAX - ALIGN) {
        a->over = true;
        return NULL;
    }
    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (n == 0)
        n = ALIGN;
    struct kd_arena_chunk *c = a->newest;
    if ((c == NULL || n > c->size - c->used) && (c = add_chunk(a, n)) == NULL)
        return NULL;
    void *p = c->data + c->used;
    c->used += n;
    return p;
}
