#include "validate.h"

#include <dime/identifier.h>

static kd_err
fails(struct validate_why *why, enum validate_fault fault, enum dime_reason reason)
{
    *why = (struct validate_why){fault, reason};
    return fault == VALIDATE_FINE ? KD_OK : KD_INVALID;
}

static bool
is_named(const struct dime_signet *s, const char *name)
{
    return kd_slice_eq(s->identifier, kd_slice_str(name));
}

kd_err
validate_org(struct kd_slice octets, const char *domain, const struct dime_mrec *record,
             struct dime_signet *out, struct validate_why *why)
{
    struct dime_verdict v;
    enum dime_reason reason;

    if (dime_signet_parse_as(DIME_ORG, octets, out, &reason) != KD_OK)
        return fails(why, VALIDATE_FORM, reason);
    if (out->part == DIME_PART_IDENTIFIED && !is_named(out, domain))
        return fails(why, VALIDATE_OTHER_NAME, DIME_FINE);
    kd_err err = dime_org_verify(out, record->poks, record->n_poks, &v);
    if (err != KD_OK && v.why == DIME_NOT_ANCHORED)
        return fails(why, VALIDATE_OTHER_POK, DIME_FINE);
    if (err != KD_OK)
        return fails(why, VALIDATE_SIGNATURE, v.why);
    if (!v.anchored) /* a record without keys is no record */
        return fails(why, VALIDATE_OTHER_POK, DIME_FINE);
    return fails(why, v.bound ? VALIDATE_FINE : VALIDATE_UNBOUND, DIME_FINE);
}

/* The address's domain lies below the organization's, whose record holds for it. */
static bool
is_inherited(const char *address, const char *supplier, const struct dime_signet *org)
{
    struct kd_slice domain = dime_identifier_domain(kd_slice_str(address));
    struct kd_slice parent = org->identifier;

    if (parent.n == 0 || !kd_slice_eq(kd_slice_str(supplier), parent) ||
        domain.n < parent.n + 2)
        return false;
    size_t at = domain.n - parent.n;
    return domain.p[at - 1] == '.' && memcmp(domain.p + at, parent.p, parent.n) == 0;
}

/* The domain itself, or by inheritance. */
static bool
may_speak_for(const struct dime_signet *org, const char *address, const char *supplier)
{
    struct kd_slice domain = dime_identifier_domain(kd_slice_str(address));

    return org->part == DIME_PART_IDENTIFIED &&
           kd_slice_eq(org->identifier, kd_slice_str(supplier)) &&
           (kd_slice_eq(domain, org->identifier) ||
            is_inherited(address, supplier, org));
}

kd_err
validate_user(struct kd_slice octets, const char *address, const char *supplier,
              const struct dime_signet *org, struct dime_signet *out,
              struct validate_why *why)
{
    struct dime_verdict v;
    enum dime_reason reason;

    if (dime_signet_parse_as(DIME_USER, octets, out, &reason) != KD_OK)
        return fails(why, VALIDATE_FORM, reason);
    bool is_split = out->part != DIME_PART_IDENTIFIED;
    if ((!is_split && !is_named(out, address)) ||
        !may_speak_for(org, address, supplier))
        return fails(why, VALIDATE_OTHER_NAME, DIME_FINE);
    kd_err err = dime_user_verify(out, org, NULL, &v);
    /* The domain is the last thing that is looked at: all signatures hold. */
    if (err != KD_OK && v.why == DIME_OTHER_DOMAIN &&
        is_inherited(address, supplier, org))
        err = KD_OK;
    if (err != KD_OK)
        return fails(why, VALIDATE_SIGNATURE, v.why);
    return fails(why, is_split ? VALIDATE_UNBOUND : VALIDATE_FINE, DIME_FINE);
}

kd_err
validate_fingerprint(const struct dime_signet *s,
                     const uint8_t fp[DIME_FINGERPRINT_SIZE], struct validate_why *why)
{
    static const enum dime_part parts[] = {DIME_PART_FULL, DIME_PART_CORE};
    uint8_t is[DIME_FINGERPRINT_SIZE];

    for (size_t i = 0; i < (s->kind == DIME_USER ? 2U : 1U); i++)
        if (s->part >= parts[i] && dime_fingerprint(s, parts[i], is) == KD_OK &&
            memcmp(is, fp, sizeof is) == 0)
            return fails(why, VALIDATE_FINE, DIME_FINE);
    return fails(why, VALIDATE_FINGERPRINT, DIME_FINE);
}

const char *
validate_text(enum validate_fault fault)
{
    static const char *const texts[VALIDATE_FAULTS] = {
        [VALIDATE_FINE] = "it holds",
        [VALIDATE_FORM] = "it is no such signet",
        [VALIDATE_UNBOUND] = "it is split and does not say whose it is",
        [VALIDATE_OTHER_NAME] = "it is somebody else's",
        [VALIDATE_OTHER_POK] = "its primary key is none of the record's",
        [VALIDATE_SIGNATURE] = "a signature does not verify",
        [VALIDATE_FINGERPRINT] = "it is not the one of that fingerprint",
    };

    return (unsigned)fault < VALIDATE_FAULTS ? texts[fault] : "?";
}
