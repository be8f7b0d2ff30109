/* From octets to a token and back: create, open, serialise; slots and policy area. */
#include "soft_impl.h"

#include <keyd/base/secret.h>
#include <sodium.h>
#include <stdlib.h>

kd_err
kd_soft_usable(struct kd_soft *s)
{
    if (s->master == NULL)
        return KD_SEALED;
    if (!kd_secret_eq(s->master->copy[0], s->master->copy[1], SOFT_KEY_SIZE))
        return kd_token_fault(&s->token);
    return KD_OK;
}

kd_err
kd_soft_create(const struct kd_slot_secret *first, struct kd_token **out)
{
    struct kd_soft *s;
    kd_err err;

    if ((err = kd_soft_new(&s)) != KD_OK)
        return err;
    randombytes_buf(s->instance, sizeof s->instance);
    randombytes_buf(s->master->copy[0], SOFT_KEY_SIZE);
    memcpy(s->master->copy[1], s->master->copy[0], SOFT_KEY_SIZE);
    err = kd_slot_wrap(&s->slots[0], s->instance, first, s->master->copy[0]);
    if (err != KD_OK) {
        kd_token_free(&s->token);
        return err;
    }
    s->n_slots = 1;
    *out = &s->token;
    return KD_OK;
}

struct opening {
    struct kd_soft *soft;
    const struct kd_store *store;
};

static kd_err
admit(void *arg, size_t at, const uint8_t *secret)
{
    struct opening *o = arg;

    return kd_soft_admit(o->soft, &o->store->keys[at], secret);
}

static kd_err
open_store(struct kd_soft *s, const struct kd_store *store,
           const struct kd_slot_secret *secret)
{
    struct opening o = {s, store};
    kd_err err;

    if ((err = kd_slots_unwrap(store, secret, s->master->copy[0])) != KD_OK)
        return err;
    memcpy(s->master->copy[1], s->master->copy[0], SOFT_KEY_SIZE);
    if ((err = kd_store_unseal(store, s->master->copy[0], admit, &o)) != KD_OK)
        return err;
    memcpy(s->instance, store->instance, sizeof s->instance);
    memcpy(s->slots, store->slots, sizeof s->slots);
    s->n_slots = store->n_slots;
    memcpy(s->tokens, store->tokens, sizeof s->tokens);
    s->n_tokens = store->n_tokens;
    s->generation = store->generation;
    kd_buf_put(&s->policy, store->policy);
    return s->policy.err;
}

kd_err
kd_soft_open(struct kd_slice octets, const struct kd_slot_secret *secret,
             struct kd_token **out)
{
    struct kd_soft *s = NULL;
    struct kd_store *store = malloc(sizeof *store);
    kd_err err = KD_NOMEM;

    if (store == NULL)
        return KD_NOMEM;
    if ((err = kd_store_parse(octets, store)) != KD_OK)
        goto out;
    if ((err = kd_soft_new(&s)) != KD_OK)
        goto out;
    if ((err = open_store(s, store, secret)) != KD_OK)
        goto out;
    *out = &s->token;
    s = NULL;
out:
    free(store);
    if (s != NULL)
        kd_token_free(&s->token);
    return err;
}

/* What is known of PINs was known to the store before. */
static void
inherit_tokens(struct kd_soft *s, const struct kd_store *before)
{
    s->n_tokens = before->n_tokens;
    for (size_t i = 0; i < s->n_tokens; i++) {
        s->tokens[i] = before->tokens[i];
        memset(s->tokens[i].good, 0, sizeof s->tokens[i].good);
        memset(s->tokens[i].tried, 0, sizeof s->tokens[i].tried);
    }
}

