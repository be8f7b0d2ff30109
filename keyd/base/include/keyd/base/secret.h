/* Memory for keys: memfd_secret where the kernel offers it (not even root reads it
 * from outside), else guarded, locked, not-dumped pages of libsodium. Wiped on
 * release and in a forked child.
 *
 * One region is made early (kd_secret_setup) because the sandbox later denies the
 * system calls it takes; blocks are cut from it. */
#ifndef KEYD_BASE_SECRET_H
#define KEYD_BASE_SECRET_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

/* Call once, before the sandbox and before threads. size: octets for all blocks
 * together, rounded up to pages. KD_NOMEM if no locked memory is to be had. */
kd_err kd_secret_setup(size_t size) KD_MUST_USE;

/* True if the region is memfd_secret. */
bool kd_secret_is_hidden(void);

/* A zeroed block, 16-octet aligned; thread-safe. NULL when the region is used up. */
void *kd_secret_new(size_t n);

/* Wipes and releases; accepts NULL. n as given to kd_secret_new. */
void kd_secret_free(void *p, size_t n);

/* True if p to p + n lies in the region. For interfaces that give a secret only into
 * secret memory. */
bool kd_secret_holds(const void *p, size_t n);

/* Overwrites, never optimised away. For secrets on the stack too. */
void kd_secret_wipe(void *p, size_t n);

/* Constant time in n. */
bool kd_secret_eq(const void *a, const void *b, size_t n);

/* For a process that holds no key and only relays: RLIMIT_CORE 0, not dumpable, no
 * ptrace by its own uid. Every role calls it after its exec. */
kd_err kd_process_undumpable(void) KD_MUST_USE;

#endif
