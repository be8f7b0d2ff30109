/* What the parts of an inspection share: inspect.c (records, and all of it),
 * inspect_zone.c (servers), inspect_hosts.c. */
#ifndef DIME_RESOLVER_LOOKING_H
#define DIME_RESOLVER_LOOKING_H

#include "reach.h"
#include "steps.h"

#include <dime/inspect.h>

/* Octets of one owner's TXT data as the validating resolver has them. */
struct looked_owner {
    struct dns_answer answer;
    uint8_t *text; /* of a record that is there, joined */
};

/* Until when one server's answers are signed; 0: not, or it gave none. */
struct said {
    int64_t until[DIME_MREC_OWNERS], keys_until;
};

/* How one of the hosts is reached. */
struct look_way {
    struct host_addr address;
    bool is_dual;
};

struct looking {
    struct dime_inspection seen; /* first: it is what dime_inspect gives */
    struct reach reach;
    int64_t deadline;
    struct looked_owner owners[DIME_MREC_OWNERS];
    const struct dime_seen_record *record; /* by which hosts are judged; NULL: none */
    struct look_way ways[DIME_INSPECT_HOSTS_MAX];
    struct sockaddr_storage server_at[DIME_INSPECT_SERVERS_MAX]; /* without ports */
    struct said said[DIME_INSPECT_SERVERS_MAX];
    struct kd_buf certificates[DIME_INSPECT_HOSTS_MAX], signets[DIME_INSPECT_HOSTS_MAX];
};

/* Each in turn, after the records. Threads are made and over when they return. */
void look_at_zone(struct looking *l);
void look_at_hosts(struct looking *l);

/* One thread for each of n things, in order of i; those for whom there is none are done
 * here, one after another. */
void look_at_each(struct looking *l, size_t n,
                  void (*look)(struct looking *l, size_t i));

/* The last of the steps that weighs the most, or otherwise. */
void look_why(const struct steps *steps, const char *otherwise,
              char out[DIME_INSPECT_WHY_MAX]);

/* Addresses of a name, as hosts.h has them: at most max. *failed: there may be more. */
size_t look_up_addresses(struct looking *l, const char *name, struct host_addr *out,
                         size_t max, bool *failed);
void look_address_text(const struct host_addr *a, char out[64]);

#endif
