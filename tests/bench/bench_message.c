/* Messages built and opened, beside the primitives that this takes, in turns within one
 * run so that a busy machine slows both. A message of 4 KiB: microseconds, best of many
 * rounds; one of 63 MiB: milliseconds, beside readings of as many octets by OpenSSL's
 * SHA-512. A ratio is primitives by ours: 1.00 would be nothing but them. */
#include "mail.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ROUNDS = 40,
    CALLS = 10,
    LARGE_ROUNDS = 2,
    SMALL = 4096,
    LARGE = 63 << 20,
    SECRET_ROOM = 8192,
};

static const struct mail_people *people;
static struct dime_content content;
static struct dime_plan plan;
static struct kd_buf message; /* built, then signed by the origin */
static struct kd_buf scratch;
static uint8_t key[32];

static void
must(bool ok)
{
    if (!ok)
        abort();
}

/* --- ours --- */

static void
build(void)
{
    kd_buf_reset(&scratch);
    must(dime_message_build(&plan, &scratch) == KD_OK);
}

/* As the recipient's program: structure, all signatures he can open, all payloads. */
static void
open_message(void)
{
    struct dime_message m = mail_parse(kd_buf_slice(&message));
    struct mail_view v;

    mail_open(&m, DIME_RECIPIENT, &v);
    must(v.verdicts.tree == DIME_VERDICT_GOOD &&
         v.verdicts.organization == DIME_VERDICT_GOOD);
    mail_view_free(&v);
}

/* --- the primitives: Ed25519 signatures made (dime/ed25519.h, at libsodium's cost) and
 * verified (libsodium, its fastest; the one of ours that takes equally long for good
 * and bad costs more than twice that, which counts as ours), ECDH, SHA-512 and AES of
 * as many octets --- */

/* A signature over the message's first octets. */
struct signature {
    size_t n;
    uint8_t sig[DIME_SIG_SIZE];
};

static struct sizes {
    struct signature made[64]; /* by the author: of payloads, tree, 226 */
    size_t n_made;
    struct signature others[3]; /* 248, 249, 255 */
    size_t n_others;
    size_t hashed;     /* all chunks under the tree */
    size_t sealed[64]; /* of a chunk, octets that are encrypted: payload, slots */
    size_t opened[64]; /* of those, decrypted by one actor */
    size_t n_sealed;
} sizes;

static void
sign(struct signature *s)
{
    must(dime_ed25519_secret_sign(people->author, kd_slice(message.p, s->n), s->sig) ==
         KD_OK);
}

static void
verify(const struct signature *s)
{
    must(crypto_sign_verify_detached(s->sig, message.p, s->n,
                                     people->author->use.key) == 0);
}

static void
add_made(size_t n)
{
    must(sizes.n_made < sizeof sizes.made / sizeof *sizes.made);
    sizes.made[sizes.n_made].n = n;
    sign(&sizes.made[sizes.n_made++]);
}

static void
add_other(uint64_t n)
{
    must(sizes.n_others < sizeof sizes.others / sizeof *sizes.others);
    sizes.others[sizes.n_others].n = (size_t)n;
    sign(&sizes.others[sizes.n_others++]);
}

static void
measure_sizes(void)
{
    struct dime_message m = mail_parse(kd_buf_slice(&message));
    size_t n_tree = 0;
    struct dime_chunk c;
    kd_err err;

    sizes = (struct sizes){.hashed = (size_t)(m.signs - m.begin)};
    for (uint64_t at = m.begin; dime_message_next(&m, &at, m.end, &c, &err);) {
        n_tree += dime_message_is_signed_by(&c, DIME_CHUNK_AUTHOR_TREE);
        if (c.def->form == DIME_FORM_CLEAR)
            continue;
        must(sizes.n_sealed < sizeof sizes.sealed / sizeof *sizes.sealed);
        sizes.sealed[sizes.n_sealed] = c.size + (size_t)c.def->slots * DIME_SLOT_SIZE;
        sizes.opened[sizes.n_sealed++] = c.size + DIME_SLOT_SIZE;
        if (c.def->form == DIME_FORM_PAYLOAD)
            add_made(c.size - DIME_SIG_SIZE);
    }
    add_made(n_tree * 64);
    add_made((size_t)(m.author.at - m.begin));
    add_other(m.display - m.begin);
    add_other(m.attached - m.begin);
    add_other(m.organization.at - m.begin);
}

static void
hash(size_t n)
{
    uint8_t digest[64];

    SHA512(message.p, n, digest);
}

/* Chunk by chunk: every one has a key of its own. */
static void
crypt(const size_t *n, int encrypt)
{
    static EVP_CIPHER_CTX *ctx;
    static EVP_CIPHER *cipher;
    int done;

    if (ctx == NULL) {
        ctx = EVP_CIPHER_CTX_new();
        cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    }
    for (size_t i = 0; i < sizes.n_sealed; i++) {
        must(EVP_CipherInit_ex2(ctx, cipher, key, key, encrypt, NULL) == 1);
        EVP_CIPHER_CTX_set_padding(ctx, 0);
        must(EVP_CipherUpdate(ctx, scratch.p, &done, message.p, (int)n[i]) == 1);
    }
}

