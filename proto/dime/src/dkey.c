#include <dime/armor.h>
#include <dime/dkey.h>

#include <dime/secp.h>
#include <keyd/base/be.h>
#include <keyd/base/cur.h>
#include <keyd/base/secret.h>
#include <sodium.h>

enum {
    HEADER = 5,
    SEED_SIZE = 32,
    FIELD_SEED = 1,
    FIELD_USER_SCALAR = 2,
    FIELD_ORG_SCALAR = 3
};

static kd_err
refuse(const char **why, kd_err err, const char *text)
{
    if (why != NULL)
        *why = text;
    return err;
}

/* The public key of the seed. crypto_sign's own secret form (seed and public key) is
 * kept nowhere: a fault in its second half would leak the scalar. */
static kd_err
derive_sign_pk(struct dime_dkey *key)
{
    uint8_t *sk = kd_secret_new(crypto_sign_SECRETKEYBYTES);

    if (sk == NULL)
        return KD_NOMEM;
    int rc = crypto_sign_seed_keypair(key->sign_pk, sk, key->seed);
    kd_secret_free(sk, crypto_sign_SECRETKEYBYTES);
    return rc == 0 ? KD_OK : KD_FAILED;
}

static kd_err
derive_enc_pk(struct dime_dkey *key, const char **why)
{
    kd_err err = dime_secp_public(key->scalar, key->enc_pk);

    if (err == KD_INVALID)
        return refuse(why, err, "the encryption key's scalar is out of range");
    return err == KD_OK ? KD_OK : refuse(why, err, kd_err_text(err));
}

static kd_err
derive(struct dime_dkey *key, const char **why)
{
    kd_err err = derive_sign_pk(key);

    if (err != KD_OK)
        return refuse(why, err, kd_err_text(err));
    return derive_enc_pk(key, why);
}

/* --- RFC 5915 ECPrivateKey, as older libdime files have it ----------------------
 *
 *     SEQUENCE { INTEGER 1, OCTET STRING scalar,
 *                [0] parameters OPTIONAL, [1] { BIT STRING point } OPTIONAL } */

enum {
    DER_INTEGER = 0x02,
    DER_BITS = 0x03,
    DER_OCTETS = 0x04,
    DER_SEQUENCE = 0x30,
    DER_PARAMETERS = 0xa0,
    DER_POINT = 0xa1,
};

/* OBJECT IDENTIFIER 1.3.132.0.10 */
static const uint8_t OID_SECP256K1[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};

/* The contents of the element of this tag; lengths are the shortest form. */
static struct kd_slice
der_take(struct kd_cur *c, uint8_t tag)
{
    if (kd_cur_u8(c) != tag)
        kd_cur_fail(c, KD_MALFORMED);
    size_t n = kd_cur_u8(c);
    if (n == 0x81) {
        n = kd_cur_u8(c);
        if (n < 0x80)
            kd_cur_fail(c, KD_MALFORMED);
    } else if (n == 0x82) {
        n = kd_cur_u16(c);
        if (n < 0x100)
            kd_cur_fail(c, KD_MALFORMED);
    } else if (n >= 0x80) {
        kd_cur_fail(c, KD_MALFORMED);
    }
    return kd_cur_take(c, n);
}

struct ec_private_key {
    struct kd_slice scalar;
    struct kd_slice parameters;
    struct kd_slice point;
};

static kd_err
der_parse(struct kd_slice der, struct ec_private_key *out)
{
    static const uint8_t one = 1;
    struct kd_cur outer = kd_cur(der);
    struct kd_cur c = kd_cur(der_take(&outer, DER_SEQUENCE));
    kd_err err = kd_cur_end(&outer);

    if (err != KD_OK)
        return err;
    if (!kd_slice_eq(der_take(&c, DER_INTEGER), kd_slice(&one, 1)))
        kd_cur_fail(&c, KD_MALFORMED);
    out->scalar = der_take(&c, DER_OCTETS);
    if (kd_cur_peek(&c) == DER_PARAMETERS)
        out->parameters = der_take(&c, DER_PARAMETERS);
    if (kd_cur_peek(&c) == DER_POINT) {
        struct kd_cur inner = kd_cur(der_take(&c, DER_POINT));
        out->point = der_take(&inner, DER_BITS);
        if ((err = kd_cur_end(&inner)) != KD_OK)
            return err;
    }
    return kd_cur_end(&c);
}

