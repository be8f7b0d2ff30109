#include "session.h"

#include <keyd/base/secret.h>

#include <string.h>

/* DigestInfo of SHA-256, up to the digest (RFC 8017, 9.2). */
static const uint8_t sha256_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60,
                                      0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                                      0x01, 0x05, 0x00, 0x04, 0x20};
enum { SHA256_SIZE = 32 };

enum p11_finding_code
session_open(struct session *s, const struct module *m, CK_SLOT_ID slot, bool may_write,
             struct p11_finding *why)
{
    CK_FLAGS flags = CKF_SERIAL_SESSION | (may_write ? CKF_RW_SESSION : 0);

    s->m = m;
    s->slot = slot;
    CK_RV rv = m->f->C_OpenSession(slot, flags, NULL, NULL, &s->handle);
    if (rv == CKR_TOKEN_WRITE_PROTECTED)
        return finding_set(why, P11_WRITE_PROTECTED, rv, NULL);
    if (rv != CKR_OK)
        return finding_set(why, P11_SESSION_FAILED, rv, NULL);
    s->is_open = true;
    return finding_set(why, P11_FINE, 0, NULL);
}

enum p11_finding_code
session_login(struct session *s, struct kd_slice pin, struct p11_finding *why)
{
    CK_UTF8CHAR_PTR text = (CK_UTF8CHAR_PTR)(uintptr_t)pin.p; /* not written to */
    CK_RV rv = s->m->f->C_Login(s->handle, CKU_USER, text, pin.n);

    if (rv == CKR_OK)
        return finding_set(why, P11_FINE, 0, NULL);
    if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE)
        return finding_set(why, P11_PIN_REFUSED, rv, NULL);
    if (rv == CKR_PIN_LOCKED)
        return finding_set(why, P11_PIN_LOCKED, rv, NULL);
    if (rv == CKR_PIN_EXPIRED)
        return finding_set(why, P11_PIN_TO_BE_CHANGED, rv, NULL);
    if (rv == CKR_USER_PIN_NOT_INITIALIZED)
        return finding_set(why, P11_PIN_NOT_SET, rv, NULL);
    return finding_set(why, P11_LOGIN_FAILED, rv, NULL);
}

static const struct bound *
key_of(const struct session *s, unsigned key, bool derives)
{
    if (key >= SESSION_KEYS_MAX || !s->keys[key].is_bound ||
        (s->keys[key].alg == KD_ALG_SECP256K1) != derives)
        return NULL;
    return &s->keys[key];
}

/* Ed25519: without parameters, or with those that say "none" where the module asks. */
static CK_RV
sign_init(struct session *s, struct bound *k)
{
    struct eddsa_params none = {CK_FALSE, 0, NULL};
    CK_MECHANISM bare = {k->alg == KD_ALG_RSA ? CKM_RSA_PKCS : CKM_EDDSA, NULL, 0};
    CK_MECHANISM with = {CKM_EDDSA, &none, sizeof none};
    CK_RV rv;

    if ((k->quirks & QUIRK_EDDSA_PARAMS) != 0)
        return s->m->f->C_SignInit(s->handle, &with, k->handle);
    rv = s->m->f->C_SignInit(s->handle, &bare, k->handle);
    if (rv != CKR_MECHANISM_PARAM_INVALID || k->alg != KD_ALG_ED25519)
        return rv;
    if ((rv = s->m->f->C_SignInit(s->handle, &with, k->handle)) == CKR_OK)
        k->quirks |= QUIRK_EDDSA_PARAMS;
    return rv;
}

CK_RV
session_sign(struct session *s, unsigned key, struct kd_slice message,
             uint8_t sig[SESSION_SIG_MAX], size_t *n)
{
    const struct bound *k = key_of(s, key, false);
    uint8_t info[sizeof sha256_info + SHA256_SIZE];
    CK_ULONG size = SESSION_SIG_MAX;

    *n = 0;
    if (k == NULL)
        return CKR_KEY_HANDLE_INVALID;
    if (k->alg == KD_ALG_RSA) {
        if (message.n != SHA256_SIZE)
            return CKR_DATA_LEN_RANGE;
        memcpy(info, sha256_info, sizeof sha256_info);
        memcpy(info + sizeof sha256_info, message.p, SHA256_SIZE);
        message = kd_slice(info, sizeof info);
    }
    CK_RV rv = sign_init(s, &s->keys[key]);
    if (rv != CKR_OK)
        return rv;
    CK_BYTE_PTR text = (CK_BYTE_PTR)(uintptr_t)message.p; /* not written to */
    rv = s->m->f->C_Sign(s->handle, text, message.n, sig, &size);
    if (rv == CKR_OK && ck_fits(size, SESSION_SIG_MAX))
        *n = size;
    return rv;
}

