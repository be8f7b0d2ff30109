#include "module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum p11_finding_code
finding_set(struct p11_finding *f, enum p11_finding_code code, CK_RV rv,
            const char *what)
{
    size_t n = 0;

    f->code = code;
    f->rv = rv;
    for (; what != NULL && what[n] != '\0' && n < P11_WHAT_MAX; n++)
        f->what[n] = what[n] >= ' ' && what[n] <= '~' ? what[n] : '?';
    f->what[n] = '\0';
    return code;
}

enum p11_finding_code
module_accept(CK_FUNCTION_LIST_PTR f, struct p11_finding *out)
{
    char text[32];

    if (f == NULL)
        return finding_set(out, P11_MODULE_NOT_PKCS11, 0, "no function list");
    if (!((f->version.major == 2 && f->version.minor >= 20) || f->version.major == 3)) {
        snprintf(text, sizeof text, "%u.%u", f->version.major, f->version.minor);
        return finding_set(out, P11_MODULE_VERSION, 0, text);
    }
    if (f->C_Initialize == NULL || f->C_GetInfo == NULL || f->C_GetSlotList == NULL ||
        f->C_GetTokenInfo == NULL || f->C_GetMechanismInfo == NULL ||
        f->C_OpenSession == NULL || f->C_Login == NULL ||
        f->C_FindObjectsInit == NULL || f->C_FindObjects == NULL ||
        f->C_FindObjectsFinal == NULL || f->C_GetAttributeValue == NULL ||
        f->C_SignInit == NULL || f->C_Sign == NULL || f->C_DeriveKey == NULL ||
        f->C_DestroyObject == NULL || f->C_GenerateKeyPair == NULL ||
        f->C_CreateObject == NULL)
        return finding_set(out, P11_MODULE_NOT_PKCS11, 0, "functions are missing");
    return finding_set(out, P11_FINE, 0, NULL);
}

static enum p11_finding_code
initialise(struct module *m, bool may_thread, struct p11_finding *out)
{
    CK_C_INITIALIZE_ARGS args = {
        .flags = may_thread ? CKF_OS_LOCKING_OK : CKF_LIBRARY_CANT_CREATE_OS_THREADS};
    CK_INFO info;
    CK_RV rv = m->f->C_Initialize(&args);

    memset(&info, 0, sizeof info);
    if (rv != CKR_OK)
        return finding_set(out, P11_INITIALIZE_FAILED, rv, NULL);
    if (m->f->C_GetInfo(&info) == CKR_OK)
        m->library = info.libraryVersion;
    return finding_set(out, P11_FINE, 0, NULL);
}

enum p11_finding_code
module_load(const char *path, bool may_thread, struct module *m,
            struct p11_finding *out)
{
    CK_C_GetFunctionList get = NULL;
    enum p11_finding_code code;

    *m = (struct module){.f = NULL};
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (so == NULL)
        return finding_set(out, P11_MODULE_NOT_LOADED, 0, dlerror());
    void *symbol = dlsym(so, "C_GetFunctionList");
    memcpy(&get, &symbol, sizeof get); /* ISO C has no cast for this */
    CK_RV rv = get == NULL ? CKR_OK : get(&m->f);
    if (get == NULL || rv != CKR_OK)
        return finding_set(out, P11_MODULE_NOT_PKCS11, rv, path);
    if ((code = module_accept(m->f, out)) != P11_FINE)
        return code;
    return initialise(m, may_thread, out);
}
