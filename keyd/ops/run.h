/* The vault's halves of the operations, and what they share. Included by the
 * <op>_run.c files and the vault's main loop only. */
#ifndef KEYD_OPS_RUN_H
#define KEYD_OPS_RUN_H

#include "../vault/vault.h"

#include <keyd/job/reasons.h>
#include <keyd/ledger/audit.h>

#include <stdio.h>

enum { RUN_ROW_SIGNET_MAX = 45056 };

/* Starts the operation of a new task; answers by itself if there is no such one. */
void run_start(struct vault *v, struct task *t);

/* Ends a task that needs keys: starting, not initialised, or sealed. */
void run_refuse_sealed(struct vault *v, struct task *t);

/* Policy, then whether what it does can be recorded, then, where the operation needs
 * keys, whether they are open, then quotas: true, or the task has been answered. In
 * this order, so that who may not learns nothing else and uses nothing up. domain may
 * be empty for operations about none. However often it is called, a task is counted
 * once. */
bool run_allowed(struct vault *v, struct task *t, struct kd_slice domain);

/* The second of these alone, for what must be found before policy can be asked: refuses
 * before anything is done what should or could not be recorded. */
bool run_may_be_recorded(struct vault *v, struct task *t);

/* Policy for a key that the request names or that is chosen for it: KD_OK, or KD_DENIED
 * and the task's reason is set. id: NULL for one to be made. Also on a crypto thread.
 */
kd_err run_key_allowed(struct task *t, unsigned role, const uint8_t *id) KD_MUST_USE;

/* A key of the token that the request names, and policy for it: its domain, its role.
 * False: the task has been answered. */
bool run_named_key(struct vault *v, struct task *t, const struct kd_key_id *id,
                   struct kd_key_info *info);

/* An active key of the domain in that role, and policy for it; else t->reason says why.
 * On a crypto thread. */
kd_err run_active_key(struct task *t, struct kd_slice domain, const uint8_t id[16],
                      enum kd_key_role role, struct kd_key_info *out) KD_MUST_USE;

/* Whether the keys can be asked now, before any work is put into it: a device may be
 * away. False: the task has been answered, and no key was used. */
bool run_keys_usable(struct vault *v, struct task *t, const struct kd_key_id *ids,
                     size_t n);

/* The error as it is; where it is one of a device, and has no reason yet, with one. */
kd_err run_of_device(struct task *t, kd_err err);

/* Why a vault that is held is so. */
enum kd_reason run_held(const struct vault *v);

/* Where a record's principal text lives until it is encoded. */
struct run_names {
    char principal[8 + KD_POLICY_NAME_MAX];
};

/* Fills what every record of a task has. */
void run_record(struct kd_audit_record *record, struct run_names *names,
                const struct vault *v, const struct task *t, enum kd_audit_op op,
                struct kd_slice domain);

/* Records that it was done, where there is no more to say, and then ends the task. */
void run_commit_bare(struct vault *v, struct task *t, enum kd_audit_op op);

/* Makes the descriptor's octets part of what the idempotency key is bound to, once. Not
 * those that may be words (KD_OPF_SECRET). */
kd_err run_bind(struct task *t) KD_MUST_USE;

/* For changing operations: fresh starts the work, unless the task's idempotency key was
 * used before; then again answers from the record that was made for it, or the task is
 * refused if the key belongs to another request. */
void run_once(struct vault *v, struct task *t, task_step fresh,
              void (*again)(struct vault *v, struct task *t, struct kd_slice record));

/* Ends the task with a reason on a crypto thread's behalf: sets t->reason. */
kd_err run_refuse(struct task *t, kd_err err, enum kd_reason reason);
kd_err run_refuse_dime(struct task *t, unsigned why);

/* Filters a profile: the job's field stream and, with_image, the descriptor's PNG as
 * field 252. allowed: field i is kept if bit i % 8 of octet i / 8 is set, NULL for all.
 * On a crypto thread. */
kd_err run_profile(struct task *t, unsigned kind, struct kd_slice profile,
                   bool with_image, const uint8_t *allowed,
                   struct kd_buf *out) KD_MUST_USE;

void run_issue_user_signet(struct vault *v, struct task *t);
void run_issue_org_signet(struct vault *v, struct task *t);
void run_freeze_address(struct vault *v, struct task *t);
void run_reset_address(struct vault *v, struct task *t);
void run_stop_principal(struct vault *v, struct task *t);
void run_sign_outbound(struct vault *v, struct task *t);
void run_open_envelope(struct vault *v, struct task *t);
void run_open_bounce(struct vault *v, struct task *t);
void run_make_bounce(struct vault *v, struct task *t);
void run_seal_naked(struct vault *v, struct task *t);
void run_status(struct vault *v, struct task *t);
void run_public_keys(struct vault *v, struct task *t);
void run_token_init(struct vault *v, struct task *t);
void run_add_unseal_slot(struct vault *v, struct task *t);
void run_unseal(struct vault *v, struct task *t);
void run_seal(struct vault *v, struct task *t);
void run_generate_key(struct vault *v, struct task *t);
void run_retire_key(struct vault *v, struct task *t);
void run_import_key(struct vault *v, struct task *t);
void run_set_quorum(struct vault *v, struct task *t);
void run_approval_list(struct vault *v, struct task *t);
void run_approval_show(struct vault *v, struct task *t);
void run_approval_sign(struct vault *v, struct task *t);
void run_policy_explain(struct vault *v, struct task *t);
void run_registry_backup(struct vault *v, struct task *t);
void run_registry_restore(struct vault *v, struct task *t);
void run_audit_drop(struct vault *v, struct task *t);
void run_reload(struct vault *v, struct task *t);
void run_drain(struct vault *v, struct task *t);
void run_token_list(struct vault *v, struct task *t);
void run_token_doctor(struct vault *v, struct task *t);
void run_token_adopt(struct vault *v, struct task *t);
void run_attach_key(struct vault *v, struct task *t);
void run_sign_tls_record(struct vault *v, struct task *t);

#endif
