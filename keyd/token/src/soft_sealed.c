/* Keys sealed under tokens (D-084): the secret is in the store and opens only with what
 * a token derives. The scheme stands in soft_store.h. */
#include "held.h"
#include "soft_impl.h"
#include "tables.h"

#include <dime/secp.h>
#include <keyd/base/secret.h>
#include <sodium.h>

enum { POINT = DIME_SECP_KEY_SIZE, AEAD_TAG = 16, AD_MAX = 64 + KD_KEY_DOMAIN_MAX };
_Static_assert(POINT + SOFT_KEY_SIZE + AEAD_TAG == SOFT_UNDER_SIZE, "as laid out");

static const char context[] = "keyd token seal v1";
static const uint8_t zero_nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];

/* Secret memory. */
struct seal_work {
    uint8_t ephemeral[SOFT_KEY_SIZE], z[KD_ECDH_SIZE], key[SOFT_KEY_SIZE];
    uint8_t seed[SOFT_KEY_SIZE];
    crypto_generichash_state h;
};

/* Each key is used for one sealing, so the nonce may be zero. */
static kd_err
make_key(struct seal_work *w, const uint8_t *instance, struct kd_slice seal_key,
         const uint8_t *ephemeral)
{
    int bad = crypto_generichash_init(&w->h, w->z, sizeof w->z, sizeof w->key);

    bad |=
        crypto_generichash_update(&w->h, (const uint8_t *)context, sizeof context - 1);
    bad |= crypto_generichash_update(&w->h, instance, KD_STORE_INSTANCE_SIZE);
    bad |= crypto_generichash_update(&w->h, seal_key.p, seal_key.n);
    bad |= crypto_generichash_update(&w->h, ephemeral, POINT);
    bad |= crypto_generichash_final(&w->h, w->key, sizeof w->key);
    return bad == 0 ? KD_OK : KD_FAILED;
}

static size_t
make_ad(const uint8_t *instance, const struct kd_key_info *key, uint8_t out[AD_MAX])
{
    size_t n = 0;

    memcpy(out, instance, KD_STORE_INSTANCE_SIZE);
    n += KD_STORE_INSTANCE_SIZE;
    out[n++] = (uint8_t)key->role;
    out[n++] = key->permissions;
    memcpy(out + n, key->domain, key->domain_size);
    n += key->domain_size;
    memcpy(out + n, key->id.octets, sizeof key->id.octets);
    return n + sizeof key->id.octets;
}

static kd_err
put_under(struct seal_work *w, const uint8_t *instance, const struct kd_key_info *key,
          const uint8_t *seed, struct kd_slice seal_key, uint8_t *out)
{
    uint8_t ad[AD_MAX];
    size_t n = make_ad(instance, key, ad);
    kd_err err;

    dime_secp_random(w->ephemeral);
    if ((err = dime_secp_public(w->ephemeral, out)) != KD_OK ||
        (err = dime_secp_ecdh(w->ephemeral, seal_key.p, w->z)) != KD_OK ||
        (err = make_key(w, instance, seal_key, out)) != KD_OK)
        return err;
    return crypto_aead_xchacha20poly1305_ietf_encrypt(out + POINT, NULL, seed,
                                                      SOFT_KEY_SIZE, ad, n, NULL,
                                                      zero_nonce, w->key) == 0
               ? KD_OK
               : KD_FAILED;
}

kd_err
kd_soft_put_under(const uint8_t *instance, const struct kd_key_info *key,
                  const uint8_t *seed, struct kd_slice seal_key, uint8_t *out)
{
    struct seal_work *w = kd_secret_new(sizeof *w);

    if (w == NULL)
        return KD_NOMEM;
    kd_err err = seal_key.n == POINT ? put_under(w, instance, key, seed, seal_key, out)
                                     : KD_INVALID;
    kd_secret_free(w, sizeof *w);
    return err;
}

kd_err
kd_soft_seal_key(struct kd_soft *s, size_t token, size_t *at)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        const struct soft_key *k = s->keys[i];
        if (k->info.role != KD_KEY_ROLE_SEAL || k->info.state != KD_KEY_ACTIVE ||
            k->held.places[0].token != token)
            continue;
        *at = i;
        return KD_OK;
    }
    return KD_NOT_FOUND;
}

/* --- opening --- */

