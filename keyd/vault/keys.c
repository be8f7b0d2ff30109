#include "keys.h"
#include "vault.h"

#include <dime/ed25519.h>
#include <dime/fingerprint.h>
#include <dime/verify.h>

#include <stdlib.h>

struct kd_slice
vault_org_name(const struct vault_org *org)
{
    return kd_slice(org->name, org->name_size);
}

/* KD_NOT_FOUND if it has none. Not often: when a configuration or a signet comes. */
static kd_err
find_place(const struct vault *v, struct kd_slice domain, size_t *place)
{
    for (size_t i = 0; i < v->n_orgs; i++) {
        if (kd_slice_eq(vault_org_name(v->orgs[i]), domain)) {
            *place = i;
            return KD_OK;
        }
    }
    return KD_NOT_FOUND;
}

static size_t
count_unserved(const struct vault *v, size_t *octets)
{
    size_t n = 0;

    *octets = 0;
    for (size_t i = 0; i < v->n_orgs; i++) {
        if (v->orgs[i]->was_served)
            continue;
        n++;
        *octets += v->orgs[i]->size;
    }
    return n;
}

kd_err
vault_org_place(struct vault *v, struct kd_slice domain, bool is_served, size_t *place)
{
    struct vault_org *org;

    if (find_place(v, domain, place) == KD_OK) {
        v->orgs[*place]->was_served |= is_served;
        return KD_OK;
    }
    if (!kd_domain_is_valid(domain))
        return KD_INVALID;
    if (v->n_orgs == VAULT_ORGS_MAX)
        return KD_TOO_LARGE;
    if ((org = calloc(1, sizeof *org)) == NULL)
        return KD_NOMEM;
    memcpy(org->name, domain.p, domain.n);
    org->name_size = (uint8_t)domain.n;
    org->was_served = is_served;
    *place = v->n_orgs;
    v->orgs[v->n_orgs++] = org;
    return KD_OK;
}

kd_err
vault_org_set(struct vault *v, struct kd_slice domain, uint32_t version,
              struct kd_buf *signet)
{
    size_t i, unserved, size;
    uint8_t *octets;
    kd_err err;

    bool is_new = find_place(v, domain, &i) != KD_OK;
    if (is_new || !v->orgs[i]->was_served) {
        size_t n = count_unserved(v, &unserved);
        if ((is_new && n == VAULT_UNSERVED_MAX) ||
            signet->n > VAULT_UNSERVED_OCTETS_MAX - unserved)
            return KD_TOO_LARGE;
    }
    if ((err = vault_org_place(v, domain, false, &i)) != KD_OK ||
        (err = kd_buf_take(signet, &octets, &size)) != KD_OK)
        return err;
    struct vault_org *org = v->orgs[i];
    free(org->octets);
    org->octets = octets;
    org->size = size;
    org->version = version;
    org->verified = false;
    org->n_signers = org->n_usable = 0;
    return KD_OK;
}

static void
add_own(struct vault *v, const struct kd_key_info *info)
{
    size_t skip = info->alg == KD_ALG_SECP256K1 ? 1 : 0;

    if (info->public_size != 32 + skip || v->n_own == VAULT_KEYS_MAX)
        return; /* RSA: no user can have one */
    struct vault_own_key *k = &v->own[v->n_own++];
    k->alg = info->alg;
    memcpy(k->key, info->public_key + skip, 32);
}

static bool
signs_users(const struct kd_key_info *info)
{
    return info->role == KD_KEY_ROLE_POK ||
           (info->role == KD_KEY_ROLE_SOK && (info->permissions & KD_PERM_SIGNET) != 0);
}

static void
add_signer(struct vault_org *org, const struct kd_key_info *info,
           const struct dime_signet *signet)
{
    if (!signs_users(info) || info->state == KD_KEY_REVOKED ||
        org->n_signers == VAULT_SIGNERS_MAX)
        return;
    uint8_t(*at)[DIME_ED25519_KEY_SIZE] = &org->signers[org->n_signers++];
    memcpy(*at, info->public_key, sizeof *at);
    if (org->n_usable == VAULT_USABLE_MAX ||
        kd_key_allows(info, KD_SIGN_USER_SIGNET) != KD_OK ||
        !dime_org_permits(signet, info->public_key, DIME_PERM_USERS))
        return;
    org->usable[org->n_usable++] = (struct vault_usable){info->id, info->role};
    if (org->n_usable > 1)
        return;
    /* The one in use is the one to try first. */
    uint8_t first[DIME_ED25519_KEY_SIZE];
    memcpy(first, org->signers[0], sizeof first);
    memcpy(org->signers[0], *at, sizeof first);
    memcpy(*at, first, sizeof first);
}

static bool
in_domain(const struct kd_key_info *info, struct kd_slice domain)
{
    return kd_slice_eq(kd_slice(info->domain, info->domain_size), domain);
}

