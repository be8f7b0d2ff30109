/* A PKCS#11 module for tests, never installed, that fails as it is told. It keeps
 * nothing in its process but handles: in the folder that FAKE_P11 names are
 *
 *   token    label, serial number, PIN, and words: locked, final-try, no-eddsa,
 *            no-derive, limit=OCTETS, twin (another token of the same label)
 *   keys     a line each: id label algorithm seed attributes ("ed25519", "secp256k1";
 *            hex; "good", "extractable", "sensitive-unknown", "derives-too")
 *   script   what goes wrong now, a line each: FUNCTION ACTION [NUMBER]; FUNCTION may
 *            be *; actions below
 *   log      a datagram socket that is told of every login and of every call that a
 *            line of the script was for
 *
 * Hosts that serve can only read there; the one that makes keys rewrites `keys`. */
#include <errno.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { KEYS_MAX = 64, TEXT_MAX = 32768, RENUMBERED = 7 };

struct key {
    uint8_t id[32], seed[32], pub[65];
    size_t id_size, pub_size;
    char label[65], attributes[32];
    bool derives;
};

static struct key keys[KEYS_MAX];
static size_t n_keys;

static struct {
    char label[33], serial[17], pin[64], words[256];
} token;

static struct {
    bool is_open, is_logged;
    CK_OBJECT_HANDLE found[2 * KEYS_MAX + 1];
    CK_ULONG n_found, next_found;
    size_t signer;
    uint8_t z[32];
    bool has_z;
} session;

/* --- files --- */

static const char *
folder(void)
{
    const char *f = getenv("FAKE_P11");

    return f == NULL ? "/nonexistent" : f;
}

static bool
read_file(const char *name, char text[TEXT_MAX])
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", folder(), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_MAX - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = '\0';
    return n >= 0;
}

static void
log_line(const char *what, const char *more)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char text[160];
    int n = snprintf(text, sizeof text, "%d %s %s", (int)getpid(), what, more);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%s/log", folder());
    if (fd >= 0 && sendto(fd, text, (size_t)n, MSG_DONTWAIT, (struct sockaddr *)&to,
                          sizeof to) < 0) {
        /* nobody listens */
    }
    if (fd >= 0)
        close(fd);
}

static bool
has_word(const char *word)
{
    const char *at = strstr(token.words, word);

    return at != NULL;
}

static void
read_token(void)
{
    char text[TEXT_MAX];

    memset(&token, 0, sizeof token);
    if (read_file("token", text) &&
        sscanf(text, "%32s %16s %63s %255[^\n]", token.label, token.serial, token.pin,
               token.words) < 3)
        token.label[0] = '\0';
}

/* --- keys --- */

static void
make_public(struct key *k)
{
    static secp256k1_context *ctx;
    secp256k1_pubkey p;
    uint8_t sk[64];
    size_t n = 65;

    if (!k->derives) {
        crypto_sign_seed_keypair(k->pub, sk, k->seed);
        k->pub_size = 32;
        return;
    }
    if (ctx == NULL)
        ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    k->pub_size = 0;
    if (secp256k1_ec_pubkey_create(ctx, &p, k->seed) != 1)
        return;
    secp256k1_ec_pubkey_serialize(ctx, k->pub, &n, &p, SECP256K1_EC_UNCOMPRESSED);
    k->pub_size = n;
}

static void
read_keys(void)
{
    char text[TEXT_MAX], id[65], alg[16], seed[65];
    char *line, *rest = text;

    n_keys = 0;
    if (!read_file("keys", text))
        return;
    while ((line = strsep(&rest, "\n")) != NULL && n_keys < KEYS_MAX) {
        struct key *k = &keys[n_keys];
        memset(k, 0, sizeof *k);
        if (sscanf(line, "%64s %64s %15s %64s %31s", id, k->label, alg, seed,
                   k->attributes) != 5)
            continue;
        for (char *c = k->label; *c != '\0'; c++)
            *c = *c == '_' ? ' ' : *c;
        k->derives = strcmp(alg, "secp256k1") == 0;
        if (sodium_hex2bin(k->id, sizeof k->id, id, strlen(id), NULL, &k->id_size,
                           NULL) != 0 ||
            sodium_hex2bin(k->seed, 32, seed, 64, NULL, NULL, NULL) != 0)
            continue;
        make_public(k);
        n_keys++;
    }
}

