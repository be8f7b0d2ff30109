#include "conf.h"
#include "vault.h"

#include "../ops/run.h"
#include "../role.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    /* Jobs taken under the configuration before are still on their way when every gate
     * has taken the new one. A captured gate gains no more than this by claiming so. */
    BEFORE_MS = 5000,
    BEFORE_MOST = 64 /* of them, when changes follow each other closely */
};

/* --- one configuration --- */

/* Operations of front-ends, which do not make keys, with a flag. */
static uint64_t
front_ops(unsigned flag)
{
    uint64_t ops = 0;

    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
        if (klass != KD_CLASS_ADMIN)
            ops |= kd_ops_of_class(klass, flag);
    return ops;
}

static uint8_t
wants_of(const struct kd_policy *p, size_t domain)
{
    unsigned wants = 0;

    if (kd_policy_somebody_may(p, front_ops(KD_OPF_SIGNER), domain))
        wants |= VAULT_WANTS_SIGNER;
    if (kd_policy_somebody_may(p, front_ops(KD_OPF_ENC), domain))
        wants |= VAULT_WANTS_OPENER;
    return (uint8_t)wants;
}

static kd_err
place_domains(struct vault *v, struct vault_conf *c)
{
    size_t n = kd_policy_n_domains(c->is.policy), place;
    kd_err err;

    if ((c->orgs = calloc(n + 1, sizeof *c->orgs)) == NULL ||
        (c->wants = calloc(n + 1, sizeof *c->wants)) == NULL)
        return KD_NOMEM;
    for (size_t i = 0; i < n; i++) {
        err = vault_org_place(v, kd_policy_domain(c->is.policy, i), true, &place);
        if (err != KD_OK)
            return err;
        c->orgs[i] = (uint16_t)place;
        c->wants[i] = wants_of(c->is.policy, i);
    }
    return KD_OK;
}

kd_err
vault_conf_new(struct vault *v, struct kd_slice octets, struct vault_conf **out)
{
    struct vault_conf *c = calloc(1, sizeof *c);
    kd_err err;

    if (c == NULL)
        return KD_NOMEM;
    c->refs = 1;
    crypto_hash_sha256(c->hash, octets.p, octets.n);
    if ((err = kd_conf_for_vault_decode(octets, &c->is)) == KD_OK)
        err = place_domains(v, c);
    if (err == KD_OK && v->conf == NULL) /* the first; of others prepare */
        err = kd_quota_claim(&v->quotas, c->is.policy, 0, NULL, &c->quotas);
    if (err == KD_OK)
        *out = c;
    else
        vault_conf_drop(c);
    return err;
}

struct vault_conf *
vault_conf_hold(struct vault_conf *c)
{
    c->refs++;
    return c;
}

void
vault_conf_drop(struct vault_conf *c)
{
    if (c == NULL || --c->refs > 0)
        return;
    kd_conf_for_vault_clear(&c->is);
    kd_policy_free(c->shadow);
    kd_quota_map_clear(&c->quotas);
    free(c->orgs);
    free(c->wants);
    free(c);
}

struct vault_conf *
vault_conf_of(const struct vault *v, uint32_t serial)
{
    struct vault_conf *c = v->conf;

    if (c->serial == serial)
        return c;
    for (c = v->before; c != NULL && c->serial != serial;)
        c = c->older;
    return c;
}

kd_err
vault_serves(const struct task *t, struct kd_slice domain, size_t *org,
             const struct kd_domain_rules **rules)
{
    const struct vault_conf *c = t->conf;
    size_t i;
    kd_err err = kd_policy_domain_find(c->is.policy, domain, &i);

    if (err != KD_OK)
        return err;
    *org = c->orgs[i];
    if (rules != NULL)
        *rules = &c->is.rules[i];
    return KD_OK;
}

/* --- taking another --- */

static void
forget_next(struct vault *v)
{
    kd_policy_free(v->next_shadow);
    v->next_shadow = NULL;
    vault_conf_drop(v->next);
    v->next = NULL;
}

/* A policy that wants done what tokens cannot is refused. */
static kd_err
check_fitness(struct vault *v, const struct vault_conf *c)
{
    struct kd_slice domain;
    uint64_t limit;

    if (!tokens_conf_is_unfit(v, c, &domain, &limit))
        return KD_OK;
    vault_event_about(v, EVENT_TOKEN_UNFIT, domain, limit, 0);
    return KD_UNSUPPORTED;
}

static kd_err
prepare(struct vault *v, uint32_t serial, int fd)
{
    struct kd_buf b;
    struct vault_conf *c = NULL;
    kd_err err = kd_role_conf_read(fd, &b);

    if (err == KD_OK)
        err = vault_conf_new(v, kd_buf_slice(&b), &c);
    if (err == KD_OK)
        err = kd_quota_claim(&v->quotas, c->is.policy, serial, &v->conf->quotas,
                             &c->quotas);
    kd_buf_free(&b);
    if (err == KD_OK)
        err = check_fitness(v, c);
    if (err != KD_OK) {
        vault_conf_drop(c);
        forget_next(v);
        return err;
    }
    c->serial = serial;
    c->shadow = v->next_shadow;
    v->next_shadow = NULL;
    vault_conf_drop(v->next);
    v->next = c;
    return KD_OK;
}

