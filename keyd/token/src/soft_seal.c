/* Sealing: slot keys, the wrapped master key, sealed secrets, the authenticator. All
 * that is secret here lies in kd_secret memory and is wiped before returning. */
#include "soft_impl.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <sodium.h>
#include <stdlib.h>

/* STACK: what libsodium's hashes leave of their results below us: BLAKE2b, and so
 * Argon2id, does not wipe its last block. Argon2id goes deepest. */
enum { NONCE = KD_STORE_NONCE_SIZE, AEAD_TAG = 16, STACK = 16384 };

static const char slot_context[] = "keyd slot v1";
static const char credential_context[] = "keyd credential v1";
static const char seal_context[] = "keyd seal v1";
static const char tag_context[] = "keyd store v1";
static const char latch_context[] = "keyd pin v1";

_Static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == NONCE, "nonce");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == SOFT_KEY_SIZE, "key");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_ABYTES == AEAD_TAG, "tag");
_Static_assert(crypto_pwhash_argon2id_SALTBYTES == KD_STORE_SALT_SIZE, "salt");
_Static_assert(NONCE + SOFT_KEY_SIZE + AEAD_TAG == SOFT_SEALED_SIZE, "sealed");
_Static_assert(SOFT_KEY_SIZE + AEAD_TAG == KD_STORE_WRAPPED_SIZE, "wrapped");

kd_err
kd_slot_secret_check(const struct kd_slot_secret *secret)
{
    size_t n = secret->octets.n;

    switch (secret->type) {
    case KD_SLOT_PASSPHRASE:
        return n >= KD_PASSPHRASE_MIN && n <= KD_PASSPHRASE_MAX ? KD_OK : KD_INVALID;
    case KD_SLOT_CREDENTIAL:
        return n >= KD_CREDENTIAL_MIN && n <= KD_CREDENTIAL_MAX ? KD_OK : KD_INVALID;
    }
    return KD_INVALID;
}

static kd_err
passphrase_key(const struct kd_store_slot *slot, struct kd_slice passphrase,
               uint8_t *key)
{
    int rc = crypto_pwhash_argon2id(
        key, SOFT_KEY_SIZE, (const char *)passphrase.p, passphrase.n, slot->salt,
        slot->passes, (size_t)slot->kib * 1024, crypto_pwhash_argon2id_ALG_ARGON2ID13);
    return rc == 0 ? KD_OK : KD_NOMEM; /* the only way to fail within the limits */
}

/* key: secret memory of 64 + 32 octets; the result stands in the last 32. */
static kd_err
credential_key(const struct kd_store_slot *slot, const uint8_t *instance,
               struct kd_slice credential, uint8_t *work)
{
    uint8_t context[KD_STORE_INSTANCE_SIZE + KD_STORE_SALT_SIZE];

    memcpy(context, instance, KD_STORE_INSTANCE_SIZE);
    memcpy(context + KD_STORE_INSTANCE_SIZE, slot->salt, KD_STORE_SALT_SIZE);
    if (crypto_generichash(work, 64, credential.p, credential.n,
                           (const uint8_t *)credential_context,
                           sizeof credential_context - 1) != 0 ||
        crypto_generichash(work + 64, SOFT_KEY_SIZE, context, sizeof context, work,
                           64) != 0)
        return KD_FAILED;
    return KD_OK;
}

/* The slot's key into the last 32 of 96 octets of secret memory. */
static kd_err
slot_key(const struct kd_store_slot *slot, const uint8_t *instance,
         const struct kd_slot_secret *secret, uint8_t work[96])
{
    kd_err err = slot->type == KD_SLOT_PASSPHRASE
                     ? passphrase_key(slot, secret->octets, work + 64)
                     : credential_key(slot, instance, secret->octets, work);

    sodium_stackzero(STACK);
    return err;
}

struct slot_ad {
    uint8_t
        octets[sizeof slot_context - 1 + KD_STORE_INSTANCE_SIZE + SOFT_SLOT_AD_SIZE];
};

