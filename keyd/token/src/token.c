/* What is the same for every backend: finding keys, the rules about their use, and
 * that nothing unverified leaves. */
#include <dime/secp.h>
#include <keyd/token/backend.h>

#include "held.h"
#include "tables.h"

#include <assert.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <sodium.h>

enum { VERIFY_EVERY_MAX = 1000 };

/* Per thread, so that signing threads share no counter. */
static _Thread_local unsigned unverified;

kd_err
kd_token_init(struct kd_token *t, const struct kd_token_ops *ops)
{
    t->ops = ops;
    t->sealed = false;
    atomic_init(&t->verify_every, 1);
    atomic_init(&t->faults, 0);
    atomic_init(&t->holders, 1);
    return pthread_rwlock_init(&t->lock, NULL) == 0 ? KD_OK : KD_FAILED;
}

void
kd_token_clear(struct kd_token *t)
{
    int rc = pthread_rwlock_destroy(&t->lock);

    assert(rc == 0); /* nobody holds it: the owner releases after the last use */
    (void)rc;
}

kd_err
kd_token_fault(struct kd_token *t)
{
    atomic_fetch_add_explicit(&t->faults, 1, memory_order_relaxed);
    return KD_FAILED;
}

/* Too many readers is the only failure there is. */
kd_err
kd_token_lock_shared(struct kd_token *t)
{
    return pthread_rwlock_rdlock(&t->lock) == 0 ? KD_OK : KD_BUSY;
}

void
kd_token_lock(struct kd_token *t)
{
    int rc = pthread_rwlock_wrlock(&t->lock);

    assert(rc == 0); /* fails only for the thread that holds it */
    (void)rc;
}

void
kd_token_unlock(struct kd_token *t)
{
    kd_ignore(pthread_rwlock_unlock(&t->lock)); /* held by us */
}

struct kd_token_caps
kd_token_caps(const struct kd_token *t)
{
    return t->ops->caps(t);
}

void
kd_token_set_verify(struct kd_token *t, unsigned every)
{
    if (every == 0)
        every = 1;
    if (every > VERIFY_EVERY_MAX)
        every = VERIFY_EVERY_MAX;
    atomic_store_explicit(&t->verify_every, every, memory_order_relaxed);
}

uint64_t
kd_token_faults(const struct kd_token *t)
{
    return atomic_load_explicit(&t->faults, memory_order_relaxed);
}

kd_err
kd_token_find(const struct kd_token *t, const struct kd_key_id *id, size_t *at)
{
    size_t n = t->ops->n_keys(t);

    for (size_t i = 0; i < n; i++)
        if (memcmp(t->ops->info(t, i)->id.octets, id->octets, KD_TOKEN_ID_SIZE) == 0) {
            *at = i;
            return KD_OK;
        }
    return KD_NOT_FOUND;
}

kd_err
kd_key_info_set(struct kd_key_info *out, const struct kd_key_spec *spec,
                struct kd_slice public_key)
{
    const struct kd_alg_row *alg = kd_alg_row(spec->alg);

    if (alg == NULL || public_key.n < alg->public_min || public_key.n > alg->public_max)
        return KD_INVALID;
    if (spec->domain.n > KD_KEY_DOMAIN_MAX)
        return KD_INVALID;
    *out = (struct kd_key_info){
        .id = kd_key_id(spec->alg, public_key),
        .role = spec->role,
        .alg = spec->alg,
        .state = KD_KEY_PRE_ACTIVE,
        .permissions = spec->permissions,
        .created_ms = kd_clock_wall_ms(),
        .domain_size = spec->domain.n,
        .public_size = public_key.n,
    };
    if (spec->domain.n != 0)
        memcpy(out->domain, spec->domain.p, spec->domain.n);
    memcpy(out->public_key, public_key.p, public_key.n);
    return KD_OK;
}

