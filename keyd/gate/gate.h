/* The gate's state, and its parts: connections (serve.h), requests (request.h), how
 * octets come and go (transport.h). One process, one thread, one of these. */
#ifndef KEYD_GATE_GATE_H
#define KEYD_GATE_GATE_H

#include "../ops/rpc.h"
#include "../role.h"
#include "conn.h"
#include "next.h"
#include "pending.h"
#include "principal.h"
#include "seen.h"

#include <keyd/conf/quota_table.h>

#include <event2/event.h>

struct gate {
    struct kd_chan ctl;
    struct kd_role_link vault, ledger;
    struct kd_conf_for_gate conf;
    uint32_t serial;           /* of conf */
    struct kd_policy *watched; /* decides nothing (seen.h); NULL: none */
    struct next next;
    struct seen seen;
    bool is_draining;     /* takes no connections and no requests */
    uint32_t told_serial; /* of the drain */
    uint32_t told;        /* to the supervisor: how much is in flight */
    struct event_base *base;
    struct event *on_ctl, *on_vault, *on_ledger, *on_listener, *on_tick;
    int listener;
    bool accepting;
    bool has_more; /* to do at once: the next turn does not wait */
    uint32_t max_conns;
    struct conn *conns; /* all of them, a list */
    struct conn *dirty; /* those with answers to send this turn */
    unsigned n_conns;
    struct pending_table pending;
    struct principal_table principals;
    struct kd_quota_table quotas;
    struct kd_quota_map quota_map;            /* of conf */
    const struct kd_quota_shared *all_quotas; /* of every class, to read */
    struct kd_buf stopped; /* names of principals, each behind a length (stops.h) */
    bool stops_known;      /* the vault has said who is stopped */
    struct process_line processes[ANSWER_PROCESSES_MAX];
    struct kd_arena arena;
    struct kd_frame_scratch scratch;
    struct kd_buf body, message;
    struct answer answer;
};

static inline uint32_t
gate_max_conns(const struct kd_conf_for_gate *c)
{
    return c->klass == KD_CLASS_TLS ? c->limits.max_remote_connections
                                    : c->limits.max_connections;
}

#endif