/* True if the BIT STRING holds the point of this key, compressed or not. */
static bool
is_point_of(const struct dime_dkey *key, struct kd_slice bits)
{
    size_t x_size = sizeof key->enc_pk - 1;

    if (bits.n < 1 + sizeof key->enc_pk || bits.p[0] != 0)
        return false;
    const uint8_t *point = bits.p + 1;
    size_t n = bits.n - 1;
    if (memcmp(point + 1, key->enc_pk + 1, x_size) != 0)
        return false;
    if (n == sizeof key->enc_pk)
        return point[0] == key->enc_pk[0];
    return n == 1 + 2 * x_size && point[0] == 0x04 &&
           (point[n - 1] & 1) == (key->enc_pk[0] & 1);
}

/* The curve must be ours. Explicit parameters are not read: the point, which must
 * then be there, belongs to the scalar on one curve only. */
static kd_err
check_der(const struct dime_dkey *key, const struct ec_private_key *ec,
          const char **why)
{
    bool named =
        kd_slice_eq(ec->parameters, kd_slice(OID_SECP256K1, sizeof OID_SECP256K1));

    if (ec->point.n == 0 && !named)
        return refuse(why, KD_INVALID, "the encryption key names no known curve");
    if (ec->point.n != 0 && !is_point_of(key, ec->point))
        return refuse(why, KD_INVALID, "the encryption key's two halves do not match");
    return KD_OK;
}

/* --- The object ------------------------------------------------------------- */

struct key_fields {
    struct kd_slice seed;
    struct kd_slice scalar;
    struct ec_private_key ec; /* scalar is empty unless it came as DER */
};

/* The rest of the second field, told apart by its length alone (D-055): no length
 * fits two forms. */
static kd_err
read_scalar(struct kd_slice rest, struct key_fields *out, const char **why)
{
    struct kd_slice der = {0};

    if (rest.n == 2 + 32 && kd_be16(rest.p) == 32)
        out->scalar = kd_slice(rest.p + 2, 32);
    else if (rest.n == 1 + 32 && rest.p[0] == 32)
        out->scalar = kd_slice(rest.p + 1, 32);
    else if (rest.n > 2 && kd_be16(rest.p) == rest.n - 2)
        der = kd_slice(rest.p + 2, rest.n - 2);
    else if (rest.n > 1 && rest.p[0] == rest.n - 1)
        der = kd_slice(rest.p + 1, rest.n - 1);
    else
        return refuse(why, KD_MALFORMED, "the encryption key has a wrong length");
    if (der.n == 0)
        return KD_OK;
    if (der_parse(der, &out->ec) != KD_OK || out->ec.scalar.n != 32)
        return refuse(why, KD_MALFORMED, "the encryption key is neither raw nor DER");
    out->scalar = out->ec.scalar;
    return KD_OK;
}

static kd_err
read_kind(uint16_t magic, enum dime_dkey_kind *kind, const char **why)
{
    switch (magic) {
    case DIME_DKEY_ORG_MAGIC:
        *kind = DIME_DKEY_ORG;
        return KD_OK;
    case DIME_DKEY_USER_MAGIC:
        *kind = DIME_DKEY_USER;
        return KD_OK;
    case DIME_DKEY_ORG_SEALED_MAGIC:
    case DIME_DKEY_USER_SEALED_MAGIC:
        return refuse(why, KD_UNSUPPORTED,
                      "an encrypted key file of magma: decrypt it with magma first");
    default:
        return refuse(why, KD_MALFORMED, "not a private key file");
    }
}

