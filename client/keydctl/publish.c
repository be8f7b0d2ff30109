/* keydctl publish show: the management record of a domain, to be put into its zone
 * (P4; D-005 to D-009, D-015, D-017, D-025).
 *
 * Keys are keyd's, and so are the values for certificates; what else it says is the
 * command line's. What readers would take for broken, or might, is never printed. */
#include "publish.h"
#include "certificates.h"

#include <dime/base64.h>
#include <dime/field.h>
#include <dime/mrec.h>
#include <keyd/base/clock.h>
#include <keyd/conf/conf.h>
#include <sodium.h>
#include <stdlib.h>
#include <time.h>

enum {
    KEY_SIZE = 32,
    TTL = 3600,
    TTL_MAX = 604800,
    NOTES_MAX = 64,
    OUTPUT_MAX = 1 << 20,
    DAY = 86400,
};

enum format { FORMAT_ZONE, FORMAT_UPDATE, FORMAT_JSON };

struct publish {
    const struct options *o;
    struct published d;
    enum format format;
    uint32_t ttl;
    struct certificates wanted, configured;
    struct kd_conf *conf;
    struct dime_mrec record;
    struct dime_mrec_strings strings;
};

static int
warn(const char *text)
{
    emit(stderr, "%s: publish: warning: %s\n", tool_name, text);
    return EX_OK;
}

/* --- what the command line says -----------------------------------------------------
 */

static int
read_policy(struct publish *p)
{
    const struct options *o = p->o;
    unsigned at = 0;

    if (o->policy == NULL)
        return EX_OK;
    while (at < DIME_POLICIES &&
           strcmp(o->policy, dime_mrec_policy_name((enum dime_mrec_policy)at)) != 0)
        at++;
    if (at == DIME_POLICIES)
        return usage_error("--policy", "experimental, mixed or strict");
    p->record.policy = (enum dime_mrec_policy)at;
    return EX_OK;
}

static int
read_subdomains(struct publish *p)
{
    const struct options *o = p->o;
    unsigned at = 0;

    if (o->subdomains == NULL)
        return EX_OK;
    while (at < DIME_SUBS &&
           strcmp(o->subdomains, dime_mrec_sub_name((enum dime_mrec_sub)at)) != 0)
        at++;
    if (at == DIME_SUBS)
        return usage_error("--subdomains", "mixed, explicit or strict");
    p->record.sub = (enum dime_mrec_sub)at;
    return EX_OK;
}

static int
read_numbers(struct publish *p)
{
    uint64_t n = DIME_MREC_EXPIRY;

    if (p->o->expiry != NULL && !number_read(p->o->expiry, 1, DIME_MREC_EXPIRY_MAX, &n))
        return usage_error("--expiry", "days, from 1 to 365");
    p->record.expiry_days = (uint16_t)n;
    n = TTL;
    if (p->o->ttl != NULL && !number_read(p->o->ttl, 0, TTL_MAX, &n))
        return usage_error("--ttl", "seconds, at most 604800");
    p->ttl = (uint32_t)n;
    return EX_OK;
}

static int
read_hosts(const char *option, const struct text_list *given,
           char list[][DIME_MREC_HOST_MAX + 1], size_t *n)
{
    for (size_t i = 0; i < given->n; i++) {
        if (*n == DIME_MREC_HOSTS_MAX)
            return usage_error(option, "at most 32");
        enum dime_mrec_finding f =
            dime_mrec_host(kd_slice_str(given->items[i]), list[*n]);
        if (f != DIME_MREC_FINE)
            return usage_error(option, dime_mrec_text(f));
        for (size_t k = 0; k < *n; k++)
            if (strcmp(list[k], list[*n]) == 0)
                return usage_error(option, "the same host twice");
        ++*n;
    }
    return EX_OK;
}

static int
read_format(struct publish *p)
{
    const char *text = p->o->format;

    if (p->o->json && text != NULL)
        return usage_error("--format", "not together with --json");
    if (text != NULL && strcmp(text, "zone") != 0 && strcmp(text, "nsupdate") != 0)
        return usage_error("--format", "zone or nsupdate");
    p->format = p->o->json                                      ? FORMAT_JSON
                : text != NULL && strcmp(text, "nsupdate") == 0 ? FORMAT_UPDATE
                                                                : FORMAT_ZONE;
    return EX_OK;
}

