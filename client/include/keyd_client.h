/* libkeyd: asks keyd for typed operations, on unix sockets and over TLS.
 *
 *   keyd_client *c = keyd_client_new();
 *   struct keyd_tls tls = {.certificate = "own.pem", .key = "own.key", .ca = "ca.pem"};
 *   struct keyd_endpoint one = {.address = "unix:/run/dime-keyd/mta.sock"};
 *   struct keyd_endpoint two = {.address = "tls:keyd2.example.net:4433", .tls = &tls};
 *   if (keyd_client_add_endpoint(c, &one) != KEYD_OK ||
 *       keyd_client_add_endpoint(c, &two) != KEYD_OK)
 *       ...
 *   struct keyd_answer *a;
 *   if (keyd_client_lookup_signet(c, KEYD_STR("bob@example.org"), KEYD_NONE, &a) ==
 *       KEYD_OK)
 *       use(a->out.signet.signet);
 *   keyd_client_answer_free(a);
 *
 * A client has endpoints, or one connection. With endpoints it keeps the connections
 * itself, spreads requests over those that work and repeats what may be repeated; with
 * one connection (keyd_client_connect) all that is the caller's.
 *
 * Two ways to ask, which may be mixed: a call that waits, per operation; and
 * keyd_client_submit with a callback, many in flight, for programs with an event loop
 * (keyd_client_fd, _events, _timeout_ms, _process).
 *
 * A client belongs to one thread at a time. Nothing here prints, exits, raises signals
 * or forks; a thread is made only while the name of a TLS server is looked up. Octets
 * and strings given to a call are copied before it returns. What the status of an
 * answer asks of the caller is said beside it; proto/PROTOCOL.md has the long form. */
#ifndef KEYD_CLIENT_H
#define KEYD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct keyd_client keyd_client;

/* Numbers up to 99 are the server's and stable; the others are made here. */
enum keyd_status {
    KEYD_OK = 0,
    KEYD_INVALID = 1,          /* the request is wrong; the same again fails again */
    KEYD_DENIED = 2,           /* policy says no */
    KEYD_NOT_FOUND = 3,        /* what was asked for, or what it needs, is not there */
    KEYD_CONFLICT = 4,         /* another object holds this place; look, then decide */
    KEYD_UNAVAILABLE = 5,      /* nothing was done; retry after retry_after_ms */
    KEYD_SEALED = 6,           /* nothing was done; an operator must unseal */
    KEYD_BUSY = 7,             /* nothing was done, a limit is reached; retry later */
    KEYD_UNKNOWN_OUTCOME = 8,  /* it may have been done: ask the same again with the
                                  answer's idempotency_key */
    KEYD_FAILED = 9,           /* a fault in keyd, see its log */
    KEYD_UNSUPPORTED = 10,     /* not an operation of this socket or version */
    KEYD_DEADLINE = 11,        /* nothing was done in time */
    KEYD_APPROVAL_NEEDED = 12, /* nothing was done: operators approve the answer's
                                  approval_id, then ask the same again with the
                                  answer's idempotency_key */
    KEYD_NOMEM = 100,          /* no memory, or descriptors, in this process */
    KEYD_PROTOCOL = 101,       /* the server broke the protocol; connection closed */
    KEYD_USAGE = 102,          /* a wrong call of this library */
};

struct keyd_octets {
    const uint8_t *p; /* NULL only when n is 0 */
    size_t n;
};

/* A passphrase, credential, share or key file. The call overwrites the octets with
 * zeros whether it succeeds or not; they travel as a sealed memfd. */
struct keyd_secret {
    void *p;
    size_t n;
};

#define KEYD_NONE ((struct keyd_octets){NULL, 0})
#define KEYD_STR(s) ((struct keyd_octets){(const uint8_t *)(s), strlen(s)})

enum { KEYD_KEY_SIZE = 16, KEYD_FP_SIZE = 64, KEYD_HASH_SIZE = 32 };

enum keyd_op {
    KEYD_OP_STATUS = 2,
    KEYD_OP_PUBLIC_KEYS = 3,
    KEYD_OP_LOOKUP_SIGNET = 8,
    KEYD_OP_LOOKUP_HISTORY = 9,
    KEYD_OP_VERIFY_CURRENT = 10,
    KEYD_OP_ISSUE_USER_SIGNET = 16,
    KEYD_OP_FREEZE_ADDRESS = 17,
    KEYD_OP_RESET_ADDRESS = 18,
    KEYD_OP_SIGN_OUTBOUND = 19,
    KEYD_OP_OPEN_ENVELOPE = 20,
    KEYD_OP_OPEN_BOUNCE = 21,
    KEYD_OP_MAKE_BOUNCE = 22,
    KEYD_OP_SEAL_NAKED = 23,
    KEYD_OP_TOKEN_INIT = 32,
    KEYD_OP_ADD_UNSEAL_SLOT = 33,
    KEYD_OP_UNSEAL = 34,
    KEYD_OP_SEAL = 35,
    KEYD_OP_GENERATE_KEY = 36,
    KEYD_OP_RETIRE_KEY = 37,
    KEYD_OP_IMPORT_KEY = 38,
    KEYD_OP_ISSUE_ORG_SIGNET = 39,
    KEYD_OP_AUDIT_READ = 40,
    KEYD_OP_AUDIT_HEAD = 41,
    KEYD_OP_SET_QUORUM = 42,
    KEYD_OP_APPROVAL_LIST = 43,
    KEYD_OP_APPROVAL_SHOW = 44,
    KEYD_OP_APPROVAL_SIGN = 45,
    KEYD_OP_POLICY_EXPLAIN = 46,
    KEYD_OP_RELOAD = 47,
    KEYD_OP_DRAIN = 48,
    KEYD_OP_STOP_PRINCIPAL = 49,
    KEYD_OP_REGISTRY_BACKUP = 50,
    KEYD_OP_REGISTRY_RESTORE = 51,
    KEYD_OP_AUDIT_DROP = 52,
    KEYD_OP_TOKEN_LIST = 53,
    KEYD_OP_TOKEN_DOCTOR = 54,
    KEYD_OP_TOKEN_ADOPT = 55,
    KEYD_OP_ATTACH_KEY = 56,
    KEYD_OP_SIGN_TLS_RECORD = 57,
};

