/* keydctl publish check: what the world sees of a domain (dime/inspect.h) against what
 * keyd holds and the configuration names, and what ends soon. */
#include "certificates.h"
#include "findings.h"
#include "publish.h"

#include <dime/base64.h>
#include <dime/inspect.h>
#include <keyd/base/clock.h>
#include <keyd/conf/conf.h>
#include <sodium.h>
#include <stdlib.h>

enum {
    DAY = 86400,
    AHEAD_DAYS = 21,
    AHEAD_MAX_DAYS = 3650,
    SIGNATURES_AHEAD =
        3 * DAY, /* signers make them anew a week or so before their end */
    INSPECT_MS = 30000,
    KEY_SIZE = 32,
    NOTES_MAX = 64,
};

struct check {
    const struct options *o;
    struct published d;
    struct certificates own; /* configured, and given */
    struct kd_conf *conf;
    int64_t ahead; /* seconds */
    struct dime_inspection *seen;
    const struct dime_seen_record *record; /* that hosts are judged by; NULL: none */
    struct findings found;
};

/* Of what is found nothing more is to be said. */
#define ADD(c, level, ...) (void)finding_add(&(c)->found, level, __VA_ARGS__)

/* --- records ------------------------------------------------------------------------
 */

static void
lint(struct check *c, const struct dime_seen_record *r)
{
    struct dime_mrec_note notes[NOTES_MAX];
    size_t n = dime_mrec_lint(r->strings, r->n_strings, notes, NOTES_MAX);

    for (size_t i = 0; i < n && i < NOTES_MAX; i++)
        ADD(c,
            dime_mrec_kind(notes[i].finding) == DIME_MREC_ADVICE ? FINDING_NOTE
                                                                 : FINDING_WARNING,
            "record-form", r->owner, "%s", dime_mrec_text(notes[i].finding));
}

static void
check_owner(struct check *c, size_t i)
{
    const struct dime_seen_record *r = &c->seen->records[i];

    if (r->is_bogus) {
        ADD(c, FINDING_ALARM, "dnssec-bogus", r->owner,
            "its signatures do not hold: senders that validate reach nobody: %s",
            r->why);
        return;
    }
    if (r->state == DIME_SEEN_BROKEN) {
        ADD(c, FINDING_ALARM, "record-broken", r->owner, "%s", r->why);
        return;
    }
    if (!r->is_secure)
        ADD(c, FINDING_WARNING, "dnssec-none", r->owner,
            "not signed: a sender cannot tell it from a forged one (MR-24)");
    if (r->state == DIME_SEEN_ABSENT) {
        ADD(c, i == 0 ? FINDING_ALARM : FINDING_WARNING, "record-absent", r->owner,
            "%s",
            i == 0
                ? "there is no management record: the domain is taken for one without "
                  "DIME"
                : "there is no management record: libdime looks for it here");
        return;
    }
    lint(c, r);
    if (r->is_secure && r->signed_until != 0)
        finding_ends(&c->found, "signature-end", r->owner, "the earliest signature",
                     r->signed_until,
                     c->ahead < SIGNATURES_AHEAD ? c->ahead : SIGNATURES_AHEAD);
}

static bool
lists_key(const struct dime_mrec *m, const uint8_t *key)
{
    for (size_t i = 0; i < m->n_poks; i++)
        if (memcmp(m->poks[i], key, KEY_SIZE) == 0)
            return true;
    return false;
}

static bool
is_pok(const struct keyd_key *k)
{
    return k->role == KEYD_ROLE_POK && k->public_key.n == KEY_SIZE;
}

static const struct keyd_key *
key_of(const struct check *c, const uint8_t *pok)
{
    for (size_t i = 0; i < c->d.keys.n; i++)
        if (is_pok(c->d.keys.keys[i]) &&
            memcmp(c->d.keys.keys[i]->public_key.p, pok, KEY_SIZE) == 0)
            return c->d.keys.keys[i];
    return NULL;
}

