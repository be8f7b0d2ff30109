/* Operations that change the key store: the one way they all go.
 *
 *   ask the ledger       was the idempotency key used? then the answer is made of what
 *                        the record says, or refused
 *   prepare (apart)      where a device makes keys or looks for one: seconds, in which
 *                        everything else goes on
 *   change (alone)       on a crypto thread, nothing else working: change the token and
 *                        serialise it with the next generation
 *   commit               record, file and the organization's new public keys together;
 *                        the token stays ours alone until then, so that nothing is done
 *                        with a key that is not stored
 *   settle               refresh what is derived, fill the reply
 *
 * What a device made and was not stored in the end is unmade, apart. */
#ifndef KEYD_OPS_STORE_CHANGE_H
#define KEYD_OPS_STORE_CHANGE_H

#include "run.h"

enum { CHANGE_KEYS_MAX = 4 };

struct store_change {
    enum kd_audit_op audit;
    struct kd_slice domain; /* borrows from the task's body */
    /* Crypto thread: changes *token, or makes it (makes_token), and lists in keys[]
     * what it made or touched. When the change is not stored in the end, the token goes
     * back to where it was: what is in memory is always what the registry has. */
    bool makes_token;
    /* Main thread, for a request that is new: looks once more whether it may be, and
     * goes on with store_change_go or answers the task; NULL if there is no such thing.
     */
    task_step fresh;
    /* Crypto thread, before the change, while everything else goes on; NULL if there is
     * no such thing. devices: those it may wait for. */
    kd_err (*prepare)(struct task *t, struct store_change *c);
    unsigned devices;
    kd_err (*change)(struct task *t, struct store_change *c);
    /* Main thread: what the record of a change that is answered again does not say,
     * from the token, given the generation it made; NULL if there is no such thing. */
    kd_err (*again)(struct store_change *c, uint64_t generation);
    /* Main thread: fills t->reply from keys[]. */
    void (*reply)(struct vault *v, struct task *t, struct store_change *c);

    /* Main thread: it is over, with KD_OK if it is stored; NULL: nobody asks. */
    void (*ended)(struct vault *v, const struct store_change *c, kd_err err);

    struct vault *vault;
    uint64_t opening; /* of the key store that it was prepared for (tokens.h) */
    bool is_stored;
    kd_err result;
    struct kd_token *token; /* the vault's, or a new one */
    bool is_marked;
    struct kd_soft_mark mark; /* of the vault's, before the change */
    size_t n_keys;
    struct kd_key_id keys[CHANGE_KEYS_MAX];
    size_t n_made;
    struct kd_made *made[CHANGE_KEYS_MAX]; /* owned; by a device */
    uint8_t slot;
    uint64_t generation; /* of the change */
    bool has_digest;
    uint8_t digest[32]; /* of what the record is about, if not a key */
    uint32_t notes;     /* of the record */
    struct kd_slice detail;
    struct kd_buf policy; /* the vault's before the change: kd_soft_return leaves it */
    struct kd_buf store;  /* serialised */
    union {
        struct kd_generate_job generate;
        struct kd_retire_job retire;
        struct kd_import_job import;
        struct kd_slot_job slot;
        struct kd_quorum_job quorum;
        struct kd_token_job token;
        struct kd_attach_job attach;
    } job;
    struct {
        size_t i; /* of the configuration */
        char name[KD_TOKEN_NAME_MAX + 1];
        char serial[KD_TOKEN_SERIAL_MAX + 1], model[KD_TOKEN_MODEL_MAX + 1];
        uint8_t good[KD_PIN_TAG_SIZE], tried[KD_PIN_TAG_SIZE];
        enum kd_key_alg alg; /* of a key to be looked for, and its public half */
        size_t public_size;
        uint8_t public_key[KD_KEY_PUBLIC_MAX];
        struct kd_place place;
        uint8_t flags;
    } device; /* what a change is about that concerns one */
};

/* Makes the change the task's data; NULL after answering "no memory". */
struct store_change *store_change_new(struct vault *v, struct task *t);

void store_change_start(struct vault *v, struct task *t);
void store_change_go(struct vault *v, struct task *t);

/* Fills t->reply with c->keys. */
void reply_keys(struct vault *v, struct task *t, struct store_change *c);

/* Stores the tags of a token's PINs, as a task of the vault's own; tokens_tags_stored
 * tells what came of it. */
void store_change_tags(struct vault *v, size_t token, const char *name,
                       const uint8_t good[KD_PIN_TAG_SIZE],
                       const uint8_t tried[KD_PIN_TAG_SIZE]);

/* The secret in the task's descriptor, for a slot, in secret memory; the caller wipes
 * and frees with kd_secret_free(octets, n). */
kd_err slot_secret_read(struct task *t, uint8_t kind,
                        struct kd_slot_secret *out) KD_MUST_USE;

/* One key as it goes to the task's client: who has the secret, only to operators. */
void key_line_put(struct kd_buf *b, const struct task *t,
                  const struct kd_key_info *info);

#endif
