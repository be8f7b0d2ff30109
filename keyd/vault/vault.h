/* Inside the vault: what its few files share. Nothing outside keyd/vault and the
 * <op>_run.c halves of keyd/ops includes this. */
#ifndef KEYD_VAULT_VAULT_H
#define KEYD_VAULT_VAULT_H

#include "approvals.h"
#include "chain.h"
#include "conf.h"
#include "keys.h"
#include "origins.h"
#include "reset_clock.h"
#include "shadow.h"
#include "state.h"
#include "stops.h"
#include "task.h"
#include "tokens.h"

#include "../pool.h"
#include "../role.h"

#include <keyd/base/chan.h>
#include <keyd/conf/quota_table.h>
#include <keyd/conf/role_conf.h>
#include <keyd/ledger/standing.h>
#include <keyd/token/soft_store.h>
#include <keyd/token/token.h>

/* The channel to a gate, by its number (role.h). generation changes with every new
 * channel, so that an answer never goes to a gate that did not ask. */
struct vault_gate {
    struct kd_role_link link;
    uint32_t generation;
    enum kd_class klass;
    unsigned n_tasks, n_fds; /* of its in the table, and those with a descriptor */
    size_t octets;           /* of their requests */
    uint32_t obeys;          /* the list of stopped principals that it goes by */
};

/* What has come on the ledger's channel. It speaks first, once, in this order. */
enum vault_ledger_phase {
    LEDGER_SILENT,
    LEDGER_STANDS, /* it said where; what it has besides follows */
    LEDGER_READY
};

struct vault {
    struct kd_chan ctl;
    struct kd_role_link ledger;
    enum vault_ledger_phase ledger_phase;
    struct vault_gate gates[KD_GATES_MAX];
    struct vault_conf *conf;       /* in force */
    struct vault_conf *next;       /* prepared, or NULL */
    struct vault_conf *before;     /* list: gates may have taken jobs under these */
    struct kd_policy *next_shadow; /* owned; came for the next one */
    bool is_unrecorded;            /* conf has no record yet */
    uint64_t unrecorded_tag;       /* of the task that asked for it, or 0 */
    struct shadow shadow;
    bool is_draining; /* the gates take no more requests */
    struct kd_quota_table quotas;

    enum vault_state state;
    struct chain chain;
    struct pool pool;
    struct task_table tasks;
    struct vault_tokens tokens;
    int64_t checkpoint_due; /* CLOCK_MONOTONIC, ms */

    /* The key store as the ledger has it, and the open token. Only a task that runs
     * alone changes these and what is derived of them, so crypto threads may read. */
    uint8_t *store; /* owned */
    size_t store_size;
    uint64_t store_recorded; /* its generation by the audit log; 0 if never recorded */
    uint8_t *aside; /* owned: the one an operator set aside; there is no store */
    size_t aside_size;
    bool aside_opened;      /* its secret was given: it is authentic */
    struct kd_token *token; /* NULL unless unsealed */
    struct approvals approvals;
    /* Of every domain there was; places never change, and what is added is not looked
     * at by a crypto thread before a task names it. */
    struct vault_org *orgs[VAULT_ORGS_MAX];
    size_t n_orgs;
    uint64_t formers_bad; /* former signets the ledger told that do not hold */
    kd_err former_bad;    /* the last of them */
    size_t n_own;
    struct vault_own_key own[VAULT_KEYS_MAX];
    size_t n_own_enc;
    uint8_t own_enc[VAULT_KEYS_MAX][DIME_SECP_KEY_SIZE];
    bool has_audit;
    struct kd_key_id audit; /* the key that signs checkpoints */
    uint8_t audit_key[32];
    uint8_t checkpoint[256]; /* the last one, as the ledger told it */
    size_t checkpoint_size;
    uint64_t raised;   /* bits of enum kd_state_reason; vault_raise, vault_clear */
    int credential;    /* descriptor of the credential file, -1 if none */
    bool opens_itself; /* by the credential, now: no operator is needed */
    int64_t unseal_at; /* CLOCK_MONOTONIC, ms: when to try that again; 0: not */

    size_t author_octets;   /* of large signets that tasks hold (mail_ask.h) */
    struct origins origins; /* how much strangers may have opened */

    bool knows_accounts; /* the ledger has told what the next four are made of */
    struct vault_stops stops;
    struct reset_clock clock; /* of pending resets */
    uint32_t n_resets;        /* pending, as the ledger says */
    int64_t tell_uptime_at;   /* CLOCK_MONOTONIC, ms */

    /* Why nothing is issued although all parts are there: WELL or UNKNOWN if there is
     * no such reason. Only RegistryRestore lifts it. */
    enum kd_standing standing;
    struct {
        uint64_t epoch, seq; /* the newest head known outside */
        uint8_t octets[KD_CHECKPOINT_SIGNED_MAX];
        size_t n; /* of its checkpoint; 0: none to verify */
    } outside;
    uint64_t
        store_found; /* generation of a key store that is not recorded; 0: of none */
    struct kd_ledger_health health; /* as the ledger said last */

    int64_t next_tick; /* CLOCK_MONOTONIC, ms */
    uint64_t started;  /* wall clock, ms */
    uint64_t n_issued, n_refused;
    uint64_t n_denied, n_over_quota, n_failed; /* of those refused */
    uint64_t n_peer_malformed; /* messages of a gate or the ledger that none sends */
    uint64_t refused[KD_OP_MAX + 1]; /* by operation, not told to the ledger yet */
    int64_t tell_refused_at;         /* CLOCK_MONOTONIC, ms */
    int64_t tell_stale_at;           /* the same */
    struct {
        int64_t at;   /* of the last one begun; CLOCK_MONOTONIC, ms; 0: never */
        bool is_made; /* one has ended since the keys were opened */
        bool ok;
        uint32_t us;
    } probe; /* the last one, so that Status cannot be made to cost a signature each */
};

/* Fails the vault until the registry is accepted, with the event that says why. */
void vault_hold(struct vault *v, enum kd_standing why);

/* True while only RegistryRestore helps. */
static inline bool
vault_is_held(const struct vault *v)
{
    return v->state == VAULT_FAILED && v->standing > KD_STANDS_WELL;
}

/* What follows when the ledger stands and there is nothing against it: the state, the
 * record of the start, and unsealing where there is a credential. */
void vault_open(struct vault *v);

/* Numbered events: the vault writes no text of its own, the supervisor does. */
enum vault_event {
#define KD_EVENT(name, level, text) EVENT_##name,
#include <keyd/events.def>
#undef KD_EVENT
};
void vault_event(struct vault *v, enum vault_event event, uint64_t a, uint64_t b);

/* The same about a principal or a domain, by its name in the configuration, and an
 * operation or none. */
void vault_event_of(struct vault *v, enum vault_event event, struct kd_slice name,
                    enum kd_op op, uint64_t a);

/* The same about a PKCS#11 token. */
void vault_event_about(struct vault *v, enum vault_event event, struct kd_slice name,
                       uint64_t a, uint64_t b);

#endif
