#include <dime/span.h>

#include "payload.h"

#include <keyd/base/secret.h>

/* The piece's key, in secret memory; the caller's to free. */
static kd_err
key_of(const struct dime_reader *r, const struct dime_chunk *c,
       struct dime_chunk_key **out)
{
    struct dime_chunk_key *key = kd_secret_new(sizeof *key);

    if (key == NULL)
        return KD_NOMEM;
    kd_err err = dime_chunk_key_of(r->m, c, r->actor, r->kek, key);
    if (err == KD_OK)
        *out = key;
    else
        kd_secret_free(key, sizeof *key);
    return err;
}

static struct payload_author
author_of(const struct dime_reader *r)
{
    return (struct payload_author){.key = r->author, .vouched = r->vouched};
}

static kd_err
judge(const struct dime_reader *r, const struct dime_chunk *c,
      struct payload_said *said)
{
    struct dime_chunk_key *key;
    kd_err err = key_of(r, c, &key);

    if (err != KD_OK)
        return err;
    err = payload_judge(r->m, c, key, author_of(r), said);
    kd_secret_free(key, sizeof *key);
    return err;
}

kd_err
dime_reader_open(const struct dime_reader *r, const struct dime_chunk *c,
                 struct dime_payload *out, struct kd_buf *data)
{
    struct dime_chunk_key *key;
    kd_err err = key_of(r, c, &key);

    if (err != KD_OK)
        return err;
    err = payload_open(r->m, c, key, author_of(r), out, data);
    kd_secret_free(key, sizeof *key);
    return err;
}

/* What the pieces so far make. */
struct sum {
    bool corrupt;
    bool more; /* the last one continues */
    uint8_t flags;
};

/* KD_OK for a corrupt piece too. */
static kd_err
add_piece(const struct dime_reader *r, const struct dime_chunk *c,
          struct dime_span *out, struct sum *sum)
{
    struct payload_said said;
    kd_err err = judge(r, c, &said);

    if (err != KD_OK && err != KD_INVALID)
        return err;
    uint8_t flags = said.flags & (uint8_t)~DIME_PAYLOAD_CONTINUES;
    if (out->n == 0)
        sum->flags = flags;
    sum->corrupt |= err != KD_OK || flags != sum->flags;
    /* Of a corrupt piece this only says that more is to be passed over. */
    sum->more = said.more;
    out->rejects |= said.empty;
    out->n++;
    out->end = dime_chunk_end(c);
    if (err == KD_OK)
        out->size += said.size;
    return KD_OK;
}

static void
conclude(struct dime_span *out, const struct sum *sum)
{
    if (sum->corrupt || sum->more ||
        (out->n > DIME_SPAN_PIECES && out->size <= DIME_SPAN_LARGE)) {
        out->state = DIME_SPAN_CORRUPT;
        out->size = 0;
        return;
    }
    out->state =
        (sum->flags & DIME_PAYLOAD_ALT_KEY) != 0 ? DIME_SPAN_NEEDS_KEY : DIME_SPAN_GOOD;
    out->flags = sum->flags;
}

bool
dime_span_next(const struct dime_reader *r, uint64_t *at, uint64_t until,
               struct dime_span *out, kd_err *err)
{
    struct dime_span span = {.n = 0};
    struct sum sum = {.more = true};
    struct dime_chunk c;
    uint64_t next = *at;

    while (sum.more && dime_message_next(r->m, &next, until, &c, err)) {
        if (span.n == 0)
            span.first = c;
        else if (c.def != span.first.def)
            break; /* what continues is not there; this one is a part of its own */
        if ((*err = add_piece(r, &c, &span, &sum)) != KD_OK)
            return false;
    }
    if (span.n == 0 || *err != KD_OK)
        return false;
    conclude(&span, &sum);
    *at = span.end;
    *out = span;
    return true;
}

kd_err
dime_span_read(const struct dime_reader *r, const struct dime_span *s, dime_sink sink,
               void *ctx)
{
    struct dime_chunk c;
    kd_err err = KD_OK;

    if (s->state != DIME_SPAN_GOOD)
        return KD_INVALID;
    for (uint64_t at = s->first.at; dime_message_next(r->m, &at, s->end, &c, &err);) {
        struct dime_chunk_key *key;
        if ((err = key_of(r, &c, &key)) != KD_OK)
            return err;
        err = payload_give(r->m, &c, key, NULL, sink, ctx);
        kd_secret_free(key, sizeof *key);
        if (err != KD_OK)
            return err;
    }
    return err;
}
