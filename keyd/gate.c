/* keyd-gate: the socket of one class of callers.
 *
 * Holds     connections, who is behind each (SO_PEERCRED uid), what is in flight. No
 *           keys, no files, no registry.
 * Talks to  clients, all of them hostile until checked; the vault (jobs) and the ledger
 *           (look-ups), to which it speaks for its own class only.
 * May call  sandbox_gate.def: no socket(), no open.
 *
 * It decides nothing but whether octets are a well-formed request within the limits,
 * and look-ups by its projection of the policy. Descriptors of secrets pass through
 * unread. One thread, one event loop, bounded work a turn. */
#include "gate/request.h"
#include "gate/serve.h"
#include "gate/transport.h"
#include "gate/turn.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <unistd.h>

enum { PACKETS_A_TURN = 64, TICK_MS = 500 };

static struct gate gate;

/* --- the supervisor --- */

static void
on_link_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg; /* the loop serves the links every turn; this only wakes it */
}

static void
watch_link(struct gate *g, struct event **ev, int fd)
{
    if (*ev != NULL)
        event_free(*ev);
    *ev = event_new(g->base, fd, EV_READ | EV_PERSIST, on_link_event, g);
    if (*ev == NULL || event_add(*ev, NULL) != 0)
        kd_role_die("event", KD_NOMEM);
}

/* Before the loop runs again, in which the next client may get the number of a
 * descriptor that was closed: libevent would take it for the one it knows and never
 * look at it. */
static void
unwatch_closed(struct event **ev, const struct kd_role_link *link)
{
    if (link->chan.fd >= 0 || *ev == NULL)
        return;
    event_free(*ev);
    *ev = NULL;
}

static void
keep_process(struct gate *g, const struct kd_ctl_process *m)
{
    for (size_t i = 0; i < ANSWER_PROCESSES_MAX; i++) {
        struct process_line *line = &g->processes[i];
        bool same =
            line->present && line->is.role == m->role && line->is.gate == m->gate;
        if (line->present && !same)
            continue;
        *line = (struct process_line){*m, true};
        return;
    }
}

static kd_err
on_ctl_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct gate *g = ctx;
    struct kd_ctl_link m;
    struct kd_ctl_process process;

    if (type == KD_MSG_ctl_process && fd < 0 &&
        kd_ctl_process_get(body, &process) == KD_OK) {
        keep_process(g, &process);
        return KD_OK;
    }
    if (type == KD_MSG_ctl_turn) {
        kd_err err = turn_take(g, body, fd);
        if (err != KD_OK)
            kd_role_die("bad message from the supervisor", err);
        return KD_OK;
    }
    if (gate_transport.control != NULL && type != KD_MSG_ctl_link) {
        kd_err err = gate_transport.control(g, type, body, fd);
        if (err == KD_OK)
            return KD_OK;
        kd_role_die("bad message from the supervisor", err);
    }
    if (type != KD_MSG_ctl_link || fd < 0 || kd_ctl_link_get(body, &m) != KD_OK)
        kd_role_die("bad message from the supervisor", KD_MALFORMED);
    if (m.link == KD_LINK_VAULT) {
        kd_role_relink(&g->vault, &m, fd);
        watch_link(g, &g->on_vault, fd);
        request_fail_all(g, true);
    } else if (m.link == KD_LINK_LEDGER) {
        kd_role_relink(&g->ledger, &m, fd);
        watch_link(g, &g->on_ledger, fd);
        request_fail_all(g, false);
    } else if (m.link == KD_LINK_LISTENER) {
        serve_listen(g, fd);
    } else {
        close(fd);
    }
    return KD_OK;
}

/* --- time --- */

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct gate *g = arg;
    int64_t now = kd_clock_ms();

    (void)fd;
    (void)what;
    request_tick(g, now);
    serve_tick(g, now);
    seen_tell(&g->seen, &g->vault.chan);
    turn_tell(g, true);
    if (gate_transport.tick != NULL)
        gate_transport.tick(g, now);
}

/* --- start and loop --- */