enum keyd_account_mode {
    KEYD_ACCOUNT_TRUSTFUL = 1,
    KEYD_ACCOUNT_CAUTIOUS = 2,
    KEYD_ACCOUNT_PARANOID = 3,
};

enum keyd_account_action {
    KEYD_ACCOUNT_SHOW = 1,   /* changes nothing */
    KEYD_ACCOUNT_FREEZE = 2, /* nothing more is signed for the address */
    KEYD_ACCOUNT_THAW = 3,   /* operators only */
    KEYD_ACCOUNT_CLOSE = 4,  /* as FREEZE, for ever */
    KEYD_ACCOUNT_ATTEST = 5, /* operators only: it may claim level ECI */
    KEYD_ACCOUNT_REVOKE = 6, /* operators only: it no longer may */
};

enum keyd_account_state {
    KEYD_ACCOUNT_OPEN = 1,
    KEYD_ACCOUNT_FROZEN = 2,
    KEYD_ACCOUNT_CLOSED = 3,
};

enum keyd_freeze_reason {
    KEYD_FREEZE_NONE = 0,
    KEYD_FREEZE_THEFT = 1,
    KEYD_FREEZE_ABUSE = 2,
    KEYD_FREEZE_OTHER = 3,
};

enum keyd_reset_action {
    KEYD_RESET_LIST = 1, /* changes nothing */
    KEYD_RESET_REQUEST = 2,
    KEYD_RESET_APPROVE = 3, /* operators only */
    KEYD_RESET_CANCEL = 4,
};

enum keyd_stop_action {
    KEYD_STOP_LIST = 1, /* changes nothing */
    KEYD_STOP_STOP = 2,
    KEYD_STOP_ALLOW = 3,
};

enum keyd_service_state {
    KEYD_STATE_UNPROVISIONED = 1,
    KEYD_STATE_SEALED = 2,
    KEYD_STATE_OPERATIONAL = 3,
    KEYD_STATE_DEGRADED = 4,
    KEYD_STATE_DRAINING = 5,
    KEYD_STATE_FAILED = 6,
    KEYD_STATE_STARTING = 7,
};

enum keyd_process_role {
    KEYD_PROCESS_SUPERVISOR = 1,
    KEYD_PROCESS_GATE = 2,
    KEYD_PROCESS_VAULT = 3,
    KEYD_PROCESS_LEDGER = 4,
    KEYD_PROCESS_P11 = 5,
};

enum keyd_key_role {
    KEYD_ROLE_NONE = 0, /* import: leave the signing key out */
    KEYD_ROLE_POK = 1,
    KEYD_ROLE_SOK = 2,
    KEYD_ROLE_ENC = 3,
    KEYD_ROLE_DKIM = 4,
    KEYD_ROLE_AUDIT = 5,
    KEYD_ROLE_SEAL = 6, /* of a token: secrets of the key store are sealed under it */
};

/* Who has a key's secret. */
enum keyd_key_holding {
    KEYD_HOLDING_UNTOLD = 0, /* on other listeners than the operators' */
    KEYD_HOLDING_STORE = 1,
    KEYD_HOLDING_TOKEN = 2,  /* PKCS#11 tokens, and nobody else */
    KEYD_HOLDING_SEALED = 3, /* the key store, sealed under keys of the tokens */
};

/* What is attested about a key that tokens hold: a set. */
enum keyd_attested {
    KEYD_MADE_INSIDE = 1,
    KEYD_NEVER_EXTRACTABLE = 2,
    KEYD_IMPORTED = 4,
    KEYD_FOUND_THERE = 8,
};

enum keyd_token_state {
    KEYD_TOKEN_NEW = 1, /* not adopted: looked at, never logged in to */
    KEYD_TOKEN_STARTING = 2,
    KEYD_TOKEN_READY = 3,
    KEYD_TOKEN_AWAY = 4, /* what needs it is refused; it is tried again by itself */
    KEYD_TOKEN_RETURNING = 5, /* back, being tried */
    KEYD_TOKEN_DRAINED = 6,   /* keys are being made in it */
    KEYD_TOKEN_REFUSED = 7,   /* an operator has to mend something */
    KEYD_TOKEN_IDLE = 8,      /* keys are sealed */
};

enum keyd_key_algorithm {
    KEYD_ED25519 = 1,
    KEYD_SECP256K1 = 2,
    KEYD_RSA = 3,
};

enum keyd_key_state {
    KEYD_KEY_PRE_ACTIVE = 1,
    KEYD_KEY_ACTIVE = 2,
    KEYD_KEY_RETAINED = 3,
    KEYD_KEY_REVOKED = 4,
    KEYD_KEY_DESTROYED = 5,
};

enum keyd_verdict {
    KEYD_CURRENT = 1,
    KEYD_UPDATE = 2,  /* it was current once; current_fp is newer */
    KEYD_UNKNOWN = 3, /* never was one of this name; current_fp is */
};

enum keyd_envelope {
    KEYD_ENVELOPE_CURRENT = 1,   /* for the recipient's current signet */
    KEYD_ENVELOPE_STALE = 2,     /* for one superseded lately; taken */
    KEYD_ENVELOPE_UNKNOWN = 3,   /* no such recipient, or a signet too old: 586 */
    KEYD_ENVELOPE_ELSEWHERE = 4, /* the recipient is of another domain: 510 */
};

