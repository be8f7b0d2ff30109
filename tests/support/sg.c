#include "sg.h"

#include <keyd/base/be.h>
#include <secp256k1.h>
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

static struct sg_pair
pair_of(const uint8_t seed[32])
{
    struct sg_pair pair;
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    memcpy(pair.seed, seed, sizeof pair.seed);
    must(crypto_sign_seed_keypair(pair.key, secret, seed) == 0, "key pair");
    return pair;
}

struct sg_pair
sg_pair_hex(const char *hex)
{
    uint8_t seed[32];
    size_t n;

    must(sodium_hex2bin(seed, sizeof seed, hex, strlen(hex), NULL, &n, NULL) == 0 &&
             n == sizeof seed,
         hex);
    return pair_of(seed);
}

struct sg_pair
sg_pair_text(const char *text)
{
    uint8_t seed[32];

    crypto_hash_sha256(seed, (const uint8_t *)text, strlen(text));
    return pair_of(seed);
}

void
sg_enc_text(const char *text, uint8_t out[33])
{
    uint8_t scalar[32];
    size_t n = 33;
    secp256k1_pubkey point;
    secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);

    crypto_hash_sha256(scalar, (const uint8_t *)text, strlen(text));
    must(secp256k1_ec_pubkey_create(ctx, &point, scalar) == 1, "scalar");
    secp256k1_ec_pubkey_serialize(ctx, out, &n, &point, SECP256K1_EC_COMPRESSED);
    secp256k1_context_destroy(ctx);
}

const struct sg_world *
sg_world(void)
{
    static struct sg_world world;
    static bool made;

    if (made)
        return &world;
    world.pok =
        sg_pair_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    world.sok =
        sg_pair_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    world.alice =
        sg_pair_hex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
    world.alice0 = sg_pair_text("keyd-test alice previous signing");
    world.other_pok = sg_pair_text("keyd-test example.org pok");
    world.bob = sg_pair_text("keyd-test bob signing");
    sg_enc_text("keyd-test origin enc", world.org_enc);
    sg_enc_text("keyd-test destination enc", world.other_enc);
    sg_enc_text("keyd-test alice enc", world.alice_enc);
    sg_enc_text("keyd-test alice previous enc", world.alice0_enc);
    sg_enc_text("keyd-test bob enc", world.bob_enc);
    made = true;
    return &world;
}

void
sg_begin(struct kd_buf *b, uint16_t magic)
{
    kd_buf_init(b, (size_t)DIME_SIGNET_MAX + 4096);
    kd_buf_u16(b, magic);
    kd_buf_u24(b, 0);
}

void
sg_put(struct kd_buf *b, const char *hex)
{
    size_t room = strlen(hex) / 2 + 1, n = 0;
    uint8_t *octets = malloc(room);

    must(octets != NULL &&
             sodium_hex2bin(octets, room, hex, strlen(hex), " ", &n, NULL) == 0,
         hex);
    kd_buf_put(b, kd_slice(octets, n));
    free(octets);
}

void
sg_len1(struct kd_buf *b, uint8_t type, const char *value)
{
    kd_buf_u8(b, type);
    kd_buf_u8(b, (uint8_t)strlen(value));
    kd_buf_put(b, kd_slice_str(value));
}

void
sg_len2(struct kd_buf *b, uint8_t type, const char *value)
{
    kd_buf_u8(b, type);
    kd_buf_u16(b, (uint16_t)strlen(value));
    kd_buf_put(b, kd_slice_str(value));
}

void
sg_undefined(struct kd_buf *b, struct kd_slice name, struct kd_slice value)
{
    kd_buf_u8(b, 251);
    kd_buf_u8(b, (uint8_t)name.n);
    kd_buf_put(b, name);
    kd_buf_u16(b, (uint16_t)value.n);
    kd_buf_put(b, value);
}

void
sg_sign_key(struct kd_buf *b, enum dime_layout layout, const uint8_t key[32])
{
    static const char *const heads[DIME_LAYOUT_COUNT] = {"01 21 40", "01 21 40",
                                                         "01 20", "01", "01"};

    sg_put(b, heads[layout]);
    kd_buf_put(b, kd_slice(key, 32));
}

void
sg_sok(struct kd_buf *b, enum dime_layout layout, uint8_t perms, const uint8_t key[32])
{
    static const char *const heads[DIME_LAYOUT_COUNT] = {"02 22", "02 22", "02 21",
                                                         "02", "02"};

    sg_put(b, heads[layout]);
    kd_buf_u8(b, perms);
    if (layout == DIME_LAYOUT_L || layout == DIME_LAYOUT_M)
        kd_buf_u8(b, 0x40);
    kd_buf_put(b, kd_slice(key, 32));
}

