/* What the world sees of a domain that runs DIME, for those who publish it: its
 * management record as a validating resolver has it and as every server of its zone
 * gives it, until when it is signed, the hosts that serve it, the certificates they
 * show and the organizational signet they hand out.
 *
 * Nothing is held against what was meant to be published: that does who asks (keydctl
 * publish check). Everything that is seen comes from outside, and texts in it are shown
 * with octets beyond printable ASCII escaped. */
#ifndef DIME_INSPECT_H
#define DIME_INSPECT_H

#include <dime/mrec.h>
#include <dime/resolver.h>

enum {
    DIME_INSPECT_SERVERS_MAX = 32, /* addresses of the zone's servers */
    DIME_INSPECT_HOSTS_MAX = 64,   /* a host's address and port each */
    DIME_INSPECT_WHY_MAX = 256,
};

enum dime_seen_state { DIME_SEEN_ABSENT, DIME_SEEN_PRESENT, DIME_SEEN_BROKEN };

/* One owner name, as a validating resolver sees it. */
struct dime_seen_record {
    char owner[DIME_MREC_HOST_MAX + 8]; /* "_dime.example.com" */
    enum dime_seen_state state;
    bool is_secure;       /* validated up to the anchor; so may be an absence */
    bool is_bogus;        /* broken, because signatures are */
    uint32_t ttl;         /* seconds */
    int64_t signed_until; /* since 1970: the earliest end of signatures over it and over
                           * the zone's keys, of all servers; 0: none was seen */
    size_t n_strings;     /* of a record that is present, as published */
    struct kd_slice strings[DIME_MREC_PARTS_MAX];
    struct kd_slice text; /* joined */
    struct dime_mrec parsed;
    char why[DIME_INSPECT_WHY_MAX]; /* broken: for people */
};

/* One address of one server of the zone, asked itself. */
struct dime_seen_server {
    char name[DIME_MREC_HOST_MAX + 1], address[64];
    bool over_udp, over_tcp;     /* it answers so, with authority (MR-22) */
    bool same[DIME_MREC_OWNERS]; /* it gives what the validating resolver has */
    char why[DIME_INSPECT_WHY_MAX];
};

/* One host, port and address; each is connected to, not only the first that answers. */
struct dime_seen_host {
    char name[DIME_MREC_HOST_MAX + 1], address[64];
    uint16_t port;
    bool is_dx;              /* else an MX, or the domain itself */
    bool is_reached;         /* it speaks TLS, and has shown a certificate */
    bool is_trusted;         /* by the table of certificates (TR-32 to TR-52), ... */
    bool is_trusted_without; /* ... and for those who do not validate */
    bool speaks_dmtp;        /* it has answered SGNT */
    struct kd_slice certificate, org_signet; /* DER; binary; empty if there is none */
    int64_t from, until, chain_until; /* of the certificate, and the earliest end of all
                                       * that came with it */
    char why[DIME_INSPECT_WHY_MAX];   /* empty: all well */
};

struct dime_inspection {
    char domain[DIME_MREC_HOST_MAX + 1], zone[DIME_MREC_HOST_MAX + 1];
    struct dime_seen_record records[DIME_MREC_OWNERS]; /* as dime_mrec_owners */
    size_t n_servers, n_hosts;
    struct dime_seen_server servers[DIME_INSPECT_SERVERS_MAX];
    struct dime_seen_host hosts[DIME_INSPECT_HOSTS_MAX];
    char zone_why[DIME_INSPECT_WHY_MAX];  /* no server: why */
    char hosts_why[DIME_INSPECT_WHY_MAX]; /* names that led to no host, and such */
    bool is_cut;                          /* there was more than the limits above */
};

/* Asks, and waits until the deadline (kd_clock_ms) at most. conf is a resolver's;
 * state_dir is not used. domain: A-labels in lower case. KD_OK with what was seen,
 * whatever it is; KD_INVALID, KD_IO, KD_NOMEM with *why in static storage. */
kd_err dime_inspect(const struct dime_resolver_conf *conf, const char *domain,
                    int64_t deadline, struct dime_inspection **out,
                    const char **why) KD_MUST_USE;
void dime_inspection_free(struct dime_inspection *i);

#endif
