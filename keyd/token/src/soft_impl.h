/* Inside the software token. Tests reach in through this header too; there is no
 * hook in the library itself. */
#ifndef KEYD_TOKEN_SOFT_IMPL_H
#define KEYD_TOKEN_SOFT_IMPL_H

#include <keyd/token/backend.h>
#include <keyd/token/soft_store.h>

#include <dime/ed25519.h>

enum {
    SOFT_KEY_SIZE = 32,
    SOFT_SEALED_SIZE = 72,
    SOFT_SLOT_AD_SIZE = 34,
    /* What lies under a token's key: ephemeral key 33, seed or scalar 32, tag 16. */
    SOFT_UNDER_SIZE = 81,
    SOFT_UNDER_SEALED = 121, /* the same, sealed like everything */
    SOFT_WORK_SIZE = KD_PLACES_MAX * SOFT_UNDER_SIZE,
};

/* In secret memory. The seed or scalar twice; from a seed what it expands to (itself
 * twice, see dime/ed25519.h), so that signing does not expand it every time. */
struct soft_secret {
    uint8_t copy[2][SOFT_KEY_SIZE];
    struct dime_ed25519_secret ed;
};

struct soft_made;

struct soft_key {
    struct kd_key_info info;
    struct kd_held held;
    /* NULL: held, destroyed, not opened yet under its token, or the token is sealed. */
    struct soft_secret *secret;
    bool is_gone; /* what there was is wiped: no way back from destroyed */
    uint8_t under[KD_PLACES_MAX][SOFT_UNDER_SIZE]; /* as it lies under its tokens */
    struct soft_made *made; /* that could take it back; NULL: none */
};

/* A token's device, by its name in the configuration. */
struct soft_device {
    char name[KD_TOKEN_NAME_MAX + 1];
    struct kd_device *device;
    atomic_uint n_busy;
    atomic_int_least64_t derived_ms;
};

/* The master key twice: a flipped bit in it would write a store nobody can open. */
struct soft_master {
    uint8_t copy[2][SOFT_KEY_SIZE];
};

struct kd_soft {
    struct kd_token token; /* first */
    uint8_t instance[KD_STORE_INSTANCE_SIZE];
    uint64_t generation;
    size_t n_slots;
    struct kd_store_slot slots[KD_STORE_SLOTS_MAX];
    struct kd_buf policy;
    struct soft_master *master; /* secret memory; NULL: sealed */
    size_t n_keys;
    struct soft_key *keys[KD_STORE_KEYS_MAX];
    size_t n_tokens; /* adopted */
    struct kd_store_token tokens[KD_TOKENS_MAX];
    size_t n_devices; /* attached */
    struct soft_device devices[KD_TOKENS_MAX];
};

/* soft.c */

/* An empty token with room for a master key, all zero. */
kd_err kd_soft_new(struct kd_soft **out) KD_MUST_USE;

/* The token as what it is, or NULL if another backend made it. */
struct kd_soft *kd_soft_of(struct kd_token *t);

/* Lists a key as the header has it. The public key of a secret of ours is derived and
 * compared (KD_INVALID if it differs) and the pair tried; secret is NULL for a
 * destroyed or a held key, and for one under tokens what lies there (SOFT_UNDER_SIZE a
 * place). */
kd_err kd_soft_admit(struct kd_soft *s, const struct kd_store_key *key,
                     const uint8_t *secret) KD_MUST_USE;

/* Frees the keys from position from on, or gives them back to what made them. */
void kd_soft_forget(struct kd_soft *s, size_t from);
void kd_soft_key_free(struct soft_key *k);

/* Lists it; takes k, also on failure. KD_CONFLICT, KD_BUSY. */
kd_err kd_soft_append(struct kd_soft *s, struct soft_key *k) KD_MUST_USE;

/* Derives what a secret of ours needs, and tries the pair. public_key empty: not known
 * yet. The spec counts for the rest of k->info. */
kd_err kd_soft_fill(struct soft_key *k, const struct kd_key_spec *spec,
                    const uint8_t *secret, struct kd_slice public_key) KD_MUST_USE;

/* A fresh seed or scalar into secret memory. */
void kd_soft_random(enum kd_key_alg alg, uint8_t *secret);

