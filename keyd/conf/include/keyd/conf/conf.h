/* keyd.conf, read once by the supervisor (and by dime-keyd -t and keydctl policy check)
 * into a typed result that nobody changes afterwards. The roles read no files; they get
 * their part from role_conf.h.
 *
 * Two readers must agree. libconfuse takes too much in silence: a key given twice, a
 * missing brace at the end, ${ENVIRONMENT}, octal numbers, escapes, semicolons glued to
 * words. So a strict scan comes first, which allows one way of writing only and knows
 * the line of everything; then libconfuse reads what passed, and a text that it reads
 * differently is refused. */
#ifndef KEYD_CONF_CONF_H
#define KEYD_CONF_CONF_H

#include <keyd/base/log.h>
#include <keyd/conf/policy.h>
#include <keyd/conf/role_conf.h>

enum {
    KD_CONF_SIZE_MAX = 256 * 1024, /* of the file */
    KD_CONF_LINE_MAX = 4096,
    KD_CONF_PROBLEMS_MAX = 64,
    KD_CONF_PROBLEM_TEXT = 232
};

struct kd_conf_problem {
    uint32_t line; /* 0: of the file as a whole */
    bool is_warning;
    char text[KD_CONF_PROBLEM_TEXT]; /* one line, printable ASCII */
};

/* By line, those of the file as a whole first. The caller's memory. */
struct kd_conf_problems {
    size_t n;
    size_t n_errors; /* those kept and those dropped */
    bool more;       /* some were dropped for want of room */
    struct kd_conf_problem list[KD_CONF_PROBLEMS_MAX];
};

/* "file:12: error: text" or without the number; returns out. */
const char *kd_conf_problem_format(const char *file, const struct kd_conf_problem *p,
                                   char *out, size_t size);

/* The line for problem i, or behind the last one that there were more of them. False
 * where there is no such line. */
bool kd_conf_problems_line(const char *file, const struct kd_conf_problems *p, size_t i,
                           char *out, size_t size);

/* A user or group. */
struct kd_conf_id {
    char *name;    /* as written; NULL for none */
    uint32_t id;   /* valid if is_known */
    bool is_known; /* false for a role's user when not started as root */
};

/* A SHA-256. */
struct kd_conf_pin {
    bool is_set;
    uint8_t sha256[KD_PIN_SIZE];
};

/* Of the listener tls. */
struct kd_conf_address {
    char text[56];  /* as written; empty for none */
    uint8_t family; /* 4 or 6; 0 for none */
    uint8_t octets[16];
    uint16_t port;
};

struct kd_conf_listener {
    bool is_open; /* its class has a section or a principal; admin always */
    char *socket;
    uint32_t mode;
    struct kd_conf_id group;
    uint32_t workers;
    /* Class tls alone, which has no socket, mode or group. Paths NULL for none. */
    struct kd_conf_address address;
    char *certificate;
    char *key;
    char *client_ca;
    char *denied_keys;
    bool allow_unpinned;
};

enum { KD_CONF_KEY_IDS_MAX = 64 }; /* of one principal */

struct kd_conf_quotas {
    size_t n;
    struct kd_quota *list; /* KD_POLICY_OWN_QUOTAS_MAX, or NULL; each operation once */
};

struct kd_conf_keys {
    bool is_given;  /* else any key */
    uint16_t roles; /* bit = role */
    size_t n;
    uint8_t (*ids)[KD_POLICY_KEY_ID_SIZE]; /* KD_CONF_KEY_IDS_MAX, or NULL */
};

/* Of paths or assignments. */
struct kd_conf_texts {
    size_t n;
    char **list; /* as many as the key may have, or NULL */
};

struct kd_conf_domain {
    char *name;
    uint32_t line; /* of its section */
    struct kd_domain_rules rules;
    struct kd_conf_quotas quotas;
    struct kd_conf_texts certificates; /* of its servers, for keydctl alone */
};

struct kd_conf_principal {
    char *name;
    struct kd_conf_id user; /* unset where uid is given */
    uint32_t uid;           /* KD_UID_NONE of class tls */
    enum kd_class klass;
    char *san; /* this and the pins: class tls alone; NULL for none */
    struct kd_conf_pin pin;
    struct kd_conf_pin next_pin;
    uint64_t ops;      /* as listed, plus those of every principal */
    uint16_t *domains; /* indices into the domains */
    size_t n_domains;
    struct kd_conf_keys keys;
    struct kd_conf_quotas quotas;
    struct kd_policy_lines lines;
};

