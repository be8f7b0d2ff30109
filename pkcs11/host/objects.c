#include "objects.h"

#include <keyd/base/be.h>
#include <keyd/job/job.h>
#include <keyd/p11/marks.h>

#include <stdio.h>
#include <string.h>

enum { POINT_MAX = 160, PARAMS_MAX = 64, MODULUS_MAX = 1024, FIND_AT_ONCE = 16 };

/* One attribute into room octets; false if the token does not tell, or lies about its
 * length. */
static bool
get(struct session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *out,
    size_t room, size_t *n)
{
    CK_ATTRIBUTE a = {type, out, room};

    *n = 0;
    if (s->m->f->C_GetAttributeValue(s->handle, object, &a, 1) != CKR_OK ||
        !ck_fits(a.ulValueLen, room))
        return false;
    *n = a.ulValueLen;
    return true;
}

static bool
get_number(struct session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
           CK_ULONG *out)
{
    size_t n;

    return get(s, object, type, out, sizeof *out, &n) && n == sizeof *out;
}

/* Searches go on to their end: a module may count an open one against its session. */
static CK_RV
search(struct session *s, CK_ATTRIBUTE *wanted, CK_ULONG n_wanted,
       CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG skip, CK_ULONG *n)
{
    CK_OBJECT_HANDLE some[FIND_AT_ONCE];
    CK_ULONG got, seen = 0;
    CK_RV rv = s->m->f->C_FindObjectsInit(s->handle, wanted, n_wanted);

    *n = 0;
    if (rv != CKR_OK)
        return rv;
    do {
        got = 0;
        rv = s->m->f->C_FindObjects(s->handle, some, FIND_AT_ONCE, &got);
        if (rv == CKR_OK && !ck_fits(got, FIND_AT_ONCE))
            rv = CKR_GENERAL_ERROR;
        for (CK_ULONG i = 0; rv == CKR_OK && i < got; i++, seen++)
            if (seen >= skip) {
                if (*n < max)
                    out[*n] = some[i];
                (*n)++;
            }
    } while (rv == CKR_OK && got != 0 && seen < OBJECTS_MAX && (max == 0 || *n <= max));
    CK_RV end = s->m->f->C_FindObjectsFinal(s->handle);
    return rv != CKR_OK ? rv : end;
}

CK_RV
object_find(struct session *s, CK_OBJECT_CLASS klass, struct kd_slice id,
            CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &klass, sizeof klass},
                             {CKA_ID, (void *)(uintptr_t)id.p, id.n}};

    return search(s, wanted, id.n == 0 ? 1 : 2, out, max, 0, n);
}

uint32_t
object_count(struct session *s)
{
    CK_ULONG n = 0;

    return search(s, NULL, 0, NULL, 0, 0, &n) == CKR_OK ? (uint32_t)n : 0;
}

/* --- what a key is --- */

static enum kd_key_alg
algorithm(struct session *s, CK_OBJECT_HANDLE object, uint32_t *quirks)
{
    uint8_t params[PARAMS_MAX];
    CK_KEY_TYPE type = 0;
    size_t n;

    if (!get_number(s, object, CKA_KEY_TYPE, &type))
        return (enum kd_key_alg)0;
    if (type == CKK_RSA)
        return KD_ALG_RSA;
    if ((type != CKK_EC && type != CKK_EC_EDWARDS) ||
        !get(s, object, CKA_EC_PARAMS, params, sizeof params, &n))
        return (enum kd_key_alg)0;
    if (quirk_params_match(KD_ALG_ED25519, kd_slice(params, n))) {
        if (type == CKK_EC)
            *quirks |= QUIRK_KEY_TYPE_EC;
        return KD_ALG_ED25519;
    }
    return type == CKK_EC && quirk_params_match(KD_ALG_SECP256K1, kd_slice(params, n))
               ? KD_ALG_SECP256K1
               : (enum kd_key_alg)0;
}

static bool
rsa_public(struct session *s, CK_OBJECT_HANDLE object, uint8_t *out, size_t *n)
{
    uint8_t modulus[MODULUS_MAX], exponent[16];
    size_t n_modulus, n_exponent;

    if (!get(s, object, CKA_MODULUS, modulus, sizeof modulus, &n_modulus) ||
        !get(s, object, CKA_PUBLIC_EXPONENT, exponent, sizeof exponent, &n_exponent))
        return false;
    *n = quirk_rsa_write(kd_slice(modulus, n_modulus), kd_slice(exponent, n_exponent),
                         out);
    return *n != 0;
}

