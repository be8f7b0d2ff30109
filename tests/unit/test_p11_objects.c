/* Keys that are bound, made and removed in a host, against a module of the test's own
 * that keeps its objects here and stops where the test says. */
#include "../support/suite.h"

#include "make.h"
#include "pin.h"

#include <keyd/base/secret.h>

#include <string.h>

enum { OBJECTS = 16, VALUE_MAX = 80, ATTRIBUTES = 20 };

struct object {
    bool is_there;
    size_t n;
    struct {
        CK_ATTRIBUTE_TYPE type;
        CK_ULONG size;
        uint8_t value[VALUE_MAX];
    } list[ATTRIBUTES];
};

static struct object objects[OBJECTS];
static CK_OBJECT_HANDLE hits[OBJECTS];
static CK_ULONG n_hits, next_hit;
static CK_OBJECT_HANDLE signs_with;
static bool is_cut; /* after the public half: nothing is written any more */
static int writes_left;

/* --- the module --- */

static const uint8_t *
value_of(const struct object *o, CK_ATTRIBUTE_TYPE type, CK_ULONG *size)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->list[i].type == type) {
            *size = o->list[i].size;
            return o->list[i].value;
        }
    return NULL;
}

static CK_RV
create(CK_SESSION_HANDLE s, CK_ATTRIBUTE *list, CK_ULONG n, CK_OBJECT_HANDLE *out)
{
    (void)s;
    if (is_cut && writes_left-- <= 0)
        return CKR_DEVICE_ERROR;
    for (CK_OBJECT_HANDLE h = 0; h < OBJECTS; h++) {
        struct object *o = &objects[h];
        if (o->is_there)
            continue;
        *o = (struct object){.is_there = true};
        for (CK_ULONG i = 0; i < n; i++) {
            assert_in_range(list[i].ulValueLen, 0, VALUE_MAX);
            o->list[o->n].type = list[i].type;
            o->list[o->n].size = list[i].ulValueLen;
            memcpy(o->list[o->n++].value, list[i].pValue, list[i].ulValueLen);
        }
        *out = h + 1;
        return CKR_OK;
    }
    return CKR_DEVICE_MEMORY;
}

static CK_RV
destroy_object(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h)
{
    (void)s;
    if (is_cut)
        return CKR_DEVICE_ERROR;
    objects[h - 1].is_there = false;
    return CKR_OK;
}

static bool
matches(const struct object *o, const CK_ATTRIBUTE *list, CK_ULONG n)
{
    for (CK_ULONG i = 0; i < n; i++) {
        CK_ULONG size = 0;
        const uint8_t *v = value_of(o, list[i].type, &size);
        if (v == NULL || size != list[i].ulValueLen ||
            memcmp(v, list[i].pValue, size) != 0)
            return false;
    }
    return o->is_there;
}

static CK_RV
find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *list, CK_ULONG n)
{
    (void)s;
    n_hits = next_hit = 0;
    for (CK_OBJECT_HANDLE h = 0; h < OBJECTS; h++)
        if (matches(&objects[h], list, n))
            hits[n_hits++] = h + 1;
    return CKR_OK;
}

static CK_RV
find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
    (void)s;
    for (*n = 0; *n < max && next_hit < n_hits; ++*n)
        out[*n] = hits[next_hit++];
    return CKR_OK;
}

static CK_RV
find_final(CK_SESSION_HANDLE s)
{
    (void)s;
    return CKR_OK;
}

static CK_RV
get_value(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h, CK_ATTRIBUTE *a, CK_ULONG n)
{
    CK_ULONG size = 0;
    const uint8_t *v = value_of(&objects[h - 1], a->type, &size);

    (void)s;
    assert_int_equal(n, 1);
    if (v == NULL || size > a->ulValueLen)
        return CKR_ATTRIBUTE_TYPE_INVALID;
    memcpy(a->pValue, v, size);
    a->ulValueLen = size;
    return CKR_OK;
}

static CK_RV
sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
    (void)s;
    (void)m;
    signs_with = key;
    return CKR_OK;
}

