#include "sign.h"

#include <keyd/base/sha256.h>

#include <stdlib.h>

static kd_err
sign_slice(const struct mail_keys *k, enum kd_sign_purpose purpose,
           struct kd_slice octets, uint8_t sig[DIME_SIG_SIZE],
           uint8_t digest[MAIL_SHA256_SIZE])
{
    struct kd_token_sig made;
    struct kd_sha256 h;
    kd_err err = kd_token_sign(k->token, &k->signer, purpose, octets, &made);

    if (err == KD_OK && made.n != DIME_SIG_SIZE)
        err = KD_FAILED;
    if (err != KD_OK)
        return err == KD_INVALID ? KD_FAILED : err;
    kd_sha256_init(&h);
    kd_sha256_add(&h, octets);
    kd_sha256_final(&h, digest);
    memcpy(sig, made.octets, DIME_SIG_SIZE);
    return KD_OK;
}

/* A copy with the patches in their places. */
static kd_err
copy(const struct sign_what *what, uint8_t *out)
{
    kd_err err = dime_source_read(what->source, what->begin, out,
                                  (size_t)(what->end - what->begin));

    for (size_t i = 0; i < what->n_patches && err == KD_OK; i++)
        memcpy(out + (what->patches[i].at - what->begin), what->patches[i].octets,
               DIME_SIG_SIZE);
    return err;
}

kd_err
sign_octets(const struct mail_keys *k, enum kd_sign_purpose purpose,
            const struct sign_what *what, uint8_t sig[DIME_SIG_SIZE],
            uint8_t digest[MAIL_SHA256_SIZE])
{
    size_t n = (size_t)(what->end - what->begin);

    if (what->source->p != NULL && what->n_patches == 0)
        return sign_slice(k, purpose, kd_slice(what->source->p + what->begin, n), sig,
                          digest);
    uint8_t *octets = malloc(n);
    if (octets == NULL)
        return KD_NOMEM;
    kd_err err = copy(what, octets);
    if (err == KD_OK)
        err = sign_slice(k, purpose, kd_slice(octets, n), sig, digest);
    free(octets);
    return err;
}
