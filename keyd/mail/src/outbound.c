/* SignOutbound (D-087, D-119). */
#include "mask.h"
#include "sign.h"
#include "work.h"

#include <dime/fingerprint.h>
#include <dime/message_verify.h>
#include <keyd/base/secret.h>

kd_err
mail_author_of(const struct dime_signet *signet, struct mail_author *out)
{
    struct mail_author a;

    if (signet->kind != DIME_USER || signet->part != DIME_PART_IDENTIFIED)
        return KD_INVALID;
    memcpy(a.sign_key, signet->sign_key, sizeof a.sign_key);
    memcpy(a.enc_key, signet->enc_key, sizeof a.enc_key);
    if (dime_fingerprint(signet, DIME_PART_CORE, a.core) != KD_OK ||
        dime_fingerprint(signet, DIME_PART_FULL, a.full) != KD_OK)
        return KD_INVALID;
    *out = a;
    return KD_OK;
}

/* --- what is public --- */

static bool
is_fit(const struct mail_keys *k, const struct dime_message *m,
       const struct mail_outbound *in)
{
    if (in->n_authors == 0 || in->n_authors > MAIL_AUTHORS_MAX ||
        !dime_identifier_is_address(in->account) ||
        !dime_identifier_is_domain(in->destination) || !work_can_hold_text(&m->origin))
        return false;
    for (size_t i = 0; i < in->n_authors; i++)
        if (work_is_static(m, k, in->authors[i].enc_key))
            return false;
    return true;
}

/* --- who wrote it --- */

/* The signet that is named, else the current one stands in for it. *chosen is an
 * index, made without a branch. */
static uint32_t
choose(const struct mail_outbound *in, const uint8_t fp[MAIL_FP_SIZE], uint32_t *chosen,
       uint8_t key[DIME_ED25519_KEY_SIZE])
{
    uint32_t found = 0;

    *chosen = 0;
    memcpy(key, in->authors[0].sign_key, DIME_ED25519_KEY_SIZE);
    for (uint32_t i = 0; i < in->n_authors; i++) {
        const struct mail_author *a = &in->authors[i];
        uint32_t this = (mask_equal(fp, a->core, MAIL_FP_SIZE) |
                         mask_equal(fp, a->full, MAIL_FP_SIZE)) &
                        ~found;
        *chosen |= i & this;
        mask_copy(this, key, a->sign_key, DIME_ED25519_KEY_SIZE);
        found |= this;
    }
    return found;
}

/* --- what the author made --- */

/* Opened signature chunks; not for everybody to see. */
struct opened {
    uint8_t tree[DIME_SIG_SIZE], author[DIME_SIG_SIZE];
    uint8_t blank[DIME_SIG_SIZE]; /* all places for our signatures, ORed */
};

static kd_err
open_blank(struct work *w, const struct dime_chunk *c, struct opened *o)
{
    uint8_t octets[DIME_SIG_SIZE];

    if (c->def == NULL)
        return KD_OK;
    kd_err err = work_open_signature(w, c, DIME_ORIGIN, octets);
    for (size_t i = 0; i < sizeof octets && err == KD_OK; i++)
        o->blank[i] |= octets[i];
    kd_secret_wipe(octets, sizeof octets);
    return err;
}

static kd_err
open_signatures(struct work *w, struct opened *o)
{
    const struct dime_message *m = w->m;
    kd_err err;

    if ((err = work_open_signature(w, &m->tree, DIME_ORIGIN, o->tree)) != KD_OK ||
        (err = work_open_signature(w, &m->author, DIME_ORIGIN, o->author)) != KD_OK ||
        (err = open_blank(w, &m->metadata_bounce, o)) != KD_OK ||
        (err = open_blank(w, &m->display_bounce, o)) != KD_OK)
        return err;
    return open_blank(w, &m->organization, o);
}

/* 225, and 226, without which libdime's form of 225 is not believed. */
static kd_err
verify_author(const struct dime_message *m, const struct opened *o,
              const uint8_t key[1][DIME_ED25519_KEY_SIZE], uint32_t *good)
{
    const struct dime_claims claims = {
        .tree = {.sig = o->tree, .keys = key, .n_keys = 1},
        .author = {.sig = o->author, .keys = key, .n_keys = 1},
    };
    struct dime_verdicts v;
    kd_err err = dime_message_verify(m, &claims, &v);

    if (err != KD_OK)
        return err;
    *good &= work_is_good(v.author);
    *good &= work_is_good(v.tree) |
             mask_hide(mask_same((uint32_t)v.tree, DIME_VERDICT_LEGACY));
    return KD_OK;
}

/* Chunk 4's own signature. */
static kd_err
verify_origin(struct work *w, const uint8_t key[DIME_ED25519_KEY_SIZE], uint32_t *good)
{
    struct work_secret *s = w->secret;
    struct dime_payload payload;
    kd_err err;

    w->text.data.n = 0; /* the text has been read */
    err = dime_chunk_key_of(w->m, &w->m->origin, DIME_ORIGIN, &s->in_use, &s->key);
    if (err == KD_OK)
        err = dime_payload_open(w->m, &w->m->origin, &s->key, key, &payload,
                                &w->text.data);
    if (err != KD_OK && err != KD_INVALID)
        return err;
    *good &= mask_hide(mask_same((uint32_t)err, KD_OK));
    return KD_OK;
}

