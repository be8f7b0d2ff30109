/* What the message operations share, the vault's halves. Each goes the same way:
 *
 *   main thread     names, policy, keys, the object, the meter of strangers: nothing of
 *                   it uses a key
 *   crypto thread   the walker (keyd/mail/mail.h)
 *   ledger          whose message it is, where that is asked; asked after a failure,
 *                   too, about nobody
 *   commit          if a key was used, whatever came of it
 *   answer
 *
 * Success and every failure behind a key take the same steps. */
#ifndef KEYD_OPS_MAIL_H
#define KEYD_OPS_MAIL_H

#include "mail_ask.h"

#include <keyd/mail/mail.h>

/* The object of a request. */
struct mail_object {
    struct dime_source source;
    struct kd_slice signet; /* that came inline; borrowed */
    unsigned
        cost; /* of verifying it (origins_cost), where that is more than it looks; or
               * 0 */
    size_t signet_size; /* of the one behind the message in the descriptor; or 0 */
    struct kd_buf signet_read; /* that, once it was read */
};

/* Whether the message is where the job says, inline or so many octets of the task's
 * descriptor, with a signet behind it or not. False: the task has been answered. Free
 * it in every case after it was zeroed. */
bool mail_object_take(struct vault *v, struct task *t, struct kd_slice message,
                      uint32_t size, struct kd_slice signet, bool has_signet,
                      struct mail_object *out);
void mail_object_free(struct mail_object *o);

/* The signet's octets; on a crypto thread. KD_NOMEM, KD_IO. */
kd_err mail_object_signet(struct task *t, struct mail_object *o,
                          struct kd_slice *out) KD_MUST_USE;

/* task_work for the object: as what takes long where it is large, or many keys are
 * tried on it. */
enum { MAIL_LONG_SIZE = 256 << 10, MAIL_LONG_COST = 4 };
void mail_work(struct vault *v, struct task *t, const struct mail_object *o,
               task_working work, task_step next);

/* Before mail_work that uses keys: they can be asked now, and the signer (NULL: none)
 * can sign so many octets in one go. False: the task has been answered, and no key was
 * used. */
bool mail_may_use(struct vault *v, struct task *t, const struct kd_key_id *ids,
                  size_t n, const struct kd_key_id *signer, uint64_t size);

/* A domain that is served, whose organizational signet is good, after policy and the
 * rest of run_allowed. False: the task has been answered. */
struct mail_place {
    struct kd_slice domain;
    size_t org;
    const struct kd_domain_rules *rules; /* borrowed from the task's configuration */
};
bool mail_place_find(struct vault *v, struct task *t, struct kd_slice domain,
                     struct mail_place *out);

/* The encryption key for mail to that signet of ours (64 octets, or empty: the current
 * one), and the key that signs; false: answered. */
bool mail_opener(struct vault *v, struct task *t, const struct mail_place *p,
                 struct kd_slice fp, struct vault_opener *out);
bool mail_signer(struct vault *v, struct task *t, const struct mail_place *p,
                 struct kd_key_id *out);

/* The walkers' keys; on a crypto thread. KD_SEALED, KD_TIMEOUT and the task's reason.
 */
kd_err mail_keys_of(struct task *t, const struct kd_key_id *opener,
                    const struct kd_key_id *signer, struct mail_keys *out) KD_MUST_USE;

/* The walker's result as the task's: error, and reason. derived: the keys that what was
 * found rests on. A verdict that is final is given only after a device that has one was
 * tried anew and does right; of whatever failed behind a key, so that all costs the
 * same. On a crypto thread. */
struct mail_derived {
    const struct kd_key_id *ids;
    size_t n; /* 0: no key was used */
};
kd_err mail_result(struct task *t, kd_err err, enum dime_flaw flaw,
                   struct mail_derived derived) KD_MUST_USE;

/* What is recorded of a use of a key. */
struct mail_use {
    enum kd_audit_op op;
    const struct kd_key_id *key;
    unsigned n_digests;
    const uint8_t *digests; /* 32 octets each */
    unsigned notes;
};

/* Commits it: done, if result is KD_OK, or failed; the next step answers. */
void mail_commit(struct vault *v, struct task *t, const struct mail_place *p,
                 const struct mail_use *use, kd_err result, task_step next);

#endif
