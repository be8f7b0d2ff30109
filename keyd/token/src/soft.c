/* The software token: keys in this process's secret memory. */
#include "soft_impl.h"

#include "tables.h"

#include <dime/secp.h>
#include <keyd/base/secret.h>
#include <sodium.h>
#include <stdlib.h>

static const struct kd_token_ops soft_ops;

struct kd_soft *
kd_soft_of(struct kd_token *t)
{
    return t->ops == &soft_ops ? (struct kd_soft *)t : NULL;
}

/* For calls through the table, which are to a token of ours. */
static struct kd_soft *
mine(struct kd_token *t)
{
    return (struct kd_soft *)t;
}

static const struct kd_soft *
soft(const struct kd_token *t)
{
    return (const struct kd_soft *)t;
}

kd_err
kd_soft_new(struct kd_soft **out)
{
    struct kd_soft *s = calloc(1, sizeof *s);
    kd_err err = KD_NOMEM;

    if (s == NULL)
        return KD_NOMEM;
    kd_buf_init(&s->policy, KD_STORE_POLICY_MAX);
    if ((s->master = kd_secret_new(sizeof *s->master)) == NULL)
        goto fail;
    if ((err = kd_token_init(&s->token, &soft_ops)) != KD_OK)
        goto fail;
    *out = s;
    return KD_OK;
fail:
    kd_secret_free(s->master, sizeof *s->master);
    free(s);
    return err;
}

static struct kd_token_caps
soft_caps(const struct kd_token *t)
{
    (void)t;
    return (struct kd_token_caps){
        .name = "soft",
        .flags = KD_TOKEN_GENERATES | KD_TOKEN_IMPORTS | KD_TOKEN_SETS_STATE,
        .algs = KD_ALG_BIT(KD_ALG_ED25519) | KD_ALG_BIT(KD_ALG_SECP256K1),
        .max_message = KD_SOFT_MESSAGE_MAX,
        .max_keys = KD_STORE_KEYS_MAX,
    };
}

static size_t
soft_n_keys(const struct kd_token *t)
{
    return soft(t)->n_keys;
}

static const struct kd_key_info *
soft_info(const struct kd_token *t, size_t at)
{
    return &soft(t)->keys[at]->info;
}

/* The secret of a key, or why it is not to be had. */
static kd_err
secret_of(const struct kd_token *t, size_t at, const struct soft_secret **out)
{
    *out = soft(t)->keys[at]->secret;
    if (*out != NULL)
        return KD_OK;
    if (soft(t)->master == NULL)
        return KD_SEALED;
    return soft(t)->keys[at]->held.holding == KD_SEALED_UNDER ? KD_UNAVAILABLE
                                                              : KD_DENIED;
}

/* Under a token that was away so far. */
static kd_err
soft_ready(const struct kd_token *t, size_t at)
{
    const struct soft_secret *x;

    return secret_of(t, at, &x);
}

static const struct kd_held *
soft_held(const struct kd_token *t, size_t at)
{
    return &soft(t)->keys[at]->held;
}

static bool
copies_equal(const struct soft_secret *x)
{
    return kd_secret_eq(x->copy[0], x->copy[1], SOFT_KEY_SIZE);
}

static kd_err
soft_sign(struct kd_token *t, size_t at, struct kd_slice message,
          struct kd_token_sig *out)
{
    const struct soft_secret *x;
    kd_err err;

    if ((err = secret_of(t, at, &x)) != KD_OK)
        return err;
    /* The seed is not what signs, but a token whose memory rots stops here. */
    if (!copies_equal(x) ||
        dime_ed25519_secret_sign(&x->ed, message, out->octets) != KD_OK)
        return kd_token_fault(t);
    out->n = DIME_SIG_SIZE;
    return KD_OK;
}

static kd_err
soft_begin(struct kd_token *t, size_t at, struct dime_ed25519_nonce *nonce)
{
    const struct soft_secret *x;
    kd_err err;

    if ((err = secret_of(t, at, &x)) != KD_OK)
        return err;
    if (!copies_equal(x) || dime_ed25519_nonce_init(nonce, &x->ed) != KD_OK)
        return kd_token_fault(t);
    return KD_OK;
}

static kd_err
soft_finish(struct kd_token *t, size_t at, struct dime_ed25519_signer *signer,
            uint8_t sig[DIME_SIG_SIZE])
{
    const struct soft_secret *x;
    kd_err err;

    if ((err = secret_of(t, at, &x)) != KD_OK)
        return err;
    if (!copies_equal(x) || dime_ed25519_signer_end(signer, &x->ed, sig) != KD_OK)
        return kd_token_fault(t);
    return KD_OK;
}