enum keyd_bounce_signature {
    KEYD_BOUNCE_SIGNATURE_NONE = 0,
    KEYD_BOUNCE_SIGNATURE_GOOD = 1,
    KEYD_BOUNCE_SIGNATURE_BAD = 2,
};

enum keyd_returned {
    KEYD_RETURNED_METADATA = 1,
    KEYD_RETURNED_DISPLAY = 2,
    KEYD_RETURNED_MESSAGE = 3,
};

enum keyd_policy_verdict {
    KEYD_POLICY_ALLOWED = 1,
    KEYD_POLICY_NO_PRINCIPAL = 2,
    KEYD_POLICY_NOT_SERVED = 3,
    KEYD_POLICY_NOT_PERMITTED = 4,
    KEYD_POLICY_NO_DOMAIN = 5,
    KEYD_POLICY_OTHER_DOMAIN = 6,
    KEYD_POLICY_OTHER_KEY = 7,
};

enum keyd_slot_kind {
    KEYD_SLOT_PASSPHRASE = 1,
    KEYD_SLOT_CREDENTIAL = 2,
    KEYD_SLOT_SHARES = 3,
};

enum keyd_backup_state {
    KEYD_BACKUP_COPYING = 1,
    KEYD_BACKUP_VERIFYING = 2,
    KEYD_BACKUP_DONE = 3,
    KEYD_BACKUP_FAILED = 4,
};

enum keyd_drain_action {
    KEYD_DRAIN_BEGIN = 1,  /* take no more requests, finish those there are */
    KEYD_DRAIN_CANCEL = 2, /* serve again */
    KEYD_DRAIN_STOP = 3,   /* begin, then end the daemon */
};

/* Permission bits of a key (signet field 2). */
enum {
    KEYD_PERM_SIGNET = 1,
    KEYD_PERM_MESSAGE = 2,
    KEYD_PERM_CERTIFICATE = 4,
    KEYD_PERM_SOFTWARE = 8,
};

/* ---- requests. Sizes and ranges: proto/PROTOCOL.md. */

struct keyd_profile_field {
    uint32_t type;           /* 16..251; the image comes apart */
    struct keyd_octets name; /* only type 251 */
    struct keyd_octets value;
};

/* Who approves requests: the principal of that name, by an Ed25519 key. */
struct keyd_operator {
    struct keyd_octets name, public_key;
};

struct keyd_request {
    enum keyd_op op;
    uint32_t deadline_ms;           /* 0: the client's (keyd_client_set_deadline) */
    unsigned endpoint;              /* 0: any; n: only the n-th that was added */
    const uint8_t *idempotency_key; /* KEYD_KEY_SIZE octets for a changing operation;
                                       NULL: a random one is made */
    union {
        struct {
            struct keyd_octets domain;   /* empty: all */
            struct keyd_octets after_id; /* the `next` of the page before */
        } public_keys;
        struct {
            struct keyd_octets name;        /* address or domain, lower case */
            struct keyd_octets fingerprint; /* core or full; empty: the current one */
        } lookup_signet;
        struct {
            struct keyd_octets address;
            struct keyd_octets start_fp, stop_fp; /* core; empty: root, current */
            struct keyd_octets page;              /* the `next` of the page before */
            uint32_t limit;                       /* 0: the most */
        } lookup_history;
        struct {
            struct keyd_octets name;
            struct keyd_octets fingerprint; /* core for users, full for domains */
        } verify_current;
        struct {
            struct keyd_octets address;
            struct keyd_octets ssr; /* binary */
            enum keyd_account_mode account_mode;
            const struct keyd_profile_field *profile;
            size_t n_profile;
            struct keyd_octets image;  /* PNG for field 252, or empty */
            struct keyd_octets ticket; /* of the account system, or empty */
        } issue_user_signet;
        struct {
            struct keyd_octets address;
            enum keyd_account_action action;
            enum keyd_freeze_reason reason; /* with FREEZE, and only then */
        } freeze_address;
        struct {
            enum keyd_reset_action action;
            struct keyd_octets
                address; /* LIST: empty, or the `next` of the page before */
        } reset_address;
        /* Messages whole and in binary, of whatever size the server takes. */
        struct {
            struct keyd_octets account;     /* address; who is authenticated */
            struct keyd_octets destination; /* domain it is to be sent to */
            struct keyd_octets origin_fp;   /* full, of our signet it was encrypted
                                               for; empty: the current one */
            /* Object 1847. Where the organization is to sign (255, and of 248 and 249
             * those it has) lie 64 zeros, encrypted as the signatures will be. */
            struct keyd_octets message;
        } sign_outbound;
        struct {
            struct keyd_octets origin;        /* domain; of MAIL, or that bounced */
            struct keyd_octets origin_fp;     /* full */
            struct keyd_octets domain;        /* ours; of RCPT */
            struct keyd_octets domain_fp;     /* of our signet that RCPT named; full or
                                                 core */
            struct keyd_octets origin_signet; /* identified, binary */
            struct keyd_octets message;       /* object 1847; open_bounce: 1931 */
            /* make_bounce only: */
            enum keyd_returned part;
            uint32_t klass, subject, detail; /* RFC 3463 */
        } inbound; /* open_envelope, open_bounce, make_bounce */
        struct {
            struct keyd_octets recipient; /* address */
            struct keyd_octets message;   /* object 1908, its 255 still zeros, which
                                             are not encrypted there */
        } seal_naked;
        struct {
            enum keyd_stop_action action;
            struct keyd_octets class_name; /* empty: whichever the name has */
            struct keyd_octets name;       /* empty for LIST */
        } stop_principal;
        struct {
            enum keyd_slot_kind kind;
            struct keyd_secret secret;
        } slot; /* token_init, add_unseal_slot, unseal */
        struct {
            enum keyd_key_role role;
            enum keyd_key_algorithm algorithm;
            struct keyd_octets domain;
            uint32_t permissions;
            const struct keyd_octets *tokens; /* names; none: the key store has it */
            size_t n_tokens;
            bool sealed;   /* in the key store, under a key of each token */
            uint32_t bits; /* RSA only */
        } generate_key;
        struct {
            struct keyd_octets id;
        } retire_key;
        struct {
            struct keyd_secret key_file; /* libdime's or magma's, as it is */
            enum keyd_key_role signing_role;
            bool encryption_key;
            struct keyd_octets domain;
            uint32_t permissions;
            const struct keyd_octets *tokens; /* as above; two hold the same keys */
            size_t n_tokens;
            bool sealed; /* the signing key */
        } import_key;
        struct {
            struct keyd_octets name;   /* token_doctor: empty for all */
            struct keyd_octets serial; /* token_adopt: as the list has it */
        } token;                       /* token_doctor, token_adopt */
        struct {
            struct keyd_octets id, token;
        } attach_key;
        struct {
            struct keyd_octets domain, pok_id;
            struct keyd_octets certificate; /* DER */
        } sign_tls_record;
        struct {
            struct keyd_octets domain;
            const struct keyd_profile_field *profile;
            size_t n_profile;
            struct keyd_octets image;
            struct keyd_octets pok_id;
            const struct keyd_octets *sok_ids;
            size_t n_sok_ids;
            struct keyd_octets encryption_id;
        } issue_org_signet;
        struct {
            uint64_t from_seq;
            uint32_t limit; /* 0: the most */
        } audit_read;
        struct {
            uint32_t k;     /* approvals needed beside the requester */
            uint64_t marks; /* bit n: operation n needs them */
            const struct keyd_operator *operators; /* by ascending name */
            size_t n_operators;                    /* 0, with k and marks 0: none */
        } set_quorum;
        struct {
            struct keyd_octets id;
        } approval_show;
        struct {
            struct keyd_octets id;
            struct keyd_octets operator_name;
            struct keyd_octets signature; /* Ed25519 over the text */
        } approval_sign;
        struct {
            struct keyd_octets principal;  /* its name, or else */
            struct keyd_octets class_name; /* its class and uid */
            uint32_t uid;
            uint32_t operation; /* 0: every one */
            struct keyd_octets domain;
            struct keyd_octets key_id;
            enum keyd_key_role key_role; /* KEYD_ROLE_NONE: not asked */
        } policy_explain;
        struct {
            struct keyd_octets name;
            bool poll; /* begin none, only tell of it */
        } registry_backup;
        struct {
            uint64_t seq; /* of the head to take for good */
            struct keyd_octets record_hash;
        } registry_restore;
        struct {
            uint64_t through_seq;
            struct keyd_octets segment_hash; /* of the records up to it */
        } audit_drop;
        struct {
            enum keyd_drain_action action;
            bool wait; /* for what is in flight, as long as the deadline lets it */
        } drain;
    } in;
};

