#include "dmw.h"

#include <keyd/base/be.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "test support: %s\n", what);
        abort();
    }
}

/* Who has slots, by the specification's letters. */
static const char *
access_of(uint8_t type)
{
    switch (type) {
    case 2:
        return "";
    case 4:
    case 225:
    case 226:
        return "AOR";
    case 5:
        return "ADR";
    case 248:
    case 249:
    case 255:
        return "AODR";
    default:
        return "AR";
    }
}

static void
random_octets(struct dmw *w, uint8_t *out, size_t n)
{
    uint8_t seed[randombytes_SEEDBYTES] = {0};

    kd_put_be64(seed, ++w->seed);
    randombytes_buf_deterministic(out, n, seed);
}

void
dmw_seal(const struct dmw_key *key, struct kd_slice plain, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    must(ctx != NULL &&
             EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key->key, key->iv) == 1 &&
             EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
             EVP_EncryptUpdate(ctx, out, &n, plain.p, (int)plain.n) == 1 &&
             (size_t)n == plain.n,
         "AES");
    EVP_CIPHER_CTX_free(ctx);
}

static void
person(struct dmw_person *p, const char *text, const uint8_t ephemeral[33])
{
    char whole[64];

    must(snprintf(whole, sizeof whole, "keyd-test %s enc", text) < (int)sizeof whole,
         text);
    crypto_hash_sha256(p->scalar, (const uint8_t *)whole, strlen(whole));
    sg_enc_text(whole, p->enc);
    must(dime_kek_agree(p->scalar, ephemeral, &p->kek) == KD_OK, "KEK");
}

void
dmw_begin(struct dmw *w, uint64_t seed)
{
    static const char *const names[DIME_ACTOR_COUNT] = {"alice", "origin",
                                                        "destination", "bob"};
    uint8_t ephemeral[33];

    *w = (struct dmw){.seed = seed << 32};
    kd_buf_init(&w->out, UINT32_MAX);
    kd_buf_u16(&w->out, 1847);
    kd_buf_u32(&w->out, 0);
    sg_enc_text("keyd-test ephemeral", ephemeral);
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++)
        person(&w->people[i], names[i], ephemeral);
    w->chunks[w->n++] = (struct dmw_mark){
        .type = 2, .at = w->out.n, .slots = w->out.n + 37, .end = w->out.n + 37};
    kd_buf_u8(&w->out, 2);
    kd_buf_u24(&w->out, sizeof ephemeral);
    kd_buf_put(&w->out, kd_slice(ephemeral, sizeof ephemeral));
}

void
dmw_raw(struct dmw *w, struct kd_slice chunk)
{
    kd_buf_put(&w->out, chunk);
}

static void
put_slot(struct dmw *w, const struct dime_kek *kek, const struct dmw_key *key)
{
    struct dmw_key under;
    uint8_t plain[64];
    uint8_t sealed[64];

    memcpy(under.iv, kek->iv, sizeof under.iv);
    memcpy(under.key, kek->key, sizeof under.key);
    random_octets(w, plain, 16);
    for (size_t i = 0; i < 16; i++)
        plain[16 + i] = plain[i] ^ key->iv[i];
    memcpy(plain + 32, key->key, 32);
    dmw_seal(&under, kd_slice(plain, sizeof plain), sealed);
    kd_buf_put(&w->out, kd_slice(sealed, sizeof sealed));
}

static void
put_sealed(struct dmw *w, uint8_t type, struct kd_slice plain)
{
    static const char letters[] = "AODR";
    struct dmw_mark m = {.type = type, .at = w->out.n};

    must(w->n < DMW_CHUNKS_MAX, "too many chunks");
    random_octets(w, m.key.iv, sizeof m.key.iv);
    random_octets(w, m.key.key, sizeof m.key.key);
    kd_buf_u8(&w->out, type);
    kd_buf_u24(&w->out, (uint32_t)plain.n);
    uint8_t *payload = kd_buf_add(&w->out, plain.n);
    must(payload != NULL, "memory");
    dmw_seal(&m.key, plain, payload);
    m.slots = w->out.n;
    for (const char *who = access_of(type); *who != 0; who++)
        put_slot(w, &w->people[strchr(letters, *who) - letters].kek, &m.key);
    m.end = w->out.n;
    w->chunks[w->n++] = m;
}

static void
sign(const struct sg_pair *by, struct kd_slice message, uint8_t sig[64])
{
    struct sg_pair pair = *by;

    kd_ignore(sg_signer(&pair, message, sig)); /* aborts itself */
}

struct kd_slice
dmw_plain(const struct dmw_chunk *c)
{
    size_t padding = c->padding + (16 - (69 + c->data.n + c->padding) % 16) % 16;
    size_t n = 69 + c->data.n + padding;
    uint8_t octet = (uint8_t)((c->flags & 1) != 0 ? padding / 16 : padding);
    uint8_t *p = malloc(n);

    must(p != NULL, "memory");
    if (c->has_octet)
        octet = c->octet;
    kd_put_be24(p + 64, c->has_length ? c->length : (uint32_t)c->data.n);
    p[67] = c->flags;
    p[68] = octet;
    if (c->data.n != 0)
        memcpy(p + 69, c->data.p, c->data.n);
    memset(p + 69 + c->data.n, octet, padding);
    if (c->spoil_padding != 0)
        p[69 + c->data.n + c->spoil_padding - 1] ^= 0x40;
    sign(c->by != NULL ? c->by : &sg_world()->alice, kd_slice(p + 64, n - 64), p);
    if (c->spoil_signed != 0)
        p[64 + c->spoil_signed - 1] ^= 0x20;
    if (c->spoil_signature)
        p[7] ^= 0x10;
    return kd_slice(p, n);
}

