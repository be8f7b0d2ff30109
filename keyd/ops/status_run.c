/* Status, the vault's half: health is a signature made and verified in the token, not
 * that a process answers. At most one a second is made, whoever asks. */
#include "run.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

enum { PROBE_EVERY_MS = 1000, SHADOW_OCTETS = 8192, OVER_OCTETS = 16384 };

/* Why, and what a watched policy says, are for operators: the words name what is wrong,
 * the lines other principals. */
static void
add_for_operators(const struct vault *v, const struct vault_facts *facts,
                  struct kd_status_done *m, struct kd_buf *lines)
{
    m->reasons = facts->reasons;
    m->shadow_on = v->conf->shadow != NULL;
    m->shadow_since = v->shadow.since;
    m->shadow_pairs = (uint32_t)v->shadow.n;
    shadow_put(&v->shadow, lines);
    m->shadow = kd_buf_slice(lines);
}

/* What quotas have refused, of each principal to operators, else of who asks. */
static void
put_over_quota(const struct vault *v, const struct task *t, struct kd_buf *list)
{
    const struct kd_policy *p = t->conf->is.policy;
    bool all = t->caller.klass == KD_CLASS_ADMIN;
    struct kd_slice own = {NULL, 0};
    struct kd_buf one;

    if (kd_policy_name(p, &t->caller, &own) != KD_OK)
        return;
    kd_buf_init(&one, 128);
    for (size_t row = 0; row < kd_policy_n_rows(p); row++) {
        struct kd_slice name = kd_policy_name_at(p, row);
        const struct kd_quota_cell *cell =
            &v->quotas.rows->cells[t->conf->quotas.of_rows[row]];
        if (!all && name.p != own.p)
            continue;
        struct kd_over_line m = {.klass = (uint8_t)kd_policy_caller_at(p, row).klass,
                                 .mark = kd_quota_mark_row(p, row),
                                 .n = cell->refused,
                                 .name = name};
        kd_buf_reset(&one);
        kd_over_line_put(&one, &m);
        kd_buf_u32(list, (uint32_t)one.n);
        kd_buf_put(list, kd_buf_slice(&one));
        kd_buf_join(list, &one);
    }
    kd_buf_free(&one);
}

static void
reply(struct vault *v, struct task *t)
{
    struct vault_facts facts;
    struct kd_buf lines, over;

    kd_buf_init(&over, OVER_OCTETS);
    put_over_quota(v, t, &over);
    vault_facts(v, &facts);
    struct kd_status_done m = {
        .state = (uint8_t)vault_state_of(&facts),
        .probe = v->token != NULL && v->probe.ok,
        .probe_us = v->probe.us,
        .single_operator =
            v->conf->is.single_operator && v->approvals.state == APPROVALS_NONE,
        .operators = (uint8_t)v->approvals.quorum.n,
        .approvals = (uint8_t)v->approvals.quorum.k,
        .waiting = (uint8_t)kd_pendings_count(&v->approvals.pendings),
        .hidden_memory = kd_secret_is_hidden(),
        .epoch = v->chain.epoch,
        .seq = v->chain.first == 0 ? 0 : v->chain.first - 1,
        .n_keys = v->token == NULL ? 0 : (uint32_t)kd_token_count(v->token),
        .issued = v->n_issued,
        .refused = v->n_refused,
        .started = v->started,
        .denied = v->n_denied,
        .over_quota = v->n_over_quota,
        .failed = v->n_failed,
        .peer_malformed = v->n_peer_malformed,
        .quotas = kd_buf_slice(&over),
        .health = v->health.flags,
        .disk_free = v->health.free,
        .outside = v->health.outside,
        .outside_failures = v->health.failures,
        .resets = v->n_resets,
        .stopped = (uint32_t)v->stops.n,
    };
    kd_buf_init(&lines, SHADOW_OCTETS);
    if (t->caller.klass == KD_CLASS_ADMIN)
        add_for_operators(v, &facts, &m, &lines);
    kd_status_done_put(&t->reply, &m);
    kd_err err = lines.err != KD_OK ? lines.err : over.err;
    kd_buf_free(&lines);
    kd_buf_free(&over);
    task_finish(v, t, err, 0);
}

/* Every active key once. What a device has is tried by its keeper now and then, and
 * this asks how it went: it waits for none. */
static void
probe(struct task *t)
{
    enum { PAST = 1 };

    struct vault *v = t->vault;
    struct kd_key_info info;
    int64_t start = kd_clock_ns();
    unsigned n = 0;

    t->err = KD_OK;
    if (v->token == NULL)
        return;
    kd_token_set_until(PAST);
    for (size_t i = 0; t->err == KD_OK && kd_token_at(v->token, i, &info) == KD_OK;
         i++) {
        if (info.state != KD_KEY_ACTIVE || kd_token_usable(v->token, &info.id) != KD_OK)
            continue; /* of one that is away the reasons tell */
        t->err = kd_token_probe(v->token, &info.id);
        if (t->err == KD_TIMEOUT) /* not tried lately */
            t->err = KD_OK;
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
    v->probe.is_made = true;
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
