/* What the world is reached with: questions to the DNS, names of hosts, TLS to them. */
#ifndef DIME_RESOLVER_REACH_H
#define DIME_RESOLVER_REACH_H

#include "dmtp.h"
#include "hosts.h"

#include <dime/resolver.h>

struct reach {
    struct dns *dns;
    struct dmtp_context *dmtp;
    struct hosts_conf hosts;
};

/* KD_OK; KD_INVALID, KD_IO, KD_NOMEM with *why in static storage. reach_close in every
 * case, if it was zero before. */
kd_err reach_open(const struct dime_resolver_conf *conf, struct reach *out,
                  const char **why) KD_MUST_USE;
void reach_close(struct reach *r);

#endif
