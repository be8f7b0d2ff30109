/* PKCS#11 tokens, as the vault's main thread sees them: it carries what the pool of
 * hosts (keyd/p11/p11.h) has to say to the supervisor and to the key store, and
 * descriptors and the key store's list of keys to the pool. It never waits for one. */
#ifndef KEYD_VAULT_TOKENS_H
#define KEYD_VAULT_TOKENS_H

#include <keyd/base/buf.h>
#include <keyd/job/job.h>
#include <keyd/p11/p11.h>
#include <keyd/token/soft_store.h>

#include <poll.h>

struct vault;
struct vault_conf;

struct vault_tokens {
    size_t n; /* of the configuration; 0: there is no pool */
    char names[KD_TOKENS_MAX][KD_TOKEN_NAME_MAX + 1];
    struct p11 *p11;
    struct kd_token *attached; /* the open key store that has the devices; or NULL */
    uint64_t openings;         /* of key stores, so that two are told apart */
    struct kd_token *old;      /* sealed, and still used by work that is apart */
    int64_t open_sealed_at;    /* CLOCK_MONOTONIC, ms: when to try; 0: not */
    bool opens_sealed;         /* it is being tried */
    struct {
        bool is_wanted, is_stored; /* to be stored; being stored */
        uint8_t good[KD_PIN_TAG_SIZE], tried[KD_PIN_TAG_SIZE];
    } tags[KD_TOKENS_MAX];
};

/* Makes the pool, if the configuration has tokens; before the filter. */
kd_err tokens_start(struct vault *v) KD_MUST_USE;

/* What to poll for; -1 without tokens. */
struct pollfd tokens_watch(const struct vault *v);

/* For every turn of the loop. */
void tokens_step(struct vault *v);

/* The supervisor's: a host's channel (takes fd); that its PIN file was not opened. */
kd_err tokens_link(struct vault *v, unsigned host, int fd) KD_MUST_USE;
kd_err tokens_no_pin(struct vault *v, struct kd_slice body) KD_MUST_USE;

/* The vault's open key store may use the devices from now on; nothing if it does. */
void tokens_attach(struct vault *v);

/* Frees a key store that was sealed, or later, while work apart still uses it; which
 * that is must then be over before another is opened (tokens_is_busy). Accepts NULL. */
void tokens_release(struct vault *v, struct kd_token *t);
bool tokens_is_busy(const struct vault *v);

/* The token of that name in the configuration. KD_NOT_FOUND. */
kd_err tokens_find(const struct vault *v, struct kd_slice name, size_t *i) KD_MUST_USE;

/* What the open key store has of a token that was adopted, and at which place of its
 * table. KD_NOT_FOUND. */
kd_err tokens_adopted(const struct vault *v, struct kd_slice name, size_t *place,
                      struct kd_store_token *out) KD_MUST_USE;

/* Keys that the open key store has in the token at that place. */
size_t tokens_keys(const struct vault *v, size_t place);

/* Why a key that is away is so: KD_REASON_TOKEN_AWAY if one of its tokens may come back
 * by itself, KD_REASON_TOKEN_REFUSED if somebody has to mend something first. */
enum kd_reason tokens_why_away(const struct vault *v, const struct kd_key_id *id);

/* The same of a token of the configuration: it is not used before it is mended. */
bool tokens_is_refused(const struct vault *v, size_t i);

/* Octets that can be signed in one go in the token; 0: not known. */
uint64_t tokens_limit(const struct vault *v, size_t i);

/* For Status: bits of enum kd_state_reason. */
uint64_t tokens_reasons(const struct vault *v);

/* True if the messages of a domain are to be signed by keys in tokens, none of which
 * can sign the largest: not *limit octets in one go. domain: its index in c's policy.
 */
bool tokens_are_unfit(const struct vault *v, const struct vault_conf *c, size_t domain,
                      uint64_t *limit);

/* Under c a domain is unfit that is not so under the configuration in force: which. */
bool tokens_conf_is_unfit(const struct vault *v, const struct vault_conf *c,
                          struct kd_slice *domain, uint64_t *limit);

/* The tags were stored, or not. */
void tokens_tags_stored(struct vault *v, size_t i, kd_err err);

#endif
