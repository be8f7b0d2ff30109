/* The ring's two files as one: what one lacks the other gives. */
#ifndef DIME_RESOLVER_RING_H
#define DIME_RESOLVER_RING_H

#include "rows.h"
#include "steps.h"

#include <limits.h>

enum { RING_COPIES = 2 };

struct ring {
    struct rows copies[RING_COPIES];
    char paths[RING_COPIES][PATH_MAX];
};

/* Opens or makes both, and mends each from the other; what was done goes to steps.
 * KD_UNSUPPORTED: of a later release, untouched; else as rows_open, with *why. */
kd_err ring_open(struct ring *g, const char *dir, struct steps *steps,
                 const char **why) KD_MUST_USE;
void ring_close(struct ring *g);

/* A row, from whichever copy has it newer; an empty body means that it was taken away:
 * KD_NOT_FOUND, as if it had never been. */
kd_err ring_get(struct ring *g, unsigned kind, const char *name, struct kd_slice id,
                struct kd_buf *b) KD_MUST_USE;

/* All rows of a kind and name, copied. */
struct ring_rows {
    struct ring_row {
        uint8_t id[ROWS_ID_MAX];
        size_t n_id;
        int64_t stamp;
        struct kd_buf body;
    } * list;
    size_t n;
};
kd_err ring_list(struct ring *g, unsigned kind, const char *name,
                 struct ring_rows *out) KD_MUST_USE;
void ring_rows_free(struct ring_rows *rows);

/* Writes rows (their stamps are given here) into one copy and then, in another
 * transaction, the other. KD_OK once the first has them. */
kd_err ring_put(struct ring *g, struct row *rows, size_t n) KD_MUST_USE;

#endif