/* Where keys are held outside of keyd (keyd/p11/p11.h). */
struct kd_conf_token {
    char *name;
    uint32_t line; /* of its section */
    char *module;
    char *uri, *label, *serial;  /* as written; NULL: not given */
    struct kd_token_match match; /* what they say together */
    char *pin_file;              /* NULL: none */
    enum kd_p11_profile profile;
    struct kd_conf_texts paths, environment;
    uint32_t sessions;
    uint32_t timeout; /* ms */
    uint32_t recycle_after;
    uint32_t max_memory;           /* MiB */
    uint32_t max_message;          /* octets; 0: auto */
    struct kd_conf_id user, group; /* name NULL: user-p11, and no other group */
};

struct kd_conf {
    char *state_directory;
    char *run_directory;
    char *libexec_directory; /* NULL: beside the running program or as installed */
    char *credential;        /* NULL: none */
    struct kd_conf_id user_gate;
    struct kd_conf_id user_vault;
    struct kd_conf_id user_ledger;
    struct kd_conf_id user_p11; /* looked up only if a token needs it */
    struct kd_conf_id group;
    enum kd_hardening hardening;
    enum kd_log_level log_level;
    bool single_operator;
    uint32_t approval_expiry; /* seconds */
    uint32_t crypto_threads;
    uint32_t verify_sampled;
    uint32_t group_commit_max;
    uint32_t audit_checkpoint_interval; /* seconds */
    char *checkpoint_file;              /* NULL: none */
    uint32_t checkpoint_grace;          /* seconds */
    uint32_t reserve_space;             /* octets */
    uint32_t drain_timeout;             /* seconds */
    char *shadow_policy;                /* NULL: none */
    struct kd_limits limits;
    struct kd_conf_listener listeners[KD_CLASS_COUNT]; /* by class */
    uint8_t digest[KD_CONF_DIGEST_SIZE]; /* SHA-256 of the file's octets */
    size_t n_domains;
    struct kd_conf_domain *domains; /* in the order of the policy's */
    size_t n_principals;
    struct kd_conf_principal *principals; /* in the order of the file */
    size_t n_tokens;
    struct kd_conf_token *tokens; /* in the order of the file */
    struct kd_policy *policy;
};

/* The user that a token's hosts run as. */
const struct kd_conf_id *kd_conf_token_user(const struct kd_conf *conf,
                                            const struct kd_conf_token *token);

/* What the reader asks of the machine, replaceable for tests and for a check on
 * another machine than the one that will run it. */
struct kd_conf_env {
    bool check_files; /* owner and mode of the configuration and the credential */
    bool as_root;     /* roles change their uid: their users must exist and differ */
    uint32_t n_cpus;
    /* KD_NOT_FOUND if there is none. */
    kd_err (*find_user)(void *arg, const char *name, uint32_t *uid);
    kd_err (*find_group)(void *arg, const char *name, uint32_t *gid);
    void *arg;
};

/* This machine and this process: everything checked. */
void kd_conf_env_real(struct kd_conf_env *env);

/* 64 hexadecimal digits. */
bool kd_conf_pin_parse(struct kd_slice text, uint8_t sha256[KD_PIN_SIZE]);

/* "192.0.2.1:4433" or "[2001:db8::1]:4433"; no names. *out is written on success. */
bool kd_conf_address_parse(struct kd_slice text, struct kd_conf_address *out);

/* Reads the file at path. It must be a regular file of root or of our own uid, writable
 * by neither group nor others, in a directory of which the same holds. env NULL: real.
 * KD_INVALID if there is an error among the problems (then *out is untouched), KD_IO if
 * the file cannot be read (also among the problems), KD_NOMEM. Warnings alone are
 * KD_OK. */
kd_err kd_conf_load(const char *path, const struct kd_conf_env *env,
                    struct kd_conf **out,
                    struct kd_conf_problems *problems) KD_MUST_USE;

/* The same from memory, without the checks of the file itself. */
kd_err kd_conf_parse(struct kd_slice text, const struct kd_conf_env *env,
                     struct kd_conf **out,
                     struct kd_conf_problems *problems) KD_MUST_USE;

/* Adds what is allowed and hardly meant, as warnings: principals that can do nothing,
 * domains that nobody serves, quotas that never count or are missing, keys without
 * which an operation is always refused, rights that should not meet in one hand. For
 * keydctl policy check. */
void kd_conf_lint(const struct kd_conf *conf, struct kd_conf_problems *problems);

void kd_conf_free(struct kd_conf *conf); /* accepts NULL */

#endif
