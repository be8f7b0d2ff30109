/* Status, the vault's half: health is a signature made and verified in the token, not
 * that a process answers. At most one a second is made, whoever asks. */
#include "run.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

enum { PROBE_EVERY_MS = 1000 };

static void
reply(struct vault *v, struct task *t)
{
    const unsigned faults = v->health.flags & ~(unsigned)KD_HEALTH_NO_OUTSIDE;
    bool degraded = v->state == VAULT_OPERATIONAL &&
                    (faults != 0 || !v->probe.ok || kd_token_faults(v->token) != 0 ||
                     v->ledger.chan.fd < 0);
    struct kd_status_done m = {
        .state = (uint8_t)(v->opens_itself ? VAULT_STARTING : v->state),
        .degraded = degraded,
        .probe = v->token != NULL && v->probe.ok,
        .probe_us = v->probe.us,
        .single_operator = v->conf.single_operator,
        .hidden_memory = kd_secret_is_hidden(),
        .epoch = v->chain.epoch,
        .seq = v->chain.first == 0 ? 0 : v->chain.first - 1,
        .n_keys = v->token == NULL ? 0 : (uint32_t)kd_token_count(v->token),
        .issued = v->n_issued,
        .refused = v->n_refused,
        .started = v->started,
        .reason = (uint16_t)run_trouble(v),
        .health = v->health.flags,
        .disk_free = v->health.free,
        .outside = v->health.outside,
        .outside_failures = v->health.failures,
    };

    kd_status_done_put(&t->reply, &m);
    task_finish(v, t, KD_OK, 0);
}

/* Every active key once. */
static void
probe(struct task *t)
{
    struct vault *v = t->vault;
    struct kd_key_info info;
    int64_t start = kd_clock_ns();
    unsigned n = 0;

    t->err = KD_OK;
    if (v->token == NULL)
        return;
    for (size_t i = 0; t->err == KD_OK && kd_token_at(v->token, i, &info) == KD_OK;
         i++) {
        if (info.state != KD_KEY_ACTIVE)
            continue;
        t->err = kd_token_probe(v->token, &info.id);
        n++;
    }
    int64_t us = (kd_clock_ns() - start) / 1000;
    t->reason = (uint16_t)(n == 0 || us / n > UINT16_MAX ? 0 : us / n);
}

static void
probed(struct vault *v, struct task *t)
{
    if (t->err != KD_OK)
        vault_event(v, EVENT_PROBE_FAILED, t->err, 0);
    v->probe.ok = t->err == KD_OK;
    v->probe.us = t->reason;
    reply(v, t);
}

void
run_status(struct vault *v, struct task *t)
{
    int64_t now = kd_clock_ms();

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (t->body.n != 0) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    /* Not behind a change of the key store, which may wait for the ledger. */
    if (v->token == NULL || v->tasks.alone != NULL ||
        (v->probe.at != 0 && now - v->probe.at < PROBE_EVERY_MS)) {
        reply(v, t);
        return;
    }
    v->probe.at = now;
    task_work(v, t, probe, probed);
}
