/* What each role is told at start: its part of the configuration, as octets that the
 * supervisor writes and the role checks in full before it uses any of it. Versioned, so
 * that a role of another build refuses instead of guessing.
 *
 *   u8 role (1 gate, 2 vault, 3 ledger, 4 host of a PKCS#11 token)   u8 version (4)
 *   u8 hardening   u8 log level
 *   then the members in the order below; u32 for numbers, u8 for booleans, the limits
 * in the order of conf_keys.def, the policy as u32 size and octets. */
#ifndef KEYD_CONF_ROLE_CONF_H
#define KEYD_CONF_ROLE_CONF_H

#include <keyd/base/log.h>
#include <keyd/conf/policy.h>
#include <keyd/conf/token_conf.h>

enum kd_hardening { KD_HARDENING_STRICT, KD_HARDENING_RELAXED };

enum {
    KD_PROFILE_FIELDS_SIZE = 32,
    KD_ACCOUNT_KEYS_MAX = 4,
    KD_ACCOUNT_KEY_SIZE = 32, /* Ed25519 */
    KD_CONF_DIGEST_SIZE = 32,
    KD_CHECKPOINT_PATH_MAX = 241,       /* octets with the NUL */
    KD_ROLE_CONF_SIZE_MAX = 1024 * 1024 /* of the octets */
};

/* Caps of security.md 4.3, each described by its key in conf_keys.def. */
struct kd_limits {
    uint32_t max_connections;
    uint32_t max_in_flight;
    uint32_t max_frame;
    uint32_t max_principal_frames;
    uint32_t max_upload;
    uint32_t max_principal_uploads;
    uint32_t upload_pool;
    uint32_t upload_timeout; /* this and the rest: seconds */
    uint32_t hello_timeout;
    uint32_t first_octet_timeout;
    uint32_t frame_timeout;
    uint32_t write_timeout;
    uint32_t idle_timeout;
    uint32_t max_remote_connections; /* this and the rest: of the gate tls */
    uint32_t max_handshakes;
    uint32_t handshake_timeout; /* seconds */
    uint32_t handshake_rate;    /* a second */
    uint32_t handshake_rate_total;
    uint32_t origin_rate, stranger_rate; /* units a second; of the vault (origins.h) */
};

/* How far the provider is from a user's keys (P5); the number travels in requests. */
enum kd_account_mode {
    KD_ACCOUNT_TRUSTFUL,
    KD_ACCOUNT_CAUTIOUS,
    KD_ACCOUNT_PARANOID,
    KD_ACCOUNT_MODES
};
enum { KD_ACCOUNT_MODES_ALL = (1 << KD_ACCOUNT_MODES) - 1 };

/* What needs a ticket of the account system; a set. */
enum {
    KD_TICKET_FIRST = 1 << 0, /* the first signet of an address */
    KD_TICKET_RESET = 1 << 1, /* a new chain in place of one that was lost (D-072) */
    KD_TICKET_ALL = KD_TICKET_FIRST | KD_TICKET_RESET
};

/* Any of them signs tickets: one is in use, another is coming or going. */
struct kd_account_keys {
    uint8_t n;
    uint8_t key[KD_ACCOUNT_KEYS_MAX][KD_ACCOUNT_KEY_SIZE];
};

/* Which key signs messages (D-083). */
enum kd_message_signer { KD_MESSAGE_SIGNER_SOK, KD_MESSAGE_SIGNER_POK };

/* What a domain's section says about issuing for it, and about its mail. */
struct kd_domain_rules {
    /* Signet fields that may be added at issuance: field i is bit i % 8 of octet i / 8.
     */
    uint8_t profile_fields[KD_PROFILE_FIELDS_SIZE];
    struct kd_account_keys account_keys; /* none only if tickets is 0 */
    uint8_t tickets;                     /* KD_TICKET_* */
    uint8_t account_modes;               /* bit 1 << enum kd_account_mode; never 0 */
    uint32_t reset_delay;                /* this and the rest: seconds */
    uint32_t key_retention;              /* former encryption keys (D-079) */
    uint32_t author_grace;               /* authors' former signets (D-087) */
    uint32_t recipient_stale;            /* recipients' former signets (D-078) */
    uint8_t message_signer;              /* enum kd_message_signer */
};

/* The least that a key of type DELAY may be: what its table says, except in builds for
 * tests (KEYD_TEST_SHORT_DELAYS), which are never installed. */
uint32_t kd_delay_least(uint32_t least);

struct kd_conf;

struct kd_conf_for_gate {
    enum kd_hardening hardening;
    enum kd_log_level log_level;
    enum kd_class klass;
    uint32_t worker; /* which of the listener's gates, from 0; make leaves it 0 */
    struct kd_limits limits;
    struct kd_policy *policy; /* owned: its class's rows, look-ups only, no keys */
};

