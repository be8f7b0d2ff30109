/* Reload: another configuration for a daemon that runs, in two phases.
 *
 *   read      the file, all of it checked, and what needs a restart refused
 *   prepare   every role decodes its part and says so; nothing uses it. A role that
 *             cannot, does not answer, or is not there, leaves all on the old one
 *   take      decided. First the vault, which goes on to decide each job under the
 *             configuration its gate took it under; then the gates, each at once. No
 *             request is decided by two. A role that dies from here on is started with
 *             the new one, one that does not answer is ended
 *   finish    the vault forgets the old one when no job can be on its way under it
 *
 * One at a time: what asks meanwhile is answered by one more, which reads the file
 * again. */
#ifndef KEYD_SUPERVISOR_RELOAD_H
#define KEYD_SUPERVISOR_RELOAD_H

#include "wishes.h"

#include <keyd/conf/conf.h>

struct child;
struct supervisor;

enum reload_phase {
    RELOAD_NONE,
    RELOAD_PREPARING,
    RELOAD_VAULT, /* the vault takes it */
    RELOAD_OTHERS /* the others do */
};

struct reload {
    enum reload_phase phase;
    struct kd_conf *next, *next_shadow;
    uint32_t serial; /* of the newest there was, taken or not */
    uint32_t warnings;
    uint64_t tag;  /* who asked first, 0 for a signal */
    int64_t until; /* CLOCK_MONOTONIC, ms: of this phase */
    bool is_again; /* asked for meanwhile */
    bool by_signal, by_signal_again;
    unsigned tries; /* of a signal's, while a role is away */
    int64_t try_at; /* CLOCK_MONOTONIC, ms; 0: not waiting to try */
    struct wishes wishes;
};

/* What is watched from the start on. A file that is not good is logged, and nothing is
 * watched: what only looks on must not keep the service away. */
void reload_start_shadow(struct supervisor *s);

/* A signal asks, or (tag) a client. */
void reload_by_signal(struct supervisor *s);
void reload_by_wish(struct supervisor *s, uint64_t tag);

/* A role has started: which configuration it has. Before its links. */
void reload_child_started(struct supervisor *s, struct child *c);

void reload_child_ended(struct supervisor *s, struct child *c);
void reload_on_turned(struct supervisor *s, struct child *c,
                      const struct kd_ctl_turned *m);

/* Time; returns how long the loop may sleep, at most timeout. */
int reload_due(struct supervisor *s, int timeout);

#endif
