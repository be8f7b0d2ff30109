/* Reads a test vector. */
#ifndef KEYD_TESTS_VECTOR_H
#define KEYD_TESTS_VECTOR_H

#include <keyd/base/slice.h>
#include <stdio.h>
#include <stdlib.h>

/* The octets of folder/name in memory to free(); p is NULL if it cannot be read. */
static inline struct kd_slice
vector_read(const char *folder, const char *name)
{
    char path[4096];
    struct kd_slice none = {NULL, 0};

    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return none;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return none;
    size_t cap = (size_t)1 << 16, n = 0, got;
    uint8_t *p = malloc(cap);
    while (p != NULL && (got = fread(p + n, 1, cap - n, f)) > 0) {
        n += got;
        if (n == cap)
            p = realloc(p, cap *= 2);
    }
    fclose(f);
    return p == NULL ? none : kd_slice(p, n);
}

static inline void
vector_free(struct kd_slice v)
{
    union {
        const uint8_t *borrowed;
        void *owned;
    } u = {.borrowed = v.p};
    free(u.owned);
}

#endif
