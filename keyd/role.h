/* How every role starts: one order for all (style.md, PROCESSES).
 *
 * The supervisor has execed it under its own uid with descriptor 3, the control
 * channel, and nothing else but stderr. The role receives its configuration there,
 * takes what it needs (memory, threads), enters its sandbox, says so, and only then
 * takes links and reads what others send. When the control channel ends, so does it. */
#ifndef KEYD_ROLE_H
#define KEYD_ROLE_H

#include <keyd/base/chan.h>
#include <keyd/base/sandbox.h>

enum { KD_ROLE_CTL_FD = 3 };

/* Not dumpable, no SIGPIPE, logging as name; waits for the configuration message, whose
 * octets (owned) go to *conf. Ends the process with a log line if there is none. */
void kd_role_start(struct kd_chan *ctl, const char *name, struct kd_buf *conf);

/* Enters the sandbox of the role and tells the supervisor. Ends the process if that
 * fails and the configuration demands it. */
void kd_role_confine(struct kd_chan *ctl, enum kd_role role, bool strict);

/* Ends the process: our own fault or the supervisor's end. Never for what a less
 * trusted peer sent. */
_Noreturn void kd_role_die(const char *why, kd_err err);

#endif
