/* The tokens that a key store knows, and the devices that stand for them. */
#include "soft_impl.h"
#include "tables.h"

#include <keyd/base/secret.h>
#include <sodium.h>

kd_err
kd_soft_token_find(const struct kd_soft *s, struct kd_slice name, size_t *at)
{
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (!kd_slice_eq(kd_slice_str(s->tokens[i].name), name))
            continue;
        *at = i;
        return KD_OK;
    }
    return KD_NOT_FOUND;
}

static struct soft_device *
find_device(struct kd_soft *s, const char *name)
{
    for (size_t i = 0; i < s->n_devices; i++)
        if (strcmp(s->devices[i].name, name) == 0)
            return &s->devices[i];
    return NULL;
}

static bool
has_device(const struct kd_soft *s, const char *name)
{
    for (size_t i = 0; i < s->n_devices; i++)
        if (strcmp(s->devices[i].name, name) == 0)
            return true;
    return false;
}

struct soft_device *
kd_soft_device(struct kd_soft *s, size_t token)
{
    return token < s->n_tokens ? find_device(s, s->tokens[token].name) : NULL;
}

struct kd_token_place
kd_soft_place(struct kd_token *t, const struct kd_place *place)
{
    struct soft_device *d = kd_soft_device((struct kd_soft *)t, place->token);

    if (d == NULL)
        return (struct kd_token_place){.device = NULL};
    return (struct kd_token_place){d->device, &d->n_busy, &d->derived_ms};
}

/* --- telling --- */

static void
list_key(const struct soft_key *k, size_t token, struct kd_device_keys *keys,
         struct kd_device_key *list)
{
    if (k->held.holding != KD_HELD || k->info.state == KD_KEY_DESTROYED)
        return;
    for (unsigned i = 0; i < k->held.n_places; i++)
        if (k->held.places[i].token == token)
            list[keys->n++] = (struct kd_device_key){
                .id = k->info.id,
                .alg = k->info.alg,
                .derives = kd_alg_row(k->info.alg)->sig_size == 0,
                .is_probed = kd_state_row(k->info.state)->probed,
                .place = k->held.places[i],
                .public_key = kd_slice(k->info.public_key, k->info.public_size)};
}

/* Under the latch key of its own, in secret memory as long as it is told. */
static kd_err
tell(struct kd_soft *s, struct soft_device *d)
{
    struct kd_device_key list[KD_STORE_KEYS_MAX];
    struct kd_device_keys keys = {.list = list};
    uint8_t *latch = kd_secret_new(KD_LATCH_KEY_SIZE);
    size_t token;

    if (latch == NULL)
        return KD_NOMEM;
    kd_err err = kd_soft_latch(s->master->copy[0], s->instance, d->name, latch);
    memcpy(keys.latch, latch, sizeof keys.latch);
    kd_secret_free(latch, KD_LATCH_KEY_SIZE);
    if (kd_soft_token_find(s, kd_slice_str(d->name), &token) == KD_OK) {
        const struct kd_store_token *t = &s->tokens[token];
        memcpy(keys.good, t->good, sizeof keys.good);
        memcpy(keys.tried, t->tried, sizeof keys.tried);
        memcpy(keys.serial, t->serial, sizeof keys.serial);
        memcpy(keys.model, t->model, sizeof keys.model);
        for (size_t i = 0; i < s->n_keys; i++)
            list_key(s->keys[i], token, &keys, list);
    }
    if (err == KD_OK)
        err = d->device->ops->hold(d->device, &keys);
    kd_secret_wipe(&keys, sizeof keys);
    return err;
}

/* One that could not be told goes on with what it has; its keys are looked at by what
 * the store says in any case. */
void
kd_soft_tell(struct kd_soft *s)
{
    for (size_t i = 0; i < s->n_devices; i++)
        kd_ignore(tell(s, &s->devices[i]));
}

void
kd_soft_detach(struct kd_soft *s)
{
    static const struct kd_device_keys nothing;

    for (size_t i = 0; i < s->n_devices; i++) {
        struct kd_device *d = s->devices[i].device;
        kd_ignore(d->ops->hold(d, &nothing)); /* nothing takes no memory */
        s->devices[i].device = NULL;
    }
    s->n_devices = 0;
}

static kd_err
attach(struct kd_soft *s, const char *name, struct kd_device *device)
{
    struct soft_device *d = find_device(s, name);
    kd_err err = kd_soft_usable(s);

    if (err != KD_OK)
        return err;
    if (!kd_store_name_good(name) || device == NULL)
        return KD_INVALID;
    if (d == NULL && s->n_devices == KD_TOKENS_MAX)
        return KD_BUSY;
    if (d == NULL) {
        d = &s->devices[s->n_devices++];
        memcpy(d->name, name, strlen(name) + 1);
        atomic_init(&d->n_busy, 0);
        atomic_init(&d->derived_ms, 0);
    }
    d->device = device;
    return tell(s, d);
}

kd_err
kd_soft_attach(struct kd_token *t, const char *name, struct kd_device *device)
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return KD_UNSUPPORTED;
    kd_token_lock(t);
    kd_err err = attach(s, name, device);
    kd_token_unlock(t);
    return err;
}

/* --- the table --- */

size_t
kd_soft_tokens(struct kd_token *t, struct kd_store_token out[KD_TOKENS_MAX])
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL || kd_token_lock_shared(t) != KD_OK)
        return 0;
    size_t n = s->n_tokens;
    memcpy(out, s->tokens, n * sizeof s->tokens[0]);
    kd_token_unlock(t);
    return n;
}