static void
agree(const uint8_t point[DIME_SECP_KEY_SIZE])
{
    secp256k1_pubkey peer;
    uint8_t z[32];

    must(secp256k1_ec_pubkey_parse(secp256k1_context_static, &peer, point,
                                   DIME_SECP_KEY_SIZE) == 1);
    must(secp256k1_ecdh(secp256k1_context_static, z, &peer, people->scalars[0], NULL,
                        NULL) == 1);
}

/* The ephemeral point is multiplied under fresh blinding, which is a multiplication
 * more (dime/secp.h). */
static void
make_point(void)
{
    static secp256k1_context *ctx;
    secp256k1_pubkey point;

    if (ctx == NULL)
        ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    must(secp256k1_context_randomize(ctx, key) == 1);
    must(secp256k1_ec_pubkey_create(ctx, &point, people->scalars[0]) == 1);
}

static void
build_floor(void)
{
    make_point();
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++)
        agree(people->keys[i]);
    for (size_t i = 0; i < sizes.n_made; i++) {
        sign(&sizes.made[i]);
        verify(&sizes.made[i]);
    }
    hash(sizes.hashed);
    crypt(sizes.sealed, 1);
}

static void
open_floor(void)
{
    agree(people->keys[DIME_RECIPIENT]);
    for (size_t i = 0; i < sizes.n_made; i++)
        verify(&sizes.made[i]);
    for (size_t i = 0; i < sizes.n_others; i++)
        verify(&sizes.others[i]);
    hash(sizes.hashed);
    crypt(sizes.opened, 0);
}

/* Readings of a large message: a signature is two, and one to verify it. */
enum {
    BUILD_PASSES = 3 + 1 + 3,    /* chunks, tree, 226 */
    OPEN_PASSES = 1 + 1 + 1 + 2, /* chunks, tree, 226, 249, 255 */
};

static void
build_passes(void)
{
    for (int i = 0; i < BUILD_PASSES; i++)
        hash(message.n);
}

static void
open_passes(void)
{
    for (int i = 0; i < OPEN_PASSES; i++)
        hash(message.n);
}

/* --- measuring --- */

struct row {
    const char *name;
    void (*run)(void);
    unsigned by; /* the row it is divided by */
};

static void
measure(const struct row *rows, size_t n, unsigned rounds, unsigned calls, double *best)
{
    for (size_t i = 0; i < n; i++)
        best[i] = 1e12;
    for (unsigned round = 0; round < rounds; round++) {
        for (size_t i = 0; i < n; i++) {
            int64_t from = kd_clock_ns();
            for (unsigned call = 0; call < calls; call++)
                rows[i].run();
            double us = (double)(kd_clock_ns() - from) / calls / 1000;
            best[i] = us < best[i] ? us : best[i];
        }
    }
}

static void
prepare(size_t n)
{
    struct dime_kek kek;

    content.data.n = n;
    kd_buf_reset(&message);
    must(dime_message_build(&plan, &message) == KD_OK);
    struct dime_message m = mail_parse(kd_buf_slice(&message));
    mail_kek(DIME_ORIGIN, m.ephemeral, &kek);
    must(dime_message_sign(&m, message.p, &kek, people->organization) == KD_OK);
    measure_sizes();
}

static void
small(void)
{
    static const struct row rows[] = {
        {"primitives of building", build_floor, 0},
        {"dime_message_build", build, 0},
        {"primitives of opening", open_floor, 2},
        {"parsed, verified, opened", open_message, 2},
    };
    double best[4];

    prepare(SMALL);
    measure(rows, 4, ROUNDS, CALLS, best);
    printf("message of %d octets, %zu as built\n", SMALL, message.n);
    for (size_t i = 0; i < 4; i++)
        printf("  %-34s %9.1f us  %5.2f\n", rows[i].name, best[i],
               best[rows[i].by] / best[i]);
}

static void
large(void)
{
    static const struct row rows[] = {
        {"7 readings by SHA-512", build_passes, 0},
        {"dime_message_build", build, 0},
        {"5 readings by SHA-512", open_passes, 2},
        {"parsed, verified, opened", open_message, 2},
    };
    double best[4];

    prepare(LARGE);
    measure(rows, 4, LARGE_ROUNDS, 1, best);
    printf("message of %d octets, %zu as built\n", LARGE, message.n);
    for (size_t i = 0; i < 4; i++)
        printf("  %-34s %9.1f ms  %5.2f\n", rows[i].name, best[i] / 1000,
               best[rows[i].by] / best[i]);
}

int
main(void)
{
    uint8_t *data = malloc(LARGE);

    must(data != NULL);
    people = mail_people(SECRET_ROOM);
    randombytes_buf_deterministic(data, LARGE, people->scalars[0]);
    content = mail_text("");
    content.data = dime_source_of(kd_slice(data, LARGE));
    mail_plan(&content, 1, &plan);
    kd_buf_init(&message, DIME_MESSAGE_MAX);
    kd_buf_init(&scratch, DIME_MESSAGE_MAX);
    build(); /* memory is there before anything is measured */
    small();
    large();
    kd_buf_free(&message);
    kd_buf_free(&scratch);
    free(data);
    return 0;
}
