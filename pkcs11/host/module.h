/* The vendor's module: loading it, and its C_Initialize. What its file tells is looked
 * at before (keyd/p11/module_file.h). */
#ifndef KEYD_P11_MODULE_H
#define KEYD_P11_MODULE_H

#include "cryptoki.h"

#include <stdbool.h>

struct module {
    CK_FUNCTION_LIST_PTR f;
    CK_VERSION library;
};

/* Loads and initialises what p11_module_look found good. may_thread: the module may
 * make threads of its own. */
enum p11_finding_code module_load(const char *path, bool may_thread, struct module *m,
                                  struct p11_finding *out);

/* That all functions of ours are there and the version is one we know. */
enum p11_finding_code module_accept(CK_FUNCTION_LIST_PTR f, struct p11_finding *out);

#endif