static kd_err
inherit(struct kd_soft *s, const struct kd_store *before)
{
    kd_err err = kd_soft_usable(s);

    if (err != KD_OK)
        return err;
    if (s->n_keys != 0 || s->generation != 0 || s->n_tokens != 0)
        return KD_INVALID;
    inherit_tokens(s, before);
    for (size_t i = 0; i < before->n_keys && err == KD_OK; i++) {
        struct kd_store_key key = before->keys[i];
        if (key.state == KD_KEY_REVOKED)
            continue;
        key.state = KD_KEY_DESTROYED;
        err = kd_soft_admit(s, &key, NULL);
    }
    if (err == KD_OK) {
        s->generation = before->generation;
    } else {
        kd_soft_forget(s, 0);
        s->n_tokens = 0;
    }
    return err;
}

kd_err
kd_soft_inherit(struct kd_token *t, struct kd_slice octets)
{
    struct kd_soft *s = kd_soft_of(t);
    struct kd_store *before = malloc(sizeof *before);
    kd_err err = s == NULL ? KD_UNSUPPORTED : KD_OK;

    if (before == NULL)
        return KD_NOMEM;
    if (err == KD_OK)
        err = kd_store_parse(octets, before);
    if (err == KD_OK) {
        kd_token_lock(t);
        err = inherit(s, before);
        kd_token_unlock(t);
    }
    free(before);
    return err;
}

/* The header of the token as it is, borrowing from it; and the secrets beside it. */
static kd_err
describe(struct kd_soft *s, struct kd_store *store, const uint8_t **secrets)
{
    *store = (struct kd_store){.generation = s->generation + 1,
                               .n_slots = s->n_slots,
                               .policy = kd_buf_slice(&s->policy),
                               .n_tokens = s->n_tokens,
                               .n_keys = s->n_keys};
    memcpy(store->tokens, s->tokens, sizeof store->tokens);
    memcpy(store->instance, s->instance, sizeof store->instance);
    memcpy(store->slots, s->slots, sizeof store->slots);
    for (size_t i = 0; i < s->n_keys; i++) {
        const struct kd_key_info *key = &s->keys[i]->info;
        const struct soft_secret *x = s->keys[i]->secret;
        store->keys[i] = (struct kd_store_key){
            .role = key->role,
            .alg = key->alg,
            .state = key->state,
            .permissions = key->permissions,
            .created_ms = key->created_ms,
            .domain = kd_slice(key->domain, key->domain_size),
            .public_key = kd_slice(key->public_key, key->public_size),
            .held = s->keys[i]->held,
        };
        if (x != NULL && !kd_secret_eq(x->copy[0], x->copy[1], SOFT_KEY_SIZE))
            return kd_token_fault(&s->token);
        secrets[i] = s->keys[i]->held.holding == KD_SEALED_UNDER ? s->keys[i]->under[0]
                     : x == NULL                                 ? NULL
                                                                 : x->copy[0];
    }
    return KD_OK;
}

static kd_err
compare(void *arg, size_t at, const uint8_t *secret)
{
    struct kd_soft *s = arg;
    const struct soft_key *k = s->keys[at];
    const struct soft_secret *x = k->secret;

    if (k->held.holding == KD_SEALED_UNDER) /* what is open beside it is no matter */
        return secret == NULL ? k->info.state == KD_KEY_DESTROYED ? KD_OK : KD_FAILED
               : memcmp(secret, k->under, k->held.n_places * sizeof k->under[0]) == 0
                   ? KD_OK
                   : KD_FAILED;
    if (secret == NULL || x == NULL)
        return secret == NULL && x == NULL ? KD_OK : KD_FAILED;
    return kd_secret_eq(secret, x->copy[1], SOFT_KEY_SIZE) ? KD_OK : KD_FAILED;
}

/* Opens what is about to replace the only copy of the keys. */
static kd_err
read_back(struct kd_soft *s, struct kd_slice octets, struct kd_store *scratch)
{
    kd_err err;

    if ((err = kd_store_parse(octets, scratch)) == KD_OK)
        err = kd_store_unseal(scratch, s->master->copy[1], compare, s);
    if (err == KD_OK || err == KD_NOMEM)
        return err;
    return kd_token_fault(&s->token);
}

