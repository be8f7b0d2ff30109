/* Requests: from a frame to a message for vault or ledger, and back to the answer. */
#ifndef KEYD_GATE_REQUEST_H
#define KEYD_GATE_REQUEST_H

#include "gate.h"

/* One frame of a client; takes its descriptor. */
void request_frame(struct gate *g, struct conn *c, const struct kd_frame *frame);

/* The caller has been stopped: nothing more is read from it, its look-ups end, and once
 * the vault has answered what else it asked for it is told and closed
 * (request_tell_stop).
 */
void request_stop(struct gate *g, struct conn *c);
void request_tell_stop(struct gate *g, struct conn *c);

/* What came is no sequence of frames: says so to the client, which is to be closed. */
void request_bad_stream(struct gate *g, struct conn *c, enum kd_rpc_reason reason);

/* Handlers of the channels (kd_chan_handler, ctx: the gate). */
kd_err request_on_vault(void *ctx, uint16_t type, struct kd_slice body,
                        int fd) KD_MUST_USE;
kd_err request_on_ledger(void *ctx, uint16_t type, struct kd_slice body,
                         int fd) KD_MUST_USE;

/* The channel is new, so nobody answers what went through the old one. */
void request_fail_all(struct gate *g, bool of_vault);

void request_tick(struct gate *g, int64_t now);

#endif