/* ---- answers. Everything an answer points to lives until it is freed. */

struct keyd_key {
    struct keyd_octets id;
    enum keyd_key_role role;
    enum keyd_key_algorithm algorithm;
    enum keyd_key_state state;
    uint32_t permissions;
    struct keyd_octets public_key;
    struct keyd_octets domain;
    uint64_t created_ms;
    /* On the operators' listener only: */
    enum keyd_key_holding holding;
    const struct keyd_octets *tokens; /* names of those that have it: one is enough */
    size_t n_tokens;
    uint32_t attested; /* enum keyd_attested */
    bool away;         /* none of the tokens can be asked now */
    const struct keyd_octets
        *objects; /* its CKA_ID in each of the tokens that have it */
    size_t n_objects;
};

/* A PKCS#11 token. */
struct keyd_token {
    struct keyd_octets name; /* as in the configuration */
    enum keyd_token_state state;
    uint64_t state_ms;          /* for so long */
    struct keyd_octets finding; /* a word: why it is not ready */
    uint64_t module_error;      /* CK_RV that came with it; 0: none */
    struct keyd_octets label, serial, model, manufacturer; /* as the token says */
    bool adopted;
    struct keyd_octets adopted_serial;
    uint32_t hosts;       /* processes that are ready */
    uint32_t keys;        /* that are kept in it */
    uint32_t mechanisms;  /* 1 Ed25519, 2 makes such; 4 ECDH, 8; 16 RSA, 32 */
    uint64_t max_message; /* octets it signs in one go; 0: not known yet */
    uint64_t n_signed, n_derived, n_faults, n_recycled, n_away; /* since the start */
};

struct keyd_token_finding {
    struct keyd_octets token;
    struct keyd_octets finding; /* a word */
    struct keyd_octets what;    /* which file, key, attribute */
    uint64_t module_error;
};

struct keyd_process {
    enum keyd_process_role role;
    struct keyd_octets name;
    uint32_t pid, uid;
    bool sandbox;
    bool holds_keys;
};

struct keyd_counter {
    struct keyd_octets name;
    uint64_t value;
};

/* A request that waits for operators. */
struct keyd_approval {
    struct keyd_octets id;
    uint32_t operation; /* its number, as enum keyd_op */
    struct keyd_octets requester;
    uint64_t made_ms, not_after_ms;
    uint32_t needed;
    struct keyd_octets digest;             /* SHA-256 of its text */
    const struct keyd_octets *approved_by; /* names */
    size_t n_approved_by;
};

/* What a policy that is only watched would have decided otherwise. */
struct keyd_shadow_line {
    struct keyd_octets principal, operation;
    uint64_t would_refuse; /* requests that were allowed */
    uint64_t would_allow;  /* requests that were refused */
};

