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
        else if (!org->has_signer)
            reasons |= kd_state_bit(KD_STATE_NO_SIGNER);
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

void
vault_facts(const struct vault *v, struct vault_facts *out)
{
    uint64_t reasons = v->raised | reasons_of_clock(v);

    if (v->token != NULL)
        reasons |= reasons_of_token(v);
    if (v->ledger.chan.fd < 0 || v->ledger_phase != LEDGER_READY)
        reasons |= kd_state_bit(KD_STATE_LEDGER_AWAY);
    *out = (struct vault_facts){.life = v->state,
                                .opens_itself = v->opens_itself,
                                .is_draining = v->is_draining,
                                .reasons = reasons};
}
