/* The servers of a zone, each asked by itself, over UDP and TCP: what a validating
 * resolver does not tell is which of them is behind, or does not answer, and how long
 * the signatures still hold. libldns asks and reads. */
#include "looking.h"

#include "rdata.h"

#include <keyd/base/clock.h>

#include <ldns/ldns.h>
#include <stdio.h>

enum {
    PORT = 53,
    EDNS_SIZE = 1232,
    ANSWER_MS = 3000, /* of a server, to one question */
    ADDRESSES_MAX = 8 /* of one server */
};

/* --- which zone, which servers ------------------------------------------------------
 */

static void
add_server(struct looking *l, const char *name)
{
    struct host_addr addresses[ADDRESSES_MAX];
    bool failed;
    size_t n = look_up_addresses(l, name, addresses, ADDRESSES_MAX, &failed);

    for (size_t i = 0; i < n || i == 0; i++) {
        if (l->seen.n_servers == DIME_INSPECT_SERVERS_MAX) {
            l->seen.is_cut = true;
            return;
        }
        struct dime_seen_server *s = &l->seen.servers[l->seen.n_servers++];
        kd_ignore(snprintf(s->name, sizeof s->name, "%s", name));
        if (n != 0)
            look_address_text(&addresses[i], s->address);
        else
            kd_ignore(
                snprintf(s->why, sizeof s->why, "%s",
                         failed ? "its addresses cannot be had" : "it has no address"));
    }
}

/* The zone that name is in: the nearest above, with itself, that has servers. */
static bool
find_servers(struct looking *l, const char *name)
{
    const char *dot = name - 1;

    for (name = dot + 1; dot != NULL && *name != '\0'; name = dot + 1) {
        struct dns_answer a;
        char server[DNS_NAME_MAX + 1];

        dns_query(l->reach.dns, name, DNS_NS, l->deadline, &a);
        for (size_t i = 0; i < a.n; i++)
            if (rdata_name(a.rdata[i], server) == KD_OK && server[0] != '\0')
                add_server(l, server);
        bool is_broken = a.status == DNS_BROKEN;
        if (is_broken)
            kd_ignore(snprintf(l->seen.zone_why, sizeof l->seen.zone_why, "%s",
                               dns_broken_text(a.broken)));
        dns_answer_clear(&a);
        if (l->seen.n_servers != 0) {
            memcpy(l->seen.zone, name, strlen(name) + 1);
            return true;
        }
        if (is_broken)
            return false;
        if ((dot = strchr(name, '.')) == NULL)
            break;
    }
    return false;
}

/* --- one question to one server -----------------------------------------------------
 */

static ldns_resolver *
resolver_for(const struct looking *l, const char *address, bool over_tcp)
{
    ldns_resolver *r = ldns_resolver_new();
    int64_t left = l->deadline - kd_clock_ms();
    ldns_rdf *to = ldns_rdf_new_frm_str(
        strchr(address, ':') == NULL ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA, address);

    if (r == NULL || to == NULL || left <= 0 ||
        ldns_resolver_push_nameserver(r, to) != LDNS_STATUS_OK) {
        ldns_rdf_deep_free(to);
        ldns_resolver_deep_free(r);
        return NULL;
    }
    ldns_rdf_deep_free(to); /* it was copied */
    left = left < ANSWER_MS ? left : ANSWER_MS;
    ldns_resolver_set_timeout(
        r, (struct timeval){.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000});
    ldns_resolver_set_port(r, PORT);
    ldns_resolver_set_retry(r, over_tcp ? 1 : 2);
    ldns_resolver_set_recursive(r, false);
    ldns_resolver_set_dnssec(r, true);
    ldns_resolver_set_edns_udp_size(r, EDNS_SIZE);
    ldns_resolver_set_usevc(r, over_tcp);
    ldns_resolver_set_igntc(r, true); /* TCP is asked by itself */
    ldns_resolver_set_fallback(r, false);
    ldns_resolver_set_fail(r, true);
    return r;
}

/* NULL: no answer. */
static ldns_pkt *
ask(const struct looking *l, const struct dime_seen_server *s, const char *name,
    ldns_rr_type type, bool over_tcp)
{
    ldns_resolver *r = resolver_for(l, s->address, over_tcp);
    ldns_rdf *owner = ldns_dname_new_frm_str(name);
    ldns_pkt *p = NULL;

    if (r != NULL && owner != NULL &&
        ldns_resolver_query_status(&p, r, owner, type, LDNS_RR_CLASS_IN, 0) !=
            LDNS_STATUS_OK) {
        ldns_pkt_free(p);
        p = NULL;
    }
    ldns_rdf_deep_free(owner);
    ldns_resolver_deep_free(r);
    return p;
}

/* Why an answer is none; NULL if it is one. */
static const char *
look_at_answer(const ldns_pkt *p)
{
    if (p == NULL)
        return "no answer";
    if (ldns_pkt_get_rcode(p) != LDNS_RCODE_NOERROR &&
        ldns_pkt_get_rcode(p) != LDNS_RCODE_NXDOMAIN)
        return "it refuses, or fails";
    return ldns_pkt_aa(p) ? NULL : "it is not authoritative for the zone";
}

