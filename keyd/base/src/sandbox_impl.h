/* Between the files of the sandbox. */
#ifndef KEYD_BASE_SANDBOX_IMPL_H
#define KEYD_BASE_SANDBOX_IMPL_H

#include <keyd/base/sandbox.h>

#include <stdbool.h>
#include <stdint.h>

/* All capabilities away but those of keep (bit n for capability n) that are held. */
kd_err kd_caps_reduce(uint64_t keep) KD_MUST_USE;

enum kd_landlock_flags {
    LANDLOCK_FS = 0,
    LANDLOCK_NET = 1,
    LANDLOCK_SCOPE = 2,
    LANDLOCK_ALL = LANDLOCK_NET | LANDLOCK_SCOPE,
};

/* Confines the calling thread. *version: the kernel's Landlock version, 0 if it has
 * none (KD_OK even so; the mode decides what that means). */
kd_err kd_landlock_apply(const struct kd_sandbox_paths *paths, unsigned flags,
                         int *version) KD_MUST_USE;

/* Puts the role's filter on every thread. */
kd_err kd_seccomp_apply(enum kd_role role) KD_MUST_USE;

/* False in builds with sanitizers: the two above then do nothing. */
extern const bool kd_sandbox_real;

#endif
