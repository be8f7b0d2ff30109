/* Keys that are made apart: here, in one token, in two, or here and sealed under keys
 * of tokens. What is made in a token and then not stored is removed from it again. */
#include "held.h"
#include "soft_impl.h"
#include "tables.h"

#include <keyd/base/secret.h>
#include <sodium.h>
#include <stdlib.h>

enum { MADE_MAX = KD_PLACES_MAX + 1 }; /* a seal key for each token, and the key */

struct soft_made {
    struct kd_made made; /* first */
    size_t n;
    /* The last one is the key that was asked for. NULL: listed, and stored perhaps. */
    struct soft_key *keys[MADE_MAX];
};

/* Where it is to be: places in the table, and devices, which stay as long as the token
 * is not sealed. */
struct target {
    size_t n;
    size_t tokens[KD_PLACES_MAX];
    struct kd_device *devices[KD_PLACES_MAX];
};

static kd_err
aim_at(struct kd_soft *s, struct kd_slice name, struct target *out)
{
    size_t at;

    if (kd_soft_token_find(s, name, &at) != KD_OK)
        return KD_NOT_FOUND;
    struct soft_device *d = kd_soft_device(s, at);
    if (d == NULL)
        return KD_UNAVAILABLE;
    for (size_t i = 0; i < out->n; i++)
        if (out->tokens[i] == at)
            return KD_INVALID;
    out->tokens[out->n] = at;
    out->devices[out->n++] = d->device;
    return KD_OK;
}

static kd_err
aim(struct kd_soft *s, const struct kd_key_spec *spec, struct target *out)
{
    kd_err err;

    *out = (struct target){.n = 0};
    if ((err = kd_token_lock_shared(&s->token)) != KD_OK)
        return err;
    err = kd_soft_usable(s);
    for (size_t i = 0; i < KD_PLACES_MAX && err == KD_OK; i++)
        if (spec->tokens[i].n != 0)
            err = aim_at(s, spec->tokens[i], out);
    kd_token_unlock(&s->token);
    return err;
}

/* --- pieces --- */

static kd_err
check_listed(struct kd_soft *s, const struct kd_key_id *id)
{
    size_t at;
    kd_err err = kd_token_lock_shared(&s->token);

    if (err != KD_OK)
        return err;
    err = kd_token_find(&s->token, id, &at) == KD_OK ? KD_CONFLICT : KD_OK;
    kd_token_unlock(&s->token);
    return err;
}

static struct soft_key *
new_key(struct soft_made *m)
{
    struct soft_key *k = calloc(1, sizeof *k);

    if (k != NULL)
        m->keys[m->n++] = k;
    return k;
}

/* In one device more; what came before must be the same key. */
static kd_err
make_in(const struct target *where, size_t i, const struct kd_key_spec *spec,
        struct kd_slice secret, struct soft_key *k)
{
    struct kd_device *d = where->devices[i];
    struct kd_place *place = &k->held.places[k->held.n_places];
    struct kd_key_info info;
    uint8_t key[KD_KEY_PUBLIC_MAX], flags = 0;
    size_t n = 0;
    kd_err err = d->ops->make(d, spec, secret, place, &flags, key, &n);

    if (err != KD_OK)
        return err;
    place->token = (uint8_t)where->tokens[i];
    if ((err = kd_key_info_set(&info, spec, kd_slice(key, n))) == KD_OK &&
        k->held.n_places != 0 &&
        memcmp(info.id.octets, k->info.id.octets, sizeof info.id.octets) != 0)
        err = KD_FAILED;
    if (err != KD_OK) { /* not ours in any sense: it goes by what the device said */
        kd_ignore(d->ops->unmake(d, place, kd_slice(key, n)));
        return err;
    }
    k->info = info;
    k->held.holding = KD_HELD;
    k->held.flags = k->held.n_places == 0 ? flags : k->held.flags & flags;
    k->held.n_places++;
    return KD_OK;
}

static kd_err
make_held(struct kd_soft *s, const struct target *where, const struct kd_key_spec *spec,
          struct kd_slice secret, struct soft_made *m)
{
    struct soft_key *k = new_key(m);
    kd_err err = k == NULL ? KD_NOMEM : KD_OK;

