/* What the watched policy decides otherwise of requests that the gate itself decides
 * (look-ups): gathered, and told to the vault a few times a second, which counts for
 * all. */
#ifndef KEYD_GATE_SEEN_H
#define KEYD_GATE_SEEN_H

#include <keyd/base/chan.h>
#include <keyd/conf/policy.h>

enum { SEEN_MAX = 64 };

struct seen {
    size_t n;
    struct {
        struct kd_caller caller; /* its name lies in remote */
        uint8_t remote[KD_POLICY_NAME_MAX];
        uint8_t op;
        bool would_allow;
        uint64_t n;
    } list[SEEN_MAX];
};

/* One more. With no room for another caller those that are there are told first; what
 * the channel does not take is lost. */
void seen_add(struct seen *s, struct kd_chan *vault, const struct kd_caller *caller,
              unsigned op, bool would_allow);

/* Tells and forgets. */
void seen_tell(struct seen *s, struct kd_chan *vault);

#endif
