/* What the vault knows of its own keys beyond the token: which public keys are the
 * organization's, which key signs for a domain now, and the current organizational
 * signets. Derived anew (vault_keys_refresh) whenever the token or a signet changes;
 * only tasks running alone do that, so crypto threads may read. */
#ifndef KEYD_VAULT_KEYS_H
#define KEYD_VAULT_KEYS_H

#include <dime/signet.h>
#include <keyd/base/buf.h>
#include <keyd/conf/policy.h>
#include <keyd/token/token.h>

struct vault;
struct task;

enum {
    VAULT_KEYS_MAX = 256,
    VAULT_SIGNERS_MAX = 64,
    VAULT_USABLE_MAX = 16,
    /* Domains since the start, served or not; half of them are kept for those that are
     * or will be served. */
    VAULT_ORGS_MAX = 4096,
    VAULT_UNSERVED_MAX = 2048,
    VAULT_UNSERVED_OCTETS_MAX = 64 * 1024 * 1024, /* of their signets */
    /* Former organizational signets that are kept of a domain, the last superseded; and
     * of all domains that are not served. */
    VAULT_FORMERS_MAX = 64,
    VAULT_UNSERVED_FORMERS_MAX = 8192
};

/* A public key of ours: Ed25519, or the x coordinate of a secp256k1 key (ECDH uses
 * only x, so 02x and 03x are one key). */
struct vault_own_key {
    enum kd_key_alg alg;
    uint8_t key[32];
};

/* What is left to know of an organizational signet that is not the current one. It held
 * by the POK in it; whether that is one of ours is asked at every refresh. */
struct vault_former {
    uint8_t pok[DIME_ED25519_KEY_SIZE];
    uint8_t enc_key[DIME_SECP_KEY_SIZE];
    uint8_t full[64], core[64];
    uint64_t superseded_ms; /* wall clock */
    bool is_usable;         /* its POK is trusted, and id is a key of ours that opens */
    struct kd_key_id id;
};

/* A key that signs for the domain now. */
struct vault_usable {
    struct kd_key_id id;
    enum kd_key_role role;
};

/* A domain: its current organizational signet, verified under a POK of the token, and
 * what follows from it. */
struct vault_org {
    uint8_t name[KD_DOMAIN_MAX];
    uint8_t name_size;
    bool was_served; /* by a configuration since the start */
    uint8_t *octets; /* owned; NULL if the domain has none */
    size_t size;
    uint32_t version;
    bool verified;
    uint8_t full[64], core[64];
    bool opens; /* the encryption key in it is ours: opener */
    struct kd_key_id opener;
    struct vault_former *formers; /* owned; in no order */
    size_t n_formers;
    /* Active keys that the signet permits to sign users, in the token's order. */
    size_t n_usable;
    struct vault_usable usable[VAULT_USABLE_MAX];
    /* Keys under which a user signet of this domain can have been made: our POKs and
     * SOKs with the bit, in whatever state but revoked; the first usable one first. */
    size_t n_signers;
    uint8_t signers[VAULT_SIGNERS_MAX][DIME_ED25519_KEY_SIZE];
    /* The same two lists for messages; as a message signer a POK counts only if it is
     * the one of the signet. */
    size_t n_mail_usable, n_mail_signers;
    struct vault_usable mail_usable[VAULT_USABLE_MAX];
    uint8_t mail_signers[VAULT_SIGNERS_MAX][DIME_ED25519_KEY_SIZE];
    uint8_t told;    /* what the log has of vault_lacks, while it lacks it */
    bool told_unfit; /* the same of tokens_are_unfit */
};

/* The place of a domain, made if it has none. KD_TOO_LARGE: no place is left;
 * KD_INVALID: no domain; KD_NOMEM. */
kd_err vault_org_place(struct vault *v, struct kd_slice domain, bool is_served,
                       size_t *place) KD_MUST_USE;

/* Takes the octets of a domain's current signet out of the buffer, which is empty then,
 * whether the domain is served or not: the next configuration may serve it.
 * KD_TOO_LARGE: one that is not served, and there is no room for more of those; the
 * buffer's own error. Not verified before the next refresh. */
kd_err vault_org_set(struct vault *v, struct kd_slice domain, uint32_t version,
                     struct kd_buf *signet) KD_MUST_USE;

