/* The hosts that serve a domain: every address and port of each, not only the first
 * that answers. */
#include "looking.h"

#include <keyd/base/clock.h>

#include <stdio.h>

enum { QUIT_MS = 1000 };

/* --- one of them --------------------------------------------------------------------
 */

static void
take_signet(struct looking *l, size_t i, struct dmtp *d, struct steps *steps)
{
    struct dime_seen_host *h = &l->seen.hosts[i];
    struct dmtp_reply reply;
    enum dmtp_end end = dmtp_sgnt(d, l->seen.domain, NULL, l->deadline, steps, &reply);

    h->speaks_dmtp = end == DMTP_DONE;
    if (end != DMTP_DONE) {
        look_why(steps, dmtp_end_text(end), h->why);
        return;
    }
    kd_buf_put(&l->signets[i], reply.signet);
    h->org_signet = kd_buf_slice(&l->signets[i]);
    if (h->org_signet.n == 0)
        kd_ignore(snprintf(h->why, sizeof h->why, "to SGNT it says %u", reply.code));
}

static void
put_shown(struct dime_seen_host *h, const struct dmtp_shown *shown)
{
    h->is_reached = shown->is_reached;
    if (!shown->is_reached)
        return;
    h->is_trusted = cert_why_passes(shown->verdict);
    h->is_trusted_without = cert_why_passes(shown->without_dns);
    h->certificate = kd_buf_slice(&shown->certificate);
    h->from = shown->from;
    h->until = shown->until;
    h->chain_until = shown->chain_until;
}

static void
look_at_host(struct looking *l, size_t i)
{
    struct dime_seen_host *h = &l->seen.hosts[i];
    struct dmtp_shown shown = {0};
    struct dmtp_target target = {.host = h->name,
                                 .domain = l->seen.domain,
                                 .port = h->port,
                                 .mode = l->ways[i].is_dual ? DMTP_DUAL : DMTP_SINGLE,
                                 .n_addresses = 1,
                                 .record = &l->record->parsed,
                                 .is_secure = l->record->is_secure,
                                 .shown = &shown};
    struct steps *steps = steps_new();
    struct dmtp *d = NULL;

    shown.certificate = l->certificates[i];
    hosts_sockaddr(&l->ways[i].address, &target.addresses[0]);
    enum dmtp_end end = dmtp_open(l->reach.dmtp, &target, l->deadline, steps, &d);
    l->certificates[i] = shown.certificate; /* whose octets it has */
    put_shown(h, &shown);
    if (end == DMTP_DONE)
        take_signet(l, i, d, steps);
    else
        look_why(steps, dmtp_end_text(end), h->why);
    if (end == DMTP_UNTRUSTED) /* revoked, which the table does not say */
        h->is_trusted = h->is_trusted_without = false;
    dmtp_close(d, kd_clock_ms() + QUIT_MS);
    steps_free(steps);
}

/* --- which there are ----------------------------------------------------------------
 */

static void
add_way(struct looking *l, const struct host *host, size_t address, size_t port)
{
    size_t i = l->seen.n_hosts;

    if (i == DIME_INSPECT_HOSTS_MAX) {
        l->seen.is_cut = true;
        return;
    }
    struct dime_seen_host *h = &l->seen.hosts[i];
    l->ways[i] = (struct look_way){host->addrs[address], host->ports[port].dual};
    memcpy(h->name, host->name, strlen(host->name) + 1);
    look_address_text(&host->addrs[address], h->address);
    h->port = host->ports[port].port;
    h->is_dx = host->kind == HOST_DX;
    l->seen.n_hosts++;
}

/* dx and MX, all of them: senders go to the latter when they reach none of the former.
 */
static void
list_hosts(struct looking *l, struct steps *steps)
{
    struct hosts_conf conf = l->reach.hosts;
    struct hosts *hosts;
    struct host host;

    conf.dx_tries = conf.mx_tries = DIME_INSPECT_HOSTS_MAX;
    if (hosts_new(&conf, l->seen.domain, &l->record->parsed, &hosts) != KD_OK)
        return;
    while (hosts_next(hosts, l->deadline, steps, &host) == KD_OK)
        for (size_t p = 0; p < host.n_ports; p++)
            for (size_t a = 0; a < host.n_addrs; a++)
                add_way(l, &host, a, p);
    hosts_free(hosts);
}

void
look_at_hosts(struct looking *l)
{
    struct steps *steps = steps_new();

    for (size_t i = 0; i < DIME_MREC_OWNERS && l->record == NULL; i++)
        if (l->seen.records[i].state == DIME_SEEN_PRESENT)
            l->record = &l->seen.records[i];
    if (l->record != NULL) {
        list_hosts(l, steps);
        look_why(steps, "", l->seen.hosts_why);
        look_at_each(l, l->seen.n_hosts, look_at_host);
    }
    steps_free(steps);
}