void
sg_enc_key(struct kd_buf *b, uint8_t type, enum dime_layout layout,
           const uint8_t key[33])
{
    static const char *const lengths[DIME_LAYOUT_COUNT] = {"00 21", "21", "21", "", ""};

    kd_buf_u8(b, type);
    sg_put(b, lengths[layout]);
    if (layout == DIME_LAYOUT_S32)
        kd_buf_put(b, kd_slice(key + 1, 32));
    else
        kd_buf_put(b, kd_slice(key, 33));
}

kd_err
sg_signer(void *ctx, struct kd_slice message, uint8_t sig[64])
{
    const struct sg_pair *by = ctx;
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    memcpy(secret, by->seed, 32);
    memcpy(secret + 32, by->key, 32);
    must(crypto_sign_detached(sig, NULL, message.p, message.n, secret) == 0, "sign");
    return KD_OK;
}

void
sg_sign(struct kd_buf *b, uint8_t type, const struct sg_pair *by)
{
    struct sg_pair pair = *by;
    uint8_t sig[64];

    kd_ignore(sg_signer(&pair, kd_slice(b->p + 5, b->n - 5), sig)); /* aborts itself */
    kd_buf_u8(b, type);
    kd_buf_put(b, kd_slice(sig, sizeof sig));
}

void
sg_identifier(struct kd_buf *b, const char *id, unsigned length_octets)
{
    kd_buf_u8(b, 254);
    if (length_octets == 2)
        kd_buf_u8(b, 0);
    kd_buf_u8(b, (uint8_t)strlen(id));
    kd_buf_put(b, kd_slice_str(id));
}

struct kd_slice
sg_end(struct kd_buf *b)
{
    must(b->err == KD_OK && b->n >= 5, "buffer");
    kd_put_be24(b->p + 2, (uint32_t)(b->n - 5));
    return kd_buf_slice(b);
}

static const struct sg_pair *
or_else(const struct sg_pair *given, const struct sg_pair *standard)
{
    return given != NULL ? given : standard;
}

struct kd_slice
sg_make_org(struct kd_buf *b, const struct sg_org *r)
{
    const struct sg_world *w = sg_world();
    const struct sg_pair *pok = or_else(r->pok, &w->pok);

    sg_begin(b, DIME_MAGIC_ORG);
    sg_sign_key(b, r->layout, pok->key);
    for (size_t i = 0; i < r->n_soks; i++)
        sg_sok(b, r->layout, r->soks[i].perms, r->soks[i].pair->key);
    sg_enc_key(b, 3, r->layout, w->org_enc);
    if (!r->no_self)
        sg_sign(b, 4, or_else(r->self_by, pok));
    if (r->until == DIME_PART_CORE)
        return sg_end(b);
    kd_buf_put(b, r->extra);
    sg_sign(b, 253, or_else(r->full_by, pok));
    if (r->until == DIME_PART_FULL)
        return sg_end(b);
    sg_identifier(b, r->identifier != NULL ? r->identifier : "example.com",
                  r->id_octets);
    sg_sign(b, 255, or_else(r->id_by, pok));
    return sg_end(b);
}

struct kd_slice
sg_make_user(struct kd_buf *b, const struct sg_user *r)
{
    const struct sg_world *w = sg_world();
    const struct sg_pair *pair = or_else(r->pair, &w->alice);
    const struct sg_pair *org = or_else(r->org_by, &w->sok);

    sg_begin(b, r->request ? DIME_MAGIC_SSR : DIME_MAGIC_USER);
    sg_sign_key(b, r->layout, pair->key);
    sg_enc_key(b, 2, r->layout, r->enc != NULL ? r->enc : w->alice_enc);
    kd_buf_put(b, r->before_5);
    if (r->custody_by != NULL)
        sg_sign(b, 4, r->custody_by);
    sg_sign(b, 5, or_else(r->user_by, pair));
    if (r->request)
        return sg_end(b);
    sg_sign(b, 6, org);
    if (r->until == DIME_PART_CORE)
        return sg_end(b);
    kd_buf_put(b, r->extra);
    sg_sign(b, 253, or_else(r->full_by, org));
    if (r->until == DIME_PART_FULL)
        return sg_end(b);
    sg_identifier(b, r->identifier != NULL ? r->identifier : "alice@example.com",
                  r->id_octets);
    sg_sign(b, 255, or_else(r->id_by, org));
    return sg_end(b);
}

