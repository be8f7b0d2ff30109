#include "softhsm_key.h"

#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static void
must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "softhsm: %s\n", what);
    _exit(1);
}

static CK_FUNCTION_LIST_PTR
load(void)
{
    CK_C_GetFunctionList get = NULL;
    CK_FUNCTION_LIST_PTR f = NULL;
    void *so = dlopen(softhsm_module(), RTLD_NOW | RTLD_LOCAL), *symbol;

    must(so != NULL && (symbol = dlsym(so, "C_GetFunctionList")) != NULL, "dlopen");
    memcpy(&get, &symbol, sizeof get);
    must(get(&f) == CKR_OK && f->C_Initialize(NULL) == CKR_OK, "C_Initialize");
    return f;
}

static CK_SLOT_ID
find_slot(CK_FUNCTION_LIST_PTR f, const char *label)
{
    CK_SLOT_ID slots[16];
    CK_ULONG n = 16;
    CK_TOKEN_INFO info;

    must(f->C_GetSlotList(CK_TRUE, slots, &n) == CKR_OK, "C_GetSlotList");
    for (CK_ULONG i = 0; i < n; i++)
        if (f->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
            memcmp(info.label, label, strlen(label)) == 0 &&
            info.label[strlen(label)] == ' ')
            return slots[i];
    must(false, label);
    return 0;
}

static CK_SESSION_HANDLE
log_in(CK_FUNCTION_LIST_PTR f, CK_SLOT_ID slot)
{
    static CK_UTF8CHAR pin[] = SOFTHSM_PIN;
    CK_SESSION_HANDLE s;

    must(f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s) ==
             CKR_OK,
         "C_OpenSession");
    must(f->C_Login(s, CKU_USER, pin, sizeof pin - 1) == CKR_OK, "C_Login");
    return s;
}

static void
create(CK_FUNCTION_LIST_PTR f, CK_SESSION_HANDLE s, const struct softhsm_key *key)
{
    static uint8_t ed25519[] = {6, 3, 0x2b, 0x65, 0x70};
    CK_OBJECT_CLASS pub = CKO_PUBLIC_KEY, prv = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_EC_EDWARDS;
    uint8_t point[34] = {4, 32}, seed[32], secret[64];
    char id[64];
    CK_OBJECT_HANDLE out;

    memcpy(seed, key->seed, sizeof seed);
    crypto_sign_seed_keypair(point + 2, secret, seed);
    CK_ULONG n_id = (CK_ULONG)snprintf(id, sizeof id, "%s", key->id);
    CK_ATTRIBUTE a[] = {
        {CKA_CLASS, &pub, sizeof pub},      {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &yes, sizeof yes},      {CKA_ID, id, n_id},
        {CKA_VERIFY, &yes, sizeof yes},     {CKA_EC_PARAMS, ed25519, sizeof ed25519},
        {CKA_EC_POINT, point, sizeof point}};
    CK_ATTRIBUTE b[] = {
        {CKA_CLASS, &prv, sizeof prv},
        {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &yes, sizeof yes},
        {CKA_PRIVATE, &yes, sizeof yes},
        {CKA_SENSITIVE, &yes, sizeof yes},
        {CKA_EXTRACTABLE, key->extractable ? &yes : &no, sizeof yes},
        {CKA_SIGN, &yes, sizeof yes},
        {CKA_DECRYPT, key->also_decrypts ? &yes : &no, sizeof yes},
        {CKA_UNWRAP, &no, sizeof no},
        {CKA_DERIVE, &no, sizeof no},
        {CKA_SIGN_RECOVER, &no, sizeof no},
        {CKA_ID, id, n_id},
        {CKA_EC_PARAMS, ed25519, sizeof ed25519},
        {CKA_VALUE, seed, sizeof seed},
    };
    must(f->C_CreateObject(s, a, sizeof a / sizeof *a, &out) == CKR_OK &&
             f->C_CreateObject(s, b, sizeof b / sizeof *b, &out) == CKR_OK,
         "C_CreateObject");
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(seed, sizeof seed);
}

bool
softhsm_put_key(const struct softhsm *s, unsigned uid, const struct softhsm_key *key)
{
    int status = -1;

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        must(geteuid() != 0 || (setgid(uid) == 0 && setuid(uid) == 0), "setuid");
        must(setenv("SOFTHSM2_CONF", s->conf, 1) == 0, "setenv");
        CK_FUNCTION_LIST_PTR f = load();
        create(f, log_in(f, find_slot(f, s->label)), key);
        must(f->C_Finalize(NULL) == CKR_OK, "C_Finalize");
        _exit(0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}