/* START and RELOAD carry the hash of what the vault was given; RELOAD the SHA-256 of
 * the file, too. */
static kd_err
record_reload(struct vault *v)
{
    struct kd_audit_record record = {
        .op = KD_AUDIT_RELOAD,
        .class = KD_AUDIT_CLASS_SELF,
        .outcome = KD_OUTCOME_DONE,
        .principal = kd_slice("keyd", 4),
    };
    struct run_names names;
    const struct task *t = task_of_tag(v, v->unrecorded_tag);

    if (t != NULL) /* who asked for it; a signal names nobody */
        run_record(&record, &names, v, t, KD_AUDIT_RELOAD, kd_slice(NULL, 0));
    if (approvals_single_operator(v, v->conf))
        record.notes |= KD_NOTE_SINGLE_OPERATOR;
    record.n_digests = 2;
    memcpy(record.digests[0], v->conf->hash, sizeof record.digests[0]);
    memcpy(record.digests[1], v->conf->is.digest, sizeof record.digests[1]);
    return chain_append(v, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, NULL);
}

static void
take(struct vault *v, uint64_t tag)
{
    int64_t now = kd_clock_ms();

    shadow_changed(v, v->conf, v->next);
    v->conf->older = v->before;
    v->conf->until = INT64_MAX; /* until all gates have the new one */
    v->before = v->conf;
    v->conf = v->next;
    v->next = NULL;
    kd_log_setup("keyd-vault", v->conf->is.log_level);
    if (v->token != NULL)
        kd_token_set_verify(v->token, v->conf->is.verify_sampled);
    vault_tell_lacks(v);
    int64_t due = now + (int64_t)v->conf->is.audit_checkpoint_interval * 1000;
    if (v->checkpoint_due > due)
        v->checkpoint_due = due;
    v->is_unrecorded = v->state != VAULT_STARTING; /* else START carries it */
    v->unrecorded_tag = tag;
    vault_conf_tend(v);
}

/* Every gate has the new one: for those before the time runs. */
static void
finish(struct vault *v)
{
    int64_t until = kd_clock_ms() + BEFORE_MS;

    for (struct vault_conf *c = v->before; c != NULL; c = c->older)
        if (c->until == INT64_MAX)
            c->until = until;
}

/* The list is of the newest first, which is the last to go. */
static void
forget_before(struct vault *v)
{
    struct vault_conf **at = &v->before;
    int64_t now = kd_clock_ms();

    for (unsigned n = 0; *at != NULL && n < BEFORE_MOST && now <= (*at)->until; n++)
        at = &(*at)->older;
    while (*at != NULL) {
        struct vault_conf *c = *at;
        *at = c->older;
        vault_conf_drop(c);
    }
}

static void
answer(struct vault *v, const struct kd_ctl_turn *m, kd_err err)
{
    kd_role_turned(&v->ctl, (enum kd_turn)m->turn, m->serial, err, 0);
}

/* What the supervisor said of the configuration the process was started with. */
static kd_err
number(struct vault *v, uint32_t serial)
{
    struct kd_quota_map map;
    kd_err err =
        kd_quota_claim(&v->quotas, v->conf->is.policy, serial, &v->conf->quotas, &map);

    if (err != KD_OK)
        return err;
    kd_quota_map_clear(&v->conf->quotas);
    v->conf->quotas = map;
    v->conf->serial = serial;
    v->conf->shadow = v->next_shadow;
    v->next_shadow = NULL;
    shadow_changed(v, NULL, v->conf);
    return KD_OK;
}

static kd_err
turn(struct vault *v, const struct kd_ctl_turn *m, int fd)
{
    kd_err err;

    switch ((enum kd_turn)m->turn) {
    case KD_TURN_NUMBER:
        return number(v, m->serial);
    case KD_TURN_SHADOW:
        /* Of a failure prepare tells: the shadow is missing then. */
        if ((err = kd_role_shadow_read(fd, &v->next_shadow)) != KD_OK)
            answer(v, m, err);
        return KD_OK;
    case KD_TURN_PREPARE:
        answer(v, m, prepare(v, m->serial, fd));
        return KD_OK;
    case KD_TURN_TAKE:
        if (v->next == NULL || v->next->serial != m->serial)
            return KD_MALFORMED;
        take(v, m->tag);
        answer(v, m, KD_OK);
        return KD_OK;
    case KD_TURN_DROP:
        forget_next(v);
        return KD_OK;
    case KD_TURN_FINISH:
        finish(v);
        return KD_OK;
    case KD_TURN_DRAIN:
    case KD_TURN_SERVE:
        v->is_draining = m->turn == KD_TURN_DRAIN;
        return KD_OK;
    case KD_TURNS:
        break;
    }
    return KD_MALFORMED;
}

kd_err
vault_turn(struct vault *v, struct kd_slice body, int fd)
{
    struct kd_ctl_turn m;
    kd_err err = kd_ctl_turn_get(body, &m);

    if (err == KD_OK)
        err = turn(v, &m, fd);
    if (fd >= 0)
        close(fd);
    return err;
}

void
vault_conf_tend(struct vault *v)
{
    if (v->before != NULL)
        forget_before(v);
    if (v->is_unrecorded && record_reload(v) != KD_BUSY)
        v->is_unrecorded = false;
}