_Static_assert((int)KD_GATES_MAX <= (int)KD_QUOTA_SLOTS,
               "every gate has a slot to count in");

/* Before the filter, which has no mapping of descriptors. */
static void
map_quotas(struct gate *g)
{
    unsigned slot = g->conf.klass * KD_GATE_WORKERS_MAX + g->conf.worker;
    kd_err err = kd_quota_shared_map(KD_ROLE_QUOTA_FD, KD_ROLE_QUOTA_READ_FD,
                                     g->conf.klass, slot, &g->quotas, &g->all_quotas);

    if (err == KD_OK)
        err = kd_quota_claim(&g->quotas, g->conf.policy, 0, NULL, &g->quota_map);
    if (err != KD_OK)
        kd_role_die("quotas", err);
    close(KD_ROLE_QUOTA_FD);
    close(KD_ROLE_QUOTA_READ_FD);
}

static void
setup(struct gate *g)
{
    static const struct timeval tick = {0, TICK_MS * 1000L};
    struct kd_buf octets;
    kd_err err;

    kd_buf_init(&octets, KD_ROLE_CONF_SIZE_MAX);
    kd_role_start(&g->ctl, gate_transport.program, &octets);
    if ((err = kd_conf_for_gate_decode(kd_buf_slice(&octets), &g->conf)) != KD_OK)
        kd_role_die("bad configuration", err);
    kd_buf_free(&octets);
    kd_log_setup(gate_transport.program, g->conf.log_level);
    map_quotas(g);
    kd_role_unlinked(&g->vault);
    kd_role_unlinked(&g->ledger);
    g->listener = -1;
    g->principals.is_shared = kd_policy_n_rows(g->conf.policy) > 1;
    kd_arena_init(&g->arena);
    kd_buf_init(&g->body, KD_JOB_BODY_MAX);
    kd_buf_init(&g->message, KD_CHAN_BODY_MAX);
    kd_buf_init(&g->stopped, 16384);
    g->base = event_base_new();
    if (g->base == NULL)
        kd_role_die("event loop", KD_NOMEM);
    g->max_conns = gate_max_conns(&g->conf);
    if (gate_transport.start != NULL)
        gate_transport.start(g);
    kd_role_enter(gate_transport.role, NULL, g->conf.hardening);
    watch_link(g, &g->on_ctl, g->ctl.fd);
    g->on_tick = event_new(g->base, -1, EV_PERSIST, on_tick, g);
    if (g->on_tick == NULL || event_add(g->on_tick, &tick) != 0)
        kd_role_die("timer", KD_NOMEM);
    kd_role_ready(&g->ctl);
}

/* What a full channel could not take goes when it is writable; with no event for that
 * the loop looks again soon. */
static void
turn(struct gate *g)
{
    static const struct timeval soon = {0, 1000}, at_once = {0, 0};

    if (g->has_more)
        event_base_loopexit(g->base, &at_once);
    else if (kd_chan_pending(&g->vault.chan) || kd_chan_pending(&g->ledger.chan))
        event_base_loopexit(g->base, &soon);
    if (event_base_loop(g->base, EVLOOP_ONCE) < 0)
        kd_role_die("event loop", KD_FAILED);
    kd_role_serve_ctl(&g->ctl, on_ctl_message, g);
    kd_role_serve(&g->ctl, &g->vault, PACKETS_A_TURN, request_on_vault, g);
    kd_role_serve(&g->ctl, &g->ledger, PACKETS_A_TURN, request_on_ledger, g);
    kd_ignore(serve_settle(g)); /* what is left to do the second one says */
    turn_tell(g, false);
    g->has_more = gate_transport.turn != NULL && gate_transport.turn(g);
    /* Connections that began just now may have asked already. */
    g->has_more |= serve_settle(g);
    kd_role_flush(&g->ctl, &g->vault);
    kd_role_flush(&g->ctl, &g->ledger);
    unwatch_closed(&g->on_vault, &g->vault);
    unwatch_closed(&g->on_ledger, &g->ledger);
    kd_role_flush_ctl(&g->ctl);
}

int
main(void)
{
    setup(&gate);
    for (;;)
        turn(&gate);
}
