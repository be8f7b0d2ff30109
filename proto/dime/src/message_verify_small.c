#include "message_verify_small.h"

#include "eddsa.h"
#include "sha512.h"

#include <dime/ed25519_verifier.h>
#include <keyd/base/buf.h>

enum {
    /* libsodium hashes at two thirds of OpenSSL's speed: from some 90 KiB on, that is
     * more than its curves save. */
    SMALL = 64 << 10,
    HASH = 64,
    SLOT_KEY_AT = 16, /* what a keyslot's key is decrypted from, to its end */
};

bool
message_is_small(const struct dime_message *m)
{
    return m->source.p != NULL && m->end - m->begin <= SMALL;
}

/* --- keyslots --- */

static bool
has_slot(const struct dime_message *m, const struct dime_chunk *c, const uint8_t *slot)
{
    const uint8_t *own = m->source.p + dime_chunk_slots(c);

    for (size_t i = 0; i < c->def->slots; i++, own += DIME_SLOT_SIZE)
        if (memcmp(own + SLOT_KEY_AT, slot + SLOT_KEY_AT,
                   DIME_SLOT_SIZE - SLOT_KEY_AT) == 0)
            return true;
    return false;
}

/* Whether c has one of the keyslots of what the organization signs with. */
static bool
shares_slot(const struct dime_message *m, const struct dime_chunk *c)
{
    const struct dime_chunk *const signatures[] = {
        &m->metadata_bounce, &m->display_bounce, &m->organization};

    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const struct dime_chunk *s = signatures[i];
        if (s->def == NULL)
            continue;
        const uint8_t *slot = m->source.p + dime_chunk_slots(s);
        for (size_t k = 0; k < s->def->slots; k++, slot += DIME_SLOT_SIZE)
            if (has_slot(m, c, slot))
                return true;
    }
    return false;
}

/* Whether a key to anything the author made is in the organization's keyslots. */
static bool
slots_repeat(const struct dime_message *m)
{
    struct dime_chunk c;
    kd_err err;

    for (uint64_t at = m->begin;
         dime_message_next(m, &at, dime_chunk_end(&m->author), &c, &err);)
        if (shares_slot(m, &c))
            return true;
    return err != KD_OK;
}

/* --- signatures --- */

static kd_err
verify_at_one_cost(const uint8_t *key, struct kd_slice octets, const uint8_t *sig)
{
    struct dime_ed25519_verifier v;

    dime_ed25519_verifier_init(&v, key, sig);
    dime_ed25519_verifier_add(&v, octets);
    return dime_ed25519_verifier_end(&v);
}

static enum dime_message_verdict
judge(const struct dime_claim *c, struct kd_slice octets, bool vouched)
{
    enum dime_message_verdict verdict = DIME_VERDICT_BAD;

    for (size_t i = 0; i < c->n_keys; i++) {
        kd_err err = vouched ? eddsa_verify_quick(c->keys[i], octets, c->sig)
                             : verify_at_one_cost(c->keys[i], octets, c->sig);
        if (err == KD_OK)
            verdict = DIME_VERDICT_GOOD;
    }
    return verdict;
}

static bool
is_asked(const struct dime_message *m, const struct dime_claim *c, uint8_t type)
{
    return c->sig != NULL && dime_message_chunk(m, type) != NULL;
}

/* Of a signature over the message up to somewhere. */
static enum dime_message_verdict
judge_chunk(const struct dime_message *m, const struct dime_claim *c, uint8_t type,
            bool vouched)
{
    if (!is_asked(m, c, type))
        return DIME_VERDICT_NOT_ASKED;
    uint64_t until = dime_message_signed_until(m, type);
    return judge(c, kd_slice(m->source.p + m->begin, (size_t)(until - m->begin)),
                 vouched);
}

/* --- the tree --- */

/* The hashes, one behind the other; libdime's form leaves out the destination's and has
 * an empty one at the end (D-115). */
static kd_err
hash_chunks(const struct dime_message *m, bool legacy, struct kd_buf *out)
{
    struct dime_chunk c;
    struct sha512 h;
    uint8_t *hash = NULL;
    kd_err err;

    for (uint64_t at = m->begin; dime_message_next(m, &at, m->signs, &c, &err);) {
        if (legacy && c.def->type == DIME_CHUNK_DESTINATION)
            continue;
        if ((hash = kd_buf_add(out, HASH)) == NULL)
            return out->err;
        sha512_init(&h);
        sha512_add(&h, m->source.p + c.at, (size_t)(dime_chunk_end(&c) - c.at));
        sha512_final(&h, hash);
    }
    if (legacy && (hash = kd_buf_add(out, HASH)) != NULL)
        memset(hash, 0, HASH);
    return err != KD_OK ? err : out->err;
}

static kd_err
judge_tree_form(const struct dime_message *m, const struct dime_claim *c, bool legacy,
                bool vouched, enum dime_message_verdict *out)
{
    struct kd_buf hashes;

    kd_buf_init(&hashes, SMALL); /* a chunk with slots is longer than its hash */
    kd_err err = hash_chunks(m, legacy, &hashes);
    if (err == KD_OK)
        *out = judge(c, kd_buf_slice(&hashes), vouched);
    kd_buf_free(&hashes);
    return err;
}

/* author: what 226 was found to be. */
static kd_err
judge_tree(const struct dime_message *m, const struct dime_claim *c,
           enum dime_message_verdict author, bool vouched,
           enum dime_message_verdict *out)
{
    enum dime_message_verdict legacy;
    kd_err err;

    if (!is_asked(m, c, DIME_CHUNK_AUTHOR_TREE))
        return KD_OK;
    if ((err = judge_tree_form(m, c, false, vouched, out)) != KD_OK ||
        *out == DIME_VERDICT_GOOD)
        return err;
    if ((err = judge_tree_form(m, c, true, vouched, &legacy)) != KD_OK)
        return err;
    if (legacy == DIME_VERDICT_GOOD && author == DIME_VERDICT_GOOD)
        *out = DIME_VERDICT_LEGACY;
    return KD_OK;
}

/* --- all of them --- */

kd_err
message_verify_small(const struct dime_message *m, const struct dime_claims *claims,
                     struct dime_verdicts *out)
{
    struct dime_verdicts v = {.tree = DIME_VERDICT_NOT_ASKED};

    v.author = judge_chunk(m, &claims->author, DIME_CHUNK_AUTHOR, false);
    bool vouched =
        claims->vouching && v.author == DIME_VERDICT_GOOD && !slots_repeat(m);
    kd_err err = judge_tree(m, &claims->tree, v.author, vouched, &v.tree);
    if (err != KD_OK)
        return err;
    v.metadata_bounce =
        judge_chunk(m, &claims->metadata_bounce, DIME_CHUNK_METADATA_BOUNCE, vouched);
    v.display_bounce =
        judge_chunk(m, &claims->display_bounce, DIME_CHUNK_DISPLAY_BOUNCE, vouched);
    v.organization =
        judge_chunk(m, &claims->organization, DIME_CHUNK_ORGANIZATION, vouched);
    *out = v;
    return KD_OK;
}
