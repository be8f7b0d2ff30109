/* OpenEnvelope (D-086, D-088, D-089). */
#include "inbound.h"

#include "mask.h"
#include "work.h"

#include <dime/message_verify.h>
#include <keyd/base/secret.h>

typedef uint8_t foreign_keys[DIME_SOKS_MAX + 1][DIME_ED25519_KEY_SIZE];

/* --- signatures --- */

/* 255, whose 64 octets are the first that is opened, and all until it holds. */
static kd_err
verify_organization(struct work *w, const foreign_keys keys, size_t n_keys,
                    uint32_t *good)
{
    uint8_t sig[DIME_SIG_SIZE];
    const struct dime_claims claims = {
        .organization = {.sig = sig, .keys = keys, .n_keys = n_keys}};
    struct dime_verdicts v;
    kd_err err = work_open_signature(w, &w->m->organization, DIME_DESTINATION, sig);

    if (err == KD_OK)
        err = dime_message_verify(w->m, &claims, &v);
    if (err == KD_OK)
        *good = work_is_good(v.organization);
    kd_secret_wipe(sig, sizeof sig);
    return err;
}

static kd_err
open_claim(struct work *w, const struct dime_chunk *c, const foreign_keys keys,
           size_t n_keys, uint8_t sig[DIME_SIG_SIZE], struct dime_claim *claim)
{
    if (c->def == NULL)
        return KD_OK;
    *claim = (struct dime_claim){.sig = sig, .keys = keys, .n_keys = n_keys};
    return work_open_signature(w, c, DIME_DESTINATION, sig);
}

/* 248 and 249, those that are there: a reading of their own, since they are opened
 * behind 255 as all else is. */
static kd_err
verify_bounces(struct work *w, const foreign_keys keys, size_t n_keys,
               struct dime_verdicts *v)
{
    const struct dime_message *m = w->m;
    uint8_t metadata[DIME_SIG_SIZE], display[DIME_SIG_SIZE];
    struct dime_claims claims = {.tree = {.sig = NULL}};
    kd_err err;

    err = open_claim(w, &m->metadata_bounce, keys, n_keys, metadata,
                     &claims.metadata_bounce);
    if (err == KD_OK)
        err = open_claim(w, &m->display_bounce, keys, n_keys, display,
                         &claims.display_bounce);
    if (err == KD_OK)
        err = dime_message_verify(m, &claims, v);
    kd_secret_wipe(metadata, sizeof metadata);
    kd_secret_wipe(display, sizeof display);
    return err;
}

/* --- the envelope --- */

static kd_err
open_destination(struct work *w, const struct mail_inbound *in, uint32_t *good)
{
    const struct text_form form = {.kind = DIME_ENVELOPE_DESTINATION,
                                   .domain = in->origin};
    const uint8_t *fp = w->text.values.domain_fp;
    uint32_t is_right;
    kd_err err =
        work_open_text(w, &w->m->destination, DIME_DESTINATION, &form, &is_right);

    if (err != KD_OK)
        return err;
    *good &= is_right & (mask_equal(fp, in->origin_core, MAIL_FP_SIZE) |
                         mask_equal(fp, in->origin_full, MAIL_FP_SIZE));
    return KD_OK;
}

static void
give(const struct work *w, const struct dime_verdicts *v, struct mail_opened *out)
{
    const struct text_values *t = &w->text.values;

    out->metadata = v->metadata_bounce;
    out->display = v->display_bounce;
    out->address_n = t->address_n;
    memcpy(out->address, w->text.data.p + t->address_at, t->address_n);
    memcpy(out->address_fp, t->address_fp, sizeof out->address_fp);
}

/* --- all of it --- */

static kd_err
walk(struct work *w, const struct mail_inbound *in, struct mail_opened *out)
{
    const struct work_range seen[] = {work_ephemeral(w->m),
                                      work_chunk(w->m, &w->m->destination)};
    foreign_keys keys;
    size_t n_keys = work_foreign_keys(in->signet, w->m->source.n, keys);
    struct dime_verdicts v;
    uint32_t good;
    kd_err err;

    if ((err = work_digest(seen, 2, out->digest)) != KD_OK ||
        (err = work_agree(w, &w->keys->opener, w->m->ephemeral, &out->key_used)) !=
            KD_OK)
        return err;
    work_use(w, ~(uint32_t)0);
    if ((err = verify_organization(w, keys, n_keys, &good)) != KD_OK)
        return err;
    /* From here on, without a good 255, with a key that opens nothing. */
    work_use_none(w);
    work_use(w, good);
    if ((err = verify_bounces(w, keys, n_keys, &v)) != KD_OK ||
        (err = open_destination(w, in, &good)) != KD_OK)
        return err;
    if (good == 0)
        return KD_INVALID;
    give(w, &v, out);
    return KD_OK;
}

kd_err
inbound_open(const struct mail_keys *k, const struct dime_message *m,
             const struct mail_inbound *in, struct mail_opened *out)
{
    struct work w;
    kd_err err;

    if (!dime_identifier_is_domain(in->origin) ||
        work_is_static(m, k, in->signet->enc_key) ||
        !work_can_hold_text(&m->destination))
        return KD_INVALID;
    if ((err = work_begin(&w, k, m)) == KD_OK)
        err = walk(&w, in, out);
    work_end(&w);
    return err;
}

kd_err
mail_open_inbound(const struct mail_keys *k, const struct dime_source *source,
                  const struct mail_inbound *in, struct mail_opened *out)
{
    struct dime_message m;
    kd_err err;

    *out = (struct mail_opened){.flaw = DIME_FLAW_NONE};
    if ((err = dime_message_parse(source, in->max, &m, &out->flaw)) != KD_OK)
        return err;
    return inbound_open(k, &m, in, out);
}