static CK_RV
write_keys(void)
{
    char path[300], id[65], seed[65], label[65];

    snprintf(path, sizeof path, "%s/keys", folder());
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return CKR_TOKEN_WRITE_PROTECTED;
    for (size_t i = 0; i < n_keys; i++) {
        const struct key *k = &keys[i];
        sodium_bin2hex(id, sizeof id, k->id, k->id_size);
        sodium_bin2hex(seed, sizeof seed, k->seed, 32);
        snprintf(label, sizeof label, "%s", k->label[0] == '\0' ? "-" : k->label);
        for (char *c = label; *c != '\0'; c++)
            *c = *c == ' ' ? '_' : *c;
        fprintf(f, "%s %s %s %s %s\n", id, label, k->derives ? "secp256k1" : "ed25519",
                seed, k->attributes);
    }
    return fclose(f) == 0 ? CKR_OK : CKR_DEVICE_ERROR;
}

/* Handles: 2i + 1 the private half, 2i + 2 the public one; 1000 what was derived. */
enum { DERIVED = 1000 };

static struct key *
key_of(CK_OBJECT_HANDLE h)
{
    return h >= 1 && h <= 2 * n_keys ? &keys[(h - 1) / 2] : NULL;
}

static bool
is_private(CK_OBJECT_HANDLE h)
{
    return h % 2 == 1;
}

/* --- the script --- */

/* What goes wrong in a function, with its number; "" for nothing. */
static const char *
action(const char *function, unsigned long *number)
{
    static char what[32];
    char text[TEXT_MAX], name[32];
    char *line, *rest = text;

    *number = 0;
    what[0] = '\0';
    if (!read_file("script", text))
        return what;
    while ((line = strsep(&rest, "\n")) != NULL) {
        what[0] = '\0';
        char value[32] = "0";
        if (sscanf(line, "%31s %31s %31s", name, what, value) < 2 ||
            (strcmp(name, function) != 0 && strcmp(name, "*") != 0))
            continue;
        *number = strtoul(value, NULL, 0);
        log_line(function, what);
        return what;
    }
    what[0] = '\0';
    return what;
}