    if (err == KD_OK && secret.n != 0) { /* before a token has it */
        struct soft_key tried = {.secret = NULL};
        err = secret.n != SOFT_KEY_SIZE
                  ? KD_INVALID
                  : kd_soft_fill(&tried, spec, secret.p, kd_slice(NULL, 0));
        if (err == KD_OK)
            err = check_listed(s, &tried.info.id);
        kd_secret_free(tried.secret, sizeof *tried.secret);
    }
    for (size_t i = 0; i < where->n && err == KD_OK; i++)
        err = make_in(where, i, spec, secret, k);
    return err;
}

static kd_err
make_own(const struct kd_key_spec *spec, const uint8_t *secret, struct soft_made *m)
{
    struct soft_key *k = new_key(m);

    return k == NULL ? KD_NOMEM : kd_soft_fill(k, spec, secret, kd_slice(NULL, 0));
}

/* The key of that token that seals: the one there is, or a new one. */
static kd_err
seal_key_of(struct kd_soft *s, const struct target *where, size_t i,
            struct soft_made *m, struct kd_key_info *out)
{
    const struct kd_key_spec spec = {.role = KD_KEY_ROLE_SEAL, .alg = KD_ALG_SECP256K1};
    struct target there = {1, {where->tokens[i]}, {where->devices[i]}};
    size_t at;
    kd_err err = kd_token_lock_shared(&s->token);

    if (err != KD_OK)
        return err;
    if ((err = kd_soft_seal_key(s, where->tokens[i], &at)) == KD_OK)
        *out = s->keys[at]->info;
    kd_token_unlock(&s->token);
    if (err == KD_OK)
        return KD_OK;
    err = make_held(s, &there, &spec, kd_slice(NULL, 0), m);
    if (err != KD_OK)
        return err;
    m->keys[m->n - 1]->info.state = KD_KEY_ACTIVE; /* it serves from its making */
    *out = m->keys[m->n - 1]->info;
    return KD_OK;
}

static kd_err
make_sealed(struct kd_soft *s, const struct target *where,
            const struct kd_key_spec *spec, const uint8_t *secret, struct soft_made *m)
{
    struct kd_key_info seals[KD_PLACES_MAX];
    kd_err err = KD_OK;

    for (size_t i = 0; i < where->n && err == KD_OK; i++)
        err = seal_key_of(s, where, i, m, &seals[i]);
    if (err == KD_OK)
        err = make_own(spec, secret, m);
    if (err != KD_OK)
        return err;
    struct soft_key *k = m->keys[m->n - 1];
    k->held.holding = KD_SEALED_UNDER;
    for (size_t i = 0; i < where->n && err == KD_OK; i++) {
        struct kd_place *p = &k->held.places[k->held.n_places++];
        p->token = (uint8_t)where->tokens[i];
        p->id_size = KD_TOKEN_ID_SIZE;
        memcpy(p->id, seals[i].id.octets, KD_TOKEN_ID_SIZE);
        err = kd_soft_put_under(s->instance, &k->info, secret,
                                kd_slice(seals[i].public_key, seals[i].public_size),
                                k->under[i]);
    }
    return err;
}

/* --- the three steps --- */

static kd_err
check(const struct kd_key_spec *spec, struct kd_slice secret,
      const struct target *where)
{
    bool is_soft = kd_alg_row(spec->alg)->soft;

    if (spec->role == KD_KEY_ROLE_SEAL)
        return KD_UNSUPPORTED;
    if (spec->is_sealed)
        return where->n != 0 && spec->alg == KD_ALG_ED25519 ? KD_OK : KD_INVALID;
    if (where->n == 0)
        return is_soft ? KD_OK : KD_UNSUPPORTED;
    if (secret.n != 0)
        return is_soft ? KD_OK : KD_UNSUPPORTED;
    return where->n == 1 ? KD_OK : KD_UNSUPPORTED; /* no secret comes out for another */
}

