#include "mail.h"

#include "aes.h"

#include <keyd/base/be.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define FP_ALICE                                                                       \
    "EWbuI1AgxvKJrMIc8NU/zjR4zl4PtrmITSWLeycvuSWWW7mMcDY60EZQdpf1rpLkj/QJOj/"          \
    "ViQ9h4UN73ipV6g"
#define FP_BOB                                                                         \
    "r7jvjk+xzInR66tkV5Dx39b0u1D/"                                                     \
    "l3hBlX0KKs5GOf7u/0qI/pU8dIYFA8r7cqAWdVsxi7fYi2lx6LCMEqi/OA"
#define FP_COM                                                                         \
    "a5telvkSzl2HSShNKl7L/844o+ZRZlfbZguWbXmBJihXHlsBiwSbqpjsjvwRte0NXD9gPbbtfL1PtUIg" \
    "MV0qVg"
#define FP_ORG                                                                         \
    "yWLf0Wu7vkidYS9f+bIkDfGFOUu0thmC9+tUnjmz6VNfPF8rrE85lzgqUpm+5d45HV8551aJssAXgG+s" \
    "+5lc5g"

static const char origin_text[] = "Author: <alice@example.com>\r\n"
                                  "Author-Signet: [" FP_ALICE "]\r\n"
                                  "Destination: <example.org>\r\n"
                                  "Destination-Signet: [" FP_ORG "]\r\n";
static const char destination_text[] = "Recipient: <bob@example.org>\r\n"
                                       "Recipient-Signet: [" FP_BOB "]\r\n"
                                       "Origin: <example.com>\r\n"
                                       "Origin-Signet: [" FP_COM "]\r\n";
static const char common_text[] = "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
                                  "To: Bob <bob@example.org>\r\n"
                                  "From: Alice <alice@example.com>\r\n"
                                  "Subject: Test vector\r\n";
static const char headers_text[] = "MIME-Version: 1.0\r\n";

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "test support: %s\n", what);
        abort();
    }
}

/* Of a seed in hex, or the SHA-256 of a text. */
static struct dime_ed25519_secret *
secret_of(const char *seed)
{
    struct dime_ed25519_secret *s = kd_secret_new(sizeof *s);
    uint8_t octets[DIME_SEED_SIZE];
    size_t n;

    must(s != NULL, "secret memory");
    if (sodium_hex2bin(octets, sizeof octets, seed, strlen(seed), NULL, &n, NULL) !=
            0 ||
        n != sizeof octets)
        crypto_hash_sha256(octets, (const uint8_t *)seed, strlen(seed));
    dime_ed25519_secret_init(s, octets);
    return s;
}

/* What OpenSSL sets up at the first use of a cipher is nobody's heap. */
static void
warm_up(void)
{
    static const struct dime_kek kek;
    static const uint8_t slot[DIME_SLOT_SIZE];
    struct dime_chunk_key key;

    must(dime_slot_open(&kek, slot, &key) == KD_OK, "cipher");
}

const struct mail_people *
mail_people(size_t room)
{
    static const char *const texts[DIME_ACTOR_COUNT] = {
        "keyd-test alice enc", "keyd-test origin enc", "keyd-test destination enc",
        "keyd-test bob enc"};
    static struct mail_people people;

    if (people.author != NULL)
        return &people;
    must(kd_secret_setup(4096 + room) == KD_OK, "secret memory");
    warm_up();
    people.author =
        secret_of("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
    people.organization =
        secret_of("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    people.destination = secret_of("keyd-test example.org pok");
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++) {
        crypto_hash_sha256(people.scalars[i], (const uint8_t *)texts[i],
                           strlen(texts[i]));
        must(dime_secp_public(people.scalars[i], people.keys[i]) == KD_OK, texts[i]);
    }
    return &people;
}

struct dime_content
mail_text(const char *text)
{
    return (struct dime_content){.type = DIME_CHUNK_DISPLAY_CONTENT,
                                 .data = dime_source_of(kd_slice_str(text))};
}

void
mail_plan(const struct dime_content *contents, size_t n, struct dime_plan *out)
{
    const struct mail_people *people = mail_people(0);

    *out = (struct dime_plan){.author = people->author,
                              .origin = kd_slice_str(origin_text),
                              .destination = kd_slice_str(destination_text),
                              .common = kd_slice_str(common_text),
                              .headers = kd_slice_str(headers_text),
                              .contents = contents,
                              .n_contents = n,
                              .metadata_bounce = true,
                              .display_bounce = true};
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++)
        out->keys[i] = people->keys[i];
}

void
mail_kek(enum dime_actor actor, const uint8_t ephemeral[DIME_SECP_KEY_SIZE],
         struct dime_kek *out)
{
    must(dime_kek_agree(mail_people(0)->scalars[actor], ephemeral, out) == KD_OK,
         "key encryption key");
}

