/* dime/inspect.h against real zones, servers and hosts: what it tells of each is what
 * is there, and what means ill is told as such. */
#include "hostile_dns.h"
#include "netns.h"
#include "rs_world.h"
#include "suite.h"
#include "test.h"

#include <dime/base64.h>
#include <dime/inspect.h>
#include <keyd/base/clock.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Short where somebody is silent: who looks waits for him until the end. */
enum { SOON_MS = 15000, SHORT_MS = 4000, DAY = 86400, DIME = 0, DX = 1 };

#define SECOND "127.0.0.54"
#define THIRD "127.0.0.55"

static char anchor[160];
static struct zones *wrong; /* a second world, when the first is gone */

/* Of the zones that are served now; hosts are the authority's. */
static struct dime_inspection *
inspect_within(const char *domain, int64_t ms, struct zones *zones)
{
    const struct dime_resolver_conf conf = {.anchor_file = anchor,
                                            .hints_file = zones_hints(zones),
                                            .is_local = true,
                                            .ca_file =
                                                zones == wrong ? NULL : rs.ca_file};
    struct dime_inspection *i = NULL;
    const char *why = NULL;
    FILE *f = fopen(anchor, "we");

    assert_non_null(f);
    fprintf(f, "%s\n", zones_anchor(zones));
    assert_int_equal(fclose(f), 0);
    kd_err err = dime_inspect(&conf, domain, kd_clock_ms() + ms, &i, &why);
    if (err != KD_OK)
        fail_msg("inspect: %s (%s)", kd_err_text(err), why);
    assert_string_equal(i->domain, domain);
    return i;
}

static struct dime_inspection *
inspect(const char *domain)
{
    return inspect_within(domain, SOON_MS, rs.zones);
}

/* What example.com publishes: both owners, and more. */
static void
publish(const char *fields, const char *more)
{
    char text[4096], pok[64];
    const struct rs_domain *d = &rs.domains[RS_SIGNED];

    dime_base64_write(kd_slice(d->pok.key, 32), pok);
    snprintf(text, sizeof text,
             "dx A %s\n_dime 60 TXT \"ver=1 pok=%s \" \"%s\"\n"
             "_dx 60 TXT \"ver=1 pok=%s \" \"%s\"\n%s\n",
             d->address, pok, fields, pok, fields, more);
    zones_change(rs.zones, "example.com", text);
}

static const char usual[] = "pol=mixed dx=dx.example.com ";

/* --- what is well -------------------------------------------------------------------
 */

static void
all_of_a_signed_zone_is_seen(void **state)
{
    (void)state;
    publish(usual, "");
    struct dime_inspection *i = inspect("example.com");
    time_t now = time(NULL);

    assert_string_equal(i->zone, "example.com");
    for (size_t k = 0; k < DIME_MREC_OWNERS; k++) {
        const struct dime_seen_record *r = &i->records[k];
        assert_string_equal(r->owner,
                            k == DIME ? "_dime.example.com" : "_dx.example.com");
        assert_int_equal(r->state, DIME_SEEN_PRESENT);
        assert_true(r->is_secure);
        assert_false(r->is_bogus);
        assert_true(r->ttl > 0 && r->ttl <= 60);
        assert_true(r->signed_until > now && r->signed_until < now + 400 * DAY);
        assert_int_equal(r->n_strings, 2);
        assert_true(kd_slice_eq(r->strings[1], kd_slice_str(usual)));
        assert_int_equal(r->text.n, r->strings[0].n + r->strings[1].n);
        assert_int_equal(r->parsed.n_poks, 1);
        assert_string_equal(r->parsed.dx[0], "dx.example.com");
    }
    assert_int_equal(i->n_servers, 1);
    assert_string_equal(i->servers[0].name, "ns.example.com");
    assert_string_equal(i->servers[0].address, ZONE_SERVER);
    assert_true(i->servers[0].over_udp && i->servers[0].over_tcp);
    assert_true(i->servers[0].same[DIME] && i->servers[0].same[DX]);
    assert_string_equal(i->servers[0].why, "");
    assert_int_equal(i->n_hosts, 1);
    const struct dime_seen_host *h = &i->hosts[0];
    assert_string_equal(h->name, "dx.example.com");
    assert_string_equal(h->address, "127.0.0.21");
    assert_int_equal(h->port, 26);
    assert_true(h->is_dx && h->is_reached && h->is_trusted && h->is_trusted_without);
    assert_true(h->speaks_dmtp);
    assert_true(kd_slice_eq(h->org_signet, kd_buf_slice(&rs.domains[RS_SIGNED].org)));
    uint8_t *der = NULL;
    int n = i2d_X509(rs.domains[RS_SIGNED].id.cert, &der);
    assert_true(kd_slice_eq(h->certificate, kd_slice(der, (size_t)n)));
    OPENSSL_free(der);
    assert_true(h->from <= now && h->until > now && h->chain_until <= h->until);
    assert_string_equal(h->why, "");
    assert_false(i->is_cut);
    dime_inspection_free(i);
}

