#include "reading.h"

#include <dime/fingerprint.h>
#include <dime/gzip.h>
#include <dime/message_verify.h>
#include <dime/verify.h>
#include <keyd/base/secret.h>
#include <stdlib.h>

const uint8_t reading_signature_types[READING_SIGNATURES] = {
    DIME_CHUNK_AUTHOR_TREE, DIME_CHUNK_AUTHOR, DIME_CHUNK_METADATA_BOUNCE,
    DIME_CHUNK_DISPLAY_BOUNCE, DIME_CHUNK_ORGANIZATION};
const uint8_t reading_text_types[READING_TEXTS] = {
    DIME_CHUNK_ORIGIN, DIME_CHUNK_DESTINATION, DIME_CHUNK_COMMON, DIME_CHUNK_HEADERS};

enum { TREE, AUTHOR, METADATA, DISPLAY, ORGANIZATION };
enum { T_ORIGIN, T_DESTINATION, T_COMMON, T_HEADERS };

/* Where signatures are not good either, that is the more likely reason: the keys or
 * signets are others than the message's. */
static void
refuse_corrupt(struct reading *r)
{
    r->is_corrupt = true;
    if (r->refused == NULL)
        r->refused = "the message is corrupt";
}

const char *
reading_signature_name(enum reading_signature state)
{
    static const char *const names[] = {"absent", "closed", "unchecked", "placeholder",
                                        "bad",    "legacy", "good"};
    return names[state];
}

const char *
reading_part_name(enum reading_part_state state)
{
    static const char *const names[] = {"good", "corrupt", "alternate"};
    return names[state];
}

const char *
reading_agrees(const struct dime_signet *s, struct kd_slice fp)
{
    static const struct {
        enum dime_part part;
        const char *name;
    } kinds[] = {{DIME_PART_CORE, "core"}, {DIME_PART_FULL, "full"}};
    uint8_t own[DIME_FINGERPRINT_SIZE];
    char text[DIME_FINGERPRINT_CHARS + 1];

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (dime_fingerprint(s, kinds[i].part, own) != KD_OK)
            continue;
        dime_fingerprint_text(own, text);
        if (kd_slice_eq(fp, kd_slice(text, DIME_FINGERPRINT_CHARS)))
            return kinds[i].name;
    }
    return "none";
}

/* --- Keys ------------------------------------------------------------------------- */

static const uint8_t *
author_of(const struct reading *r)
{
    if (r->naked)
        return r->n.signer;
    if (r->actor == DIME_DESTINATION)
        return NULL; /* he cannot know (DM-90) */
    if (r->keys.author != NULL)
        return r->keys.author->sign_key;
    return r->actor == DIME_AUTHOR ? r->keys.own->sign_pk : NULL;
}

/* Keys that sign messages of the organization. */
struct org_keys {
    uint8_t keys[DIME_SOKS_MAX + 1][DIME_ED25519_KEY_SIZE];
    size_t n;
};

static void
org_keys_of(const struct reading *r, struct org_keys *out)
{
    const struct dime_signet *s = r->naked ? r->keys.destination : r->keys.origin;

    out->n = s == NULL ? 0 : dime_org_keys(s, DIME_PERM_MESSAGES, out->keys);
}

static kd_err
chunk_key(const struct reading *r, const struct dime_chunk *c,
          struct dime_chunk_key **out)
{
    struct dime_chunk_key *key = kd_secret_new(sizeof *key);

    if (key == NULL)
        return KD_NOMEM;
    kd_err err = dime_chunk_key_of(&r->n.m, c, r->actor, r->kek, key);
    if (err == KD_OK)
        *out = key;
    else
        kd_secret_free(key, sizeof *key);
    return err;
}

/* --- Signatures --------------------------------------------------------------------
 */

static kd_err
signature_read(const struct reading *r, const struct dime_chunk *c,
               uint8_t sig[DIME_SIG_SIZE])
{
    struct dime_chunk_key *key;
    kd_err err;

    if (c->def->form == DIME_FORM_CLEAR_SIGNATURE)
        return dime_naked_signature(&r->n, sig);
    if ((err = chunk_key(r, c, &key)) != KD_OK)
        return err;
    err = dime_signature_open(&r->n.m, c, key, sig);
    kd_secret_free(key, sizeof *key);
    return err;
}