static int
read_options(struct publish *p)
{
    struct dime_mrec *r = &p->record;
    int status = EX_OK;

    if (p->o->domain == NULL)
        return usage_error("--domain", "is needed");
    if ((status = read_policy(p)) != EX_OK || (status = read_subdomains(p)) != EX_OK ||
        (status = read_numbers(p)) != EX_OK || (status = read_format(p)) != EX_OK ||
        (status = read_hosts("--dx", &p->o->dx, r->dx, &r->n_dx)) != EX_OK ||
        (status = read_hosts("--syn", &p->o->syn, r->syn, &r->n_syn)) != EX_OK)
        return status;
    return name_read("--domain", p->o->domain, NAME_DOMAIN, &p->d.domain);
}

/* --- certificates -------------------------------------------------------------------
 */

/* All that are in use, or none (MR-65): senders refuse a host whose certificate is not
 * among those that the record has. */
static int
check_complete(const struct publish *p, bool is_known)
{
    for (size_t i = 0; i < p->configured.n; i++) {
        const struct certificate *c = &p->configured.list[i];
        if (p->wanted.n == 0 || certificates_has(&p->wanted, c))
            continue;
        complain(c->path,
                 p->o->partial
                     ? "warning: configured, and not among the values: senders "
                       "will refuse the host that shows it"
                     : "configured, and not among the certificates given: "
                       "senders would refuse the host that shows it (--partial "
                       "publishes all the same)");
        if (!p->o->partial)
            return EX_DATAERR;
    }
    if (p->wanted.n != 0 && !is_known)
        return warn("there is no configuration to compare with: whether these are all "
                    "certificates in use is not known");
    return EX_OK;
}

static int
read_certificates(struct publish *p)
{
    bool is_known;
    int status = EX_OK;

    for (size_t i = 0; status == EX_OK && i < p->o->certificate.n; i++)
        status = certificates_add(&p->wanted, p->o->certificate.items[i]);
    if (status == EX_OK)
        status = certificates_configured(p->o->config, p->d.domain.text, &p->configured,
                                         &p->conf, &is_known);
    return status == EX_OK ? check_complete(p, is_known) : status;
}

static const struct certificates *
published(const struct publish *p)
{
    return p->wanted.n != 0 ? &p->wanted : &p->configured;
}

static int
refuse_ended(const struct certificates *all)
{
    for (size_t i = 0; i < all->n; i++) {
        if (all->list[i].until > kd_clock_wall_ms() / 1000)
            continue;
        complain(all->list[i].path, "it has expired");
        return EX_DATAERR;
    }
    return EX_OK;
}

/* The same request has the same key every time: what operators approved once, for this
 * certificate and this primary key, is signed again without being approved again. */
static void
key_of(const struct publish *p, const uint8_t pok[16], struct kd_slice der,
       uint8_t out[KEYD_KEY_SIZE])
{
    static const char what[] = "keydctl publish tls";
    uint8_t digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state h;

    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, (const uint8_t *)what, sizeof what);
    if (p->o->has_key)
        crypto_hash_sha256_update(&h, p->o->key, sizeof p->o->key);
    crypto_hash_sha256_update(&h, (const uint8_t *)p->d.domain.text, p->d.domain.n + 1);
    crypto_hash_sha256_update(&h, pok, 16);
    crypto_hash_sha256_update(&h, der.p, der.n);
    crypto_hash_sha256_final(&h, digest);
    memcpy(out, digest, KEYD_KEY_SIZE);
}

static int
add_value(struct publish *p, struct keyd_octets value)
{
    struct dime_mrec *r = &p->record;

    if (value.n == 0)
        return EX_OK;
    if (value.n != sizeof r->tls[0]) {
        complain("keyd's answer", "no signature");
        return EX_PROTOCOL;
    }
    if (r->n_tls == DIME_MREC_TLS_MAX)
        return usage_error("--certificate", "at most 32");
    memcpy(r->tls[r->n_tls++], value.p, value.n);
    return EX_OK;
}

