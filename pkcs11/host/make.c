#include "make.h"

#include <dime/secp.h>
#include <keyd/base/secret.h>
#include <sodium.h>
#include <string.h>

enum { ATTRIBUTES_MAX = 20 };

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

struct template
{
    CK_ULONG n;
    CK_ATTRIBUTE list[ATTRIBUTES_MAX];
};

static void
add(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, size_t n)
{
    if (t->n < ATTRIBUTES_MAX)
        t->list[t->n++] = (CK_ATTRIBUTE){type, (void *)(uintptr_t)value, n};
}

static void
add_name(struct template *t, const struct pair_wanted *w)
{
    add(t, CKA_TOKEN, &yes, sizeof yes);
    add(t, CKA_ID, w->id.p, w->id.n);
    add(t, CKA_LABEL, w->label.p, w->label.n);
}

/* strict: 3 also fixes for ever what not every token lets one say; the last of them are
 * left out one by one (2, 1, 0). */
static void
add_private(struct template *t, const struct pair_wanted *w, int strict)
{
    bool derives = w->alg == KD_ALG_SECP256K1;

    add_name(t, w);
    add(t, CKA_PRIVATE, &yes, sizeof yes);
    add(t, CKA_SENSITIVE, &yes, sizeof yes);
    add(t, CKA_EXTRACTABLE, &no, sizeof no);
    add(t, CKA_SIGN, derives ? &no : &yes, sizeof yes);
    add(t, CKA_DERIVE, derives ? &yes : &no, sizeof yes);
    add(t, CKA_DECRYPT, &no, sizeof no);
    add(t, CKA_UNWRAP, &no, sizeof no);
    if (strict >= 1)
        add(t, CKA_SIGN_RECOVER, &no, sizeof no);
    if (strict >= 2)
        add(t, CKA_COPYABLE, &no, sizeof no);
    if (strict >= 3)
        add(t, CKA_MODIFIABLE, &no, sizeof no);
}

static bool
is_about_template(CK_RV rv)
{
    return rv == CKR_TEMPLATE_INCONSISTENT || rv == CKR_ATTRIBUTE_TYPE_INVALID ||
           rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_ATTRIBUTE_READ_ONLY;
}

static void
destroy(struct session *s, CK_OBJECT_HANDLE object)
{
    if (object !=
        CK_INVALID_HANDLE) /* what stays is an orphan, which the doctor tells */
        (void)s->m->f->C_DestroyObject(s->handle, object);
}

static CK_RV
generate(struct session *s, const struct pair_wanted *w, struct kd_slice params,
         int strict, CK_OBJECT_HANDLE pair[2])
{
    static const uint8_t e[] = {1, 0, 1};
    struct template pub = {.n = 0}, prv = {.n = 0};
    CK_ULONG bits = w->bits;
    CK_MECHANISM m = {w->alg == KD_ALG_RSA       ? CKM_RSA_PKCS_KEY_PAIR_GEN
                      : w->alg == KD_ALG_ED25519 ? CKM_EC_EDWARDS_KEY_PAIR_GEN
                                                 : CKM_EC_KEY_PAIR_GEN,
                      NULL, 0};

    add_name(&pub, w);
    add_private(&prv, w, strict);
    if (w->alg == KD_ALG_RSA) {
        add(&pub, CKA_MODULUS_BITS, &bits, sizeof bits);
        add(&pub, CKA_PUBLIC_EXPONENT, e, sizeof e);
    } else {
        add(&pub, CKA_EC_PARAMS, params.p, params.n);
    }
    if (w->alg != KD_ALG_SECP256K1)
        add(&pub, CKA_VERIFY, &yes, sizeof yes);
    return s->m->f->C_GenerateKeyPair(s->handle, &m, pub.list, pub.n, prv.list, prv.n,
                                      &pair[0], &pair[1]);
}

/* The public octets of the key that is taken in. */
static bool
public_of(const struct pair_wanted *w, uint8_t octets[33], size_t *n)
{
    uint8_t *scratch = kd_secret_new(64);
    bool ok = scratch != NULL && w->secret.n == 32 &&
              (w->alg == KD_ALG_ED25519
                   ? crypto_sign_seed_keypair(octets, scratch, w->secret.p) == 0
                   : dime_secp_public(w->secret.p, octets) == KD_OK);

    kd_secret_free(scratch, 64);
    *n = w->alg == KD_ALG_ED25519 ? 32 : 33;
    return ok;
}

