#include <keyd/quorum/pending.h>

#include <dime/ed25519.h>

#include <sodium.h>

static struct kd_slice
requester_of(const struct kd_pending *p)
{
    return kd_slice(p->requester, p->requester_size);
}

kd_err
kd_pending_match(struct kd_pendings *t, const struct kd_pending_request *r,
                 struct kd_pending **out)
{
    for (size_t i = 0; i < KD_PENDING_MAX; i++) {
        struct kd_pending *p = &t->at[i];
        if (!p->used || memcmp(p->key, r->key, sizeof p->key) != 0)
            continue;
        if (p->op != r->op || memcmp(p->request, r->request, sizeof p->request) != 0 ||
            memcmp(p->commitment, r->commitment, sizeof p->commitment) != 0 ||
            !kd_slice_eq(requester_of(p), r->requester))
            return KD_INVALID;
        *out = p;
        return KD_OK;
    }
    return KD_NOT_FOUND;
}

kd_err
kd_pending_room(const struct kd_pendings *t, struct kd_slice requester)
{
    unsigned n = 0, own = 0;

    for (size_t i = 0; i < KD_PENDING_MAX; i++) {
        const struct kd_pending *p = &t->at[i];
        n += p->used;
        own += p->used && kd_slice_eq(requester_of(p), requester);
    }
    return n < KD_PENDING_MAX && own < KD_PENDING_OF_ONE_MAX ? KD_OK : KD_BUSY;
}

kd_err
kd_pending_add(struct kd_pendings *t, const struct kd_pending_request *r,
               const uint8_t id[KD_APPROVAL_ID_SIZE], struct kd_moment now,
               struct kd_moment not_after, unsigned k, struct kd_buf *text,
               struct kd_pending **out)
{
    size_t i = 0;
    kd_err err;

    if ((err = kd_pending_room(t, r->requester)) != KD_OK)
        return err;
    if (r->requester.n > KD_OPERATOR_NAME_MAX || text->err != KD_OK || text->n == 0)
        return KD_INVALID;
    while (t->at[i].used)
        i++;
    struct kd_pending *p = &t->at[i];
    *p = (struct kd_pending){.used = true,
                             .op = r->op,
                             .requester_size = r->requester.n,
                             .made = now,
                             .not_after = not_after,
                             .k = k,
                             .text = *text};
    memcpy(p->id, id, sizeof p->id);
    memcpy(p->key, r->key, sizeof p->key);
    memcpy(p->request, r->request, sizeof p->request);
    memcpy(p->commitment, r->commitment, sizeof p->commitment);
    memcpy(p->requester, r->requester.p, r->requester.n);
    kd_approval_digest(kd_buf_slice(&p->text), p->digest);
    kd_buf_init(text, text->max);
    *out = p;
    return KD_OK;
}

struct kd_pending *
kd_pending_find(struct kd_pendings *t, const uint8_t id[KD_APPROVAL_ID_SIZE])
{
    for (size_t i = 0; i < KD_PENDING_MAX; i++)
        if (t->at[i].used && memcmp(t->at[i].id, id, KD_APPROVAL_ID_SIZE) == 0)
            return &t->at[i];
    return NULL;
}

kd_err
kd_pending_judge(const struct kd_pending *p, const struct kd_quorum *q,
                 struct kd_slice name, const uint8_t signature[KD_APPROVAL_SIG_SIZE],
                 size_t *at)
{
    size_t i;

    if (kd_operator_find(q, name, &i) != KD_OK)
        return KD_NOT_FOUND;
    if (kd_slice_eq(requester_of(p), name))
        return KD_DENIED;
    if ((p->given >> i & 1) != 0)
        return KD_CONFLICT;
    if (dime_ed25519_verify(q->operators[i].key, kd_buf_slice(&p->text), signature) !=
        KD_OK)
        return KD_INVALID;
    if (p->running || (p->taking >> i & 1) != 0)
        return KD_BUSY;
    *at = i;
    return KD_OK;
}

unsigned
kd_pending_given(const struct kd_pending *p)
{
    unsigned n = 0;

    for (uint32_t set = p->given; set != 0; set &= set - 1)
        n++;
    return n;
}

unsigned
kd_pending_missing(const struct kd_pending *p)
{
    unsigned given = kd_pending_given(p);

    return given >= p->k ? 0 : p->k - given;
}

void
kd_pending_drop(struct kd_pending *p)
{
    if (p->text.p != NULL)
        sodium_memzero(p->text.p, p->text.cap);
    kd_buf_free(&p->text);
    sodium_memzero(p, sizeof *p);
}

void
kd_pendings_expire(struct kd_pendings *t, struct kd_moment now)
{
    for (size_t i = 0; i < KD_PENDING_MAX; i++) {
        struct kd_pending *p = &t->at[i];
        if (p->used && !p->running &&
            (now.boot_ms >= p->not_after.boot_ms ||
             now.wall_ms >= p->not_after.wall_ms))
            kd_pending_drop(p);
    }
}

void
kd_pendings_void(struct kd_pendings *t)
{
    for (size_t i = 0; i < KD_PENDING_MAX; i++)
        if (t->at[i].used && !t->at[i].running)
            kd_pending_drop(&t->at[i]);
}

size_t
kd_pendings_count(const struct kd_pendings *t)
{
    size_t n = 0;

    for (size_t i = 0; i < KD_PENDING_MAX; i++)
        n += t->at[i].used;
    return n;
}
