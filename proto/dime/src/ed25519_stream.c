#include <dime/ed25519_stream.h>
#include <dime/ed25519_verifier.h>

#include "eddsa.h"
#include "sha512.h"

#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <assert.h>
#include <stdlib.h>

enum { MOVE_COST = 512 }; /* in octets of budget: a system call, roughly */

/* A signer reads the message for the nonce, then for the challenge; a verifier only
 * for the challenge. */
enum pass { PASS_NONCE, PASS_CHALLENGE, PASS_DONE };

struct dime_ed25519_stream {
    const struct dime_ed25519_secret *secret; /* NULL: verifies */
    const struct dime_stream_part *parts;
    size_t n_parts;
    uint64_t size; /* of the message */
    uint8_t *buffer;

    enum pass pass;
    kd_err err;
    size_t part;
    uint64_t at;   /* in the part, its head included */
    uint64_t read; /* in this pass */

    struct dime_ed25519_verifier verifier;

    /* of a signer */
    struct sha512 hash;
    uint8_t key[DIME_ED25519_KEY_SIZE];
    uint8_t r[32];
    uint8_t sig[DIME_SIG_SIZE];
};

/* Adds up the parts; the seals and the ends of files only where it signs. */
static kd_err
measure(const struct dime_stream_part *parts, size_t n_parts, uint64_t max, bool sealed,
        uint64_t *size)
{
    uint64_t left = max;

    for (size_t i = 0; i < n_parts; i++) {
        const struct dime_stream_part *p = parts + i;
        size_t file_size;
        kd_err err;
        if (p->head.n > left || p->n > left - p->head.n)
            return KD_TOO_LARGE;
        left -= p->head.n + p->n;
        if (p->n == 0)
            continue;
        if (p->off > INT64_MAX || p->n > INT64_MAX - p->off)
            return KD_MALFORMED;
        if (!sealed)
            continue;
        if ((err = kd_memfd_check(p->fd, SIZE_MAX, &file_size)) != KD_OK)
            return err;
        if (p->off > file_size || p->n > file_size - p->off)
            return KD_MALFORMED;
    }
    *size = max - left;
    return KD_OK;
}

static void
begin_nonce(struct dime_ed25519_stream *s)
{
    s->pass = PASS_NONCE;
    sha512_init(&s->hash);
    sha512_add(&s->hash, s->secret->use.prefix, sizeof s->secret->use.prefix);
}

/* R is in its place */
static void
begin_challenge(struct dime_ed25519_stream *s)
{
    s->pass = PASS_CHALLENGE;
    s->part = 0;
    s->at = 0;
    s->read = 0;
    sha512_init(&s->hash);
    sha512_add(&s->hash, s->sig, 32);
    sha512_add(&s->hash, s->key, sizeof s->key);
}

kd_err
dime_ed25519_stream_sign(const struct dime_ed25519_secret *secret,
                         const struct dime_stream_part *parts, size_t n_parts,
                         uint64_t max, struct dime_ed25519_stream **out)
{
    struct dime_ed25519_stream *s = NULL;
    uint64_t size;
    kd_err err;

    if ((err = measure(parts, n_parts, max, true, &size)) != KD_OK)
        return err;
    if ((err = dime_ed25519_secret_check(secret)) != KD_OK)
        return err;
    uint8_t *buffer = malloc(DIME_STREAM_BUFFER);
    if (buffer == NULL)
        return KD_NOMEM;
    if ((s = kd_secret_new(sizeof *s)) == NULL) {
        free(buffer);
        return KD_NOMEM;
    }
    s->secret = secret;
    s->parts = parts;
    s->n_parts = n_parts;
    s->size = size;
    s->buffer = buffer;
    memcpy(s->key, secret->use.key, sizeof s->key);
    begin_nonce(s);
    *out = s;
    return KD_OK;
}

kd_err
dime_ed25519_stream_verify(const uint8_t key[DIME_ED25519_KEY_SIZE],
                           const uint8_t sig[DIME_SIG_SIZE],
                           const struct dime_stream_part *parts, size_t n_parts,
                           uint64_t max, struct dime_ed25519_stream **out)
{
    struct dime_ed25519_stream *s = NULL;
    struct dime_ed25519_verifier verifier;
    uint64_t size;
    kd_err err;

    if ((err = measure(parts, n_parts, max, false, &size)) != KD_OK)
        return err;
    dime_ed25519_verifier_init(&verifier, key, sig);
    if (dime_ed25519_verifier_is_hopeless(&verifier) || !dime_ed25519_key_valid(key))
        return KD_INVALID;
    uint8_t *buffer = malloc(DIME_STREAM_BUFFER);
    if (buffer == NULL)
        return KD_NOMEM;
    if ((s = calloc(1, sizeof *s)) == NULL) {
        free(buffer);
        return KD_NOMEM;
    }
    s->parts = parts;
    s->n_parts = n_parts;
    s->size = size;
    s->buffer = buffer;
    s->verifier = verifier;
    s->pass = PASS_CHALLENGE;
    *out = s;
    return KD_OK;
}