/* Public half first: a private key without one would be found by its use alone. */
static CK_RV
import(struct session *s, const struct pair_wanted *w, struct kd_slice params,
       int strict, CK_OBJECT_HANDLE pair[2])
{
    struct template pub = {.n = 0}, prv = {.n = 0};
    CK_OBJECT_CLASS public_class = CKO_PUBLIC_KEY, private_class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = w->alg == KD_ALG_ED25519 ? CKK_EC_EDWARDS : CKK_EC;
    uint8_t octets[33], point[67];
    size_t n, n_point = 0;
    CK_RV rv;

    if (public_of(w, octets, &n))
        n_point = quirk_point_write(w->alg, kd_slice(octets, n), point);
    if (n_point == 0)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    add(&pub, CKA_CLASS, &public_class, sizeof public_class);
    add(&pub, CKA_KEY_TYPE, &type, sizeof type);
    add_name(&pub, w);
    add(&pub, CKA_EC_PARAMS, params.p, params.n);
    add(&pub, CKA_EC_POINT, point, n_point);
    if (w->alg != KD_ALG_SECP256K1)
        add(&pub, CKA_VERIFY, &yes, sizeof yes);
    add(&prv, CKA_CLASS, &private_class, sizeof private_class);
    add(&prv, CKA_KEY_TYPE, &type, sizeof type);
    add_private(&prv, w, strict);
    add(&prv, CKA_EC_PARAMS, params.p, params.n);
    add(&prv, CKA_VALUE, w->secret.p, w->secret.n);
    if ((rv = s->m->f->C_CreateObject(s->handle, pub.list, pub.n, &pair[0])) != CKR_OK)
        return rv;
    rv = s->m->f->C_CreateObject(s->handle, prv.list, prv.n, &pair[1]);
    if (rv != CKR_OK) {
        destroy(s, pair[0]);
        pair[0] = CK_INVALID_HANDLE;
    }
    return rv;
}

/* Curve parameters in the two ways, templates from strict to what the token takes. */
static CK_RV
make(struct session *s, const struct pair_wanted *w, CK_OBJECT_HANDLE pair[2])
{
    CK_RV rv = CKR_MECHANISM_INVALID;

    for (unsigned way = 0; way < 2; way++) {
        struct kd_slice params = quirk_params_write(w->alg, way);
        if (params.n == 0 && (w->alg != KD_ALG_RSA || way != 0))
            break;
        for (int strict = 3; strict >= 0; strict--) {
            pair[0] = pair[1] = CK_INVALID_HANDLE;
            rv = w->secret.n != 0 ? import(s, w, params, strict, pair)
                                  : generate(s, w, params, strict, pair);
            if (rv == CKR_OK || !is_about_template(rv))
                break;
        }
        if (rv == CKR_OK)
            return rv;
    }
    return rv;
}

enum { HALVES_MAX = 4 };

/* All public objects in the list are this key. */
static bool
are_all(struct session *s, const CK_OBJECT_HANDLE *list, CK_ULONG n,
        enum kd_key_alg alg, struct kd_slice public_key)
{
    uint8_t octets[KD_KEY_PUBLIC_MAX];
    uint32_t quirks = 0;
    size_t size;

    for (CK_ULONG i = 0; i < n; i++)
        if (!object_public(s, list[i], alg, octets, &size, &quirks) ||
            !kd_slice_eq(kd_slice(octets, size), public_key))
            return false;
    return true;
}

/* The id is free, or has nothing but the public half of this very key, of an import
 * that was cut off: that goes. */