static kd_err
serialise(struct kd_soft *s, struct kd_store *store, struct kd_buf *octets)
{
    const uint8_t *secrets[KD_STORE_KEYS_MAX];
    kd_err err;

    if ((err = kd_soft_usable(s)) != KD_OK)
        return err;
    if ((err = describe(s, store, secrets)) != KD_OK)
        return err;
    if ((err = kd_store_seal(store, secrets, s->master->copy[0], octets)) != KD_OK)
        return err;
    if ((err = read_back(s, kd_buf_slice(octets), store)) != KD_OK)
        return err;
    s->generation++;
    return KD_OK;
}

kd_err
kd_soft_serialise(struct kd_token *t, struct kd_buf *out)
{
    struct kd_soft *s = kd_soft_of(t);
    struct kd_buf octets;
    kd_err err;

    if (s == NULL)
        return KD_UNSUPPORTED;
    struct kd_store *store = malloc(sizeof *store);
    if (store == NULL)
        return KD_NOMEM;
    kd_buf_init(&octets, KD_STORE_MAX);
    kd_token_lock(t);
    err = serialise(s, store, &octets);
    kd_token_unlock(t);
    if (err == KD_OK) {
        kd_buf_put(out, kd_buf_slice(&octets));
        err = out->err;
    }
    kd_buf_free(&octets);
    free(store);
    return err;
}

kd_err
kd_soft_mark(struct kd_token *t, struct kd_soft_mark *out)
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return KD_UNSUPPORTED;
    kd_token_lock(t);
    *out = (struct kd_soft_mark){.generation = s->generation,
                                 .n_slots = s->n_slots,
                                 .n_keys = s->n_keys,
                                 .n_tokens = s->n_tokens};
    memcpy(out->tokens, s->tokens, sizeof out->tokens);
    for (size_t i = 0; i < s->n_keys; i++) {
        out->states[i] = (uint8_t)s->keys[i]->info.state;
        out->n_places[i] = s->keys[i]->held.n_places;
        out->flags[i] = s->keys[i]->held.flags;
    }
    kd_token_unlock(t);
    return KD_OK;
}

static kd_err
go_back(struct kd_soft *s, const struct kd_soft_mark *mark)
{
    kd_err err = kd_soft_usable(s);

    if (err != KD_OK)
        return err;
    if (s->n_slots < mark->n_slots || s->n_keys < mark->n_keys)
        return KD_INVALID;
    memset(&s->slots[mark->n_slots], 0,
           (s->n_slots - mark->n_slots) * sizeof s->slots[0]);
    s->n_slots = mark->n_slots;
    kd_soft_forget(s, mark->n_keys);
    for (size_t i = 0; i < s->n_keys; i++) {
        struct soft_key *k = s->keys[i];
        if (!k->is_gone)
            k->info.state = (enum kd_key_state)mark->states[i];
        k->held.n_places = mark->n_places[i];
        k->held.flags = mark->flags[i];
    }
    memcpy(s->tokens, mark->tokens, sizeof s->tokens);
    s->n_tokens = mark->n_tokens;
    s->generation = mark->generation;
    kd_soft_tell(s);
    return KD_OK;
}

kd_err
kd_soft_return(struct kd_token *t, const struct kd_soft_mark *mark)
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return KD_UNSUPPORTED;
    kd_token_lock(t);
    kd_err err = go_back(s, mark);
    kd_token_unlock(t);
    return err;
}

uint64_t
kd_soft_generation(struct kd_token *t)
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return 0;
    kd_token_lock(t);
    uint64_t generation = s->generation;
    kd_token_unlock(t);
    return generation;
}

void
kd_soft_instance(struct kd_token *t, uint8_t out[KD_STORE_INSTANCE_SIZE])
{
    struct kd_soft *s = kd_soft_of(t);

    memset(out, 0, KD_STORE_INSTANCE_SIZE);
    if (s != NULL) /* never changes: no lock */
        memcpy(out, s->instance, KD_STORE_INSTANCE_SIZE);
}

