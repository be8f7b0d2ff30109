#include "mrec_scan.h"

#include <stdlib.h>

struct lint {
    struct dime_mrec_note *notes;
    size_t max, n;
    struct kd_slice text;
    const struct dime_mrec *parsed; /* NULL: broken */
    unsigned n_seen[MREC_FIELDS];   /* occurrences */
    bool valid_seen[MREC_FIELDS];
};

static void
note(struct lint *l, enum dime_mrec_finding finding, size_t at, size_t n)
{
    if (finding == DIME_MREC_FINE)
        return;
    if (l->n < l->max)
        l->notes[l->n] = (struct dime_mrec_note){finding, at, n};
    l->n++;
}

static bool
has_upper(struct kd_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'Z')
            return true;
    return false;
}

static bool
is_multiple(enum mrec_field field)
{
    return field == MREC_POK || field == MREC_TLS || field == MREC_DX ||
           field == MREC_SYN;
}

/* What the value alone is. */
static enum dime_mrec_finding
look_at_value(const struct mrec_token *t)
{
    uint8_t octets[DIME_SIG_SIZE];
    char host[DIME_MREC_HOST_MAX + 1];
    enum dime_mrec_policy policy;
    enum dime_mrec_sub sub;
    uint16_t days;
    bool is_capped;

    switch (t->field) {
    case MREC_POK:
        return mrec_pok(t->value, octets);
    case MREC_TLS:
        return mrec_tls(t->value, octets);
    case MREC_DX:
    case MREC_SYN:
        return dime_mrec_host(t->value, host);
    case MREC_VER:
        return mrec_is_version_1(t->value) ? DIME_MREC_FINE : DIME_MREC_VERSION;
    case MREC_EXP:
        return mrec_expiry(t->value, &days, &is_capped);
    case MREC_POL:
        return mrec_policy(t->value, &policy) ? DIME_MREC_FINE : DIME_MREC_NO_POLICY;
    case MREC_SUB:
        return mrec_sub(t->value, &sub) ? DIME_MREC_FINE : DIME_MREC_NO_SUB;
    case MREC_UNKNOWN:
    case MREC_BARE:
        break;
    }
    return DIME_MREC_FINE;
}

/* Style of a valid value. */
static void
look_at_style(struct lint *l, const struct mrec_token *t)
{
    enum dime_mrec_sub sub;
    uint16_t days;
    bool is_capped = false;

    if (t->is_long)
        note(l, DIME_MREC_LONG_NAME, t->at, t->name.n);
    if (has_upper(t->name) ||
        ((t->field == MREC_POL || t->field == MREC_SUB) && has_upper(t->value)))
        note(l, DIME_MREC_UPPER_CASE, t->at, t->n);
    if ((t->field == MREC_DX || t->field == MREC_SYN) && t->value.n != 0 &&
        t->value.p[t->value.n - 1] == '.')
        note(l, DIME_MREC_DOT, t->at, t->n);
    if (t->field == MREC_SUB && mrec_sub(t->value, &sub) && sub == DIME_SUB_MIXED)
        note(l, DIME_MREC_SUB_MIXED, t->at, t->n);
    if (t->field == MREC_EXP &&
        mrec_expiry(t->value, &days, &is_capped) == DIME_MREC_FINE && is_capped)
        note(l, DIME_MREC_EXPIRY_CAPPED, t->at, t->n);
}

/* The values so far of a field that may stand several times; few, so they are read
 * again rather than kept. */
static bool
stood_before(const struct lint *l, const struct mrec_token *t)
{
    struct mrec_scan s = {.text = l->text};
    struct mrec_token other;

    while (mrec_next(&s, &other) && other.at < t->at)
        if (other.field == t->field && kd_slice_eq(other.value, t->value))
            return true;
    return false;
}

static void
look_at_count(struct lint *l, const struct mrec_token *t, bool is_valid)
{
    unsigned before = l->n_seen[t->field]++;

    if (is_multiple(t->field)) {
        if (before != 0 && before < DIME_MREC_TLS_MAX && stood_before(l, t))
            note(l, DIME_MREC_TWICE, t->at, t->n);
    } else if (l->valid_seen[t->field]) {
        note(l, DIME_MREC_REPEATED, t->at, t->n);
    }
    l->valid_seen[t->field] = l->valid_seen[t->field] || is_valid;
}

