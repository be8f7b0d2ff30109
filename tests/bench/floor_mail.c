#include "floor.h"

#include "letter.h"
#include "sg.h"

#include <dime/ed25519.h>
#include <dime/ed25519_verifier.h>
#include <dime/message.h>
#include <dime/message_verify.h>

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define must floor_must

enum {
    ORIGIN_KEYS = 2, /* of letters: POK and SOK */
    /* Octets that a signature of a signet covers: they are hashed, which is little
     * beside the curve. */
    SIGNET_COVERED = 400,
    ORG_SIGNATURES = 3, /* fields 3, 253 and 255 */
    CHUNKS_MAX = 16,
};

/* A signature by our key over the work's first n octets. */
struct signature {
    size_t n;
    uint8_t sig[DIME_SIG_SIZE];
};

static struct {
    size_t text; /* of what it was made; 0: of nothing yet */
    struct letter *letter;
    struct kd_slice octets;
    uint8_t key[32], secret[64], scalar[32], point[33];
    struct signature signet, four, tree, author, bounces[2], organization;
    size_t hashed;                           /* in the tree */
    size_t outbound[CHUNKS_MAX], n_outbound; /* sealed octets that an origin opens */
    size_t inbound[CHUNKS_MAX], n_inbound;
    bool quick;
} work;

static void
add(struct signature *s, uint64_t n)
{
    must(n <= work.octets.n);
    s->n = (size_t)n;
    crypto_sign_detached(s->sig, NULL, work.octets.p, s->n, work.secret);
}

/* What is encrypted of a chunk: its payload and the slot of who opens it. */
static size_t
sealed_of(const struct dime_chunk *c)
{
    return c->def == NULL ? 0 : c->size + DIME_SLOT_SIZE;
}

static void
measure_sizes(void)
{
    const struct dime_source source = dime_source_of(work.octets);
    struct dime_message m;
    enum dime_flaw flaw;
    size_t n_tree = 0;
    struct dime_chunk c;
    kd_err err;

    must(dime_message_parse(&source, DIME_MESSAGE_MAX, &m, &flaw) == KD_OK);
    for (uint64_t at = m.begin; dime_message_next(&m, &at, m.signs, &c, &err);)
        n_tree += dime_message_is_signed_by(&c, DIME_CHUNK_AUTHOR_TREE);
    work.hashed = (size_t)(m.signs - m.begin);
    memcpy(work.point, m.ephemeral, sizeof work.point);
    work.octets = kd_slice(work.octets.p + m.begin, work.octets.n - (size_t)m.begin);
    add(&work.signet, SIGNET_COVERED);
    add(&work.four, m.origin.size - DIME_SIG_SIZE);
    add(&work.tree, n_tree * 64);
    add(&work.author, m.author.at - m.begin);
    add(&work.bounces[0], m.display - m.begin);
    add(&work.bounces[1], m.attached - m.begin);
    add(&work.organization, m.organization.at - m.begin);
    const size_t origin[] = {
        sealed_of(&m.origin),         sealed_of(&m.tree),
        sealed_of(&m.author),         sealed_of(&m.metadata_bounce),
        sealed_of(&m.display_bounce), sealed_of(&m.organization)};
    const size_t destination[] = {
        sealed_of(&m.destination), sealed_of(&m.metadata_bounce),
        sealed_of(&m.display_bounce), sealed_of(&m.organization)};
    work.n_outbound = sizeof origin / sizeof *origin;
    memcpy(work.outbound, origin, sizeof origin);
    work.n_inbound = sizeof destination / sizeof *destination;
    memcpy(work.inbound, destination, sizeof destination);
}

static void
make_work(size_t text)
{
    if (work.text == text)
        return;
    must(sodium_init() >= 0);
    free(work.letter);
    must((work.letter = letter_new(1, text, NULL)) != NULL);
    work.octets = kd_slice(work.letter->octets, work.letter->n);
    crypto_sign_keypair(work.key, work.secret);
    randombytes_buf(work.scalar, sizeof work.scalar);
    work.scalar[0] = 1; /* below the order */
    measure_sizes();
    work.text = text;
}

/* --- primitives --- */

static void
look_at_key(void)
{
    must(crypto_core_ed25519_is_valid_point(work.key) == 1);
}

