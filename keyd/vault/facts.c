#include "state.h"
#include "vault.h"

void
vault_raise(struct vault *v, enum kd_state_reason reason)
{
    v->raised |= kd_state_bit(reason);
}

void
vault_clear(struct vault *v, enum kd_state_reason reason)
{
    v->raised &= ~kd_state_bit(reason);
}

static uint64_t
reasons_of_lacks(unsigned lacks)
{
    uint64_t reasons = 0;

    if ((lacks & VAULT_WANTS_SIGNER) != 0)
        reasons |= kd_state_bit(KD_STATE_NO_MESSAGE_KEY);
    if ((lacks & VAULT_WANTS_OPENER) != 0)
        reasons |= kd_state_bit(KD_STATE_NO_OPENING_KEY);
    return reasons;
}

/* Of the domains that are served now. */
static uint64_t
reasons_of_domains(const struct vault *v)
{
    uint64_t reasons = 0;

    for (size_t i = 0; i < kd_policy_n_domains(v->conf->is.policy); i++) {
        const struct vault_org *org = v->orgs[v->conf->orgs[i]];
        if (org->octets == NULL)
            reasons |= kd_state_bit(KD_STATE_NO_ORG_SIGNET);
        else if (!org->verified)
            reasons |= kd_state_bit(KD_STATE_ORG_SIGNET_BAD);
        else if (org->n_usable == 0)
            reasons |= kd_state_bit(KD_STATE_NO_SIGNER);
        reasons |= reasons_of_lacks(vault_lacks(v, i));
    }
    return reasons;
}

/* Of the keys, which can be told of only while they are open. */
static uint64_t
reasons_of_token(const struct vault *v)
{
    uint64_t reasons = reasons_of_domains(v);

    if (v->probe.is_made && !v->probe.ok)
        reasons |= kd_state_bit(KD_STATE_PROBE_FAILED);
    if (kd_token_faults(v->token) != 0)
        reasons |= kd_state_bit(KD_STATE_TOKEN_FAULTS);
    reasons |= tokens_reasons(v);
    if (!v->has_audit)
        reasons |= kd_state_bit(KD_STATE_NO_AUDIT_KEY);
    return reasons;
}

static uint64_t
reasons_of_clock(const struct vault *v)
{
    switch (chain_clock(&v->chain, NULL)) {
    case CLOCK_BEHIND:
        return kd_state_bit(KD_STATE_CLOCK_BEHIND);
    case CLOCK_AHEAD:
        return kd_state_bit(KD_STATE_CLOCK_AHEAD);
    case CLOCK_GOOD:
        break;
    }
    return 0;
}

/* Why only an acceptance lets it go on. */
static uint64_t
reason_of_standing(const struct vault *v)
{
    static const enum kd_state_reason reasons[KD_STANDS_COUNT] = {
        [KD_STANDS_BEHIND] = KD_STATE_REGISTRY_BEHIND,
        [KD_STANDS_FORKED] = KD_STATE_REGISTRY_FORKED,
        [KD_STANDS_MISSING] = KD_STATE_CHECKPOINT_MISSING,
        [KD_STANDS_UNREADABLE] = KD_STATE_CHECKPOINT_UNREADABLE,
        [KD_STANDS_KEYSTORE] = KD_STATE_KEY_STORE_OLD,
    };

    return vault_is_held(v) ? kd_state_bit(reasons[v->standing]) : 0;
}

/* What the ledger said of its disk and of the checkpoint outside. */
static uint64_t
reasons_of_health(const struct vault *v)
{
    static const struct {
        enum kd_health flag;
        enum kd_state_reason reason;
    } all[] = {
        {KD_HEALTH_DISK_LOW, KD_STATE_RESERVE_LOW},
        {KD_HEALTH_NO_RESERVE, KD_STATE_NO_RESERVE},
        {KD_HEALTH_OUTSIDE_FAILING, KD_STATE_CHECKPOINT_FILE},
        {KD_HEALTH_OUTSIDE_OVERDUE, KD_STATE_CHECKPOINT_OVERDUE},
    };
    uint64_t reasons = 0;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if ((v->health.flags & all[i].flag) != 0)
            reasons |= kd_state_bit(all[i].reason);
    return reasons;
}

void
vault_facts(const struct vault *v, struct vault_facts *out)
{
    uint64_t reasons =
        v->raised | reasons_of_clock(v) | reason_of_standing(v) | reasons_of_health(v);

    if (v->token != NULL)
        reasons |= reasons_of_token(v);
    if (v->ledger.chan.fd < 0 || v->ledger_phase != LEDGER_READY)
        reasons |= kd_state_bit(KD_STATE_LEDGER_AWAY);
    *out = (struct vault_facts){.life = v->state,
                                .opens_itself = v->opens_itself,
                                .is_draining = v->is_draining,
                                .reasons = reasons};
}
