#include "bounce.h"

#include <dime/bounce.h>
#include <dime/envelope.h>
#include <dime/message_verify.h>
#include <dime/verify.h>
#include <keyd/base/secret.h>
#include <stdlib.h>
#include <time.h>

enum { TIME_SIZE = 32, STATUS_SIZE = 24 };

struct bounce_reading {
    struct dime_bounce b;
    const struct dime_signet *origin, *destination;
    struct kd_buf report_text, envelope_text;
    bool by_domain, by_origin, has_report, has_author;
    struct dime_report report;
    struct dime_envelope author;
    const char *refused;
};

typedef uint8_t key_list[DIME_SOKS_MAX + 1][DIME_ED25519_KEY_SIZE];

/* KD_OK, whatever it was signed with; *by is the key. */
static kd_err
verify_outer(struct bounce_reading *r, uint8_t by[DIME_ED25519_KEY_SIZE])
{
    key_list keys;
    size_t n = dime_org_keys(r->destination, DIME_PERM_MESSAGES, keys);

    for (size_t i = 0; i < n; i++) {
        kd_err err = dime_bounce_verify(
            &r->b, (const uint8_t(*)[DIME_ED25519_KEY_SIZE])keys[i], 1);
        if (err == KD_OK) {
            r->by_domain = true;
            memcpy(by, keys[i], DIME_ED25519_KEY_SIZE);
        }
        if (err != KD_INVALID)
            return err;
    }
    return KD_OK;
}

static kd_err
verify_returned(struct bounce_reading *r, const struct dime_kek *kek)
{
    key_list keys;
    size_t n = dime_org_keys(r->origin, DIME_PERM_MESSAGES, keys);
    kd_err err = dime_bounce_verify_return(
        &r->b, kek, (const uint8_t(*)[DIME_ED25519_KEY_SIZE])keys, n);

    r->by_origin = err == KD_OK;
    return err == KD_INVALID ? KD_OK : err;
}

static kd_err
open_author(struct bounce_reading *r, const struct dime_kek *kek,
            struct dime_chunk_key *key)
{
    const struct dime_message *m = &r->b.returned;
    kd_err err = dime_chunk_key_of(m, &m->origin, DIME_ORIGIN, kek, key);

    if (err == KD_OK)
        err = dime_envelope_payload_open(m, &m->origin, key, &r->envelope_text);
    if (err == KD_OK)
        err = dime_envelope_parse(DIME_ENVELOPE_ORIGIN, kd_buf_slice(&r->envelope_text),
                                  &r->author);
    r->has_author = err == KD_OK;
    return err == KD_INVALID || err == KD_MALFORMED ? KD_OK : err;
}

struct bounce_secrets {
    struct dime_kek kek;
    struct dime_chunk_key key;
};

/* In the order of dime/bounce.h: nothing of the origin's is opened for who has not
 * shown that he had a message of ours. */
static kd_err
open_in_order(struct bounce_reading *r, const struct dime_dkey *own,
              struct bounce_secrets *s)
{
    uint8_t by[DIME_ED25519_KEY_SIZE] = {0};
    kd_err err;

    r->refused = "the bouncing domain's signature is not good";
    if ((err = verify_outer(r, by)) != KD_OK || !r->by_domain)
        return err;
    r->refused = "what is returned does not bear the origin's signature";
    if ((err = dime_kek_agree(own->scalar, r->b.returned.ephemeral, &s->kek)) !=
            KD_OK ||
        (err = verify_returned(r, &s->kek)) != KD_OK || !r->by_origin)
        return err;
    r->refused = "the returned envelope is corrupt";
    if ((err = open_author(r, &s->kek, &s->key)) != KD_OK || !r->has_author)
        return err;
    r->refused = "the report is corrupt";
    if ((err = dime_kek_agree(own->scalar, r->b.outer.ephemeral, &s->kek)) != KD_OK)
        return err;
    err = dime_bounce_report(&r->b, &s->kek, by, &r->report, &r->report_text);
    if (err != KD_OK)
        return err == KD_INVALID ? KD_OK : err;
    r->has_report = true;
    r->refused = NULL;
    if (!kd_slice_eq(r->report.domain, r->destination->identifier) ||
        !kd_slice_eq(r->author.domain, r->destination->identifier))
        r->refused = "the bounce is another domain's than the message's destination";
    return KD_OK;
}