struct keyd_reset {
    struct keyd_octets address;
    uint64_t generation; /* that it will start */
    uint64_t requested_ms;
    uint64_t
        remaining_ms; /* until it may be used; 0: as far as time is concerned, now */
    bool approved;
};

struct keyd_stopped {
    struct keyd_octets class_name, name;
};

struct keyd_audit_item {
    uint64_t seq;
    struct keyd_octets octets; /* record or checkpoint */
};

struct keyd_policy_decision {
    uint32_t operation;
    enum keyd_policy_verdict verdict;
    uint32_t line; /* where it is listed; 0: nowhere */
};

struct keyd_policy_quota {
    bool of_domain;     /* else of the principal */
    uint32_t operation; /* 0: every one */
    uint32_t rate, seconds, burst;
    uint32_t in_flight_max;
    uint32_t line;
    struct {
        uint32_t left, in_flight;
        uint64_t refused;
    } jobs, lookups; /* what the vault counts, and what the gates do */
};

struct keyd_answer {
    enum keyd_op op;
    enum keyd_status status;                /* `out` is there only for KEYD_OK */
    const char *detail;                     /* a word for the log; never NULL */
    uint32_t retry_after_ms;                /* 0: no advice */
    uint64_t id;                            /* as keyd_client_submit gave */
    uint8_t idempotency_key[KEYD_KEY_SIZE]; /* that went with it; zeros: none */
    uint8_t approval_id[16];                /* with KEYD_APPROVAL_NEEDED; and */
    uint32_t approvals_missing;             /* how many are still to be given */
    unsigned endpoint; /* that answered, or was asked last; from 1; 0: none */
    unsigned attempts; /* times it was sent */
    union {
        struct {
            enum keyd_service_state state;
            struct keyd_octets version;
            bool probe_ok;
            uint32_t probe_us;
            bool single_operator;
            uint64_t epoch, audit_seq, started_ms;
            const struct keyd_process *processes;
            size_t n_processes;
            const struct keyd_counter *counters;
            size_t n_counters;
            /* On the operators' listener only: */
            const struct keyd_octets *reasons; /* words: why the state is what it is */
            size_t n_reasons;
            bool shadow_on; /* a policy is watched */
            uint64_t shadow_since_ms;
            uint32_t shadow_pairs; /* of principal and operation; the lines are those
                                      that differed most often */
            const struct keyd_shadow_line *shadow;
            size_t n_shadow;
        } status;
        struct {
            const struct keyd_key *keys;
            size_t n_keys;
            struct keyd_octets next; /* empty: the last page */
        } keys; /* public_keys, import_key; generate_key, retire_key, attach_key (one)
                 */
        struct {
            const struct keyd_token *tokens; /* token_adopt: one */
            size_t n_tokens;
        } tokens;
        struct {
            const struct keyd_token_finding *findings; /* of a token, the cause first */
            size_t n_findings;
        } doctor;
        struct {
            struct keyd_octets signet;  /* identified signet in binary, whole whatever
                                           its size */
            struct keyd_octets core_fp; /* empty for domains */
            struct keyd_octets full_fp;
            struct keyd_octets id_fp; /* issuance only */
            bool current;             /* look-up only */
            bool replayed;            /* issuance: it had been issued before */
            uint64_t generation, seq;
        } signet; /* lookup_signet, issue_user_signet, issue_org_signet */
        struct {
            const struct keyd_octets *cores; /* oldest first */
            size_t n_cores;
            struct keyd_octets next;
        } history;
        struct {
            enum keyd_verdict verdict;
            struct keyd_octets current_fp;
        } verify;
        struct {
            uint32_t slot;                 /* token_init, add_unseal_slot */
            enum keyd_service_state state; /* unseal, seal */
            uint32_t shares_missing;       /* unseal */
        } slot;
        struct {
            enum keyd_account_state state;
            enum keyd_freeze_reason reason; /* while frozen */
            uint64_t since_ms;              /* 0: it was never changed */
            bool changed;                   /* false: it was so already */
            bool attested;
        } account;
        struct {
            const struct keyd_reset
                *resets; /* those pending; of one address that one */
            size_t n_resets;
            struct keyd_octets next; /* empty: the last page */
            bool changed;
        } resets;
        struct {
            /* Payloads of chunks 248, 249 (empty: the message has none) and 255: each
             * goes in place of the chunk's own, 64 octets that begin 4 behind the
             * chunk's first; the slots behind them stay. */
            struct keyd_octets metadata_bounce, display_bounce, organization;
            struct keyd_octets destination_fp; /* as the author says: full or core */
            bool author_grace; /* the author's signet was superseded a short time ago */
        } outbound;            /* sign_outbound */
        struct {
            enum keyd_envelope verdict;
            /* With CURRENT and STALE; the fingerprint as the author says: full or
             * core. */
            struct keyd_octets recipient, recipient_fp;
            enum keyd_bounce_signature metadata_bounce,
                display_bounce; /* to be noted */
        } envelope;             /* open_envelope */
        struct {
            struct keyd_octets author, author_fp; /* who is to be told; as above */
            enum keyd_returned part;
            uint32_t klass, subject, detail;
            uint64_t time_s;
            struct keyd_octets message_id;
        } bounced; /* open_bounce */
        struct {
            struct keyd_octets bounce; /* object 1931, whole whatever its size */
        } bounce;                      /* make_bounce */
        struct {
            struct keyd_octets signature; /* the payload of chunk 255 */
        } naked;                          /* seal_naked */
        struct {
            struct keyd_octets of_hash; /* 64, over SHA-512 of the certificate */
            struct keyd_octets of_der;  /* 64, over itself; empty: the token cannot */
        } tls_record;                   /* sign_tls_record */
        struct {
            const struct keyd_stopped *stopped; /* all that are */
            size_t n_stopped;
            bool changed;
        } stopped;
        struct {
            const struct keyd_audit_item *records;
            size_t n_records;
            const struct keyd_audit_item *checkpoints;
            size_t n_checkpoints;
            uint64_t next_seq; /* 0: no more */
        } audit;
        struct {
            uint64_t epoch, seq, time_ms;
            struct keyd_octets record_hash, tree_head, checkpoint;
            uint64_t first_seq;                 /* the first record there is */
            struct keyd_octets base_checkpoint; /* of the one before it, or empty */
        } audit_head;
        struct {
            uint64_t generation;
        } set_quorum;
        struct {
            const struct keyd_approval *approvals; /* list: all; show: one */
            size_t n_approvals;
            struct keyd_octets text; /* show: what is to be signed */
            uint32_t k;              /* list: the rules in force */
            uint64_t marks;
            const struct keyd_operator *operators;
            size_t n_operators;
        } approvals;
        struct {
            uint32_t given, needed;
        } approval_sign;
        struct {
            struct keyd_octets principal; /* empty: there is none */
            struct keyd_octets class_name;
            uint32_t uid;
            uint32_t section_line, operations_line, domains_line, keys_line;
            uint32_t domain_line; /* 0: not served */
            bool stopped;         /* all it asks is refused */
            const struct keyd_policy_decision *decisions;
            size_t n_decisions;
            const struct keyd_policy_quota *quotas;
            size_t n_quotas;
        } policy;
        struct {
            enum keyd_backup_state state;
            uint64_t pages, pages_total;
            uint64_t seq, size; /* when done */
            struct keyd_octets record_hash;
            struct keyd_octets reason; /* why it failed */
        } backup;
        struct {
            uint64_t epoch, seq;
            enum keyd_service_state state;
        } restored;
        struct {
            uint64_t first_seq; /* the first record that is left */
        } dropped;
        struct {
            uint32_t serial;           /* how often it was taken anew since the start */
            struct keyd_octets digest; /* SHA-256 of the file */
            uint32_t warnings;         /* in the log */
        } reload;
        struct {
            enum keyd_service_state state;
            uint32_t in_flight; /* requests not answered yet */
        } drain;
    } out;
};

