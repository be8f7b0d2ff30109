/* What the files of the user's tool share. */
#ifndef DIME_TOOL_H
#define DIME_TOOL_H

#include "tool.h"

#include <dime/dkey.h>
#include <dime/verify.h>

enum {
    OPT_OUT = 1,
    OPT_JSON = 2,
    OPT_ORG = 4,
    OPT_PREV = 8,
    OPT_POK = 16,
    OPT_KEYS = 32,
    OPT_PART = 64,
};

enum { POKS_MAX = 64 };

/* The command line behind noun and verb; strings are those of argv. */
struct options {
    const char *file;
    const char *out;  /* -o */
    const char *org;  /* --org */
    const char *prev; /* --prev */
    const char *keys; /* --keys */
    uint8_t poks[POKS_MAX][DIME_ED25519_KEY_SIZE];
    size_t n_poks;
    bool has_part;
    enum dime_part part; /* --core, --full, --id, --ssr */
    bool json;
};

#define DIME_VERB(noun, verb, function, takes, wants_file, needs_keys, synopsis)       \
    int function(const struct options *o);
#include "dime_verbs.def"
#undef DIME_VERB

/* --- io.c ---------------------------------------------------------------------- */

/* Reads a key file through secret memory alone. As object_load. */
int keys_load(const char *path, struct dime_dkey **key, const char **why);

/* Tells of an object that does not hold: on stderr and, if asked for, as JSON made
 * of j (taken; may be NULL) or of the type alone. FAILS or TROUBLE. */
int tell_failure(const struct options *o, json_t *j, const char *type, const char *why);

#endif
