/* Syndicates as witnesses (D-024): asked for the domain's signet only, never for a
 * user's, so that they do not learn who writes to whom. */
#include "asking.h"

#include <keyd/base/clock.h>

enum { WITNESSES_MAX = 3, SHARE = 4 /* of the time that is left, for each */ };

static void
compare(struct asking *a, const char *host, const struct dime_signet *org,
        struct kd_slice sent)
{
    struct dime_signet other;
    enum dime_reason why;
    uint8_t ours[DIME_FINGERPRINT_SIZE], theirs[DIME_FINGERPRINT_SIZE];
    struct hold hold;

    if (dime_signet_parse_as(DIME_ORG, sent, &other, &why) != KD_OK ||
        dime_fingerprint(&other, DIME_PART_FULL, theirs) != KD_OK ||
        dime_fingerprint(org, DIME_PART_FULL, ours) != KD_OK) {
        steps_warn(a->steps, STEP_SYNDICATE, "%s sends no signet", host);
        return;
    }
    if (memcmp(ours, theirs, sizeof ours) == 0) {
        steps_add(a->steps, STEP_SYNDICATE, "%s has the same signet", host);
        return;
    }
    steps_alarm(a->steps, STEP_SYNDICATE, "%s has another signet", host);
    if (a->store == NULL || store_hold_get(a->store, a->supplier, &hold) != KD_OK)
        return;
    hold_contradict(&hold, a->now);
    if (store_hold_put(a->store, a->supplier, &hold) != KD_OK)
        steps_warn(a->steps, STEP_RING, "that could not be written down");
}

void
witness_ask(struct asking *a, const struct dime_signet *org)
{
    const struct session_question q = {SESSION_SGNT, a->supplier, NULL};
    int64_t deadline = a->session->deadline;
    struct kd_buf signet;

    kd_buf_init(&signet, DMTP_SIGNET_MAX);
    for (size_t i = 0; i < a->record->n_syn && i < WITNESSES_MAX && may_ask(a); i++) {
        int64_t now = kd_clock_ms();
        a->session->deadline = now + (deadline - now) / SHARE;
        if (session_witness(a->session, a->record->syn[i], &q, &signet) ==
            SESSION_ANSWERED)
            compare(a, a->record->syn[i], org, kd_buf_slice(&signet));
        else
            steps_add(a->steps, STEP_SYNDICATE, "%s does not answer",
                      a->record->syn[i]);
    }
    a->session->deadline = deadline;
    kd_buf_free(&signet);
}