static void
rest_for(unsigned long ms)
{
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* hang, delay MS, crash, exit, rv NUMBER: done here; true if *rv is the answer. */
static bool
misbehave(const char *function, CK_RV *rv, const char **what, unsigned long *number)
{
    const char *a = action(function, number);

    *what = a;
    if (strcmp(a, "hang") == 0)
        rest_for(3600 * 1000UL);
    if (strcmp(a, "delay") == 0)
        rest_for(*number);
    if (strcmp(a, "crash") == 0)
        __builtin_trap();
    if (strcmp(a, "exit") == 0)
        _exit(7);
    if (strcmp(a, "rv") != 0)
        return false;
    *rv = *number;
    return true;
}

#define FAIL_AS_TOLD(function)                                                         \
    CK_RV told_;                                                                       \
    const char *what;                                                                  \
    unsigned long number;                                                              \
    if (misbehave(function, &told_, &what, &number))                                   \
        return told_;                                                                  \
    (void)what

/* --- general --- */

static CK_RV
initialize(void *args)
{
    FAIL_AS_TOLD("C_Initialize");
    (void)args;
    return sodium_init() < 0 ? CKR_GENERAL_ERROR : CKR_OK;
}

static CK_RV
get_info(CK_INFO *info)
{
    memset(info, 0, sizeof *info);
    info->cryptokiVersion.major = 2;
    info->cryptokiVersion.minor = 40;
    info->libraryVersion.major = 1;
    return CKR_OK;
}

static CK_SLOT_ID
slot_number(void)
{
    unsigned long number;

    return strcmp(action("C_GetSlotList", &number), "renumber") == 0 ? RENUMBERED : 0;
}

static CK_RV
get_slot_list(unsigned char present, CK_SLOT_ID *list, unsigned long *n)
{
    FAIL_AS_TOLD("C_GetSlotList");
    unsigned long count = 1;

    (void)present;
    read_token();
    if (strcmp(what, "removed") == 0 || token.label[0] == '\0')
        count = 0;
    else if (has_word("twin"))
        count = 2;
    if (strcmp(what, "many") == 0) {
        *n = number;
        return CKR_OK;
    }
    if (list != NULL && *n < count)
        return CKR_BUFFER_TOO_SMALL;
    for (unsigned long i = 0; list != NULL && i < count; i++)
        list[i] = slot_number() + i;
    *n = count;
    return CKR_OK;
}

static void
pad(unsigned char *out, size_t room, const char *text)
{
    memset(out, ' ', room);
    memcpy(out, text, strlen(text) < room ? strlen(text) : room);
}

static CK_RV
get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    FAIL_AS_TOLD("C_GetTokenInfo");

    (void)slot;
    read_token();
    memset(info, 0, sizeof *info);
    pad(info->label, sizeof info->label, token.label);
    pad(info->serialNumber, sizeof info->serialNumber, token.serial);
    pad(info->model, sizeof info->model, "fake");
    pad(info->manufacturerID, sizeof info->manufacturerID, "keyd tests");
    info->flags = CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED | CKF_LOGIN_REQUIRED;
    if (has_word("locked"))
        info->flags |= CKF_USER_PIN_LOCKED;
    if (has_word("final-try"))
        info->flags |= CKF_USER_PIN_FINAL_TRY;
    return CKR_OK;
}

static CK_RV
get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    (void)slot;
    read_token();
    memset(info, 0, sizeof *info);
    info->flags = CKF_SIGN | CKF_DERIVE | CKF_GENERATE_KEY_PAIR;
    if ((type == CKM_EDDSA || type == CKM_EC_EDWARDS_KEY_PAIR_GEN) &&
        !has_word("no-eddsa"))
        return CKR_OK;
    if (type == CKM_EC_KEY_PAIR_GEN ||
        (type == CKM_ECDH1_DERIVE && !has_word("no-derive")))
        return CKR_OK;
    return CKR_MECHANISM_INVALID;
}

static CK_RV
open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify,
             CK_SESSION_HANDLE *out)
{
    FAIL_AS_TOLD("C_OpenSession");

    (void)slot;
    (void)flags;
    (void)app;
    (void)notify;
    session.is_open = true;
    *out = 1;
    return CKR_OK;
}

static CK_RV
login(CK_SESSION_HANDLE s, CK_USER_TYPE user, unsigned char *pin, unsigned long n)
{
    FAIL_AS_TOLD("C_Login");

    (void)s;
    (void)user;
    read_token();
    bool good = strlen(token.pin) == n && memcmp(token.pin, pin, n) == 0;
    log_line("login", good ? "good" : "bad");
    if (!good)
        return CKR_PIN_INCORRECT;
    session.is_logged = true;
    read_keys();
    return CKR_OK;
}

/* --- objects --- */

static const CK_ATTRIBUTE *
wanted(const CK_ATTRIBUTE *list, unsigned long n, CK_ATTRIBUTE_TYPE type)
{
    for (unsigned long i = 0; i < n; i++)
        if (list[i].type == type)
            return &list[i];
    return NULL;
}

static bool
matches(CK_OBJECT_HANDLE h, const CK_ATTRIBUTE *list, unsigned long n)
{
    const CK_ATTRIBUTE *klass = wanted(list, n, CKA_CLASS);
    const CK_ATTRIBUTE *id = wanted(list, n, CKA_ID);
    const struct key *k = key_of(h);

    if (klass != NULL && *(CK_OBJECT_CLASS *)klass->pValue !=
                             (is_private(h) ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY))
        return false;
    return id == NULL ||
           (id->ulValueLen == k->id_size && memcmp(id->pValue, k->id, k->id_size) == 0);
}