static struct slot_ad
slot_ad(const struct kd_store_slot *slot, const uint8_t *instance)
{
    struct slot_ad ad = {{0}};
    uint8_t *at = ad.octets;

    memcpy(at, slot_context, sizeof slot_context - 1);
    at += sizeof slot_context - 1;
    memcpy(at, instance, KD_STORE_INSTANCE_SIZE);
    kd_store_slot_head(slot, at + KD_STORE_INSTANCE_SIZE);
    return ad;
}

static void
new_slot(struct kd_store_slot *slot, const struct kd_slot_secret *secret)
{
    *slot =
        (struct kd_store_slot){.type = secret->type, .created_ms = kd_clock_wall_ms()};
    if (secret->type == KD_SLOT_PASSPHRASE) {
        slot->passes = secret->passes == 0 ? KD_STORE_PASSES_MIN : secret->passes;
        slot->kib = secret->kib == 0 ? KD_STORE_KIB_MIN : secret->kib;
    }
    randombytes_buf(slot->salt, sizeof slot->salt);
    randombytes_buf(slot->nonce, sizeof slot->nonce);
}

static kd_err
cost_check(const struct kd_store_slot *slot)
{
    if (slot->type != KD_SLOT_PASSPHRASE)
        return KD_OK;
    if (slot->passes > KD_STORE_PASSES_MAX || slot->kib > KD_STORE_KIB_MAX)
        return KD_TOO_LARGE;
    if (slot->passes < KD_STORE_PASSES_MIN || slot->kib < KD_STORE_KIB_MIN)
        return KD_INVALID;
    return KD_OK;
}

kd_err
kd_slot_wrap(struct kd_store_slot *slot, const uint8_t *instance,
             const struct kd_slot_secret *secret, const uint8_t *master)
{
    struct kd_store_slot made;
    kd_err err;

    if ((err = kd_slot_secret_check(secret)) != KD_OK)
        return err;
    new_slot(&made, secret);
    if ((err = cost_check(&made)) != KD_OK)
        return err;
    uint8_t *work = kd_secret_new(96);
    if (work == NULL)
        return KD_NOMEM;
    if ((err = slot_key(&made, instance, secret, work)) != KD_OK)
        goto out;
    struct slot_ad ad = slot_ad(&made, instance);
    if (crypto_aead_xchacha20poly1305_ietf_encrypt(
            made.wrapped, NULL, master, SOFT_KEY_SIZE, ad.octets, sizeof ad.octets,
            NULL, made.nonce, work + 64) != 0) {
        err = KD_FAILED;
        goto out;
    }
    *slot = made;
out:
    kd_secret_free(work, 96);
    return err;
}

kd_err
kd_slots_unwrap(const struct kd_store *store, const struct kd_slot_secret *secret,
                uint8_t *master)
{
    kd_err err = kd_slot_secret_check(secret);
    bool found = false;

    if (err != KD_OK)
        return err;
    uint8_t *work = kd_secret_new(96);
    if (work == NULL)
        return KD_NOMEM;
    for (size_t i = 0; i < store->n_slots && !found; i++) {
        const struct kd_store_slot *slot = &store->slots[i];
        if (slot->type != secret->type)
            continue;
        if ((err = slot_key(slot, store->instance, secret, work)) != KD_OK)
            break;
        struct slot_ad ad = slot_ad(slot, store->instance);
        found = crypto_aead_xchacha20poly1305_ietf_decrypt(
                    master, NULL, NULL, slot->wrapped, sizeof slot->wrapped, ad.octets,
                    sizeof ad.octets, slot->nonce, work + 64) == 0;
    }
    kd_secret_free(work, 96);
    if (err != KD_OK)
        return err;
    return found ? KD_OK : KD_DENIED;
}