/* Reads signature i; its state is UNCHECKED if it can be checked. */
static kd_err
signature_open(struct reading *r, size_t i, uint8_t sig[DIME_SIG_SIZE])
{
    static const uint8_t none[DIME_SIG_SIZE];
    const struct dime_chunk *c =
        dime_message_chunk(&r->n.m, reading_signature_types[i]);
    kd_err err = c == NULL ? KD_NOT_FOUND : signature_read(r, c, sig);

    if (err == KD_NOT_FOUND || err == KD_DENIED) {
        r->signatures[i] = err == KD_DENIED ? SIGNATURE_CLOSED : SIGNATURE_ABSENT;
        return KD_OK;
    }
    if (err != KD_OK)
        return err;
    r->signatures[i] = memcmp(sig, none, DIME_SIG_SIZE) == 0 ? SIGNATURE_PLACEHOLDER
                                                             : SIGNATURE_UNCHECKED;
    return KD_OK;
}

static void
take_verdict(enum reading_signature *state, enum dime_message_verdict verdict)
{
    switch (verdict) {
    case DIME_VERDICT_NOT_ASKED:
        break;
    case DIME_VERDICT_GOOD:
        *state = SIGNATURE_GOOD;
        break;
    case DIME_VERDICT_LEGACY:
        *state = SIGNATURE_LEGACY;
        break;
    case DIME_VERDICT_BAD:
        *state = SIGNATURE_BAD;
        break;
    }
}

static kd_err
check_signatures(struct reading *r)
{
    uint8_t sig[READING_SIGNATURES][DIME_SIG_SIZE];
    uint8_t author[1][DIME_ED25519_KEY_SIZE];
    struct org_keys org;
    struct dime_claim claim[READING_SIGNATURES] = {0};
    struct dime_verdicts v;
    kd_err err;

    org_keys_of(r, &org);
    if (r->author != NULL)
        memcpy(author[0], r->author, sizeof author[0]);
    for (size_t i = 0; i < READING_SIGNATURES; i++) {
        bool of_author = i == TREE || i == AUTHOR;
        if ((err = signature_open(r, i, sig[i])) != KD_OK)
            return err;
        if (r->signatures[i] != SIGNATURE_UNCHECKED ||
            (of_author ? r->author == NULL : org.n == 0))
            continue;
        claim[i].sig = sig[i];
        claim[i].keys =
            (const uint8_t(*)[DIME_ED25519_KEY_SIZE])(of_author ? author : org.keys);
        claim[i].n_keys = of_author ? 1 : org.n;
    }
    const struct dime_claims claims = {.tree = claim[TREE],
                                       .author = claim[AUTHOR],
                                       .metadata_bounce = claim[METADATA],
                                       .display_bounce = claim[DISPLAY],
                                       .organization = claim[ORGANIZATION],
                                       .vouching = true};
    if ((err = dime_message_verify(&r->n.m, &claims, &v)) != KD_OK)
        return err;
    take_verdict(&r->signatures[TREE], v.tree);
    take_verdict(&r->signatures[AUTHOR], v.author);
    take_verdict(&r->signatures[METADATA], v.metadata_bounce);
    take_verdict(&r->signatures[DISPLAY], v.display_bounce);
    take_verdict(&r->signatures[ORGANIZATION], v.organization);
    return KD_OK;
}

static bool
is_good(enum reading_signature s)
{
    return s == SIGNATURE_GOOD || s == SIGNATURE_LEGACY;
}

static bool
by_author(const struct reading *r)
{
    return is_good(r->signatures[TREE]) || is_good(r->signatures[AUTHOR]);
}

/* Whether content may be shown. The key that signs naked mail stands in it, so
 * anybody's is signed by its author: the domain that keeps it is who vouches for it
 * (D-173). */
static bool
is_vouched_for(const struct reading *r)
{
    return by_author(r) && (!r->naked || is_good(r->signatures[ORGANIZATION]));
}

