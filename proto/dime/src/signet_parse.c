/* Structure of signets: the header, and the fields under each layout (D-002). */
#include "signet_parse.h"

#include "field_read.h"

#include <dime/signet.h>
#include <keyd/base/be.h>

/* Whether the two points were checked when the object was made. */
enum trust { NO_TRUST, TRUST_KEYS };

/* What one layout made of the octets. */
struct attempt {
    enum dime_reason why;
    /* Where it stopped; the end if only completeness or keys fail. An empty key counts
     * as a stop: it is more likely the upper half of a length of another layout. */
    size_t reached;
};

/* The last field type of each part. */
static const uint8_t last_type[][DIME_PART_COUNT] = {
    [DIME_ORG] = {0, DIME_ORG_SELF_SIGNATURE, DIME_FIELD_FULL_SIGNATURE,
                  DIME_FIELD_IDENTIFIED_SIGNATURE},
    [DIME_USER] = {DIME_USER_USER_SIGNATURE, DIME_USER_ORG_SIGNATURE,
                   DIME_FIELD_FULL_SIGNATURE, DIME_FIELD_IDENTIFIED_SIGNATURE},
    [DIME_SSR] = {DIME_USER_USER_SIGNATURE, 0, 0, 0},
};

static uint8_t
enc_key_type(enum dime_kind kind)
{
    return kind == DIME_ORG ? DIME_ORG_ENC_KEY : DIME_USER_ENC_KEY;
}

static enum dime_reason
note_sok(struct dime_signet *s, const struct dime_field *field)
{
    if (s->n_soks == DIME_SOKS_MAX)
        return DIME_TOO_MANY_SOKS;
    struct dime_sok *sok = &s->soks[s->n_soks++];
    *sok = (struct dime_sok){.perms = field->flags};
    if (field->value.n == sizeof sok->key)
        memcpy(sok->key, field->value.p, sizeof sok->key);
    return DIME_FINE;
}

/* Takes the field, which ends at the offset end, into the signet. */
static enum dime_reason
note_field(struct dime_signet *s, const struct dime_field *field, uint32_t end)
{
    if (s->first[field->type] == 0)
        s->first[field->type] = end - (uint32_t)field->raw.n;
    for (int part = 0; part < DIME_PART_COUNT; part++) {
        if (field->type <= last_type[s->kind][part])
            s->end[part] = end;
    }
    if (field->type == DIME_FIELD_IDENTIFIER)
        s->identifier = field->value;
    if (s->kind == DIME_ORG && field->type == DIME_ORG_SOK)
        return note_sok(s, field);
    return DIME_FINE;
}

static bool
is_empty_key(const struct dime_field *field)
{
    return field->value.n == 0 && field->def != NULL &&
           (field->def->shape == DIME_SHAPE_SIGN_KEY ||
            field->def->shape == DIME_SHAPE_ENC_KEY);
}

static enum dime_reason
read_fields(struct dime_signet *s, size_t *reached)
{
    struct kd_cur c = kd_cur(s->raw);
    struct dime_field field;
    enum dime_reason why;
    uint8_t last = 0;
    bool plausible = true;

    kd_ignore(kd_cur_take(&c, DIME_HEADER_SIZE).n); /* the caller has read it */
    while (kd_cur_left(&c) != 0) {
        if (plausible)
            *reached = c.at;
        if ((why = dime_field_read(&c, s->kind, s->layout, &field)) != DIME_FINE)
            return why;
        if (field.type < last)
            return DIME_ORDER;
        if (field.type == last && field.def != NULL && field.def->count == DIME_UNIQUE)
            return DIME_DUPLICATE;
        last = field.type;
        plausible = plausible && !is_empty_key(&field);
        if ((why = note_field(s, &field, (uint32_t)c.at)) != DIME_FINE)
            return why;
    }
    if (plausible)
        *reached = c.at;
    return DIME_FINE;
}

/* How far the object reaches. Informational fields without a signature over them, or
 * a closing field without the others, are refused. */
static enum dime_reason
find_part(struct dime_signet *s)
{
    bool full = s->first[DIME_FIELD_FULL_SIGNATURE] != 0;
    bool identifier = s->first[DIME_FIELD_IDENTIFIER] != 0;
    bool closed = s->first[DIME_FIELD_IDENTIFIED_SIGNATURE] != 0;

    if (s->kind == DIME_SSR) {
        s->part = DIME_PART_REQUEST;
        return DIME_FINE;
    }
    if (identifier != closed || (closed && !full))
        return DIME_TERMINATION;
    if (closed)
        s->part = DIME_PART_IDENTIFIED;
    else if (full)
        s->part = DIME_PART_FULL;
    else if (s->end[DIME_PART_CORE] == s->raw.n)
        s->part = DIME_PART_CORE;
    else
        return DIME_TERMINATION;
    return DIME_FINE;
}