static void
look_at_point(void)
{
    secp256k1_pubkey point;

    must(secp256k1_ec_pubkey_parse(secp256k1_context_static, &point, work.point,
                                   sizeof work.point) == 1);
}

static void
agree(void)
{
    secp256k1_pubkey peer;
    uint8_t z[32];

    must(secp256k1_ec_pubkey_parse(secp256k1_context_static, &peer, work.point,
                                   sizeof work.point) == 1);
    must(secp256k1_ecdh(secp256k1_context_static, z, &peer, work.scalar, NULL, NULL) ==
         1);
}

/* Chunk by chunk: every one has a key of its own. */
static void
crypt_(const size_t *n, size_t n_chunks, int encrypt)
{
    static uint8_t out[4096];
    static EVP_CIPHER_CTX *ctx;
    static EVP_CIPHER *cipher;
    int done;

    if (ctx == NULL) {
        must((ctx = EVP_CIPHER_CTX_new()) != NULL);
        must((cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL)) != NULL);
    }
    for (size_t i = 0; i < n_chunks; i++) {
        must(n[i] <= sizeof out && n[i] <= work.octets.n);
        must(EVP_CipherInit_ex2(ctx, cipher, work.scalar, work.key, encrypt, NULL) ==
             1);
        EVP_CIPHER_CTX_set_padding(ctx, 0);
        must(EVP_CipherUpdate(ctx, out, &done, work.octets.p, (int)n[i]) == 1);
    }
}

static void
verify(const struct signature *s)
{
    must(crypto_sign_verify_detached(s->sig, work.octets.p, s->n, work.key) == 0);
}

static void
verify_secret(const struct signature *s, unsigned n_keys)
{
    struct dime_ed25519_verifier v;

    if (work.quick) {
        verify(s);
        return;
    }
    for (unsigned i = 0; i < n_keys; i++) {
        dime_ed25519_verifier_init(&v, work.key, s->sig);
        dime_ed25519_verifier_add(&v, kd_slice(work.octets.p, s->n));
        must(dime_ed25519_verifier_end(&v) == KD_OK);
    }
}

static void
sign(struct signature *s)
{
    crypto_sign_detached(s->sig, NULL, work.octets.p, s->n, work.secret);
    verify(s);
}

static void
hash(size_t n)
{
    uint8_t digest[64];

    SHA512(work.octets.p, n, digest);
}

/* --- operations --- */

static void
sign_outbound(void *ctx)
{
    (void)ctx;
    verify(&work.signet);
    agree();
    crypt_(work.outbound, work.n_outbound, 0);
    hash(work.hashed);
    verify_secret(&work.author, 1);
    verify_secret(&work.tree, 1);
    verify_secret(&work.four, 1);
    sign(&work.bounces[0]);
    sign(&work.bounces[1]);
    sign(&work.organization);
    crypt_(work.outbound + 3, 3, 1);
}

static void
open_envelope(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < ORIGIN_KEYS; i++)
        look_at_key();
    look_at_point();
    for (unsigned i = 0; i < ORG_SIGNATURES; i++)
        verify(&work.signet);
    agree();
    crypt_(work.inbound, work.n_inbound, 0);
    verify_secret(&work.organization, ORIGIN_KEYS);
    verify_secret(&work.bounces[0], ORIGIN_KEYS);
    verify_secret(&work.bounces[1], ORIGIN_KEYS);
}

struct floor
floor_sign_outbound(size_t text, bool quick, double seconds)
{
    make_work(text);
    work.quick = quick;
    return floor_measure(sign_outbound, NULL, seconds);
}

struct floor
floor_open_envelope(size_t text, bool quick, double seconds)
{
    make_work(text);
    work.quick = quick;
    return floor_measure(open_envelope, NULL, seconds);
}

/* --- large messages --- */

static void
read_four_times(void *ctx)
{
    const struct kd_slice *octets = ctx;
    uint8_t digest[64];

    for (int i = 0; i < 4; i++)
        SHA512(octets->p, octets->n, digest);
}

struct floor
floor_readings(size_t octets, double seconds)
{
    uint8_t *p = calloc(1, octets);
    struct kd_slice all = {p, octets};

    must(p != NULL);
    memset(p, 0x5a, octets);
    struct floor f = floor_measure(read_four_times, &all, seconds);
    free(p);
    return f;
}
