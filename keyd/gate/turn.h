/* What the supervisor has a gate do while it runs: take another configuration, stop
 * taking requests, go on. */
#ifndef KEYD_GATE_TURN_H
#define KEYD_GATE_TURN_H

#include "gate.h"

/* A ctl_turn message; takes fd. */
kd_err turn_take(struct gate *g, struct kd_slice body, int fd) KD_MUST_USE;

/* Before each request: whether policy knows the caller may have changed. */
void turn_look(struct gate *g, struct conn *c);

/* Draining, every request is refused but those that show how it goes on, and those for
 * the rest of an answer that was given. */
bool turn_refuses(const struct gate *g, enum kd_op op);

/* For the end of each turn: tells the supervisor how much is in flight, while it wants
 * to know. is_tick: also if it is not nothing. */
void turn_tell(struct gate *g, bool is_tick);

#endif
