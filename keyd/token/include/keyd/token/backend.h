/* What a backend of token.h provides. Included by backends only: calls through the
 * table would go around the rules of token.c.
 *
 * A backend puts struct kd_token first in its own and fills it with kd_token_init. The
 * layer holds the lock: shared for info, sign and ecdh (several threads at once),
 * exclusive for the rest. Positions are below n_keys and roles, states, points and
 * limits are checked before the backend is called. Functions that the capabilities
 * do not promise may be NULL. */
#ifndef KEYD_TOKEN_BACKEND_H
#define KEYD_TOKEN_BACKEND_H

#include <dime/ed25519_signer.h>
#include <keyd/token/device.h>

#include <pthread.h>
#include <stdatomic.h>

/* One of the devices that have a key. */
struct kd_token_place {
    struct kd_device *device;         /* NULL: it is not attached */
    atomic_uint *n_busy;              /* calls in it */
    atomic_int_least64_t *derived_ms; /* when it last derived (CLOCK_MONOTONIC) */
};

/* First in what a backend keeps of a pair that is not listed yet. */
struct kd_made {
    struct kd_token *token; /* held */
};

struct kd_token_ops {
    struct kd_token_caps (*caps)(const struct kd_token *t);
    size_t (*n_keys)(const struct kd_token *t);

    /* Borrowed until the lock is released; the id is kd_key_id of the public key. */
    const struct kd_key_info *(*info)(const struct kd_token *t, size_t at);

    /* Where the secret is, borrowed likewise, and the device behind a place. Both NULL
     * where all keys are own. A held key is not given to the functions below, down to
     * finish: held.c asks its devices. */
    const struct kd_held *(*held)(const struct kd_token *t, size_t at);
    struct kd_token_place (*place)(struct kd_token *t, const struct kd_place *place);

    kd_err (*sign)(struct kd_token *t, size_t at, struct kd_slice message,
                   struct kd_token_sig *out);
    kd_err (*ecdh)(struct kd_token *t, size_t at, const uint8_t peer[33],
                   uint8_t z[KD_ECDH_SIZE]);

    /* A signature in pieces by an Ed25519 key: begins a nonce, and finishes a signer
     * that was committed from it (secret memory); all between is the layer's. Both NULL
     * where a backend signs only what it has whole. Locked as sign is. */
    kd_err (*begin)(struct kd_token *t, size_t at, struct dime_ed25519_nonce *nonce);
    kd_err (*finish)(struct kd_token *t, size_t at, struct dime_ed25519_signer *signer,
                     uint8_t sig[DIME_SIG_SIZE]);

    /* KD_OK, or why a key that is not held could not be used now: KD_SEALED,
     * KD_UNAVAILABLE. NULL: it always can. */
    kd_err (*ready)(const struct kd_token *t, size_t at);

    /* *at: the position of the new key, which is pre-active. The pair has been tried
     * (signed and verified, or agreed) before it is listed. */
    kd_err (*generate)(struct kd_token *t, const struct kd_key_spec *spec, size_t *at);
    kd_err (*import)(struct kd_token *t, const struct kd_key_spec *spec,
                     struct kd_slice secret, size_t *at);

    /* As kd_token_make and so on, for any spec that is consistent; make and drop are
     * called without the lock and take it where they look at the list. NULL: nothing
     * but generate and import. */
    kd_err (*make)(struct kd_token *t, const struct kd_key_spec *spec,
                   struct kd_slice secret, struct kd_made **out);
    kd_err (*take)(struct kd_token *t, struct kd_made *made, size_t *at);
    void (*drop)(struct kd_made *made); /* lets go of the token, too */

    /* The step is in states.def. Destroying wipes the secret. */
    kd_err (*set_state)(struct kd_token *t, size_t at, enum kd_key_state state);

    void (*seal)(struct kd_token *t);
    void (*free)(struct kd_token *t); /* sealed before, and no stream is left */
};

struct kd_token {
    const struct kd_token_ops *ops;
    pthread_rwlock_t lock;
    atomic_uint verify_every;
    atomic_uint_least64_t faults;
    atomic_uint holders; /* the owner, and streams */
    bool sealed;         /* under the lock */
};

kd_err kd_token_init(struct kd_token *t, const struct kd_token_ops *ops) KD_MUST_USE;
void kd_token_clear(struct kd_token *t);

/* The locks, for what a backend offers beside the table; shared is KD_BUSY when there
 * are too many readers. */
kd_err kd_token_lock_shared(struct kd_token *t) KD_MUST_USE;
void kd_token_lock(struct kd_token *t);
void kd_token_unlock(struct kd_token *t);

/* Counts a fault and gives KD_FAILED, for `return kd_token_fault(t)`. */
kd_err kd_token_fault(struct kd_token *t) KD_MUST_USE;

/* For backends that keep metadata themselves: fills *out (state pre-active, time now).
 * KD_INVALID for a public key whose size is not the algorithm's. */
kd_err kd_key_info_set(struct kd_key_info *out, const struct kd_key_spec *spec,
                       struct kd_slice public_key) KD_MUST_USE;

/* Who holds a token keeps its memory; the last one to let go releases it. */
void kd_token_hold(struct kd_token *t);
void kd_token_release(struct kd_token *t);

/* Whether a signature is to be verified before it is released (kd_token_set_verify):
 * asked once for each, since it counts. */
bool kd_token_verifies(const struct kd_token *t, const struct kd_token_caps *caps,
                       const struct kd_key_info *key,
                       enum kd_sign_purpose purpose) KD_MUST_USE;

/* Position of a key, or KD_NOT_FOUND; the lock is held. */
kd_err kd_token_find(const struct kd_token *t, const struct kd_key_id *id,
                     size_t *at) KD_MUST_USE;

#endif
