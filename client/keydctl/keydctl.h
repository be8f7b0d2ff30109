/* What the files of the operators' tool share.
 *
 * A verb is a function of the options that returns an exit status of sysexits(3); what
 * went wrong it has said already. It talks to keyd through libkeyd alone. */
#ifndef KEYDCTL_H
#define KEYDCTL_H

#include "tool.h"

#include <keyd_client.h>
#include <sysexits.h>

enum {
    EX_NEGATIVE = 1,   /* asked whether something holds, and it does not */
    EX_UNREADABLE = 2, /* lint: not a matter of what the file says */
    EX_WARNING = 1,    /* health: look soon */
    EX_CRITICAL = 2,   /* health: look now */
    LIST_MAX = 128,
    ARGS_MAX = 2,
};

struct text_list {
    const char *items[LIST_MAX];
    size_t n;
};

/* The command line behind noun and verb; strings are those of argv. */
struct options {
#define KEYDCTL_FLAG(id, member, name, letter)
#define KEYDCTL_TEXT(id, member, name, letter) const char *member;
#define KEYDCTL_LIST(id, member, name, letter) struct text_list member;
#include "keydctl_options.def"
#undef KEYDCTL_TEXT
#undef KEYDCTL_FLAG
#undef KEYDCTL_LIST
    const char *args[ARGS_MAX];
    uint32_t timeout_ms;
    uint8_t key[KEYD_KEY_SIZE]; /* --idempotency-key */
    bool has_key;
    bool is_many;          /* endpoints in place of the socket: */
    const char *endpoints; /* KEYD_ENDPOINTS; NULL: those of --endpoint */
#define KEYDCTL_FLAG(id, member, name, letter) bool member;
#define KEYDCTL_TEXT(id, member, name, letter)
#define KEYDCTL_LIST(id, member, name, letter)
#include "keydctl_options.def"
#undef KEYDCTL_TEXT
#undef KEYDCTL_FLAG
#undef KEYDCTL_LIST
};

#define KEYDCTL_VERB(noun, verb, function, socket, flags, args, takes, synopsis)       \
    int function(const struct options *o);
#include "keydctl_verbs.def"
#undef KEYDCTL_VERB

/* --- call.c: keyd ----------------------------------------------------------------- */

struct session {
    keyd_client *client;
    const struct options *o;
};

/* Connects to o->socket, or uses the endpoints. EX_OK, or complained of; session_close
 * in every case. */
int session_open(struct session *s, const struct options *o);
void session_close(struct session *s);

/* One operation. EX_OK and an answer to be freed; else what keyd said has been printed
 * and the status is that of the program. Changing operations get an idempotency key. */
int session_call(struct session *s, struct keyd_request *request,
                 struct keyd_answer **answer);

/* A session for one operation: opens it, makes the request, closes it. The same. */
int session_once(const struct options *o, struct keyd_request *request,
                 struct keyd_answer **answer);

/* session_call that prints nothing: the caller looks at the status, and at the
 * answer, which may be NULL. */
enum keyd_status session_ask(struct session *s, struct keyd_request *request,
                             struct keyd_answer **answer);

/* Prints why an operation was not done; the exit status. answer may be NULL. */
int session_refused(const struct session *s, const struct keyd_request *request,
                    enum keyd_status status, const struct keyd_answer *answer);

/* True if it is certain that nothing was done. */
bool nothing_was_done(enum keyd_status status);

/* All public keys of a domain, or of all of them (NULL). The keys live as long as the
 * list does. */
struct key_list {
    struct keyd_answer **pages;
    size_t n_pages;
    const struct keyd_key **keys;
    size_t n;
};
int key_list_fetch(struct session *s, const char *domain, struct key_list *list);
void key_list_free(struct key_list *list);

/* --- io.c: files, secrets, texts -------------------------------------------------- */

/* "keydctl: what: text"; EX_USAGE. */
int usage_error(const char *what, const char *text);

/* A secret in secret memory. secret_free accepts an empty one. */
struct secret {
    uint8_t *p;
    size_t n, cap;
};

/* Reads a file ("-": standard input) of at most max octets into secret memory; strip
 * takes one line end off. EX_OK, or complained of. */
int secret_from_file(const char *path, size_t max, bool strip, struct secret *out);

/* A passphrase from the terminal without echo, asked for twice if it is new; from
 * standard input if that is none. */
int secret_prompt(bool is_new, struct secret *out);

/* Syncs the folder of a path: only then is the name itself on the disk. False with
 * errno. */
