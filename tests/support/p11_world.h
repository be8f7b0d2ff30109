/* Tokens of SoftHSM behind the pool of hosts, in the test's own process: real keyd-p11
 * processes, and a thread that does for them what the supervisor and the vault's main
 * thread do. A key store of the test's keeps keys in them. Root. Failures are the
 * test's. */
#ifndef KEYD_TESTS_P11_WORLD_H
#define KEYD_TESTS_P11_WORLD_H

#include "softhsm.h"

#include <keyd/p11/p11.h>
#include <keyd/token/soft_store.h>

#include <sys/types.h>

enum { P11_WORLD_TOKENS = 2, P11_WORLD_UID = 61011 };

/* "alpha", "beta" */
const char *p11_world_name(size_t i);

/* Once: the first n of them, sessions hosts each, until every one has been seen. False:
 * not root, or no softhsm2. */
bool p11_world_begin(size_t n, unsigned sessions);

/* Ends hosts and removes the tokens. */
void p11_world_end(void);

/* A new key store to which the tokens are attached and theirs; one at a time. */
struct kd_token *p11_world_store(void);

/* A pair of that spec, made where spec->tokens say, active. */
void p11_world_generate(struct kd_token *t, const struct kd_key_spec *spec,
                        struct kd_key_info *out);

/* Until all of them do right. */
void p11_world_wait(struct kd_token *t);

/* All their hosts' processes, for who measures them: how many, at most max. */
size_t p11_world_pids(pid_t *out, size_t max);

/* The folder of token i. */
const struct softhsm *p11_world_token(size_t i);

#endif
