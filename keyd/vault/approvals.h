/* What the vault knows of its operators, and the requests that wait for them. The
 * operators come out of the open key store and of nothing else; the requests live in
 * this process's memory and end with it, with the keys (Seal), and with any change of
 * the operators. */
#ifndef KEYD_VAULT_APPROVALS_H
#define KEYD_VAULT_APPROVALS_H

#include <keyd/quorum/pending.h>

struct vault;
struct task;
struct vault_conf;

enum approvals_state {
    APPROVALS_NONE, /* no operators: the configuration decides. Or no open key store */
    APPROVALS_SET,
    APPROVALS_BAD /* an area that this program does not understand: nothing marked runs
                   */
};

struct approvals {
    enum approvals_state state;
    struct kd_quorum quorum;
    uint8_t digest[KD_QUORUM_DIGEST_SIZE];
    uint64_t version; /* counts the changes this process has seen */
    struct kd_pendings pendings;
    uint8_t *key; /* secret memory: of commitments; of this process only */
};

/* KD_NOMEM. */
kd_err approvals_init(struct approvals *a) KD_MUST_USE;

/* Forgets everything. */
void approvals_clear(struct approvals *a);

/* Reads the key store's policy area again; what waited under others is void. */
void approvals_refresh(struct vault *v);

/* Drops what is past its end. */
void approvals_expire(struct vault *v);

/* True if one operator decides alone: the configuration allows it, and the key store,
 * which has the word, has no operators. False as long as it is not open. */
bool approvals_single_operator(const struct vault *v, const struct vault_conf *conf);

struct kd_moment approvals_now(void);

/* Binds to the task's object without telling anything about it: BLAKE2b under the key.
 * KD_INVALID for a descriptor that holds no secret of acceptable size. */
kd_err approvals_commitment(struct vault *v, struct task *t,
                            uint8_t out[32]) KD_MUST_USE;

#endif