size_t
kd_token_count(struct kd_token *t)
{
    if (kd_token_lock_shared(t) != KD_OK)
        return 0;
    size_t n = t->ops->n_keys(t);
    kd_token_unlock(t);
    return n;
}

kd_err
kd_token_at(struct kd_token *t, size_t at, struct kd_key_info *out)
{
    kd_err err = kd_token_lock_shared(t);

    if (err != KD_OK)
        return err;
    if (at < t->ops->n_keys(t))
        *out = *t->ops->info(t, at);
    else
        err = KD_NOT_FOUND;
    kd_token_unlock(t);
    return err;
}

kd_err
kd_token_get(struct kd_token *t, const struct kd_key_id *id, struct kd_key_info *out)
{
    size_t at;
    kd_err err = kd_token_lock_shared(t);

    if (err != KD_OK)
        return err;
    if ((err = kd_token_find(t, id, &at)) == KD_OK)
        *out = *t->ops->info(t, at);
    kd_token_unlock(t);
    return err;
}

bool
kd_token_verifies(const struct kd_token *t, const struct kd_token_caps *caps,
                  const struct kd_key_info *key, enum kd_sign_purpose purpose)
{
    unsigned every = atomic_load_explicit(&t->verify_every, memory_order_relaxed);

    if (every == 1 || key->role == KD_KEY_ROLE_POK || kd_purpose_row(purpose)->always ||
        (caps->flags & KD_TOKEN_VERIFY_ALL) != 0)
        return true;
    if (++unverified < every)
        return false;
    unverified = 0;
    return true;
}

static kd_err
sign_locked(struct kd_token *t, const struct kd_key_id *id,
            enum kd_sign_purpose purpose, struct kd_slice message,
            struct kd_token_sig *sig, bool *is_held)
{
    size_t at;
    kd_err err;
    struct kd_token_caps caps = t->ops->caps(t);

    if ((err = kd_token_find(t, id, &at)) != KD_OK)
        return err;
    if ((*is_held = kd_token_is_held(t, at)))
        return KD_OK;
    const struct kd_key_info *key = t->ops->info(t, at);
    if ((err = kd_key_allows(key, purpose)) != KD_OK)
        return err;
    if ((err = kd_purpose_fits(purpose, message)) != KD_OK)
        return err;
    if (message.n > caps.max_message)
        return KD_TOO_LARGE;
    if ((err = t->ops->sign(t, at, message, sig)) != KD_OK)
        return err;
    if (!kd_token_verifies(t, &caps, key, purpose))
        return sig->n == DIME_SIG_SIZE || key->alg != KD_ALG_ED25519
                   ? KD_OK
                   : kd_token_fault(t);
    err = kd_sig_verify(key, purpose, message, sig);
    return err == KD_INVALID ? kd_token_fault(t) : err;
}

kd_err
kd_token_sign(struct kd_token *t, const struct kd_key_id *id,
              enum kd_sign_purpose purpose, struct kd_slice message,
              struct kd_token_sig *out)
{
    struct kd_token_sig sig;
    bool is_held;
    kd_err err = kd_token_lock_shared(t);

    if (err != KD_OK)
        return err;
    sig.n = 0;
    err = sign_locked(t, id, purpose, message, &sig, &is_held);
    kd_token_unlock(t);
    if (err == KD_OK && is_held)
        return kd_held_sign(t, id, purpose, message, out);
    /* A wrong signature over a right message can give the key away: it stays here. */
    if (err == KD_OK)
        *out = sig;
    else
        kd_secret_wipe(&sig, sizeof sig);
    return err;
}

static kd_err
ecdh_locked(struct kd_token *t, const struct kd_key_id *id,
            const uint8_t peer[DIME_SECP_KEY_SIZE], uint8_t z[KD_ECDH_SIZE],
            bool *is_held)
{
    size_t at;
    kd_err err;

    if ((err = kd_token_find(t, id, &at)) != KD_OK)
        return err;
    if ((*is_held = kd_token_is_held(t, at)))
        return KD_OK;
    const struct kd_key_info *key = t->ops->info(t, at);
    if ((err = kd_key_agrees(key)) != KD_OK)
        return err;
    return t->ops->ecdh(t, at, peer, z);
}