/* What is copied to open a key without the lock. */
struct closed {
    struct kd_key_info info;
    struct kd_held held;
    uint8_t under[KD_PLACES_MAX][SOFT_UNDER_SIZE];
};

static bool
is_closed(const struct soft_key *k)
{
    return k->held.holding == KD_SEALED_UNDER && k->secret == NULL &&
           kd_state_row(k->info.state)->has_secret;
}

/* The first at *from or behind it, which is then the next one's; KD_NOT_FOUND. */
static kd_err
find_closed(struct kd_soft *s, size_t *from, struct closed *out)
{
    kd_err err = kd_token_lock_shared(&s->token);

    if (err != KD_OK)
        return err;
    err = s->master == NULL ? KD_SEALED : KD_NOT_FOUND;
    for (; err == KD_NOT_FOUND && *from < s->n_keys; (*from)++) {
        const struct soft_key *k = s->keys[*from];
        if (!is_closed(k))
            continue;
        out->info = k->info;
        out->held = k->held;
        memcpy(out->under, k->under, sizeof out->under);
        err = KD_OK;
    }
    kd_token_unlock(&s->token);
    return err;
}

static kd_err
open_at(struct kd_soft *s, const struct closed *c, unsigned place, struct seal_work *w)
{
    const uint8_t *under = c->under[place];
    struct kd_key_info seal;
    struct kd_key_id id;
    uint8_t ad[AD_MAX];
    size_t n = make_ad(s->instance, &c->info, ad);
    kd_err err;

    memcpy(id.octets, c->held.places[place].id, sizeof id.octets);
    if ((err = kd_token_get(&s->token, &id, &seal)) != KD_OK)
        return KD_UNAVAILABLE;
    if ((err = kd_held_unseal(&s->token, &id, under, w->z)) != KD_OK)
        return err;
    struct kd_slice key = kd_slice(seal.public_key, seal.public_size);
    if ((err = make_key(w, s->instance, key, under)) != KD_OK)
        return err;
    return crypto_aead_xchacha20poly1305_ietf_decrypt(
               w->seed, NULL, NULL, under + POINT, SOFT_KEY_SIZE + AEAD_TAG, ad, n,
               zero_nonce, w->key) == 0
               ? KD_OK
               : KD_FAILED;
}

/* It may have been retired, destroyed or opened since. */
static kd_err
install(struct kd_soft *s, const struct closed *c, const uint8_t *seed)
{
    struct kd_key_spec spec = {.role = c->info.role,
                               .alg = c->info.alg,
                               .permissions = c->info.permissions,
                               .domain = kd_slice(c->info.domain, c->info.domain_size)};
    struct soft_key fresh = {.secret = NULL};
    size_t at;
    kd_err err = kd_soft_fill(&fresh, &spec, seed,
                              kd_slice(c->info.public_key, c->info.public_size));

    if (err == KD_OK) {
        kd_token_lock(&s->token);
        if (s->master == NULL) {
            err = KD_SEALED;
        } else if (kd_token_find(&s->token, &c->info.id, &at) == KD_OK &&
                   is_closed(s->keys[at])) {
            s->keys[at]->secret = fresh.secret;
            fresh.secret = NULL;
        }
        kd_token_unlock(&s->token);
    }
    kd_secret_free(fresh.secret, sizeof *fresh.secret);
    return err == KD_INVALID ? KD_FAILED : err;
}

static kd_err
open_one(struct kd_soft *s, const struct closed *c)
{
    struct seal_work *w = kd_secret_new(sizeof *w);
    kd_err err = KD_UNAVAILABLE;

    if (w == NULL)
        return KD_NOMEM;
    for (unsigned i = 0; i < c->held.n_places && err != KD_OK && err != KD_SEALED; i++)
        err = open_at(s, c, i, w);
    if (err == KD_OK)
        err = install(s, c, w->seed);
    kd_secret_free(w, sizeof *w);
    return err;
}

kd_err
kd_soft_open_sealed(struct kd_token *t)
{
    struct kd_soft *s = kd_soft_of(t);
    struct closed c;
    kd_err first = KD_OK, err;
    size_t at = 0;

    if (s == NULL)
        return KD_UNSUPPORTED;
    while ((err = find_closed(s, &at, &c)) == KD_OK) {
        err = open_one(s, &c);
        first = first == KD_OK ? err : first;
    }
    return err == KD_NOT_FOUND ? first : err;
}