static enum p11_finding_code
clear_id(struct session *s, const struct pair_wanted *w, struct p11_finding *why)
{
    CK_OBJECT_HANDLE list[HALVES_MAX];
    CK_ULONG n_prv = 0, n_pub = 0;
    uint8_t octets[33];
    size_t n;
    CK_RV rv = object_find(s, CKO_PRIVATE_KEY, w->id, list, 1, &n_prv);

    if (rv == CKR_OK)
        rv = object_find(s, CKO_PUBLIC_KEY, w->id, list, HALVES_MAX, &n_pub);
    if (rv != CKR_OK)
        return finding_set(why, P11_NOT_CREATED, rv, NULL);
    if (n_prv != 0 ||
        (n_pub != 0 &&
         (w->secret.n == 0 || n_pub > HALVES_MAX || !public_of(w, octets, &n) ||
          !are_all(s, list, n_pub, w->alg, kd_slice(octets, n)))))
        return finding_set(why, P11_KEY_TWICE, 0, "the id is taken");
    for (CK_ULONG i = 0; i < n_pub; i++)
        destroy(s, list[i]);
    return finding_set(why, P11_FINE, 0, NULL);
}

enum p11_finding_code
pair_make(struct session *s, const struct pair_wanted *w,
          uint8_t public_key[KD_KEY_PUBLIC_MAX], size_t *n, uint32_t *attributes,
          struct p11_finding *why)
{
    CK_OBJECT_HANDLE pair[2] = {CK_INVALID_HANDLE, CK_INVALID_HANDLE};
    uint32_t quirks = 0;
    enum p11_finding_code code;
    CK_RV rv;

    if (w->secret.n != 0 && w->alg == KD_ALG_RSA)
        return finding_set(why, P11_NOT_CREATED, CKR_ATTRIBUTE_VALUE_INVALID, NULL);
    if ((code = clear_id(s, w, why)) != P11_FINE)
        return code;
    if ((rv = make(s, w, pair)) != CKR_OK)
        return finding_set(
            why, rv == CKR_MECHANISM_INVALID ? P11_MECHANISM_MISSING : P11_NOT_CREATED,
            rv, NULL);
    code = object_attributes(s, pair[1], w->alg == KD_ALG_SECP256K1, attributes,
                             &quirks, why);
    if (code == P11_FINE && !object_public(s, pair[0], w->alg, public_key, n, &quirks))
        code = finding_set(why, P11_POINT_UNREADABLE, 0, NULL);
    if (code != P11_FINE) {
        destroy(s, pair[1]);
        destroy(s, pair[0]);
    }
    return code;
}

enum p11_finding_code
pair_unmake(struct session *s, struct kd_slice id, struct kd_slice public_key,
            struct p11_finding *why)
{
    static const enum kd_key_alg algs[] = {KD_ALG_ED25519, KD_ALG_SECP256K1,
                                           KD_ALG_RSA};
    CK_OBJECT_HANDLE pub[HALVES_MAX], prv[2];
    CK_ULONG n_pub = 0, n_prv = 0;
    bool is_it = false;
    CK_RV rv = CKR_ARGUMENTS_BAD;

    if (id.n == 0 ||
        (rv = object_find(s, CKO_PUBLIC_KEY, id, pub, HALVES_MAX, &n_pub)) != CKR_OK ||
        (rv = object_find(s, CKO_PRIVATE_KEY, id, prv, 2, &n_prv)) != CKR_OK)
        return finding_set(why, P11_SESSION_FAILED, rv, "C_FindObjects");
    if (n_pub == 0 && n_prv == 0)
        return finding_set(why, P11_KEY_MISSING, 0, NULL);
    if (n_pub > HALVES_MAX || n_prv > 1)
        return finding_set(why, P11_KEY_TWICE, 0, NULL);
    for (size_t i = 0; n_pub != 0 && i < sizeof algs / sizeof *algs; i++)
        is_it = is_it || are_all(s, pub, n_pub, algs[i], public_key);
    if (!is_it)
        return finding_set(why, P11_OTHER_KEY, 0, "its public object differs");
    if (n_prv == 1 && (rv = s->m->f->C_DestroyObject(s->handle, prv[0])) != CKR_OK)
        return finding_set(why, P11_NOT_CREATED, rv, "C_DestroyObject");
    for (CK_ULONG i = 0; i < n_pub; i++)
        if ((rv = s->m->f->C_DestroyObject(s->handle, pub[i])) != CKR_OK)
            return finding_set(why, P11_NOT_CREATED, rv, "C_DestroyObject");
    return finding_set(why, P11_FINE, 0, NULL);
}