/* key (secret memory): H-256(key = master, context | instance | name) */
static kd_err
named_subkey(const uint8_t *master, const char *context, const uint8_t *instance,
             const char *name, uint8_t *key)
{
    crypto_generichash_state h;
    int bad = crypto_generichash_init(&h, master, SOFT_KEY_SIZE, SOFT_KEY_SIZE);

    bad |= crypto_generichash_update(&h, (const uint8_t *)context, strlen(context));
    bad |= crypto_generichash_update(&h, instance, KD_STORE_INSTANCE_SIZE);
    bad |= crypto_generichash_update(&h, (const uint8_t *)name, strlen(name));
    bad |= crypto_generichash_final(&h, key, SOFT_KEY_SIZE);
    kd_secret_wipe(&h, sizeof h);
    sodium_stackzero(STACK);
    return bad == 0 ? KD_OK : KD_FAILED;
}

static kd_err
subkey(const uint8_t *master, const char *context, const uint8_t *instance,
       uint8_t *key)
{
    return named_subkey(master, context, instance, "", key);
}

kd_err
kd_soft_latch(const uint8_t *master, const uint8_t *instance, const char *name,
              uint8_t *latch)
{
    return named_subkey(master, latch_context, instance, name, latch);
}

/* The authenticator over octets; what it takes of secrets is gone again. */
static kd_err
make_tag(const uint8_t *master, const uint8_t *instance, struct kd_slice octets,
         uint8_t tag[KD_STORE_TAG_SIZE])
{
    uint8_t *key = kd_secret_new(SOFT_KEY_SIZE);
    kd_err err;

    if (key == NULL)
        return KD_NOMEM;
    if ((err = subkey(master, tag_context, instance, key)) == KD_OK &&
        crypto_generichash(tag, KD_STORE_TAG_SIZE, octets.p, octets.n, key,
                           SOFT_KEY_SIZE) != 0)
        err = KD_FAILED;
    sodium_stackzero(STACK);
    kd_secret_free(key, SOFT_KEY_SIZE);
    return err;
}

/* Associated data: the header, then room for a key's id. */
struct sealer {
    uint8_t *ad;
    size_t header_size;
    uint8_t *key; /* secret memory */
};

static kd_err
sealer_init(struct sealer *s, struct kd_slice header, const uint8_t *instance,
            const uint8_t *master)
{
    *s = (struct sealer){.header_size = header.n};
    s->ad = malloc(header.n + KD_TOKEN_ID_SIZE);
    s->key = kd_secret_new(SOFT_KEY_SIZE);
    if (s->ad == NULL || s->key == NULL)
        return KD_NOMEM;
    memcpy(s->ad, header.p, header.n);
    return subkey(master, seal_context, instance, s->key);
}

static void
sealer_clear(struct sealer *s)
{
    free(s->ad);
    kd_secret_free(s->key, SOFT_KEY_SIZE);
}

static size_t
set_id(struct sealer *s, const struct kd_store_key *key)
{
    struct kd_key_id id = kd_key_id(key->alg, key->public_key);

    memcpy(s->ad + s->header_size, id.octets, KD_TOKEN_ID_SIZE);
    return s->header_size + KD_TOKEN_ID_SIZE;
}

/* size octets at secret become NONCE + size + AEAD_TAG at out, and back. */
static kd_err
seal_one(struct sealer *s, const struct kd_store_key *key, const uint8_t *secret,
         size_t size, uint8_t *out)
{
    size_t n = set_id(s, key);

    randombytes_buf(out, NONCE);
    return crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE, NULL, secret, size,
                                                      s->ad, n, NULL, out, s->key) == 0
               ? KD_OK
               : KD_FAILED;
}

static kd_err
open_one(struct sealer *s, const struct kd_store_key *key, const uint8_t *sealed,
         size_t size, uint8_t *secret)
{
    size_t n = set_id(s, key);

    return crypto_aead_xchacha20poly1305_ietf_decrypt(secret, NULL, NULL,
                                                      sealed + NONCE, size + AEAD_TAG,
                                                      s->ad, n, sealed, s->key) == 0
               ? KD_OK
               : KD_INVALID;
}

