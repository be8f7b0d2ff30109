/* SealNaked (object 1908; D-173, GW-16). */
#include "sign.h"

#include <dime/message_verify.h>
#include <keyd/base/secret.h>

/* Nobody has sealed it yet. */
static kd_err
look(const struct dime_source *source, uint64_t max, struct dime_naked *n,
     struct mail_naked *out)
{
    static const uint8_t zeros[DIME_SIG_SIZE];
    uint8_t sig[DIME_SIG_SIZE];
    kd_err err;

    *out = (struct mail_naked){.flaw = DIME_FLAW_NONE};
    if ((err = dime_naked_parse(source, max, n, &out->flaw)) != KD_OK)
        return err;
    memcpy(out->signer, n->signer, sizeof out->signer);
    if ((err = dime_naked_signature(n, sig)) != KD_OK)
        return err;
    return memcmp(sig, zeros, sizeof zeros) == 0 ? KD_OK : KD_INVALID;
}

kd_err
mail_look_at_naked(const struct dime_source *source, uint64_t max,
                   struct mail_naked *out)
{
    struct dime_naked n;

    return look(source, max, &n, out);
}

kd_err
mail_seal_naked(const struct mail_keys *k, const struct dime_source *source,
                uint64_t max, const uint8_t signer[DIME_ED25519_KEY_SIZE],
                struct mail_naked *out)
{
    struct dime_naked n;
    kd_err err = look(source, max, &n, out);

    if (err != KD_OK)
        return err;
    if (memcmp(out->signer, signer, sizeof out->signer) != 0)
        return KD_INVALID;
    const struct sign_one one = {
        .end = dime_message_signed_until(&n.m, DIME_CHUNK_ORGANIZATION),
        .payload = out->organization,
        .digest = out->digest};
    const struct sign_what what = {.purpose = KD_SIGN_NAKED,
                                   .source = &n.m.source,
                                   .begin = n.m.begin,
                                   .ones = &one,
                                   .n = 1};
    out->key_used = true;
    return sign_octets(k, &what);
}