static void
an_unsigned_zone_is_told(void **state)
{
    (void)state;
    struct dime_inspection *i = inspect("example.net");

    assert_int_equal(i->records[DIME].state, DIME_SEEN_PRESENT);
    assert_false(i->records[DIME].is_secure);
    assert_int_equal(i->records[DIME].signed_until, 0);
    assert_int_equal(i->records[DX].state, DIME_SEEN_ABSENT);
    assert_int_equal(i->records[DX].n_strings, 0);
    assert_true(i->servers[0].same[DIME] && i->servers[0].same[DX]);
    assert_int_equal(i->n_hosts, 1);
    assert_true(i->hosts[0].is_trusted && i->hosts[0].is_trusted_without);
    dime_inspection_free(i);
}

/* --- servers ------------------------------------------------------------------------
 */

struct second {
    const char *text; /* of both owners; NULL: refused */
    bool only_udp, is_deaf, is_no_authority;
};

static size_t
second_says(void *arg, const struct hostile_query *q, uint8_t *out, size_t max)
{
    const struct second *s = arg;

    if (s->is_deaf || (s->only_udp && q->tcp))
        return 0;
    struct hostile_msg m = hostile_begin(q, s->text == NULL ? 5 : 0, out, max);
    if (s->is_no_authority)
        out[2] &= 0xfb; /* AA */
    if (s->text != NULL && q->type == 16)
        hostile_txt(&m, NULL, 60, s->text);
    return m.n;
}

/* Both are asked by themselves, whatever the validating resolver took. */
static const struct dime_seen_server *
server_at(const struct dime_inspection *i, const char *address)
{
    for (size_t k = 0; k < i->n_servers; k++)
        if (strcmp(i->servers[k].address, address) == 0)
            return &i->servers[k];
    fail_msg("no server at %s", address);
    return NULL;
}

static void
look_at_second(struct second s, struct dime_seen_server *out)
{
    struct hostile_dns *h = hostile_dns_start(SECOND, second_says, &s);

    publish(usual, "@ NS ns2\nns2 A " SECOND);
    struct dime_inspection *i =
        inspect_within("example.com", s.is_deaf ? SHORT_MS : SOON_MS, rs.zones);
    hostile_dns_stop(h);
    assert_int_equal(i->n_servers, 2);
    const struct dime_seen_server *first = server_at(i, ZONE_SERVER);
    assert_true(first->over_udp && first->over_tcp);
    *out = *server_at(i, SECOND);
    dime_inspection_free(i);
}

static void
a_server_that_is_behind_is_told_from_the_others(void **state)
{
    struct dime_seen_server s;

    (void)state;
    look_at_second((struct second){.text = "ver=1 pok=old "}, &s);
    assert_true(s.over_udp && s.over_tcp);
    assert_false(s.same[DIME] || s.same[DX]);
}

static void
T_MR_40_a_server_without_TCP_is_told(void **state)
{
    struct dime_seen_server s;

    (void)state;
    look_at_second((struct second){.text = "x", .only_udp = true}, &s);
    assert_true(s.over_udp);
    assert_false(s.over_tcp);
    assert_non_null(strstr(s.why, "TCP"));
}

static void
a_server_that_does_not_answer_or_has_no_authority_is_told(void **state)
{
    struct dime_seen_server s;

    (void)state;
    look_at_second((struct second){.is_deaf = true}, &s);
    assert_false(s.over_udp || s.over_tcp);
    look_at_second((struct second){.text = NULL}, &s);
    assert_false(s.over_udp || s.over_tcp);
    look_at_second((struct second){.text = "x", .is_no_authority = true}, &s);
    assert_false(s.over_udp || s.over_tcp);
    assert_non_null(strstr(s.why, "authoritative"));
}

