/* A vault in this process, for the session target: keyd/vault.c and what belongs to it,
 * with a pool that works at once. Apart from the ledger's side, whose store.h has names
 * of the token's. */
#ifndef KEYD_TESTS_SESSION_VAULT_H
#define KEYD_TESTS_SESSION_VAULT_H

#include <keyd/base/slice.h>

/* A new one with this configuration and nothing linked, after freeing that before. */
void session_vault_new(struct kd_slice conf);
void session_vault_free(void);

/* Ends of channels; the vault takes fd. gate: its number (role.h). */
void session_vault_link_gate(unsigned gate, int fd);
void session_vault_link_ledger(int fd);

void session_vault_step(void);

/* Nothing has come that it has not taken, and nothing of its own waits to be sent or to
 * be gone on with. */
bool session_vault_is_quiet(void);

/* It has a token that is open; it has failed (a ledger went back). */
bool session_vault_is_open(void);
bool session_vault_has_failed(void);

#endif