/* Accepts NULL. */
void keyd_client_answer_free(struct keyd_answer *answer);

/* ---- the client */

/* NULL without memory. */
keyd_client *keyd_client_new(void);

/* Closes and frees; accepts NULL. May be called from a callback. */
void keyd_client_free(keyd_client *c);

/* What the server's log shows; at most 64 octets of printable ASCII. For connections
 * made after. KEYD_USAGE otherwise. */
enum keyd_status keyd_client_set_name(keyd_client *c, const char *name);

/* For requests that name none; 1..600000, 30,000 at first. */
enum keyd_status keyd_client_set_deadline(keyd_client *c, uint32_t ms);

/* ---- one connection */

/* Connects and agrees on a version, within timeout_ms. Closes a connection there was
 * (as keyd_client_close). It is not made again by itself. KEYD_USAGE for a client with
 * endpoints, as the next two.
 *   KEYD_UNAVAILABLE  nobody answers there     KEYD_DEADLINE     not in time
 *   KEYD_DENIED       not for this user        KEYD_UNSUPPORTED  no common version
 *   KEYD_NOMEM, KEYD_PROTOCOL, KEYD_USAGE */
enum keyd_status keyd_client_connect(keyd_client *c, const char *path, int timeout_ms);

/* The same without waiting: requests may be submitted at once and leave as soon as the
 * version is agreed on. KEYD_BUSY: the server's backlog is full, try again. */
enum keyd_status keyd_client_start(keyd_client *c, const char *path);

/* The same on a connected unix stream socket, which is taken in every case. */
enum keyd_status keyd_client_adopt(keyd_client *c, int fd);

/* Ends every call with KEYD_UNAVAILABLE, or with KEYD_UNKNOWN_OUTCOME if it is
 * a changing one that may have been sent. Their callbacks run before this returns or,
 * if called from a callback, right after that one. Endpoints stay and are connected to
 * again when the next request is submitted. */
void keyd_client_close(keyd_client *c);

/* What was agreed on; all zero before. With endpoints: of the first that is up. */
struct keyd_server {
    uint32_t version, max_frame, max_in_flight, max_object, idle_timeout_ms;
    char class_name[33];
    char name[65];
};
const struct keyd_server *keyd_client_server(const keyd_client *c);

/* ---- several endpoints
 *
 * Connections are made by keyd_client_process (or _call) and kept; lost ones are made
 * again, with growing, jittered pauses. Every endpoint has one connection; an endpoint
 * added twice has two. A request goes to one that is up, and to another
 *   - when it was refused there as busy, unavailable or sealed, or the connection was
 *     lost before it had left: nothing was done;
 *   - when it only reads and the connection was lost, or nothing came for long.
 * A changing request that may have been done (KEYD_UNKNOWN_OUTCOME, a lost connection)
 * is repeated with its idempotency key and only where it was before, or where `group`
 * says that this is the same keyd. Unseal, Seal and what carries a secret are sent
 * once. All other answers are final and come back as they are. Nothing is repeated past
 * the request's deadline, sooner than a server's retry_after_ms, or beyond the budget
 * of retries, which makes them wait, not fail.
 *
 * An endpoint that answers unavailable or sealed is left alone for a while, for
 * the kind of operation that was refused (state; look-ups; what takes keys), and then
 * tried with one request. While no endpoint will do, requests wait until their
 * deadline; then their status says why: the last refusal, KEYD_UNAVAILABLE,
 * KEYD_DEADLINE, or KEYD_UNKNOWN_OUTCOME where it may have been done. */

enum { KEYD_ENDPOINTS_MAX = 16 };

/* How TLS (1.3, no resumption) is spoken. Files are PEM, read when the endpoint is
 * added and by keyd_client_reload_tls. `ca`, `server_key` or both: what is given must
 * hold.
 */
