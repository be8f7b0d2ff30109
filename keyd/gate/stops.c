/* stops.h */
#include "stops.h"
#include "request.h"
#include "serve.h"

#include <keyd/base/log.h>

bool
stops_has(const struct gate *g, const struct kd_caller *who)
{
    struct kd_cur c = kd_cur(kd_buf_slice(&g->stopped));
    struct kd_slice name;

    if (g->stopped.n == 0 || kd_policy_name(g->conf.policy, who, &name) != KD_OK)
        return false;
    while (kd_cur_left(&c) != 0)
        if (kd_slice_eq(kd_list_next(&c), name))
            return true;
    return false;
}

/* Names of principals, whole. */
static kd_err
check_names(struct kd_slice names)
{
    struct kd_cur c = kd_cur(names);

    while (kd_cur_left(&c) != 0)
        if (!kd_principal_name_is_valid(kd_list_next(&c)))
            return KD_MALFORMED;
    return kd_cur_end(&c);
}

static void
obey(struct gate *g, uint32_t serial)
{
    kd_buf_reset(&g->message);
    kd_gate_obeys_put(&g->message, &(struct kd_gate_obeys){serial});
    /* A channel that is gone brings the list again. */
    if (kd_chan_put(&g->vault.chan, KD_MSG_gate_obeys, kd_buf_slice(&g->message), -1) !=
        KD_OK)
        kd_chan_close(&g->vault.chan);
}

kd_err
stops_on_message(struct gate *g, struct kd_slice body)
{
    struct kd_gate_stopped m;
    kd_err err;

    if ((err = kd_gate_stopped_get(body, &m)) != KD_OK ||
        (err = check_names(m.names)) != KD_OK)
        return err;
    kd_buf_reset(&g->stopped);
    kd_buf_put(&g->stopped, m.names);
    if (g->stopped.err != KD_OK)
        kd_role_die("stopped principals", g->stopped.err);
    g->stops_known = true;
    for (struct conn *c = g->conns; c != NULL; c = c->next)
        if (c->is_known && !c->is_stopped && stops_has(g, &c->caller))
            request_stop(g, c);
    obey(g, m.serial);
    return KD_OK;
}
