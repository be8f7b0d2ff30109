/* The state that Status shows, and the reasons for it. */
#ifndef KEYD_VAULT_STATE_H
#define KEYD_VAULT_STATE_H

#include <keyd/base/err.h>
#include <keyd/job/state.h>

struct vault;

/* Where the vault is in its life. */
enum vault_state {
    VAULT_STARTING,      /* the ledger has not said where it stands */
    VAULT_UNPROVISIONED, /* there is no key store */
    VAULT_SEALED,
    VAULT_OPERATIONAL,
    VAULT_FAILED /* the ledger contradicts what we know; an operator must look */
};

/* All that decides on the state. */
struct vault_facts {
    enum vault_state life;
    bool opens_itself; /* by the credential, now */
    bool is_draining;
    uint64_t reasons; /* bits of enum kd_state_reason that hold now */
};

/* The state, and nothing else decides on it. What contradicts the log comes before
 * everything; what will pass by itself before what an operator must do; the rest only
 * degrades. */
enum kd_service_state vault_state_of(const struct vault_facts *facts);

/* What holds of this vault now. */
void vault_facts(const struct vault *v, struct vault_facts *out);

/* Reasons that somebody tells (others are looked at whenever asked): they hold until
 * they are cleared. */
void vault_raise(struct vault *v, enum kd_state_reason reason);
void vault_clear(struct vault *v, enum kd_state_reason reason);

#endif
