/* One client connection of the gate. An idle one is this, its event, and no buffers. */
#ifndef KEYD_GATE_CONN_H
#define KEYD_GATE_CONN_H

#include <keyd/conf/policy.h>
#include <keyd/rpc/rpc_frame.h>

struct event;
struct gate;
struct part;
struct pending;
struct principal;

struct conn {
    struct conn *prev, *next; /* all connections */
    struct conn *next_dirty;
    struct conn *prev_waiting, *next_waiting; /* of its principal's (principal.h) */
    struct gate *gate;
    struct event *event;
    void *stream;            /* the transport's */
    struct part *parts;      /* objects that come or go in parts */
    uint64_t n_parts;        /* ever: the next one's number */
    struct pending *pending; /* its requests in flight */
    unsigned n_pending;
    int fd;
    struct kd_caller caller; /* its name, if any, lies in remote */
    uint8_t remote[KD_POLICY_NAME_MAX];
    struct principal *principal;
    size_t queued, kept; /* octets, as its principal is charged for them */
    uint32_t serial;     /* of the configuration that is_known is by */
    short armed;         /* what the event waits for */
    bool is_known : 1;   /* policy has a principal of this uid */
    bool is_greeted : 1; /* Hello was answered */
    bool has_spoken : 1; /* an octet has come */
    bool is_dirty : 1;
    bool is_held : 1;         /* frames were read that must wait */
    bool is_kept_waiting : 1; /* in which queue */
    bool is_waiting : 1;      /* until its principal may have more read */
    bool has_more : 1;        /* octets have come that no poll tells of */
    bool is_half_closed : 1;  /* nothing more comes, answers may go */
    bool is_stopped : 1;      /* by an operator: to be told so when nothing is open */
    bool is_leaving : 1;      /* to be closed once its answers are out */
    bool is_broken : 1;       /* to be closed now */
    /* CLOCK_MONOTONIC, ms; 0: not so */
    int64_t opened_at, active_at, partial_since, stalled_since;
    struct kd_frame_in in;
    struct kd_frame_out out;
};

/* Takes fd on success and puts the connection on the list. NULL: no memory. */
struct conn *conn_new(struct conn **list, int fd, size_t max_frame, size_t max_queue);

/* Closes and frees; its requests must have been orphaned. */
void conn_free(struct conn **list, struct conn *c);

#endif