static CK_RV
sign(CK_SESSION_HANDLE s, CK_BYTE *text, CK_ULONG n, CK_BYTE *sig, CK_ULONG *size)
{
    CK_ULONG n_seed = 0;
    const uint8_t *seed = value_of(&objects[signs_with - 1], CKA_VALUE, &n_seed);
    uint8_t pk[32], sk[64];

    (void)s;
    assert_int_equal(n_seed, 32);
    crypto_sign_seed_keypair(pk, sk, seed);
    crypto_sign_detached(sig, NULL, text, n, sk);
    *size = 64;
    return CKR_OK;
}

static CK_FUNCTION_LIST functions = {.C_CreateObject = create,
                                     .C_DestroyObject = destroy_object,
                                     .C_FindObjectsInit = find_init,
                                     .C_FindObjects = find,
                                     .C_FindObjectsFinal = find_final,
                                     .C_GetAttributeValue = get_value,
                                     .C_SignInit = sign_init,
                                     .C_Sign = sign};
static struct module module = {.f = &functions};
static struct session session;
static uint8_t *secret;

static int
fresh(void **state)
{
    (void)state;
    memset(objects, 0, sizeof objects);
    session = (struct session){.m = &module, .is_open = true};
    is_cut = false;
    if ((secret = kd_secret_new(32)) == NULL)
        return 1;
    memset(secret, 7, 32);
    return 0;
}

static int
done(void **state)
{
    (void)state;
    kd_secret_free(secret, 32);
    return 0;
}

/* --- what is asked --- */

struct pair {
    uint8_t id[16], key[KD_KEY_PUBLIC_MAX];
    size_t n;
};

static enum p11_finding_code
take_in(struct pair *p, uint8_t id)
{
    const struct pair_wanted w = {.alg = KD_ALG_ED25519,
                                  .id = kd_slice(p->id, sizeof p->id),
                                  .label = kd_slice_str("test"),
                                  .secret = kd_slice(secret, 32)};
    struct p11_finding why;
    uint32_t attributes;

    memset(p->id, id, sizeof p->id);
    return pair_make(&session, &w, p->key, &p->n, &attributes, &why);
}

/* Its public half is there, its private half is not: the process ended. */
static void
take_in_half(struct pair *p, uint8_t id)
{
    is_cut = true;
    writes_left = 1;
    assert_int_not_equal(take_in(p, id), P11_FINE);
    is_cut = false;
}

static enum p11_finding_code
bind(unsigned key, const struct pair *p, bool by_id, struct key_found *found)
{
    const struct key_wanted w = {.key = key,
                                 .alg = KD_ALG_ED25519,
                                 .id = by_id ? kd_slice(p->id, 16) : kd_slice(NULL, 0),
                                 .public_key = kd_slice(p->key, p->n)};
    struct p11_finding why;

    return object_bind(&session, &w, found, &why);
}

static unsigned
count(void)
{
    return object_count(&session);
}

/* --- tests --- */

