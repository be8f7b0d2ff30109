/* Inside the software token. Tests reach in through this header too; there is no
 * hook in the library itself. */
#ifndef KEYD_TOKEN_SOFT_IMPL_H
#define KEYD_TOKEN_SOFT_IMPL_H

#include <keyd/token/backend.h>
#include <keyd/token/soft_store.h>

#include <dime/ed25519.h>

enum { SOFT_KEY_SIZE = 32, SOFT_SEALED_SIZE = 72, SOFT_SLOT_AD_SIZE = 34 };

/* In secret memory. The seed or scalar twice; from a seed what it expands to (itself
 * twice, see dime/ed25519.h), so that signing does not expand it every time. */
struct soft_secret {
    uint8_t copy[2][SOFT_KEY_SIZE];
    struct dime_ed25519_secret ed;
};

struct soft_key {
    struct kd_key_info info;
    struct soft_secret *secret; /* NULL: destroyed, or the token is sealed */
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
};

/* soft.c */

/* An empty token with room for a master key, all zero. */
kd_err kd_soft_new(struct kd_soft **out) KD_MUST_USE;

/* The token as what it is, or NULL if another backend made it. */
struct kd_soft *kd_soft_of(struct kd_token *t);

/* Lists a key as the header has it. The secret's public key is derived and compared
 * (KD_INVALID if it differs) and the pair tried; secret is NULL for a destroyed key. */
kd_err kd_soft_admit(struct kd_soft *s, const struct kd_store_key *key,
                     const uint8_t *secret) KD_MUST_USE;

/* Frees the keys from position from on. */
void kd_soft_forget(struct kd_soft *s, size_t from);

/* soft_store.c */

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

/* Header, sealed secrets, authenticator into out. secrets: one for each key of the
 * store, NULL where there is none. store->header and below are not read. */
kd_err kd_store_seal(const struct kd_store *store, const uint8_t *const *secrets,
                     const uint8_t *master, struct kd_buf *out) KD_MUST_USE;

/* Checks the authenticator, then opens each key and calls each(arg, at, secret), with
 * secret (32, wiped afterwards) NULL for a destroyed key. KD_INVALID if anything was
 * altered; an error of each ends it. */
typedef kd_err kd_store_each(void *arg, size_t at, const uint8_t *secret);
kd_err kd_store_unseal(const struct kd_store *store, const uint8_t *master,
                       kd_store_each *each, void *arg) KD_MUST_USE;

#endif
