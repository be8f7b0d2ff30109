/* The vault without its process: what keyd-vault does between being confined and its
 * end, for its main and for tests that have it and a ledger in one process. */
#ifndef KEYD_VAULT_STEP_H
#define KEYD_VAULT_STEP_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

struct vault;

/* A vault, zeroed before but for its control channel, with this configuration and
 * without any link. After kd_secret_setup. The errors of vault_conf_new. */
kd_err vault_begin(struct vault *v, struct kd_slice conf) KD_MUST_USE;

/* One turn: waits for something to do, at most so long and never longer than a tick,
 * and does what there is. Its pool must have been started. */
void vault_step(struct vault *v, int wait_ms);

#endif
