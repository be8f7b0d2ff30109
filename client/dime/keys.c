/* dime keys new, dime keys show. */
#include "dime_tool.h"

#include <dime/dkey_write.h>
#include <keyd/base/secret.h>

int
verb_keys_new(const struct options *o)
{
    struct dime_dkey *key = NULL;
    char *text = kd_secret_new(DIME_DKEY_TEXT_MAX);
    size_t n = 0;
    int status = TROUBLE;
    kd_err err = KD_NOMEM;

    if (o->out == NULL || strcmp(o->out, "-") == 0) {
        complain("keys new", "-o KEYFILE is needed, and cannot be standard output");
        goto out;
    }
    if (text == NULL || (err = dime_dkey_generate(DIME_DKEY_USER, &key)) != KD_OK ||
        (err = dime_dkey_write(key, text, &n)) != KD_OK) {
        complain("keys new", kd_err_text(err));
        goto out;
    }
    status = file_write_secret(o->out, kd_slice(text, n));
out:
    kd_secret_free(text, DIME_DKEY_TEXT_MAX);
    dime_dkey_free(key);
    return status;
}

struct public_part {
    uint8_t type;
    const char *label;
    struct kd_slice key;
};

static void
public_parts(const struct dime_dkey *key, struct public_part out[2])
{
    bool org = key->kind == DIME_DKEY_ORG;
    enum dime_kind kind = org ? DIME_ORG : DIME_USER;

    out[0].type = org ? (uint8_t)DIME_ORG_POK : (uint8_t)DIME_USER_SIGN_KEY;
    out[0].key = kd_slice(key->sign_pk, sizeof key->sign_pk);
    out[1].type = org ? (uint8_t)DIME_ORG_ENC_KEY : (uint8_t)DIME_USER_ENC_KEY;
    out[1].key = kd_slice(key->enc_pk, sizeof key->enc_pk);
    for (size_t i = 0; i < 2; i++)
        out[i].label = dime_field_def(kind, out[i].type)->label;
}

static const char *
keys_name(const struct dime_dkey *key)
{
    return key->kind == DIME_DKEY_ORG ? "org-keys" : "user-keys";
}

static json_t *
keys_to_json(const struct dime_dkey *key, const struct public_part parts[2])
{
    json_t *j = json_object(), *fields = json_array();
    bool good = json_put(j, "type", json_string(keys_name(key))) &&
                json_put(j, "valid", json_true());

    for (size_t i = 0; i < 2; i++) {
        json_t *f = json_object();
        good = good && json_put(f, "type", json_integer(parts[i].type)) &&
               json_put(f, "label", json_string(parts[i].label)) &&
               json_put(f, "value", json_base64(parts[i].key)) &&
               json_array_append(fields, f) == 0;
        json_decref(f);
    }
    good = json_put(j, "fields", fields) && good;
    if (good)
        return j;
    json_decref(j);
    return NULL;
}

static void
keys_print(const struct dime_dkey *key, const struct public_part parts[2])
{
    emit(stdout, "%s\n", keys_name(key));
    for (size_t i = 0; i < 2; i++) {
        emit(stdout, "%s: ", parts[i].label);
        print_base64(stdout, parts[i].key);
        emit(stdout, "\n");
    }
}

int
verb_keys_show(const struct options *o)
{
    struct dime_dkey *key = NULL;
    struct public_part parts[2];
    const char *why = NULL;
    int status = keys_load(o->file, &key, &why);

    if (status == FAILS)
        return tell_failure(o, NULL, "unknown", why);
    if (status != HOLDS)
        return status;
    public_parts(key, parts);
    if (o->json)
        status = json_finish(keys_to_json(key, parts), HOLDS);
    else
        keys_print(key, parts);
    dime_dkey_free(key);
    return status;
}
