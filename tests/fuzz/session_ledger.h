/* A ledger in this process, for the session target, with a real registry. */
#ifndef KEYD_TESTS_SESSION_LEDGER_H
#define KEYD_TESTS_SESSION_LEDGER_H

#include <keyd/base/slice.h>

/* Opens the registry of the directory (made if there is none), after ending the one
 * before as a process ends. */
void session_ledger_new(const char *dir, struct kd_slice conf);
void session_ledger_free(void);

void session_ledger_link_gate(unsigned gate, int fd);
void session_ledger_link_vault(int fd); /* and greets it */

void session_ledger_step(void);
bool session_ledger_is_quiet(void); /* as session_vault_is_quiet */

/* The SHA-256 of the current signet of the address; false if there is none. */
bool session_ledger_current(struct kd_slice address, uint8_t sha256[32]);

#endif
