/* Whether a token is asked at all: a state moved by what the keeper itself saw (its own
 * trials, bring-ups of hosts, time without any host) and never by what came of a
 * client's operation, so that no input of a client's can close a token to others. Pure:
 * every function takes the time. */
#ifndef KEYD_P11_BREAKER_H
#define KEYD_P11_BREAKER_H

#include <keyd/p11/p11.h>

enum breaker_seen {
    SEEN_NOTHING_TO_HOLD, /* the key store is sealed */
    SEEN_NOT_ADOPTED,
    SEEN_SOMETHING_TO_HOLD,
    SEEN_UP,      /* a fresh host came up, and all that was tried did right */
    SEEN_DOWN,    /* a fresh host did not come up */
    SEEN_REFUSED, /* it did not, and an operator has to mend something first */
    SEEN_GOOD,    /* a trial on a host that serves */
    SEEN_BAD,
    SEEN_HANG,    /* an operation had no answer in time: a doubt, no more */
    SEEN_NO_HOST, /* none has served for a second, or longer by configuration */
    SEEN_DRAIN,   /* keys are to be made */
    SEEN_DRAINED, /* they were */
};

enum {
    BREAKER_STRIKES = 2, /* failed trials, each on another process */
    BREAKER_TRIALS = 2,  /* good ones, before clients come back */
    BREAKER_FIRST_MS = 250,
    BREAKER_MOST_MS = 1000,
    BREAKER_REFUSED_MS = 5000,
};

struct breaker {
    enum p11_state state;
    enum p11_state before; /* P11_DRAINED: what it was, and is again */
    int64_t since;         /* of the state */
    int64_t open_since;    /* of being away, STARTING and HALF included; 0: it is not */
    int64_t next;     /* when a fresh host is to be tried; INT64_MAX: not by time */
    uint32_t wait_ms; /* between two tries */
    unsigned strikes, trials;
};

void breaker_init(struct breaker *b, int64_t now);

/* True if the state is another one now. */
bool breaker_see(struct breaker *b, enum breaker_seen what, int64_t now);

/* Whether clients' operations go to hosts; KD_OK, KD_UNAVAILABLE, KD_BUSY, KD_SEALED.
 */
kd_err breaker_allows(const struct breaker *b);

/* Whether hosts are to be logged in. */
bool breaker_wants_hosts(const struct breaker *b);

#endif