/* soft_life.c: KD_SEALED, or KD_FAILED for a master key that has rotted. */
kd_err kd_soft_usable(struct kd_soft *s) KD_MUST_USE;

/* soft_device.c; the lock is held */

/* Tells all devices what they hold now. */
void kd_soft_tell(struct kd_soft *s);
/* That they hold nothing; they are not called any more. */
void kd_soft_detach(struct kd_soft *s);

/* Place of an adopted token in the table, by name; its device, NULL if it is away.
 * KD_NOT_FOUND. */
kd_err kd_soft_token_find(const struct kd_soft *s, struct kd_slice name,
                          size_t *at) KD_MUST_USE;
struct soft_device *kd_soft_device(struct kd_soft *s, size_t token);
struct kd_token_place kd_soft_place(struct kd_token *t, const struct kd_place *place);

/* soft_made.c: of the table of backend.h */
kd_err kd_soft_make(struct kd_token *t, const struct kd_key_spec *spec,
                    struct kd_slice secret, struct kd_made **out) KD_MUST_USE;
kd_err kd_soft_take(struct kd_token *t, struct kd_made *made, size_t *at) KD_MUST_USE;
void kd_soft_drop(struct kd_made *made);
/* A taken key is not listed any more: it is the made one's again. */
void kd_soft_take_back(struct soft_key *k);

/* soft_sealed.c */

/* Seals the seed under a token's key: out is SOFT_UNDER_SIZE octets. */
kd_err kd_soft_put_under(const uint8_t *instance, const struct kd_key_info *key,
                         const uint8_t *seed, struct kd_slice seal_key,
                         uint8_t *out) KD_MUST_USE;

/* Position of the active key that seals under a token. KD_NOT_FOUND. */
kd_err kd_soft_seal_key(struct kd_soft *s, size_t token, size_t *at) KD_MUST_USE;

/* soft_store.c */

/* Octets of a key in the sealed section. */
size_t kd_store_sealed_size(const struct kd_store_key *key);

/* Whether a name of a token, another text of it, may be in a store. */
bool kd_store_name_good(const char *name);
bool kd_store_text_good(const char *text);

/* The 34 octets of a slot before its nonce. */
void kd_store_slot_head(const struct kd_store_slot *slot,
                        uint8_t out[SOFT_SLOT_AD_SIZE]);

/* soft_seal.c: keys in and out of secret memory, no knowledge of the token */

/* KD_INVALID for a slot secret out of bounds. */
kd_err kd_slot_secret_check(const struct kd_slot_secret *secret) KD_MUST_USE;

/* Fills *slot: new salt and nonce, time now, the master key wrapped. */
kd_err kd_slot_wrap(struct kd_store_slot *slot, const uint8_t *instance,
                    const struct kd_slot_secret *secret,
                    const uint8_t *master) KD_MUST_USE;

/* Tries the slots of the secret's type; master (secret memory, 32) only on success. */
kd_err kd_slots_unwrap(const struct kd_store *store,
                       const struct kd_slot_secret *secret,
                       uint8_t *master) KD_MUST_USE;

/* The key of the tags of a token's PINs, into secret memory (32). */
kd_err kd_soft_latch(const uint8_t *master, const uint8_t *instance, const char *name,
                     uint8_t *latch) KD_MUST_USE;

/* Header, sealed secrets, authenticator into out. secrets: one for each key of the
 * store, NULL where there is none; of a key under tokens what lies there. store->header
 * and below are not read. */
kd_err kd_store_seal(const struct kd_store *store, const uint8_t *const *secrets,
                     const uint8_t *master, struct kd_buf *out) KD_MUST_USE;

/* Checks the authenticator, then opens each key and calls each(arg, at, secret), with
 * secret (32, or SOFT_UNDER_SIZE a place; wiped afterwards) NULL where there is none.
 * KD_INVALID if anything was altered; an error of each ends it. */
typedef kd_err kd_store_each(void *arg, size_t at, const uint8_t *secret);
kd_err kd_store_unseal(const struct kd_store *store, const uint8_t *master,
                       kd_store_each *each, void *arg) KD_MUST_USE;

#endif