static void
a_server_without_an_address_is_told(void **state)
{
    (void)state;
    publish(usual, "@ NS gone");
    struct dime_inspection *i = inspect("example.com");

    assert_int_equal(i->n_servers, 2);
    const struct dime_seen_server *s = server_at(i, "");
    assert_string_equal(s->name, "gone.example.com");
    assert_non_null(strstr(s->why, "address"));
    dime_inspection_free(i);
}

/* What a server can send that is no answer. */
static size_t
garbage(void *arg, const struct hostile_query *q, uint8_t *out, size_t max)
{
    unsigned *n = arg;
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    switch ((*n)++ % 5) {
    case 0: /* a record that ends behind the packet */
        hostile_txt(&m, NULL, 60, "ver=1");
        return m.n - 3;
    case 1: /* counts that are not there */
        out[7] = 0xff;
        return m.n;
    case 2: /* a name that is its own end */
        hostile_raw(&m, "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x0c", 14);
        out[7] = 1;
        return m.n;
    case 3:
        memset(out + 12, 0xff, max < 60000 ? max - 12 : 60000);
        return max < 60000 ? max : 60000;
    default: { /* very many signatures that end at odd times */
        uint8_t rrsig[40] = {0, 16, 13, 2};
        memset(rrsig + 4, 0xff, sizeof rrsig - 5);
        rrsig[18] = 0;
        for (int i = 0; i < 300; i++)
            hostile_rr(&m, HOSTILE_ANSWER, NULL, 46, 60, rrsig, 20);
        return m.n;
    }
    }
}

static void
a_server_that_sends_anything_harms_nothing(void **state)
{
    unsigned n = 0;
    struct hostile_dns *h = hostile_dns_start(SECOND, garbage, &n);

    (void)state;
    publish(usual, "@ NS ns2\nns2 A " SECOND);
    for (int k = 0; k < 5; k++) {
        struct dime_inspection *i = inspect_within("example.com", SHORT_MS, rs.zones);
        const struct dime_seen_server *s = server_at(i, SECOND);
        assert_false(s->over_udp && s->over_tcp && s->same[DIME] && s->same[DX]);
        assert_true(server_at(i, ZONE_SERVER)->over_tcp);
        dime_inspection_free(i);
    }
    hostile_dns_stop(h);
}

/* Their names lie in the other zone, whose server is well. */
static void
more_servers_than_the_limit_are_told(void **state)
{
    static char names[512], addresses[4096];
    size_t n = 0, m = 0;

    (void)state;
    for (int k = 0; k < 5; k++) {
        n +=
            (size_t)snprintf(names + n, sizeof names - n, "@ NS n%d.example.net.\n", k);
        for (int a = 0; a < 8; a++)
            m += (size_t)snprintf(addresses + m, sizeof addresses - m,
                                  "n%d A 127.0.1.%d\n", k, 8 * k + a + 1);
    }
    zones_change(rs.zones, "example.net", addresses);
    publish(usual, names);
    struct dime_inspection *i = inspect_within("example.com", SHORT_MS, rs.zones);
    /* Who asks may come by one of the servers that do not answer, and have no time. */
    for (int k = 0; k < 5 && i->n_servers != DIME_INSPECT_SERVERS_MAX; k++) {
        dime_inspection_free(i);
        i = inspect_within("example.com", SHORT_MS, rs.zones);
    }
    assert_int_equal(i->n_servers, DIME_INSPECT_SERVERS_MAX);
    assert_true(i->is_cut);
    dime_inspection_free(i);
    rs_publish(RS_UNSIGNED, "");
    publish(usual, "");
}

/* --- hosts --------------------------------------------------------------------------
 */

static const struct dime_seen_host *
host_at(const struct dime_inspection *i, const char *address, uint16_t port)
{
    for (size_t k = 0; k < i->n_hosts; k++)
        if (strcmp(i->hosts[k].address, address) == 0 && i->hosts[k].port == port)
            return &i->hosts[k];
    fail_msg("no host at %s port %u", address, port);
    return NULL;
}