static kd_err
read_fields(struct kd_slice object, enum dime_dkey_kind *kind, struct key_fields *out,
            const char **why)
{
    struct kd_cur c = kd_cur(object);
    kd_err err;

    if ((err = read_kind(kd_cur_u16(&c), kind, why)) != KD_OK)
        return err;
    size_t length = kd_cur_u24(&c);
    if (c.err != KD_OK || length != kd_cur_left(&c))
        return refuse(why, KD_MALFORMED, "the header's length is not the file's");
    uint8_t seed_type = kd_cur_u8(&c), seed_size = kd_cur_u8(&c);
    if (seed_type != FIELD_SEED || seed_size != SEED_SIZE)
        return refuse(why, KD_MALFORMED, "the signing key is not a seed of 32 octets");
    out->seed = kd_cur_take(&c, SEED_SIZE);
    uint8_t type = kd_cur_u8(&c);
    if (c.err != KD_OK ||
        type != (*kind == DIME_DKEY_ORG ? FIELD_ORG_SCALAR : FIELD_USER_SCALAR))
        return refuse(why, KD_MALFORMED, "the encryption key is missing");
    return read_scalar(kd_cur_take(&c, kd_cur_left(&c)), out, why);
}

static kd_err
make(enum dime_dkey_kind kind, const struct key_fields *f, struct dime_dkey **out,
     const char **why)
{
    struct dime_dkey *key = kd_secret_new(sizeof *key);
    kd_err err;

    if (key == NULL)
        return refuse(why, KD_NOMEM, "no secret memory is left");
    key->kind = kind;
    memcpy(key->seed, f->seed.p, sizeof key->seed);
    memcpy(key->scalar, f->scalar.p, sizeof key->scalar);
    err = derive(key, why);
    if (err == KD_OK && f->ec.scalar.n != 0)
        err = check_der(key, &f->ec, why);
    if (err != KD_OK) {
        dime_dkey_free(key);
        return err;
    }
    *out = key;
    return KD_OK;
}

static kd_err
load_object(struct kd_slice object, struct dime_dkey **out, const char **why)
{
    struct key_fields f = {0};
    enum dime_dkey_kind kind;
    kd_err err;

    if (object.n > DIME_DKEY_MAX)
        return refuse(why, KD_TOO_LARGE, "too large for a key file");
    if ((err = read_fields(object, &kind, &f, why)) != KD_OK)
        return err;
    return make(kind, &f, out, why);
}

kd_err
dime_dkey_load(struct kd_slice file, struct dime_dkey **out, const char **why)
{
    struct dime_armor armor;
    kd_err err;

    if (!dime_armor_is(file))
        return load_object(file, out, why);
    if ((err = dime_armor_parse(file, &armor, why)) != KD_OK)
        return err;
    if (armor.size > DIME_DKEY_MAX)
        return refuse(why, KD_TOO_LARGE, "too large for a key file");
    uint8_t *object = kd_secret_new(armor.size);
    if (object == NULL)
        return refuse(why, KD_NOMEM, "no secret memory is left");
    if ((err = dime_armor_decode(&armor, object, why)) == KD_OK)
        err = load_object(kd_slice(object, armor.size), out, why);
    kd_secret_free(object, armor.size);
    return err;
}

kd_err
dime_dkey_make(enum dime_dkey_kind kind, const uint8_t seed[32],
               const uint8_t scalar[32], struct dime_dkey **out)
{
    struct key_fields f = {.seed = kd_slice(seed, 32), .scalar = kd_slice(scalar, 32)};

    return make(kind, &f, out, NULL);
}

void
dime_dkey_free(struct dime_dkey *key)
{
    kd_secret_free(key, sizeof *key);
}

bool
dime_dkey_is(struct kd_slice octets)
{
    if (octets.n < HEADER)
        return false;
    switch (kd_be16(octets.p)) {
    case DIME_DKEY_ORG_MAGIC:
    case DIME_DKEY_USER_MAGIC:
    case DIME_DKEY_ORG_SEALED_MAGIC:
    case DIME_DKEY_USER_SEALED_MAGIC:
        return true;
    default:
        return false;
    }
}