/* --- what it says -------------------------------------------------------------------
 */

/* TXT data as it travels. */
static bool
same_data(const ldns_rr *rr, struct kd_slice data)
{
    size_t at = 0;

    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
        const ldns_rdf *f = ldns_rr_rdf(rr, i);
        size_t n = ldns_rdf_size(f);
        if (n > data.n - at || memcmp(ldns_rdf_data(f), data.p + at, n) != 0)
            return false;
        at += n;
    }
    return at == data.n;
}

/* Whether its records are those that the validating resolver has. */
static bool
same_records(const ldns_pkt *p, const struct dns_answer *a)
{
    ldns_rr_list *answer = ldns_pkt_answer(p);
    size_t n = 0;

    if (a->status == DNS_BROKEN) /* there is nothing to be the same as */
        return true;
    if (a->alias) /* the server says where to, not what is there */
        return true;
    for (size_t i = 0; i < ldns_rr_list_rr_count(answer); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(answer, i);
        bool is_known = false;
        if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_TXT)
            continue;
        for (size_t k = 0; k < a->n && !is_known; k++)
            is_known = same_data(rr, a->rdata[k]);
        if (!is_known)
            return false;
        n++;
    }
    return n == a->n;
}

/* The earliest end of the signatures in an answer; 0: none. */
static int64_t
signed_until(const ldns_pkt *p)
{
    ldns_rr_list *answer = p == NULL ? NULL : ldns_pkt_answer(p);
    int64_t first = 0;

    for (size_t i = 0; answer != NULL && i < ldns_rr_list_rr_count(answer); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(answer, i);
        if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_RRSIG ||
            ldns_rr_rrsig_expiration(rr) == NULL)
            continue;
        int64_t end = ldns_rdf2native_int32(ldns_rr_rrsig_expiration(rr));
        first = first == 0 || end < first ? end : first;
    }
    return first;
}

static int64_t
earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void
tell(struct dime_seen_server *s, const char *over, const char *what)
{
    if (s->why[0] == '\0')
        kd_ignore(snprintf(s->why, sizeof s->why, "over %s: %s", over, what));
}

static void
look_over_tcp(struct looking *l, struct dime_seen_server *s, struct said *said)
{
    s->over_tcp = true;
    for (size_t i = 0; i < DIME_MREC_OWNERS; i++) {
        ldns_pkt *p = ask(l, s, l->seen.records[i].owner, LDNS_RR_TYPE_TXT, true);
        const char *wrong = look_at_answer(p);
        if (wrong != NULL) {
            s->over_tcp = false;
            tell(s, "TCP", wrong);
        } else {
            s->same[i] = same_records(p, &l->owners[i].answer);
            said->until[i] = signed_until(p);
        }
        ldns_pkt_free(p);
    }
}

/* What came by TCP is not asked of UDP again, where an answer may be cut. */
static void
look_over_udp(struct looking *l, struct dime_seen_server *s, struct said *said)
{
    s->over_udp = true;
    for (size_t i = 0; i < DIME_MREC_OWNERS; i++) {
        ldns_pkt *p = ask(l, s, l->seen.records[i].owner, LDNS_RR_TYPE_TXT, false);
        const char *wrong = look_at_answer(p);
        if (wrong != NULL) {
            s->over_udp = false;
            tell(s, "UDP", wrong);
        } else if (!s->over_tcp && !ldns_pkt_tc(p)) {
            s->same[i] = same_records(p, &l->owners[i].answer);
            said->until[i] = earlier(said->until[i], signed_until(p));
        }
        ldns_pkt_free(p);
    }
}

static void
look_at_server(struct looking *l, size_t i)
{
    struct dime_seen_server *s = &l->seen.servers[i];
    struct said *said = &l->said[i];

    if (s->address[0] == '\0')
        return;
    look_over_tcp(l, s, said);
    look_over_udp(l, s, said);
    ldns_pkt *keys = ask(l, s, l->seen.zone, LDNS_RR_TYPE_DNSKEY, s->over_tcp);
    said->keys_until = signed_until(keys);
    ldns_pkt_free(keys);
}

void
look_at_zone(struct looking *l)
{
    if (!find_servers(l, l->seen.records[0].owner)) {
        if (l->seen.zone_why[0] == '\0')
            kd_ignore(snprintf(l->seen.zone_why, sizeof l->seen.zone_why,
                               "no server of the zone is found"));
        return;
    }
    l->seen.zone_why[0] = '\0';
    look_at_each(l, l->seen.n_servers, look_at_server);
    for (size_t i = 0; i < l->seen.n_servers; i++) {
        const struct said *said = &l->said[i];
        for (size_t k = 0; k < DIME_MREC_OWNERS; k++)
            if (said->until[k] != 0)
                l->seen.records[k].signed_until =
                    earlier(l->seen.records[k].signed_until,
                            earlier(said->until[k], said->keys_until));
    }
}
