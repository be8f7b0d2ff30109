#include "principal.h"

#include <assert.h>

struct principal *
principal_join(struct principal_table *t, uint32_t uid, bool is_known)
{
    struct principal *spare = &t->list[KD_POLICY_ROWS_MAX];

    for (unsigned i = 0; is_known && i < KD_POLICY_ROWS_MAX; i++) {
        struct principal *p = &t->list[i];
        if (p->n_conns != 0 && p->uid == uid) {
            p->n_conns++;
            return p;
        }
        if (p->n_conns == 0 && spare == &t->list[KD_POLICY_ROWS_MAX])
            spare = p;
    }
    if (spare->n_conns++ == 0)
        spare->uid = uid;
    return spare;
}

void
principal_leave(struct principal *p)
{
    assert(p->n_conns > 0);
    p->n_conns--;
}

kd_err
principal_take(struct principal_table *t, struct principal *p,
               const struct kd_limits *limits, size_t frame, size_t upload)
{
    if (frame > limits->max_principal_frames - p->frames)
        return KD_BUSY;
    if (upload != 0 && (p->n_uploads >= limits->max_principal_uploads ||
                        upload > limits->upload_pool - t->uploads))
        return KD_BUSY;
    p->frames += frame;
    p->n_uploads += upload != 0;
    t->uploads += upload;
    return KD_OK;
}

void
principal_give(struct principal_table *t, struct principal *p, size_t frame,
               size_t upload)
{
    assert(p->frames >= frame && t->uploads >= upload);
    p->frames -= frame;
    p->n_uploads -= upload != 0;
    t->uploads -= upload;
}
