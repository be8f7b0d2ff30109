/* The configuration as the vault holds it. A reload puts another in its place; a task
 * keeps the one it began with until it ends, and so does everything it was told of it:
 * what a request may do never changes under its hands.
 *
 * Domains have a place in a table that outlives configurations (keys.h), so that a
 * number a task holds stays that domain's. The table has those of every configuration
 * there was, and those the ledger told a signet of, served or not. */
#ifndef KEYD_VAULT_CONF_H
#define KEYD_VAULT_CONF_H

#include <keyd/conf/quota_table.h>
#include <keyd/conf/role_conf.h>
#include <keyd/job/job.h>

struct vault;
struct task;

/* What front-ends may ask for in a domain. */
enum { VAULT_WANTS_SIGNER = 1, VAULT_WANTS_OPENER = 2 };

struct vault_conf {
    struct vault_conf *older; /* in the vault's list of those before */
    int64_t until;            /* gates may mean it; CLOCK_MONOTONIC, ms */
    unsigned refs;            /* of the main thread alone */
    uint32_t serial;
    uint8_t hash[32]; /* SHA-256 of the octets it came as */
    struct kd_conf_for_vault is;
    struct kd_policy *shadow;   /* owned; watched only; NULL: none */
    uint16_t *orgs;             /* owned; of each domain of the policy, its place */
    uint8_t *wants;             /* owned; of each: what takes a key for messages */
    struct kd_quota_map quotas; /* where the lines of the policy count */
};

/* From the octets the supervisor sent. Domains that are new get their places, which
 * stay whether it is ever used or not. KD_TOO_LARGE: there were too many domains since
 * the start; KD_MALFORMED, KD_UNSUPPORTED, KD_NOMEM. One reference, the caller's. */
kd_err vault_conf_new(struct vault *v, struct kd_slice octets,
                      struct vault_conf **out) KD_MUST_USE;

struct vault_conf *vault_conf_hold(struct vault_conf *c);
void vault_conf_drop(struct vault_conf *c); /* accepts NULL */

/* The one under which a gate took a job: the one in force, or for a moment after a
 * change one before it. NULL: none of these, and the gate must ask again. Borrowed. */
struct vault_conf *vault_conf_of(const struct vault *v, uint32_t serial);

/* A domain that is served, under the configuration the task began with: its place in
 * v->orgs and, unless rules is NULL, what its section says (borrowed as long as the
 * task lives). KD_NOT_FOUND. */
kd_err vault_serves(const struct task *t, struct kd_slice domain, size_t *org,
                    const struct kd_domain_rules **rules) KD_MUST_USE;

/* The supervisor's ctl_turn (job.h). Takes fd. What it says is trusted; a
 * configuration that does not decode is answered, and the one in force stays. */
kd_err vault_turn(struct vault *v, struct kd_slice body, int fd) KD_MUST_USE;

/* For every turn of the loop: forgets configurations that no gate can mean any more;
 * makes up for a record there was no room for. */
void vault_conf_tend(struct vault *v);

#endif
