#include <dime/ed25519.h>
#include <dime/identifier.h>
#include <dime/verify.h>

/* Keys of a parsed signet were found valid by the parser, so only the equation is left
 * to check. */
static bool
is_signed_by(const uint8_t key[DIME_ED25519_KEY_SIZE], const struct dime_signet *s,
             uint8_t type)
{
    const uint8_t *sig = dime_signet_signature(s, type);

    return sig != NULL && dime_ed25519_verify_trusted_key(
                              key, dime_signet_covered(s, type), sig) == KD_OK;
}

static bool
has(const struct dime_signet *s, uint8_t type)
{
    return s->first[type] != 0;
}

/* Of what does not hold, nothing else is said. */
static kd_err
conclude(struct dime_verdict *v, enum dime_reason why)
{
    if (why != DIME_FINE)
        *v = (struct dime_verdict){.signer = DIME_SIGNER_NONE};
    v->why = why;
    v->holds = why == DIME_FINE;
    return dime_reason_err(why);
}

static bool
may(const struct dime_sok *sok, uint8_t perm)
{
    return sok->authorised && (sok->perms & perm) == perm;
}

size_t
dime_org_keys(const struct dime_signet *org, uint8_t perm,
              uint8_t out[DIME_SOKS_MAX + 1][DIME_ED25519_KEY_SIZE])
{
    size_t n = 0;

    if (org->kind != DIME_ORG || perm == 0)
        return 0;
    memcpy(out[n++], org->sign_key, DIME_ED25519_KEY_SIZE);
    for (size_t i = 0; i < org->n_soks; i++)
        if (may(&org->soks[i], perm))
            memcpy(out[n++], org->soks[i].key, DIME_ED25519_KEY_SIZE);
    return n;
}

bool
dime_org_permits(const struct dime_signet *org,
                 const uint8_t key[DIME_ED25519_KEY_SIZE], uint8_t perm)
{
    if (org->kind != DIME_ORG || perm == 0)
        return false;
    if (memcmp(key, org->sign_key, DIME_ED25519_KEY_SIZE) == 0)
        return true;
    for (size_t i = 0; i < org->n_soks; i++)
        if (may(&org->soks[i], perm) &&
            memcmp(key, org->soks[i].key, DIME_ED25519_KEY_SIZE) == 0)
            return true;
    return false;
}

int
dime_org_signer(const struct dime_signet *org, uint8_t perm, struct kd_slice message,
                const uint8_t sig[DIME_SIG_SIZE])
{
    if (dime_ed25519_verify_trusted_key(org->sign_key, message, sig) == KD_OK)
        return DIME_SIGNER_POK;
    for (size_t i = 0; i < org->n_soks; i++) {
        const struct dime_sok *sok = &org->soks[i];
        if (may(sok, perm) &&
            dime_ed25519_verify_trusted_key(sok->key, message, sig) == KD_OK)
            return (int)i;
    }
    return DIME_SIGNER_NONE;
}

static enum dime_reason
check_anchor(const struct dime_signet *org,
             const uint8_t (*trusted)[DIME_ED25519_KEY_SIZE], size_t n, bool *anchored)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(trusted[i], org->sign_key, DIME_ED25519_KEY_SIZE) == 0)
            *anchored = true;
    }
    return n == 0 || *anchored ? DIME_FINE : DIME_NOT_ANCHORED;
}

static enum dime_reason
check_org_signatures(const struct dime_signet *org)
{
    const uint8_t *pok = org->sign_key;

    if (has(org, DIME_ORG_SELF_SIGNATURE) &&
        !is_signed_by(pok, org, DIME_ORG_SELF_SIGNATURE))
        return DIME_BAD_SELF_SIGNATURE;
    if (org->part >= DIME_PART_FULL &&
        !is_signed_by(pok, org, DIME_FIELD_FULL_SIGNATURE))
        return DIME_BAD_FULL_SIGNATURE;
    if (org->part == DIME_PART_IDENTIFIED &&
        !is_signed_by(pok, org, DIME_FIELD_IDENTIFIED_SIGNATURE))
        return DIME_BAD_IDENTIFIED_SIGNATURE;
    return DIME_FINE;
}

kd_err
dime_org_verify(const struct dime_signet *org,
                const uint8_t (*trusted)[DIME_ED25519_KEY_SIZE], size_t n,
                struct dime_verdict *v)
{
    enum dime_reason why;

    *v = (struct dime_verdict){.signer = DIME_SIGNER_NONE};
    if (org->kind != DIME_ORG)
        return conclude(v, DIME_WRONG_KIND);
    if ((why = check_anchor(org, trusted, n, &v->anchored)) != DIME_FINE ||
        (why = check_org_signatures(org)) != DIME_FINE)
        return conclude(v, why);
    if (org->part == DIME_PART_IDENTIFIED) {
        if (!dime_identifier_is_domain(org->identifier))
            return conclude(v, DIME_IDENTIFIER_FORM);
        v->bound = true;
    }
    return conclude(v, DIME_FINE);
}

