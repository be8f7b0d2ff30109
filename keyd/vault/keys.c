#include "keys.h"
#include "vault.h"

#include <dime/ed25519.h>
#include <dime/fingerprint.h>
#include <dime/verify.h>
#include <keyd/base/clock.h>

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

/* What the domains have that are not served. */
struct unserved {
    size_t n, octets, formers;
};

static struct unserved
count_unserved(const struct vault *v)
{
    struct unserved u = {0};

    for (size_t i = 0; i < v->n_orgs; i++) {
        if (v->orgs[i]->was_served)
            continue;
        u.n++;
        u.octets += v->orgs[i]->size;
        u.formers += v->orgs[i]->n_formers;
    }
    return u;
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

static void
forget_derived(struct vault_org *org)
{
    org->verified = org->opens = false;
    org->n_signers = org->n_usable = 0;
    org->n_mail_signers = org->n_mail_usable = 0;
    for (size_t i = 0; i < org->n_formers; i++)
        org->formers[i].is_usable = false;
}

kd_err
vault_org_set(struct vault *v, struct kd_slice domain, uint32_t version,
              struct kd_buf *signet)
{
    size_t i, size;
    uint8_t *octets;
    kd_err err;

    bool is_new = find_place(v, domain, &i) != KD_OK;
    if (is_new || !v->orgs[i]->was_served) {
        struct unserved u = count_unserved(v);
        if ((is_new && u.n == VAULT_UNSERVED_MAX) ||
            signet->n > VAULT_UNSERVED_OCTETS_MAX - u.octets)
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
    forget_derived(org);
    return KD_OK;
}

void
vault_org_free(struct vault_org *org)
{
    if (org == NULL)
        return;
    free(org->octets);
    free(org->formers);
    free(org);
}

/* --- former signets --- */

static kd_err
read_former(struct kd_slice domain, struct kd_slice octets, struct vault_former *f)
{
    struct dime_signet signet;
    struct dime_verdict verdict;
    enum dime_reason why;
    kd_err err;

    if ((err = dime_signet_parse_as(DIME_ORG, octets, &signet, &why)) != KD_OK ||
        (err = dime_org_verify(&signet, NULL, 0, &verdict)) != KD_OK)
        return err;
    if (!verdict.bound || !kd_slice_eq(signet.identifier, domain))
        return KD_INVALID;
    memcpy(f->pok, signet.sign_key, sizeof f->pok);
    memcpy(f->enc_key, signet.enc_key, sizeof f->enc_key);
    if ((err = dime_fingerprint(&signet, DIME_PART_CORE, f->core)) != KD_OK)
        return err;
    return dime_fingerprint(&signet, DIME_PART_FULL, f->full);
}

/* The one that was superseded first. */
static struct vault_former *
oldest_former(const struct vault_org *org)
{
    struct vault_former *oldest = &org->formers[0];

    for (size_t i = 1; i < org->n_formers; i++)
        if (org->formers[i].superseded_ms < oldest->superseded_ms)
            oldest = &org->formers[i];
    return oldest;
}

/* A signet that was current more than once counts from its last time. */
static struct vault_former *
same_former(const struct vault_org *org, const uint8_t full[64])
{
    for (size_t i = 0; i < org->n_formers; i++)
        if (memcmp(org->formers[i].full, full, sizeof org->formers[i].full) == 0)
            return &org->formers[i];
    return NULL;
}

static kd_err
add_former(struct vault_org *org, const struct vault_former *f)
{
    struct vault_former *same = same_former(org, f->full);

    if (same != NULL) {
        if (same->superseded_ms < f->superseded_ms)
            same->superseded_ms = f->superseded_ms;
        return KD_OK;
    }
    if (org->n_formers == VAULT_FORMERS_MAX) {
        struct vault_former *oldest = oldest_former(org);
        if (oldest->superseded_ms < f->superseded_ms)
            *oldest = *f;
        return KD_OK;
    }
    struct vault_former *grown =
        reallocarray(org->formers, org->n_formers + 1, sizeof *grown);
    if (grown == NULL)
        return KD_NOMEM;
    org->formers = grown;
    org->formers[org->n_formers++] = *f;
    return KD_OK;
}

kd_err
vault_org_former(struct vault *v, struct kd_slice domain, struct kd_slice signet,
                 uint64_t superseded_ms)
{
    struct vault_former f = {.superseded_ms = superseded_ms};
    size_t i;
    kd_err err;

    bool is_new = find_place(v, domain, &i) != KD_OK;
    if (is_new || !v->orgs[i]->was_served) {
        struct unserved u = count_unserved(v);
        if ((is_new && u.n == VAULT_UNSERVED_MAX) ||
            u.formers >= VAULT_UNSERVED_FORMERS_MAX)
            return KD_TOO_LARGE;
    }
    if ((err = read_former(domain, signet, &f)) != KD_OK ||
        (err = vault_org_place(v, domain, false, &i)) != KD_OK)
        return err;
    return add_former(v->orgs[i], &f);
}

void
vault_org_supersede(struct vault *v, struct kd_slice domain, uint64_t now_ms)
{
    size_t i;

    if (find_place(v, domain, &i) != KD_OK || v->orgs[i]->octets == NULL)
        return;
    /* One that never held opened nothing either; without memory what it opens waits
     * for the next start. */
    kd_ignore(vault_org_former(v, domain,
                               kd_slice(v->orgs[i]->octets, v->orgs[i]->size), now_ms));
}

/* --- derived --- */

static void
add_own(struct vault *v, const struct kd_key_info *info)
{
    size_t skip = info->alg == KD_ALG_SECP256K1 ? 1 : 0;

    if (info->public_size != 32 + skip || v->n_own == VAULT_KEYS_MAX)
        return; /* RSA: no user can have one */
    struct vault_own_key *k = &v->own[v->n_own++];
    k->alg = info->alg;
    memcpy(k->key, info->public_key + skip, 32);
    if (info->alg == KD_ALG_SECP256K1)
        memcpy(v->own_enc[v->n_own_enc++], info->public_key, sizeof v->own_enc[0]);
}

static bool
signs_users(const struct kd_key_info *info)
{
    return info->role == KD_KEY_ROLE_POK ||
           (info->role == KD_KEY_ROLE_SOK && (info->permissions & KD_PERM_SIGNET) != 0);
}

/* The key that is used now is the one to try first. */
static void
put_first(uint8_t keys[][DIME_ED25519_KEY_SIZE], size_t n)
{
    uint8_t first[DIME_ED25519_KEY_SIZE];

    memcpy(first, keys[0], sizeof first);
    memcpy(keys[0], keys[n - 1], sizeof first);
    memcpy(keys[n - 1], first, sizeof first);
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
    if (org->n_usable == 1)
        put_first(org->signers, org->n_signers);
}

/* Which of the two kinds signs is the configuration's to say, so a POK is none but as
 * the signet's own, and a SOK none but as one of its list. */
static bool
may_sign_mail(const struct kd_key_info *info, const struct dime_signet *signet)
{
    bool is_pok =
        memcmp(info->public_key, signet->sign_key, DIME_ED25519_KEY_SIZE) == 0;

    return kd_key_allows(info, KD_SIGN_MESSAGE) == KD_OK &&
           is_pok == (info->role == KD_KEY_ROLE_POK) &&
           dime_org_permits(signet, info->public_key, DIME_PERM_MESSAGES);
}

static void
add_mail_signer(struct vault_org *org, const struct kd_key_info *info,
                const struct dime_signet *signet)
{
    bool signs = (info->role == KD_KEY_ROLE_POK || info->role == KD_KEY_ROLE_SOK) &&
                 (info->permissions & KD_PERM_MESSAGE) != 0;

    if (!signs || info->state == KD_KEY_REVOKED ||
        org->n_mail_signers == VAULT_SIGNERS_MAX)
        return;
    memcpy(org->mail_signers[org->n_mail_signers++], info->public_key,
           DIME_ED25519_KEY_SIZE);
    if (org->n_mail_usable == VAULT_USABLE_MAX || !may_sign_mail(info, signet))
        return;
    org->mail_usable[org->n_mail_usable++] =
        (struct vault_usable){info->id, info->role};
    if (org->n_mail_usable == 1)
        put_first(org->mail_signers, org->n_mail_signers);
}

static bool
in_domain(const struct kd_key_info *info, struct kd_slice domain)
{
    return kd_slice_eq(kd_slice(info->domain, info->domain_size), domain);
}

/* True and *id if the encryption key of a signet is one of the domain's that opens. */
static bool
find_opener(struct vault *v, struct kd_slice domain,
            const uint8_t enc_key[DIME_SECP_KEY_SIZE], struct kd_key_id *id)
{
    struct kd_key_info info;

    *id = kd_key_id(KD_ALG_SECP256K1, kd_slice(enc_key, DIME_SECP_KEY_SIZE));
    return kd_token_get(v->token, id, &info) == KD_OK &&
           kd_key_agrees(&info) == KD_OK && in_domain(&info, domain);
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
    if ((err = dime_fingerprint(signet, DIME_PART_CORE, org->core)) != KD_OK)
        return err;
    return dime_fingerprint(signet, DIME_PART_FULL, org->full);
}

static void
refresh_formers(struct vault *v, struct vault_org *org)
{
    struct kd_slice domain = vault_org_name(org);
    uint8_t poks[VAULT_SIGNERS_MAX][DIME_ED25519_KEY_SIZE];
    size_t n =
        org->n_formers == 0 ? 0 : trusted_poks(v, domain, poks, VAULT_SIGNERS_MAX);

    for (size_t i = 0; i < org->n_formers; i++) {
        struct vault_former *f = &org->formers[i];
        bool is_trusted = false;
        for (size_t k = 0; k < n; k++)
            is_trusted |= memcmp(f->pok, poks[k], sizeof f->pok) == 0;
        f->is_usable = is_trusted && find_opener(v, domain, f->enc_key, &f->id);
    }
}

static void
refresh_org(struct vault *v, size_t i)
{
    struct vault_org *org = v->orgs[i];
    struct kd_slice domain = vault_org_name(org);
    struct dime_signet signet;
    struct kd_key_info info;

    forget_derived(org);
    if (org->octets == NULL || v->token == NULL)
        return;
    kd_err err = verify_org(v, org, domain, &signet);
    if (err != KD_OK) {
        if (org->was_served)
            vault_event_of(v, EVENT_ORG_BAD, domain, KD_OP_NONE, err);
        return;
    }
    org->verified = true;
    org->opens = find_opener(v, domain, signet.enc_key, &org->opener);
    for (size_t k = 0; kd_token_at(v->token, k, &info) == KD_OK; k++) {
        if (!in_domain(&info, domain))
            continue;
        add_signer(org, &info, &signet);
        add_mail_signer(org, &info, &signet);
    }
    refresh_formers(v, org);
}

void
vault_keys_refresh(struct vault *v)
{
    struct kd_key_info info;

    v->n_own = v->n_own_enc = 0;
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
    vault_tell_lacks(v);
    approvals_refresh(v);
}

enum kd_key_role
vault_mail_role(const struct kd_domain_rules *rules)
{
    return rules->message_signer == KD_MESSAGE_SIGNER_POK ? KD_KEY_ROLE_POK
                                                          : KD_KEY_ROLE_SOK;
}

static bool
signs_mail(const struct vault_org *org, const struct kd_domain_rules *rules)
{
    for (size_t i = 0; i < org->n_mail_usable; i++)
        if (org->mail_usable[i].role == vault_mail_role(rules))
            return true;
    return false;
}

unsigned
vault_lacks(const struct vault *v, size_t domain)
{
    const struct vault_conf *c = v->conf;
    const struct vault_org *org = v->orgs[c->orgs[domain]];
    unsigned has = 0;

    if (!org->verified)
        return 0;
    if (signs_mail(org, &c->is.rules[domain]))
        has |= VAULT_WANTS_SIGNER;
    if (org->opens)
        has |= VAULT_WANTS_OPENER;
    return c->wants[domain] & ~has;
}

static void
tell_unfit(struct vault *v, size_t domain)
{
    struct vault_org *org = v->orgs[v->conf->orgs[domain]];
    uint64_t limit = 0;
    bool is_unfit = tokens_are_unfit(v, v->conf, domain, &limit);

    if (is_unfit && !org->told_unfit)
        vault_event_about(v, EVENT_TOKEN_UNFIT, vault_org_name(org), limit, 0);
    org->told_unfit = is_unfit;
}

void
vault_tell_lacks(struct vault *v)
{
    for (size_t i = 0; i < kd_policy_n_domains(v->conf->is.policy); i++) {
        struct vault_org *org = v->orgs[v->conf->orgs[i]];
        unsigned lacks = vault_lacks(v, i), fresh = lacks & ~(unsigned)org->told;

        if ((fresh & VAULT_WANTS_SIGNER) != 0)
            vault_event_of(v, EVENT_NO_MESSAGE_KEY, vault_org_name(org), KD_OP_NONE, 0);
        if ((fresh & VAULT_WANTS_OPENER) != 0)
            vault_event_of(v, EVENT_NO_OPENING_KEY, vault_org_name(org), KD_OP_NONE, 0);
        org->told = (uint8_t)lacks;
        tell_unfit(v, i);
    }
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

static bool
may_use(const struct task *t, enum kd_key_role role, const struct kd_key_id *id)
{
    return task_is_internal(t) || kd_policy_check_key(t->conf->is.policy, &t->caller,
                                                      role, id->octets) == KD_OK;
}

/* The first of the keys is taken that can be asked now, or the first if none can: it
 * may be in a token that is away. True: no other is to be offered. */
static bool
offer(const struct task *t, const struct kd_key_id *id, struct kd_key_id *out,
      bool *is_found)
{
    bool is_usable = kd_token_usable(t->vault->token, id) == KD_OK;

    if (is_usable || !*is_found)
        *out = *id;
    *is_found = true;
    return is_usable;
}

kd_err
vault_signer(const struct task *t, size_t org_place, struct kd_key_id *out)
{
    const struct vault_org *org = t->vault->orgs[org_place];
    bool is_found = false;

    if (t->vault->token == NULL)
        return KD_SEALED;
    if (!org->verified || org->n_usable == 0)
        return KD_UNAVAILABLE;
    for (size_t i = 0; i < org->n_usable; i++) {
        const struct vault_usable *k = &org->usable[i];
        if (!may_use(t, k->role, &k->id))
            continue;
        if (offer(t, &k->id, out, &is_found))
            return KD_OK;
    }
    return is_found ? KD_OK : KD_DENIED;
}

/* --- messages --- */

kd_err
vault_mail_signer(const struct task *t, size_t org_place, struct kd_key_id *out)
{
    const struct vault_org *org = t->vault->orgs[org_place];
    const struct kd_domain_rules *rules;
    bool is_there = false, is_found = false;
    size_t place;

    if (t->vault->token == NULL)
        return KD_SEALED;
    if (!org->verified || vault_serves(t, vault_org_name(org), &place, &rules) != KD_OK)
        return KD_UNAVAILABLE;
    enum kd_key_role role = vault_mail_role(rules);
    for (size_t i = 0; i < org->n_mail_usable; i++) {
        const struct vault_usable *k = &org->mail_usable[i];
        if (k->role != role)
            continue;
        is_there = true;
        if (!may_use(t, k->role, &k->id))
            continue;
        if (offer(t, &k->id, out, &is_found))
            return KD_OK;
    }
    if (is_found)
        return KD_OK;
    return is_there ? KD_DENIED : KD_UNAVAILABLE;
}

size_t
vault_mail_keys(const struct vault *v, size_t org_place,
                const uint8_t (**keys)[DIME_ED25519_KEY_SIZE])
{
    const struct vault_org *org = v->orgs[org_place];

    *keys = (const uint8_t(*)[DIME_ED25519_KEY_SIZE])org->mail_signers;
    return org->n_mail_signers;
}

size_t
vault_enc_keys(const struct vault *v, const uint8_t (**keys)[DIME_SECP_KEY_SIZE])
{
    *keys = (const uint8_t(*)[DIME_SECP_KEY_SIZE])v->own_enc;
    return v->n_own_enc;
}

static void
current_opener(const struct vault_org *org, struct vault_opener *out)
{
    *out = (struct vault_opener){.id = org->opener};
    memcpy(out->full, org->full, sizeof out->full);
    memcpy(out->core, org->core, sizeof out->core);
}

static void
former_opener(const struct vault_former *f, struct vault_opener *out)
{
    *out = (struct vault_opener){.id = f->id, .superseded_ms = f->superseded_ms};
    memcpy(out->full, f->full, sizeof out->full);
    memcpy(out->core, f->core, sizeof out->core);
}

static bool
has_fp(const uint8_t full[64], const uint8_t core[64], const uint8_t *fp)
{
    return memcmp(full, fp, 64) == 0 || memcmp(core, fp, 64) == 0;
}

/* Superseded so lately that it opens still. A clock that was put back ends nothing. */
static bool
is_retained(const struct vault_former *f, uint32_t retention_s, int64_t now_ms)
{
    uint64_t now = now_ms > 0 ? (uint64_t)now_ms : 0;

    return f->is_usable && (now <= f->superseded_ms ||
                            now - f->superseded_ms <= (uint64_t)retention_s * 1000);
}

/* Several signets may have one core: the last superseded counts. */
static const struct vault_former *
find_former(const struct vault_org *org, const uint8_t *fp, uint32_t retention_s)
{
    const struct vault_former *found = NULL;
    int64_t now = kd_clock_wall_ms();

    for (size_t i = 0; i < org->n_formers; i++) {
        const struct vault_former *f = &org->formers[i];
        if (has_fp(f->full, f->core, fp) && is_retained(f, retention_s, now) &&
            (found == NULL || found->superseded_ms < f->superseded_ms))
            found = f;
    }
    return found;
}

kd_err
vault_opener_find(const struct task *t, size_t org_place, const uint8_t *fp,
                  struct vault_opener *out)
{
    const struct vault_org *org = t->vault->orgs[org_place];
    const struct kd_domain_rules *rules;
    const struct vault_former *former;
    struct vault_opener o;
    size_t place;

    if (t->vault->token == NULL)
        return KD_SEALED;
    if (!org->verified || vault_serves(t, vault_org_name(org), &place, &rules) != KD_OK)
        return KD_UNAVAILABLE;
    if (fp == NULL && !org->opens)
        return KD_UNAVAILABLE;
    if (org->opens && (fp == NULL || has_fp(org->full, org->core, fp)))
        current_opener(org, &o);
    else if ((former = find_former(org, fp, rules->key_retention)) != NULL)
        former_opener(former, &o);
    else
        return KD_NOT_FOUND;
    if (!may_use(t, KD_KEY_ROLE_ENC, &o.id))
        return KD_DENIED;
    *out = o;
    return KD_OK;
}

static bool
is_among(const struct kd_key_id *id, const struct vault_opener *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&list[i].id, id, sizeof *id) == 0)
            return true;
    return false;
}

size_t
vault_openers_beside(const struct task *t, size_t org_place,
                     const struct vault_opener *first, struct vault_opener *out,
                     size_t max)
{
    const struct vault_org *org = t->vault->orgs[org_place];
    const struct kd_domain_rules *rules;
    int64_t now = kd_clock_wall_ms();
    size_t place, n = 0;

    if (t->vault->token == NULL || !org->verified ||
        vault_serves(t, vault_org_name(org), &place, &rules) != KD_OK)
        return 0;
    if (max > 0 && org->opens && !is_among(&org->opener, first, 1) &&
        may_use(t, KD_KEY_ROLE_ENC, &org->opener))
        current_opener(org, &out[n++]);
    while (n < max) {
        const struct vault_former *best = NULL;
        for (size_t i = 0; i < org->n_formers; i++) {
            const struct vault_former *f = &org->formers[i];
            if (is_retained(f, rules->key_retention, now) &&
                !is_among(&f->id, first, 1) && !is_among(&f->id, out, n) &&
                may_use(t, KD_KEY_ROLE_ENC, &f->id) &&
                (best == NULL || best->superseded_ms < f->superseded_ms))
                best = f;
        }
        if (best == NULL)
            break;
        former_opener(best, &out[n++]);
    }
    return n;
}
