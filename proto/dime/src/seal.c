#include "seal.h"

#include "chunk.h"
#include "pad.h"
#include "sha512.h"
#include "slot.h"

#include <dime/ed25519_verifier.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>

#include <assert.h>
#include <sodium.h>

enum {
    POOL = 1024,      /* random octets fetched at once: the small requests of a mail */
    TREE_ROOM = 1024, /* hashes of an ordinary mail's chunks */
    TREE_MAX = 1 << 26, /* of the largest object's */
    MUCH = 1 << 16,     /* octets to be hashed by OpenSSL rather */
    LENGTH_AT = 2,      /* in the header */
};

/* All that opens the object or speaks for its author. */
struct seal_secret {
    struct dime_ed25519_secret once;
    struct dime_kek kek[DIME_ACTOR_COUNT];
    struct dime_chunk_key key; /* of the chunk at hand */
    uint8_t scalar[DIME_SCALAR_SIZE];
    uint8_t z[DIME_ECDH_SIZE];
    uint8_t seed[DIME_SEED_SIZE];
    size_t left; /* at the end of the pool */
    uint8_t pool[POOL];
};

static void
fail(struct sealer *s, kd_err err)
{
    if (s->err == KD_OK)
        s->err = err;
}

static bool
is_broken(const struct sealer *s)
{
    return s->err != KD_OK;
}

/* n: not more than the pool. */
static void
random_octets(struct sealer *s, void *out, size_t n)
{
    struct seal_secret *x = s->secret;

    if (x->left < n) {
        if (s->fill != NULL)
            s->fill(s->fill_ctx, x->pool, sizeof x->pool);
        else
            randombytes_buf(x->pool, sizeof x->pool);
        x->left = sizeof x->pool;
    }
    memcpy(out, x->pool + sizeof x->pool - x->left, n);
    x->left -= n;
}

/* --- the object --- */

void
seal_begin(struct sealer *s, uint16_t magic, const struct dime_chunk_def *defs,
           dime_random fill, void *fill_ctx, struct kd_buf *out, size_t expected)
{
    *s = (struct sealer){.out = out,
                         .defs = defs,
                         .fill = fill,
                         .fill_ctx = fill_ctx,
                         .start = out->n,
                         .err = out->err};
    kd_buf_init(&s->tree, TREE_MAX);
    if (is_broken(s))
        return;
    if ((s->secret = kd_secret_new(sizeof *s->secret)) == NULL) {
        s->err = KD_NOMEM;
        return;
    }
    /* Once for all, so that nothing moves later. */
    if (expected <= out->max - out->n && kd_buf_add(out, expected) != NULL)
        out->n = s->start;
    if (kd_buf_add(&s->tree, TREE_ROOM) != NULL)
        s->tree.n = 0;
    kd_buf_u16(out, magic);
    kd_buf_u32(out, 0);
    fail(s, out->err);
}

static void
release(struct sealer *s)
{
    aes_cbc_end(&s->payload);
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++)
        aes_cbc_end(&s->slots[i]);
    kd_secret_free(s->secret, sizeof *s->secret);
    kd_buf_free(&s->tree);
}

static void
take_back(struct sealer *s)
{
    /* A chunk that was not finished is still to be read there. */
    if (s->out->p != NULL && s->out->n > s->start)
        kd_secret_wipe(s->out->p + s->start, s->out->n - s->start);
    s->out->n = s->start;
    s->out->err = KD_OK;
}

kd_err
seal_end(struct sealer *s)
{
    size_t n = s->out->n - s->start;
    bool began = s->secret != NULL || s->out->err == KD_OK;

    if (!is_broken(s) && n - DIME_MESSAGE_HEADER > UINT32_MAX)
        fail(s, KD_TOO_LARGE);
    if (!is_broken(s))
        kd_put_be32(s->out->p + s->start + LENGTH_AT,
                    (uint32_t)(n - DIME_MESSAGE_HEADER));
    else if (began)
        take_back(s);
    release(s);
    return s->err;
}

/* --- keys --- */

/* The verdict is one; libsodium's own is faster but for its SHA-512. */
static kd_err
verify(const uint8_t key[DIME_ED25519_KEY_SIZE], struct kd_slice message,
       const uint8_t sig[DIME_SIG_SIZE])
{
    struct dime_ed25519_verifier v;

    if (message.n < MUCH)
        return dime_ed25519_verify_trusted_key(key, message, sig);
    dime_ed25519_verifier_init(&v, key, sig);
    dime_ed25519_verifier_add(&v, message);
    return dime_ed25519_verifier_end(&v);
}

