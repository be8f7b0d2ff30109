/* A DMTP client's connection to one host, for signets (TR group; D-132 to D-145, D-163
 * to D-168). Everything that comes from the host is hostile: time, memory, lines and
 * links are bounded, and nothing it says is believed but what signatures prove; whether
 * the host itself is the domain's is decided by its certificate, before any question is
 * asked. */
#ifndef DIME_RESOLVER_DMTP_H
#define DIME_RESOLVER_DMTP_H

#include "cert.h"
#include "steps.h"

#include <dime/fingerprint.h>
#include <dime/mrec.h>

#include <sys/socket.h>

enum {
    DMTP_ADDRESSES_MAX = 8,      /* of a host */
    DMTP_SIGNET_MAX = 256 << 10, /* octets of a signet that is taken */
    DMTP_HISTORY_MAX = 4 << 20,  /* octets of all links of a history */
    DMTP_LINKS_MAX = 1000,
};

/* Milliseconds. Each but the last counts from the last complete line (TR-74). */
struct dmtp_times {
    int64_t setup;   /* TLS, banner, STARTTLS (TR-75) */
    int64_t command; /* TR-76 */
    int64_t signet;  /* SGNT, HIST, VRFY (TR-78) */
    int64_t quit;    /* TR-79 */
    int64_t silence; /* behind STARTTLS, before the handshake is begun all the same
                      * (D-144) */
};

/* Shared by connections; the authorities are read once. */
struct dmtp_conf {
    const char *ca_file; /* NULL: the system's */
    bool only_tls12;     /* D-132 */
    bool takes_libdime;  /* its dialect, where a host knows no other (D-137) */
    const struct dmtp_times *times; /* NULL: the specification's */
};
struct dmtp_context;
/* KD_OK; KD_IO if the authorities cannot be read; KD_NOMEM. *why is static text. */
kd_err dmtp_context_new(const struct dmtp_conf *conf, struct dmtp_context **out,
                        const char **why) KD_MUST_USE;
void dmtp_context_free(struct dmtp_context *ctx);

enum dmtp_mode {
    DMTP_SINGLE, /* TLS from the first octet (port 26) */
    DMTP_DUAL    /* STARTTLS MODE=DMTP (25, 587) */
};

/* What a host showed, for who looks at it rather than through it. */
struct dmtp_shown {
    bool is_reached;                    /* a certificate was shown */
    struct kd_buf certificate;          /* DER; initialised by who wants it */
    int64_t from, until;                /* of it, in seconds since 1970 */
    int64_t chain_until;                /* the earliest end of all that were sent */
    enum cert_why verdict, without_dns; /* as it is; and if the record were insecure */
};

/* Whom to speak to, and by what its certificate is judged. All of it borrowed. */
struct dmtp_target {
    const char *host;   /* as the record or MX names it: SNI and certificate */
    const char *domain; /* the organization's */
    uint16_t port;
    enum dmtp_mode mode;
    size_t n_addresses;
    struct sockaddr_storage addresses[DMTP_ADDRESSES_MAX]; /* without ports */
    const struct dime_mrec *record;
    bool is_secure;           /* the record is, by DNSSEC */
    bool is_relaxed;          /* D-029 is not asked of it */
    struct dmtp_shown *shown; /* NULL: nobody wants it */
};

/* How a connection or a command ended. */
enum dmtp_end {
    DMTP_DONE,
    DMTP_NO_CONNECTION, /* nobody there, or not at that port */
    DMTP_NO_TLS,        /* no handshake, or not with what is required */
    DMTP_NO_DMTP,       /* it does not speak DMTP */
    DMTP_UNTRUSTED,     /* its certificate does not hold: an alarm */
    DMTP_CLOSED,        /* 421, or it ended in the middle */
    DMTP_GARBAGE,       /* no reply as the protocol has it, or more than is taken */
    DMTP_LATE,          /* the deadline, or its own time for a reply */
    DMTP_NO_MEMORY
};
const char *dmtp_end_text(enum dmtp_end end);

struct dmtp;

/* Tries the addresses in their order, each for its share of the time that is left. Only
 * with DMTP_DONE there is a connection, and it is one whose certificate holds. Else it
 * says how the last one failed, or DMTP_UNTRUSTED if any of them was. deadline:
 * kd_clock_ms(). */
enum dmtp_end dmtp_open(struct dmtp_context *ctx, const struct dmtp_target *target,
                        int64_t deadline, struct steps *steps, struct dmtp **out);

/* QUIT and a clean end of TLS, as far as it is there in time. NULL is accepted. */
void dmtp_close(struct dmtp *d, int64_t deadline);

/* Whether its certificate was matched by the record (no X.509 was needed), for those
 * who tell. */
bool dmtp_is_pinned(const struct dmtp *d);

/* A reply; what it points to lives until the next command or the end. An error of the
 * host (4xx, 5xx) is DMTP_DONE with its code; success that is not what was asked for is
 * DMTP_GARBAGE (D-162). After any end but DMTP_DONE a connection is over. */
struct dmtp_reply {
    unsigned code;                /* 100 to 599; unknown ones by their class (TR-209) */
    struct kd_slice signet;       /* 270, 280: binary; empty where libdime's VRFY says
                                   * that there is another, not which */
    const struct kd_slice *links; /* 290: binary cores, oldest first */
    size_t n_links;
    bool is_current; /* 271, 281, 291 */
};

/* SGNT of a domain or an address; fingerprint (64 octets) or NULL. */
enum dmtp_end dmtp_sgnt(struct dmtp *d, const char *name, const uint8_t *fingerprint,
                        int64_t deadline, struct steps *steps, struct dmtp_reply *out);
/* Is that the current one? Core fingerprints of users, full ones of organizations. */
enum dmtp_end dmtp_vrfy(struct dmtp *d, const char *name, const uint8_t *fingerprint,
                        int64_t deadline, struct steps *steps, struct dmtp_reply *out);
/* The links from start to stop, both included; NULL: the root, the current one. */
enum dmtp_end dmtp_hist(struct dmtp *d, const char *address, const uint8_t *start,
                        const uint8_t *stop, int64_t deadline, struct steps *steps,
                        struct dmtp_reply *out);
/* Whether it is still there. */
enum dmtp_end dmtp_noop(struct dmtp *d, int64_t deadline, struct steps *steps);

#endif