static bool
has_keys(const struct kd_soft *s, size_t token)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        const struct soft_key *k = s->keys[i];
        if (k->info.state == KD_KEY_DESTROYED)
            continue;
        for (unsigned p = 0; p < k->held.n_places; p++)
            if (k->held.places[p].token == token)
                return true;
    }
    return false;
}

/* It goes by another name already, under which keys are in it or may be put there: two
 * that know nothing of each other would make keys, drain and try PINs in the one. */
static bool
has_other_name(const struct kd_soft *s, const char *name, const char *serial,
               const char *model)
{
    for (size_t i = 0; i < s->n_tokens; i++) {
        const struct kd_store_token *t = &s->tokens[i];
        if (strcmp(t->name, name) != 0 && strcmp(t->serial, serial) == 0 &&
            strcmp(t->model, model) == 0 && (has_keys(s, i) || has_device(s, t->name)))
            return true;
    }
    return false;
}

static kd_err
adopt(struct kd_soft *s, const char *name, const char *serial, const char *model)
{
    kd_err err = kd_soft_usable(s);
    size_t at = 0;

    if (err != KD_OK)
        return err;
    if (!kd_store_name_good(name) || serial[0] == '\0' ||
        strlen(serial) > KD_TOKEN_SERIAL_MAX || strlen(model) > KD_TOKEN_MODEL_MAX ||
        !kd_store_text_good(serial) || !kd_store_text_good(model))
        return KD_INVALID;
    if (has_other_name(s, name, serial, model))
        return KD_CONFLICT;
    if (kd_soft_token_find(s, kd_slice_str(name), &at) != KD_OK) {
        if (s->n_tokens == KD_TOKENS_MAX)
            return KD_BUSY;
        at = s->n_tokens++;
    } else if (has_keys(s, at) && (strcmp(s->tokens[at].serial, serial) != 0 ||
                                   strcmp(s->tokens[at].model, model) != 0)) {
        return KD_CONFLICT;
    } else if (strcmp(s->tokens[at].serial, serial) == 0 &&
               strcmp(s->tokens[at].model, model) == 0) {
        return KD_OK;
    }
    s->tokens[at] = (struct kd_store_token){.name = ""};
    memcpy(s->tokens[at].name, name, strlen(name) + 1);
    memcpy(s->tokens[at].serial, serial, strlen(serial) + 1);
    memcpy(s->tokens[at].model, model, strlen(model) + 1);
    kd_soft_tell(s);
    return KD_OK;
}

kd_err
kd_soft_adopt(struct kd_token *t, const char *name, const char *serial,
              const char *model)
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return KD_UNSUPPORTED;
    kd_token_lock(t);
    kd_err err = adopt(s, name, serial, model);
    kd_token_unlock(t);
    return err;
}

kd_err
kd_soft_set_tags(struct kd_token *t, const char *name,
                 const uint8_t good[KD_PIN_TAG_SIZE],
                 const uint8_t tried[KD_PIN_TAG_SIZE])
{
    struct kd_soft *s = kd_soft_of(t);
    size_t at;

    if (s == NULL)
        return KD_UNSUPPORTED;
    kd_token_lock(t);
    kd_err err = kd_soft_usable(s);
    if (err == KD_OK &&
        (err = kd_soft_token_find(s, kd_slice_str(name), &at)) == KD_OK) {
        memcpy(s->tokens[at].good, good, KD_PIN_TAG_SIZE);
        memcpy(s->tokens[at].tried, tried, KD_PIN_TAG_SIZE);
        kd_soft_tell(s);
    }
    kd_token_unlock(t);
    return err;
}

static kd_err
add_place(struct kd_soft *s, const struct kd_key_id *id, const char *name,
          const struct kd_place *place, uint8_t flags)
{
    size_t at, token;
    kd_err err = kd_soft_usable(s);

    if (err != KD_OK || (err = kd_token_find(&s->token, id, &at)) != KD_OK ||
        (err = kd_soft_token_find(s, kd_slice_str(name), &token)) != KD_OK)
        return err;
    struct kd_held *held = &s->keys[at]->held;
    if (held->holding != KD_HELD || s->keys[at]->info.state == KD_KEY_DESTROYED ||
        held->places[0].token == token)
        return KD_CONFLICT;
    if (held->n_places == KD_PLACES_MAX)
        return held->places[1].token == token ? KD_CONFLICT : KD_BUSY;
    if (place->id_size == 0 || place->id_size > KD_PLACE_ID_MAX)
        return KD_INVALID;
    held->places[held->n_places] = *place;
    held->places[held->n_places++].token = (uint8_t)token;
    /* What is attested of one is not of the other. */
    held->flags &= (uint8_t) ~(KD_HELD_MADE_INSIDE | KD_HELD_NEVER_EXTRACTABLE);
    held->flags |= flags & (KD_HELD_IMPORTED | KD_HELD_ADOPTED);
    kd_soft_tell(s);
    return KD_OK;
}

kd_err
kd_soft_add_place(struct kd_token *t, const struct kd_key_id *id, const char *name,
                  const struct kd_place *place, uint8_t flags)
{
    struct kd_soft *s = kd_soft_of(t);

    if (s == NULL)
        return KD_UNSUPPORTED;
    kd_token_lock(t);
    kd_err err = add_place(s, id, name, place, flags);
    kd_token_unlock(t);
    return err;
}