static enum dime_reason
check_required(const struct dime_signet *s)
{
    bool org = s->kind == DIME_ORG;

    if (!org && s->first[DIME_USER_USER_SIGNATURE] == 0)
        return DIME_MISSING_FIELD;
    if (s->kind == DIME_USER && s->first[DIME_USER_ORG_SIGNATURE] == 0)
        return DIME_MISSING_FIELD;
    /* Field 4 is optional (D-036), but a core has no other signature. */
    if (org && s->part == DIME_PART_CORE && s->first[DIME_ORG_SELF_SIGNATURE] == 0)
        return DIME_MISSING_FIELD;
    return DIME_FINE;
}

/* Copies the two keys. A key of no octets is a missing field (D-043). */
static enum dime_reason
take_keys(struct dime_signet *s, enum trust trust)
{
    struct dime_field sign, enc;

    if (dime_signet_find(s, DIME_USER_SIGN_KEY, &sign) != KD_OK ||
        dime_signet_find(s, enc_key_type(s->kind), &enc) != KD_OK)
        return DIME_MISSING_FIELD;
    memcpy(s->sign_key, sign.value.p, sizeof s->sign_key);
    if (trust == NO_TRUST && !dime_ed25519_key_valid(s->sign_key))
        return DIME_BAD_POINT;
    if (enc.value.n == DIME_SECP_X_SIZE)
        return dime_secp_lift_x(enc.value.p, s->enc_key) == KD_OK ? DIME_FINE
                                                                  : DIME_BAD_ENC_POINT;
    if (trust == NO_TRUST && !dime_secp_point_valid(enc.value))
        return DIME_BAD_ENC_POINT;
    memcpy(s->enc_key, enc.value.p, sizeof s->enc_key);
    return DIME_FINE;
}

static bool
key_is_repeated(const struct dime_signet *s, size_t nth)
{
    const uint8_t *key = s->soks[nth].key;

    if (memcmp(key, s->sign_key, DIME_ED25519_KEY_SIZE) == 0)
        return true;
    for (size_t i = 0; i < nth; i++) {
        if (memcmp(key, s->soks[i].key, DIME_ED25519_KEY_SIZE) == 0)
            return true;
    }
    return false;
}

/* D-034: what makes a SOK void does not make the signet invalid. The point is looked
 * at last because that costs as much as a verification. */
static void
judge_soks(struct dime_signet *s)
{
    for (size_t i = 0; i < s->n_soks; i++) {
        struct dime_sok *sok = &s->soks[i];
        sok->authorised = dime_perms_valid(sok->perms) && !key_is_repeated(s, i) &&
                          dime_ed25519_key_valid(sok->key);
    }
}

static struct attempt
read_structure(struct dime_signet *s, enum dime_kind kind, enum dime_layout layout,
               struct kd_slice octets)
{
    struct attempt a = {.why = DIME_FINE};

    *s = (struct dime_signet){.kind = kind, .layout = layout, .raw = octets};
    for (int part = 0; part < DIME_PART_COUNT; part++)
        s->end[part] = DIME_HEADER_SIZE;
    if ((a.why = read_fields(s, &a.reached)) == DIME_FINE &&
        (a.why = find_part(s)) == DIME_FINE)
        a.why = check_required(s);
    return a;
}

static struct attempt
read_layout(struct dime_signet *s, enum dime_kind kind, enum dime_layout layout,
            struct kd_slice octets, enum trust trust)
{
    struct attempt a = read_structure(s, kind, layout, octets);

    if (a.why == DIME_FINE && (a.why = take_keys(s, trust)) == DIME_FINE)
        judge_soks(s);
    return a;
}

/* Which layouts the first octets speak for. Used only to choose, of several reasons,
 * the one a person can use: the layout they meant and where it got farthest. */
