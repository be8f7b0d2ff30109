#include <dime/bounce.h>

#include "chunk.h"
#include "seal.h"

#include <dime/ed25519_verifier.h>
#include <dime/message_verify.h>
#include <keyd/base/secret.h>

#include <stdlib.h>

enum {
    FIXED_ROOM = 256,
    PIECE = 64 << 10,
    REPORT_PAYLOAD_MAX = 8192, /* the longest report and the most of any padding */
};

/* --- parsing --- */

/* The table has the order, and there is no chunk that may be left out. */
static kd_err
read_outer(struct dime_bounce *b, enum dime_flaw *why)
{
    struct dime_chunk *const places[] = {NULL, &b->report, &b->back, &b->organization};
    static const uint8_t types[] = {DIME_BOUNCE_EPHEMERAL, DIME_BOUNCE_REPORT,
                                    DIME_BOUNCE_RETURN, DIME_BOUNCE_ORGANIZATION};
    struct dime_message *m = &b->outer;
    kd_err err;

    if ((err = message_read_header(m, DIME_MAGIC_BOUNCE, why)) != KD_OK ||
        (err = message_read_chunks(m, why)) != KD_OK)
        return err;
    uint64_t at = m->begin;
    for (size_t i = 0; i < sizeof types; i++) {
        struct dime_chunk c;
        *why = i + 1 == sizeof types ? DIME_FLAW_UNSIGNED : DIME_FLAW_MISSING;
        if (!dime_message_next(m, &at, m->end, &c, &err))
            return err == KD_OK ? KD_MALFORMED : err;
        if (c.def->type != types[i])
            return KD_MALFORMED;
        if (places[i] != NULL)
            *places[i] = c;
    }
    return message_read_ephemeral(m, why);
}

static bool
is_envelope_whole(const struct dime_message *m)
{
    return m->origin.def != NULL && m->destination.def != NULL && m->common.def != NULL;
}

static bool
is_whole(const struct dime_message *m)
{
    return message_find_missing(m) == DIME_FLAW_NONE;
}

/* Which part has these chunks and no others. */
static enum dime_return
part_of(const struct dime_message *m)
{
    bool metadata = m->metadata_bounce.def != NULL;
    bool display = m->display_bounce.def != NULL;

    if (is_whole(m))
        return DIME_RETURN_MESSAGE;
    if (!is_envelope_whole(m) || m->n_attached != 0 || m->tree.def != NULL ||
        m->author.def != NULL || m->organization.def != NULL || metadata == display)
        return DIME_RETURN_COUNT;
    if (metadata)
        return m->n_display == 0 ? DIME_RETURN_METADATA : DIME_RETURN_COUNT;
    return m->n_display > 0 ? DIME_RETURN_DISPLAY : DIME_RETURN_COUNT;
}

static kd_err
read_returned(struct dime_bounce *b, enum dime_flaw *why)
{
    struct dime_message *m = &b->returned;
    kd_err err;

    *m = (struct dime_message){.source = b->outer.source,
                               .defs = chunk_defs_message,
                               .begin = dime_chunk_payload(&b->back),
                               .end = dime_chunk_end(&b->back)};
    if ((err = message_read_chunks(m, why)) != KD_OK)
        return err;
    *why = DIME_FLAW_MISSING;
    if ((b->part = part_of(m)) == DIME_RETURN_COUNT)
        return KD_MALFORMED;
    return message_read_ephemeral(m, why);
}

kd_err
dime_bounce_parse(const struct dime_source *source, uint64_t max,
                  struct dime_bounce *out, enum dime_flaw *why)
{
    struct dime_bounce b = {.outer = {.source = *source, .defs = chunk_defs_bounce}};
    enum dime_flaw unused, *flaw = why == NULL ? &unused : why;
    kd_err err;

    *flaw = DIME_FLAW_TOO_LARGE;
    if (source->n > max)
        return KD_TOO_LARGE;
    if ((err = read_outer(&b, flaw)) != KD_OK ||
        (err = read_returned(&b, flaw)) != KD_OK)
        return err;
    *flaw = DIME_FLAW_NONE;
    *out = b;
    return KD_OK;
}

/* --- signatures --- */

static kd_err
verify_outer(const struct dime_bounce *b, const uint8_t sig[DIME_SIG_SIZE],
             const uint8_t key[DIME_ED25519_KEY_SIZE], uint8_t *buffer)
{
    struct dime_ed25519_verifier v;
    struct kd_slice octets;

    dime_ed25519_verifier_init(&v, key, sig);
    for (uint64_t at = b->outer.begin; at < b->organization.at; at += octets.n) {
        uint64_t left = b->organization.at - at;
        kd_err err = dime_source_view(
            &b->outer.source, at, left < PIECE ? (size_t)left : PIECE, buffer, &octets);
        if (err != KD_OK) {
            dime_ed25519_verifier_clear(&v);
            return err;
        }
        dime_ed25519_verifier_add(&v, octets);
    }
    return dime_ed25519_verifier_end(&v);
}

kd_err
dime_bounce_verify(const struct dime_bounce *b,
                   const uint8_t (*keys)[DIME_ED25519_KEY_SIZE], size_t n_keys)
{
    uint8_t sig[DIME_SIG_SIZE], *buffer = NULL;
    kd_err err;

    err = dime_source_read(&b->outer.source, dime_chunk_payload(&b->organization), sig,
                           sizeof sig);
    if (err != KD_OK)
        return err;
    if (b->outer.source.p == NULL && (buffer = malloc(PIECE)) == NULL)
        return KD_NOMEM;
    err = KD_INVALID;
    for (size_t i = 0; i < n_keys && err == KD_INVALID; i++)
        err = verify_outer(b, sig, keys[i], buffer);
    free(buffer);
    return err;
}

