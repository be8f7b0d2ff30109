/* Copying a store in use: the checks common to all back ends. */
#include "store_impl.h"

#include <stdlib.h>

struct kd_store_copy {
    struct kd_store *store;
    struct kd_backend_copy *copy;
};

kd_err
kd_store_copy_begin(struct kd_store *s, const char *path, struct kd_store_copy **out)
{
    kd_err err;

    if (s->broken)
        return KD_UNAVAILABLE;
    if (s->in_batch)
        return KD_INVALID;
    struct kd_store_copy *c = calloc(1, sizeof *c);
    if (c == NULL)
        return KD_NOMEM;
    c->store = s;
    if ((err = s->ops->copy_begin(s->backend, path, &c->copy)) != KD_OK) {
        free(c);
        return err;
    }
    *out = c;
    return KD_OK;
}

kd_err
kd_store_copy_step(struct kd_store_copy *c, unsigned pages, struct kd_store_copied *out)
{
    if (c->store->broken)
        return KD_UNAVAILABLE;
    if (c->store->in_batch || pages == 0)
        return KD_INVALID;
    return c->store->ops->copy_step(c->copy, pages, out);
}

kd_err
kd_store_copy_end(struct kd_store_copy *c)
{
    if (c == NULL)
        return KD_OK;
    kd_err err = c->store->ops->copy_end(c->copy);
    free(c);
    return err;
}
