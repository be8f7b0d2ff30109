/* The states of the service and the reasons for them, as numbers between the processes
 * and as words for clients. */
#ifndef KEYD_JOB_STATE_H
#define KEYD_JOB_STATE_H

#include <keyd/base/slice.h>

/* As in the protocol (ServiceState). */
enum kd_service_state {
    KD_SERVICE_UNPROVISIONED = 1,
    KD_SERVICE_SEALED = 2,
    KD_SERVICE_OPERATIONAL = 3,
    KD_SERVICE_DEGRADED = 4,
    KD_SERVICE_DRAINING = 5,
    KD_SERVICE_FAILED = 6,
    KD_SERVICE_STARTING = 7
};

enum kd_state_reason {
#define KD_STATE_REASON(name, word, text) KD_STATE_##name,
#include <keyd/job/state_reasons.def>
#undef KD_STATE_REASON
    KD_STATE_REASONS
};

static inline uint64_t
kd_state_bit(enum kd_state_reason reason)
{
    return UINT64_C(1) << reason;
}

/* The word of a reason; NULL for a number that is none. */
const char *kd_state_word(unsigned reason);

/* The sentence for a word; NULL if the word is none of these. */
const char *kd_state_text(struct kd_slice word);

#endif
