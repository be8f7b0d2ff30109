#include "work.h"

#include "mask.h"

#include <dime/kek.h>
#include <dime/verify.h>
#include <keyd/base/secret.h>
#include <keyd/base/sha256.h>

#include <sodium.h>

enum {
    EPHEMERAL_SIZE = DIME_CHUNK_HEADER + DIME_SECP_KEY_SIZE,
    PIECE = 1024,
};

/* --- room --- */

/* All of it now, initialised. */
static kd_err
reserve(struct kd_buf *b, size_t n)
{
    kd_buf_init(b, n);
    uint8_t *room = kd_buf_add(b, n);
    if (room == NULL)
        return b->err;
    memset(room, 0, n);
    b->n = 0;
    return KD_OK;
}

kd_err
work_begin(struct work *w, const struct mail_keys *keys, const struct dime_message *m)
{
    *w = (struct work){.keys = keys, .m = m};
    kd_err err = reserve(&w->text.data, MAIL_ENVELOPE_PAYLOAD_MAX);
    if (err != KD_OK)
        return err;
    w->secret = kd_secret_new(sizeof *w->secret);
    return w->secret == NULL ? KD_NOMEM : KD_OK;
}

void
work_free_text(struct kd_buf *b)
{
    if (b->p != NULL)
        kd_secret_wipe(b->p, b->cap);
    kd_buf_free(b);
}

void
work_end(struct work *w)
{
    work_free_text(&w->text.data);
    kd_secret_wipe(&w->text.values, sizeof w->text.values);
    kd_secret_free(w->secret, sizeof *w->secret);
}

/* --- keys --- */

/* ECDH knows no sign. */
static bool
is_same_x(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a + 1, b + 1, DIME_SECP_X_SIZE) == 0;
}

bool
work_is_static(const struct dime_message *m, const struct mail_keys *keys,
               const uint8_t *other)
{
    if (other != NULL && is_same_x(m->ephemeral, other))
        return true;
    for (size_t i = 0; i < keys->n_ours; i++)
        if (is_same_x(m->ephemeral, keys->ours[i]))
            return true;
    return false;
}

kd_err
work_agree(struct work *w, const struct kd_key_id *opener,
           const uint8_t ephemeral[DIME_SECP_KEY_SIZE], bool *used)
{
    struct work_secret *s = w->secret;

    *used = true;
    kd_err err = kd_token_ecdh(w->keys->token, opener,
                               kd_slice(ephemeral, DIME_SECP_KEY_SIZE), s->z);
    if (err != KD_OK)
        return err == KD_INVALID ? KD_FAILED : err;
    dime_kek_derive(s->z, &s->kek);
    kd_secret_wipe(s->z, sizeof s->z);
    return KD_OK;
}

void
work_use_none(struct work *w)
{
    randombytes_buf(&w->secret->in_use, sizeof w->secret->in_use);
}

void
work_use(struct work *w, uint32_t mask)
{
    mask_copy(mask, w->secret->in_use.iv, w->secret->kek.iv, sizeof w->secret->kek.iv);
    mask_copy(mask, w->secret->in_use.key, w->secret->kek.key,
              sizeof w->secret->kek.key);
}

size_t
work_foreign_keys(const struct dime_signet *signet, uint64_t n,
                  uint8_t keys[DIME_SOKS_MAX + 1][DIME_ED25519_KEY_SIZE])
{
    size_t n_keys = dime_org_keys(signet, DIME_PERM_MESSAGES, keys);

    return n > MAIL_MANY_KEYS_SIZE && n_keys > MAIL_FEW_KEYS ? MAIL_FEW_KEYS : n_keys;
}

/* SOKs of a layout in which a POK takes so many octets, each of them one more than
 * that, behind the header. */
