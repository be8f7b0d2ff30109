#include <dime/ed25519_signer.h>
#include <dime/ed25519_stream.h>
#include <dime/ed25519_verifier.h>

#include <keyd/base/secret.h>

#include <assert.h>
#include <stdlib.h>

enum { MOVE_COST = 512 }; /* in octets of budget: a system call, roughly */

/* A signer reads the message for the nonce, then for the challenge; a verifier only
 * for the challenge. */
enum pass { PASS_NONCE, PASS_CHALLENGE, PASS_DONE };

struct dime_ed25519_stream {
    const struct dime_ed25519_secret *secret; /* NULL: verifies */
    uint64_t size;                            /* of the message */

    enum pass pass;
    kd_err err;
    struct dime_parts_cursor cursor;
    uint64_t read; /* in this pass */

    struct dime_ed25519_verifier verifier;

    /* of a signer */
    struct dime_ed25519_nonce nonce;
    struct dime_ed25519_signer signer;
    uint8_t sig[DIME_SIG_SIZE];
};

static void
begin_challenge(struct dime_ed25519_stream *s)
{
    s->pass = PASS_CHALLENGE;
    s->cursor.part = 0;
    s->cursor.at = 0;
    s->read = 0;
}

kd_err
dime_ed25519_stream_sign(const struct dime_ed25519_secret *secret,
                         const struct dime_stream_part *parts, size_t n_parts,
                         uint64_t max, struct dime_ed25519_stream **out)
{
    struct dime_ed25519_stream *s = NULL;
    uint64_t size;
    kd_err err;

    if ((err = dime_parts_measure(parts, n_parts, max, true, &size)) != KD_OK)
        return err;
    uint8_t *buffer = malloc(DIME_STREAM_BUFFER);
    if (buffer == NULL)
        return KD_NOMEM;
    if ((s = kd_secret_new(sizeof *s)) == NULL) {
        free(buffer);
        return KD_NOMEM;
    }
    s->secret = secret;
    s->size = size;
    s->cursor = (struct dime_parts_cursor){parts, n_parts, buffer, 0, 0};
    if ((err = dime_ed25519_nonce_init(&s->nonce, secret)) != KD_OK) {
        dime_ed25519_stream_free(s);
        return err;
    }
    s->pass = PASS_NONCE;
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

    if ((err = dime_parts_measure(parts, n_parts, max, false, &size)) != KD_OK)
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
    s->size = size;
    s->cursor = (struct dime_parts_cursor){parts, n_parts, buffer, 0, 0};
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
    free(s->cursor.buffer);
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

static void
add(struct dime_ed25519_stream *s, struct kd_slice octets)
{
    if (s->secret == NULL)
        dime_ed25519_verifier_add(&s->verifier, octets);
    else if (s->pass == PASS_NONCE)
        dime_ed25519_nonce_add(&s->nonce, octets);
    else
        dime_ed25519_signer_add(&s->signer, octets);
    s->read += octets.n;
}

static kd_err
end_nonce(struct dime_ed25519_stream *s)
{
    kd_err err = dime_ed25519_nonce_commit(&s->nonce, &s->signer);

    kd_secret_wipe(&s->nonce, sizeof s->nonce);
    if (err == KD_OK)
        begin_challenge(s);
    return err;
}

static kd_err
end_challenge(struct dime_ed25519_stream *s)
{
    s->pass = PASS_DONE;
    if (s->secret == NULL)
        return dime_ed25519_verifier_end(&s->verifier);
    return dime_ed25519_signer_end(&s->signer, s->secret, s->sig);
}

/* One move: some octets, the next part, or the end of a pass. */
static kd_err
move(struct dime_ed25519_stream *s, size_t budget, size_t *n)
{
    struct kd_slice octets;

    *n = 0;
    if (dime_parts_at_end(&s->cursor))
        return s->pass == PASS_NONCE ? end_nonce(s) : end_challenge(s);
    kd_err err = dime_parts_next(&s->cursor, budget, &octets);
    if (err == KD_OK)
        add(s, octets);
    *n = err == KD_OK ? octets.n : 0;
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