/* Keys that keyd has, and those that are published. */
static void
check_keys(struct check *c, const struct dime_seen_record *r)
{
    char text[64];

    for (size_t i = 0; i < c->d.keys.n; i++) {
        const struct keyd_key *k = c->d.keys.keys[i];
        if (!is_pok(k) || k->state != KEYD_KEY_ACTIVE ||
            lists_key(&r->parsed, k->public_key.p))
            continue;
        bool signs = c->d.org != NULL &&
                     memcmp(c->d.signet.sign_key, k->public_key.p, KEY_SIZE) == 0;
        dime_base64_write(slice_of(k->public_key), text);
        ADD(c, signs ? FINDING_ALARM : FINDING_WARNING, "key-missing", r->owner,
            signs
                ? "primary key %s, which signed the organizational signet, is not in it"
                : "active primary key %s is not in it",
            text);
    }
    for (size_t i = 0; i < r->parsed.n_poks; i++) {
        const struct keyd_key *k = key_of(c, r->parsed.poks[i]);
        dime_base64_write(kd_slice(r->parsed.poks[i], KEY_SIZE), text);
        if (k == NULL)
            ADD(c, FINDING_ALARM, "key-unknown", r->owner,
                "primary key %s is none of keyd's: whoever has it speaks for the "
                "domain",
                text);
        else if (k->state == KEYD_KEY_RETAINED)
            ADD(c, FINDING_NOTE, "key-retained", r->owner,
                "primary key %s is retained: to be removed %d days after it was "
                "retired",
                text, (int)PUBLISHED_OLD_KEY_DAYS);
        else if (k->state != KEYD_KEY_ACTIVE)
            ADD(c, FINDING_WARNING, "key-over", r->owner,
                "primary key %s is no longer used: to be removed", text);
    }
}

static void
check_records(struct check *c)
{
    const struct dime_seen_record *r = c->seen->records;

    for (size_t i = 0; i < DIME_MREC_OWNERS; i++) {
        check_owner(c, i);
        if (r[i].state != DIME_SEEN_PRESENT)
            continue;
        if (c->record == NULL)
            c->record = &r[i];
        if (c->record == &r[i] || !kd_slice_eq(c->record->text, r[i].text))
            check_keys(c, &r[i]);
    }
    if (r[0].state == DIME_SEEN_PRESENT && r[1].state == DIME_SEEN_PRESENT &&
        !kd_slice_eq(r[0].text, r[1].text))
        ADD(c, FINDING_WARNING, "owners-differ", r[1].owner, "it is not what %s says",
            r[0].owner);
}

/* --- servers ------------------------------------------------------------------------
 */

static void
check_server(struct check *c, const struct dime_seen_server *s)
{
    char about[FINDING_TEXT_MAX];

    kd_ignore(snprintf(about, sizeof about, "%s%s%s", s->name,
                       s->address[0] == '\0' ? "" : " ", s->address));
    if (!s->over_udp && !s->over_tcp) {
        ADD(c, FINDING_WARNING, "server-silent", about, "%s",
            s->why[0] == '\0' ? "no answer" : s->why);
        return;
    }
    if (!s->over_tcp)
        ADD(c, FINDING_WARNING, "server-tcp", about,
            "it does not answer over TCP (MR-22): %s", s->why);
    if (!s->over_udp)
        ADD(c, FINDING_WARNING, "server-udp", about, "it does not answer over UDP: %s",
            s->why);
    for (size_t i = 0; i < DIME_MREC_OWNERS; i++)
        if (!s->same[i])
            ADD(c, FINDING_WARNING, "server-differs", about,
                "it has another record at %s than senders are given",
                c->seen->records[i].owner);
}

static void
check_servers(struct check *c)
{
    size_t n_answer = 0;

    for (size_t i = 0; i < c->seen->n_servers; i++) {
        check_server(c, &c->seen->servers[i]);
        n_answer += c->seen->servers[i].over_udp || c->seen->servers[i].over_tcp;
    }
    if (n_answer == 0)
        ADD(c, FINDING_ALARM, "no-server", c->seen->domain, "%s",
            c->seen->zone_why[0] == '\0' ? "no server of its zone answers"
                                         : c->seen->zone_why);
}

/* --- certificates -------------------------------------------------------------------
 */

/* Which of the record's values is one of it; n_tls: none. */
static size_t
value_of(const struct dime_mrec *m, struct kd_slice der)
{
    size_t which;

    return dime_mrec_tls_match(m, der, &which) == KD_OK ? which : m->n_tls;
}

static void
check_own_certificates(struct check *c)
{
    const struct dime_mrec *m = c->record == NULL ? NULL : &c->record->parsed;

    for (size_t i = 0; i < c->own.n; i++) {
        const struct certificate *x = &c->own.list[i];
        finding_ends(&c->found, "certificate-end", x->path, "it", x->until, c->ahead);
        if (m == NULL || m->n_tls == 0)
            continue;
        if (value_of(m, kd_buf_slice(&x->der)) == m->n_tls)
            ADD(c, FINDING_ALARM, "certificate-unlisted", x->path,
                "no value of the record is its: senders refuse the host that shows it");
    }
    if (m != NULL && m->n_tls == 0)
        ADD(c, FINDING_WARNING, "no-values", c->record->owner,
            "no certificate is in it (MR-122): hosts are known by authorities alone");
}

