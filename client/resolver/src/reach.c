#include "reach.h"

kd_err
reach_open(const struct dime_resolver_conf *conf, struct reach *out, const char **why)
{
    const struct dns_conf dns = {.anchor_file = conf->anchor_file,
                                 .forwarders = &conf->forwarder,
                                 .n_forwarders = conf->forwarder != NULL,
                                 .root_hints = conf->hints_file,
                                 .local_servers = conf->is_local};
    const struct dmtp_conf dmtp = {.ca_file = conf->ca_file,
                                   .only_tls12 = conf->only_tls12,
                                   .takes_libdime = conf->takes_libdime};
    kd_err err;

    if ((err = dns_new(&dns, &out->dns, why)) != KD_OK ||
        (err = dmtp_context_new(&dmtp, &out->dmtp, why)) != KD_OK)
        return err;
    out->hosts = (struct hosts_conf){.dns = out->dns,
                                     .domain_itself = conf->tries_domain,
                                     .mx_port_26 = conf->tries_26_on_mx,
                                     .follow_aliases = conf->follows_aliases,
                                     .local_addresses = conf->is_local};
    return KD_OK;
}

void
reach_close(struct reach *r)
{
    dmtp_context_free(r->dmtp);
    dns_free(r->dns);
    *r = (struct reach){0};
}
