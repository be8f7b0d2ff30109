/* Which slot has the token that is configured. Slot numbers are the module's whim and
 * are never kept. */
#ifndef KEYD_P11_SLOTS_H
#define KEYD_P11_SLOTS_H

#include "module.h"

enum { SLOTS_MAX = 64 };

/* What to look for: texts without padding, empty for any. */
struct slot_wanted {
    const char *label, *serial, *manufacturer, *model;
};

struct slot_found {
    CK_SLOT_ID slot;
    CK_FLAGS flags;
    unsigned n_match;
    uint32_t mechanisms; /* enum p11_mechanism */
    char label[33], serial[17], manufacturer[33], model[17];
};

/* The one token that matches. n_match and, of the first that matches, the rest are
 * filled as far as they are known. */
enum p11_finding_code slot_find(const struct module *m,
                                const struct slot_wanted *wanted,
                                struct slot_found *out, struct p11_finding *why);

#endif