/* libdime looks at the first value alone, and knows one form alone (D-025). */
static void
check_first_value(struct check *c)
{
    const struct dime_mrec *m = &c->record->parsed;
    struct kd_slice der = kd_buf_slice(&c->own.list[0].der);
    uint8_t hash[crypto_hash_sha512_BYTES];

    if (c->own.n == 0 || m->n_tls == 0)
        return;
    crypto_hash_sha512(hash, der.p, der.n);
    for (size_t i = 0; i < m->n_poks; i++)
        if (crypto_sign_verify_detached(m->tls[0], hash, sizeof hash, m->poks[i]) == 0)
            return;
    ADD(c, FINDING_WARNING, "value-order", c->record->owner,
        "the first value is not that over SHA-512 of the main certificate, the only "
        "one "
        "that libdime looks at");
}

/* A value that is no certificate's: of one that is over, or somebody else's. */
static void
check_values(struct check *c)
{
    const struct dime_mrec *m = &c->record->parsed;
    static struct dime_mrec one;

    for (size_t i = 0; i < m->n_tls; i++) {
        bool is_known = false;
        one = *m;
        one.n_tls = 1;
        memcpy(one.tls[0], m->tls[i], sizeof one.tls[0]);
        for (size_t k = 0; k < c->own.n && !is_known; k++)
            is_known = value_of(&one, kd_buf_slice(&c->own.list[k].der)) == 0;
        for (size_t k = 0; k < c->seen->n_hosts && !is_known; k++)
            is_known = c->seen->hosts[k].certificate.n != 0 &&
                       value_of(&one, c->seen->hosts[k].certificate) == 0;
        if (!is_known)
            ADD(c, FINDING_WARNING, "value-unknown", c->record->owner,
                "value %zu is of no certificate that is configured or shown", i + 1);
    }
}

/* --- hosts --------------------------------------------------------------------------
 */

static void
check_shown(struct check *c, const struct dime_seen_host *h, const char *about)
{
    struct certificate shown = {.from = h->from};

    if (!h->is_trusted)
        ADD(c, FINDING_ALARM, "certificate-refused", about, "%s", h->why);
    else if (!h->is_trusted_without)
        ADD(c, FINDING_NOTE, "certificate-dnssec", about,
            "its certificate holds by the record alone: senders that do not validate "
            "refuse it");
    finding_ends(&c->found, "certificate-end", about, "its certificate", h->until,
                 c->ahead);
    if (h->chain_until < h->until)
        finding_ends(&c->found, "certificate-end", about,
                     "a certificate that it sends along", h->chain_until, c->ahead);
    kd_buf_init(&shown.der, h->certificate.n + 1);
    kd_buf_put(&shown.der, h->certificate);
    if (c->own.n != 0 && !certificates_has(&c->own, &shown))
        ADD(c, FINDING_WARNING, "certificate-unknown", about,
            "its certificate is none of those configured");
    kd_buf_free(&shown.der);
}

static void
check_signet(struct check *c, const struct dime_seen_host *h, const char *about)
{
    if (h->org_signet.n == 0)
        ADD(c, FINDING_ALARM, "signet-none", about,
            "it hands out no organizational signet: %s", h->why);
    else if (c->d.org != NULL &&
             !kd_slice_eq(h->org_signet, slice_of(c->d.org->out.signet.signet)))
        ADD(c, FINDING_ALARM, "signet-differs", about,
            "it hands out another organizational signet than keyd's");
}

static void
check_host(struct check *c, const struct dime_seen_host *h, bool is_needed)
{
    enum finding_level level = is_needed ? FINDING_WARNING : FINDING_NOTE;
    char about[FINDING_TEXT_MAX];

    kd_ignore(snprintf(about, sizeof about, "%s %s port %u", h->name, h->address,
                       (unsigned)h->port));
    if (!h->is_reached) {
        ADD(c, level, "host-unreached", about, "%s", h->why);
        return;
    }
    check_shown(c, h, about);
    if (!h->is_trusted)
        return;
    if (h->speaks_dmtp)
        check_signet(c, h, about);
    else
        ADD(c, level, "host-no-dmtp", about, "%s", h->why);
}

/* An MX is needed where there is no dx; else senders come to it when they reach none,
 * and it may well be for other mail alone. Of its ports one is enough. */