void
dime_ed25519_stream_free(struct dime_ed25519_stream *s)
{
    if (s == NULL)
        return;
    free(s->buffer);
    if (s->secret != NULL)
        kd_secret_free(s, sizeof *s);
    else
        free(s);
}

static uint64_t
least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Hashes the next octets of the current part, at most budget; *n says how many, 0 at
 * the end of the part. */
static kd_err
feed(struct dime_ed25519_stream *s, size_t budget, size_t *n)
{
    const struct dime_stream_part *p = s->parts + s->part;
    const uint8_t *octets = s->buffer;

    if (s->at < p->head.n) {
        *n = (size_t)least(budget, p->head.n - s->at);
        octets = p->head.p + s->at;
    } else {
        uint64_t at = s->at - p->head.n;
        *n = (size_t)least(least(budget, DIME_STREAM_BUFFER), p->n - at);
        kd_err err = kd_memfd_read(p->fd, (size_t)(p->off + at), s->buffer, *n);
        if (err != KD_OK)
            return err;
    }
    if (s->secret == NULL)
        dime_ed25519_verifier_add(&s->verifier, kd_slice(octets, *n));
    else
        sha512_add(&s->hash, octets, *n);
    s->at += *n;
    s->read += *n;
    return KD_OK;
}

static kd_err
end_nonce(struct dime_ed25519_stream *s)
{
    uint8_t digest[64];

    sha512_final(&s->hash, digest);
    kd_err err = eddsa_commit(digest, s->r, s->sig);
    kd_secret_wipe(digest, sizeof digest);
    if (err == KD_OK)
        begin_challenge(s);
    return err;
}

static kd_err
end_challenge(struct dime_ed25519_stream *s)
{
    uint8_t digest[64];
    kd_err err;

    s->pass = PASS_DONE;
    if (s->secret == NULL)
        return dime_ed25519_verifier_end(&s->verifier);
    sha512_final(&s->hash, digest);
    /* The key was hashed from our copy: it has to be the one the scalar belongs to. */
    if ((err = dime_ed25519_secret_check(s->secret)) != KD_OK)
        return err;
    if (!kd_secret_eq(s->key, s->secret->use.key, sizeof s->key))
        return KD_FAILED;
    eddsa_respond(s->secret->use.a, s->r, digest, s->sig + 32);
    kd_secret_wipe(s->r, sizeof s->r);
    return dime_ed25519_secret_check(s->secret);
}

/* One move: some octets, the next part, or the end of a pass. */
static kd_err
move(struct dime_ed25519_stream *s, size_t budget, size_t *n)
{
    *n = 0;
    if (s->part == s->n_parts)
        return s->pass == PASS_NONCE ? end_nonce(s) : end_challenge(s);
    kd_err err = feed(s, budget, n);
    if (err == KD_OK && *n == 0) {
        s->part++;
        s->at = 0;
    }
    return err;
}

kd_err
dime_ed25519_stream_step(struct dime_ed25519_stream *s, size_t budget, bool *more)
{
    assert(budget > 0);
    while (s->err == KD_OK && s->pass != PASS_DONE && budget > 0) {
        size_t n;
        s->err = move(s, budget, &n);
        budget -= (size_t)least(budget, n < MOVE_COST ? MOVE_COST : n);
    }
    *more = s->err == KD_OK && s->pass != PASS_DONE;
    return s->err;
}

uint64_t
dime_ed25519_stream_left(const struct dime_ed25519_stream *s)
{
    if (s->pass == PASS_DONE || s->err != KD_OK)
        return 0;
    return s->size - s->read + (s->pass == PASS_NONCE ? s->size : 0);
}

kd_err
dime_ed25519_stream_signature(const struct dime_ed25519_stream *s,
                              uint8_t sig[DIME_SIG_SIZE])
{
    if (s->err != KD_OK)
        return s->err;
    if (s->secret == NULL || s->pass != PASS_DONE)
        return KD_FAILED;
    memcpy(sig, s->sig, sizeof s->sig);
    return KD_OK;
}

kd_err
dime_ed25519_stream_verdict(const struct dime_ed25519_stream *s)
{
    if (s->err != KD_OK)
        return s->err;
    return s->secret == NULL && s->pass == PASS_DONE ? KD_OK : KD_FAILED;
}