/* Who goes on with what (D-087, D-088, D-100, D-118): NULL, or why not. */
static const char *
refusal(const struct reading *r)
{
    const enum reading_signature *s = r->signatures;
    bool unmade = s[ORGANIZATION] == SIGNATURE_UNCHECKED;

    switch (r->actor) {
    case DIME_ORIGIN: /* 255 is his own, and comes later */
        if (r->author == NULL)
            return "the author's signet is needed to check his signatures";
        return is_good(s[TREE]) && is_good(s[AUTHOR])
                   ? NULL
                   : "a signature of the author is not good";
    case DIME_DESTINATION:
        if (unmade)
            return "the origin's signet is needed to check its signature";
        if (s[ORGANIZATION] == SIGNATURE_PLACEHOLDER)
            return "the origin has not signed it yet";
        return is_good(s[ORGANIZATION]) ? NULL
                                        : "the origin's signature is not good: other "
                                          "keys or signets, or it was changed";
    case DIME_AUTHOR:
    case DIME_RECIPIENT:
    case DIME_ACTOR_COUNT:
        break;
    }
    if (r->author == NULL)
        return "the author's signet is needed to check his signatures";
    if (!by_author(r))
        return "no signature of the author is good: other keys or signets, or it was "
               "changed";
    if (r->naked && unmade)
        return "the signet of the domain that keeps it is needed to check its "
               "signature";
    if (r->actor == DIME_RECIPIENT && s[ORGANIZATION] == SIGNATURE_PLACEHOLDER)
        return "the origin has not signed it yet";
    if (r->actor == DIME_RECIPIENT && !unmade && !is_good(s[ORGANIZATION]))
        return r->naked ? "the signature of the domain that keeps it is not good"
                        : "the origin's signature is not good";
    return NULL;
}

static struct dime_reader
reader_of(const struct reading *r)
{
    return (struct dime_reader){.m = &r->n.m,
                                .actor = r->actor,
                                .kek = r->kek,
                                .author = r->author,
                                .vouched = r->signatures[AUTHOR] == SIGNATURE_GOOD};
}

/* --- Texts: envelope and metadata ---------------------------------------------------
 */

static kd_err
inflate(struct kd_buf *text)
{
    struct kd_buf out;

    kd_buf_init(&out, DIME_DATA_MAX);
    kd_err err = dime_gunzip(kd_buf_slice(text), DIME_DATA_MAX, &out);
    if (err == KD_OK) {
        kd_buf_free(text);
        *text = out;
    } else {
        kd_buf_free(&out);
    }
    return err;
}

/* The alternate key is a user's: organizations, which read the envelope, have none, so
 * what is encrypted for it there is corrupt to everybody. Text is never continued. */
static bool
waits_for_key(size_t i, uint8_t flags)
{
    bool of_users = i == T_COMMON || i == T_HEADERS;

    return of_users && (flags & DIME_PAYLOAD_ALT_KEY) != 0 &&
           (flags & DIME_PAYLOAD_CONTINUES) == 0;
}

/* Of a chunk that did not open: whether the alternate key is all that lacks. */
static kd_err
why_not_open(const struct reading *r, size_t i, const struct dime_chunk *c,
             const struct dime_chunk_key *key)
{
    struct dime_payload said;
    kd_err err = dime_payload_check(&r->n.m, c, key, r->author, &said, NULL);

    if (err != KD_OK)
        return err;
    return waits_for_key(i, said.flags) ? KD_UNSUPPORTED : KD_INVALID;
}

/* Where the author is known. */
static kd_err
signed_text_open(struct reading *r, size_t i, const struct dime_chunk *c,
                 const struct dime_chunk_key *key)
{
    const struct dime_reader reader = reader_of(r);
    struct dime_payload said;
    kd_err err = dime_reader_open(&reader, c, &said, &r->text[i]);

    if (err == KD_INVALID)
        return why_not_open(r, i, c, key);
    if (err != KD_OK || (said.flags & DIME_PAYLOAD_GZIP) == 0)
        return err;
    return inflate(&r->text[i]);
}

/* KD_INVALID if it is corrupt, KD_UNSUPPORTED if it needs another key. */
static kd_err
text_open(struct reading *r, size_t i, const struct dime_chunk *c)
{
    struct dime_chunk_key *key;
    kd_err err = chunk_key(r, c, &key);

    if (err != KD_OK)
        return err;
    if (r->author != NULL)
        err = signed_text_open(r, i, c, key);
    else if (i == T_ORIGIN || i == T_DESTINATION)
        err = dime_envelope_payload_open(&r->n.m, c, key, &r->text[i]);
    else
        err = KD_DENIED;
    kd_secret_free(key, sizeof *key);
    return err;
}

static kd_err
text_parse(struct reading *r, size_t i)
{
    struct kd_slice text = kd_buf_slice(&r->text[i]);
    kd_err err;

    switch (i) {
    case T_ORIGIN:
        err = dime_envelope_parse(DIME_ENVELOPE_ORIGIN, text, &r->origin);
        r->has_origin = err == KD_OK;
        return err;
    case T_DESTINATION:
        err = dime_envelope_parse(DIME_ENVELOPE_DESTINATION, text, &r->destination);
        r->has_destination = err == KD_OK;
        return err;
    case T_COMMON:
        err = dime_common_parse(text, &r->common);
        r->has_common = err == KD_OK;
        return err;
    default:
        return KD_OK;
    }
}

