/* What holds keys outside of this process: a PKCS#11 token, seen by the key store.
 *
 * The key store's token (soft_store.h) lists every key. A key is its own (the secret is
 * sealed in the store), held (the secret is in one or two devices, and the store has
 * only what is public and where it is), or sealed under a device: the secret is in the
 * store, but opens only with a key that a device holds (D-084).
 *
 * A device never releases what it computed: the token layer verifies signatures, says
 * bad() of wrong ones and tries a clone. Called from any thread, never with the token's
 * lock but for hold, usable and key_caps, which do not block. */
#ifndef KEYD_TOKEN_DEVICE_H
#define KEYD_TOKEN_DEVICE_H

#include <keyd/token/token.h>

enum {
    KD_TOKENS_MAX = 4,
    KD_TOKEN_NAME_MAX = 31,
    KD_TOKEN_SERIAL_MAX = 16, /* of CK_TOKEN_INFO, without the padding */
    KD_TOKEN_MODEL_MAX = 16,
    KD_PIN_TAG_SIZE = 16,
    KD_LATCH_KEY_SIZE = 32,
};

/* One key that a device is to hold. */
struct kd_device_key {
    struct kd_key_id id;
    enum kd_key_alg alg;
    bool derives;   /* else it signs */
    bool is_probed; /* false: in a state that does nothing */
    struct kd_place place;
    struct kd_slice public_key;
};

/* All that it is to hold, and what the store knows of it. The latch key and the tags:
 * see p11.h, PIN. An empty serial: it was not adopted yet, and is not to be used. */
struct kd_device_keys {
    size_t n;
    const struct kd_device_key *list;
    uint8_t latch[KD_LATCH_KEY_SIZE];
    uint8_t good[KD_PIN_TAG_SIZE], tried[KD_PIN_TAG_SIZE]; /* zeros: none */
    char serial[KD_TOKEN_SERIAL_MAX + 1];
    char model[KD_TOKEN_MODEL_MAX + 1];
};

/* What can be done with one key there. */
struct kd_key_caps {
    size_t max_message; /* octets it can sign in one go */
    bool signs_pieces;  /* begin, finish of backend.h */
};

struct kd_device;

struct kd_device_ops {
    /* Whether asking now makes sense; never blocks. KD_OK; KD_UNAVAILABLE: the device
     * is away or refused; KD_BUSY: it is drained because keys are made; KD_NOT_FOUND:
     * this key is not bound, or was refused. */
    kd_err (*usable)(struct kd_device *d, const struct kd_key_id *id);

    /* Never blocks. */
    kd_err (*key_caps)(struct kd_device *d, const struct kd_key_id *id,
                       struct kd_key_caps *out);

    /* Block until `until` at the latest (CLOCK_MONOTONIC, ms; INT64_MAX: as long as it
     * takes by the device's own limits). With RSA the message is a SHA-256, to be
     * signed as such (PKCS#1 v1.5). sig is not verified; z lies in secret memory, and
     * point is an uncompressed one that is on the curve. KD_UNAVAILABLE, KD_BUSY: not
     * now, a clone may be asked; KD_FAILED: a result that cannot be right, likewise;
     * KD_NOT_FOUND: not bound; KD_TOO_LARGE; KD_TIMEOUT: `until` came first, which says
     * nothing of the device; KD_SEALED. */
    kd_err (*sign)(struct kd_device *d, const struct kd_key_id *id,
                   struct kd_slice message, int64_t until, struct kd_token_sig *sig);
    kd_err (*ecdh)(struct kd_device *d, const struct kd_key_id *id,
                   const uint8_t point[65], int64_t until, uint8_t z[KD_ECDH_SIZE]);

    /* The last signature by this key did not verify. */
    void (*bad)(struct kd_device *d, const struct kd_key_id *id);

    /* Whether the key did right when it was last tried, at since (CLOCK_MONOTONIC, ms)
     * or later; waits for a trial that begins now if there was none, until `until`.
     * With an `until` that is past the trial is only asked for: KD_TIMEOUT. */
    kd_err (*probed)(struct kd_device *d, const struct kd_key_id *id, int64_t since,
                     int64_t until);

    /* Make a pair, or take one in (secret not empty: 32 octets in secret memory), while
     * nothing else uses the device; seconds. Of the spec count role, algorithm, bits
     * and domain. Fills *place but for the device's number, *flags (enum kd_held_flags)
     * and the public key (KD_KEY_PUBLIC_MAX octets of room). The pair has been tried.
     * KD_UNSUPPORTED: it cannot; KD_IO: it could, and did not; KD_BUSY: another is
     * being made; KD_UNAVAILABLE, KD_FAILED, KD_CONFLICT: it has the key. */
    kd_err (*make)(struct kd_device *d, const struct kd_key_spec *spec,
                   struct kd_slice secret, struct kd_place *place, uint8_t *flags,
                   uint8_t *public_key, size_t *n);
    /* Removes it again: the pair with this id and public key, no other. */
    kd_err (*unmake)(struct kd_device *d, const struct kd_place *place,
                     struct kd_slice public_key);

    /* A key that somebody else put there, by its CKA_ID or, if that is empty, by its
     * public key: found, checked as at every start, and tried. */
    kd_err (*look)(struct kd_device *d, enum kd_key_alg alg, struct kd_slice public_key,
                   struct kd_place *place, uint8_t *flags);

    /* From now on it holds these; copied, takes effect in its own time. An empty
     * serial: it was not adopted, and holds nothing. All zeros, the latch key too:
     * sealed; no secret of it (PIN, sessions) may stay, and nothing else is said or
     * asked until it is attached again. */
    kd_err (*hold)(struct kd_device *d, const struct kd_device_keys *keys);
};

struct kd_device {
    const struct kd_device_ops *ops;
};

#endif