kd_err
seal_sign(const struct dime_ed25519_secret *secret, struct kd_slice message,
          uint8_t sig[DIME_SIG_SIZE])
{
    kd_err err = dime_ed25519_secret_sign(secret, message, sig);

    if (err != KD_OK)
        return err;
    err = verify(secret->use.key, message, sig);
    return err == KD_OK ? KD_OK : KD_FAILED;
}

static kd_err
sign_by_key(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    const struct sealer *s = ctx;

    return seal_sign(s->by, message, sig);
}

void
seal_signed_by(struct sealer *s, const struct dime_ed25519_secret *secret)
{
    s->by = secret;
    s->signer = (struct dime_signer){sign_by_key, s};
}

void
seal_signed_once(struct sealer *s, uint8_t out[DIME_ED25519_KEY_SIZE])
{
    if (is_broken(s))
        return;
    random_octets(s, s->secret->seed, sizeof s->secret->seed);
    dime_ed25519_secret_init(&s->secret->once, s->secret->seed);
    memcpy(out, s->secret->once.use.key, DIME_ED25519_KEY_SIZE);
    seal_signed_by(s, &s->secret->once);
}

static void
make_scalar(struct sealer *s)
{
    do
        random_octets(s, s->secret->scalar, sizeof s->secret->scalar);
    while (!dime_secp_scalar_valid(s->secret->scalar)); /* once in 2^127 */
}

void
seal_for(struct sealer *s, enum dime_actor actor, const uint8_t *key)
{
    struct seal_secret *x = s->secret;

    if (is_broken(s))
        return;
    if (!dime_secp_scalar_valid(x->scalar))
        make_scalar(s);
    if ((s->err = dime_secp_ecdh(x->scalar, key, x->z)) != KD_OK)
        return;
    dime_kek_derive(x->z, &x->kek[actor]);
    s->err = aes_cbc_begin(&s->slots[actor], true, x->kek[actor].key, x->kek[actor].iv);
}

/* --- chunks --- */

/* A chunk's head is written and room made for the rest; the payload, or NULL. */
static uint8_t *
begin_chunk(struct sealer *s, uint8_t type, uint32_t size)
{
    const struct dime_chunk_def *def = chunk_def_of(s->defs, type);
    uint8_t *p;

    assert(def != NULL);
    if (is_broken(s))
        return NULL;
    p = kd_buf_add(s->out, DIME_CHUNK_HEADER + (size_t)size +
                               (size_t)def->slots * DIME_SLOT_SIZE);
    if (p == NULL) {
        fail(s, s->out->err);
        return NULL;
    }
    p[0] = type;
    kd_put_be24(p + 1, size);
    return p + DIME_CHUNK_HEADER;
}

static kd_err
fill_slots(struct sealer *s, const struct dime_chunk_def *def, uint8_t *slot)
{
    uint8_t random[16];
    kd_err err = KD_OK;

    for (size_t i = 0; i < DIME_ACTOR_COUNT && err == KD_OK; i++) {
        if ((def->access >> i & 1) == 0)
            continue;
        random_octets(s, random, sizeof random);
        err =
            slot_seal(&s->slots[i], &s->secret->kek[i], &s->secret->key, random, slot);
        slot += DIME_SLOT_SIZE;
    }
    kd_secret_wipe(random, sizeof random); /* one half of the chunk's IV */
    return err;
}

/* Encrypts the payload where it lies, under a key of its own. */
static void
encrypt_chunk(struct sealer *s, const struct dime_chunk_def *def, uint8_t *payload,
              uint32_t size)
{
    struct dime_chunk_key *key = &s->secret->key;

    random_octets(s, key, sizeof *key);
    if ((s->err = aes_cbc_begin(&s->payload, true, key->key, key->iv)) != KD_OK)
        return;
    if ((s->err = aes_cbc_add(&s->payload, payload, size, payload)) != KD_OK)
        return;
    s->err = fill_slots(s, def, payload + size);
}

/* The chunk is finished: its hash goes into the tree. */
static void
end_chunk(struct sealer *s, const uint8_t *payload)
{
    const uint8_t *chunk = payload - DIME_CHUNK_HEADER;
    struct sha512 h;
    uint8_t *digest;

    if (is_broken(s))
        return;
    if ((digest = kd_buf_add(&s->tree, DIME_SIG_SIZE)) == NULL) {
        fail(s, s->tree.err);
        return;
    }
    sha512_init(&h);
    sha512_add(&h, chunk, (size_t)(s->out->p + s->out->n - chunk));
    sha512_final(&h, digest);
}

void
seal_ephemeral(struct sealer *s, const uint8_t *signing_key)
{
    uint32_t size =
        DIME_SECP_KEY_SIZE + (signing_key == NULL ? 0 : DIME_ED25519_KEY_SIZE);
    uint8_t *payload = begin_chunk(s, DIME_CHUNK_EPHEMERAL, size);

    if (payload == NULL)
        return;
    s->err = dime_secp_public(s->secret->scalar, payload);
    if (signing_key != NULL)
        memcpy(payload + DIME_SECP_KEY_SIZE, signing_key, DIME_ED25519_KEY_SIZE);
    end_chunk(s, payload);
}