void
mail_slot(const struct dime_message *m, const struct dime_chunk *c,
          enum dime_actor actor, const struct dime_kek *kek, struct mail_slot *out)
{
    uint8_t slot[DIME_SLOT_SIZE], plain[DIME_SLOT_SIZE];
    uint64_t at =
        dime_chunk_slots(c) + (uint64_t)dime_chunk_slot(c->def, actor) * DIME_SLOT_SIZE;

    must(dime_source_read(&m->source, at, slot, sizeof slot) == KD_OK, "slot");
    must(aes_cbc_once(false, kek->key, kek->iv, slot, sizeof slot, plain) == KD_OK,
         "slot");
    memcpy(out->random, plain, 16);
    for (size_t i = 0; i < 16; i++)
        out->key.iv[i] = plain[i] ^ plain[16 + i];
    memcpy(out->key.key, plain + 32, 32);
}

struct dime_message
mail_parse(struct kd_slice octets)
{
    struct dime_source source = dime_source_of(octets);
    struct dime_message m;
    enum dime_flaw why;

    kd_err err = dime_message_parse(&source, UINT32_MAX, &m, &why);
    must(err == KD_OK, dime_flaw_text(why));
    return m;
}

/* --- opening --- */

static bool
has_slot(const struct dime_chunk *c, enum dime_actor actor)
{
    return c->def != NULL && dime_chunk_slot(c->def, actor) >= 0;
}

static void
open_signature(const struct dime_message *m, const struct dime_chunk *c,
               enum dime_actor actor, const struct dime_kek *kek, uint8_t sig[64],
               const struct dime_ed25519_secret *by, struct dime_claim *claim)
{
    struct dime_chunk_key key;

    if (!has_slot(c, actor))
        return;
    must(dime_chunk_key_of(m, c, actor, kek, &key) == KD_OK, "slot");
    must(dime_signature_open(m, c, &key, sig) == KD_OK, "signature chunk");
    *claim = (struct dime_claim){.sig = sig, .keys = &by->use.key, .n_keys = 1};
}

static void
verify(const struct dime_message *m, enum dime_actor actor, const struct dime_kek *kek,
       struct dime_verdicts *out)
{
    const struct mail_people *p = mail_people(0);
    struct dime_claims claims = {.vouching = true};
    uint8_t sigs[5][DIME_SIG_SIZE];

    open_signature(m, &m->tree, actor, kek, sigs[0], p->author, &claims.tree);
    open_signature(m, &m->author, actor, kek, sigs[1], p->author, &claims.author);
    open_signature(m, &m->metadata_bounce, actor, kek, sigs[2], p->organization,
                   &claims.metadata_bounce);
    open_signature(m, &m->display_bounce, actor, kek, sigs[3], p->organization,
                   &claims.display_bounce);
    open_signature(m, &m->organization, actor, kek, sigs[4], p->organization,
                   &claims.organization);
    must(dime_message_verify(m, &claims, out) == KD_OK, "verification");
}

static void
open_text(const struct dime_reader *r, const struct dime_chunk *c, struct kd_buf *out)
{
    struct dime_payload payload;

    kd_buf_init(out, DIME_DATA_MAX);
    if (!has_slot(c, r->actor))
        return;
    must(dime_reader_open(r, c, &payload, out) == KD_OK, c->def->label);
    must(payload.flags == 0, "flags");
}

static kd_err
put(void *ctx, struct kd_slice piece)
{
    struct kd_buf *out = ctx;

    kd_buf_put(out, piece);
    return out->err;
}

static void
open_parts(const struct dime_reader *r, struct mail_view *out)
{
    struct dime_span s;
    kd_err err = KD_OK;

    kd_buf_init(&out->parts, UINT32_MAX);
    if (r->actor != DIME_AUTHOR && r->actor != DIME_RECIPIENT)
        return;
    for (uint64_t at = r->m->display; dime_span_next(r, &at, r->m->signs, &s, &err);) {
        must(s.state == DIME_SPAN_GOOD, "part");
        must(dime_span_read(r, &s, put, &out->parts) == KD_OK, "part");
        out->n_parts++;
        out->n_pieces += s.n;
    }
    must(err == KD_OK, "parts");
}

void
mail_open(const struct dime_message *m, enum dime_actor actor, struct mail_view *out)
{
    struct dime_kek kek;

    *out = (struct mail_view){.n_parts = 0};
    mail_kek(actor, m->ephemeral, &kek);
    verify(m, actor, &kek, &out->verdicts);
    const struct dime_reader r = {.m = m,
                                  .actor = actor,
                                  .kek = &kek,
                                  .author = mail_people(0)->author->use.key,
                                  .vouched = out->verdicts.author == DIME_VERDICT_GOOD};
    open_text(&r, &m->origin, &out->origin);
    open_text(&r, &m->destination, &out->destination);
    open_text(&r, &m->common, &out->common);
    open_text(&r, &m->headers, &out->headers);
    open_parts(&r, out);
}