/* The POKs of the domain that may still be believed. */
static size_t
trusted_poks(struct vault *v, struct kd_slice domain,
             uint8_t out[][DIME_ED25519_KEY_SIZE], size_t max)
{
    struct kd_key_info info;
    size_t n = 0;

    for (size_t i = 0; n < max && kd_token_at(v->token, i, &info) == KD_OK; i++)
        if (info.role == KD_KEY_ROLE_POK && info.state != KD_KEY_REVOKED &&
            in_domain(&info, domain))
            memcpy(out[n++], info.public_key, DIME_ED25519_KEY_SIZE);
    return n;
}

static kd_err
verify_org(struct vault *v, struct vault_org *org, struct kd_slice domain,
           struct dime_signet *signet)
{
    uint8_t poks[VAULT_SIGNERS_MAX][DIME_ED25519_KEY_SIZE];
    struct dime_verdict verdict;
    enum dime_reason why;
    kd_err err;

    err =
        dime_signet_parse_as(DIME_ORG, kd_slice(org->octets, org->size), signet, &why);
    if (err != KD_OK)
        return err;
    size_t n = trusted_poks(v, domain, poks, VAULT_SIGNERS_MAX);
    if (n == 0)
        return KD_NOT_FOUND;
    if ((err = dime_org_verify(signet, (const uint8_t(*)[32])poks, n, &verdict)) !=
        KD_OK)
        return err;
    if (!verdict.bound || !kd_slice_eq(signet->identifier, domain))
        return KD_INVALID;
    return dime_fingerprint(signet, DIME_PART_FULL, org->full);
}

static void
refresh_org(struct vault *v, size_t i)
{
    struct vault_org *org = v->orgs[i];
    struct kd_slice domain = vault_org_name(org);
    struct dime_signet signet;
    struct kd_key_info info;

    org->verified = false;
    org->n_signers = org->n_usable = 0;
    if (org->octets == NULL || v->token == NULL)
        return;
    kd_err err = verify_org(v, org, domain, &signet);
    if (err != KD_OK) {
        if (org->was_served)
            vault_event_of(v, EVENT_ORG_BAD, domain, KD_OP_NONE, err);
        return;
    }
    org->verified = true;
    for (size_t k = 0; kd_token_at(v->token, k, &info) == KD_OK; k++)
        if (in_domain(&info, domain))
            add_signer(org, &info, &signet);
}

void
vault_keys_refresh(struct vault *v)
{
    struct kd_key_info info;

    v->n_own = 0;
    v->has_audit = false;
    for (size_t i = 0; v->token != NULL && kd_token_at(v->token, i, &info) == KD_OK;
         i++) {
        add_own(v, &info);
        if (info.role == KD_KEY_ROLE_AUDIT && info.state == KD_KEY_ACTIVE) {
            v->has_audit = true;
            v->audit = info.id;
            memcpy(v->audit_key, info.public_key, sizeof v->audit_key);
        }
    }
    for (size_t i = 0; i < v->n_orgs; i++)
        refresh_org(v, i);
    approvals_refresh(v);
}

bool
vault_owns_key(const struct vault *v, const uint8_t sign_key[32],
               const uint8_t enc_key[33])
{
    for (size_t i = 0; i < v->n_own; i++) {
        const struct vault_own_key *k = &v->own[i];
        const uint8_t *theirs = k->alg == KD_ALG_ED25519 ? sign_key : enc_key + 1;
        if (memcmp(k->key, theirs, 32) == 0)
            return true;
    }
    return false;
}

bool
vault_owns_sign_key(const struct vault *v, const uint8_t key[32])
{
    for (size_t i = 0; i < v->n_own; i++)
        if (v->own[i].alg == KD_ALG_ED25519 && memcmp(v->own[i].key, key, 32) == 0)
            return true;
    return false;
}

bool
vault_signed(const struct vault *v, size_t org_place, const struct dime_signet *s)
{
    const struct vault_org *org = v->orgs[org_place];
    struct kd_slice covered = dime_signet_covered(s, DIME_FIELD_IDENTIFIED_SIGNATURE);
    const uint8_t *sig = dime_signet_signature(s, DIME_FIELD_IDENTIFIED_SIGNATURE);

    for (size_t i = 0; sig != NULL && i < org->n_signers; i++)
        if (dime_ed25519_verify_trusted_key(org->signers[i], covered, sig) == KD_OK)
            return true;
    return false;
}

kd_err
vault_signer(const struct task *t, size_t org_place, struct kd_key_id *out)
{
    const struct vault_org *org = t->vault->orgs[org_place];

    if (t->vault->token == NULL)
        return KD_SEALED;
    if (!org->verified || org->n_usable == 0)
        return KD_UNAVAILABLE;
    for (size_t i = 0; i < org->n_usable; i++) {
        const struct vault_usable *k = &org->usable[i];
        if (!task_is_internal(t) && kd_policy_check_key(t->conf->is.policy, &t->caller,
                                                        k->role, k->id.octets) != KD_OK)
            continue;
        *out = k->id;
        return KD_OK;
    }
    return KD_DENIED;
}
