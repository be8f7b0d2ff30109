/* What operations about an address share: the account part of the ledger's answers. Any
 * question about an address can carry it (messages.def, account_part), and whoever
 * signs for the account asks account_is_open of it. */
#ifndef KEYD_OPS_ACCOUNT_H
#define KEYD_OPS_ACCOUNT_H

#include "run.h"

/* Reads the part. KD_MALFORMED also for numbers that mean nothing. */
kd_err account_get(struct kd_slice octets, struct kd_account_part *out) KD_MUST_USE;

/* True if things may be signed for the account; else the task has been answered,
 * "denied" with a stable reason. */
bool account_is_open(struct vault *v, struct task *t, const struct kd_account_part *a);

/* Milliseconds until its pending reset may be used, as far as time is concerned. */
uint64_t account_reset_remaining(const struct vault *v,
                                 const struct kd_account_part *a);

/* True if it may be used now: approved, and the delay has passed. */
bool account_reset_is_ripe(const struct vault *v, const struct kd_account_part *a);

/* What the vault has counted: goes with what is recorded of resets. */
uint64_t account_uptime(const struct vault *v);

/* --- a change of an account: ask, decide, commit, ask again, answer --- */

struct account_change {
    struct kd_slice address; /* borrows from the task's body */
    /* Decides by the account as it is: KD_OK and *op to make a record (with detail, if
     * the operation has one); KD_NOT_FOUND if it is so already; else *why says why not.
     */
    kd_err (*decide)(struct vault *v, struct task *t, const struct kd_account_part *a,
                     enum kd_audit_op *op, enum kd_reason *why);
    struct kd_slice detail; /* of the record; lives as long as the task */
    /* Fills t->reply. */
    void (*reply)(struct vault *v, struct task *t, const struct kd_account_part *a,
                  bool changed);
    unsigned attempts;
    uint16_t shuts; /* what is committed shuts the account: why, as a reason; or 0 */
    bool is_done;
};

/* False after "unavailable": what accounts are is not known. */
bool account_ledger_is_there(struct vault *v, struct task *t);

/* The change is the task's data, or lies at its beginning. Starts it, unless the ledger
 * is not there. */
void account_change_start(struct vault *v, struct task *t);

/* Common to those that work on one address: its form, and policy. False after the task
 * has been answered. */
bool account_address_is_allowed(struct vault *v, struct task *t,
                                struct kd_slice address);

/* False after "denied": this part is for operators. */
bool account_operator_asks(struct vault *v, struct task *t);

#endif
