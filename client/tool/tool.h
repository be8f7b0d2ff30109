/* What the command-line tools share: files, and signets as text and as JSON. */
#ifndef TOOL_H
#define TOOL_H

#include <dime/signet.h>
#include <jansson.h>
#include <keyd/base/buf.h>
#include <stdio.h>
#include <sys/types.h>

/* What complaints begin with; each program has its own. */
extern const char tool_name[];

/* How things end: it holds or was done; it does not hold, octets that do not parse
 * included; a file cannot be read or written, or the usage is wrong. */
enum { HOLDS = 0, FAILS = 1, TROUBLE = 2 };

/* --- io.c ---------------------------------------------------------------------- */

/* Prints; whether standard output took everything is asked at the end. */
void emit(FILE *f, const char *fmt, ...) KD_PRINTF(2, 3);

/* "tool: what: text" on stderr. */
void complain(const char *what, const char *text);

/* Complains of path by errno; TROUBLE. */
int trouble(const char *path);

/* path, NULL or "-" being standard input; -1 with errno. */
int open_read(const char *path);
void close_read(int fd);

/* Up to n octets, fewer only at the end; -1 on failure. */
ssize_t read_up_to(int fd, uint8_t *out, size_t n);

/* All of fd to the end of b. HOLDS, FAILS with *why if it is larger than b may become,
 * TROUBLE complained of. Not for secrets. */
int file_read(int fd, const char *path, struct kd_buf *b, const char **why);

/* What a file holds, armoured or binary. */
struct loaded {
    struct kd_buf file;
    struct kd_buf decoded;
    struct kd_slice octets; /* binary; of file or decoded, borrowed */
    bool armoured;
};

/* Reads path ("-": standard input), of at most file_max octets. HOLDS; FAILS with *why
 * if that is too much or the armour is bad; TROUBLE, complained of already, if it
 * cannot be read. loaded_free in every case, which wipes: somebody may have named a key
 * file.
 */
int loaded_read(struct loaded *l, const char *path, size_t file_max, const char **why);
void loaded_free(struct loaded *l);

/* A signet or signing request as a file holds it. */
struct object {
    struct loaded in;
    struct dime_signet signet; /* parsed; borrows in.octets */
};

/* Reads and parses path ("-": standard input). HOLDS; FAILS with *why if the octets do
 * not parse (in.octets may then be empty); TROUBLE, complained of already, if it cannot
 * be read. object_free in every case. */
int object_load(struct object *obj, const char *path, const char **why);
void object_free(struct object *obj);

/* All octets; false with errno. */
bool fd_write(int fd, struct kd_slice octets);

/* Writes octets to path ("-" or NULL: standard output), replacing it whole or, on
 * failure, not at all. A private key file is never replaced. HOLDS or TROUBLE,
 * complained of. */
int file_write(const char *path, struct kd_slice octets);

/* Writes a new file of mode 0600 and has it on the disk; one that is there stays as
 * it is. HOLDS or TROUBLE. */
int file_write_secret(const char *path, struct kd_slice octets);

/* --- print.c ------------------------------------------------------------------- */

/* "org-signet", "user-signet" or "ssr". */
const char *kind_name(enum dime_kind kind);

/* Octets in base 64 without padding. */
json_t *json_base64(struct kd_slice octets);
void print_base64(FILE *f, struct kd_slice octets);

/* Valid UTF-8 onto one line of a terminal that hostile text must not control. */
void print_text(FILE *f, struct kd_slice s);

/* Everything about a parsed object: type, layout, split, identifier, fingerprints,
 * fields. "valid" is true. NULL without memory. */
json_t *signet_to_json(const struct dime_signet *s);
void signet_print(FILE *f, const struct dime_signet *s);

/* Adds key to an object; false without memory. Takes value, NULL included. */
bool json_put(json_t *object, const char *key, json_t *value);

/* Appends value, which it takes: the list, or NULL if that failed, and then the list is
 * gone too. Accepts NULL for either, with NULL again. */
json_t *json_list_add(json_t *list, json_t *value);

/* Prints to standard output and releases; status is passed through, TROUBLE if that
 * fails or j is NULL. */
int json_finish(json_t *j, int status);

#endif