struct kd_conf_for_vault {
    enum kd_hardening hardening;
    enum kd_log_level log_level;
    bool single_operator;
    uint32_t approval_expiry; /* seconds */
    uint32_t crypto_threads;
    uint32_t verify_sampled;
    uint32_t audit_checkpoint_interval;  /* seconds */
    uint8_t digest[KD_CONF_DIGEST_SIZE]; /* SHA-256 of keyd.conf, for the audit log */
    struct kd_limits limits;
    struct kd_policy *policy;      /* owned: all of it */
    struct kd_domain_rules *rules; /* owned: for each domain of the policy, in its order
                                    */
    size_t n_tokens;
    struct kd_token_conf tokens[KD_CONF_TOKENS_MAX]; /* in the order of the file */
};

struct kd_conf_for_ledger {
    enum kd_hardening hardening;
    enum kd_log_level log_level;
    uint32_t group_commit_max;
    uint32_t checkpoint_grace; /* seconds */
    uint32_t reserve_space;    /* octets */
    struct kd_limits limits;
    char checkpoint_file[KD_CHECKPOINT_PATH_MAX]; /* absolute; empty: none */
};

struct kd_conf_for_p11 {
    enum kd_hardening hardening;
    enum kd_log_level log_level;
    uint8_t host;  /* of all tokens' hosts */
    bool is_maker; /* as its number says: it may write paths, and makes keys */
    enum kd_p11_profile profile;
    uint32_t timeout; /* ms, of one operation */
    char name[KD_CONF_TOKEN_NAME_MAX + 1];
    char module[KD_CONF_TOKEN_TEXT_MAX + 1];
    struct kd_token_match match;
    size_t n_paths, n_files; /* absolute: as configured; those that environment names */
    char paths[KD_CONF_TOKEN_LIST_MAX][KD_CONF_TOKEN_TEXT_MAX + 1];
    char files[KD_CONF_TOKEN_LIST_MAX][KD_CONF_TOKEN_TEXT_MAX + 1];
};

/* From the configuration; KD_NOMEM. */
kd_err kd_conf_for_gate_make(const struct kd_conf *conf, enum kd_class klass,
                             struct kd_conf_for_gate *out) KD_MUST_USE;
kd_err kd_conf_for_vault_make(const struct kd_conf *conf,
                              struct kd_conf_for_vault *out) KD_MUST_USE;
void kd_conf_for_ledger_make(const struct kd_conf *conf,
                             struct kd_conf_for_ledger *out);
/* KD_NOT_FOUND if no token has a host of that number. */
kd_err kd_conf_for_p11_make(const struct kd_conf *conf, unsigned host,
                            struct kd_conf_for_p11 *out) KD_MUST_USE;

/* Appends the octets; failure shows in the buffer. */
void kd_conf_for_gate_encode(const struct kd_conf_for_gate *c, struct kd_buf *b);
void kd_conf_for_vault_encode(const struct kd_conf_for_vault *c, struct kd_buf *b);
void kd_conf_for_ledger_encode(const struct kd_conf_for_ledger *c, struct kd_buf *b);
void kd_conf_for_p11_encode(const struct kd_conf_for_p11 *c, struct kd_buf *b);

/* KD_MALFORMED for anything that encode would not have written (numbers out of the
 * ranges of conf_keys.def, leftovers), KD_UNSUPPORTED for another role or version,
 * KD_NOMEM. *out is written only on success. */
kd_err kd_conf_for_gate_decode(struct kd_slice octets,
                               struct kd_conf_for_gate *out) KD_MUST_USE;
kd_err kd_conf_for_vault_decode(struct kd_slice octets,
                                struct kd_conf_for_vault *out) KD_MUST_USE;
kd_err kd_conf_for_ledger_decode(struct kd_slice octets,
                                 struct kd_conf_for_ledger *out) KD_MUST_USE;
kd_err kd_conf_for_p11_decode(struct kd_slice octets,
                              struct kd_conf_for_p11 *out) KD_MUST_USE;

/* Release what is owned and empty the structure. */
void kd_conf_for_gate_clear(struct kd_conf_for_gate *c);
void kd_conf_for_vault_clear(struct kd_conf_for_vault *c);

/* May field (0 to 255) be added under these rules? */
bool kd_domain_rules_may_add(const struct kd_domain_rules *rules, unsigned field);

/* May an account of that mode (whatever number came) have a signet? */
bool kd_domain_rules_allow_mode(const struct kd_domain_rules *rules, unsigned mode);

#endif