bool folder_sync(const char *path);

/* Makes a new credential file (mode 0400) of random octets, on the disk when this
 * returns, and gives its octets. */
int secret_make_file(const char *path, struct secret *out);
void secret_free(struct secret *s);

struct keyd_octets octets_of(struct kd_slice s);
struct kd_slice slice_of(struct keyd_octets s);

/* Folds an address or domain that somebody typed; *out is a string of storage. EX_OK or
 * complained of. want: NAME_ANY, or just one of the two. */
enum name_kind { NAME_ANY, NAME_DOMAIN, NAME_ADDRESS };
struct name {
    char text[256];
    size_t n;
};
int name_read(const char *what, const char *text, enum name_kind want,
              struct name *out);

/* Decimal, from lo to hi. */
bool number_read(const char *text, uint64_t lo, uint64_t hi, uint64_t *out);

/* Exactly 2 * n hexadecimal digits. */
bool hex_read(const char *text, uint8_t *out, size_t n);

/* 2 * n digits and a NUL into out. */
void hex_write(struct kd_slice octets, char *out);

/* "2026-01-02T03:04:05.678Z", or "-" for 0; returns out. */
enum { TIME_TEXT = 32 };
const char *time_text(uint64_t ms, char out[TIME_TEXT]);

json_t *json_hex(struct kd_slice octets);
json_t *json_octets(struct kd_slice text); /* as a string; other octets as base64 */
json_t *json_time(uint64_t ms);            /* null for 0 */

/* Prints and releases; EX_OK becomes status, trouble with the output EX_IOERR. */
int json_done(json_t *j, int status);

/* One line of a stream of them. */
int json_line(json_t *j);

/* A parsed signet in armour to o->out. EX_OK, EX_CANTCREAT. */
int signet_write(const char *path, struct kd_slice signet);

/* --- keydctl_operator_key.c: files of operators' keys --------------------------------
 */

/* A private key; the octets are OpenSSL's, in its secure heap. */
struct operator_key {
    void *key; /* EVP_PKEY */
    uint8_t public_key[32];
};

/* Makes a key and writes it to path (PKCS#8, encrypted under the passphrase by scrypt
 * and AES-256, mode 0600), and its public half to path.pub. */
int operator_key_make(const char *path, const struct secret *passphrase,
                      struct operator_key *out);

/* Reads a private key, made here or by the openssl tool; asks for its passphrase or
 * takes it out of passphrase_file. operator_key_free in every case. */
int operator_key_load(const char *path, const char *passphrase_file,
                      struct operator_key *out);
int operator_key_sign(const struct operator_key *k, struct kd_slice text,
                      uint8_t sig[64]);
void operator_key_free(struct operator_key *k);

/* A public key in PEM, as `openssl pkey -pubout` writes it. */
int operator_key_public(const char *path, uint8_t out[32]);

/* --- operator.c ----------------------------------------------------------------------
 */

/* "GenerateKey"; "?" for what is none. */
const char *operation_text(uint32_t number);

/* --- key.c ---------------------------------------------------------------------------
 */

const char *key_role_text(enum keyd_key_role role);
const char *key_state_text(enum keyd_key_state state);

/* --- tokens.c ------------------------------------------------------------------------
 */

/* token init --token: takes a PKCS#11 token for ours. */
int token_adopt(const struct options *o);

/* --- status.c ------------------------------------------------------------------------
 */

const char *state_text(enum keyd_service_state state);

/* --- ticket.c ------------------------------------------------------------------------
 */

/* A signed ticket from a file, into b. EX_OK, or complained of. */
int ticket_load(const char *path, struct kd_buf *b);

/* --- signet.c ------------------------------------------------------------------------
 */

/* A signing request from a file, in binary or armour; object_free in every case. */
int request_load(const char *path, struct object *ssr);

/* A fingerprint as 86 characters of base 64. EX_OK, or complained of. */
int fingerprint_read(const char *text, uint8_t out[64]);

/* --- profile.c: fields that a signet is to have --------------------------------------
 */

struct profile {
    struct keyd_profile_field fields[LIST_MAX]; /* ascending */
    size_t n;
    struct kd_buf image;
};

/* From --field and --image for a signet of the kind; values are those of argv.
 * profile_free in every case. */
int profile_read(const struct options *o, enum dime_kind kind, struct profile *out);
void profile_free(struct profile *p);

/* Warns of each field that the signet does not have: the configuration lets not all of
 * them be added. */
void profile_compare(const struct profile *p, const struct dime_signet *signet);

#endif
