#include "turn.h"
#include "serve.h"
#include "transport.h"

#include <keyd/base/log.h>

#include <unistd.h>

/* --- another configuration --- */

static void
claim_quotas(struct gate *g)
{
    struct kd_quota_map map;
    kd_err err =
        kd_quota_claim(&g->quotas, g->conf.policy, g->serial, &g->quota_map, &map);

    if (err != KD_OK)
        kd_role_die("quotas", err);
    kd_quota_map_clear(&g->quota_map);
    g->quota_map = map;
}

/* Connections go on; those of a principal that is gone end at their next request. */
static void
use(struct gate *g, uint32_t serial)
{
    g->serial = serial;
    claim_quotas(g);
    g->principals.is_shared = kd_policy_n_rows(g->conf.policy) > 1;
    g->max_conns = gate_max_conns(&g->conf);
    kd_log_setup(gate_transport.program, g->conf.log_level);
    if (gate_transport.taken != NULL)
        gate_transport.taken(g);
    serve_accept(g);
}

void
turn_look(struct gate *g, struct conn *c)
{
    struct kd_slice name;

    if (c->serial == g->serial)
        return;
    c->serial = g->serial;
    bool is_known = kd_policy_name(g->conf.policy, &c->caller, &name) == KD_OK;
    if (is_known == c->is_known)
        return;
    c->is_known = is_known;
    serve_rejoin(g, c, is_known);
}

/* --- draining --- */

bool
turn_refuses(const struct gate *g, enum kd_op op)
{
    return g->is_draining && op != KD_OP_Hello && op != KD_OP_Status &&
           op != KD_OP_FetchPart;
}

/* Requests without an answer, and answers that clients have not taken yet. */
static uint32_t
in_flight(const struct gate *g)
{
    if (g->pending.n != 0)
        return g->pending.n;
    for (const struct conn *c = g->conns; c != NULL; c = c->next)
        if (c->is_dirty || c->is_held || c->stalled_since != 0)
            return 1;
    return 0;
}

void
turn_tell(struct gate *g, bool is_tick)
{
    if (!g->is_draining || g->told == 0)
        return;
    uint32_t n = in_flight(g);
    if (n != 0 && (!is_tick || n == g->told))
        return;
    g->told = n;
    kd_role_turned(&g->ctl, KD_TURN_DRAIN, g->told_serial, KD_OK, n);
}

static void
drain(struct gate *g, uint32_t serial)
{
    g->is_draining = true;
    g->told_serial = serial;
    serve_accept(g);
    g->told = in_flight(g);
    kd_role_turned(&g->ctl, KD_TURN_DRAIN, serial, KD_OK, g->told);
}

static void
serve(struct gate *g, uint32_t serial)
{
    g->is_draining = false;
    serve_accept(g);
    kd_role_turned(&g->ctl, KD_TURN_SERVE, serial, KD_OK, 0);
}

/* --- what the supervisor says --- */

static kd_err
turn(struct gate *g, const struct kd_ctl_turn *m, int fd)
{
    kd_err err = KD_OK;

    switch ((enum kd_turn)m->turn) {
    case KD_TURN_NUMBER:
        g->serial = m->serial;
        claim_quotas(g);
        next_take_shadow(&g->next, &g->watched);
        return KD_OK;
    case KD_TURN_SHADOW:
        if ((err = next_shadow(&g->next, fd)) != KD_OK)
            kd_role_turned(&g->ctl, KD_TURN_SHADOW, m->serial, err, 0);
        return KD_OK;
    case KD_TURN_PREPARE:
        err = next_prepare(&g->next, m->serial, g->conf.klass, fd);
        kd_role_turned(&g->ctl, KD_TURN_PREPARE, m->serial, err, 0);
        return KD_OK;
    case KD_TURN_TAKE:
        if ((err = next_take(&g->next, m->serial, &g->conf, &g->watched)) != KD_OK)
            return err;
        use(g, m->serial);
        kd_role_turned(&g->ctl, KD_TURN_TAKE, m->serial, KD_OK, 0);
        return KD_OK;
    case KD_TURN_DROP:
        next_drop(&g->next);
        return KD_OK;
    case KD_TURN_DRAIN:
        drain(g, m->serial);
        return KD_OK;
    case KD_TURN_SERVE:
        serve(g, m->serial);
        return KD_OK;
    case KD_TURN_FINISH: /* the vault's */
    case KD_TURNS:
        break;
    }
    return KD_MALFORMED;
}

kd_err
turn_take(struct gate *g, struct kd_slice body, int fd)
{
    struct kd_ctl_turn m;
    kd_err err = kd_ctl_turn_get(body, &m);

    if (err == KD_OK)
        err = turn(g, &m, fd);
    if (fd >= 0)
        close(fd);
    return err;
}
