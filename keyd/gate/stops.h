/* Principals that an operator has stopped, as the vault says: they ask for nothing any
 * more, look-ups included, and their connections are told and closed. */
#ifndef KEYD_GATE_STOPS_H
#define KEYD_GATE_STOPS_H

#include "gate.h"

bool stops_has(const struct gate *g, const struct kd_caller *who);

/* The vault's list, in place of the one before; answers that it is obeyed. */
kd_err stops_on_message(struct gate *g, struct kd_slice body) KD_MUST_USE;

#endif