static kd_err
read_bounce(struct bounce_reading *r, struct kd_slice octets,
            const struct dime_dkey *own)
{
    const struct dime_source source = dime_source_of(octets);
    enum dime_flaw flaw;
    kd_err err = dime_bounce_parse(&source, DIME_MESSAGE_MAX, &r->b, &flaw);

    if (err == KD_MALFORMED || err == KD_TOO_LARGE) {
        r->refused = dime_flaw_text(flaw);
        return KD_OK;
    }
    struct bounce_secrets *s = kd_secret_new(sizeof *s);
    if (err == KD_OK)
        err = s == NULL ? KD_NOMEM : open_in_order(r, own, s);
    kd_secret_free(s, sizeof *s);
    return err;
}

/* --- Telling ---------------------------------------------------------------------- */

static void
texts_of(const struct dime_report *r, char status[STATUS_SIZE], char when[TIME_SIZE])
{
    time_t t = (time_t)r->time;
    struct tm tm;

    snprintf(status, STATUS_SIZE, "%u.%u.%u", (unsigned)r->klass, (unsigned)r->subject,
             (unsigned)r->detail);
    when[0] = '\0';
    if (gmtime_r(&t, &tm) != NULL)
        kd_ignore(strftime(when, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm));
}

static json_t *
slice_to_json(bool has, struct kd_slice s)
{
    return has ? json_stringn((const char *)s.p, s.n) : json_null();
}

static json_t *
report_to_json_or_null(const struct bounce_reading *r)
{
    char status[STATUS_SIZE], when[TIME_SIZE];
    json_t *j;

    if (!r->has_report)
        return json_null();
    texts_of(&r->report, status, when);
    j = json_object();
    if (json_put(j, "domain", slice_to_json(true, r->report.domain)) &&
        json_put(j, "status", json_string(status)) &&
        json_put(j, "time", json_string(when)) &&
        json_put(j, "message", slice_to_json(true, r->report.message)) &&
        json_put(j, "returned", json_string(dime_return_name(r->report.part))))
        return j;
    json_decref(j);
    return NULL;
}

static json_t *
bounce_to_json(const struct bounce_reading *r)
{
    json_t *j = json_object();

    if (json_put(j, "type", json_string("bounce")) &&
        json_put(j, "valid", json_boolean(r->refused == NULL)) &&
        json_put(j, "by-domain", json_boolean(r->by_domain)) &&
        json_put(j, "by-origin", json_boolean(r->by_origin)) &&
        json_put(j, "author", slice_to_json(r->has_author, r->author.address)) &&
        json_put(j, "report", report_to_json_or_null(r)))
        return j;
    json_decref(j);
    return NULL;
}

static void
bounce_print(const struct bounce_reading *r)
{
    char status[STATUS_SIZE], when[TIME_SIZE];

    if (!r->has_report)
        return;
    texts_of(&r->report, status, when);
    emit(stdout, "bounce\nby           ");
    print_text(stdout, r->report.domain);
    emit(stdout, "\nstatus       %s\nlast tried   %s\nmessage      ", status, when);
    print_text(stdout, r->report.message);
    emit(stdout, "\nreturned     %s\nauthor       ", dime_return_name(r->report.part));
    print_text(stdout, r->author.address);
    emit(stdout, "\n");
}

static int
tell(const struct options *o, const struct bounce_reading *r)
{
    json_t *j = NULL;

    if (o->json && (j = bounce_to_json(r)) == NULL)
        return json_finish(NULL, TROUBLE);
    if (!o->json)
        bounce_print(r);
    if (r->refused != NULL)
        return tell_failure(o, j, "bounce", r->refused);
    if (o->json)
        return json_finish(j, HOLDS);
    emit(stdout, "bounce holds\n");
    return HOLDS;
}

int
bounce_tell(const struct options *o, struct kd_slice octets,
            const struct dime_dkey *keys, const struct signets *signets)
{
    struct bounce_reading *r;
    int status = TROUBLE;

    if (o->actor != DIME_ORIGIN || !signets->has[SIGNET_ORIGIN] ||
        !signets->has[SIGNET_DESTINATION] || o->out != NULL) {
        complain(o->file, "a bounce is read --as origin, with --origin and "
                          "--destination, and without -o");
        return TROUBLE;
    }
    if ((r = calloc(1, sizeof *r)) == NULL) {
        complain(o->file, kd_err_text(KD_NOMEM));
        return TROUBLE;
    }
    r->origin = signets_get(signets, SIGNET_ORIGIN);
    r->destination = signets_get(signets, SIGNET_DESTINATION);
    kd_buf_init(&r->report_text, DIME_REPORT_MAX);
    kd_buf_init(&r->envelope_text, DIME_ENVELOPE_MAX);
    kd_err err = read_bounce(r, octets, keys);
    if (err == KD_OK)
        status = tell(o, r);
    else
        complain(o->file, kd_err_text(err));
    kd_buf_free(&r->report_text);
    kd_buf_free(&r->envelope_text);
    free(r);
    return status;
}
