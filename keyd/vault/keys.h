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
    VAULT_UNSERVED_OCTETS_MAX = 64 * 1024 * 1024 /* of their signets */
};

/* A public key of ours: Ed25519, or the x coordinate of a secp256k1 key (ECDH uses
 * only x, so 02x and 03x are one key). */
struct vault_own_key {
    enum kd_key_alg alg;
    uint8_t key[32];
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
    uint8_t full[64];
    /* Active keys that the signet permits to sign users, in the token's order. */
    size_t n_usable;
    struct vault_usable {
        struct kd_key_id id;
        enum kd_key_role role;
    } usable[VAULT_USABLE_MAX];
    /* Keys under which a user signet of this domain can have been made: our POKs and
     * SOKs with the bit, in whatever state but revoked; the first usable one first. */
    size_t n_signers;
    uint8_t signers[VAULT_SIGNERS_MAX][DIME_ED25519_KEY_SIZE];
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

/* Its name; borrowed. */
struct kd_slice vault_org_name(const struct vault_org *org);

/* Derives everything again from token and signets. */
void vault_keys_refresh(struct vault *v);

/* True if the organization has either of a user's two keys. */
bool vault_owns_key(const struct vault *v, const uint8_t sign_key[32],
                    const uint8_t enc_key[33]);

/* True if an Ed25519 key of the organization, in whatever role, is this one. */
bool vault_owns_sign_key(const struct vault *v, const uint8_t key[32]);

/* True if field 255 of an identified user signet is by a key of ours: since 255 covers
 * all else and is made only with it, the whole signet is then ours. */
bool vault_signed(const struct vault *v, size_t org_place, const struct dime_signet *s);

/* The key that signs user signets of the domain now, for this task: the first that
 * policy lets its caller have used. KD_SEALED, KD_UNAVAILABLE if there is none at all,
 * KD_DENIED if there is none for it. */
kd_err vault_signer(const struct task *t, size_t org_place,
                    struct kd_key_id *out) KD_MUST_USE;

#endif
