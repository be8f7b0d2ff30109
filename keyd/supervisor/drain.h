/* Drain: the gates take no more connections and no more requests, and what is in flight
 * is finished. Then the daemon waits to serve again, or ends.
 *
 * Asked for by an operator the operators' own listener goes on, so that one can look
 * and change one's mind; when the daemon ends it goes last, with the answers on it. A
 * signal has all of them drain at once. Ending waits no longer than drain-timeout. */
#ifndef KEYD_SUPERVISOR_DRAIN_H
#define KEYD_SUPERVISOR_DRAIN_H

#include "wishes.h"

struct child;

struct drain {
    bool is_on;      /* no gate of clients takes requests */
    bool is_all;     /* the operators' neither */
    bool is_ending;  /* and then the daemon ends */
    uint32_t serial; /* of the last change */
    int64_t until;   /* is_ending: CLOCK_MONOTONIC, ms */
    struct wishes wishes;
};

/* Of a client: enum kd_wish but reload. */
void drain_by_wish(struct supervisor *s, const struct kd_ctl_wish *m);

/* Ends the daemon. The second time at once. */
void drain_by_signal(struct supervisor *s);

/* A gate or the vault has started. Before its links. */
void drain_child_started(struct supervisor *s, struct child *c);

void drain_child_ended(struct supervisor *s, struct child *c);
void drain_on_turned(struct supervisor *s, struct child *c,
                     const struct kd_ctl_turned *m);

/* Time; returns how long the loop may sleep, at most timeout. */
int drain_due(struct supervisor *s, int timeout);

#endif