/* Field 5, and field 4 under the predecessor's key. With the same link field 4 is by
 * the key before that one, and was checked when the link was new (D-073). */
static enum dime_reason
check_user_signatures(const struct dime_signet *s, const struct dime_signet *prev,
                      struct dime_verdict *v)
{
    if (!is_signed_by(s->sign_key, s, DIME_USER_USER_SIGNATURE))
        return DIME_BAD_USER_SIGNATURE;
    if (prev == NULL)
        return DIME_FINE;
    if (prev->kind == DIME_ORG)
        return DIME_WRONG_KIND;
    v->same_link = dime_signet_same_link(s, prev);
    if (v->same_link)
        return DIME_FINE;
    if (!has(s, DIME_USER_CUSTODY))
        return DIME_CHAIN_BROKEN;
    if (!is_signed_by(prev->sign_key, s, DIME_USER_CUSTODY))
        return DIME_BAD_CUSTODY;
    v->chained = true;
    return DIME_FINE;
}

static int
user_signer(const struct dime_signet *user, const struct dime_signet *org, uint8_t type)
{
    const uint8_t *sig = dime_signet_signature(user, type);

    if (sig == NULL)
        return DIME_SIGNER_NONE;
    return dime_org_signer(org, DIME_PERM_USERS, dime_signet_covered(user, type), sig);
}

static enum dime_reason
check_org_made(const struct dime_signet *user, const struct dime_signet *org,
               struct dime_verdict *v)
{
    v->signer = user_signer(user, org, DIME_USER_ORG_SIGNATURE);
    if (v->signer == DIME_SIGNER_NONE)
        return DIME_BAD_ORG_SIGNATURE;
    if (user->part >= DIME_PART_FULL &&
        user_signer(user, org, DIME_FIELD_FULL_SIGNATURE) == DIME_SIGNER_NONE)
        return DIME_BAD_FULL_SIGNATURE;
    if (user->part == DIME_PART_IDENTIFIED &&
        user_signer(user, org, DIME_FIELD_IDENTIFIED_SIGNATURE) == DIME_SIGNER_NONE)
        return DIME_BAD_IDENTIFIED_SIGNATURE;
    return DIME_FINE;
}

/* D-069: an organization speaks for addresses of its own domain only. */
static enum dime_reason
check_user_identifier(const struct dime_signet *user, const struct dime_signet *org)
{
    if (!dime_identifier_is_address(user->identifier))
        return DIME_IDENTIFIER_FORM;
    if (org->part != DIME_PART_IDENTIFIED)
        return DIME_ORG_UNBOUND;
    if (!kd_slice_eq(dime_identifier_domain(user->identifier), org->identifier))
        return DIME_OTHER_DOMAIN;
    return DIME_FINE;
}

kd_err
dime_user_verify(const struct dime_signet *user, const struct dime_signet *org,
                 const struct dime_signet *prev, struct dime_verdict *v)
{
    enum dime_reason why;

    *v = (struct dime_verdict){.signer = DIME_SIGNER_NONE};
    if (user->kind != DIME_USER || (org != NULL && org->kind != DIME_ORG))
        return conclude(v, DIME_WRONG_KIND);
    if ((why = check_user_signatures(user, prev, v)) != DIME_FINE)
        return conclude(v, why);
    if (org == NULL)
        return conclude(v, DIME_NO_ANCHOR);
    if ((why = check_org_made(user, org, v)) != DIME_FINE)
        return conclude(v, why);
    if (user->part == DIME_PART_IDENTIFIED) {
        if ((why = check_user_identifier(user, org)) != DIME_FINE)
            return conclude(v, why);
        v->bound = true;
    }
    return conclude(v, DIME_FINE);
}

kd_err
dime_custody_verify(const struct dime_signet *user, const struct dime_signet *prev,
                    struct dime_verdict *v)
{
    *v = (struct dime_verdict){.signer = DIME_SIGNER_NONE};
    if (user->kind != DIME_USER)
        return conclude(v, DIME_WRONG_KIND);
    return conclude(v, check_user_signatures(user, prev, v));
}

kd_err
dime_ssr_verify(const struct dime_signet *ssr, const struct dime_signet *prev,
                struct dime_verdict *v)
{
    *v = (struct dime_verdict){.signer = DIME_SIGNER_NONE};
    if (ssr->kind != DIME_SSR)
        return conclude(v, DIME_WRONG_KIND);
    return conclude(v, check_user_signatures(ssr, prev, v));
}