/* Metadata is content: each chunk is signed by its author, but may have been lifted
 * from another message of his (D-100). */
static kd_err
withhold(struct reading *r, size_t i)
{
    if ((i != T_COMMON && i != T_HEADERS) || is_vouched_for(r))
        return KD_OK;
    r->has_common = false;
    return KD_DENIED;
}

static kd_err
read_text(struct reading *r, size_t i)
{
    const struct dime_chunk *c = dime_message_chunk(&r->n.m, reading_text_types[i]);
    kd_err err;

    if (c == NULL)
        return KD_OK;
    if ((err = text_open(r, i, c)) == KD_OK)
        err = text_parse(r, i);
    if (err == KD_OK)
        err = withhold(r, i);
    if (err == KD_OK) {
        r->texts[i] = TEXT_OPEN;
    } else if (err == KD_DENIED) {
        r->texts[i] = TEXT_CLOSED;
    } else if (err == KD_UNSUPPORTED) {
        r->texts[i] = TEXT_ALTERNATE;
    } else if (err == KD_INVALID || err == KD_MALFORMED) {
        r->texts[i] = TEXT_CORRUPT;
        refuse_corrupt(r);
    } else {
        return err;
    }
    return KD_OK;
}

/* Chunk 3 is kept for a key that we do not have (D-123). It is a chunk of the envelope
 * all the same: one that its author did not make so is a corrupt message (DM-31,
 * D-125). */
static kd_err
check_alternate(struct reading *r)
{
    const struct dime_chunk *c = dime_message_chunk(&r->n.m, DIME_CHUNK_ALTERNATE);
    const uint8_t never = DIME_PAYLOAD_GZIP | DIME_PAYLOAD_CONTINUES;
    struct dime_chunk_key *key;
    struct dime_payload said;
    kd_err err;

    if (c == NULL || r->author == NULL)
        return KD_OK;
    if ((err = chunk_key(r, c, &key)) != KD_OK)
        return err == KD_DENIED ? KD_OK : err;
    err = dime_payload_check(&r->n.m, c, key, r->author, &said, NULL);
    kd_secret_free(key, sizeof *key);
    if (err == KD_OK && (said.flags & never) != 0)
        err = KD_INVALID;
    if (err != KD_INVALID)
        return err;
    refuse_corrupt(r);
    return KD_OK;
}

/* --- Parts ------------------------------------------------------------------------ */

struct unpacking {
    struct dime_gunzip *z;
    dime_sink sink;
    void *ctx;
};

static kd_err
unpack(void *ctx, struct kd_slice piece)
{
    const struct unpacking *u = ctx;

    return dime_gunzip_feed(u->z, piece, u->sink, u->ctx);
}

kd_err
reading_part_data(const struct reading *r, const struct reading_part *part,
                  dime_sink sink, void *ctx)
{
    const struct dime_reader reader = reader_of(r);
    struct unpacking u = {.sink = sink, .ctx = ctx};

    if ((part->span.flags & DIME_PAYLOAD_GZIP) == 0)
        return dime_span_read(&reader, &part->span, sink, ctx);
    kd_err err = dime_gunzip_new(part->span.size, READING_DATA_MAX, &u.z);
    if (err != KD_OK)
        return err;
    if ((err = dime_span_read(&reader, &part->span, unpack, &u)) == KD_OK)
        err = dime_gunzip_end(u.z);
    dime_gunzip_free(u.z);
    return err;
}

struct counting {
    uint64_t n, max;
};

static kd_err
count(void *ctx, struct kd_slice piece)
{
    struct counting *c = ctx;

    if (piece.n > c->max - c->n)
        return KD_INVALID;
    c->n += piece.n;
    return KD_OK;
}

/* Of a good span: whether its data is, and how much there is. What all parts together
 * may be is one limit, or each of thousands could be as large as a message. */
static kd_err
judge_data(struct reading *r, struct reading_part *part)
{
    struct counting c = {.max = READING_DATA_MAX - r->given};
    kd_err err = reading_part_data(r, part, count, &c);

    r->given += c.n; /* of a corrupt one too: it took as long */
    if (err == KD_INVALID) {
        part->state = PART_CORRUPT;
        return KD_OK;
    }
    part->size = c.n;
    return err;
}

