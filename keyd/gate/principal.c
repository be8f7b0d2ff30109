#include "principal.h"

#include <assert.h>

static bool
is_same(const struct kd_caller *a, const struct kd_caller *b)
{
    return a->klass == b->klass && a->uid == b->uid && kd_slice_eq(a->name, b->name);
}

static void
keep(struct principal *p, const struct kd_caller *caller)
{
    assert(caller->name.n <= sizeof p->remote);
    p->caller = *caller;
    if (caller->name.n != 0)
        memcpy(p->remote, caller->name.p, caller->name.n);
    p->caller.name = kd_slice(p->remote, caller->name.n);
}

struct principal *
principal_join(struct principal_table *t, const struct kd_caller *caller, bool is_known)
{
    struct principal *spare = &t->list[KD_POLICY_ROWS_MAX];

    for (unsigned i = 0; is_known && i < KD_POLICY_ROWS_MAX; i++) {
        struct principal *p = &t->list[i];
        bool is_free = p->n_conns == 0 && p->n_requests == 0 && p->n_uploads == 0;
        if (!is_free && is_same(&p->caller, caller)) {
            p->n_conns++;
            return p;
        }
        if (is_free && spare == &t->list[KD_POLICY_ROWS_MAX])
            spare = p;
    }
    keep(spare, caller);
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
principal_must_wait(const struct principal_table *t, const struct principal *p)
{
    return p->queued > PRINCIPAL_QUEUED_MAX ||
           (t->is_shared && (p->n_taken >= PRINCIPAL_FRAMES_A_TURN ||
                             p->n_requests >= PRINCIPAL_UNDER_WAY_MAX));
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

/* A reload may have brought the limit below what is taken already. */
static bool
has_room(uint64_t limit, uint64_t taken, uint64_t more)
{
    return taken <= limit && more <= limit - taken;
}

bool
principal_has_room(const struct principal_table *t, const struct principal *p,
                   const struct kd_limits *limits, size_t size)
{
    return p->n_uploads < limits->max_principal_uploads &&
           has_room(limits->upload_pool, t->uploads, size);
}

kd_err
principal_take_object(struct principal_table *t, struct principal *p,
                      const struct kd_limits *limits, size_t size)
{
    if (!principal_has_room(t, p, limits, size))
        return KD_BUSY;
    p->n_uploads++;
    t->uploads += size;
    return KD_OK;
}

void
principal_give_object(struct principal_table *t, struct principal *p, size_t size)
{
    assert(p->n_uploads > 0 && t->uploads >= size);
    p->n_uploads--;
    t->uploads -= size;
}

kd_err
principal_take(struct principal_table *t, struct principal *p,
               const struct kd_limits *limits, size_t frame, size_t upload)
{
    if (t->is_shared && p->n_requests >= PRINCIPAL_REQUESTS_MAX)
        return KD_BUSY;
    if (!has_room(limits->max_principal_frames, p->frames, frame))
        return KD_BUSY;
    if (upload != 0 && principal_take_object(t, p, limits, upload) != KD_OK)
        return KD_BUSY;
    p->n_requests++;
    p->frames += frame;
    return KD_OK;
}

void
principal_give(struct principal_table *t, struct principal *p, size_t frame,
               size_t upload)
{
    assert(p->n_requests > 0 && p->frames >= frame);
    p->n_requests--;
    p->frames -= frame;
    if (upload != 0)
        principal_give_object(t, p, upload);
}
