#include <dime/message_verify.h>

#include "message_verify_small.h"
#include "sha512.h"

#include <dime/ed25519_verifier.h>
#include <stdlib.h>

enum { PIECE = 64 << 10, HASH = 64 };

/* --- what lies under what --- */

bool
dime_message_is_signed_by(const struct dime_chunk *c, uint8_t signature_type)
{
    switch (signature_type) {
    case DIME_CHUNK_METADATA_BOUNCE:
        return c->def->section <= DIME_SECTION_METADATA;
    case DIME_CHUNK_DISPLAY_BOUNCE:
        return c->def->section <= DIME_SECTION_DISPLAY;
    case DIME_CHUNK_AUTHOR_TREE:
    case DIME_CHUNK_AUTHOR:
    case DIME_CHUNK_ORGANIZATION:
        return c->def->type < signature_type;
    default:
        return false;
    }
}

uint64_t
dime_message_signed_until(const struct dime_message *m, uint8_t signature_type)
{
    switch (signature_type) {
    case DIME_CHUNK_METADATA_BOUNCE:
        return m->display;
    case DIME_CHUNK_DISPLAY_BOUNCE:
        return m->attached;
    case DIME_CHUNK_AUTHOR_TREE:
        return m->signs;
    case DIME_CHUNK_AUTHOR:
        return dime_chunk_end(&m->tree);
    case DIME_CHUNK_ORGANIZATION:
        return m->organization.def == NULL ? m->end : m->organization.at;
    default:
        return m->begin;
    }
}

/* --- one reading for all of them, of a large message or a file --- */

/* A claim under one of its keys. */
struct running {
    struct dime_ed25519_verifier verifier;
    uint8_t type;
    bool legacy; /* the tree as libdime makes it */
    enum dime_message_verdict *verdict;
};

struct job {
    const struct dime_message *m;
    struct running *running;
    size_t n;
    bool hashes; /* of chunks are needed */
    struct sha512 chunk;
    uint8_t *buffer; /* for a file */
};

static size_t
count(const struct dime_claim *c)
{
    return c->sig == NULL ? 0 : c->n_keys;
}

static void
start(struct job *j, const struct dime_claim *c, uint8_t type, bool legacy,
      enum dime_message_verdict *verdict)
{
    if (c->sig == NULL || dime_message_chunk(j->m, type) == NULL)
        return;
    *verdict = DIME_VERDICT_BAD; /* until one key is right */
    for (size_t i = 0; i < c->n_keys; i++) {
        struct running *r = &j->running[j->n++];
        r->type = type;
        r->legacy = legacy;
        r->verdict = verdict;
        dime_ed25519_verifier_init(&r->verifier, c->keys[i], c->sig);
    }
    j->hashes |= type == DIME_CHUNK_AUTHOR_TREE;
}

/* The tree signs hashes; libdime's leaves out the destination's (D-115). */
static void
add_hash(struct job *j, const struct dime_chunk *c)
{
    uint8_t hash[HASH];

    sha512_final(&j->chunk, hash);
    for (size_t i = 0; i < j->n; i++) {
        struct running *r = &j->running[i];
        if (r->type != DIME_CHUNK_AUTHOR_TREE ||
            (r->legacy && c->def->type == DIME_CHUNK_DESTINATION))
            continue;
        dime_ed25519_verifier_add(&r->verifier, kd_slice(hash, sizeof hash));
    }
}

static void
add_octets(struct job *j, const struct dime_chunk *c, struct kd_slice octets,
           bool in_tree)
{
    if (in_tree)
        sha512_add(&j->chunk, octets.p, octets.n);
    for (size_t i = 0; i < j->n; i++) {
        struct running *r = &j->running[i];
        if (r->type != DIME_CHUNK_AUTHOR_TREE && dime_message_is_signed_by(c, r->type))
            dime_ed25519_verifier_add(&r->verifier, octets);
    }
}