/* Under the shared lock: signing goes on while Argon2id takes its time. */
static kd_err
wrap_for_slot(struct kd_soft *s, const struct kd_slot_secret *secret,
              struct kd_store_slot *slot)
{
    kd_err err = kd_soft_usable(s);

    if (err != KD_OK)
        return err;
    if (s->n_slots == KD_STORE_SLOTS_MAX)
        return KD_BUSY;
    return kd_slot_wrap(slot, s->instance, secret, s->master->copy[0]);
}

static kd_err
append_slot(struct kd_soft *s, const struct kd_store_slot *slot)
{
    kd_err err = kd_soft_usable(s); /* it may have been sealed since */

    if (err != KD_OK)
        return err;
    if (s->n_slots == KD_STORE_SLOTS_MAX)
        return KD_BUSY;
    s->slots[s->n_slots++] = *slot;
    return KD_OK;
}

kd_err
kd_soft_add_slot(struct kd_token *t, const struct kd_slot_secret *secret,
                 uint8_t salt[KD_STORE_SALT_SIZE])
{
    struct kd_soft *s = kd_soft_of(t);
    struct kd_store_slot slot;
    kd_err err;

    if (s == NULL)
        return KD_UNSUPPORTED;
    if ((err = kd_token_lock_shared(t)) != KD_OK)
        return err;
    err = wrap_for_slot(s, secret, &slot);
    kd_token_unlock(t);
    if (err != KD_OK)
        return err;
    kd_token_lock(t);
    err = append_slot(s, &slot);
    kd_token_unlock(t);
    if (err == KD_OK && salt != NULL)
        memcpy(salt, slot.salt, sizeof slot.salt);
    return err;
}

static kd_err
remove_slot(struct kd_soft *s, const uint8_t *salt)
{
    kd_err err = kd_soft_usable(s);
    size_t i = 0;

    if (err != KD_OK)
        return err;
    while (i < s->n_slots && memcmp(s->slots[i].salt, salt, KD_STORE_SALT_SIZE) != 0)
        i++;
    if (i == s->n_slots)
        return KD_NOT_FOUND;
    if (s->n_slots == 1)
        return KD_CONFLICT;
    s->n_slots--;
    memmove(&s->slots[i], &s->slots[i + 1], (s->n_slots - i) * sizeof s->slots[0]);
    memset(&s->slots[s->n_slots], 0, sizeof s->slots[0]);
    return KD_OK;
}

kd_err
kd_soft_remove_slot(struct kd_token *t, const uint8_t salt[KD_STORE_SALT_SIZE])
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return KD_UNSUPPORTED;
    kd_token_lock(t);
    kd_err err = remove_slot(s, salt);
    kd_token_unlock(t);
    return err;
}

size_t
kd_soft_slots(struct kd_token *t, struct kd_store_slot out[KD_STORE_SLOTS_MAX])
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return 0;
    kd_token_lock(t);
    size_t n = s->n_slots;
    memcpy(out, s->slots, n * sizeof s->slots[0]);
    kd_token_unlock(t);
    return n;
}

kd_err
kd_soft_policy(struct kd_token *t, struct kd_buf *out)
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return KD_UNSUPPORTED;
    kd_token_lock(t);
    kd_buf_put(out, kd_buf_slice(&s->policy));
    kd_token_unlock(t);
    return out->err;
}

static kd_err
set_policy(struct kd_soft *s, struct kd_slice policy)
{
    struct kd_buf fresh;
    kd_err err = kd_soft_usable(s);

    if (err != KD_OK)
        return err;
    kd_buf_init(&fresh, KD_STORE_POLICY_MAX);
    kd_buf_put(&fresh, policy);
    if (fresh.err != KD_OK)
        return fresh.err;
    kd_buf_free(&s->policy);
    s->policy = fresh;
    return KD_OK;
}

kd_err
kd_soft_set_policy(struct kd_token *t, struct kd_slice policy)
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return KD_UNSUPPORTED;
    kd_token_lock(t);
    kd_err err = set_policy(s, policy);
    kd_token_unlock(t);
    return err;
}
