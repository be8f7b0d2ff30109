/* What a test and the roles it disturbs share: one page for each kind of role, in a
 * memfd that the roles inherit under a fixed number. The test writes what is to fail,
 * the shim inside the role (fault_shim.c) counts and fails it; so no system call is
 * needed that a sandbox would forbid, and a running role can be disturbed. */
#ifndef KEYD_TESTS_FAULT_CONTROL_H
#define KEYD_TESTS_FAULT_CONTROL_H

#include <stdatomic.h>
#include <stdint.h>

enum fault_role { FAULT_VAULT, FAULT_LEDGER, FAULT_GATE, FAULT_ROLES };

/* The page of role r is descriptor FAULT_FD + r, up to the role's exec. */
enum { FAULT_FD = 300 };

/* What can fail, each counted. */
enum fault_call { FAULT_NONE, FAULT_SYNC, FAULT_WRITE, FAULT_ALLOC };

/* How, besides an errno. */
enum {
    FAULT_LATE = 1 << 16,  /* it is done all the same, then reported as failed */
    FAULT_SHORT = 1 << 17, /* a write does half and says so */
    FAULT_STAYS = 1 << 18, /* and all such calls after it fail, too */
    FAULT_ERRNO = 0xffff
};

enum fault_command { FAULT_NO_COMMAND, FAULT_FORK, FAULT_EAT_MEMORY };

struct fault_control {
    char program[512]; /* the role's own */
    char shim[512];
    uint64_t limit_files, limit_space; /* of the next start; 0: as it is */

    _Atomic uint32_t call; /* enum fault_call; what counts down */
    _Atomic int64_t left;  /* the call that makes it 0 fails; 0: none will */
    _Atomic uint32_t how;
    _Atomic uint32_t n_fired;
    _Atomic uint64_t n_calls[4]; /* by enum fault_call, since the test began */

    _Atomic int64_t wall_shift_ms; /* added to CLOCK_REALTIME */
    _Atomic uint32_t command;      /* done once, when the role next looks at a clock */
};

#endif
