/* How every role starts: one order for all (style.md, PROCESSES).
 *
 * The supervisor has execed it under its own uid with descriptor 3, the control
 * channel (a gate with 4 and 5 too), and nothing else but 0 to 2. The role receives its
 * configuration there, takes what it needs (memory, event loop), confines itself, makes
 * its threads, enters the filter, says so, and only then takes links and reads what
 * others send. When the control channel ends, so does it. */
#ifndef KEYD_ROLE_H
#define KEYD_ROLE_H

#include <keyd/base/buf.h>
#include <keyd/base/chan.h>
#include <keyd/base/sandbox.h>
#include <keyd/conf/role_conf.h>
#include <keyd/job/job.h>

#include <poll.h>

enum {
    KD_ROLE_CTL_FD = 3,
    /* Of a gate besides: the memory of the quotas (quota_table.h), to write and to
     * read; both closed before the filter. */
    KD_ROLE_QUOTA_FD = 4,
    KD_ROLE_QUOTA_READ_FD = 5,
    /* Exit status of a role that will not run before an operator has looked: restarting
     * it would not help. */
    KD_ROLE_EXIT_REFUSED = 3
};

/* Every listener has one to KD_GATE_WORKERS_MAX gates, which share its socket. Gates
 * are numbered by class, then worker; a gate's class is all that the others go by. */
enum { KD_GATE_WORKERS_MAX = 4, KD_GATES_MAX = KD_CLASS_COUNT * KD_GATE_WORKERS_MAX };

static inline enum kd_class
kd_gate_class(unsigned number)
{
    return (enum kd_class)(number / KD_GATE_WORKERS_MAX);
}

/* Not dumpable, no SIGPIPE, logging as name; waits for the configuration and appends
 * its octets to conf (initialised by the caller). Ends the process if none comes. */
void kd_role_start(struct kd_chan *ctl, const char *name, struct kd_buf *conf);

/* Initialises conf with the octets of a later part of the configuration, which come in
 * fd: KD_MALFORMED without one. Free conf in every case. */
kd_err kd_role_conf_read(int fd, struct kd_buf *conf) KD_MUST_USE;

/* The same for a policy that is to be watched; it takes the place of *shadow. */
kd_err kd_role_shadow_read(int fd, struct kd_policy **shadow) KD_MUST_USE;

/* First half of the sandbox (before threads) and second half (the filter). Relaxed
 * hardening does without what the kernel lacks. End the process if they fail. */
void kd_role_confine(enum kd_role role, const struct kd_sandbox_paths *paths,
                     enum kd_hardening hardening);
void kd_role_enter(enum kd_role role, const struct kd_sandbox_paths *paths,
                   enum kd_hardening hardening);

/* Tells the supervisor that the role serves from now on. */
void kd_role_ready(struct kd_chan *ctl);

/* Answers the supervisor's ctl_turn. in_flight: of a gate that drains. */
void kd_role_turned(struct kd_chan *ctl, enum kd_turn turn, uint32_t serial, kd_err err,
                    uint32_t in_flight);

/* A descriptor of the working directory, where the supervisor starts the ledger; -1. */
int kd_role_directory(void);

/* A channel to another role, as the supervisor brought it. */
struct kd_role_link {
    struct kd_chan chan;
    struct kd_ctl_link as;
    bool reported; /* that the channel is gone */
};

/* No channel yet. */
void kd_role_unlinked(struct kd_role_link *link);

/* Replaces the channel by a new one over fd. */
void kd_role_relink(struct kd_role_link *link, const struct kd_ctl_link *as, int fd);

/* From a role that asks us: what waits for it is bounded (chan.h, pause_at). Never at
 * both ends of a channel, which would wait for each other. */
void kd_role_relink_asking(struct kd_role_link *link, const struct kd_ctl_link *as,
                           int fd);

/* Receives, flushes. On any error, or when the channel was closed by our own hand, the
 * supervisor is asked for another; that the peer said something bad is its problem,
 * never ours. */
void kd_role_serve(struct kd_chan *ctl, struct kd_role_link *link, unsigned packets,
                   kd_chan_handler handler, void *ctx);
void kd_role_flush(struct kd_chan *ctl, struct kd_role_link *link);

/* For poll: readable, and writable while something waits to be sent. */
struct pollfd kd_role_watch(const struct kd_chan *ch);

/* The same for the control channel itself, whose end is the role's end. */
void kd_role_serve_ctl(struct kd_chan *ctl, kd_chan_handler handler, void *ctx);
void kd_role_flush_ctl(struct kd_chan *ctl);

/* Ends the process: our own fault, or the supervisor's end. Never for what a less
 * trusted peer sent. */
_Noreturn void kd_role_die(const char *why, kd_err err);

#endif