kd_err
kd_token_ecdh(struct kd_token *t, const struct kd_key_id *id, struct kd_slice peer,
              uint8_t z[KD_ECDH_SIZE])
{
    bool is_held;
    kd_err err;

    if (!kd_secret_holds(z, KD_ECDH_SIZE))
        return KD_FAILED;
    if (!dime_secp_point_valid(peer))
        return KD_INVALID;
    if ((err = kd_token_lock_shared(t)) != KD_OK)
        return err;
    err = ecdh_locked(t, id, peer.p, z, &is_held);
    kd_token_unlock(t);
    if (err == KD_OK && is_held)
        return kd_held_ecdh(t, id, peer.p, z);
    if (err != KD_OK)
        kd_secret_wipe(z, KD_ECDH_SIZE); /* a backend may have left half a result */
    return err;
}

static kd_err
probe_sign(struct kd_token *t, const struct kd_key_id *id)
{
    struct kd_slice start = kd_purpose_row(KD_SIGN_PROBE)->start;
    uint8_t message[KD_PROBE_SIZE];
    struct kd_token_sig sig;

    memcpy(message, start.p, start.n);
    randombytes_buf(message + start.n, sizeof message - start.n);
    return kd_token_sign(t, id, KD_SIGN_PROBE, kd_slice(message, sizeof message), &sig);
}

/* A fresh pair of ours: both sides must come to the same. work: scalar, our result,
 * the token's result; secret memory. */
static kd_err
probe_agree_locked(struct kd_token *t, const struct kd_key_id *id, uint8_t work[96])
{
    uint8_t point[DIME_SECP_KEY_SIZE];
    size_t at;
    kd_err err;

    if ((err = kd_token_find(t, id, &at)) != KD_OK)
        return err;
    const struct kd_key_info *key = t->ops->info(t, at);
    if (!kd_state_row(key->state)->probed)
        return KD_DENIED;
    dime_secp_random(work);
    if ((err = dime_secp_public(work, point)) != KD_OK)
        return err;
    if (dime_secp_ecdh(work, key->public_key, work + 32) != KD_OK)
        return kd_token_fault(t);
    if ((err = t->ops->ecdh(t, at, point, work + 64)) != KD_OK)
        return err;
    return kd_secret_eq(work + 32, work + 64, 32) ? KD_OK : kd_token_fault(t);
}

static kd_err
probe_agree(struct kd_token *t, const struct kd_key_id *id)
{
    uint8_t *work = kd_secret_new(96);
    kd_err err;

    if (work == NULL)
        return KD_NOMEM;
    if ((err = kd_token_lock_shared(t)) == KD_OK) {
        err = probe_agree_locked(t, id, work);
        kd_token_unlock(t);
    }
    kd_secret_free(work, 96);
    return err;
}

kd_err
kd_token_probe(struct kd_token *t, const struct kd_key_id *id)
{
    struct kd_key_info key;
    struct kd_held held;
    kd_err err = kd_token_get(t, id, &key);

    if (err == KD_OK)
        err = kd_token_held(t, id, &held);
    if (err != KD_OK)
        return err;
    if (held.holding == KD_HELD)
        return kd_held_probe(t, id);
    return kd_alg_row(key.alg)->sig_size != 0 ? probe_sign(t, id) : probe_agree(t, id);
}

