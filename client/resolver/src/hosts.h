/* The hosts that may serve a domain's DMTP, in the order in which they are to be tried
 * (TR-17 to TR-24, MR-74 to MR-79): the record's dx values in random order, then the MX
 * by preference, then, if so configured, the domain itself. Names are asked for one by
 * one, as they are needed: who finds the first dx host asks for no MX. */
#ifndef DIME_RESOLVER_HOSTS_H
#define DIME_RESOLVER_HOSTS_H

#include "dns.h"
#include "steps.h"

#include <dime/mrec.h>

#include <sys/socket.h>

enum {
    HOST_ADDRS_MAX = 8, /* of one host; what is more is left out */
    HOST_PORTS_MAX = 3,
    HOSTS_DX_TRIES = 3, /* hosts of a kind that resolve, before the next kind's turn */
    HOSTS_MX_TRIES = 5,
};

enum host_kind { HOST_DX, HOST_MX, HOST_DOMAIN, HOST_KINDS };
const char *host_kind_text(enum host_kind k); /* "dx", "mx", "domain" */

struct host_addr {
    int family; /* AF_INET, AF_INET6 */
    uint8_t octets[16];
};

struct host_port {
    uint16_t port;
    bool dual; /* SMTP first, DMTP after STARTTLS with its mode; else DMTP over TLS */
};

struct host {
    enum host_kind kind;
    char name[DNS_NAME_MAX + 1]; /* which its certificate is checked against */
    bool secure_name; /* an MX of a signed zone; a dx or domain is as good as its record
                       */
    size_t n_addrs, n_ports;
    struct host_addr addrs[HOST_ADDRS_MAX];
    struct host_port ports[HOST_PORTS_MAX];
};

/* Zeroes are the defaults. */
struct hosts_conf {
    struct dns *dns;
    size_t dx_tries, mx_tries;
    bool domain_itself;                /* TR-23 */
    bool mx_port_26;                   /* also 26, before 25 (D-136) */
    bool follow_aliases;               /* take a dx or MX that is an alias (D-023) */
    bool local_addresses;              /* take 127.0.0.0/8 and ::1 */
    uint32_t (*below)(uint32_t limit); /* a random number; NULL: the system's */
};

struct hosts;

/* An address that a host on the network can have; local: also one of our own. */
bool hosts_address_ok(const struct host_addr *a, bool local);

/* Without a port. */
void hosts_sockaddr(const struct host_addr *a, struct sockaddr_storage *out);

/* domain and the dx values are copied. */
kd_err hosts_new(const struct hosts_conf *conf, const char *domain,
                 const struct dime_mrec *record, struct hosts **out) KD_MUST_USE;
void hosts_free(struct hosts *h);

/* The next one that resolves; each at most once for its kind. KD_NOT_FOUND: there are
 * no more, and nothing failed; KD_UNAVAILABLE: no more, but a question failed on the
 * way, so that later there may be others. */
kd_err hosts_next(struct hosts *h, int64_t deadline, struct steps *steps,
                  struct host *out) KD_MUST_USE;

#endif