static CK_RV
find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *list, unsigned long n)
{
    FAIL_AS_TOLD("C_FindObjectsInit");

    (void)s;
    read_keys();
    session.n_found = session.next_found = 0;
    for (CK_OBJECT_HANDLE h = 1; h <= 2 * n_keys; h++)
        if (matches(h, list, n))
            session.found[session.n_found++] = h;
    return CKR_OK;
}

static CK_RV
find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out, unsigned long max, unsigned long *n)
{
    FAIL_AS_TOLD("C_FindObjects");

    (void)s;
    *n = 0;
    while (*n < max && session.next_found < session.n_found)
        out[(*n)++] = session.found[session.next_found++];
    if (strcmp(what, "many") == 0)
        *n = number;
    return CKR_OK;
}

static CK_RV
find_final(CK_SESSION_HANDLE s)
{
    (void)s;
    return CKR_OK;
}

static CK_RV
give(CK_ATTRIBUTE *a, const void *value, size_t n)
{
    if (a->pValue != NULL && a->ulValueLen < n) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_BUFFER_TOO_SMALL;
    }
    if (a->pValue != NULL)
        memcpy(a->pValue, value, n);
    a->ulValueLen = n;
    return CKR_OK;
}

static CK_RV
unknown(CK_ATTRIBUTE *a)
{
    a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_ATTRIBUTE_TYPE_INVALID;
}

static CK_RV
get_flag(const struct key *k, CK_ATTRIBUTE *a)
{
    unsigned char yes = 1, no = 0;
    const char *is = k->attributes;

    switch (a->type) {
    case CKA_TOKEN:
    case CKA_PRIVATE:
    case CKA_LOCAL:
    case CKA_ALWAYS_SENSITIVE:
        return give(a, &yes, 1);
    case CKA_SENSITIVE:
        return strcmp(is, "sensitive-unknown") == 0 ? unknown(a) : give(a, &yes, 1);
    case CKA_EXTRACTABLE:
        return give(a, strcmp(is, "extractable") == 0 ? &yes : &no, 1);
    case CKA_NEVER_EXTRACTABLE:
        return give(a, strcmp(is, "extractable") == 0 ? &no : &yes, 1);
    case CKA_SIGN:
        return give(a, k->derives ? &no : &yes, 1);
    case CKA_DERIVE:
        return give(a, k->derives || strcmp(is, "derives-too") == 0 ? &yes : &no, 1);
    default:
        return unknown(a);
    }
}

static CK_RV
get_of_key(CK_OBJECT_HANDLE h, CK_ATTRIBUTE *a)
{
    static const uint8_t ed[] = {6, 3, 0x2b, 0x65, 0x70};
    static const uint8_t k1[] = {6, 5, 0x2b, 0x81, 4, 0, 0x0a};
    const struct key *k = key_of(h);
    CK_OBJECT_CLASS klass = is_private(h) ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = k->derives ? CKK_EC : CKK_EC_EDWARDS;
    uint8_t point[67];

    switch (a->type) {
    case CKA_CLASS:
        return give(a, &klass, sizeof klass);
    case CKA_KEY_TYPE:
        return give(a, &type, sizeof type);
    case CKA_ID:
        return give(a, k->id, k->id_size);
    case CKA_LABEL:
        return give(a, k->label, strlen(k->label));
    case CKA_EC_PARAMS:
        return k->derives ? give(a, k1, sizeof k1) : give(a, ed, sizeof ed);
    case CKA_EC_POINT:
        if (is_private(h))
            return unknown(a);
        point[0] = 4;
        point[1] = (uint8_t)k->pub_size;
        memcpy(point + 2, k->pub, k->pub_size);
        return give(a, point, k->pub_size + 2);
    default:
        return is_private(h) ? get_flag(k, a) : unknown(a);
    }
}