static kd_err
may_add(const struct kd_token *t, const struct kd_key_spec *spec, unsigned flag)
{
    struct kd_token_caps caps = t->ops->caps(t);
    kd_err err;

    if ((err = kd_key_spec_check(spec)) != KD_OK)
        return err;
    if (spec->tokens[0].n != 0 || spec->tokens[1].n != 0 || spec->is_sealed ||
        spec->role == KD_KEY_ROLE_SEAL)
        return KD_UNSUPPORTED;
    if ((caps.flags & flag) == 0 || (caps.algs & KD_ALG_BIT(spec->alg)) == 0)
        return KD_UNSUPPORTED;
    return t->ops->n_keys(t) < caps.max_keys ? KD_OK : KD_BUSY;
}

kd_err
kd_token_generate(struct kd_token *t, const struct kd_key_spec *spec,
                  struct kd_key_info *out)
{
    size_t at;
    kd_err err;

    kd_token_lock(t);
    if ((err = may_add(t, spec, KD_TOKEN_GENERATES)) == KD_OK &&
        (err = t->ops->generate(t, spec, &at)) == KD_OK)
        *out = *t->ops->info(t, at);
    kd_token_unlock(t);
    return err;
}

kd_err
kd_token_import(struct kd_token *t, const struct kd_key_spec *spec,
                struct kd_slice secret, struct kd_key_info *out)
{
    size_t at;
    kd_err err;

    kd_token_lock(t);
    if ((err = may_add(t, spec, KD_TOKEN_IMPORTS)) == KD_OK &&
        (err = t->ops->import(t, spec, secret, &at)) == KD_OK)
        *out = *t->ops->info(t, at);
    kd_token_unlock(t);
    return err;
}

kd_err
kd_token_make(struct kd_token *t, const struct kd_key_spec *spec,
              struct kd_slice secret, struct kd_made **out)
{
    kd_err err = kd_key_spec_check(spec);

    if (err != KD_OK)
        return err;
    return t->ops->make == NULL ? KD_UNSUPPORTED : t->ops->make(t, spec, secret, out);
}

kd_err
kd_token_take(struct kd_token *t, struct kd_made *made, struct kd_key_info *out)
{
    size_t at;
    kd_err err = KD_INVALID;

    kd_token_lock(t);
    if (made->token == t && (err = t->ops->take(t, made, &at)) == KD_OK)
        *out = *t->ops->info(t, at);
    kd_token_unlock(t);
    return err;
}

void
kd_token_drop(struct kd_made *made)
{
    if (made != NULL)
        made->token->ops->drop(made);
}

static kd_err
set_state_locked(struct kd_token *t, const struct kd_key_id *id,
                 enum kd_key_state state)
{
    size_t at;
    kd_err err;

    if ((t->ops->caps(t).flags & KD_TOKEN_SETS_STATE) == 0)
        return KD_UNSUPPORTED;
    if ((err = kd_token_find(t, id, &at)) != KD_OK)
        return err;
    if (kd_state_row(state) == NULL)
        return KD_INVALID;
    unsigned next = kd_state_row(t->ops->info(t, at)->state)->next;
    if ((next & KD_STATE_BIT(state)) == 0)
        return KD_DENIED;
    return t->ops->set_state(t, at, state);
}

kd_err
kd_token_set_state(struct kd_token *t, const struct kd_key_id *id,
                   enum kd_key_state state)
{
    kd_err err;

    kd_token_lock(t);
    err = set_state_locked(t, id, state);
    kd_token_unlock(t);
    return err;
}

void
kd_token_seal(struct kd_token *t)
{
    kd_token_lock(t);
    t->sealed = true;
    t->ops->seal(t);
    kd_token_unlock(t);
}

void
kd_token_free(struct kd_token *t)
{
    if (t == NULL)
        return;
    kd_token_seal(t);
    kd_token_release(t);
}

void
kd_token_hold(struct kd_token *t)
{
    atomic_fetch_add_explicit(&t->holders, 1, memory_order_relaxed);
}

void
kd_token_release(struct kd_token *t)
{
    /* What the others did with it is over before it goes. */
    if (atomic_fetch_sub_explicit(&t->holders, 1, memory_order_acq_rel) == 1)
        t->ops->free(t);
}