/* Keeps of a domain's former signet what opening mail needs; octets are not kept.
 * Beyond VAULT_FORMERS_MAX of a domain those superseded first are forgotten.
 * KD_TOO_LARGE as above; KD_INVALID, KD_MALFORMED, KD_UNSUPPORTED: not an
 * organizational signet of that domain that holds by itself; KD_NOMEM. Used at the next
 * refresh. */
kd_err vault_org_former(struct vault *v, struct kd_slice domain, struct kd_slice signet,
                        uint64_t superseded_ms) KD_MUST_USE;

/* The current signet of the domain becomes a former one, superseded now; nothing if
 * there is none. */
void vault_org_supersede(struct vault *v, struct kd_slice domain, uint64_t now_ms);

/* Frees the place. */
void vault_org_free(struct vault_org *org);

/* Its name; borrowed. */
struct kd_slice vault_org_name(const struct vault_org *org);

/* Derives everything again from token and signets. */
void vault_keys_refresh(struct vault *v);

/* What front-ends may ask for in the domain of that index in the policy, and always in
 * vain, for want of a key: VAULT_WANTS_* of conf.h. 0 without a good signet: that is
 * another matter; while sealed: nobody knows. */
unsigned vault_lacks(const struct vault *v, size_t domain);

/* Says in the log which domains lack what, each once. */
void vault_tell_lacks(struct vault *v);

/* True if the organization has either of a user's two keys. */
bool vault_owns_key(const struct vault *v, const uint8_t sign_key[32],
                    const uint8_t enc_key[33]);

/* True if an Ed25519 key of the organization, in whatever role, is this one. */
bool vault_owns_sign_key(const struct vault *v, const uint8_t key[32]);

/* True if field 255 of an identified user signet is by a key of ours: since 255 covers
 * all else and is made only with it, the whole signet is then ours. */
bool vault_signed(const struct vault *v, size_t org_place, const struct dime_signet *s);

/* The key that signs user signets of the domain now, for this task: the first that
 * policy lets its caller have used and that can be asked now, or if none can the first.
 * KD_SEALED, KD_UNAVAILABLE if there is none at all, KD_DENIED if there is none for it.
 */
kd_err vault_signer(const struct task *t, size_t org_place,
                    struct kd_key_id *out) KD_MUST_USE;

/* --- messages --- */

/* An encryption key and the organizational signet that it stands in. */
struct vault_opener {
    struct kd_key_id id;
    uint8_t full[64], core[64];
    uint64_t superseded_ms; /* wall clock; 0: the current signet */
};

/* The key for mail to the organizational signet of that fingerprint, full or core
 * (D-111), NULL for the current one: a former one is found until key-retention after it
 * was superseded (D-079), under the configuration of the task. Uses no key.
 *   KD_SEALED
 *   KD_UNAVAILABLE  the domain has no good current signet, or (NULL) none that opens
 *   KD_NOT_FOUND    576: no such signet, or too long ago, or its key is not ours any
 *                   more
 *   KD_DENIED       policy does not let the task's caller have the key used */
kd_err vault_opener_find(const struct task *t, size_t org_place, const uint8_t *fp,
                         struct vault_opener *out) KD_MUST_USE;

/* The others that open now and that the caller may have used, each key once and none
 * that is first's: the current one, then the last superseded first. At most max. */
size_t vault_openers_beside(const struct task *t, size_t org_place,
                            const struct vault_opener *first, struct vault_opener *out,
                            size_t max);

/* Which role signs messages, as message-signer says. */
struct kd_domain_rules;
enum kd_key_role vault_mail_role(const struct kd_domain_rules *rules);

/* The key that signs messages of the domain now, for this task: a SOK, or the POK, as
 * message-signer says. Errors as vault_signer. */
kd_err vault_mail_signer(const struct task *t, size_t org_place,
                         struct kd_key_id *out) KD_MUST_USE;

/* The keys under which a message of the domain can have been signed, those of today
 * first: whatever state but revoked, whatever version of the signet. Borrowed until the
 * next refresh. */
size_t vault_mail_keys(const struct vault *v, size_t org_place,
                       const uint8_t (**keys)[DIME_ED25519_KEY_SIZE]);

/* The secp256k1 keys of the organization, in whatever state: no message's ephemeral key
 * is one of them (D-090). Borrowed until the next refresh. */
size_t vault_enc_keys(const struct vault *v,
                      const uint8_t (**keys)[DIME_SECP_KEY_SIZE]);

#endif