static kd_err
open_signature(const struct dime_bounce *b, const struct dime_kek *kek,
               uint8_t sig[DIME_SIG_SIZE])
{
    const struct dime_chunk *c =
        dime_message_chunk(&b->returned, dime_return_signature_type(b->part));
    struct dime_chunk_key *key = kd_secret_new(sizeof *key);
    kd_err err;

    if (key == NULL)
        return KD_NOMEM;
    err = dime_chunk_key_of(&b->returned, c, DIME_ORIGIN, kek, key);
    if (err == KD_OK)
        err = dime_signature_open(&b->returned, c, key, sig);
    kd_secret_free(key, sizeof *key);
    return err;
}

kd_err
dime_bounce_verify_return(const struct dime_bounce *b, const struct dime_kek *kek,
                          const uint8_t (*keys)[DIME_ED25519_KEY_SIZE], size_t n_keys)
{
    uint8_t sig[DIME_SIG_SIZE];
    const struct dime_claim claim = {.sig = sig, .keys = keys, .n_keys = n_keys};
    struct dime_claims claims = {.tree = {.sig = NULL}};
    struct dime_verdicts v;
    kd_err err;

    if ((err = open_signature(b, kek, sig)) != KD_OK)
        goto out;
    if (b->part == DIME_RETURN_METADATA)
        claims.metadata_bounce = claim;
    else if (b->part == DIME_RETURN_DISPLAY)
        claims.display_bounce = claim;
    else
        claims.organization = claim;
    if ((err = dime_message_verify(&b->returned, &claims, &v)) != KD_OK)
        goto out;
    err = v.metadata_bounce == DIME_VERDICT_GOOD ||
                  v.display_bounce == DIME_VERDICT_GOOD ||
                  v.organization == DIME_VERDICT_GOOD
              ? KD_OK
              : KD_INVALID;
out:
    kd_secret_wipe(sig, sizeof sig); /* of a forgery: whatever was moved there */
    return err;
}

/* --- the report --- */

static kd_err
open_report(const struct dime_bounce *b, const struct dime_kek *kek,
            const uint8_t by[DIME_ED25519_KEY_SIZE], struct kd_buf *text)
{
    struct dime_chunk_key *key;
    struct dime_payload payload;
    kd_err err;

    if (b->report.size > REPORT_PAYLOAD_MAX)
        return KD_INVALID;
    if ((key = kd_secret_new(sizeof *key)) == NULL)
        return KD_NOMEM;
    err = dime_chunk_key_of(&b->outer, &b->report, DIME_ORIGIN, kek, key);
    if (err == KD_OK)
        err = dime_payload_open(&b->outer, &b->report, key, by, &payload, text);
    kd_secret_free(key, sizeof *key);
    return err;
}

kd_err
dime_bounce_report(const struct dime_bounce *b, const struct dime_kek *kek,
                   const uint8_t by[DIME_ED25519_KEY_SIZE], struct dime_report *out,
                   struct kd_buf *text)
{
    size_t start = text->n;
    struct dime_report r;
    kd_err err;

    if ((err = open_report(b, kek, by, text)) != KD_OK)
        return err;
    if (dime_report_parse(kd_slice(text->p + start, text->n - start), &r) != KD_OK ||
        r.part != b->part) {
        text->n = start;
        return KD_INVALID;
    }
    *out = r;
    return KD_OK;
}

/* --- building --- */

/* The chunks that are returned, less the signature, end here. */
static uint64_t
returned_until(const struct dime_message *m, const struct dime_chunk *signature,
               enum dime_return part)
{
    return part == DIME_RETURN_MESSAGE
               ? signature->at
               : dime_message_signed_until(m, signature->def->type);
}

static kd_err
build(const struct dime_bounce_plan *plan, struct kd_slice report, struct kd_buf *out)
{
    const struct dime_message *m = plan->message;
    enum dime_return part = plan->report->part;
    const struct dime_chunk *signature =
        dime_message_chunk(m, dime_return_signature_type(part));
    struct sealer s;

    if (signature == NULL)
        return KD_NOT_FOUND;
    uint64_t until = returned_until(m, signature, part);
    uint64_t size = until - m->begin + (dime_chunk_end(signature) - signature->at);
    if (size > DIME_RETURN_MAX)
        return KD_TOO_LARGE;
    seal_begin(&s, DIME_MAGIC_BOUNCE, chunk_defs_bounce, NULL, NULL, out,
               FIXED_ROOM + seal_room(report.n, 1) + (size_t)size);
    s.signer = plan->organization;
    seal_for(&s, DIME_ORIGIN, plan->origin);
    seal_ephemeral(&s, NULL);
    seal_slice(&s, DIME_BOUNCE_REPORT, report);
    seal_copy(&s, DIME_BOUNCE_RETURN, &m->source, m->begin, until, signature);
    seal_signature(&s, DIME_BOUNCE_ORGANIZATION);
    return seal_end(&s);
}

kd_err
dime_bounce_build(const struct dime_bounce_plan *plan, struct kd_buf *out)
{
    struct kd_buf report;

    if (plan->origin == NULL)
        return KD_INVALID;
    kd_buf_init(&report, DIME_REPORT_MAX);
    kd_err err = dime_report_put(plan->report, &report);
    if (err == KD_OK)
        err = build(plan, kd_buf_slice(&report), out);
    kd_buf_free(&report);
    return err;
}
