/* The one place where an operation is held against the quorum, between run_start() and
 * the operation.
 *
 *   no operators     single-operator = yes: the operation runs; else it is refused,
 *                    but for the first SetQuorum
 *   not marked       the operation runs
 *   marked           the request is checked for form and policy and put into words
 *                    (describers.def). Was its idempotency key used? Then the operation
 *                    answers from what is stored. Is it one that waits, to the octet,
 *                    and has all approvals? Then it runs, once. Otherwise it waits,
 *                    and its answer says under which id.
 *
 * What run_once() starts afresh asks quorum_still_holds() once more: the operators may
 * have changed while the ledger was asked. */
#ifndef KEYD_OPS_QUORUM_H
#define KEYD_OPS_QUORUM_H

#include "run.h"

#include <keyd/quorum/approval.h>

/* Starts the operation, now or never. */
void quorum_start(struct vault *v, struct task *t, task_step start);

/* True if what quorum_start() let pass may still be done; or the task is answered. */
bool quorum_still_holds(struct vault *v, struct task *t);

/* For task_finish(): approvals are used up, whatever came of it, save for a race that
 * was lost without anything done. */
void quorum_finished(struct vault *v, const struct task *t, kd_err err,
                     uint16_t reason);

/* A describer checks the request's form and policy, then appends its facts. False: it
 * has answered the task. */
#define KD_DESCRIBER(op, function, when)                                               \
    bool function(struct vault *v, struct task *t, struct kd_buf *text);
#include "describers.def"
#undef KD_DESCRIBER

/* True for the one action of ResetAddress that is an operator's. */
bool is_reset_approval(const struct task *t);

/* --- what describers share --- */

/* Permission bits in words. */
void describe_permissions(struct kd_buf *text, unsigned permissions);

/* A key of the token; with its state if with_state. */
void describe_key(struct kd_buf *text, const char *word, const struct kd_key_info *key,
                  bool with_state);

/* A key that the request names, with its state, and policy for it; false: the task is
 * answered. */
bool describe_named_key(struct vault *v, struct task *t, const char *word,
                        const uint8_t id[16], struct kd_buf *text);

/* The commitment to the descriptor's secret; false: the task is answered. */
bool describe_secret(struct vault *v, struct task *t, const char *word,
                     struct kd_buf *text);

/* Ends the task with err; false, for `return describe_refuse(...)`. */
bool describe_refuse(struct vault *v, struct task *t, kd_err err,
                     enum kd_reason reason);

#endif
