#include "sign.h"

#include <keyd/base/secret.h>
#include <keyd/base/sha256.h>

#include <stdlib.h>

/* Between two looks at whether the key may still sign. */
enum { STEP = 1 << 20 };

static kd_err
seal(const struct sign_what *what, unsigned i, const struct kd_token_sig *sig)
{
    uint8_t *payload = what->ones[i].payload;

    if (sig->n != DIME_SIG_SIZE)
        return KD_FAILED;
    if (what->seal != NULL)
        return what->seal(what->ctx, i, sig->octets, payload);
    memcpy(payload, sig->octets, DIME_SIG_SIZE);
    return KD_OK;
}

/* --- in memory --- */

static kd_err
sign_slice(const struct mail_keys *k, const struct sign_what *what, unsigned i,
           struct kd_slice octets)
{
    struct kd_token_sig sig;
    struct kd_sha256 h;
    kd_err err = kd_token_sign(k->token, &k->signer, what->purpose, octets, &sig);

    if (err != KD_OK)
        return err;
    kd_sha256_init(&h);
    kd_sha256_add(&h, octets);
    kd_sha256_final(&h, what->ones[i].digest);
    err = seal(what, i, &sig);
    kd_secret_wipe(&sig, sizeof sig);
    return err;
}

/* A copy with the payloads so far in their places. */
static kd_err
sign_copy(const struct mail_keys *k, const struct sign_what *what, unsigned i)
{
    size_t n = (size_t)(what->ones[i].end - what->begin);
    uint8_t *octets = malloc(n);

    if (octets == NULL)
        return KD_NOMEM;
    kd_err err = dime_source_read(what->source, what->begin, octets, n);
    for (unsigned p = 0; p < i && err == KD_OK; p++)
        memcpy(octets + (what->ones[p].at - what->begin), what->ones[p].payload,
               DIME_SIG_SIZE);
    if (err == KD_OK)
        err = sign_slice(k, what, i, kd_slice(octets, n));
    free(octets);
    return err;
}

static kd_err
sign_one_by_one(const struct mail_keys *k, const struct sign_what *what)
{
    kd_err err = KD_OK;

    for (unsigned i = 0; i < what->n && err == KD_OK; i++) {
        size_t n = (size_t)(what->ones[i].end - what->begin);
        if (i > 0 && i + 1 == what->n)
            err = sign_copy(k, what, i);
        else
            err = sign_slice(k, what, i, kd_slice(what->source->p + what->begin, n));
    }
    return err;
}

/* --- in a file --- */

/* The file, and the payloads, which are not in it. */
static size_t
part(const struct sign_what *what, struct dime_stream_part parts[KD_SIGN_AT_ONCE])
{
    struct kd_slice head = {NULL, 0};
    uint64_t at = what->begin;
    size_t n = 0;

    for (unsigned i = 0; i < what->n; i++) {
        bool is_last = i + 1 == what->n;
        uint64_t until = is_last ? what->ones[i].end : what->ones[i].at;
        parts[n++] = (struct dime_stream_part){
            .head = head, .fd = what->source->fd, .off = at, .n = until - at};
        head = kd_slice(what->ones[i].payload, DIME_SIG_SIZE);
        at = until + DIME_SIG_SIZE;
    }
    return n;
}

static kd_err
made(void *ctx, unsigned which, const struct kd_token_sig *sig)
{
    return seal(ctx, which, sig);
}

static kd_err
finish(const struct sign_what *what, const struct kd_token_stream *s)
{
    uint8_t digests[KD_SIGN_AT_ONCE][KD_SIGN_DIGEST_SIZE];
    struct kd_token_sig sigs[KD_SIGN_AT_ONCE];
    kd_err err = kd_token_sign_end(s, sigs, digests);

    if (err != KD_OK)
        return err;
    for (unsigned i = 0; i < what->n; i++)
        memcpy(what->ones[i].digest, digests[i], MAIL_SHA256_SIZE);
    err = seal(what, what->n - 1, &sigs[what->n - 1]);
    kd_secret_wipe(sigs, sizeof sigs);
    return err;
}

static kd_err
sign_together(const struct mail_keys *k, struct sign_what *what)
{
    struct dime_stream_part parts[KD_SIGN_AT_ONCE];
    struct kd_token_text text = {.purpose = what->purpose,
                                 .parts = parts,
                                 .n_parts = part(what, parts),
                                 .max = what->source->n,
                                 .n_ends = what->n,
                                 .made = made,
                                 .ctx = what};
    struct kd_token_stream *s = NULL;
    bool more = true;

    for (unsigned i = 0; i < what->n; i++)
        text.ends[i] = what->ones[i].end - what->begin;
    kd_err err = kd_token_sign_begin(k->token, &k->signer, &text, &s);
    while (err == KD_OK && more)
        err = kd_token_sign_step(s, STEP, &more);
    if (err == KD_OK)
        err = finish(what, s);
    kd_token_sign_free(s);
    return err;
}

kd_err
sign_octets(const struct mail_keys *k, const struct sign_what *what)
{
    struct sign_what copy = *what;
    kd_err err =
        what->source->p != NULL ? sign_one_by_one(k, what) : sign_together(k, &copy);

    return err == KD_INVALID ? KD_FAILED : err;
}
