/* What a PKCS#11 module answers, from the first search for a token to signatures and
 * made pairs: return values, counts, lengths and octets are the input's, and change
 * between calls. It writes only where it was given room: the rest is memory that it has
 * anyway. */
#include "../../pkcs11/host/make.h"
#include "../../pkcs11/host/objects.h"
#include "../../pkcs11/host/slots.h"
#include "fuzz.h"

#include <keyd/base/cur.h>
#include <keyd/base/secret.h>
#include <keyd/p11/marks.h>

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS_MAX = 20000, LIST_ROOM = 40960 };

static struct kd_cur in;
static unsigned n_calls;

/* --- the module --- */

static uint8_t
octet(void)
{
    return kd_cur_left(&in) == 0 ? 0 : kd_cur_u8(&in);
}

/* Mostly OK, sometimes one of the words that mean something to us, sometimes any. */
static CK_RV
answer(void)
{
    static const CK_RV words[] = {CKR_OK,
                                  CKR_GENERAL_ERROR,
                                  CKR_TEMPLATE_INCONSISTENT,
                                  CKR_BUFFER_TOO_SMALL,
                                  CKR_ATTRIBUTE_TYPE_INVALID,
                                  CKR_MECHANISM_PARAM_INVALID,
                                  CKR_ARGUMENTS_BAD,
                                  CKR_DATA_LEN_RANGE,
                                  CKR_PIN_INCORRECT,
                                  CKR_PIN_LOCKED,
                                  CKR_SESSION_HANDLE_INVALID,
                                  CKR_MECHANISM_INVALID};
    uint8_t o = octet();

    fuzz_require(++n_calls < CALLS_MAX); /* whatever it says, there is an end */
    if (o < 192)
        return CKR_OK;
    return o < 250 ? words[o % (sizeof words / sizeof *words)] : (CK_RV)-1;
}

/* A count or length: a small one, what was asked, just beyond, or absurd. */
static CK_ULONG
number(CK_ULONG room)
{
    static const CK_ULONG odd[] = {CK_UNAVAILABLE_INFORMATION, 1UL << 40, 0x7fffffff};
    uint8_t o = octet();

    if (o < 128)
        return o % (room + 1);
    if (o < 200)
        return room;
    if (o < 230)
        return room + 1 + o % 7;
    return odd[o % 3];
}

static void
fill(void *out, CK_ULONG n)
{
    uint8_t *p = out;

    for (CK_ULONG i = 0; p != NULL && i < n; i++)
        p[i] = octet();
}

static CK_RV
get_slots(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR n)
{
    CK_ULONG room = *n;

    (void)present;
    *n = number(room);
    fill(list, (*n < room ? *n : room) * sizeof *list);
    return answer();
}

static CK_RV
get_token(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
    (void)slot;
    fill(info, sizeof *info);
    return answer();
}

static CK_RV
get_mechanism(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info)
{
    (void)slot;
    (void)type;
    fill(info, sizeof *info);
    return answer();
}

static CK_RV
open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR app, CK_NOTIFY notify,
             CK_SESSION_HANDLE_PTR out)
{
    (void)slot;
    (void)flags;
    (void)app;
    (void)notify;
    *out = octet();
    return answer();
}

static CK_RV
login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG n)
{
    (void)s;
    (void)user;
    (void)pin;
    (void)n;
    return answer();
}

static CK_RV
find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE_PTR list, CK_ULONG n)
{
    (void)s;
    (void)list;
    (void)n;
    return answer();
}

static CK_RV
find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE_PTR out, CK_ULONG max, CK_ULONG_PTR n)
{
    (void)s;
    *n = kd_cur_left(&in) == 0 ? 0 : number(max);
    fill(out, (*n < max ? *n : max) * sizeof *out);
    return answer();
}

static CK_RV
find_final(CK_SESSION_HANDLE s)
{
    (void)s;
    return answer();
}

