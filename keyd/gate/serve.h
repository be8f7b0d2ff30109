/* Connections whose caller is known: frames in, answers out, and when each ends. */
#ifndef KEYD_GATE_SERVE_H
#define KEYD_GATE_SERVE_H

#include "gate.h"

/* Takes the listening socket, in place of the one before. */
void serve_listen(struct gate *g, int fd);

/* Accepts, or not: after the limit or anything else it depends on has changed. */
void serve_accept(struct gate *g);

/* A connection of that caller begins; takes fd, which was closed at once if this is
 * NULL. */
struct conn *serve_open(struct gate *g, int fd, const struct kd_caller *who);

/* There is something to send, or to decide; settled at the end of the turn. */
void serve_later(struct gate *g, struct conn *c);

/* Ends what is due of all that was put off: reads from connections that waited for
 * their principal's turn, sends. True if there is more to do at once. */
bool serve_settle(struct gate *g);

/* The configuration knows the caller, or does not, where the one before did otherwise:
 * the connection counts elsewhere from here on, with all that it is charged. At one of
 * its own requests. */
void serve_rejoin(struct gate *g, struct conn *c, bool is_known);

void serve_close(struct gate *g, struct conn *c);
void serve_tick(struct gate *g, int64_t now);

#endif