static struct kd_slice
exact_copy(struct kd_slice s)
{
    uint8_t *p = s.n == 0 ? NULL : malloc(s.n);

    must(s.n == 0 || p != NULL, "memory");
    if (s.n != 0)
        memcpy(p, s.p, s.n);
    return kd_slice(p, s.n);
}

enum dime_reason
sg_parse_why(struct kd_slice octets)
{
    struct kd_slice copy = exact_copy(octets);
    struct dime_signet s;
    enum dime_reason why;

    kd_err err = dime_signet_parse(copy, &s, &why);
    must(err == dime_reason_err(why), "result and reason differ");
    sg_free(copy);
    return why;
}

enum dime_reason
sg_org_why(struct kd_slice org, const uint8_t trusted[32])
{
    struct kd_slice copy = exact_copy(org);
    uint8_t known[1][32];
    struct dime_signet s;
    struct dime_verdict v;
    enum dime_reason why;

    if (trusted != NULL)
        memcpy(known[0], trusted, 32);
    if (dime_signet_parse_as(DIME_ORG, copy, &s, &why) == KD_OK) {
        kd_err err =
            dime_org_verify(&s, (const uint8_t(*)[32])known, trusted != NULL, &v);
        why = v.why;
        must(err == dime_reason_err(why) && v.holds == (err == KD_OK), "org verdict");
    }
    sg_free(copy);
    return why;
}

/* Parses user and predecessor and hands both to one of the two checks. */
static enum dime_reason
chain_why(enum dime_kind kind, struct kd_slice octets, const struct dime_signet *org,
          struct kd_slice prev)
{
    struct dime_signet s, before;
    struct dime_verdict v;
    enum dime_reason why;
    kd_err err = dime_signet_parse_as(kind, octets, &s, &why);

    if (err != KD_OK)
        return why;
    if (prev.n != 0)
        must(dime_signet_parse(prev, &before, &why) == KD_OK, "predecessor");
    const struct dime_signet *p = prev.n != 0 ? &before : NULL;
    err = kind == DIME_SSR ? dime_ssr_verify(&s, p, &v)
                           : dime_user_verify(&s, org, p, &v);
    must(err == dime_reason_err(v.why) && v.holds == (err == KD_OK), "user verdict");
    return v.why;
}

enum dime_reason
sg_user_why(struct kd_slice user, struct kd_slice org, struct kd_slice prev)
{
    struct kd_slice copy = exact_copy(user);
    struct dime_signet o;
    enum dime_reason why;

    must(dime_signet_parse_as(DIME_ORG, org, &o, &why) == KD_OK, "org signet");
    why = chain_why(DIME_USER, copy, &o, prev);
    sg_free(copy);
    return why;
}

enum dime_reason
sg_ssr_why(struct kd_slice ssr, struct kd_slice prev)
{
    struct kd_slice copy = exact_copy(ssr);
    enum dime_reason why = chain_why(DIME_SSR, copy, NULL, prev);

    sg_free(copy);
    return why;
}

struct kd_slice
sg_file_at(const char *path)
{
    enum { MOST = 1 << 20 };
    FILE *f = fopen(path, "rb");
    uint8_t *octets = malloc(MOST);

    must(octets != NULL, "memory");
    if (f == NULL) {
        free(octets);
        return kd_slice(NULL, 0);
    }
    size_t n = fread(octets, 1, MOST, f);
    must(n != 0 && n < MOST, path);
    fclose(f);
    return kd_slice(octets, n);
}

struct kd_slice
sg_file(const char *name)
{
    char path[1024];

    must(snprintf(path, sizeof path, "%s/%s", KEYD_VECTORS, name) < (int)sizeof path,
         name);
    struct kd_slice raw = sg_file_at(path);
    must(raw.n != 0, path);
    size_t end = strlen(name), n = 0;
    if (end < 4 || strcmp(name + end - 4, ".b64") != 0)
        return raw;
    uint8_t *octets = malloc(raw.n);
    must(octets != NULL &&
             sodium_base642bin(octets, raw.n, (const char *)raw.p, raw.n, "\n", &n,
                               NULL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0,
         name);
    sg_free(raw);
    struct kd_slice out = exact_copy(kd_slice(octets, n));
    free(octets);
    return out;
}

void
sg_free(struct kd_slice s)
{
    union {
        const uint8_t *borrowed;
        uint8_t *owned;
    } p = {.borrowed = s.p};

    free(p.owned);
}