static CK_RV
get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h, CK_ATTRIBUTE *list,
               unsigned long n)
{
    FAIL_AS_TOLD("C_GetAttributeValue");
    CK_RV rv = CKR_OK;

    (void)s;
    for (unsigned long i = 0; i < n; i++) {
        CK_RV one = CKR_OBJECT_HANDLE_INVALID;
        if (h == DERIVED && session.has_z && list[i].type == CKA_VALUE)
            one = give(&list[i], session.z, strcmp(what, "short") == 0 ? number : 32);
        else if (key_of(h) != NULL)
            one = get_of_key(h, &list[i]);
        if (strcmp(what, "huge") == 0)
            list[i].ulValueLen = 1UL << 40;
        rv = one != CKR_OK ? one : rv;
    }
    return rv;
}

static CK_RV
destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h)
{
    FAIL_AS_TOLD("C_DestroyObject");
    struct key *k = key_of(h);

    (void)s;
    if (h == DERIVED) {
        session.has_z = false;
        return CKR_OK;
    }
    if (k == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    if (!is_private(h))
        return CKR_OK; /* it goes with the other half */
    *k = keys[--n_keys];
    return write_keys();
}

/* --- making --- */

static CK_RV
add(const CK_ATTRIBUTE *list, unsigned long n, const uint8_t *seed, bool derives)
{
    const CK_ATTRIBUTE *id = wanted(list, n, CKA_ID), *label;
    struct key *k = &keys[n_keys];

    label = wanted(list, n, CKA_LABEL);
    if (n_keys == KEYS_MAX || id == NULL || id->ulValueLen > sizeof k->id)
        return CKR_DEVICE_MEMORY;
    memset(k, 0, sizeof *k);
    memcpy(k->id, id->pValue, id->ulValueLen);
    k->id_size = id->ulValueLen;
    if (label != NULL)
        snprintf(k->label, sizeof k->label, "%.*s", (int)label->ulValueLen,
                 (const char *)label->pValue);
    snprintf(k->attributes, sizeof k->attributes, "good");
    memcpy(k->seed, seed, 32);
    k->derives = derives;
    make_public(k);
    n_keys++;
    return write_keys();
}

static CK_RV
generate(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *pub, unsigned long n_pub,
         CK_ATTRIBUTE *prv, unsigned long n_prv, CK_OBJECT_HANDLE *out_pub,
         CK_OBJECT_HANDLE *out_prv)
{
    FAIL_AS_TOLD("C_GenerateKeyPair");
    uint8_t seed[32];

    (void)s;
    (void)prv;
    (void)n_prv;
    read_keys();
    randombytes_buf(seed, sizeof seed);
    CK_RV rv = add(pub, n_pub, seed, m->mechanism == CKM_EC_KEY_PAIR_GEN);
    *out_prv = 2 * n_keys - 1;
    *out_pub = 2 * n_keys;
    return rv;
}

/* The public half comes first and is made of the private one. */
static CK_RV
create(CK_SESSION_HANDLE s, CK_ATTRIBUTE *list, unsigned long n, CK_OBJECT_HANDLE *out)
{
    FAIL_AS_TOLD("C_CreateObject");
    const CK_ATTRIBUTE *klass = wanted(list, n, CKA_CLASS);
    const CK_ATTRIBUTE *type = wanted(list, n, CKA_KEY_TYPE);
    const CK_ATTRIBUTE *value = wanted(list, n, CKA_VALUE);

    (void)s;
    read_keys();
    if (klass == NULL || type == NULL)
        return CKR_TEMPLATE_INCOMPLETE;
    if (*(CK_OBJECT_CLASS *)klass->pValue == CKO_PUBLIC_KEY) {
        *out = 2 * n_keys + 2; /* what it will be */
        return CKR_OK;
    }
    if (value == NULL || value->ulValueLen != 32)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    CK_RV rv = add(list, n, value->pValue, *(CK_KEY_TYPE *)type->pValue == CKK_EC);
    *out = 2 * n_keys - 1;
    return rv;
}

/* --- operations --- */

static CK_RV
sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE h)
{
    FAIL_AS_TOLD("C_SignInit");

    (void)s;
    if (m->mechanism != CKM_EDDSA)
        return CKR_MECHANISM_INVALID;
    if (key_of(h) == NULL || !is_private(h))
        return CKR_KEY_HANDLE_INVALID;
    session.signer = (h - 1) / 2;
    return CKR_OK;
}