static kd_err
read_chunk(struct job *j, const struct dime_chunk *c)
{
    bool in_tree = j->hashes && dime_message_is_signed_by(c, DIME_CHUNK_AUTHOR_TREE);
    uint64_t end = dime_chunk_end(c);
    struct kd_slice octets;
    kd_err err;

    if (in_tree)
        sha512_init(&j->chunk);
    for (uint64_t at = c->at; at < end; at += octets.n) {
        size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;
        err = dime_source_view(&j->m->source, at, n, j->buffer, &octets);
        if (err != KD_OK)
            return err;
        add_octets(j, c, octets, in_tree);
    }
    if (in_tree)
        add_hash(j, c);
    return KD_OK;
}

static uint64_t
needed_until(const struct job *j)
{
    uint64_t until = j->m->begin;

    for (size_t i = 0; i < j->n; i++) {
        uint64_t end = dime_message_signed_until(j->m, j->running[i].type);
        until = end > until ? end : until;
    }
    return until;
}

static kd_err
read_message(struct job *j)
{
    uint64_t until = needed_until(j);
    struct dime_chunk c;
    kd_err err = KD_OK;

    for (uint64_t at = j->m->begin; dime_message_next(j->m, &at, until, &c, &err);)
        if ((err = read_chunk(j, &c)) != KD_OK)
            break;
    return err;
}

/* right: the verdict on the right form of the tree, which comes before libdime's. */
static void
decide(struct job *j, const enum dime_message_verdict *right)
{
    static const uint8_t left_empty[HASH]; /* libdime's last place */

    for (size_t i = 0; i < j->n; i++) {
        struct running *r = &j->running[i];
        if (r->legacy && *right != DIME_VERDICT_BAD)
            continue;
        if (r->legacy)
            dime_ed25519_verifier_add(&r->verifier,
                                      kd_slice(left_empty, sizeof left_empty));
        if (dime_ed25519_verifier_end(&r->verifier) == KD_OK)
            *r->verdict = DIME_VERDICT_GOOD;
    }
}

static kd_err
run(struct job *j, const struct dime_claims *c, struct dime_verdicts *out)
{
    struct dime_verdicts v = {.tree = DIME_VERDICT_NOT_ASKED};
    enum dime_message_verdict legacy = DIME_VERDICT_NOT_ASKED;
    kd_err err;

    start(j, &c->tree, DIME_CHUNK_AUTHOR_TREE, false, &v.tree);
    start(j, &c->tree, DIME_CHUNK_AUTHOR_TREE, true, &legacy);
    start(j, &c->author, DIME_CHUNK_AUTHOR, false, &v.author);
    start(j, &c->metadata_bounce, DIME_CHUNK_METADATA_BOUNCE, false,
          &v.metadata_bounce);
    start(j, &c->display_bounce, DIME_CHUNK_DISPLAY_BOUNCE, false, &v.display_bounce);
    start(j, &c->organization, DIME_CHUNK_ORGANIZATION, false, &v.organization);
    if ((err = read_message(j)) != KD_OK)
        return err;
    decide(j, &v.tree);
    if (v.tree == DIME_VERDICT_BAD && legacy == DIME_VERDICT_GOOD &&
        v.author == DIME_VERDICT_GOOD)
        v.tree = DIME_VERDICT_LEGACY;
    *out = v;
    return KD_OK;
}

kd_err
dime_message_verify(const struct dime_message *m, const struct dime_claims *claims,
                    struct dime_verdicts *out)
{
    size_t n = 2 * count(&claims->tree) + count(&claims->author) +
               count(&claims->metadata_bounce) + count(&claims->display_bounce) +
               count(&claims->organization);
    struct job j = {.m = m};
    kd_err err = KD_NOMEM;

    if (message_is_small(m))
        return message_verify_small(m, claims, out);
    j.running = calloc(n == 0 ? 1 : n, sizeof *j.running);
    if (m->source.p == NULL)
        j.buffer = malloc(PIECE);
    if (j.running != NULL && (m->source.p != NULL || j.buffer != NULL))
        err = run(&j, claims, out);
    free(j.buffer);
    free(j.running);
    return err;
}
