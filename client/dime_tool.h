/* What the files of the user's tool share. */
#ifndef DIME_TOOL_H
#define DIME_TOOL_H

#include <dime/dkey.h>
#include <dime/signet.h>
#include <dime/verify.h>
#include <jansson.h>
#include <keyd/base/buf.h>
#include <stdio.h>

/* Exit statuses: it holds or was done; it does not hold, octets that do not parse
 * included; a file cannot be read or written, or the usage is wrong. */
enum { HOLDS = 0, FAILS = 1, TROUBLE = 2 };

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

/* --- dime_io.c ----------------------------------------------------------------- */

/* Prints; whether standard output took everything is asked at the end. */
void emit(FILE *f, const char *fmt, ...) KD_PRINTF(2, 3);

/* "dime: what: text" on stderr. */
void complain(const char *what, const char *text);

/* A signet or signing request as a file holds it. */
struct object {
    struct kd_buf file;
    struct kd_buf decoded;
    struct kd_slice octets; /* binary; of file or decoded */
    bool armoured;
    struct dime_signet signet; /* parsed; borrows octets */
};

/* Reads and parses path ("-": standard input). HOLDS; FAILS with *why if the octets do
 * not parse (octets may then be empty); TROUBLE, complained of already, if it cannot
 * be read. object_free in every case. */
int object_load(struct object *obj, const char *path, const char **why);
void object_free(struct object *obj);

/* Writes octets to path ("-" or NULL: standard output), replacing it. HOLDS or
 * TROUBLE. */
int file_write(const char *path, struct kd_slice octets);

/* Writes a new file of mode 0600 and has it on the disk; one that is there stays as
 * it is. HOLDS or TROUBLE. */
int file_write_secret(const char *path, struct kd_slice octets);

/* Reads a key file through secret memory alone. As object_load. */
int keys_load(const char *path, struct dime_dkey **key, const char **why);

/* --- dime_print.c -------------------------------------------------------------- */

/* "org-signet", "user-signet" or "ssr". */
const char *kind_name(enum dime_kind kind);

/* Octets in base 64 without padding. */
json_t *json_base64(struct kd_slice octets);
void print_base64(FILE *f, struct kd_slice octets);

/* Everything about a parsed object: type, layout, split, identifier, fingerprints,
 * fields. "valid" is true. NULL without memory. */
json_t *signet_to_json(const struct dime_signet *s);
void signet_print(FILE *f, const struct dime_signet *s);

/* Adds key to an object; false without memory. Takes value, NULL included. */
bool json_put(json_t *object, const char *key, json_t *value);

/* Prints to standard output and releases; status is passed through, TROUBLE if that
 * fails or j is NULL. */
int json_finish(json_t *j, int status);

/* Tells of an object that does not hold: on stderr and, if asked for, as JSON made
 * of j (taken; may be NULL) or of the type alone. FAILS or TROUBLE. */
int tell_failure(const struct options *o, json_t *j, const char *type, const char *why);

#endif