void
dmw_put(struct dmw *w, const struct dmw_chunk *c)
{
    struct kd_slice plain = c->plain.n != 0 ? c->plain : dmw_plain(c);

    put_sealed(w, c->type, plain);
    if (c->plain.n == 0)
        sg_free(plain);
}

/* The hashes of all chunks, and as libdime gets them. */
static void
sign_tree(const struct dmw *w, const struct sg_pair *by, bool legacy, uint8_t sig[64])
{
    uint8_t *hashes = calloc(w->n, 64);
    size_t n = 0;

    must(hashes != NULL, "memory");
    for (size_t i = 0; i < w->n; i++) {
        const struct dmw_mark *m = &w->chunks[i];
        if (legacy && m->type == 5)
            continue;
        crypto_hash_sha512(hashes + 64 * n++, w->out.p + m->at, m->end - m->at);
    }
    sign(by, kd_slice(hashes, 64 * w->n), sig); /* one stays zero */
    free(hashes);
}

/* What lies before the first chunk of a type above. */
static size_t
until(const struct dmw *w, uint8_t last)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->chunks[i].type > last)
            return w->chunks[i].at;
    return w->out.n;
}

void
dmw_sign(struct dmw *w, uint8_t type, const struct sg_pair *by, unsigned how)
{
    uint8_t sig[64] = {0};
    size_t end = w->out.n;

    if (type == 248)
        end = until(w, 34);
    if (type == 249)
        end = until(w, 67);
    if (by != NULL && type == 225)
        sign_tree(w, by, how == DMW_TREE_LEGACY, sig);
    else if (by != NULL)
        sign(by, kd_slice(w->out.p + 6, end - 6), sig);
    put_sealed(w, type, kd_slice(sig, sizeof sig));
}

struct kd_slice
dmw_end(struct dmw *w)
{
    must(w->out.err == KD_OK, "buffer");
    kd_put_be32(w->out.p + 2, (uint32_t)(w->out.n - 6));
    return kd_buf_slice(&w->out);
}

void
dmw_free(struct dmw *w)
{
    kd_buf_free(&w->out);
}

const struct dmw_mark *
dmw_find(const struct dmw *w, uint8_t type, size_t nth)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->chunks[i].type == type && nth-- == 0)
            return &w->chunks[i];
    must(false, "no such chunk");
    return NULL;
}

const char *
dmw_text(uint8_t type)
{
    switch (type) {
    case 4:
        return "Author: <alice@example.com>\r\n"
               "Author-Signet: [EWbuI1AgxvKJrMIc8NU/zjR4zl4PtrmITSWLeycvuSWWW7mMcDY60EZ"
               "Qdpf1rpLkj/QJOj/ViQ9h4UN73ipV6g]\r\n"
               "Destination: <example.org>\r\n"
               "Destination-Signet: [yWLf0Wu7vkidYS9f+bIkDfGFOUu0thmC9+tUnjmz6VNfPF8rr"
               "E85lzgqUpm+5d45HV8551aJssAXgG+s+5lc5g]\r\n";
    case 5:
        return "Recipient: <bob@example.org>\r\n"
               "Recipient-Signet: [r7jvjk+xzInR66tkV5Dx39b0u1D/l3hBlX0KKs5GOf7u/0qI/pU"
               "8dIYFA8r7cqAWdVsxi7fYi2lx6LCMEqi/OA]\r\n"
               "Origin: <example.com>\r\n"
               "Origin-Signet: [a5telvkSzl2HSShNKl7L/844o+ZRZlfbZguWbXmBJihXHlsBiwSbqpj"
               "sjvwRte0NXD9gPbbtfL1PtUIgMV0qVg]\r\n";
    case 33:
        return "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nTo: Bob <bob@example.org>\r\n"
               "From: Alice <alice@example.com>\r\nSubject: Test vector\r\n";
    case 34:
        return "MIME-Version: 1.0\r\n";
    default:
        return "Content-Type: text/plain; charset=utf-8\r\n\r\nHello, Bob.\r\n";
    }
}

static void
put_single(struct dmw *w, uint8_t type, const struct dmw_recipe *r)
{
    struct dmw_chunk c = {.type = type, .data = kd_slice_str(dmw_text(type))};
    size_t least = type < 6 ? 512 : 256;

    c.padding = (uint32_t)(least - 69 - c.data.n);
    dmw_put(w, r->instead != NULL && r->instead->type == type ? r->instead : &c);
}

struct kd_slice
dmw_message(struct dmw *w, const struct dmw_recipe *r)
{
    const struct sg_world *world = sg_world();
    const struct sg_pair *org = r->org_by != NULL ? r->org_by : &world->sok;

    dmw_begin(w, r->seed);
    put_single(w, 4, r);
    put_single(w, 5, r);
    put_single(w, 33, r);
    if (!r->no_headers)
        put_single(w, 34, r);
    if (r->contents == NULL)
        put_single(w, 67, r);
    for (size_t i = 0; i < r->n_contents; i++)
        dmw_put(w, &r->contents[i]);
    dmw_sign(w, 225, r->tree_by != NULL ? r->tree_by : &world->alice,
             r->legacy_tree ? DMW_TREE_LEGACY : 0);
    dmw_sign(w, 226, r->author_by != NULL ? r->author_by : &world->alice, 0);
    for (uint8_t type = 248; type < 250 && !r->no_bounces; type++)
        dmw_sign(w, type, r->placeholders ? NULL : org, 0);
    dmw_sign(w, 255, r->placeholders ? NULL : org, 0);
    return dmw_end(w);
}
