/* Something done by a child first, to see whether one survives it. The supervisor's
 * filter kills for a call that a library might make, on a machine whose users are
 * looked up over the network; and what hangs must not hang the supervisor. It is the
 * one process that nobody starts again. */
#ifndef KEYD_SUPERVISOR_REHEARSE_H
#define KEYD_SUPERVISOR_REHEARSE_H

#include <keyd/base/err.h>

/* Runs act(arg) in a child, whose result and memory are lost. KD_OK if it came back,
 * KD_FAILED if the child died of it, KD_TIMEOUT if it took longer than ms milliseconds
 * (it is killed), KD_UNAVAILABLE if there can be no child. The process has no threads.
 */
kd_err rehearse(void (*act)(void *arg), void *arg, int ms) KD_MUST_USE;

#endif