static void
a_number_whose_key_is_gone_signs_with_no_other(void **state)
{
    struct pair p, gone;
    struct key_found found;
    uint8_t sig[SESSION_SIG_MAX];
    size_t n;

    (void)state;
    assert_int_equal(take_in(&p, 1), P11_FINE);
    assert_int_equal(bind(5, &p, true, &found), P11_FINE);
    assert_int_equal(session_sign(&session, 5, kd_slice_str("text"), sig, &n), CKR_OK);
    assert_int_equal(n, 64);
    gone = p;
    memset(gone.id, 99, sizeof gone.id);
    assert_int_equal(bind(5, &gone, true, &found), P11_KEY_MISSING);
    assert_int_not_equal(session_sign(&session, 5, kd_slice_str("text"), sig, &n),
                         CKR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(bind(5, &p, true, &found), P11_FINE);
    gone = p;
    gone.key[0] ^= 1;
    assert_int_equal(bind(5, &gone, true, &found), P11_OTHER_KEY);
    assert_int_not_equal(session_sign(&session, 5, kd_slice_str("text"), sig, &n),
                         CKR_OK);
}

static void
what_a_cut_import_left_hides_no_pair(void **state)
{
    struct pair cut, p;
    struct key_found found;

    (void)state;
    take_in_half(&cut, 1); /* found first, being older */
    assert_int_equal(count(), 1);
    assert_int_equal(take_in(&p, 2), P11_FINE);
    assert_int_equal(count(), 3);
    assert_int_equal(bind(0, &p, true, &found), P11_FINE);
    assert_int_equal(bind(0, &p, false, &found), P11_FINE);
    assert_int_equal(found.id_size, 16);
    assert_memory_equal(found.id, p.id, 16);
    memcpy(cut.key, p.key, p.n);
    cut.n = p.n;
    assert_int_equal(bind(0, &cut, true, &found), P11_KEY_MISSING);
}

static void
a_cut_import_is_done_again_under_the_same_id(void **state)
{
    struct pair p;
    struct key_found found;
    struct p11_finding why;

    (void)state;
    take_in_half(&p, 1);
    assert_int_equal(take_in(&p, 1), P11_FINE);
    assert_int_equal(count(), 2);
    assert_int_equal(bind(0, &p, true, &found), P11_FINE);
    assert_int_equal(take_in(&p, 1), P11_KEY_TWICE); /* it is whole */
    assert_int_equal(count(), 2);

    /* The same half twice, which another program may have left: one key still. */
    struct object *o = &objects[OBJECTS - 1];
    for (size_t i = 0; i < OBJECTS - 1; i++) {
        CK_ULONG size;
        if (objects[i].is_there && value_of(&objects[i], CKA_VALUE, &size) == NULL)
            *o = objects[i];
    }
    assert_int_equal(count(), 3);
    assert_int_equal(bind(0, &p, true, &found), P11_FINE);
    assert_int_equal(
        pair_unmake(&session, kd_slice(p.id, 16), kd_slice(p.key, p.n), &why),
        P11_FINE);
    assert_int_equal(count(), 0);
}

/* Whose it is nobody knows: it is left alone. */
static void
another_keys_half_under_the_id_keeps_it_taken(void **state)
{
    struct pair p;
    struct key_found found;

    (void)state;
    take_in_half(&p, 1);
    secret[0] ^= 1;
    assert_int_equal(take_in(&p, 1), P11_KEY_TWICE);
    assert_int_equal(count(), 1);
    assert_int_equal(take_in(&p, 2), P11_FINE);
    for (size_t i = 0; i < OBJECTS; i++) /* both under one id */
        for (size_t k = 0; k < objects[i].n; k++)
            if (objects[i].list[k].type == CKA_ID)
                memset(objects[i].list[k].value, 2, 16);
    assert_int_equal(bind(0, &p, true, &found), P11_KEY_TWICE);
}

static void
a_tag_is_the_keyed_hash_of_the_pin(void **state)
{
    struct pin pin;
    uint8_t latch[KD_LATCH_KEY_SIZE] = {42}, tag[KD_PIN_TAG_SIZE],
            right[KD_PIN_TAG_SIZE];

    (void)state;
    assert_int_equal(pin_setup(&pin), KD_OK);
    assert_int_equal(pin_tag(&pin, latch, tag), KD_NOT_FOUND);
    memcpy(pin.octets, "2468", 4);
    pin.n = 4;
    assert_int_equal(pin_tag(&pin, latch, tag), KD_OK);
    crypto_generichash(right, sizeof right, (const uint8_t *)"2468", 4, latch,
                       sizeof latch);
    assert_memory_equal(tag, right, sizeof tag);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_number_whose_key_is_gone_signs_with_no_other,
                                        fresh, done),
        cmocka_unit_test_setup_teardown(what_a_cut_import_left_hides_no_pair, fresh,
                                        done),
        cmocka_unit_test_setup_teardown(a_cut_import_is_done_again_under_the_same_id,
                                        fresh, done),
        cmocka_unit_test_setup_teardown(another_keys_half_under_the_id_keeps_it_taken,
                                        fresh, done),
        cmocka_unit_test(a_tag_is_the_keyed_hash_of_the_pin),
    };

    suite_begin(argc, argv);
    if (kd_secret_setup(64 * 1024) != KD_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