void
seal_payload(struct sealer *s, uint8_t type, uint8_t flags,
             const struct dime_source *data, uint64_t at, uint32_t n, uint8_t pad)
{
    uint32_t size = DIME_PAYLOAD_FIXED + n + pad;
    uint8_t *payload = begin_chunk(s, type, size);

    if (payload == NULL)
        return;
    uint8_t *rest = payload + DIME_SIG_SIZE;
    kd_put_be24(rest, n);
    rest[3] = flags;
    rest[4] = pad;
    if ((s->err = dime_source_read(data, at, payload + DIME_PAYLOAD_FIXED, n)) != KD_OK)
        return;
    memset(payload + DIME_PAYLOAD_FIXED + n, pad, pad);
    s->err =
        s->signer.sign(s->signer.ctx, kd_slice(rest, size - DIME_SIG_SIZE), payload);
    if (is_broken(s))
        return;
    encrypt_chunk(s, chunk_def_of(s->defs, type), payload, size);
    end_chunk(s, payload);
}

void
seal_envelope(struct sealer *s, uint8_t type, struct kd_slice data)
{
    struct dime_source source = dime_source_of(data);
    uint32_t n = (uint32_t)data.n;

    seal_payload(s, type, 0, &source, 0, n, pad_envelope(n));
}

static uint8_t
random_pad(struct sealer *s, uint32_t n)
{
    uint32_t random = 0;

    if (!is_broken(s))
        random_octets(s, &random, sizeof random);
    return pad_content(n, random);
}

void
seal_content(struct sealer *s, const struct dime_content *content)
{
    uint64_t left = content->data.n;

    while (left > 0 && !is_broken(s)) {
        bool last = left <= DIME_DATA_MAX;
        uint32_t n = last ? (uint32_t)left : DIME_DATA_MAX;
        uint8_t flags = content->flags | (last ? 0 : DIME_PAYLOAD_CONTINUES);
        seal_payload(s, content->type, flags, &content->data, content->data.n - left, n,
                     random_pad(s, n));
        left -= n;
    }
}

void
seal_slice(struct sealer *s, uint8_t type, struct kd_slice data)
{
    const struct dime_content whole = {.type = type, .data = dime_source_of(data)};

    assert(data.n <= DIME_DATA_MAX);
    seal_content(s, &whole);
}

void
seal_copy(struct sealer *s, uint8_t type, const struct dime_source *source, uint64_t at,
          uint64_t until, const struct dime_chunk *last)
{
    size_t n = (size_t)(until - at), n_last = (size_t)(dime_chunk_end(last) - last->at);
    uint8_t *payload = begin_chunk(s, type, (uint32_t)(n + n_last));

    if (payload == NULL)
        return;
    s->err = dime_source_read(source, at, payload, n);
    if (!is_broken(s))
        s->err = dime_source_read(source, last->at, payload + n, n_last);
}

/* --- signatures --- */

static void
put_signature(struct sealer *s, uint8_t type, const uint8_t sig[DIME_SIG_SIZE])
{
    const struct dime_chunk_def *def = chunk_def_of(s->defs, type);
    uint8_t *payload = begin_chunk(s, type, DIME_SIG_SIZE);

    if (payload == NULL)
        return;
    memcpy(payload, sig, DIME_SIG_SIZE);
    if (def->form == DIME_FORM_SIGNATURE)
        encrypt_chunk(s, def, payload, DIME_SIG_SIZE);
}

static void
sign_and_put(struct sealer *s, uint8_t type, struct kd_slice what)
{
    uint8_t sig[DIME_SIG_SIZE];

    if (is_broken(s))
        return;
    if ((s->err = s->signer.sign(s->signer.ctx, what, sig)) == KD_OK)
        put_signature(s, type, sig);
    kd_secret_wipe(sig, sizeof sig); /* the author's is not for everyone to see */
}

void
seal_tree(struct sealer *s, uint8_t type)
{
    sign_and_put(s, type, kd_buf_slice(&s->tree));
}

void
seal_signature(struct sealer *s, uint8_t type)
{
    size_t at = s->start + DIME_MESSAGE_HEADER;

    if (!is_broken(s))
        sign_and_put(s, type, kd_slice(s->out->p + at, s->out->n - at));
}

void
seal_blank(struct sealer *s, uint8_t type)
{
    static const uint8_t zeros[DIME_SIG_SIZE];

    put_signature(s, type, zeros);
}