/* What was asked for, in a form that is nearly right: else nothing gets far. */
static void
give(CK_ATTRIBUTE_PTR a)
{
    static const uint8_t ed[] = {6, 3, 0x2b, 0x65, 0x70};
    static const uint8_t k1[] = {6, 5, 0x2b, 0x81, 4, 0, 0x0a};
    static const CK_ULONG types[] = {CKK_EC_EDWARDS, CKK_EC, CKK_RSA};
    CK_ULONG room = a->ulValueLen, n = number(room), v;
    uint8_t how = octet();

    if (how < 128 && a->type == CKA_KEY_TYPE && room >= sizeof v) {
        v = types[how % 3];
        memcpy(a->pValue, &v, n = sizeof v);
    } else if (how < 128 && a->type == CKA_EC_PARAMS && room >= sizeof k1) {
        n = how % 2 == 0 ? sizeof ed : sizeof k1;
        memcpy(a->pValue, how % 2 == 0 ? ed : k1, n);
    } else if (how < 128 && a->type == CKA_EC_POINT && room >= 67) {
        static const size_t sizes[] = {32, 34, 35, 33, 65, 67};
        n = sizes[how % 6];
        fill(a->pValue, n);
    } else if (how < 200 && room == 1) {
        *(CK_BBOOL *)a->pValue = octet() & 1;
        n = 1;
    } else {
        fill(a->pValue, n < room ? n : room);
    }
    a->ulValueLen = n;
}

static CK_RV
get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h, CK_ATTRIBUTE_PTR list,
               CK_ULONG n)
{
    (void)s;
    (void)h;
    for (CK_ULONG i = 0; i < n; i++)
        give(&list[i]);
    return answer();
}

static CK_RV
sign_init(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE h)
{
    (void)s;
    (void)m;
    (void)h;
    return answer();
}

static CK_RV
sign(CK_SESSION_HANDLE s, CK_BYTE_PTR text, CK_ULONG n_text, CK_BYTE_PTR sig,
     CK_ULONG_PTR n)
{
    CK_ULONG room = *n;

    (void)s;
    (void)text;
    (void)n_text;
    *n = number(room);
    fill(sig, *n < room ? *n : room);
    return answer();
}

static CK_RV
derive(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE h,
       CK_ATTRIBUTE_PTR list, CK_ULONG n, CK_OBJECT_HANDLE_PTR out)
{
    (void)s;
    (void)m;
    (void)h;
    (void)list;
    (void)n;
    *out = octet();
    return answer();
}

static CK_RV
destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h)
{
    (void)s;
    (void)h;
    return answer();
}

static CK_RV
generate(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_ATTRIBUTE_PTR pub, CK_ULONG n_pub,
         CK_ATTRIBUTE_PTR prv, CK_ULONG n_prv, CK_OBJECT_HANDLE_PTR a,
         CK_OBJECT_HANDLE_PTR b)
{
    (void)s;
    (void)m;
    (void)pub;
    (void)n_pub;
    (void)prv;
    (void)n_prv;
    *a = octet();
    *b = octet();
    return answer();
}

static CK_RV
create(CK_SESSION_HANDLE s, CK_ATTRIBUTE_PTR list, CK_ULONG n, CK_OBJECT_HANDLE_PTR out)
{
    (void)s;
    (void)list;
    (void)n;
    *out = octet();
    return answer();
}

static CK_FUNCTION_LIST functions = {
    .C_GetSlotList = get_slots,
    .C_GetTokenInfo = get_token,
    .C_GetMechanismInfo = get_mechanism,
    .C_OpenSession = open_session,
    .C_Login = login,
    .C_FindObjectsInit = find_init,
    .C_FindObjects = find,
    .C_FindObjectsFinal = find_final,
    .C_GetAttributeValue = get_attributes,
    .C_SignInit = sign_init,
    .C_Sign = sign,
    .C_DeriveKey = derive,
    .C_DestroyObject = destroy,
    .C_GenerateKeyPair = generate,
    .C_CreateObject = create,
};

/* --- what is asked of it --- */

static struct module module = {.f = &functions};
static struct session session;
static uint8_t *z;

