#include "signets.h"

static bool
is_org(enum signet_role role)
{
    return role == SIGNET_ORIGIN || role == SIGNET_DESTINATION;
}

const struct dime_signet *
signets_get(const struct signets *s, enum signet_role role)
{
    return s->has[role] ? &s->objects[role].signet : NULL;
}

/* Of a user's signet: its organization's. */
static const struct dime_signet *
organization_of(const struct signets *s, enum signet_role role)
{
    return signets_get(s, role == SIGNET_AUTHOR ? SIGNET_ORIGIN : SIGNET_DESTINATION);
}

/* By the keys that are trusted for this domain: one domain's must not speak for
 * another. */
static kd_err
verify_org(struct signets *s, enum signet_role role, const struct options *o,
           struct dime_verdict *verdict)
{
    const struct dime_signet *signet = &s->objects[role].signet;
    uint8_t trusted[POKS_MAX][DIME_ED25519_KEY_SIZE];
    size_t n = 0;

    for (size_t i = 0; i < o->n_poks; i++)
        if (o->pok_domains[i].n == 0 ||
            kd_slice_eq(o->pok_domains[i], signet->identifier))
            memcpy(trusted[n++], o->poks[i], sizeof trusted[0]);
    kd_err err = dime_org_verify(
        signet, (const uint8_t(*)[DIME_ED25519_KEY_SIZE])trusted, n, verdict);
    s->anchored[role] = verdict->anchored;
    return err;
}

/* NULL if it holds, or cannot be said not to. */
static const char *
fault_of(struct signets *s, enum signet_role role, const struct options *o)
{
    const struct dime_signet *signet = &s->objects[role].signet;
    struct dime_verdict verdict;

    if ((signet->kind == DIME_ORG) != is_org(role) || signet->kind == DIME_SSR)
        return dime_reason_text(DIME_WRONG_KIND);
    if (is_org(role)) {
        kd_ignore(verify_org(s, role, o, &verdict));
    } else {
        const struct dime_signet *org = organization_of(s, role);
        if (org == NULL)
            return NULL; /* the caller's to warn of */
        kd_ignore(dime_user_verify(signet, org, NULL, &verdict));
    }
    return verdict.holds ? NULL : dime_reason_text(verdict.why);
}

static bool
has_bare_pok(const struct options *o)
{
    for (size_t i = 0; i < o->n_poks; i++)
        if (o->pok_domains[i].n == 0)
            return true;
    return false;
}

int
signets_load(struct signets *s, const char *const paths[SIGNET_ROLES],
             const struct options *o, const char **why)
{
    if (paths[SIGNET_ORIGIN] != NULL && paths[SIGNET_DESTINATION] != NULL &&
        has_bare_pok(o)) {
        complain("--pok", "with two organizations it is --pok DOMAIN=KEY");
        return TROUBLE;
    }
    for (int role = 0; role < SIGNET_ROLES; role++) { /* organizations come first */
        if (paths[role] == NULL)
            continue;
        int status = object_load(&s->objects[role], paths[role], why);
        s->has[role] = true;
        if (status == HOLDS && (*why = fault_of(s, (enum signet_role)role, o)) != NULL)
            status = FAILS;
        if (status == FAILS) {
            snprintf(s->why, sizeof s->why, "%s: %s", paths[role], *why);
            *why = s->why;
        }
        if (status != HOLDS)
            return status;
    }
    return HOLDS;
}

void
signets_free(struct signets *s)
{
    for (int role = 0; role < SIGNET_ROLES; role++)
        if (s->has[role])
            object_free(&s->objects[role]);
}
