/* What each caller has in flight at a gate, and the limits on it (security.md 4.3): one
 * principal cannot take what the others of its class need. */
#ifndef KEYD_GATE_PRINCIPAL_H
#define KEYD_GATE_PRINCIPAL_H

#include <keyd/conf/role_conf.h>

struct conn;

struct conn_queue {
    struct conn *first, *last; /* the longest waiting first */
};

struct principal {
    struct kd_caller caller; /* its name lies in remote */
    uint8_t remote[KD_POLICY_NAME_MAX];
    uint32_t n_conns, n_requests, n_uploads; /* all 0: the entry is free */
    uint64_t frames;                         /* octets of its requests in flight */
    uint32_t n_taken;                        /* frames this turn */
    uint64_t queued; /* octets of answers that its connections have not read */
    uint64_t kept;   /* octets of theirs that were read and wait, or are half a frame */
    /* Connections whose turn comes later: those of whom something is kept, and those
     * of whom nothing was read yet. */
    struct conn_queue kept_waiting, fresh_waiting;
    bool is_fresh_next; /* the two by turns, over all turns of the loop */
};

enum {
    /* What one principal is given before the others have their turn, and what it may
     * have under way: more waits, unread, so that another's request has at most that
     * much before it. Only where there are others. */
    PRINCIPAL_FRAMES_A_TURN = 64,
    PRINCIPAL_UNDER_WAY_MAX = 64,
    /* Answers its clients leave unread; above it nothing more is read from any. */
    PRINCIPAL_QUEUED_MAX = 16 * 1024 * 1024,
    PRINCIPAL_KEPT_MAX = 16 * 1024 * 1024,
    /* Requests in flight of one principal, where there are others beside it: below what
     * the vault takes of a gate. */
    PRINCIPAL_REQUESTS_MAX = 2048,
    /* Of the connections one principal leaves this part to the others, and all that
     * policy does not know together have no more. */
    PRINCIPAL_SPARE_PART = 8
};

struct principal_table {
    struct principal list[KD_POLICY_ROWS_MAX + 1]; /* the last: everybody unknown */
    uint64_t uploads;                              /* octets in flight, of all */
    bool is_shared;                                /* policy knows more than one */
};

/* The entry of a caller, counting one more connection. Callers that policy does not
 * know share one entry. Never NULL. */
struct principal *principal_join(struct principal_table *t,
                                 const struct kd_caller *caller, bool is_known);
void principal_leave(struct principal *p);

/* True if no more frames are to be read from it now. */
bool principal_must_wait(const struct principal_table *t, const struct principal *p);

/* True if it has more connections than its share of max. */
bool principal_is_over(const struct principal_table *t, const struct principal *p,
                       uint32_t max);

/* Takes room for a request: octets of its frame, and of its descriptor's object (0:
 * none). KD_BUSY if a limit is reached; nothing is taken then. */
kd_err principal_take(struct principal_table *t, struct principal *p,
                      const struct kd_limits *limits, size_t frame,
                      size_t upload) KD_MUST_USE;
void principal_give(struct principal_table *t, struct principal *p, size_t frame,
                    size_t upload);

/* True if another object of that size may be under way. */
bool principal_has_room(const struct principal_table *t, const struct principal *p,
                        const struct kd_limits *limits, size_t size);

/* The same for an object without a request: one that comes or goes in parts. */
kd_err principal_take_object(struct principal_table *t, struct principal *p,
                             const struct kd_limits *limits, size_t size) KD_MUST_USE;
void principal_give_object(struct principal_table *t, struct principal *p, size_t size);

#endif