static void
look(void)
{
    const struct slot_wanted wanted = {.label = octet() < 128 ? "" : "alpha"};
    struct slot_found found;
    struct p11_finding why;

    slot_find(&module, &wanted, &found, &why);
    fuzz_require(found.n_match <= SLOTS_MAX && memchr(found.label, 0, 33) != NULL &&
                 memchr(found.serial, 0, 17) != NULL &&
                 memchr(why.what, 0, sizeof why.what) != NULL);
    if (session_open(&session, &module, found.slot, false, &why) == P11_FINE)
        session_login(&session, kd_slice("2468", 4), &why);
}

static void
bind_keys(void)
{
    static const enum kd_key_alg algs[] = {KD_ALG_ED25519, KD_ALG_SECP256K1,
                                           KD_ALG_RSA};
    static const uint8_t id[16], key[KD_KEY_PUBLIC_MAX];
    struct key_found found;
    struct p11_finding why;

    for (unsigned i = 0; i < 3; i++) {
        struct key_wanted wanted = {.key = i,
                                    .alg = algs[i],
                                    .id = kd_slice(id, octet() < 200 ? 16 : 0),
                                    .public_key = kd_slice(key, i == 1 ? 33 : 32)};
        object_bind(&session, &wanted, &found, &why);
        fuzz_require(found.id_size <= KD_PLACE_ID_MAX);
        /* What comes later is reached by any input. */
        session.keys[i] =
            (struct bound){.is_bound = true, .alg = algs[i], .handle = octet()};
    }
}

static void
use_keys(void)
{
    uint8_t sig[SESSION_SIG_MAX], point[65] = {4}, hash[32] = {0};
    size_t n;

    session_sign(&session, 0, kd_slice("text", 4), sig, &n);
    fuzz_require(n <= sizeof sig);
    session_sign(&session, 2, kd_slice(hash, 32), sig, &n);
    fuzz_require(n <= sizeof sig);
    session_derive(&session, 1, point, z, &n);
    fuzz_require(n == 0 || n == KD_ECDH_SIZE);
}

static void
list_all(void)
{
    struct p11_finding why;
    struct kd_buf b;
    uint32_t from = 0, next;

    kd_buf_init(&b, LIST_ROOM);
    for (unsigned i = 0; i < 4; i++) {
        kd_buf_reset(&b);
        object_list(&session, from, LIST_ROOM, &b, &next, &why);
        fuzz_require(b.err == KD_OK && b.n <= LIST_ROOM && (next == 0 || next >= from));
        if ((from = next) == 0)
            break;
    }
    kd_buf_free(&b);
    fuzz_require(object_count(&session) <= 2 * OBJECTS_MAX);
}

static void
make_pairs(void)
{
    static const enum kd_key_alg algs[] = {KD_ALG_ED25519, KD_ALG_SECP256K1,
                                           KD_ALG_RSA};
    static const uint8_t id[16] = {1};
    static uint8_t seed[32] = {1};
    uint8_t key[KD_KEY_PUBLIC_MAX];
    struct p11_finding why;
    uint32_t attributes = 0;
    size_t n = 0;

    for (unsigned i = 0; i < 3; i++) {
        const struct pair_wanted wanted = {.alg = algs[i],
                                           .id = kd_slice(id, 16),
                                           .label = kd_slice("fuzz", 4),
                                           .bits = 2048,
                                           .secret =
                                               kd_slice(seed, octet() < 128 ? 32 : 0)};
        if (pair_make(&session, &wanted, key, &n, &attributes, &why) == P11_FINE)
            fuzz_require(n != 0 && n <= sizeof key &&
                         (attributes & P11_EXTRACTABLE) == 0);
    }
    pair_unmake(&session, kd_slice(id, 16), kd_slice(key, n), &why);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (z == NULL && (sodium_init() < 0 || kd_secret_setup(1 << 16) != KD_OK ||
                      (z = kd_secret_new(KD_ECDH_SIZE)) == NULL))
        abort();
    in = kd_cur(kd_slice(data, size));
    n_calls = 0;
    memset(&session, 0, sizeof session);
    session.m = &module;
    fuzz_begin(size);
    look();
    bind_keys();
    use_keys();
    list_all();
    make_pairs();
    fuzz_end();
    return 0;
}