/* Reads the value of the secret object and destroys it: session objects make every
 * search slower, and are secrets. */
static CK_RV
take_value(struct session *s, CK_OBJECT_HANDLE secret, uint8_t *z, size_t *n)
{
    CK_ATTRIBUTE value = {CKA_VALUE, z, KD_ECDH_SIZE};
    CK_RV rv = s->m->f->C_GetAttributeValue(s->handle, secret, &value, 1);
    CK_RV gone = s->m->f->C_DestroyObject(s->handle, secret);

    if (rv == CKR_OK)
        rv = gone; /* a secret that stays behind in the token is no answer */
    *n = rv == CKR_OK && ck_fits(value.ulValueLen, KD_ECDH_SIZE) ? value.ulValueLen : 0;
    return rv;
}

static CK_RV
derive_with(struct session *s, const struct bound *k, const uint8_t *point, size_t n,
            uint8_t *z, size_t *z_size)
{
    CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
    CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG length = KD_ECDH_SIZE;
    CK_ECDH1_DERIVE_PARAMS params = {.kdf = CKD_NULL,
                                     .ulPublicDataLen = n,
                                     .pPublicData = (CK_BYTE_PTR)(uintptr_t)point};
    CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &params, sizeof params};
    CK_ATTRIBUTE want[] = {
        {CKA_CLASS, &secret_class, sizeof secret_class},
        {CKA_KEY_TYPE, &generic, sizeof generic},
        {CKA_TOKEN, &no, sizeof no},
        {CKA_PRIVATE, &no, sizeof no},
        {CKA_SENSITIVE, &no, sizeof no},
        {CKA_EXTRACTABLE, &yes, sizeof yes},
        {CKA_VALUE_LEN, &length, sizeof length},
    };
    const CK_ULONG n_want = sizeof want / sizeof *want;
    CK_OBJECT_HANDLE secret = CK_INVALID_HANDLE;
    CK_RV rv =
        s->m->f->C_DeriveKey(s->handle, &mechanism, k->handle, want, n_want, &secret);

    /* Some take the length from the curve and nowhere else. */
    if (rv == CKR_TEMPLATE_INCONSISTENT || rv == CKR_ATTRIBUTE_TYPE_INVALID)
        rv = s->m->f->C_DeriveKey(s->handle, &mechanism, k->handle, want, n_want - 1,
                                  &secret);
    return rv == CKR_OK ? take_value(s, secret, z, z_size) : rv;
}

CK_RV
session_derive(struct session *s, unsigned key, const uint8_t point[65],
               uint8_t z[KD_ECDH_SIZE], size_t *n)
{
    const struct bound *k = key_of(s, key, true);
    uint8_t der[67];
    CK_RV rv = CKR_MECHANISM_PARAM_INVALID;

    *n = 0;
    if (k == NULL)
        return CKR_KEY_HANDLE_INVALID;
    quirk_peer_der(point, der);
    if ((k->quirks & QUIRK_PEER_DER) == 0)
        rv = derive_with(s, k, point, 65, z, n);
    if (rv == CKR_MECHANISM_PARAM_INVALID || rv == CKR_ARGUMENTS_BAD ||
        rv == CKR_DATA_LEN_RANGE) {
        rv = derive_with(s, k, der, sizeof der, z, n);
        if (rv == CKR_OK)
            s->keys[key].quirks |= QUIRK_PEER_DER;
    }
    if (rv != CKR_OK || *n == 0)
        return rv;
    memmove(z + (KD_ECDH_SIZE - *n), z, *n);
    memset(z, 0, KD_ECDH_SIZE - *n);
    *n = KD_ECDH_SIZE;
    return rv;
}
