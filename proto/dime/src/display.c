#include <dime/display.h>
#include <dime/fingerprint.h>
#include <dime/utf8.h>

static bool
is_utf8(struct kd_slice v)
{
    return dime_utf8_valid(v, NULL);
}

/* --- One check for each rule: true if the value may be used ------------------- */

static bool
any_item(struct kd_slice v, bool (*good)(struct kd_slice))
{
    struct dime_list l = {v};
    struct kd_slice item;

    while (dime_list_next(&l, &item)) {
        if (good(item))
            return true;
    }
    return false;
}

static bool
check_text(struct kd_slice v)
{
    return is_utf8(v);
}

static bool
check_phone(struct kd_slice v)
{
    struct dime_phone phone;

    return dime_phone(v, &phone);
}

static bool
check_languages(struct kd_slice v)
{
    return any_item(v, dime_language_tag);
}

static bool
check_list(struct kd_slice v)
{
    return is_utf8(v) && any_item(v, is_utf8);
}

static bool
check_crypto(struct kd_slice v)
{
    struct dime_list l = {v};
    struct dime_crypto c;

    return dime_crypto_next(&l, &c);
}

static bool
check_size_limit(struct kd_slice v)
{
    uint64_t octets;

    return dime_size_limit(v, &octets);
}

static bool
check_url(struct kd_slice v)
{
    return dime_url(v, false);
}

static bool
check_https_url(struct kd_slice v)
{
    return dime_url(v, true);
}

static bool
check_hosts(struct kd_slice v)
{
    return any_item(v, dime_host);
}

static bool
check_onion_hosts(struct kd_slice v)
{
    return any_item(v, dime_onion);
}

static bool
check_addresses(struct kd_slice v)
{
    return any_item(v, dime_email);
}

static bool
check_signatures(struct kd_slice v)
{
    return any_item(v, dime_signature_text);
}

static bool
check_labelled(struct kd_slice v)
{
    struct dime_labelled l;

    return dime_labelled(v, "", &l);
}

static bool
check_endorsement(struct kd_slice v)
{
    struct dime_endorsement e;

    return dime_endorsement(v, &e);
}

static bool
check_image(struct kd_slice v)
{
    struct dime_png png;

    return dime_png(v, &png);
}

static bool
check_alternate_key(struct kd_slice v)
{
    struct dime_alt_key key;

    return dime_alt_key(v, &key);
}

/* The format has checked it already (keys, signatures), or nothing is asked of it. */
static bool
check_nothing(struct kd_slice v)
{
    (void)v;
    return true;
}

/* octets: what the rule holds is octets even where they happen to be UTF-8. */
static const struct {
    bool (*good)(struct kd_slice);
    bool octets;
    const char *why;
} rules[] = {
    [DIME_RULE_KEY] = {check_nothing, true, NULL},
    [DIME_RULE_SOK] = {check_nothing, true, NULL},
    [DIME_RULE_ALTERNATE_KEY] = {check_alternate_key, true, "no key"},
    [DIME_RULE_SIGNATURE] = {check_nothing, true, NULL},
    [DIME_RULE_IDENTIFIER] = {check_text, false, "not UTF-8"},
    [DIME_RULE_UTF8] = {check_text, false, "not UTF-8"},
    [DIME_RULE_PHONE] = {check_phone, false, "not a number of digits"},
    [DIME_RULE_LANGUAGE] = {check_languages, false, "no language tag"},
    [DIME_RULE_LIST] = {check_list, false, "not a list of UTF-8 items"},
    [DIME_RULE_CRYPTOCURRENCY] = {check_crypto, false, "no symbol and address"},
    [DIME_RULE_SIZE_LIMIT] = {check_size_limit, false,
                              "not a number of 1,000,000 or more"},
    [DIME_RULE_URL] = {check_url, false, "not an http or https URL"},
    [DIME_RULE_HTTPS_URL] = {check_https_url, false, "not an https URL"},
    [DIME_RULE_EMAIL] = {dime_email, false, "not a mail address"},
    [DIME_RULE_HOSTS] = {check_hosts, false, "no host name"},
    [DIME_RULE_ONION_HOSTS] = {check_onion_hosts, false, "no onion name"},
    [DIME_RULE_SIGNATURES] = {check_signatures, false, "no signature"},
    [DIME_RULE_CODECS] = {check_list, false, "not a list of UTF-8 items"},
    [DIME_RULE_LABELLED] = {check_labelled, false, "empty or not UTF-8"},
    [DIME_RULE_ADDRESSES] = {check_addresses, false, "no mail address"},
    [DIME_RULE_ENDORSEMENT] = {check_endorsement, true, "not an endorsement"},
    [DIME_RULE_UNDEFINED] = {check_nothing, false, NULL},
    [DIME_RULE_IMAGE] = {check_image, true, "not a valid PNG image"},
};

