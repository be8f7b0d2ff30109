/* Operations that change the key store: the one way they all go.
 *
 *   ask the ledger       was the idempotency key used? then the answer is made of what
 *                        the record says, or refused
 *   change (alone)       on a crypto thread, nothing else working: change the token and
 *                        serialise it with the next generation
 *   commit               record, file and the organization's new public keys together;
 *                        the token stays ours alone until then, so that nothing is done
 *                        with a key that is not stored
 *   settle               refresh what is derived, fill the reply
 */
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
    kd_err (*change)(struct task *t, struct store_change *c);
    /* Main thread: what the record of a change that is answered again does not say,
     * from the token, given the generation it made; NULL if there is no such thing. */
    kd_err (*again)(struct store_change *c, uint64_t generation);
    /* Main thread: fills t->reply from keys[]. */
    void (*reply)(struct vault *v, struct task *t, struct store_change *c);

    struct kd_token *token; /* the vault's, or a new one */
    bool is_marked;
    struct kd_soft_mark mark; /* of the vault's, before the change */
    size_t n_keys;
    struct kd_key_id keys[CHANGE_KEYS_MAX];
    uint8_t slot;
    uint64_t generation; /* of the change */
    bool has_digest;
    uint8_t digest[32];   /* of what the record is about, if not a key */
    struct kd_buf policy; /* the vault's before the change: kd_soft_return leaves it */
    struct kd_buf store;  /* serialised */
    union {
        struct kd_generate_job generate;
        struct kd_retire_job retire;
        struct kd_import_job import;
        struct kd_slot_job slot;
        struct kd_quorum_job quorum;
    } job;
};

/* Makes the change the task's data; NULL after answering "no memory". */
struct store_change *store_change_new(struct vault *v, struct task *t);

void store_change_start(struct vault *v, struct task *t);

/* The secret in the task's descriptor, for a slot, in secret memory; the caller wipes
 * and frees with kd_secret_free(octets, n). */
kd_err slot_secret_read(struct task *t, uint8_t kind,
                        struct kd_slot_secret *out) KD_MUST_USE;

/* One key as it goes to clients. */
void key_line_put(struct kd_buf *b, const struct kd_key_info *info);

#endif