static void
each_host_is_looked_at_by_itself(void **state)
{
    struct dmtp_server *slow =
        dmtp_server_start(&(struct dmtp_server_conf){.address = "127.0.0.33",
                                                     .port = 26,
                                                     .id = &rs.domains[RS_SIGNED].id,
                                                     .at = DMTP_AT_TLS,
                                                     .trouble = DMTP_IS_SILENT});

    (void)state;
    publish("dx=dx.example.com dx=dead.example.com dx=slow.example.com "
            "dx=none.example.com ",
            "dead A 127.0.0.32\nslow A 127.0.0.33\n@ MX 5 mx\nmx A 127.0.0.34");
    struct dime_inspection *i = inspect_within("example.com", SHORT_MS, rs.zones);
    assert_true(host_at(i, "127.0.0.21", 26)->speaks_dmtp);
    const struct dime_seen_host *h = host_at(i, "127.0.0.32", 26);
    assert_false(h->is_reached || h->is_trusted || h->speaks_dmtp);
    assert_true(h->is_dx && h->why[0] != '\0');
    h = host_at(i, "127.0.0.33", 26);
    assert_false(h->is_reached || h->speaks_dmtp);
    assert_true(h->why[0] != '\0');
    assert_false(host_at(i, "127.0.0.34", 25)->is_dx);
    assert_false(host_at(i, "127.0.0.34", 587)->is_reached);
    assert_non_null(strstr(i->hosts_why, "none.example.com"));
    dime_inspection_free(i);
    struct dmtp_server_seen seen;
    dmtp_server_stop(slow, &seen);
}

static void
serve_with(const struct cert_spec *spec)
{
    struct rs_domain *d = &rs.domains[RS_SIGNED];

    rs_stop_serving(RS_SIGNED);
    rs_serve(RS_SIGNED, false);
    if (spec == NULL)
        return;
    struct identity other;
    identity_make(&other, spec);
    EVP_PKEY *key = d->id.key;
    X509 *cert = d->id.cert;
    struct dmtp_server_seen seen;
    dmtp_server_stop(d->server, &seen);
    d->id = other;
    d->server = dmtp_server_start(
        &(struct dmtp_server_conf){.address = d->address, .port = 26, .id = &d->id});
    EVP_PKEY_free(key);
    X509_free(cert);
}

static void
certificates_that_do_not_hold_are_shown_all_the_same(void **state)
{
    const struct {
        struct cert_spec spec;
        bool trusted;
        const char *why;
    } all[] = {
        {{.issuer = &rs.ca, .from = -9 * DAY, .to = -DAY}, false, "expired"},
        {{.issuer = NULL}, false, ""},
        {{.issuer = &rs.ca, .san = "DNS:other.example.com"}, false, ""},
        {{.issuer = &rs.ca, .key = "rsa1024"}, false, ""},
    };

    (void)state;
    publish(usual, "");
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        struct cert_spec spec = all[k].spec;
        spec.key = spec.key == NULL ? "rsa2048" : spec.key;
        spec.san = spec.san == NULL ? "DNS:dx.example.com" : spec.san;
        spec.cn = "dx.example.com";
        spec.eku = "serverAuth";
        serve_with(&spec);
        struct dime_inspection *i = inspect("example.com");
        const struct dime_seen_host *h = &i->hosts[0];
        if (spec.key[3] != '1') /* which TLS itself may refuse */
            assert_true(h->is_reached && h->certificate.n != 0);
        assert_int_equal(h->is_trusted, all[k].trusted);
        assert_false(h->speaks_dmtp);
        assert_true(h->why[0] != '\0');
        assert_non_null(strstr(h->why, all[k].why));
        if (k == 0)
            assert_true(h->until < time(NULL));
        dime_inspection_free(i);
    }
    serve_with(NULL);
}