static kd_err
soft_ecdh(struct kd_token *t, size_t at, const uint8_t peer[DIME_SECP_KEY_SIZE],
          uint8_t z[KD_ECDH_SIZE])
{
    const struct soft_secret *x;
    kd_err err;

    if ((err = secret_of(t, at, &x)) != KD_OK)
        return err;
    /* Before, so that a wrong scalar is not used; after, so that one that went wrong
     * in between is not believed. */
    if (!copies_equal(x))
        return kd_token_fault(t);
    err = dime_secp_ecdh(x->copy[0], peer, z);
    if (!copies_equal(x))
        return kd_token_fault(t);
    return err;
}

/* Public key of a secret, expanding it into *x. */
static kd_err
expand(enum kd_key_alg alg, const uint8_t *secret, struct soft_secret *x,
       uint8_t public_key[DIME_SECP_KEY_SIZE], size_t *size)
{
    memcpy(x->copy[0], secret, SOFT_KEY_SIZE);
    memcpy(x->copy[1], secret, SOFT_KEY_SIZE);
    switch (alg) {
    case KD_ALG_ED25519:
        dime_ed25519_secret_init(&x->ed, x->copy[0]);
        dime_ed25519_public(x->copy[1], public_key);
        *size = DIME_ED25519_KEY_SIZE;
        return KD_OK;
    case KD_ALG_SECP256K1:
        *size = DIME_SECP_KEY_SIZE;
        return dime_secp_public(x->copy[0], public_key);
    case KD_ALG_RSA:
        break;
    }
    return KD_UNSUPPORTED;
}

static kd_err
try_signing(const struct soft_secret *x, const struct kd_key_info *key)
{
    uint8_t message[KD_PROBE_SIZE] = "keyd probe";
    uint8_t sig[DIME_SIG_SIZE];

    randombytes_buf(message + 10, sizeof message - 10);
    struct kd_slice m = kd_slice(message, sizeof message);
    if (dime_ed25519_secret_sign(&x->ed, m, sig) != KD_OK)
        return KD_FAILED;
    return dime_ed25519_verify(key->public_key, m, sig) == KD_OK ? KD_OK : KD_FAILED;
}

/* work: 96 octets of secret memory */
static kd_err
try_agreeing(const struct soft_secret *x, const struct kd_key_info *key, uint8_t *work)
{
    uint8_t point[DIME_SECP_KEY_SIZE];
    kd_err err;

    dime_secp_random(work);
    if ((err = dime_secp_public(work, point)) != KD_OK)
        return err;
    if (dime_secp_ecdh(work, key->public_key, work + 32) != KD_OK ||
        dime_secp_ecdh(x->copy[1], point, work + 64) != KD_OK)
        return KD_FAILED;
    return kd_secret_eq(work + 32, work + 64, 32) ? KD_OK : KD_FAILED;
}

static kd_err
try_pair(const struct soft_secret *x, const struct kd_key_info *key)
{
    if (key->alg == KD_ALG_ED25519)
        return try_signing(x, key);
    uint8_t *work = kd_secret_new(96);
    if (work == NULL)
        return KD_NOMEM;
    kd_err err = try_agreeing(x, key, work);
    kd_secret_free(work, 96);
    return err;
}

static struct kd_key_spec
spec_of(const struct kd_store_key *key)
{
    return (struct kd_key_spec){.role = key->role,
                                .alg = key->alg,
                                .permissions = key->permissions,
                                .domain = key->domain};
}

/* The entry of a key without a secret here: its public part only. */
static kd_err
public_part(const struct kd_store_key *key, struct soft_key *k)
{
    struct kd_key_spec spec = spec_of(key);

    return kd_key_info_set(&k->info, &spec, key->public_key);
}

kd_err
kd_soft_fill(struct soft_key *k, const struct kd_key_spec *spec, const uint8_t *secret,
             struct kd_slice public_key)
{
    uint8_t derived[DIME_SECP_KEY_SIZE];
    size_t size;
    kd_err err;

    if ((k->secret = kd_secret_new(sizeof *k->secret)) == NULL)
        return KD_NOMEM;
    if ((err = expand(spec->alg, secret, k->secret, derived, &size)) != KD_OK)
        return err;
    struct kd_slice d = kd_slice(derived, size);
    if (public_key.n != 0 && !kd_slice_eq(d, public_key))
        return KD_INVALID;
    if ((err = kd_key_info_set(&k->info, spec, d)) != KD_OK)
        return err;
    return try_pair(k->secret, &k->info);
}

void
kd_soft_key_free(struct soft_key *k)
{
    if (k == NULL)
        return;
    kd_secret_free(k->secret, sizeof *k->secret);
    free(k);
}

void
kd_soft_forget(struct kd_soft *s, size_t from)
{
    while (s->n_keys > from) {
        struct soft_key *k = s->keys[--s->n_keys];
        s->keys[s->n_keys] = NULL;
        if (k->made != NULL)
            kd_soft_take_back(k);
        else
            kd_soft_key_free(k);
    }
}