static size_t
count_soks(struct kd_slice signet, size_t pok)
{
    size_t n = 0;

    for (size_t at = DIME_HEADER_SIZE + pok;
         n < DIME_SOKS_MAX && at < signet.n && signet.p[at] == DIME_ORG_SOK;
         at += pok + 1)
        n++;
    return n;
}

size_t
mail_keys_at_most(struct kd_slice signet, uint64_t n)
{
    enum { POK_LEAST = 33, POK_MOST = 35 }; /* layouts S, P, L */
    size_t most = 0;

    _Static_assert(DIME_HEADER_SIZE + POK_MOST + DIME_SOKS_MAX * (POK_MOST + 1) <=
                       MAIL_SIGNET_HEAD,
                   "all are seen");
    for (size_t pok = POK_LEAST; pok <= POK_MOST; pok++) {
        size_t keys = 1 + count_soks(signet, pok);
        most = keys > most ? keys : most;
    }
    return n > MAIL_MANY_KEYS_SIZE && most > MAIL_FEW_KEYS ? MAIL_FEW_KEYS : most;
}

/* --- chunks --- */

kd_err
work_open_signature(struct work *w, const struct dime_chunk *c, enum dime_actor actor,
                    uint8_t sig[DIME_SIG_SIZE])
{
    struct work_secret *s = w->secret;
    kd_err err = dime_chunk_key_of(w->m, c, actor, &s->in_use, &s->key);

    return err == KD_OK ? dime_signature_open(w->m, c, &s->key, sig) : err;
}

/* As long as texts are. */
static const uint8_t nothing[320];

kd_err
work_open_text(struct work *w, const struct dime_chunk *c, enum dime_actor actor,
               const struct text_form *form, uint32_t *good)
{
    struct work_secret *s = w->secret;
    struct kd_buf *data = &w->text.data;
    kd_err err;

    data->n = 0;
    if ((err = dime_chunk_key_of(w->m, c, actor, &s->in_use, &s->key)) != KD_OK)
        return err;
    err = dime_envelope_payload_open(w->m, c, &s->key, data);
    if (err != KD_OK && err != KD_INVALID)
        return err;
    /* A payload that is none is a text that says nothing. */
    if (err == KD_INVALID)
        kd_buf_put(data, kd_slice(nothing, sizeof nothing));
    *good = text_judge(form, data->p, (uint32_t)data->n, &w->text.values);
    return data->err;
}

bool
work_can_hold_text(const struct dime_chunk *c)
{
    return c->size <= MAIL_ENVELOPE_PAYLOAD_MAX;
}

uint32_t
work_is_good(enum dime_message_verdict v)
{
    return mask_hide(mask_same((uint32_t)v, DIME_VERDICT_GOOD));
}

/* --- digests --- */

static kd_err
add_range(struct kd_sha256 *h, const struct work_range *r)
{
    uint8_t scratch[PIECE];
    struct kd_slice octets;

    for (uint64_t at = r->at; at < r->end; at += octets.n) {
        uint64_t left = r->end - at;
        kd_err err = dime_source_view(
            r->source, at, left < PIECE ? (size_t)left : PIECE, scratch, &octets);
        if (err != KD_OK)
            return err;
        kd_sha256_add(h, octets);
    }
    return KD_OK;
}

kd_err
work_digest(const struct work_range *ranges, size_t n, uint8_t out[MAIL_SHA256_SIZE])
{
    struct kd_sha256 h;
    kd_err err = KD_OK;

    kd_sha256_init(&h);
    for (size_t i = 0; i < n && err == KD_OK; i++)
        err = add_range(&h, &ranges[i]);
    if (err == KD_OK)
        kd_sha256_final(&h, out);
    return err;
}

struct work_range
work_ephemeral(const struct dime_message *m)
{
    return (struct work_range){&m->source, m->begin, m->begin + EPHEMERAL_SIZE};
}

struct work_range
work_chunk(const struct dime_message *m, const struct dime_chunk *c)
{
    return (struct work_range){&m->source, c->at, dime_chunk_end(c)};
}
