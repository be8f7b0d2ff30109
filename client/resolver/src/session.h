/* The hosts of one domain, asked one after another until one answers as it must (MR-66,
 * MR-67, TR-17 to TR-26, TR-217). The connection is made when it is first needed and
 * serves all questions of a resolution: a host is not told more often than it must be
 * who asks. */
#ifndef DIME_RESOLVER_SESSION_H
#define DIME_RESOLVER_SESSION_H

#include "dmtp.h"
#include "hosts.h"

#include <dime/resolver.h>

/* Borrowed while the session lasts. */
struct session {
    const struct hosts_conf *hosts_conf;
    struct dmtp_context *dmtp;
    const char *domain; /* whose record it is */
    const struct dime_mrec *record;
    bool is_secure, is_relaxed;
    int64_t deadline;
    struct steps *steps;

    /* Its own. */
    struct hosts *hosts;
    struct host host; /* the one that is tried */
    size_t port;      /* of its ports, the next */
    struct dmtp *connection;
    bool was_untrusted;
};

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

/* Ends the connection. */
void session_close(struct session *s);

/* One question to one other host, for a witness: a connection of its own. */
enum session_end session_witness(struct session *s, const char *host,
                                 const struct session_question *q,
                                 struct kd_buf *signet);

#endif