static void
look_at_known(struct lint *l, const struct mrec_token *t)
{
    if (t->is_spaced) {
        note(l, DIME_MREC_SPACE_BEFORE_EQUALS, t->at, t->n);
        return;
    }
    enum dime_mrec_finding f = look_at_value(t);
    if (t->value.n == 0)
        note(l, DIME_MREC_SPACE_AFTER_EQUALS, t->at, t->n);
    /* Of a field that stands once, an invalid one is skipped if another is valid. */
    if (f != DIME_MREC_FINE && l->parsed != NULL)
        f = DIME_MREC_INVALID_SKIPPED;
    note(l, f, t->at, t->n);
    look_at_style(l, t);
    look_at_count(l, t, f == DIME_MREC_FINE);
}

static void
look_at_fields(struct lint *l)
{
    struct mrec_scan s = {.text = l->text};
    struct mrec_token t;

    while (mrec_next(&s, &t)) {
        if (t.field == MREC_BARE)
            note(l, DIME_MREC_NO_FIELD, t.at, t.n);
        else if (mrec_is_sig(&t))
            note(l, l->parsed == NULL ? DIME_MREC_SIG_FOR_POK : DIME_MREC_UNKNOWN, t.at,
                 t.n);
        else if (t.field == MREC_UNKNOWN)
            note(l, DIME_MREC_UNKNOWN, t.at, t.n);
        else
            look_at_known(l, &t);
    }
}

static void
look_at_strings(struct lint *l, const struct kd_slice *strings, size_t n)
{
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        size_t end = at + strings[i].n;
        if (strings[i].n > DIME_MREC_STRING_MAX)
            note(l, DIME_MREC_STRING_LONG, at, strings[i].n);
        if (i + 1 < n && end != 0 && end < l->text.n) {
            uint8_t last = l->text.p[end - 1], next = l->text.p[end];
            bool ends = last == ' ' || last == ';';
            bool splits =
                !ends && last != '\t' && next != ' ' && next != '\t' && next != ';';
            if (!ends)
                note(l, splits ? DIME_MREC_STRING_SPLITS : DIME_MREC_STRING_ENDS,
                     end - 1, 1);
        }
        at = end;
    }
}

/* Of the whole, where there is a record. */
static void
look_at_whole(struct lint *l)
{
    const struct dime_mrec *m = l->parsed;

    if (memchr(l->text.p, '\t', l->text.n) != NULL)
        note(l, DIME_MREC_TAB, 0, 0);
    if (l->text.n > DIME_MREC_WIDE_MAX)
        note(l, DIME_MREC_WIDE, 0, 0);
    if (l->n_seen[MREC_POL] == 0)
        note(l, DIME_MREC_POL_UNSAID, 0, 0);
    if (m->n_tls == 0)
        note(l, DIME_MREC_TLS_UNSAID, 0, 0);
    if (m->n_dx == 0)
        note(l, DIME_MREC_DX_UNSAID, 0, 0);
}

/* A cause that no single field shows. */
static bool
is_of_whole(enum dime_mrec_finding f)
{
    return f == DIME_MREC_EMPTY || f == DIME_MREC_TOO_LONG || f == DIME_MREC_OCTET ||
           f == DIME_MREC_NO_POK || f == DIME_MREC_TOO_MANY_POKS ||
           f == DIME_MREC_TOO_MANY_TLS || f == DIME_MREC_TOO_MANY_HOSTS;
}

size_t
dime_mrec_lint(const struct kd_slice *strings, size_t n_strings,
               struct dime_mrec_note *notes, size_t max)
{
    struct lint l = {.notes = notes, .max = max};
    struct dime_mrec *m = malloc(sizeof *m);
    struct dime_mrec_note why = {.finding = DIME_MREC_FINE};
    struct kd_buf text;

    kd_buf_init(&text, DIME_MREC_TEXT_MAX);
    if (dime_mrec_join(strings, n_strings, &text) != KD_OK || m == NULL) {
        note(&l, DIME_MREC_TOO_LONG, 0, 0);
        goto out;
    }
    l.text = kd_buf_slice(&text);
    kd_err err = dime_mrec_parse(l.text, m, &why);
    if (err == KD_OK)
        l.parsed = m;
    if (why.finding != DIME_MREC_TOO_LONG && why.finding != DIME_MREC_OCTET)
        look_at_fields(&l);
    if (is_of_whole(why.finding))
        note(&l, why.finding, why.at, why.n);
    look_at_strings(&l, strings, n_strings);
    if (l.parsed != NULL)
        look_at_whole(&l);
out:
    kd_buf_free(&text);
    free(m);
    return l.n;
}