static kd_err
make(struct kd_soft *s, const struct target *where, const struct kd_key_spec *spec,
     struct kd_slice secret, struct soft_made *m)
{
    if (where->n != 0 && !spec->is_sealed)
        return make_held(s, where, spec, secret, m);
    if (secret.n != 0 && secret.n != SOFT_KEY_SIZE)
        return KD_INVALID;
    uint8_t *own = kd_secret_new(SOFT_KEY_SIZE);
    if (own == NULL)
        return KD_NOMEM;
    if (secret.n != 0)
        memcpy(own, secret.p, SOFT_KEY_SIZE);
    else
        kd_soft_random(spec->alg, own);
    kd_err err =
        where->n == 0 ? make_own(spec, own, m) : make_sealed(s, where, spec, own, m);
    kd_secret_free(own, SOFT_KEY_SIZE);
    return err;
}

kd_err
kd_soft_make(struct kd_token *t, const struct kd_key_spec *spec, struct kd_slice secret,
             struct kd_made **out)
{
    struct kd_soft *s = kd_soft_of(t);
    struct target where;
    kd_err err;

    if ((err = aim(s, spec, &where)) != KD_OK ||
        (err = check(spec, secret, &where)) != KD_OK)
        return err;
    struct soft_made *m = calloc(1, sizeof *m);
    if (m == NULL)
        return KD_NOMEM;
    m->made.token = t;
    kd_token_hold(t);
    err = make(s, &where, spec, secret, m);
    if (err == KD_OK)
        *out = &m->made;
    else
        kd_soft_drop(&m->made);
    return err;
}

kd_err
kd_soft_take(struct kd_token *t, struct kd_made *made, size_t *at)
{
    struct kd_soft *s = kd_soft_of(t);
    struct soft_made *m = (struct soft_made *)made;
    kd_err err = kd_soft_usable(s);
    size_t id;

    for (size_t i = 0; i < m->n && err == KD_OK; i++) {
        if (m->keys[i] == NULL) /* taken before */
            err = KD_INVALID;
        else if (kd_token_find(t, &m->keys[i]->info.id, &id) == KD_OK)
            err = KD_CONFLICT;
    }
    if (err == KD_OK && s->n_keys + m->n > KD_STORE_KEYS_MAX)
        err = KD_BUSY;
    if (err != KD_OK)
        return err;
    for (size_t i = 0; i < m->n; i++) {
        m->keys[i]->made = m;
        s->keys[s->n_keys++] = m->keys[i];
        m->keys[i] = NULL;
    }
    *at = s->n_keys - 1;
    kd_soft_tell(s);
    return KD_OK;
}

/* The lock is held. */
void
kd_soft_take_back(struct soft_key *k)
{
    struct soft_made *m = k->made;

    k->made = NULL;
    for (size_t i = m->n; i-- > 0;)
        if (m->keys[i] == NULL) { /* from the last one on, as they are forgotten */
            m->keys[i] = k;
            return;
        }
}

/* In every token that has it; whichever of them is away keeps an orphan. */
static void
unmake(struct kd_soft *s, const struct soft_key *k)
{
    for (unsigned i = 0; k->held.holding == KD_HELD && i < k->held.n_places; i++) {
        struct kd_device *d = NULL;
        if (kd_token_lock_shared(&s->token) != KD_OK)
            return;
        struct soft_device *at = kd_soft_device(s, k->held.places[i].token);
        if (at != NULL)
            d = at->device;
        kd_token_unlock(&s->token);
        if (d != NULL)
            kd_ignore(
                d->ops->unmake(d, &k->held.places[i],
                               kd_slice(k->info.public_key, k->info.public_size)));
    }
}

void
kd_soft_drop(struct kd_made *made)
{
    struct soft_made *m = (struct soft_made *)made;
    struct kd_token *t = made->token;
    struct kd_soft *s = kd_soft_of(t);

    kd_token_lock(t);
    for (size_t i = 0; i < s->n_keys; i++)
        if (s->keys[i]->made == m)
            s->keys[i]->made = NULL; /* it is the store's for good */
    kd_token_unlock(t);
    for (size_t i = 0; i < m->n; i++)
        if (m->keys[i] != NULL) {
            unmake(s, m->keys[i]);
            kd_soft_key_free(m->keys[i]);
        }
    free(m);
    kd_token_release(t);
}
