/* What the files of the user's tool share. */
#ifndef DIME_TOOL_H
#define DIME_TOOL_H

#include "tool.h"

#include <dime/dkey.h>
#include <dime/message.h>
#include <dime/verify.h>

enum {
    OPT_OUT = 1,
    OPT_JSON = 2,
    OPT_ORG = 4,
    OPT_PREV = 8,
    OPT_POK = 16,
    OPT_KEYS = 32,
    OPT_PART = 64,
    OPT_AS = 128,
    OPT_AUTHOR = 256,
    OPT_ORIGIN = 512,
    OPT_DESTINATION = 1024,
    OPT_RECIPIENT = 2048,
    OPT_FROM = 4096,
    OPT_TO = 8192,
    OPT_ARMOR = 16384,
    OPT_BINARY = 32768,
    OPT_DISPLAY_BOUNCE = 65536,
    OPT_NO_GZIP = 131072,
    OPT_RESOLVER =
        262144, /* --state, --anchor, --forwarder, --hints, --ca, --timeout */
    OPT_FRESH = 524288,
    OPT_OFFLINE = 1048576,
    OPT_WITNESS = 2097152,
    OPT_ACCEPT = 4194304,
    OPT_POLICY = 8388608,
    OPT_LIBDIME = 16777216,
    OPT_SIGNETS = OPT_AUTHOR | OPT_ORIGIN | OPT_DESTINATION | OPT_RECIPIENT,
};

enum { POKS_MAX = 64 };

/* The command line behind noun and verb; strings are those of argv. */
struct options {
    const char *file;
    const char *out;                                       /* -o */
    const char *org;                                       /* --org */
    const char *prev;                                      /* --prev */
    const char *keys;                                      /* --keys */
    const char *author, *origin, *destination, *recipient; /* signets */
    const char *from;                                      /* --from KEYFILE,SIGNET */
    const char *to;                                        /* --to */
    uint8_t poks[POKS_MAX][DIME_ED25519_KEY_SIZE];
    struct kd_slice pok_domains[POKS_MAX]; /* --pok DOMAIN=...; empty: any */
    size_t n_poks;
    bool has_part;
    enum dime_part part; /* --core, --full, --id, --ssr */
    bool has_actor;
    enum dime_actor actor; /* --as */
    unsigned flags;        /* OPT_ARMOR, ... OPT_LIBDIME: those given */
    const char *state, *anchor, *forwarder, *hints, *ca, *timeout; /* of a resolver */
    const char *accept;                                            /* --accept */
    const char *policy;                                            /* --policy */
    bool json;
};

#define DIME_VERB(noun, verb, function, takes, wants_file, needs_keys, synopsis)       \
    int function(const struct options *o);
#include "dime_verbs.def"
#undef DIME_VERB

/* --- io.c ------------------------------------------------------------------------- */

/* Reads a key file through secret memory alone. As object_load. */
int keys_load(const char *path, struct dime_dkey **key, const char **why);

/* Tells of an object that does not hold: on stderr and, if asked for, as JSON made
 * of j (taken; may be NULL) or of the type alone. FAILS or TROUBLE. */
int tell_failure(const struct options *o, json_t *j, const char *type, const char *why);

/* Writes an object to path: in armour under the label of its magic number, or as it
 * is. HOLDS; FAILS if there is no such label; TROUBLE; the last two complained of. */
int object_write(const char *path, struct kd_slice octets, bool armoured);

/* HOLDS if -o was given, else complains. */
int need_out(const struct options *o, const char *verb);

/* --- message.c -------------------------------------------------------------------- */

/* Reads an object of a message's size. As loaded_read, less the file's own octets,
 * which are given back where they are not needed. */
int message_load(struct loaded *l, const char *path, const char **why);

/* "message", "naked-message", "bounce" or "unknown". */
const char *message_kind(struct kd_slice octets);

/* Chunks as a list, whose table's access letters say who has keyslots. */
json_t *chunks_to_json(const struct dime_message *m);
void chunks_print(const struct dime_message *m);

#endif