static int
sign_certificate(struct publish *p, const struct certificate *c, const uint8_t pok[16])
{
    struct keyd_request q = {.op = KEYD_OP_SIGN_TLS_RECORD};
    struct kd_slice der = kd_buf_slice(&c->der);
    struct keyd_answer *a = NULL;
    uint8_t key[KEYD_KEY_SIZE];

    key_of(p, pok, der, key);
    q.idempotency_key = key;
    q.in.sign_tls_record.domain = KEYD_STR(p->d.domain.text);
    q.in.sign_tls_record.pok_id = (struct keyd_octets){pok, 16};
    q.in.sign_tls_record.certificate = octets_of(der);
    int status = session_call(&p->d.session, &q, &a);
    if (status == EX_OK)
        status = add_value(p, a->out.tls_record.of_hash);
    if (status == EX_OK)
        status = add_value(p, a->out.tls_record.of_der);
    if (status == EX_OK && dime_mrec_tls_match(&p->record, der, NULL) != KD_OK) {
        complain("keyd's answer", "a value that is not the certificate's");
        status = EX_PROTOCOL;
    }
    keyd_client_answer_free(a);
    return status;
}

static bool
is_active_pok(const struct keyd_key *k)
{
    return k->role == KEYD_ROLE_POK && k->state == KEYD_KEY_ACTIVE &&
           k->public_key.n == KEY_SIZE && k->id.n == 16;
}

/* The one named, the one that signed the organizational signet, or the only one. */
static int
choose_pok(struct publish *p, uint8_t out[16])
{
    const uint8_t *signer = p->d.org == NULL ? NULL : p->d.signet.sign_key;
    size_t n = 0;

    if (p->o->pok != NULL)
        return hex_read(p->o->pok, out, 16)
                   ? EX_OK
                   : usage_error("--pok", "an id of a key has 32 hexadecimal digits");
    for (size_t i = 0; i < p->d.keys.n; i++) {
        const struct keyd_key *k = p->d.keys.keys[i];
        if (!is_active_pok(k))
            continue;
        memcpy(out, k->id.p, 16);
        if (signer != NULL && memcmp(k->public_key.p, signer, KEY_SIZE) == 0)
            return EX_OK;
        n++;
    }
    return n == 1 ? EX_OK
                  : usage_error("--pok", "there are several primary keys: name the one "
                                         "that vouches for certificates");
}

static int
sign_certificates(struct publish *p)
{
    const struct certificates *all = published(p);
    uint8_t pok[16];
    int status = EX_OK;

    if (all->n == 0 || (status = refuse_ended(all)) != EX_OK ||
        (status = choose_pok(p, pok)) != EX_OK)
        return status;
    for (size_t i = 0; status == EX_OK && i < all->n; i++)
        status = sign_certificate(p, &all->list[i], pok);
    return status;
}

/* --- the record ---------------------------------------------------------------------
 */

static int
add_keys(struct publish *p, enum keyd_key_state state)
{
    struct dime_mrec *r = &p->record;

    for (size_t i = 0; i < p->d.keys.n; i++) {
        const struct keyd_key *k = p->d.keys.keys[i];
        if (k->role != KEYD_ROLE_POK || k->state != state ||
            k->public_key.n != KEY_SIZE)
            continue;
        if (r->n_poks == DIME_MREC_POKS_MAX) {
            complain("publish", "more primary keys than a record holds");
            return EX_DATAERR;
        }
        memcpy(r->poks[r->n_poks++], k->public_key.p, KEY_SIZE);
    }
    return EX_OK;
}

static int
fill_keys(struct publish *p)
{
    int status = add_keys(p, KEYD_KEY_ACTIVE);

    if (status == EX_OK && p->record.n_poks == 0) {
        complain("publish", "the domain has no active primary key");
        return EX_DATAERR;
    }
    return status == EX_OK && p->o->retained ? add_keys(p, KEYD_KEY_RETAINED) : status;
}

/* Everything that a reader could say of it; a fault is ours, or of the options. */
static int
judge(const struct publish *p)
{
    struct dime_mrec_note notes[NOTES_MAX];
    struct kd_slice strings[sizeof p->strings.text / sizeof p->strings.text[0]];
    int status = EX_OK;

    for (size_t i = 0; i < p->strings.n; i++)
        strings[i] = kd_slice_str(p->strings.text[i]);
    size_t n = dime_mrec_lint(strings, p->strings.n, notes, NOTES_MAX);
    for (size_t i = 0; i < n && i < NOTES_MAX; i++) {
        const char *text = dime_mrec_text(notes[i].finding);
        if (dime_mrec_kind(notes[i].finding) == DIME_MREC_ADVICE) {
            kd_ignore(warn(text));
        } else {
            complain("publish", text);
            status = EX_DATAERR;
        }
    }
    return status;
}

