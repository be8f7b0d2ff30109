#include "principal.h"

#include <assert.h>

struct principal *
principal_join(struct principal_table *t, uint32_t uid, bool is_known)
{
    struct principal *spare = &t->list[KD_POLICY_ROWS_MAX];

    for (unsigned i = 0; is_known && i < KD_POLICY_ROWS_MAX; i++) {
        struct principal *p = &t->list[i];
        bool is_free = p->n_conns == 0 && p->n_requests == 0;
        if (!is_free && p->uid == uid) {
            p->n_conns++;
            return p;
        }
        if (is_free && spare == &t->list[KD_POLICY_ROWS_MAX])
            spare = p;
    }
    spare->uid = uid;
    spare->n_conns++;
    return spare;
}

void
principal_leave(struct principal *p)
{
    assert(p->n_conns > 0);
    p->n_conns--;
}

bool
principal_is_over(const struct principal_table *t, const struct principal *p,
                  uint32_t max)
{
    uint32_t spare = max / PRINCIPAL_SPARE_PART;

    if (p == &t->list[KD_POLICY_ROWS_MAX])
        return p->n_conns > (spare == 0 ? 1 : spare);
    return t->is_shared && p->n_conns > max - spare;
}

kd_err
principal_take(struct principal_table *t, struct principal *p,
               const struct kd_limits *limits, size_t frame, size_t upload)
{
    if (t->is_shared && p->n_requests >= PRINCIPAL_REQUESTS_MAX)
        return KD_BUSY;
    if (frame > limits->max_principal_frames - p->frames)
        return KD_BUSY;
    if (upload != 0 && (p->n_uploads >= limits->max_principal_uploads ||
                        upload > limits->upload_pool - t->uploads))
        return KD_BUSY;
    p->n_requests++;
    p->frames += frame;
    p->n_uploads += upload != 0;
    t->uploads += upload;
    return KD_OK;
}

void
principal_give(struct principal_table *t, struct principal *p, size_t frame,
               size_t upload)
{
    assert(p->n_requests > 0 && p->frames >= frame && t->uploads >= upload);
    p->n_requests--;
    p->frames -= frame;
    p->n_uploads -= upload != 0;
    t->uploads -= upload;
}
