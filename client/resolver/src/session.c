#include "session.h"

#include <keyd/base/clock.h>

#include <stdlib.h>

enum { QUIT_MS = 1000, DMTP_PORT = 26 };

enum dime_outcome
session_outcome(enum session_end end)
{
    switch (end) {
    case SESSION_ANSWERED:
        return DIME_IS_DARK;
    case SESSION_UNTRUSTED:
        return DIME_IS_UNTRUSTED;
    case SESSION_LATE:
        return DIME_IS_NO_TIME;
    case SESSION_UNREACHABLE:
        break;
    }
    return DIME_IS_UNREACHABLE;
}

static bool
is_late(const struct session *s)
{
    return kd_clock_ms() >= s->deadline;
}

static void
drop(struct session *s)
{
    int64_t until = kd_clock_ms() + QUIT_MS;

    dmtp_close(s->connection, until < s->deadline ? until : s->deadline);
    s->connection = NULL;
}

void
session_close(struct session *s)
{
    drop(s);
    hosts_free(s->hosts);
    s->hosts = NULL;
}

static void
put_addresses(const struct host *host, struct dmtp_target *t)
{
    for (size_t i = 0; i < host->n_addrs && t->n_addresses < DMTP_ADDRESSES_MAX; i++)
        hosts_sockaddr(&host->addrs[i], &t->addresses[t->n_addresses++]);
}

static enum dmtp_end
connect_to(struct session *s, const struct host *host, const struct host_port *port,
           struct dmtp **out)
{
    struct dmtp_target t = {.host = host->name,
                            .domain = s->domain,
                            .port = port->port,
                            .mode = port->dual ? DMTP_DUAL : DMTP_SINGLE,
                            .record = s->record,
                            .is_secure = s->is_secure,
                            .is_relaxed = s->is_relaxed};

    put_addresses(host, &t);
    return dmtp_open(s->dmtp, &t, s->deadline, s->steps, out);
}

/* The next host, or the next port of the one that is tried. KD_OK with a connection. */
static enum session_end
connect_next(struct session *s)
{
    for (;;) {
        if (is_late(s))
            return SESSION_LATE;
        if (s->port == s->host.n_ports) {
            kd_err err = hosts_next(s->hosts, s->deadline, s->steps, &s->host);
            s->port = 0;
            if (err != KD_OK) {
                s->host.n_ports = 0;
                return s->was_untrusted ? SESSION_UNTRUSTED : SESSION_UNREACHABLE;
            }
        }
        enum dmtp_end end =
            connect_to(s, &s->host, &s->host.ports[s->port++], &s->connection);
        if (end == DMTP_DONE)
            return SESSION_ANSWERED;
        s->was_untrusted = s->was_untrusted || end == DMTP_UNTRUSTED;
    }
}

static enum dmtp_end
put_question(struct dmtp *d, const struct session *s, const struct session_question *q,
             struct dmtp_reply *out)
{
    switch (q->verb) {
    case SESSION_VRFY:
        return dmtp_vrfy(d, q->name, q->fingerprint, s->deadline, s->steps, out);
    case SESSION_HIST:
        return dmtp_hist(d, q->name, q->fingerprint, NULL, s->deadline, s->steps, out);
    case SESSION_SGNT:
        break;
    }
    return dmtp_sgnt(d, q->name, q->fingerprint, s->deadline, s->steps, out);
}

/* A reply that another host might give differently: 4xx but 476, and what means that
 * the host cannot. */
static bool
is_decided(const struct dmtp_reply *r)
{
    return (r->code >= 200 && r->code < 300) || r->code == 476 ||
           (r->code >= 500 && r->code < 600 && r->code != 502);
}

enum session_end
session_ask(struct session *s, const struct session_question *q, struct dmtp_reply *out)
{
    if (s->hosts == NULL &&
        hosts_new(s->hosts_conf, s->domain, s->record, &s->hosts) != KD_OK)
        return SESSION_UNREACHABLE;
    for (;;) {
        if (s->connection == NULL) {
            enum session_end end = connect_next(s);
            if (end != SESSION_ANSWERED)
                return end;
        }
        enum dmtp_end end = put_question(s->connection, s, q, out);
        if (end == DMTP_DONE && is_decided(out))
            return SESSION_ANSWERED;
        if (end == DMTP_DONE)
            steps_add(s->steps, STEP_DMTP, "%s says %u: the next host", s->host.name,
                      out->code);
        drop(s);
    }
}

enum session_end
session_witness(struct session *s, const char *host, const struct session_question *q,
                struct kd_buf *signet)
{
    /* As if it were the one host of the domain: found and tried by the same rules. */
    struct dime_mrec *alone = calloc(1, sizeof *alone);
    struct session w = *s;
    struct dmtp_reply reply;

    if (alone == NULL)
        return SESSION_UNREACHABLE;
    *alone = *s->record;
    alone->n_dx = 1;
    alone->n_tls = 0;
    memcpy(alone->dx[0], host, strlen(host) + 1);
    w.hosts = NULL;
    w.connection = NULL;
    w.host.n_ports = w.port = 0;
    w.was_untrusted = false;
    w.record = alone;
    w.is_relaxed = true; /* it is nobody's host; its certificate is an authority's */
    enum session_end end = SESSION_UNREACHABLE;
    if (hosts_new(w.hosts_conf, w.domain, alone, &w.hosts) == KD_OK &&
        hosts_next(w.hosts, w.deadline, w.steps, &w.host) == KD_OK &&
        w.host.kind == HOST_DX) {
        enum dmtp_end opened = connect_to(&w, &w.host, &w.host.ports[0], &w.connection);
        if (opened == DMTP_DONE)
            opened = put_question(w.connection, &w, q, &reply);
        if (opened == DMTP_DONE && (reply.code == 270 || reply.code == 280)) {
            kd_buf_reset(signet);
            kd_buf_put(signet, reply.signet);
            end = SESSION_ANSWERED;
        }
    }
    session_close(&w);
    free(alone);
    return end;
}