/* With a tls value DNSSEC vouches for it: those who do not validate see no reason. */
static void
what_only_validating_senders_trust_is_told(void **state)
{
    struct rs_domain *d = &rs.domains[RS_SIGNED];
    char fields[512], value[128];
    uint8_t hash[64], sig[64], *der = NULL;

    (void)state;
    rs_stop_serving(RS_SIGNED);
    rs_serve(RS_SIGNED, true);
    int n = i2d_X509(d->id.cert, &der);
    crypto_hash_sha512(hash, der, (unsigned long long)n);
    OPENSSL_free(der);
    assert_int_equal(sg_signer(&d->pok, kd_slice(hash, sizeof hash), sig), KD_OK);
    dime_base64_write(kd_slice(sig, sizeof sig), value);
    snprintf(fields, sizeof fields, "dx=dx.example.com tls=%s ", value);
    publish(fields, "");
    struct dime_inspection *i = inspect("example.com");
    assert_true(i->hosts[0].is_trusted && i->hosts[0].speaks_dmtp);
    assert_false(i->hosts[0].is_trusted_without);
    dime_inspection_free(i);
    rs_stop_serving(RS_SIGNED);
    rs_serve(RS_SIGNED, false);
    /* And one that the values do not know is nobody's. */
    i = inspect("example.com");
    assert_false(i->hosts[0].is_trusted || i->hosts[0].is_trusted_without);
    assert_true(i->hosts[0].is_reached);
    dime_inspection_free(i);
}

static void
broken_records_are_told_and_nobody_is_asked(void **state)
{
    (void)state;
    publish("pok=short ", "");
    struct dime_inspection *i = inspect("example.com");
    for (size_t k = 0; k < DIME_MREC_OWNERS; k++) {
        assert_int_equal(i->records[k].state, DIME_SEEN_BROKEN);
        assert_true(i->records[k].why[0] != '\0');
        assert_false(i->records[k].is_bogus);
    }
    assert_int_equal(i->n_hosts, 0);
    assert_true(i->servers[0].over_tcp && i->servers[0].same[DIME]);
    dime_inspection_free(i);
    publish(usual, "");
}

static void
the_deadline_holds_whatever_is_silent(void **state)
{
    struct second deaf = {.is_deaf = true};
    struct hostile_dns *h = hostile_dns_start(SECOND, second_says, &deaf);

    (void)state;
    publish("dx=dx.example.com dx=far.example.com ",
            "@ NS ns2\nns2 A " SECOND "\nfar A 127.0.0.99");
    int64_t before = kd_clock_ms();
    struct dime_inspection *i = inspect_within("example.com", SHORT_MS, rs.zones);
    assert_true(kd_clock_ms() - before < SHORT_MS + 30000); /* it ends */
    assert_int_equal(i->records[DIME].state, DIME_SEEN_PRESENT);
    dime_inspection_free(i);
    i = inspect_within("example.com", -1, rs.zones);
    assert_int_equal(i->records[DIME].state, DIME_SEEN_BROKEN);
    dime_inspection_free(i);
    hostile_dns_stop(h);
    publish(usual, "");
}

/* TCP that comes octet by octet and never ends: its banner says how long it is. */
static void
a_server_that_drips_is_waited_for_no_longer_than_others(void **state)
{
    struct dmtp_server *slow =
        dmtp_server_start(&(struct dmtp_server_conf){.address = SECOND,
                                                     .port = 53,
                                                     .id = &rs.domains[RS_SIGNED].id,
                                                     .is_dual = true,
                                                     .at = DMTP_AT_BANNER,
                                                     .trouble = DMTP_IS_SLOW});
    struct dmtp_server_seen seen;

    (void)state;
    publish(usual, "@ NS ns2\nns2 A " SECOND);
    int64_t before = kd_clock_ms();
    struct dime_inspection *i = inspect_within("example.com", SHORT_MS, rs.zones);
    assert_true(kd_clock_ms() - before < SHORT_MS + 30000);
    assert_false(server_at(i, SECOND)->over_tcp);
    assert_true(server_at(i, ZONE_SERVER)->over_tcp);
    dime_inspection_free(i);
    dmtp_server_stop(slow, &seen);
    assert_true(seen.connections > 0);
    publish(usual, "");
}

/* --- zones that are wrong -----------------------------------------------------------
 */

static int
begin_wrong(void **state)
{
    static const char record[] =
        "_dime TXT \"pok=5zyGJDCUMa70B5Z13ystwRu/48GlG9ooQIA8ze/6vAM \"";
    const struct zone_spec specs[] = {
        {.name = "bogus.example", .kind = ZONE_BOGUS, .records = record},
        {.name = "expired.example", .kind = ZONE_EXPIRED, .records = record},
        {.name = "servfail.example", .kind = ZONE_SERVFAIL, .records = record},
        {.name = "stripped.example", .kind = ZONE_STRIPPED, .records = record},
    };

    (void)state;
    wrong = zones_start(specs, sizeof specs / sizeof *specs);
    return 0;
}

