#include "approvals.h"
#include "task.h"
#include "vault.h"

#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <sodium.h>

enum { KEY_SIZE = 32, OBJECT_MAX = 8192 };

kd_err
approvals_init(struct approvals *a)
{
    if ((a->key = kd_secret_new(KEY_SIZE)) == NULL)
        return KD_NOMEM;
    randombytes_buf(a->key, KEY_SIZE);
    return KD_OK;
}

void
approvals_clear(struct approvals *a)
{
    kd_pendings_void(&a->pendings);
    kd_secret_free(a->key, KEY_SIZE);
    *a = (struct approvals){0};
}

bool
approvals_single_operator(const struct vault *v, const struct vault_conf *conf)
{
    return conf->is.single_operator && v->token != NULL &&
           v->approvals.state == APPROVALS_NONE;
}

struct kd_moment
approvals_now(void)
{
    return (struct kd_moment){kd_clock_boot_ms(), kd_clock_wall_ms()};
}

/* The operators of the open store. */
static enum approvals_state
read_area(struct vault *v, struct kd_quorum *q)
{
    struct kd_buf area;

    *q = (struct kd_quorum){0};
    if (v->token == NULL)
        return APPROVALS_NONE;
    kd_buf_init(&area, KD_STORE_POLICY_MAX);
    kd_err err = kd_soft_policy(v->token, &area);
    if (err == KD_OK)
        err = kd_quorum_decode(kd_buf_slice(&area), q);
    kd_buf_free(&area);
    if (err != KD_OK) {
        vault_event(v, EVENT_QUORUM_BAD, err, v->store_recorded);
        return APPROVALS_BAD;
    }
    return q->n == 0 ? APPROVALS_NONE : APPROVALS_SET;
}

void
approvals_refresh(struct vault *v)
{
    struct approvals *a = &v->approvals;
    struct kd_quorum q;
    uint8_t digest[KD_QUORUM_DIGEST_SIZE];
    enum approvals_state state = read_area(v, &q);

    kd_quorum_digest(&q, digest);
    if (v->token != NULL && state == a->state &&
        memcmp(digest, a->digest, sizeof digest) == 0)
        return;
    a->version++;
    a->state = state;
    a->quorum = q;
    memcpy(a->digest, digest, sizeof a->digest);
    kd_pendings_void(&a->pendings);
}

void
approvals_expire(struct vault *v)
{
    kd_pendings_expire(&v->approvals.pendings, approvals_now());
}

/* In secret memory, and gone when the commitment is made. */
struct committing {
    crypto_generichash_state hash;
    uint8_t octets[OBJECT_MAX];
};

kd_err
approvals_commitment(struct vault *v, struct task *t, uint8_t out[32])
{
    size_t size;

    if (t->fd < 0 || kd_memfd_check(t->fd, OBJECT_MAX, &size) != KD_OK || size == 0)
        return KD_INVALID;
    struct committing *c = kd_secret_new(sizeof *c);
    if (c == NULL)
        return KD_NOMEM;
    kd_err err = kd_memfd_read(t->fd, 0, c->octets, size);
    if (err == KD_OK) { /* none of these can fail: all sizes are the library's own */
        crypto_generichash_init(&c->hash, v->approvals.key, KEY_SIZE, 32);
        crypto_generichash_update(&c->hash, t->request, sizeof t->request);
        crypto_generichash_update(&c->hash, c->octets, size);
        crypto_generichash_final(&c->hash, out, 32);
    }
    kd_secret_free(c, sizeof *c);
    return err;
}
