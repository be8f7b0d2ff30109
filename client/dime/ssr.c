/* dime ssr new: a signing request, as the first of a chain or in custody of one. */
#include "dime_tool.h"

#include <dime/armor.h>
#include <dime/build.h>
#include <dime/ed25519.h>
#include <keyd/base/secret.h>

enum { REQUEST_MAX = 1024, TEXT_MAX = 2048 };

/* A signature leaves here only verified: a fault while signing gives keys away. */
static kd_err
sign_with(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    const struct dime_dkey *key = ctx;
    uint8_t made[DIME_SIG_SIZE];
    kd_err err = dime_ed25519_sign(key->seed, key->sign_pk, message, made);

    if (err == KD_OK && dime_ed25519_verify(key->sign_pk, message, made) != KD_OK)
        err = KD_FAILED;
    if (err == KD_OK)
        memcpy(sig, made, sizeof made);
    kd_secret_wipe(made, sizeof made);
    return err;
}

/* A user's keys, or a complaint. */
static int
load_user_keys(const char *path, struct dime_dkey **key)
{
    const char *why = NULL;
    int status = keys_load(path, key, &why);

    if (status == HOLDS && (*key)->kind != DIME_DKEY_USER) {
        why = "the keys are an organization's";
        status = FAILS;
    }
    if (status == FAILS)
        complain(path, why);
    return status;
}

static int
write_request(const struct options *o, struct dime_dkey *key, struct dime_dkey *prev)
{
    const struct dime_signer own = {sign_with, key}, custody = {sign_with, prev};
    struct kd_buf request, text;
    enum dime_reason reason = DIME_FINE;
    int status = TROUBLE;

    kd_buf_init(&request, REQUEST_MAX);
    kd_buf_init(&text, TEXT_MAX);
    struct dime_ssr_plan plan = {.layout = DIME_LAYOUT_L,
                                 .sign_key = key->sign_pk,
                                 .enc_key = key->enc_pk,
                                 .custody = prev != NULL ? &custody : NULL};
    if (dime_ssr_build(&plan, own, &request, &reason) != KD_OK) {
        complain("ssr new", dime_reason_text(reason));
        goto out;
    }
    dime_armor_put(&text, DIME_ARMOR_SSR, DIME_ARMOR_FILE, kd_buf_slice(&request));
    if (text.err != KD_OK) {
        complain("ssr new", kd_err_text(text.err));
        goto out;
    }
    status = file_write(o->out, kd_buf_slice(&text));
out:
    kd_buf_free(&text);
    kd_buf_free(&request);
    return status;
}

int
verb_ssr_new(const struct options *o)
{
    struct dime_dkey *key = NULL, *prev = NULL;
    int status = TROUBLE;

    if (o->keys == NULL || o->out == NULL) {
        complain("ssr new", "--keys KEYFILE and -o FILE are needed");
        return TROUBLE;
    }
    if ((status = load_user_keys(o->keys, &key)) != HOLDS)
        goto out;
    if (o->prev != NULL && (status = load_user_keys(o->prev, &prev)) != HOLDS)
        goto out;
    /* Custody by the key itself would prove nothing; a rotation has new keys. */
    if (prev != NULL &&
        (memcmp(key->sign_pk, prev->sign_pk, sizeof key->sign_pk) == 0 ||
         memcmp(key->enc_pk, prev->enc_pk, sizeof key->enc_pk) == 0)) {
        complain(o->keys, "holds a key of the previous ones");
        status = FAILS;
        goto out;
    }
    status = write_request(o, key, prev);
out:
    dime_dkey_free(prev);
    dime_dkey_free(key);
    return status;
}
