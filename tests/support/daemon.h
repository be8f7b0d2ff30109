/* A real dime-keyd for a test: its own directory, configuration, sockets and state,
 * the programs of the build that the test belongs to.
 *
 * Started as root, the roles have users of their own; otherwise all are the caller's.
 * The caller's uid is a principal of every class with all its operations, and there
 * are others (enum daemon_uid) for tests that change their uid (and gid to
 * DAEMON_GROUP, which may open the sockets).
 *
 * TOKEN=softhsm in the environment: it has a token of SoftHSM besides, where the keys
 * of daemon_provision_domain and ask_import are then.
 *
 * Functions that answer bool report on stderr why not. A test that dies takes its
 * daemon along. */
#ifndef KEYD_TESTS_DAEMON_H
#define KEYD_TESTS_DAEMON_H

#include "softhsm.h"

#include <keyd/base/slice.h>
#include <keyd_client.h>
#include <sys/types.h>

enum daemon_uid {
    DAEMON_GROUP = 61000,
    DAEMON_GATE,
    DAEMON_VAULT,
    DAEMON_LEDGER,
    DAEMON_SUBMITD, /* submission: issuance and look-ups, example.com */
    DAEMON_DMTPD,   /* mta: look-ups, both domains */
    DAEMON_MILTER,  /* milter: nothing */
    DAEMON_FOREIGN, /* submission: example.net only */
    DAEMON_AUDITOR, /* admin: AuditRead and AuditHead */
    DAEMON_NOBODY,  /* no principal at all */
    DAEMON_P11      /* modules of PKCS#11 tokens */
};

enum { DAEMON_CHILDREN_MAX = 40, DAEMON_CREDENTIAL_SIZE = 48 };

struct daemon_options {
    bool sealed;           /* no credential: an operator unseals */
    bool quorum;           /* leave out single-operator = yes */
    const char *state;     /* state directory to use; NULL: one of its own */
    const char *top;       /* lines before the sections, or NULL */
    const char *in_domain; /* lines in the section of example.com, or NULL */
    const char *in_caller; /* lines in the caller's sections but admin's, or NULL */
    const char *domains;   /* of the caller's, each in quotation marks, with commas;
                              NULL: example.com and example.net */
    const char *sections;  /* more sections, or NULL */
    const int *sockets; /* listening: handed over as a service manager does, or NULL */
    size_t n_sockets;
    const char *notify;   /* NOTIFY_SOCKET, or NULL */
    bool no_token;        /* whatever TOKEN says */
    const char *in_token; /* lines in the section of its token, or NULL */
};

struct daemon {
    char dir[64];
    char conf[128], state[128], run[128], log[128], credential_path[128];
    uint8_t credential[DAEMON_CREDENTIAL_SIZE];
    struct daemon_options options;
    bool has_token;  /* TOKEN=softhsm: there is a token DAEMON_TOKEN, ... */
    bool is_adopted; /* ... where domains' keys are kept */
    struct softhsm hsm;
    pid_t pid; /* of the supervisor; 0: not running */
};

/* Makes the directory and starts; waits until every role is ready and, if there is a
 * key store with a credential, it is unsealed. options may be NULL. */
bool daemon_start(struct daemon *d, const struct daemon_options *options);

/* The parts of that: prepare (no process), launch (no waiting), wait. */
bool daemon_prepare(struct daemon *d, const struct daemon_options *options);
bool daemon_launch(struct daemon *d);
bool daemon_wait(struct daemon *d, int timeout_ms);

/* Ends the process in order: its exit status, or -signal, or 256 if it had to be
 * killed. */
int daemon_stop(struct daemon *d);

/* As daemon_stop, for a daemon that ends by itself; 256 if it does not in time. */
int daemon_wait_end(struct daemon *d, int timeout_ms);

/* SIGKILL to the supervisor; waits until no process of the daemon is left. */
void daemon_kill(struct daemon *d);

/* Stops it if it runs, and removes the directory (not if KEYD_TEST_KEEP is set in the
 * environment). */
void daemon_clear(struct daemon *d);

/* --- its processes */

struct daemon_child {
    pid_t pid;
    char name[16]; /* keyd-gate, keyd-vault, keyd-ledger */
};

/* The children as the kernel has them; returns how many, at most max. */
size_t daemon_children(const struct daemon *d, struct daemon_child *out, size_t max);

/* True if they are these n, none ended and none started, but for hosts of tokens. */
bool daemon_has_children(const struct daemon *d, const struct daemon_child *before,
                         size_t n);

/* The role's process by Status; class as "submission", "" for vault and ledger. 0 if
 * there is none. */
pid_t daemon_role(const struct daemon *d, enum keyd_process_role role,
                  const char *class);

/* --- its sockets */

/* admin, submission, mta or milter. */
void daemon_socket(const struct daemon *d, const char *class, char out[108]);

/* A connected client, or NULL. */
keyd_client *daemon_connect(const struct daemon *d, const char *class);

/* --- keys */

struct daemon_org {
    uint8_t pok[16], sok[16], enc[16]; /* key ids */
    uint8_t signet[1024];
    size_t size;
};

/* TokenInit with the daemon's credential; TokenAdopt of its token, if one operator may.
 */
bool daemon_init_token(struct daemon *d);

/* The latter alone, where the key store was made by other means. */
bool daemon_adopt_token(struct daemon *d);

#define DAEMON_TOKEN "softhsm"

/* What GenerateKey and ImportKey take: where keys of domains are to be. How many names,
 * 0 or 1. */
size_t daemon_places(const struct daemon *d, const struct keyd_octets **tokens);

/* Unseal with the daemon's credential. */
enum keyd_status daemon_unseal(const struct daemon *d, keyd_client *admin);

/* GenerateKey for POK, SOK (permissions 3) and encryption, then IssueOrgSignet. out may
 * be NULL. */
bool daemon_provision_domain(struct daemon *d, const char *domain,
                             struct daemon_org *out);

/* Both, for example.com. */
bool daemon_provision(struct daemon *d, struct daemon_org *out);

/* --- its log */

/* True if the text is in the log. */
bool daemon_log_has(const struct daemon *d, const char *text);

/* Waits for it. */
bool daemon_log_wait(const struct daemon *d, const char *text, int timeout_ms);

/* The octet at which it ends now. */
long daemon_log_end(const struct daemon *d);

/* How many lines from there on have both texts (b may be NULL). */
unsigned daemon_log_count(const struct daemon *d, long from, const char *a,
                          const char *b);

/* The build's directories: <build>/bin/name or <build>/tests/name. */
void daemon_program(const char *directory, const char *name, char out[4096]);

/* Starts a program of the build with these arguments (NULL at the end, the name not
 * among them) and its output to a file of the daemon's directory; its pid, or 0. */
pid_t daemon_spawn(const struct daemon *d, const char *program, const char *output,
                   const char *const *arguments);

/* Waits for it to end; as daemon_stop. */
int daemon_reap(pid_t pid, int timeout_ms);

#endif