static int
end_wrong(void **state)
{
    (void)state;
    zones_stop(wrong);
    return 0;
}

static void
bogus_zones_are_told(void **state)
{
    static const char *const names[] = {"bogus.example", "expired.example",
                                        "stripped.example"};

    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        struct dime_inspection *i = inspect_within(names[k], SOON_MS, wrong);
        assert_int_equal(i->records[DIME].state, DIME_SEEN_BROKEN);
        assert_true(i->records[DIME].is_bogus);
        assert_false(i->records[DIME].is_secure);
        assert_int_equal(i->n_hosts, 0);
        dime_inspection_free(i);
    }
}

static void
a_zone_that_its_server_cannot_load_is_told(void **state)
{
    (void)state;
    struct dime_inspection *i = inspect_within("servfail.example", SHORT_MS, wrong);

    assert_int_equal(i->records[DIME].state, DIME_SEEN_BROKEN);
    assert_false(i->records[DIME].is_bogus);
    assert_true(i->zone_why[0] != '\0' || i->n_servers != 0);
    dime_inspection_free(i);
    i = inspect_within("nowhere.invalid", SHORT_MS, wrong);
    assert_true(i->records[DIME].state != DIME_SEEN_PRESENT);
    assert_int_equal(i->n_hosts, 0);
    dime_inspection_free(i);
}

static void
what_is_no_domain_is_refused(void **state)
{
    static const char *const names[] = {"", ".", "a b.example", "UPPER.example",
                                        "x..y"};
    const struct dime_resolver_conf conf = {.hints_file = zones_hints(wrong)};
    struct dime_inspection *i = NULL;
    const char *why;

    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        assert_int_equal(dime_inspect(&conf, names[k], kd_clock_ms() + 1000, &i, &why),
                         KD_INVALID);
    const struct dime_resolver_conf none = {.anchor_file = "/nonexistent"};
    assert_int_equal(dime_inspect(&none, "a.example", kd_clock_ms() + 1000, &i, &why),
                     KD_IO);
    assert_non_null(why);
    dime_inspection_free(NULL);
}

static int
begin(void **state)
{
    (void)state;
    rs_begin();
    snprintf(anchor, sizeof anchor, "%s/anchor", rs.dir);
    return 0;
}

static int
end_world(void **state)
{
    (void)state;
    rs_end();
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_a_signed_zone_is_seen),
        cmocka_unit_test(an_unsigned_zone_is_told),
        cmocka_unit_test(a_server_that_is_behind_is_told_from_the_others),
        cmocka_unit_test(T_MR_40_a_server_without_TCP_is_told),
        cmocka_unit_test(a_server_that_does_not_answer_or_has_no_authority_is_told),
        cmocka_unit_test(a_server_without_an_address_is_told),
        cmocka_unit_test(a_server_that_sends_anything_harms_nothing),
        cmocka_unit_test(more_servers_than_the_limit_are_told),
        cmocka_unit_test(each_host_is_looked_at_by_itself),
        cmocka_unit_test(certificates_that_do_not_hold_are_shown_all_the_same),
        cmocka_unit_test(what_only_validating_senders_trust_is_told),
        cmocka_unit_test(broken_records_are_told_and_nobody_is_asked),
        cmocka_unit_test(the_deadline_holds_whatever_is_silent),
        cmocka_unit_test(a_server_that_drips_is_waited_for_no_longer_than_others),
    };
    const struct CMUnitTest wrong_zones[] = {
        cmocka_unit_test(bogus_zones_are_told),
        cmocka_unit_test(a_zone_that_its_server_cannot_load_is_told),
        cmocka_unit_test(what_is_no_domain_is_refused),
    };

    suite_begin(argc, argv);
    netns_enter();
    int failed = cmocka_run_group_tests(tests, begin, end_world);
    snprintf(anchor, sizeof anchor, "%s-anchor", rs.dir);

    failed += cmocka_run_group_tests(wrong_zones, begin_wrong, end_wrong);
    kd_ignore(remove(anchor));
    return failed;
}