struct keyd_tls {
    const char *certificate; /* own, with its chain, leaf first */
    const char *key;         /* to it, not encrypted */
    const char *ca;          /* certificates that sign servers */
    const uint8_t
        *server_key;         /* KEYD_HASH_SIZE octets: SHA-256 of the server's
                                SubjectPublicKeyInfo; alone, dates are not looked at */
    const char *server_name; /* in the server's certificate as a DNS name or address,
                                no wildcards; NULL: the host of `address` (with
                                `server_key` alone: any) */
};

struct keyd_endpoint {
    const char *address;        /* unix:PATH, tls:HOST:PORT, tls:[IPV6]:PORT */
    const struct keyd_tls *tls; /* for tls:, else NULL */
    unsigned group; /* endpoints of the same number, not 0, are doors to the same keyd,
                       which knows the caller by the same name at each; 0: unlike any
                       other */
};

/* Numbered from 1 in the order they are added.
 *   KEYD_USAGE   an address that is none, TLS without what it needs, too many, or
 *                a client with a connection
 *   KEYD_DENIED  a file cannot be read, or holds no certificate or key, or they do not
 *                belong together (keyd_client_detail says which)
 *   KEYD_NOMEM */
enum keyd_status keyd_client_add_endpoint(keyd_client *c,
                                          const struct keyd_endpoint *endpoint);

/* The same for each of a list in one string, separated by commas or white space. */
enum keyd_status keyd_client_add_endpoints(keyd_client *c, const char *list,
                                           const struct keyd_tls *tls);

/* Reads the TLS files of every endpoint again, for connections made after; what cannot
 * be read (KEYD_DENIED, KEYD_NOMEM) leaves that endpoint's as they were. */
enum keyd_status keyd_client_reload_tls(keyd_client *c);

enum keyd_spread {
    KEYD_LEAST_BUSY = 0, /* the one with the fewest requests under way */
    KEYD_ROUND_ROBIN = 1,
};

/* 0 stands for what is in brackets. */
struct keyd_options {
    enum keyd_spread spread;
    bool fail_at_once;   /* when no endpoint will do, do not wait for one */
    uint32_t connect_ms; /* for a connection, Hello included (5,000) */
    uint32_t silent_ms;  /* requests wait and nothing comes: it is lost (10,000) */
    uint32_t backoff_first_ms;   /* pause after the first failure, then doubled (100) */
    uint32_t backoff_most_ms;    /* (10,000) */
    uint32_t retries_burst;      /* the budget: so many at once (100) */
    uint32_t retries_per_second; /* and so many a second, beside one for every five
                                    requests submitted (10) */
};

/* For what happens after. KEYD_USAGE: a number above 600,000, or backoff_first_ms above
 * backoff_most_ms. */
enum keyd_status keyd_client_set_options(keyd_client *c,
                                         const struct keyd_options *options);

enum keyd_endpoint_state {
    KEYD_ENDPOINT_DOWN = 0, /* waits for the next attempt */
    KEYD_ENDPOINT_CONNECTING = 1,
    KEYD_ENDPOINT_UP = 2,
    KEYD_ENDPOINT_RESTING = 3, /* connected, but it refused some operations lately */
};

struct keyd_endpoint_info {
    const char *address;
    enum keyd_endpoint_state state;
    unsigned in_flight;
    unsigned failures;         /* since it worked last */
    uint64_t n_answered;       /* requests, refusals included */
    uint64_t n_lost;           /* connections lost or not made */
    enum keyd_status why;      /* the last of these */
    const char *detail;        /* a word on it; "" */
    struct keyd_server server; /* as agreed on last */
};

size_t keyd_client_n_endpoints(const keyd_client *c);

/* number: from 1. KEYD_USAGE if there is none. Strings live until the next call that
 * takes the client. */
enum keyd_status keyd_client_endpoint_info(const keyd_client *c, unsigned number,
                                           struct keyd_endpoint_info *info);

/* ---- one call at a time */

/* Submits and waits. Returns the answer's status, or an error of its own and *answer
 * NULL; otherwise free *answer. Callbacks of other requests may run meanwhile. Not from
 * a callback (KEYD_USAGE). */
enum keyd_status keyd_client_call(keyd_client *c, const struct keyd_request *request,
                                  struct keyd_answer **answer);

/* keyd_client_call for single operations, with the client's deadline and, where the
 * operation changes something, a new idempotency key. */
enum keyd_status keyd_client_status(keyd_client *c, struct keyd_answer **answer);
enum keyd_status keyd_client_public_keys(keyd_client *c, struct keyd_octets domain,
                                         struct keyd_octets after_id,
                                         struct keyd_answer **answer);
enum keyd_status keyd_client_lookup_signet(keyd_client *c, struct keyd_octets name,
                                           struct keyd_octets fingerprint,
                                           struct keyd_answer **answer);
enum keyd_status keyd_client_lookup_history(keyd_client *c, struct keyd_octets address,
                                            struct keyd_octets start_fp,
                                            struct keyd_octets stop_fp,
                                            struct keyd_octets page,
                                            struct keyd_answer **answer);
enum keyd_status keyd_client_verify_current(keyd_client *c, struct keyd_octets name,
                                            struct keyd_octets fingerprint,
                                            struct keyd_answer **answer);
enum keyd_status keyd_client_issue_user_signet(
    keyd_client *c, struct keyd_octets address, struct keyd_octets ssr,
    enum keyd_account_mode mode, const struct keyd_profile_field *profile,
    size_t n_profile, struct keyd_octets image, struct keyd_answer **answer);
enum keyd_status keyd_client_sign_outbound(keyd_client *c, struct keyd_octets account,
                                           struct keyd_octets destination,
                                           struct keyd_octets origin_fp,
                                           struct keyd_octets message,
                                           struct keyd_answer **answer);