bool
object_public(struct session *s, CK_OBJECT_HANDLE object, enum kd_key_alg alg,
              uint8_t out[KD_KEY_PUBLIC_MAX], size_t *n, uint32_t *quirks)
{
    uint8_t point[POINT_MAX];
    size_t size;

    if (alg == KD_ALG_RSA)
        return rsa_public(s, object, out, n);
    return get(s, object, CKA_EC_POINT, point, sizeof point, &size) &&
           quirk_point_read(alg, kd_slice(point, size), out, n, quirks);
}

/* --- attributes --- */

/* must: 1 has to be true, 0 false; 2: false, or unknown to the token; 3: as it is. */
enum must { FALSE_IF_KNOWN = 2, TOLD };
static const struct {
    CK_ATTRIBUTE_TYPE type;
    uint32_t mark;
    const char *name;
    uint8_t must;
} attribute_rows[] = {
    {CKA_TOKEN, P11_ON_TOKEN, "CKA_TOKEN", 1},
    {CKA_PRIVATE, P11_PRIVATE, "CKA_PRIVATE", 1},
    {CKA_SENSITIVE, P11_SENSITIVE, "CKA_SENSITIVE", 1},
    {CKA_EXTRACTABLE, P11_EXTRACTABLE, "CKA_EXTRACTABLE", 0},
    {CKA_DECRYPT, P11_DECRYPTS, "CKA_DECRYPT", FALSE_IF_KNOWN},
    {CKA_UNWRAP, P11_UNWRAPS, "CKA_UNWRAP", FALSE_IF_KNOWN},
    {CKA_SIGN_RECOVER, P11_RECOVERS, "CKA_SIGN_RECOVER", FALSE_IF_KNOWN},
    {CKA_ALWAYS_AUTHENTICATE, P11_ALWAYS_AUTHENTICATES, "CKA_ALWAYS_AUTHENTICATE",
     FALSE_IF_KNOWN},
    {CKA_ALWAYS_SENSITIVE, P11_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE", TOLD},
    {CKA_NEVER_EXTRACTABLE, P11_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE", TOLD},
    {CKA_LOCAL, P11_LOCAL, "CKA_LOCAL", TOLD},
    {CKA_MODIFIABLE, P11_MODIFIABLE, "CKA_MODIFIABLE", TOLD},
};

static bool
get_bool(struct session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, bool *is)
{
    CK_BBOOL b = CK_FALSE;
    size_t n;

    if (!get(s, object, type, &b, sizeof b, &n) || n != sizeof b)
        return false;
    *is = b != CK_FALSE;
    return true;
}

static enum p11_finding_code
wrong(struct p11_finding *why, const char *name, bool known, bool is, bool should)
{
    char text[P11_WHAT_MAX + 1];

    snprintf(text, sizeof text, "%s is %s, must be %s", name,
             !known ? "not told"
             : is   ? "true"
                    : "false",
             should ? "true" : "false");
    return finding_set(why, P11_ATTRIBUTE, 0, text);
}

/* Exactly one purpose. */
static enum p11_finding_code
purpose(struct session *s, CK_OBJECT_HANDLE key, bool derives, uint32_t *attributes,
        struct p11_finding *why)
{
    bool signs = false, agrees = false;
    bool knows_sign = get_bool(s, key, CKA_SIGN, &signs);
    bool knows_derive = get_bool(s, key, CKA_DERIVE, &agrees);

    *attributes |= (signs ? P11_SIGNS : 0) | (agrees ? P11_DERIVES : 0);
    if (derives ? !agrees : !signs)
        return wrong(why, derives ? "CKA_DERIVE" : "CKA_SIGN",
                     derives ? knows_derive : knows_sign, false, true);
    if (derives ? signs : agrees)
        return wrong(why, derives ? "CKA_SIGN" : "CKA_DERIVE", true, true, false);
    return P11_FINE;
}

enum p11_finding_code
object_attributes(struct session *s, CK_OBJECT_HANDLE key, bool derives,
                  uint32_t *attributes, uint32_t *quirks, struct p11_finding *why)
{
    enum p11_finding_code code = finding_set(why, P11_FINE, 0, NULL);

    *attributes = 0;
    for (size_t i = 0; i < sizeof attribute_rows / sizeof *attribute_rows; i++) {
        uint8_t must = attribute_rows[i].must;
        bool is = false;
        bool known = get_bool(s, key, attribute_rows[i].type, &is);
        if (known && is)
            *attributes |= attribute_rows[i].mark;
        if (!known)
            *quirks |= QUIRK_ATTRIBUTES;
        if (must == TOLD || (must == FALSE_IF_KNOWN && (!known || !is)))
            continue;
        bool should = must == 1;
        if (code == P11_FINE && (!known || is != should))
            code = wrong(why, attribute_rows[i].name, known, is, should);
    }
    return code != P11_FINE ? code : purpose(s, key, derives, attributes, why);
}

/* --- binding --- */

/* Of an import that was cut off a public object is left, under an id of its own that no
 * private key has: it does not hide the pair. */
static bool
has_private(struct session *s, const uint8_t *id, size_t n)
{
    CK_OBJECT_HANDLE one;
    CK_ULONG count = 0;

    return object_find(s, CKO_PRIVATE_KEY, kd_slice(id, n), &one, 1, &count) ==
               CKR_OK &&
           count != 0;
}

static bool
is_public_of(struct session *s, CK_OBJECT_HANDLE object, const struct key_wanted *w)
{
    uint8_t octets[KD_KEY_PUBLIC_MAX];
    uint32_t quirks = 0;
    size_t n;

    return algorithm(s, object, &quirks) == w->alg &&
           object_public(s, object, w->alg, octets, &n, &quirks) &&
           kd_slice_eq(kd_slice(octets, n), w->public_key);
}

/* False if no public object has this key; else its id, one that a private key has if
 * there is any. */
static bool
id_of_public(struct session *s, const struct key_wanted *w, uint8_t id[OBJECT_ID_MAX],
             size_t *n)
{
    enum { MOST = 1024 };
    CK_OBJECT_HANDLE list[MOST];
    CK_ULONG count = 0;
    bool is_any = false;

    if (object_find(s, CKO_PUBLIC_KEY, kd_slice(NULL, 0), list, MOST, &count) != CKR_OK)
        return false;
    for (CK_ULONG i = 0; i < count && i < MOST; i++) {
        uint8_t its[OBJECT_ID_MAX];
        size_t size;
        if (!is_public_of(s, list[i], w) ||
            !get(s, list[i], CKA_ID, its, sizeof its, &size) || size == 0)
            continue;
        bool is_whole = has_private(s, its, size);
        if (!is_any || is_whole) {
            memcpy(id, its, size);
            *n = size;
        }
        is_any = true;
        if (is_whole)
            break;
    }
    return is_any;
}

/* Its public object agrees with what we know of it, if there is one. */
static enum p11_finding_code
check_public(struct session *s, const struct key_wanted *w, struct kd_slice id,
             CK_OBJECT_HANDLE private_key, uint32_t *quirks, struct p11_finding *why)
{
    enum { MOST = 4 };
    CK_OBJECT_HANDLE list[MOST] = {CK_INVALID_HANDLE};
    CK_ULONG n = 0;
    uint8_t octets[KD_KEY_PUBLIC_MAX];
    size_t size;
    CK_RV rv = object_find(s, CKO_PUBLIC_KEY, id, list, MOST, &n);

    if (rv != CKR_OK)
        return finding_set(why, P11_SESSION_FAILED, rv, "C_FindObjects");
    /* The same one twice is what an import left that was cut off and done again. */
    for (CK_ULONG i = 0; n > 1 && i < n; i++)
        if (n > MOST || !is_public_of(s, list[i], w))
            return finding_set(why, P11_KEY_TWICE, 0, "public objects");
    if (n ==
        0) { /* cards: an RSA private key has its modulus, the rest is proved by use */
        *quirks |= QUIRK_NO_PUBLIC;
        if (w->alg != KD_ALG_RSA)
            return P11_FINE;
        list[0] = private_key;
    }
    if (!object_public(s, list[0], w->alg, octets, &size, quirks))
        return finding_set(why, P11_POINT_UNREADABLE, 0, NULL);
    if (!kd_slice_eq(kd_slice(octets, size), w->public_key))
        return finding_set(why, P11_OTHER_KEY, 0, "its public object differs");
    return P11_FINE;
}

enum p11_finding_code
object_bind(struct session *s, const struct key_wanted *wanted, struct key_found *out,
            struct p11_finding *why)
{
    CK_OBJECT_HANDLE list[2] = {CK_INVALID_HANDLE, CK_INVALID_HANDLE};
    CK_ULONG n = 0;
    uint8_t id[OBJECT_ID_MAX];
    size_t id_size = wanted->id.n;
    enum p11_finding_code code;

    *out = (struct key_found){.id_size = 0};
    if (wanted->key >= SESSION_KEYS_MAX)
        return finding_set(why, P11_KEY_MISSING, CKR_ARGUMENTS_BAD, NULL);
    /* Whatever comes of it: the number stands for no other key any more. */
    s->keys[wanted->key] = (struct bound){.is_bound = false};
    if (id_size > KD_PLACE_ID_MAX)
        return finding_set(why, P11_KEY_MISSING, CKR_ARGUMENTS_BAD, NULL);
    if (id_size != 0)
        memcpy(id, wanted->id.p, id_size);
    else if (!id_of_public(s, wanted, id, &id_size) || id_size > KD_PLACE_ID_MAX)
        return finding_set(why, P11_KEY_MISSING, 0, "no public object has this key");
    CK_RV rv = object_find(s, CKO_PRIVATE_KEY, kd_slice(id, id_size), list, 2, &n);
    if (rv != CKR_OK)
        return finding_set(why, P11_SESSION_FAILED, rv, "C_FindObjects");
    if (n == 0)
        return finding_set(why, P11_KEY_MISSING, 0, "no private key has its id");
    if (n > 1)
        return finding_set(why, P11_KEY_TWICE, 0, "private keys");
    memcpy(out->id, id, id_size);
    out->id_size = id_size;
    if (algorithm(s, list[0], &out->quirks) != wanted->alg)
        return finding_set(why, P11_OTHER_KEY, 0, "of another algorithm");
    if ((code = check_public(s, wanted, kd_slice(id, id_size), list[0], &out->quirks,
                             why)) != P11_FINE ||
        (code = object_attributes(s, list[0], wanted->alg == KD_ALG_SECP256K1,
                                  &out->attributes, &out->quirks, why)) != P11_FINE)
        return code;
    s->keys[wanted->key] = (struct bound){
        .is_bound = true, .alg = wanted->alg, .handle = list[0], .quirks = out->quirks};
    return finding_set(why, P11_FINE, 0, NULL);
}

/* --- the list --- */

static void
tell(struct session *s, CK_OBJECT_HANDLE object, struct kd_buf *out)
{
    uint8_t id[OBJECT_ID_MAX], label[OBJECT_LABEL_MAX], octets[KD_KEY_PUBLIC_MAX];
    struct kd_p11_object m = {.klass = 0};
    CK_OBJECT_CLASS klass = 0;
    struct p11_finding why;
    uint32_t quirks = 0;
    size_t n;

    m.klass =
        get_number(s, object, CKA_CLASS, &klass) && klass < 255 ? (uint8_t)klass : 255;
    if (get(s, object, CKA_ID, id, sizeof id, &n))
        m.id = kd_slice(id, n);
    if (get(s, object, CKA_LABEL, label, sizeof label, &n))
        m.label = kd_slice(label, n);
    if (klass == CKO_PRIVATE_KEY || klass == CKO_PUBLIC_KEY)
        m.algorithm = (uint8_t)algorithm(s, object, &quirks);
    if (klass == CKO_PUBLIC_KEY && m.algorithm != 0 &&
        object_public(s, object, (enum kd_key_alg)m.algorithm, octets, &n, &quirks))
        m.public_key = kd_slice(octets, n);
    if (klass == CKO_PRIVATE_KEY)
        (void)object_attributes(s, object, m.algorithm == KD_ALG_SECP256K1,
                                &m.attributes, &quirks, &why);
    uint8_t *size = kd_buf_add(out, 4);
    size_t at = out->n;
    kd_p11_object_put(out, &m);
    if (size != NULL && out->err == KD_OK)
        kd_put_be32(out->p + at - 4, (uint32_t)(out->n - at));
}

enum p11_finding_code
object_list(struct session *s, uint32_t from, size_t room, struct kd_buf *out,
            uint32_t *next, struct p11_finding *why)
{
    enum { ONE_MAX = 1400 };
    CK_OBJECT_HANDLE list[FIND_AT_ONCE];
    CK_ULONG n = 0;
    CK_RV rv = search(s, NULL, 0, list, FIND_AT_ONCE, from, &n);

    *next = 0;
    if (rv != CKR_OK)
        return finding_set(why, P11_SESSION_FAILED, rv, "C_FindObjects");
    for (CK_ULONG i = 0; i < n && i < FIND_AT_ONCE; i++) {
        if (out->n + ONE_MAX > room) {
            *next = from + (uint32_t)i;
            return finding_set(why, P11_FINE, 0, NULL);
        }
        tell(s, list[i], out);
    }
    if (n > FIND_AT_ONCE && from < OBJECTS_MAX)
        *next = from + FIND_AT_ONCE;
    return finding_set(why, P11_FINE, 0, NULL);
}