void
mail_view_free(struct mail_view *v)
{
    kd_buf_free(&v->origin);
    kd_buf_free(&v->destination);
    kd_buf_free(&v->common);
    kd_buf_free(&v->headers);
    kd_buf_free(&v->parts);
}

/* --- objects of other kinds --- */

static kd_err
sign_by(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    return dime_ed25519_secret_sign(ctx, message, sig);
}

struct dime_signer
mail_signer(struct dime_ed25519_secret *by)
{
    return (struct dime_signer){.sign = sign_by, .ctx = by};
}

uint8_t *
mail_exact(struct kd_slice octets)
{
    uint8_t *copy = malloc(octets.n == 0 ? 1 : octets.n);

    must(copy != NULL, "memory");
    if (octets.n != 0)
        memcpy(copy, octets.p, octets.n);
    return copy;
}

kd_err
mail_error_of(enum dime_flaw flaw)
{
    if (flaw == DIME_FLAW_NONE)
        return KD_OK;
    return flaw == DIME_FLAW_TOO_LARGE ? KD_TOO_LARGE : KD_MALFORMED;
}

static void
set_size(uint8_t *object, size_t n)
{
    kd_put_be32(object + 2, (uint32_t)(n - DIME_MESSAGE_HEADER));
}

void
mail_replace(const struct kd_buf *from, uint64_t at, uint64_t end, struct kd_slice by,
             struct kd_buf *out)
{
    kd_buf_init(out, from->n + by.n);
    kd_buf_put(out, kd_slice(from->p, (size_t)at));
    kd_buf_put(out, by);
    kd_buf_put(out, kd_slice(from->p + end, from->n - (size_t)end));
    must(out->err == KD_OK, "memory");
    set_size(out->p, out->n);
}

void
mail_cut_everywhere(const struct kd_buf *object,
                    enum dime_flaw (*flaw_of)(struct kd_slice octets))
{
    for (size_t n = 0; n < object->n; n++) {
        bool has_header = n >= DIME_MESSAGE_HEADER;
        uint8_t *cut = mail_exact(kd_slice(object->p, n));
        must(flaw_of(kd_slice(cut, n)) ==
                 (has_header ? DIME_FLAW_LENGTH : DIME_FLAW_SHORT),
             "an object with less than its header says is refused for that");
        if (has_header) {
            set_size(cut, n);
            must(flaw_of(kd_slice(cut, n)) != DIME_FLAW_NONE,
                 "an object that lacks its end is refused");
        }
        free(cut);
    }
}

/* --- signing again --- */

static void
put_signature(const struct dime_message *m, uint8_t *octets, const struct dime_chunk *c,
              const struct dime_ed25519_secret *by, struct kd_slice what)
{
    enum dime_actor actor = DIME_ORIGIN; /* has a slot in every one of them */
    struct dime_chunk_key key;
    struct dime_kek kek;
    uint8_t sig[DIME_SIG_SIZE];

    mail_kek(actor, m->ephemeral, &kek);
    must(dime_chunk_key_of(m, c, actor, &kek, &key) == KD_OK, "slot");
    must(dime_ed25519_secret_sign(by, what, sig) == KD_OK, "signing");
    must(aes_cbc_once(true, key.key, key.iv, sig, sizeof sig,
                      octets + dime_chunk_payload(c)) == KD_OK,
         "sealing");
}

static struct kd_slice
until(const struct dime_message *m, uint64_t end)
{
    return kd_slice(m->source.p + m->begin, (size_t)(end - m->begin));
}

static void
put_tree(const struct dime_message *m, uint8_t *octets, bool legacy)
{
    uint8_t hashes[64 * 64] = {0};
    struct dime_chunk c;
    size_t n = 0;
    kd_err err;

    for (uint64_t at = m->begin; dime_message_next(m, &at, m->signs, &c, &err);) {
        must((n + 2) * 64 <= sizeof hashes, "room for hashes");
        if (legacy && c.def->type == DIME_CHUNK_DESTINATION)
            continue;
        crypto_hash_sha512(hashes + 64 * n++, octets + c.at, dime_chunk_end(&c) - c.at);
    }
    n += legacy; /* what is left zero by the hash that was overwritten */
    put_signature(m, octets, &m->tree, mail_people(0)->author,
                  kd_slice(hashes, n * 64));
}

void
mail_resign(uint8_t *octets, size_t n, bool legacy_tree)
{
    const struct mail_people *p = mail_people(0);
    struct dime_message m = mail_parse(kd_slice(octets, n));

    put_tree(&m, octets, legacy_tree);
    put_signature(&m, octets, &m.author, p->author, until(&m, m.author.at));
    if (m.metadata_bounce.def != NULL)
        put_signature(&m, octets, &m.metadata_bounce, p->organization,
                      until(&m, m.display));
    if (m.display_bounce.def != NULL)
        put_signature(&m, octets, &m.display_bounce, p->organization,
                      until(&m, m.attached));
    put_signature(&m, octets, &m.organization, p->organization,
                  until(&m, m.organization.at));
}