/* All that has to hold; *good: a mask. */
static kd_err
judge(struct work *w, const struct mail_outbound *in, struct mail_signed *out,
      uint32_t *good)
{
    const struct text_form form = {DIME_ENVELOPE_ORIGIN, in->account, in->destination};
    uint8_t key[1][DIME_ED25519_KEY_SIZE];
    static const uint8_t zeros[DIME_SIG_SIZE];
    struct opened o = {.blank = {0}};
    kd_err err;

    if ((err = work_open_text(w, &w->m->origin, DIME_ORIGIN, &form, good)) != KD_OK)
        return err;
    *good &= choose(in, w->text.values.address_fp, &out->author, key[0]);
    memcpy(out->destination_fp, w->text.values.domain_fp, MAIL_FP_SIZE);
    if ((err = open_signatures(w, &o)) != KD_OK)
        goto out;
    *good &= mask_equal(o.blank, zeros, sizeof zeros);
    if ((err = verify_author(w->m, &o, key, good)) != KD_OK)
        goto out;
    err = verify_origin(w, key[0], good);
out:
    kd_secret_wipe(&o, sizeof o);
    return err;
}

/* --- what we make --- */

struct making {
    struct work *w;
    const struct dime_chunk *chunks[KD_SIGN_AT_ONCE];
    struct sign_one ones[KD_SIGN_AT_ONCE];
    unsigned n;
};

static void
make(struct making *x, const struct dime_chunk *c, struct mail_signed *out,
     uint8_t payload[DIME_SIG_SIZE])
{
    const struct sign_one one = {
        .end = dime_message_signed_until(x->w->m, c->def->type),
        .at = dime_chunk_payload(c),
        .payload = payload,
        .digest = out->digests[x->n],
    };

    x->chunks[x->n] = c;
    x->ones[x->n++] = one;
}

/* Encrypts a signature as its chunk's payload. */
static kd_err
seal(void *ctx, unsigned which, const uint8_t sig[DIME_SIG_SIZE],
     uint8_t payload[DIME_SIG_SIZE])
{
    const struct making *x = ctx;
    struct work_secret *s = x->w->secret;
    kd_err err =
        dime_chunk_key_of(x->w->m, x->chunks[which], DIME_ORIGIN, &s->in_use, &s->key);

    return err == KD_OK ? dime_signature_seal(&s->key, sig, payload) : err;
}

/* 255 last: it covers the others as they will be. */
static kd_err
sign_all(struct work *w, struct mail_signed *out)
{
    const struct dime_message *m = w->m;
    struct making x = {.w = w};

    out->has_metadata = m->metadata_bounce.def != NULL;
    out->has_display = m->display_bounce.def != NULL;
    if (out->has_metadata)
        make(&x, &m->metadata_bounce, out, out->metadata);
    if (out->has_display)
        make(&x, &m->display_bounce, out, out->display);
    make(&x, &m->organization, out, out->organization);
    const struct sign_what what = {.purpose = KD_SIGN_MESSAGE,
                                   .source = &m->source,
                                   .begin = m->begin,
                                   .ones = x.ones,
                                   .n = x.n,
                                   .seal = seal,
                                   .ctx = &x};
    out->n_digests = x.n;
    return sign_octets(w->keys, &what);
}

/* --- all of it --- */

static kd_err
walk(struct work *w, const struct mail_outbound *in, struct mail_signed *out)
{
    uint32_t good;
    kd_err err = work_agree(w, &w->keys->opener, w->m->ephemeral, &out->key_used);

    if (err != KD_OK)
        return err;
    work_use(w, ~(uint32_t)0);
    if ((err = judge(w, in, out, &good)) != KD_OK)
        return err;
    return good != 0 ? sign_all(w, out) : KD_INVALID;
}

/* Nothing is left of a signature that is not to be released. */
static void
take_back(struct mail_signed *out)
{
    const struct mail_signed left = {.key_used = out->key_used, .flaw = out->flaw};

    kd_secret_wipe(out, sizeof *out);
    *out = left;
}

kd_err
mail_sign_outbound(const struct mail_keys *k, const struct dime_source *source,
                   const struct mail_outbound *in, struct mail_signed *out)
{
    struct dime_message m;
    struct work w;
    kd_err err;

    *out = (struct mail_signed){.flaw = DIME_FLAW_NONE};
    if ((err = dime_message_parse(source, in->max, &m, &out->flaw)) != KD_OK)
        return err;
    if (!is_fit(k, &m, in))
        return KD_INVALID;
    if ((err = work_begin(&w, k, &m)) == KD_OK)
        err = walk(&w, in, out);
    work_end(&w);
    if (err != KD_OK)
        take_back(out);
    return err;
}
