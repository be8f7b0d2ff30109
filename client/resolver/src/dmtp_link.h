/* Inside of a DMTP connection: octets and lines, in clear or through TLS. */
#ifndef DIME_RESOLVER_DMTP_LINK_H
#define DIME_RESOLVER_DMTP_LINK_H

#include "dmtp.h"
#include "dmtp_reply.h"
#include "net.h"

#include <openssl/ssl.h>

struct dmtp_context {
    SSL_CTX *tls;
    X509_STORE *authorities;
    bool takes_libdime;
    struct dmtp_times times;
};

struct dmtp {
    struct dmtp_context *ctx; /* borrowed */
    struct net net;
    SSL *tls;       /* NULL: in clear */
    bool is_broken; /* TLS or the socket: nothing more may be sent */
    bool is_over;   /* replies and commands no longer go together */
    bool is_pinned;
    size_t at, n; /* of what was read and is not used */
    uint8_t in[8192];
    struct dmtp_reader reader;
    struct kd_buf octets; /* of the last reply */
    struct kd_slice links[DMTP_LINKS_MAX];
};

/* The sooner of the deadline and so long from now. */
int64_t dmtp_until(int64_t deadline, int64_t patience);

/* Sends a line or several. DMTP_DONE, _CLOSED, _LATE. */
enum dmtp_end dmtp_send(struct dmtp *d, const char *line, int64_t deadline);

/* The next reply, into d->reader: DMTP_DONE, whatever its code; _CLOSED, also for 421;
 * _LATE; _GARBAGE. patience: for each line. */
enum dmtp_end dmtp_receive(struct dmtp *d, const char *what, struct dmtp_limits limits,
                           int64_t patience, int64_t deadline, struct steps *steps);

/* The first line of the reply in d->reader, without its code. */
enum { DMTP_SHOWN_MAX = 100 };
void dmtp_shown(const struct dmtp *d, char out[DMTP_SHOWN_MAX + 1]);

/* QUIT, and the reply as far as it comes. */
void dmtp_quit(struct dmtp *d, int64_t deadline);
/* close_notify, and the other's as far as it comes. */
void dmtp_end_tls(struct dmtp *d, int64_t deadline);
void dmtp_free(struct dmtp *d);

#endif