/* What a key has sealed: pieces of a size. */
struct pieces {
    size_t n, size;
};

static struct pieces
pieces_of(const struct kd_store_key *key)
{
    if (kd_store_sealed_size(key) == 0)
        return (struct pieces){0, 0};
    if (key->held.holding == KD_OWN)
        return (struct pieces){1, SOFT_KEY_SIZE};
    return (struct pieces){key->held.n_places, SOFT_UNDER_SIZE};
}

static kd_err
seal_key(struct sealer *s, const struct kd_store_key *key, const uint8_t *secret,
         struct kd_buf *out)
{
    struct pieces p = pieces_of(key);
    kd_err err = KD_OK;

    for (size_t i = 0; i < p.n && err == KD_OK; i++) {
        uint8_t *at = kd_buf_add(out, NONCE + p.size + AEAD_TAG);
        err = at == NULL ? out->err : seal_one(s, key, secret + i * p.size, p.size, at);
    }
    return err;
}

/* work: secret memory for the pieces; *at goes on. NULL for none. */
static kd_err
open_key(struct sealer *s, const struct kd_store_key *key, const uint8_t **at,
         uint8_t *work, const uint8_t **secret)
{
    struct pieces p = pieces_of(key);
    kd_err err = KD_OK;

    for (size_t i = 0; i < p.n && err == KD_OK; i++) {
        err = open_one(s, key, *at, p.size, work + i * p.size);
        *at += NONCE + p.size + AEAD_TAG;
    }
    *secret = p.n == 0 ? NULL : work;
    return err;
}

kd_err
kd_store_seal(const struct kd_store *store, const uint8_t *const *secrets,
              const uint8_t *master, struct kd_buf *out)
{
    struct sealer s = {0};
    uint8_t tag[KD_STORE_TAG_SIZE];
    kd_err err;

    kd_store_put_header(store, out);
    if (out->err != KD_OK)
        return out->err;
    err = sealer_init(&s, kd_buf_slice(out), store->instance, master);
    for (size_t i = 0; i < store->n_keys && err == KD_OK; i++) {
        err = seal_key(&s, &store->keys[i], secrets[i], out);
    }
    sealer_clear(&s);
    sodium_stackzero(STACK);
    if (err != KD_OK)
        return err;
    if ((err = make_tag(master, store->instance, kd_buf_slice(out), tag)) != KD_OK)
        return err;
    kd_buf_put(out, kd_slice(tag, sizeof tag));
    return out->err;
}

static kd_err
check_tag(const struct kd_store *store, const uint8_t *master)
{
    /* header and sealed lie next to each other in the octets that were parsed */
    struct kd_slice body = kd_slice(store->header.p, store->header.n + store->sealed.n);
    uint8_t tag[KD_STORE_TAG_SIZE];
    kd_err err = make_tag(master, store->instance, body, tag);

    if (err != KD_OK)
        return err;
    return kd_secret_eq(tag, store->tag.p, sizeof tag) ? KD_OK : KD_INVALID;
}

kd_err
kd_store_unseal(const struct kd_store *store, const uint8_t *master,
                kd_store_each *each, void *arg)
{
    struct sealer s = {0};
    const uint8_t *at = store->sealed.p;
    kd_err err = check_tag(store, master);

    if (err != KD_OK)
        return err;
    uint8_t *work = kd_secret_new(SOFT_WORK_SIZE);
    if (work == NULL)
        return KD_NOMEM;
    err = sealer_init(&s, store->header, store->instance, master);
    for (size_t i = 0; i < store->n_keys && err == KD_OK; i++) {
        const uint8_t *secret;
        if ((err = open_key(&s, &store->keys[i], &at, work, &secret)) == KD_OK)
            err = each(arg, i, secret);
    }
    sealer_clear(&s);
    sodium_stackzero(STACK);
    kd_secret_free(work, SOFT_WORK_SIZE);
    return err;
}