static int
make(struct publish *p)
{
    int status = published_fetch(&p->d, p->o);

    if (status != EX_OK || (status = fill_keys(p)) != EX_OK ||
        (status = sign_certificates(p)) != EX_OK)
        return status;
    kd_err err = dime_mrec_write(&p->record, &p->strings);
    if (err != KD_OK) {
        complain("publish",
                 err == KD_TOO_LARGE ? "more than a record holds" : kd_err_text(err));
        return EX_DATAERR;
    }
    return judge(p);
}

/* --- reminders ----------------------------------------------------------------------
 */

static bool
has_retained(const struct publish *p)
{
    for (size_t i = 0; i < p->d.keys.n; i++)
        if (p->d.keys.keys[i]->role == KEYD_ROLE_POK &&
            p->d.keys.keys[i]->state == KEYD_KEY_RETAINED)
            return true;
    return false;
}

static void
remind_of_old_key(void)
{
    time_t until =
        (time_t)(kd_clock_wall_ms() / 1000) + (time_t)PUBLISHED_OLD_KEY_DAYS * DAY;
    struct tm tm;
    char day[16] = "";

    if (gmtime_r(&until, &tm) != NULL)
        kd_ignore((long)strftime(day, sizeof day, "%Y-%m-%d", &tm));
    emit(
        stderr,
        "%s: publish: reminder: a retained primary key stays in the record until the "
        "signets made with it have ended, 71 days after it was retired: retired today, "
        "it is to be removed on %s\n",
        tool_name, day);
}

static void
remind(const struct publish *p)
{
    struct dime_field field;

    if (p->o->retained && has_retained(p))
        remind_of_old_key();
    else if (has_retained(p))
        kd_ignore(warn("a retained primary key is left out: signets made with it will "
                       "not be believed (--retained lists it)"));
    if (p->d.org == NULL)
        kd_ignore(warn("keyd shows no organizational signet of the domain: senders "
                       "that find the record will ask its servers for one"));
    else if (dime_signet_find(&p->d.signet, DIME_ORG_CONTACT_ABUSE, &field) != KD_OK)
        emit(stderr,
             "%s: publish: reminder: the organizational signet names no contact for "
             "abuse (field 200): abuse@%s must take mail\n",
             tool_name, p->d.domain.text);
}

/* --- output -------------------------------------------------------------------------
 */

static json_t *
record_to_json(const struct publish *p)
{
    json_t *list = json_array(), *strings = json_array();
    bool good = true;

    for (size_t k = 0; k < p->strings.n; k++)
        good = json_array_append_new(strings, json_string(p->strings.text[k])) == 0 &&
               good;
    for (size_t i = 0; i < DIME_MREC_OWNERS; i++) {
        json_t *j = json_pack("{s:s+++, s:s, s:I, s:O}", "owner", dime_mrec_owners[i],
                              ".", p->d.domain.text, ".", "type", "TXT", "ttl",
                              (json_int_t)p->ttl, "strings", strings);
        good = json_array_append_new(list, j) == 0 && good;
    }
    json_decref(strings);
    if (good)
        return json_pack("{s:s, s:i, s:o}", "domain", p->d.domain.text, "octets",
                         (int)p->strings.size, "records", list);
    json_decref(list);
    return NULL;
}

static int
show(const struct publish *p)
{
    struct kd_buf b;

    if (p->format == FORMAT_JSON)
        return json_done(record_to_json(p), EX_OK);
    kd_buf_init(&b, OUTPUT_MAX);
    if (p->format == FORMAT_ZONE)
        dime_mrec_put_zone(&b, &p->strings, p->d.domain.text, p->ttl);
    else
        dime_mrec_put_update(&b, &p->strings, p->d.domain.text, p->ttl);
    if (b.err == KD_OK)
        emit(stdout, "%.*s", (int)b.n, (const char *)b.p);
    int status = b.err == KD_OK ? EX_OK : EX_OSERR;
    kd_buf_free(&b);
    return status;
}

int
verb_publish_show(const struct options *o)
{
    struct publish *p = calloc(1, sizeof *p);

    if (p == NULL) {
        complain("publish", kd_err_text(KD_NOMEM));
        return EX_OSERR;
    }
    p->o = o;
    int status = read_options(p);
    if (status == EX_OK && (status = read_certificates(p)) == EX_OK)
        status = make(p);
    if (status == EX_OK)
        remind(p);
    if (status == EX_OK)
        status = show(p);
    published_free(&p->d);
    certificates_free(&p->wanted);
    certificates_free(&p->configured);
    kd_conf_free(p->conf);
    free(p);
    return status;
}
