#include <dime/armor.h>
#include <dime/dkey_write.h>

#include <assert.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>
#include <sodium.h>

enum { HEADER = 5, OBJECT_SIZE = HEADER + 2 + 32 + 3 + 32 };

kd_err
dime_dkey_generate(enum dime_dkey_kind kind, struct dime_dkey **out)
{
    struct {
        uint8_t seed[32];
        uint8_t scalar[32];
    } *fresh = kd_secret_new(sizeof *fresh);
    kd_err err;

    if (fresh == NULL)
        return KD_NOMEM;
    /* A random scalar is out of range once in 2^128 draws. */
    do {
        randombytes_buf(fresh->seed, sizeof fresh->seed);
        randombytes_buf(fresh->scalar, sizeof fresh->scalar);
        err = dime_dkey_make(kind, fresh->seed, fresh->scalar, out);
    } while (err == KD_INVALID);
    kd_secret_free(fresh, sizeof *fresh);
    return err;
}

static void
serialize(const struct dime_dkey *key, uint8_t object[OBJECT_SIZE])
{
    bool org = key->kind == DIME_DKEY_ORG;
    uint8_t *at = object;

    kd_put_be16(at, org ? DIME_DKEY_ORG_MAGIC : DIME_DKEY_USER_MAGIC);
    kd_put_be24(at + 2, OBJECT_SIZE - HEADER);
    at += HEADER;
    *at++ = 1;
    *at++ = sizeof key->seed;
    memcpy(at, key->seed, sizeof key->seed);
    at += sizeof key->seed;
    *at++ = org ? 3 : 2;
    kd_put_be16(at, sizeof key->scalar);
    memcpy(at + 2, key->scalar, sizeof key->scalar);
}

kd_err
dime_dkey_write(const struct dime_dkey *key, char *text, size_t *n)
{
    enum dime_armor_label label = dime_armor_label_of(
        key->kind == DIME_DKEY_ORG ? DIME_DKEY_ORG_MAGIC : DIME_DKEY_USER_MAGIC);
    size_t size = dime_armor_size(label, DIME_ARMOR_FILE, OBJECT_SIZE);
    uint8_t *object = kd_secret_new(OBJECT_SIZE);

    assert(size <= DIME_DKEY_TEXT_MAX);
    if (object == NULL)
        return KD_NOMEM;
    serialize(key, object);
    dime_armor_encode(label, DIME_ARMOR_FILE, kd_slice(object, OBJECT_SIZE), text);
    kd_secret_free(object, OBJECT_SIZE);
    *n = size;
    return KD_OK;
}