enum keyd_status keyd_client_open_envelope(keyd_client *c, struct keyd_octets origin,
                                           struct keyd_octets origin_fp,
                                           struct keyd_octets domain,
                                           struct keyd_octets domain_fp,
                                           struct keyd_octets origin_signet,
                                           struct keyd_octets message,
                                           struct keyd_answer **answer);
/* Of object 1931, and of a message that cannot be delivered; fields as above. */
enum keyd_status
keyd_client_open_bounce(keyd_client *c, struct keyd_octets origin,
                        struct keyd_octets origin_fp, struct keyd_octets domain,
                        struct keyd_octets domain_fp, struct keyd_octets origin_signet,
                        struct keyd_octets bounce, struct keyd_answer **answer);
enum keyd_status
keyd_client_make_bounce(keyd_client *c, struct keyd_octets origin,
                        struct keyd_octets origin_fp, struct keyd_octets domain,
                        struct keyd_octets domain_fp, struct keyd_octets origin_signet,
                        struct keyd_octets message, enum keyd_returned part,
                        const uint32_t status[3], struct keyd_answer **answer);
enum keyd_status keyd_client_seal_naked(keyd_client *c, struct keyd_octets recipient,
                                        struct keyd_octets message,
                                        struct keyd_answer **answer);
enum keyd_status keyd_client_token_init(keyd_client *c, enum keyd_slot_kind kind,
                                        struct keyd_secret secret,
                                        struct keyd_answer **answer);
enum keyd_status keyd_client_add_unseal_slot(keyd_client *c, enum keyd_slot_kind kind,
                                             struct keyd_secret secret,
                                             struct keyd_answer **answer);
enum keyd_status keyd_client_unseal(keyd_client *c, enum keyd_slot_kind kind,
                                    struct keyd_secret secret,
                                    struct keyd_answer **answer);
enum keyd_status keyd_client_seal(keyd_client *c, struct keyd_answer **answer);
enum keyd_status keyd_client_generate_key(keyd_client *c, enum keyd_key_role role,
                                          enum keyd_key_algorithm algorithm,
                                          struct keyd_octets domain,
                                          uint32_t permissions,
                                          struct keyd_answer **answer);
enum keyd_status keyd_client_retire_key(keyd_client *c, struct keyd_octets id,
                                        struct keyd_answer **answer);
enum keyd_status keyd_client_audit_read(keyd_client *c, uint64_t from_seq,
                                        uint32_t limit, struct keyd_answer **answer);
enum keyd_status keyd_client_audit_head(keyd_client *c, struct keyd_answer **answer);
enum keyd_status keyd_client_token_list(keyd_client *c, struct keyd_answer **answer);
enum keyd_status keyd_client_token_doctor(keyd_client *c, struct keyd_octets name,
                                          struct keyd_answer **answer);
enum keyd_status keyd_client_token_adopt(keyd_client *c, struct keyd_octets name,
                                         struct keyd_octets serial,
                                         struct keyd_answer **answer);
enum keyd_status keyd_client_attach_key(keyd_client *c, struct keyd_octets id,
                                        struct keyd_octets token,
                                        struct keyd_answer **answer);
enum keyd_status keyd_client_sign_tls_record(keyd_client *c, struct keyd_octets domain,
                                             struct keyd_octets pok_id,
                                             struct keyd_octets certificate,
                                             struct keyd_answer **answer);
enum keyd_status keyd_client_reload(keyd_client *c, struct keyd_answer **answer);
enum keyd_status keyd_client_drain(keyd_client *c, enum keyd_drain_action action,
                                   bool wait, struct keyd_answer **answer);

/* ---- many at a time */

/* Called once for every submitted request, from keyd_client_process, keyd_client_call,
 * _connect, _close or _free, never from _submit. The answer is the callee's to free. It
 * may submit, close and free. */
typedef void (*keyd_client_done)(void *cookie, struct keyd_answer *answer);

/* Queues a request; it leaves at the next process. *id, unless NULL, becomes the
 * answer's id. Nothing is called on an error:
 *   KEYD_USAGE        a field is missing or beyond its limit, or no such operation
 *   KEYD_UNAVAILABLE  not connected; no endpoint will do (with fail_at_once)
 *   KEYD_UNSUPPORTED  secrets do not travel over TLS and there is no other endpoint
 *   KEYD_BUSY         4,096 requests are waiting already
 *   KEYD_NOMEM */
enum keyd_status keyd_client_submit(keyd_client *c, const struct keyd_request *request,
                                    keyd_client_done done, void *cookie, uint64_t *id);

/* The descriptor to poll, -1 when not connected, and what for (POLLIN, POLLOUT). Both
 * may change with every call of this library. With endpoints it is one epoll descriptor
 * for all of them, always the same and always polled for POLLIN. */
int keyd_client_fd(const keyd_client *c);
short keyd_client_events(const keyd_client *c);

/* Milliseconds until process is to be called even if nothing comes (a deadline, the
 * next attempt to connect), -1: none. */
int keyd_client_timeout_ms(const keyd_client *c);

/* Waits until something can be done, at most timeout_ms (0: not at all; -1: as long as
 * it takes), then sends, receives and calls back. KEYD_OK while connected, and always
 * with endpoints; else why the connection ended (KEYD_UNAVAILABLE, KEYD_PROTOCOL, ...),
 * and all calls have ended. */
enum keyd_status keyd_client_process(keyd_client *c, int timeout_ms);

/* Requests submitted and not yet called back. */
size_t keyd_client_pending(const keyd_client *c);

/* "ok", "denied", ...; static, never NULL. */
const char *keyd_client_status_text(enum keyd_status status);

/* A word on why the connection ended, "" while it has not; with endpoints, on what the
 * last of their calls refused. */
const char *keyd_client_detail(const keyd_client *c);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
