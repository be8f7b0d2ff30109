/* The servers of a zone, each asked by itself, over UDP and TCP: what a validating
 * resolver does not tell is which of them is behind, or does not answer, and how long
 * the signatures still hold. libldns reads what they say; the waiting is ours, since
 * its own has no end where octets come one by one. */
#include "looking.h"

#include "net.h"
#include "rdata.h"

#include <keyd/base/clock.h>

#include <ldns/ldns.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PORT = 53,
    EDNS_SIZE = 1232,
    DATAGRAM_MAX = 4096,
    ANSWER_MS = 3000,  /* of a server, to one question */
    ADDRESSES_MAX = 8, /* of one server */
    /* Of a message (RFC 1035, 4.1) */
    HEADER = 12,
    ID = 2,
    RESPONSE = 0x80,
    TYPE_AND_CLASS = 4,
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
        if (n != 0) {
            look_address_text(&addresses[i], s->address);
            hosts_sockaddr(&addresses[i], &l->server_at[s - l->seen.servers]);
        } else {
            kd_ignore(
                snprintf(s->why, sizeof s->why, "%s",
                         failed ? "its addresses cannot be had" : "it has no address"));
        }
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

/* A question of whoever reads the zone: with DO, without RD. KD_OK with octets that are
 * ldns's to free. */
static kd_err
make_question(const char *name, ldns_rr_type type, uint8_t **wire, size_t *n)
{
    ldns_rdf *owner = ldns_dname_new_frm_str(name);
    ldns_pkt *p =
        owner == NULL ? NULL : ldns_pkt_query_new(owner, type, LDNS_RR_CLASS_IN, 0);

    if (p == NULL) {
        ldns_rdf_deep_free(owner); /* else it is p's */
        return KD_NOMEM;
    }
    ldns_pkt_set_random_id(p);
    ldns_pkt_set_edns_udp_size(p, EDNS_SIZE);
    ldns_pkt_set_edns_do(p, true);
    kd_err err = ldns_pkt2wire(wire, p, n) == LDNS_STATUS_OK ? KD_OK : KD_NOMEM;
    ldns_pkt_free(p);
    return err;
}

/* Whether it answers that question: id, and the question itself. */
static bool
is_answer(const uint8_t *in, size_t n, const uint8_t *question, size_t n_question)
{
    size_t end = HEADER;

    while (end < n_question && question[end] != 0)
        end += (size_t)question[end] + 1;
    end += 1 + TYPE_AND_CLASS;
    return n >= end && n_question >= end && (in[2] & RESPONSE) != 0 &&
           memcmp(in, question, ID) == 0 &&
           memcmp(in + HEADER, question + HEADER, end - HEADER) == 0;
}

static ldns_pkt *
read_packet(const uint8_t *in, size_t n, const uint8_t *question, size_t n_question)
{
    ldns_pkt *p = NULL;

    if (!is_answer(in, n, question, n_question) ||
        ldns_wire2pkt(&p, in, n) != LDNS_STATUS_OK)
        return NULL;
    return p;
}

/* Waits on one deadline for all of it, however slowly it comes. */
static bool
read_all(struct net *net, uint8_t *out, size_t n)
{
    size_t at = 0, got = 0;

    while (at < n && net_read(net, out + at, n - at, &got) == KD_OK)
        at += got;
    return at == n;
}

static ldns_pkt *
ask_over_tcp(const struct sockaddr_storage *to, const uint8_t *question, size_t n,
             int64_t deadline)
{
    uint8_t size[2] = {(uint8_t)(n >> 8), (uint8_t)n}, *in = NULL;
    ldns_pkt *p = NULL;
    struct net net;

    if (net_connect(&net, to, PORT, deadline) == KD_OK) {
        net.deadline = deadline;
        if (net_write(&net, size, sizeof size) == KD_OK &&
            net_write(&net, question, n) == KD_OK &&
            read_all(&net, size, sizeof size)) {
            size_t n_in = (size_t)size[0] << 8 | size[1];
            in = malloc(n_in + 1);
            if (in != NULL && read_all(&net, in, n_in))
                p = read_packet(in, n_in, question, n);
        }
    }
    net_close(&net);
    free(in);
    return p;
}

/* What is not the answer is passed over: anybody can send to a port. */
static ldns_pkt *
await_datagram(int sock, const uint8_t *question, size_t n, int64_t deadline)
{
    uint8_t in[DATAGRAM_MAX];
    ldns_pkt *p = NULL;

    for (int64_t left; p == NULL && (left = deadline - kd_clock_ms()) > 0;) {
        struct pollfd fd = {.fd = sock, .events = POLLIN};
        if (poll(&fd, 1, (int)left) <= 0)
            continue;
        ssize_t got = recv(sock, in, sizeof in, MSG_DONTWAIT);
        if (got < 0) /* nobody is there */
            return NULL;
        p = read_packet(in, (size_t)got, question, n);
    }
    return p;
}

/* Asked again once, since datagrams are lost. */
static ldns_pkt *
ask_over_udp(const struct sockaddr_storage *address, const uint8_t *question, size_t n,
             int64_t deadline)
{
    struct sockaddr_storage to = *address;
    socklen_t size = to.ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                             : sizeof(struct sockaddr_in6);
    ldns_pkt *p = NULL;
    int sock = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (to.ss_family == AF_INET)
        ((struct sockaddr_in *)&to)->sin_port = htons(PORT);
    else
        ((struct sockaddr_in6 *)&to)->sin6_port = htons(PORT);
    if (sock >= 0 && connect(sock, (struct sockaddr *)&to, size) == 0) {
        int64_t half = deadline - (deadline - kd_clock_ms()) / 2;
        if (send(sock, question, n, 0) == (ssize_t)n)
            p = await_datagram(sock, question, n, half);
        if (p == NULL && send(sock, question, n, 0) == (ssize_t)n)
            p = await_datagram(sock, question, n, deadline);
    }
    if (sock >= 0)
        close(sock);
    return p;
}

/* NULL: no answer. */
static ldns_pkt *
ask(const struct looking *l, const struct sockaddr_storage *to, const char *name,
    ldns_rr_type type, bool over_tcp)
{
    int64_t until = kd_clock_ms() + ANSWER_MS;
    uint8_t *question = NULL;
    ldns_pkt *p = NULL;
    size_t n;

    until = until < l->deadline ? until : l->deadline;
    if (make_question(name, type, &question, &n) == KD_OK)
        p = over_tcp ? ask_over_tcp(to, question, n, until)
                     : ask_over_udp(to, question, n, until);
    free(question);
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
        ldns_pkt *p = ask(l, &l->server_at[s - l->seen.servers],
                          l->seen.records[i].owner, LDNS_RR_TYPE_TXT, true);
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
        ldns_pkt *p = ask(l, &l->server_at[s - l->seen.servers],
                          l->seen.records[i].owner, LDNS_RR_TYPE_TXT, false);
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
    ldns_pkt *keys = ask(l, &l->server_at[s - l->seen.servers], l->seen.zone,
                         LDNS_RR_TYPE_DNSKEY, s->over_tcp);
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
