/* OpenBounce (open-design.md 5; T-OP-16). */
#include "mask.h"
#include "work.h"

#include <dime/bounce.h>
#include <dime/fingerprint.h>
#include <keyd/base/secret.h>

typedef uint8_t foreign_keys[DIME_SOKS_MAX + 1][DIME_ED25519_KEY_SIZE];

struct walk {
    struct work w; /* of the returned message */
    const struct dime_bounce *b;
    const struct mail_bounced *in;
    uint8_t by[DIME_ED25519_KEY_SIZE]; /* made the bounce's 255 */
    struct kd_buf report;
    struct dime_report said;
};

/* --- what is public --- */

static bool
is_fit(const struct mail_keys *k, const struct dime_bounce *b,
       const struct mail_bounced *in)
{
    const uint8_t *theirs = in->from.signet->enc_key;

    if (in->n_openers == 0 || in->n_openers > MAIL_OPENERS_MAX ||
        !dime_identifier_is_domain(in->from.origin))
        return false;
    /* A bounce has an ephemeral key of its own. */
    return !work_is_static(&b->outer, k, theirs) &&
           !work_is_static(&b->returned, k, theirs) &&
           !work_is_static(&b->outer, k, b->returned.ephemeral) &&
           work_can_hold_text(&b->returned.origin) && work_can_hold_text(&b->report);
}

/* By which key; one at a time, for everybody can see which it is. */
static kd_err
verify_outer(struct walk *x)
{
    foreign_keys keys;
    size_t n = work_foreign_keys(x->in->from.signet, x->b->outer.source.n, keys);
    kd_err err = KD_INVALID;

    for (size_t i = 0; i < n && err == KD_INVALID; i++) {
        err = dime_bounce_verify(x->b, &keys[i], 1);
        memcpy(x->by, keys[i], sizeof x->by);
    }
    return err;
}

/* --- what was ours --- */

/* All keys are tried, and the one that shows that we signed is used from there on. */
static kd_err
verify_returned(struct walk *x, bool *key_used, uint32_t *good)
{
    struct work *w = &x->w;

    *good = 0;
    work_use_none(w);
    for (size_t i = 0; i < x->in->n_openers; i++) {
        kd_err err =
            work_agree(w, &x->in->openers[i], x->b->returned.ephemeral, key_used);
        if (err == KD_OK)
            err = dime_bounce_verify_return(x->b, &w->secret->kek, x->in->signers,
                                            x->in->n_signers);
        if (err != KD_OK && err != KD_INVALID)
            return err;
        uint32_t this = mask_hide(mask_same((uint32_t)err, KD_OK)) & ~*good;
        work_use(w, this);
        *good |= this;
    }
    return KD_OK;
}

static kd_err
open_origin(struct walk *x, uint32_t *good)
{
    const struct text_form form = {.kind = DIME_ENVELOPE_ORIGIN,
                                   .domain = x->in->from.origin};
    uint32_t is_right;
    kd_err err =
        work_open_text(&x->w, &x->b->returned.origin, DIME_ORIGIN, &form, &is_right);

    if (err == KD_OK)
        *good &= is_right;
    return err;
}

/* --- the report --- */

/* Read in place of one that is none, for equal work. */
static const char stand_in[] =
    "Reporting-MTA: dns; example.org\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Last-Attempt-Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
    "X-Dime-Message: "
    "[AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAA]\r\n"
    "X-Dime-Returned: metadata\r\n";

/* Whatever came of the rest, or how long a report takes that says something else than
 * it should would tell its maker whether the rest was good. It is his to us, under his
 * 255; if he signed it he knows what it says, and if not it is no report, whatever he
 * has moved there, and a stand-in is read. */
static kd_err
open_report(struct walk *x, bool *key_used, uint32_t *good)
{
    struct work *w = &x->w;
    kd_err err = work_agree(w, &x->in->openers[0], x->b->outer.ephemeral, key_used);

    if (err != KD_OK)
        return err;
    err = dime_bounce_report(x->b, &w->secret->kek, x->by, &x->said, &x->report);
    if (err == KD_INVALID) {
        kd_ignore(dime_report_parse(kd_slice_str(stand_in), &x->said));
        *good = 0;
        return KD_OK;
    }
    if (err == KD_OK && !kd_slice_eq(x->said.domain, x->in->from.origin))
        *good = 0;
    return err;
}

/* --- all of it --- */

static kd_err
give(const struct walk *x, struct mail_bounce *out)
{
    const struct text_values *t = &x->w.text.values;

    if (dime_fingerprint_read(x->said.message, out->message) != KD_OK)
        return KD_INVALID;
    out->part = x->b->part;
    out->klass = x->said.klass;
    out->subject = x->said.subject;
    out->detail = x->said.detail;
    out->time = x->said.time;
    out->author_n = t->address_n;
    memcpy(out->author, x->w.text.data.p + t->address_at, t->address_n);
    memcpy(out->author_fp, t->address_fp, sizeof out->author_fp);
    return KD_OK;
}

static kd_err
walk(struct walk *x, struct mail_bounce *out)
{
    const struct dime_bounce *b = x->b;
    const struct work_range seen[] = {
        work_ephemeral(&b->returned), work_chunk(&b->returned, &b->returned.origin),
        work_ephemeral(&b->outer), work_chunk(&b->outer, &b->report)};
    uint32_t good;
    kd_err err;

    if ((err = verify_outer(x)) != KD_OK ||
        (err = work_digest(seen, 4, out->digest)) != KD_OK ||
        (err = verify_returned(x, &out->key_used, &good)) != KD_OK ||
        (err = open_origin(x, &good)) != KD_OK ||
        (err = open_report(x, &out->key_used, &good)) != KD_OK)
        return err;
    return good != 0 ? give(x, out) : KD_INVALID;
}

kd_err
mail_open_bounce(const struct mail_keys *k, const struct dime_source *source,
                 const struct mail_bounced *in, struct mail_bounce *out)
{
    struct dime_bounce b;
    struct walk x = {.b = &b, .in = in};
    kd_err err;

    *out = (struct mail_bounce){.flaw = DIME_FLAW_NONE};
    if ((err = dime_bounce_parse(source, in->from.max, &b, &out->flaw)) != KD_OK)
        return err;
    if (!is_fit(k, &b, in))
        return KD_INVALID;
    kd_buf_init(&x.report, MAIL_ENVELOPE_PAYLOAD_MAX);
    if ((err = work_begin(&x.w, k, &b.returned)) == KD_OK)
        err = walk(&x, out);
    work_end(&x.w);
    work_free_text(&x.report);
    return err;
}
