#include "state.h"

enum kd_service_state
vault_state_of(const struct vault_facts *facts)
{
    const uint64_t failing = kd_state_bit(KD_STATE_LEDGER_WENT_BACK) |
                             kd_state_bit(KD_STATE_CHECKPOINT_BAD) |
                             kd_state_bit(KD_STATE_KEY_STORE_OLD) |
                             kd_state_bit(KD_STATE_REGISTRY_BEHIND) |
                             kd_state_bit(KD_STATE_REGISTRY_FORKED) |
                             kd_state_bit(KD_STATE_CHECKPOINT_MISSING) |
                             kd_state_bit(KD_STATE_CHECKPOINT_UNREADABLE);

    if (facts->life == VAULT_FAILED || (facts->reasons & failing) != 0)
        return KD_SERVICE_FAILED;
    if (facts->life == VAULT_STARTING || facts->opens_itself)
        return KD_SERVICE_STARTING;
    if (facts->is_draining)
        return KD_SERVICE_DRAINING;
    if (facts->life == VAULT_UNPROVISIONED)
        return KD_SERVICE_UNPROVISIONED;
    if (facts->life == VAULT_SEALED)
        return KD_SERVICE_SEALED;
    return facts->reasons == 0 ? KD_SERVICE_OPERATIONAL : KD_SERVICE_DEGRADED;
}