static bool
looks_like(struct kd_slice octets, enum dime_layout layout)
{
    if (octets.n < DIME_HEADER_SIZE + 2 || octets.p[DIME_HEADER_SIZE] != 1)
        return true;
    switch (octets.p[DIME_HEADER_SIZE + 1]) {
    case DIME_ED25519_KEY_SIZE + 1:
        return layout == DIME_LAYOUT_L || layout == DIME_LAYOUT_M;
    case DIME_ED25519_KEY_SIZE:
        return layout == DIME_LAYOUT_P;
    default:
        return layout == DIME_LAYOUT_S33 || layout == DIME_LAYOUT_S32;
    }
}

static enum dime_reason
read_all_layouts(struct kd_slice octets, enum dime_kind kind, enum trust trust,
                 struct dime_signet *out)
{
    struct dime_signet one;
    struct attempt best = {.why = DIME_MISSING_FIELD};
    int n_match = 0;
    bool have_best = false;

    for (int layout = 0; layout < DIME_LAYOUT_COUNT; layout++) {
        struct attempt a =
            read_layout(&one, kind, (enum dime_layout)layout, octets, trust);
        if (a.why == DIME_FINE) {
            n_match++;
            *out = one;
        } else if (looks_like(octets, (enum dime_layout)layout) &&
                   (!have_best || a.reached > best.reached)) {
            best = a;
            have_best = true;
        }
    }
    if (n_match > 1)
        return DIME_AMBIGUOUS_LAYOUT;
    return n_match == 1 ? DIME_FINE : best.why;
}

static enum dime_reason
read_header(struct kd_slice octets, enum dime_kind *kind)
{
    struct kd_cur c = kd_cur(octets);
    uint16_t magic = kd_cur_u16(&c);
    uint32_t n = kd_cur_u24(&c);

    if (c.err != KD_OK)
        return DIME_TOO_SHORT;
    switch (magic) {
    case DIME_MAGIC_ORG:
        *kind = DIME_ORG;
        break;
    case DIME_MAGIC_USER:
        *kind = DIME_USER;
        break;
    case DIME_MAGIC_SSR:
        *kind = DIME_SSR;
        break;
    default:
        return DIME_BAD_MAGIC;
    }
    return n == kd_cur_left(&c) ? DIME_FINE : DIME_LENGTH_MISMATCH; /* D-044 */
}

kd_err
dime_signet_parse(struct kd_slice octets, struct dime_signet *out,
                  enum dime_reason *why)
{
    enum dime_kind kind = DIME_ORG;

    if ((*why = read_header(octets, &kind)) == DIME_FINE)
        *why = read_all_layouts(octets, kind, NO_TRUST, out);
    return dime_reason_err(*why);
}

static kd_err
parse_as(enum dime_kind kind, struct kd_slice octets, enum trust trust,
         struct dime_signet *out, enum dime_reason *why)
{
    enum dime_kind found = kind;

    if ((*why = read_header(octets, &found)) != DIME_FINE)
        return dime_reason_err(*why);
    if (found != kind)
        *why = DIME_WRONG_KIND;
    else
        *why = read_all_layouts(octets, kind, trust, out);
    /* Without the points several layouts may fit. */
    if (*why == DIME_AMBIGUOUS_LAYOUT && trust == TRUST_KEYS)
        *why = read_all_layouts(octets, kind, NO_TRUST, out);
    return dime_reason_err(*why);
}

kd_err
dime_signet_parse_as(enum dime_kind kind, struct kd_slice octets,
                     struct dime_signet *out, enum dime_reason *why)
{
    return parse_as(kind, octets, NO_TRUST, out, why);
}

kd_err
dime_signet_parse_own(enum dime_kind kind, struct kd_slice octets,
                      struct dime_signet *out, enum dime_reason *why)
{
    return parse_as(kind, octets, TRUST_KEYS, out, why);
}

enum dime_reason
dime_signet_structure(struct kd_slice octets)
{
    struct dime_signet s;
    enum dime_kind kind = DIME_ORG;
    enum dime_reason why = read_header(octets, &kind);
    int n_match = 0;

    if (why != DIME_FINE)
        return why;
    for (int layout = 0; layout < DIME_LAYOUT_COUNT; layout++) {
        struct attempt a = read_structure(&s, kind, (enum dime_layout)layout, octets);
        if (a.why == DIME_FINE)
            n_match++;
        else
            why = a.why;
    }
    /* Readers tell layouts apart by the points too: one organizational signet in two
     * hundred has a second layout whose fields fit, around keys that are none. */
    if (n_match > 1)
        why = read_all_layouts(octets, kind, NO_TRUST, &s);
    return n_match == 1 ? DIME_FINE : why;
}
