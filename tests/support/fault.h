/* A real daemon whose roles can be disturbed while they run: system calls and
 * allocations that fail at a chosen count, a clock that is wrong, limits. Not with
 * sanitizers, which want to be first in the process themselves. */
#ifndef KEYD_TESTS_FAULT_H
#define KEYD_TESTS_FAULT_H

#include "daemon.h"
#include "fault_control.h"

struct faults {
    struct fault_control *of[FAULT_ROLES];
    char libexec[64];
    char top[256];
    char log_line[512]; /* the last that fault_log_find found */
};

/* Makes the control pages and a directory of stand-ins for the roles' programs, and
 * adds the configuration line to options->top, which must be NULL or live on. False
 * (reported) if that does not work. */
bool fault_setup(struct faults *f, struct daemon_options *options);
void fault_clear(struct faults *f);

/* The nth of these calls from now on fails like that (fault_control.h). It counts on
 * in the role's next process if the present one ends before. */
void fault_arm(struct faults *f, enum fault_role role, enum fault_call call, uint64_t n,
               uint32_t how);

/* No more. How often it has failed since fault_arm. */
unsigned fault_disarm(struct faults *f, enum fault_role role);
unsigned fault_fired(const struct faults *f, enum fault_role role);

/* The first line from that octet (daemon_log_end) on that has both texts (b may be
 * NULL); NULL. */
const char *fault_log_find(struct faults *f, const struct daemon *d, long from,
                           const char *a, const char *b);

/* The audit key as 64 hexadecimal digits; fails the test if there is none. */
void fault_audit_key(const struct daemon *d, uint8_t key[32]);

/* Judges the registry of a daemon that does not run (check.h); prints what is wrong.
 * acks may be NULL. */
unsigned fault_check(const struct daemon *d, const char *acks, const uint8_t *key);

#endif
