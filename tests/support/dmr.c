#include "dmr.h"

#include <keyd/base/secret.h>

#include <stdio.h>
#include <stdlib.h>

static const uint8_t texts[] = {4, 5, 33, 34}, signatures[] = {225, 226, 248, 249, 255};

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "test support: %s\n", what);
        abort();
    }
}

/* The origin does not know the author before chunk 4, the destination never. */
static kd_err
open_text(struct dmr *r, const struct dime_chunk *c, const struct dime_chunk_key *key,
          const uint8_t *author)
{
    struct kd_buf *text = &r->text[c->def->type];
    struct dime_payload unused;

    if (r->actor == DIME_ORIGIN || r->actor == DIME_DESTINATION)
        return dime_envelope_payload_open(&r->m, c, key, text);
    return dime_payload_open(&r->m, c, key, author, &unused, text);
}

static void
open_chunk(struct dmr *r, uint8_t type, const uint8_t *author)
{
    const struct dime_chunk *c = dime_message_chunk(&r->m, type);
    struct dime_chunk_key *key = kd_secret_new(sizeof *key);
    kd_err err = KD_NOT_FOUND;

    must(key != NULL, "secret memory");
    if (c != NULL)
        err = dime_chunk_key_of(&r->m, c, r->actor, r->kek, key);
    if (err == KD_OK && c->def->form == DIME_FORM_SIGNATURE)
        err = dime_signature_open(&r->m, c, key, r->sig[type]);
    else if (err == KD_OK)
        err = open_text(r, c, key, author);
    r->opened[type] = err;
    kd_secret_free(key, sizeof *key);
}

static struct dime_claim
claim(const struct dmr *r, uint8_t type, const uint8_t (*keys)[32], size_t n_keys)
{
    return (struct dime_claim){.sig = r->opened[type] == KD_OK ? r->sig[type] : NULL,
                               .keys = keys,
                               .n_keys = n_keys};
}

static void
verify(struct dmr *r, const struct dmr_keys *keys)
{
    uint8_t author[1][32];

    memcpy(author[0], keys->author, 32);
    const uint8_t(*by)[32] = (const uint8_t(*)[32])author;
    const uint8_t(*org)[32] = (const uint8_t(*)[32])keys->org;
    const struct dime_claims claims = {
        .tree = claim(r, 225, by, 1),
        .author = claim(r, 226, by, 1),
        .metadata_bounce = claim(r, 248, org, keys->n_org),
        .display_bounce = claim(r, 249, org, keys->n_org),
        .organization = claim(r, 255, org, keys->n_org),
        .vouching = true,
    };
    must(dime_message_verify(&r->m, &claims, &r->verdicts) == KD_OK, "verify");
}

static kd_err
keep(void *ctx, struct kd_slice piece)
{
    struct kd_buf *data = ctx;

    kd_buf_put(data, piece);
    return data->err;
}

static void
walk(struct dmr *r, const struct dmr_keys *keys)
{
    const struct dime_reader reader = {.m = &r->m,
                                       .actor = r->actor,
                                       .kek = r->kek,
                                       .author = keys->author,
                                       .vouched =
                                           r->verdicts.author == DIME_VERDICT_GOOD};
    uint64_t at = r->m.display;
    struct dime_span span;

    while (dime_span_next(&reader, &at, r->m.signs, &span, &r->walked)) {
        must(r->n_parts < DMR_PARTS_MAX, "too many parts");
        struct dmr_part *p = &r->parts[r->n_parts++];
        p->span = span;
        kd_buf_init(&p->data, UINT32_MAX);
        r->n_good += span.state == DIME_SPAN_GOOD;
        r->n_corrupt += span.state == DIME_SPAN_CORRUPT;
        r->rejects |= span.rejects;
        if (span.state == DIME_SPAN_GOOD)
            must(dime_span_read(&reader, &span, keep, &p->data) == KD_OK &&
                     p->data.n == span.size,
                 "a good part is read");
    }
}

void
dmr_open(const struct dime_source *source, uint64_t limit, enum dime_actor actor,
         const uint8_t scalar[32], const struct dmr_keys *keys, struct dmr *out)
{
    *out = (struct dmr){.actor = actor};
    out->parsed = dime_message_parse(source, limit == 0 ? DIME_MESSAGE_MAX : limit,
                                     &out->m, &out->flaw);
    if (out->parsed != KD_OK)
        return;
    must((out->kek = kd_secret_new(sizeof *out->kek)) != NULL, "secret memory");
    must(dime_kek_agree(scalar, out->m.ephemeral, out->kek) == KD_OK, "KEK");
    for (size_t i = 0; i < sizeof texts; i++) {
        kd_buf_init(&out->text[texts[i]], DIME_DATA_MAX);
        open_chunk(out, texts[i], keys->author);
    }
    for (size_t i = 0; i < sizeof signatures; i++)
        open_chunk(out, signatures[i], NULL);
    verify(out, keys);
    walk(out, keys);
}

static bool
text_is_good(const struct dmr *r, uint8_t type)
{
    bool absent = type == 34 && r->opened[type] == KD_NOT_FOUND;

    return r->opened[type] == KD_OK || absent;
}

bool
dmr_accepts(const struct dmr *r)
{
    bool tree = r->verdicts.tree == DIME_VERDICT_GOOD ||
                r->verdicts.tree == DIME_VERDICT_LEGACY;
    bool author = tree && r->verdicts.author == DIME_VERDICT_GOOD;
    bool org = r->verdicts.organization == DIME_VERDICT_GOOD;
    bool content = r->parsed == KD_OK && text_is_good(r, 4) && text_is_good(r, 5) &&
                   text_is_good(r, 33) && text_is_good(r, 34) && r->walked == KD_OK &&
                   !r->rejects;

    if (r->parsed != KD_OK)
        return false;
    switch (r->actor) {
    case DIME_AUTHOR:
        return author && content;
    case DIME_ORIGIN:
        return author && text_is_good(r, 4);
    case DIME_DESTINATION:
        return org && text_is_good(r, 5);
    case DIME_RECIPIENT:
        return author && org && content;
    case DIME_ACTOR_COUNT:
        break;
    }
    return false;
}

void
dmr_free(struct dmr *r)
{
    for (size_t i = 0; i < sizeof texts; i++)
        kd_buf_free(&r->text[texts[i]]);
    for (size_t i = 0; i < r->n_parts; i++)
        kd_buf_free(&r->parts[i].data);
    kd_secret_free(r->kek, sizeof *r->kek);
    *r = (struct dmr){.n_parts = 0};
}