static kd_err
add_part(struct reading *r, const struct dime_span *span, uint32_t chunk)
{
    if (r->n_parts == READING_PARTS_MAX) {
        r->refused = "the message has more parts than a mail can have";
        return KD_TOO_LARGE;
    }
    struct reading_part *part = &r->parts[r->n_parts++];
    *part = (struct reading_part){.span = *span, .chunk = chunk};
    switch (span->state) {
    case DIME_SPAN_GOOD:
        return judge_data(r, part);
    case DIME_SPAN_CORRUPT:
        part->state = PART_CORRUPT;
        break;
    case DIME_SPAN_NEEDS_KEY:
        part->state = PART_ALTERNATE;
        break;
    }
    if (span->rejects)
        refuse_corrupt(r);
    return KD_OK;
}

/* The number of the chunk at that place. */
static kd_err
number_of(const struct dime_message *m, uint64_t place, uint32_t *out)
{
    uint64_t at = m->begin;
    struct dime_chunk c;
    kd_err err = KD_OK;

    *out = 0;
    while (at < place && dime_message_next(m, &at, m->end, &c, &err))
        ++*out;
    return err;
}

static kd_err
read_parts(struct reading *r)
{
    const struct dime_reader reader = reader_of(r);
    uint64_t at = r->n.m.display;
    struct dime_span span;
    uint32_t chunk;
    kd_err err;

    if ((r->parts = calloc(READING_PARTS_MAX, sizeof *r->parts)) == NULL)
        return KD_NOMEM;
    if ((err = number_of(&r->n.m, at, &chunk)) != KD_OK)
        return err;
    while (dime_span_next(&reader, &at, r->n.m.signs, &span, &err)) {
        if ((err = add_part(r, &span, chunk)) == KD_TOO_LARGE)
            return KD_OK;
        if (err != KD_OK)
            return err;
        chunk += span.n;
    }
    r->complete =
        r->n_parts > 0 && r->texts[T_COMMON] == TEXT_OPEN &&
        (r->texts[T_HEADERS] == TEXT_OPEN || r->texts[T_HEADERS] == TEXT_ABSENT);
    for (size_t i = 0; i < r->n_parts; i++)
        r->complete = r->complete && r->parts[i].state == PART_GOOD;
    return err;
}

/* --- All -------------------------------------------------------------------------- */

static kd_err
parse(struct reading *r, const struct dime_source *source)
{
    kd_err err;

    r->naked = dime_object_magic(source) == DIME_MAGIC_NAKED;
    if (r->naked)
        err = dime_naked_parse(source, DIME_MESSAGE_MAX, &r->n, &r->flaw);
    else
        err = dime_message_parse(source, DIME_MESSAGE_MAX, &r->n.m, &r->flaw);
    if (err == KD_MALFORMED || err == KD_TOO_LARGE) {
        r->refused = dime_flaw_text(r->flaw);
        return KD_OK;
    }
    return err;
}

kd_err
reading_open(struct reading *r, const struct dime_source *source, enum dime_actor actor,
             const struct reading_keys *keys)
{
    kd_err err;

    *r = (struct reading){.actor = actor, .keys = *keys};
    for (size_t i = 0; i < READING_TEXTS; i++)
        kd_buf_init(&r->text[i], DIME_DATA_MAX);
    if ((err = parse(r, source)) != KD_OK || r->refused != NULL)
        return err;
    if (r->naked && actor != DIME_RECIPIENT) {
        r->refused = "naked mail is opened by its recipient alone";
        return KD_OK;
    }
    r->author = author_of(r);
    if ((r->kek = kd_secret_new(sizeof *r->kek)) == NULL)
        return KD_NOMEM;
    if ((err = dime_kek_agree(keys->own->scalar, r->n.m.ephemeral, r->kek)) != KD_OK ||
        (err = check_signatures(r)) != KD_OK)
        return err;
    r->refused = refusal(r);
    for (size_t i = 0; i < READING_TEXTS; i++)
        if ((err = read_text(r, i)) != KD_OK)
            return err;
    if ((err = check_alternate(r)) != KD_OK)
        return err;
    if ((actor != DIME_AUTHOR && actor != DIME_RECIPIENT) || !is_vouched_for(r) ||
        r->is_corrupt)
        return KD_OK;
    return read_parts(r);
}

void
reading_close(struct reading *r)
{
    for (size_t i = 0; i < READING_TEXTS; i++)
        kd_buf_free(&r->text[i]);
    free(r->parts);
    kd_secret_free(r->kek, sizeof *r->kek);
}