/* A permissions octet that voids the key (D-034). */
static bool
is_void_sok(const struct dime_field *f)
{
    enum { RESERVED = 16 | 32 | 64 | 128, SIGNING = 1 | 2 | 4 };

    return (f->flags & RESERVED) != 0 || (f->flags & SIGNING) == 0;
}

static const char *
why_ignored(const struct dime_field *f)
{
    if (f->def == NULL)
        return "a field type without a meaning";
    if (f->def->rule == DIME_RULE_UNDEFINED)
        return dime_field_name_usable(f->name) ? NULL : "its name is not usable";
    if (f->value.n == 0)
        return "empty";
    if (f->def->rule == DIME_RULE_SOK && is_void_sok(f))
        return "its permissions void the key";
    return rules[f->def->rule].good(f->value) ? NULL : rules[f->def->rule].why;
}

/* Values that bring their own label. */
static void
split_label(const struct dime_field *f, struct dime_shown *out)
{
    struct dime_phone phone;
    struct dime_labelled labelled;

    if (f->def->rule == DIME_RULE_UNDEFINED) {
        out->label = f->name;
    } else if (f->def->rule == DIME_RULE_PHONE && dime_phone(f->value, &phone)) {
        out->label = phone.label;
        out->value = phone.number;
    } else if (f->def->rule == DIME_RULE_LABELLED &&
               dime_labelled(f->value, f->def->label, &labelled)) {
        out->label = labelled.label;
        out->value = labelled.value;
    }
}

void
dime_show(const struct dime_field *f, struct dime_shown *out)
{
    *out = (struct dime_shown){.why = why_ignored(f), .value = f->value};
    out->label = kd_slice_str(f->def != NULL ? f->def->label : "Unknown-Field");
    if (out->why == NULL)
        split_label(f, out);
    out->is_text =
        (f->def == NULL || !rules[f->def->rule].octets) && is_utf8(out->value);
}

/* --- Octets with a structure of their own -------------------------------------- */

bool
dime_endorsement(struct kd_slice v, struct dime_endorsement *out)
{
    if (v.n <= DIME_SIG_SIZE)
        return false;
    const uint8_t *text = v.p + DIME_SIG_SIZE;
    size_t n = v.n - DIME_SIG_SIZE;
    const uint8_t *semicolon = memchr(text, ';', n);
    if (semicolon == NULL)
        return false;
    size_t address_n = (size_t)(semicolon - text);
    struct dime_endorsement e = {
        .signature = kd_slice(v.p, DIME_SIG_SIZE),
        .address = kd_slice(text, address_n),
        .fingerprint = kd_slice(semicolon + 1, n - address_n - 1),
    };
    if (!dime_email(e.address))
        return false;
    if (e.fingerprint.n != DIME_FINGERPRINT_CHARS &&
        e.fingerprint.n != DIME_FINGERPRINT_SIZE)
        return false;
    *out = e;
    return true;
}

bool
dime_endorsement_in_chain(const struct dime_endorsement *e,
                          const uint8_t (*core)[DIME_FINGERPRINT_SIZE], size_t n)
{
    uint8_t named[DIME_FINGERPRINT_SIZE];

    if (e->fingerprint.n == sizeof named)
        memcpy(named, e->fingerprint.p, sizeof named);
    else if (dime_fingerprint_read(e->fingerprint, named) != KD_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (memcmp(core[i], named, sizeof named) == 0)
            return true;
    }
    return false;
}

bool
dime_alt_key(struct kd_slice v, struct dime_alt_key *out)
{
    enum { TS = 4, SA = 8, ECI = 16 };

    if (v.n < 3)
        return false;
    uint8_t programs = v.p[0] & DIME_LEVEL_PROGRAMS;
    uint8_t level = ECI;
    while (level != 0 && (v.p[0] & level) == 0)
        level >>= 1;
    /* Programs need a top-secret level, several of them SA or ECI (SG-121). */
    if (level < TS || (level < SA && (programs & (programs - 1)) != 0))
        programs = 0;
    out->level = level;
    out->programs = programs;
    out->scheme = v.p[1];
    out->key = kd_slice(v.p + 2, v.n - 2);
    out->is_known = (out->scheme == DIME_SCHEME_E521 && out->key.n == 66) ||
                    (out->scheme == DIME_SCHEME_X448 && out->key.n == 56);
    return true;
}

const char *
dime_level_text(uint8_t level)
{
    switch (level) {
    case 1:
        return "S";
    case 2:
        return "SEC";
    case 4:
        return "TS";
    case 8:
        return "TS//SA";
    case 16:
        return "TS//SA//ECI";
    default:
        return "Unprotected";
    }
}

const char *
dime_program_text(uint8_t bit)
{
    switch (bit) {
    case 32:
        return "Yankee White";
    case 64:
        return "Shadow Hunter";
    case 128:
        return "Underclass Applebaum";
    default:
        return "";
    }
}