kd_err
kd_soft_append(struct kd_soft *s, struct soft_key *k)
{
    size_t at;

    if (kd_token_find(&s->token, &k->info.id, &at) == KD_OK) {
        kd_soft_key_free(k);
        return KD_CONFLICT;
    }
    if (s->n_keys == KD_STORE_KEYS_MAX) {
        kd_soft_key_free(k);
        return KD_BUSY;
    }
    s->keys[s->n_keys++] = k;
    return KD_OK;
}

kd_err
kd_soft_admit(struct kd_soft *s, const struct kd_store_key *key, const uint8_t *secret)
{
    struct kd_key_spec spec = spec_of(key);
    struct soft_key *k = calloc(1, sizeof *k);
    kd_err err;

    if (k == NULL)
        return KD_NOMEM;
    k->held = key->held;
    if (key->held.holding == KD_OWN && secret != NULL)
        err = kd_soft_fill(k, &spec, secret, key->public_key);
    else
        err = public_part(key, k);
    if (key->held.holding == KD_SEALED_UNDER && secret != NULL)
        memcpy(k->under, secret, key->held.n_places * sizeof k->under[0]);
    k->is_gone = key->state == KD_KEY_DESTROYED;
    if (err != KD_OK) {
        kd_soft_key_free(k);
        return err;
    }
    k->info.state = key->state;
    k->info.created_ms = key->created_ms;
    return kd_soft_append(s, k);
}

static kd_err
add(struct kd_soft *s, const struct kd_key_spec *spec, const uint8_t *secret,
    size_t *at)
{
    struct soft_key *k = calloc(1, sizeof *k);
    kd_err err;

    if (k == NULL)
        return KD_NOMEM;
    if ((err = kd_soft_fill(k, spec, secret, kd_slice(NULL, 0))) != KD_OK) {
        kd_soft_key_free(k);
        return err;
    }
    if ((err = kd_soft_append(s, k)) == KD_OK)
        *at = s->n_keys - 1;
    return err;
}

void
kd_soft_random(enum kd_key_alg alg, uint8_t *secret)
{
    if (alg == KD_ALG_SECP256K1)
        dime_secp_random(secret);
    else
        randombytes_buf(secret, SOFT_KEY_SIZE);
}

static kd_err
soft_generate(struct kd_token *t, const struct kd_key_spec *spec, size_t *at)
{
    struct kd_soft *s = mine(t);
    kd_err err;

    if (s->master == NULL)
        return KD_SEALED;
    uint8_t *secret = kd_secret_new(SOFT_KEY_SIZE);
    if (secret == NULL)
        return KD_NOMEM;
    kd_soft_random(spec->alg, secret);
    err = add(s, spec, secret, at);
    kd_secret_free(secret, SOFT_KEY_SIZE);
    return err;
}

static kd_err
soft_import(struct kd_token *t, const struct kd_key_spec *spec, struct kd_slice secret,
            size_t *at)
{
    struct kd_soft *s = mine(t);

    if (s->master == NULL)
        return KD_SEALED;
    if (secret.n != SOFT_KEY_SIZE)
        return KD_INVALID;
    return add(s, spec, secret.p, at);
}

static kd_err
soft_set_state(struct kd_token *t, size_t at, enum kd_key_state state)
{
    struct kd_soft *s = mine(t);
    struct soft_key *k = s->keys[at];

    if (s->master == NULL)
        return KD_SEALED;
    if (!kd_state_row(state)->has_secret) {
        k->is_gone = k->held.holding != KD_HELD;
        kd_secret_free(k->secret, sizeof *k->secret);
        k->secret = NULL;
        memset(k->under, 0, sizeof k->under);
    }
    k->info.state = state;
    if (k->held.holding == KD_HELD)
        kd_soft_tell(s);
    return KD_OK;
}

static void
soft_seal(struct kd_token *t)
{
    struct kd_soft *s = mine(t);

    for (size_t i = 0; i < s->n_keys; i++) {
        kd_secret_free(s->keys[i]->secret, sizeof *s->keys[i]->secret);
        s->keys[i]->secret = NULL;
    }
    kd_secret_free(s->master, sizeof *s->master);
    s->master = NULL;
    kd_soft_detach(s);
}

static void
soft_free(struct kd_token *t)
{
    struct kd_soft *s = mine(t);

    kd_soft_forget(s, 0);
    kd_buf_free(&s->policy);
    kd_token_clear(t);
    free(s);
}

static const struct kd_token_ops soft_ops = {
    .caps = soft_caps,
    .n_keys = soft_n_keys,
    .info = soft_info,
    .held = soft_held,
    .place = kd_soft_place,
    .sign = soft_sign,
    .begin = soft_begin,
    .finish = soft_finish,
    .ecdh = soft_ecdh,
    .ready = soft_ready,
    .generate = soft_generate,
    .import = soft_import,
    .make = kd_soft_make,
    .take = kd_soft_take,
    .drop = kd_soft_drop,
    .set_state = soft_set_state,
    .seal = soft_seal,
    .free = soft_free,
};