static CK_RV
sign(CK_SESSION_HANDLE s, unsigned char *text, unsigned long n, unsigned char *sig,
     unsigned long *size)
{
    FAIL_AS_TOLD("C_Sign");
    uint8_t pub[32], sk[64];
    const char *limit = strstr(token.words, "limit=");
    struct key other = keys[session.signer];

    (void)s;
    if (limit != NULL && n > strtoul(limit + 6, NULL, 10))
        return CKR_DATA_LEN_RANGE;
    if (strcmp(what, "nothing") == 0) {
        *size = 0;
        return CKR_OK;
    }
    if (strcmp(what, "otherkey") == 0)
        other.seed[0] ^= 1;
    crypto_sign_seed_keypair(pub, sk, other.seed);
    crypto_sign_detached(sig, NULL, text, n, sk);
    *size = 64;
    if (strcmp(what, "garbage") == 0)
        randombytes_buf(sig, 64);
    if (strcmp(what, "flip") == 0)
        sig[number / 8 % 64] ^= (unsigned char)(1u << number % 8);
    if (strcmp(what, "len") == 0)
        *size = number;
    return CKR_OK;
}

static int
copy_x(unsigned char *out, const unsigned char *x, const unsigned char *y, void *data)
{
    (void)y;
    (void)data;
    memcpy(out, x, 32);
    return 1;
}

static CK_RV
derive(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE h, CK_ATTRIBUTE *list,
       unsigned long n, CK_OBJECT_HANDLE *out)
{
    FAIL_AS_TOLD("C_DeriveKey");
    const CK_ECDH1_DERIVE_PARAMS *p = m->pParameter;
    struct key *k = key_of(h);
    secp256k1_pubkey peer;
    secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    CK_RV rv = CKR_OK;

    (void)s;
    (void)list;
    (void)n;
    if (k == NULL || !k->derives || p == NULL)
        rv = CKR_KEY_HANDLE_INVALID;
    else if (secp256k1_ec_pubkey_parse(ctx, &peer, p->pPublicData,
                                       p->ulPublicDataLen) != 1 ||
             secp256k1_ecdh(ctx, session.z, &peer, k->seed, copy_x, NULL) != 1)
        rv = CKR_MECHANISM_PARAM_INVALID;
    secp256k1_context_destroy(ctx);
    if (rv != CKR_OK)
        return rv;
    if (strcmp(what, "garbage") == 0)
        randombytes_buf(session.z, 32);
    session.has_z = true;
    *out = strcmp(what, "nothing") == 0 ? CK_INVALID_HANDLE : DERIVED;
    return CKR_OK;
}

static CK_FUNCTION_LIST list = {
    .version = {2, 40},
    .C_Initialize = initialize,
    .C_GetInfo = get_info,
    .C_GetSlotList = get_slot_list,
    .C_GetTokenInfo = get_token_info,
    .C_GetMechanismInfo = get_mechanism_info,
    .C_OpenSession = open_session,
    .C_Login = login,
    .C_FindObjectsInit = find_init,
    .C_FindObjects = find,
    .C_FindObjectsFinal = find_final,
    .C_GetAttributeValue = get_attributes,
    .C_DestroyObject = destroy,
    .C_GenerateKeyPair = generate,
    .C_CreateObject = create,
    .C_SignInit = sign_init,
    .C_Sign = sign,
    .C_DeriveKey = derive,
};

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out);

CK_RV
C_GetFunctionList(CK_FUNCTION_LIST **out)
{
    *out = &list;
    return CKR_OK;
}
