/* The hosts of one domain, asked one after another until one answers as it must (MR-66,
 * MR-67, TR-17 to TR-26, TR-217). The connection is made when it is first needed and
 * serves all questions of a resolution: a host is not told more often than it must be
 * who asks. */
#ifndef DIME_RESOLVER_SESSION_H
#define DIME_RESOLVER_SESSION_H

#include "dmtp.h"

struct session;

enum session_end {
    SESSION_ANSWERED,    /* with a reply that decides: 2xx, 476, 5xx */
    SESSION_UNREACHABLE, /* no host did */
    SESSION_UNTRUSTED,   /* none did, and one had a certificate that does not hold */
    SESSION_LATE
};

enum dime_outcome session_outcome(enum session_end end);

/* What a session asks; fingerprints are 64 octets or NULL. */
enum session_verb { SESSION_SGNT, SESSION_VRFY, SESSION_HIST };

struct session_question {
    enum session_verb verb;
    const char *name;
    const uint8_t *fingerprint; /* SGNT, VRFY; HIST: from there on */
};

/* The reply lives until the next question. */
enum session_end session_ask(struct session *s, const struct session_question *q,
                             struct dmtp_reply *out);

#endif