static void
check_hosts(struct check *c)
{
    size_t n_serve = 0;
    bool has_dx = c->record->parsed.n_dx != 0;

    for (size_t i = 0; i < c->seen->n_hosts; i++) {
        const struct dime_seen_host *h = &c->seen->hosts[i];
        if (h->is_dx || h->is_reached || !has_dx)
            check_host(c, h, h->is_dx);
        n_serve += h->is_trusted && h->org_signet.n != 0;
    }
    if (c->seen->hosts_why[0] != '\0')
        ADD(c, FINDING_WARNING, "host-name", c->seen->domain, "%s", c->seen->hosts_why);
    if (n_serve == 0)
        ADD(c, FINDING_ALARM, "no-host", c->seen->domain,
            "no host serves it: no mail comes");
}

/* --- all of it ----------------------------------------------------------------------
 */

static void
check_signet_itself(struct check *c)
{
    struct dime_field field;

    if (c->d.org == NULL)
        ADD(c, FINDING_ALARM, "signet-missing", c->seen->domain,
            "keyd has no organizational signet of it, or shows none");
    else if (dime_signet_find(&c->d.signet, DIME_ORG_CONTACT_ABUSE, &field) != KD_OK)
        ADD(c, FINDING_NOTE, "abuse-contact", c->seen->domain,
            "the organizational signet names no contact for abuse: abuse@%s must take "
            "mail (SG-98)",
            c->seen->domain);
}

static void
judge(struct check *c)
{
    check_signet_itself(c);
    check_records(c);
    check_servers(c);
    check_own_certificates(c);
    if (c->record != NULL) {
        check_first_value(c);
        check_values(c);
        check_hosts(c);
    }
    if (c->seen->is_cut)
        ADD(c, FINDING_NOTE, "too-many", c->seen->domain,
            "there are more servers or hosts than are looked at");
}

static int
inspect(struct check *c)
{
    const struct options *o = c->o;
    const struct dime_resolver_conf conf = {.anchor_file = o->anchor,
                                            .forwarder = o->forwarder,
                                            .hints_file = o->hints,
                                            .is_local = o->loopback,
                                            .ca_file = o->ca};
    const char *why = NULL;
    int64_t ms = o->timeout != NULL ? (int64_t)o->timeout_ms : INSPECT_MS;
    kd_err err =
        dime_inspect(&conf, c->d.domain.text, kd_clock_ms() + ms, &c->seen, &why);

    if (err == KD_OK)
        return EX_OK;
    complain(c->d.domain.text, why != NULL ? why : kd_err_text(err));
    return err == KD_INVALID ? EX_USAGE : err == KD_IO ? EX_NOINPUT : EX_OSERR;
}

static int
show(const struct check *c)
{
    int status = findings_status(&c->found);

    if (!c->o->json) {
        findings_print(&c->found);
        emit(stdout, "%s: %u alarms, %u warnings; %zu servers, %zu hosts\n",
             c->seen->domain, c->found.counts[FINDING_ALARM],
             c->found.counts[FINDING_WARNING], c->seen->n_servers, c->seen->n_hosts);
        return status;
    }
    return json_done(json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:o}", "domain",
                               c->seen->domain, "zone", c->seen->zone, "alarms",
                               (int)c->found.counts[FINDING_ALARM], "warnings",
                               (int)c->found.counts[FINDING_WARNING], "servers",
                               (int)c->seen->n_servers, "hosts", (int)c->seen->n_hosts,
                               "findings", findings_to_json(&c->found)),
                     status);
}

static int
read_options(struct check *c)
{
    uint64_t days = AHEAD_DAYS;
    bool is_known;

    if (c->o->domain == NULL)
        return usage_error("--domain", "is needed");
    if (c->o->ahead != NULL && !number_read(c->o->ahead, 0, AHEAD_MAX_DAYS, &days))
        return usage_error("--ahead", "days, at most 3650");
    c->ahead = (int64_t)days * DAY;
    int status = name_read("--domain", c->o->domain, NAME_DOMAIN, &c->d.domain);
    if (status == EX_OK)
        status = certificates_configured(c->o->config, c->d.domain.text, &c->own,
                                         &c->conf, &is_known);
    for (size_t i = 0; status == EX_OK && i < c->o->certificate.n; i++)
        status = certificates_add(&c->own, c->o->certificate.items[i]);
    return status;
}

int
verb_publish_check(const struct options *o)
{
    struct check *c = calloc(1, sizeof *c);

    if (c == NULL) {
        complain("publish", kd_err_text(KD_NOMEM));
        return EX_OSERR;
    }
    c->o = o;
    int status = read_options(c);
    if (status == EX_OK && (status = published_fetch(&c->d, o)) == EX_OK &&
        (status = inspect(c)) == EX_OK) {
        judge(c);
        status = show(c);
    }
    dime_inspection_free(c->seen);
    published_free(&c->d);
    certificates_free(&c->own);
    kd_conf_free(c->conf);
    free(c);
    return status;
}
