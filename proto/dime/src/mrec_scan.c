#include "mrec_scan.h"

#include <dime/base64.h>

static const struct {
    const char *brief, *full;
} names[MREC_FIELDS] = {
    [MREC_POK] = {"pok", "primary"},    [MREC_TLS] = {"tls", "tls"},
    [MREC_VER] = {"ver", "version"},    [MREC_EXP] = {"exp", "expiry"},
    [MREC_SYN] = {"syn", "syndicates"}, [MREC_DX] = {"dx", "deliver"},
    [MREC_POL] = {"pol", "policy"},     [MREC_SUB] = {"sub", "subdomain"},
};

/* Records are ASCII, whatever the locale. */
static uint8_t
lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool
is_word(struct kd_slice s, const char *word)
{
    if (s.n != strlen(word))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (lower(s.p[i]) != (uint8_t)word[i])
            return false;
    return true;
}

static bool
is_space(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool
is_end(uint8_t c)
{
    return is_space(c) || c == ';';
}

static enum mrec_field
field_of(struct kd_slice name, bool *is_long)
{
    for (size_t i = 0; i < MREC_FIELDS; i++) {
        *is_long = !is_word(name, names[i].brief);
        if (!*is_long || is_word(name, names[i].full))
            return (enum mrec_field)i;
    }
    *is_long = false;
    return MREC_UNKNOWN;
}

/* "pok" alone: the sign may stand behind a space. Then the field ends where the value
 * does. */
static void
look_behind(struct mrec_scan *s, struct mrec_token *t)
{
    size_t at = s->at;
    bool is_long;
    enum mrec_field field = field_of(t->value, &is_long);

    while (at < s->text.n && is_space(s->text.p[at]))
        at++;
    if (field == MREC_UNKNOWN || at == s->text.n || s->text.p[at] != '=')
        return;
    t->field = field;
    t->is_long = is_long;
    t->is_spaced = true;
    t->name = t->value;
    t->value = kd_slice(NULL, 0);
    t->n = at + 1 - t->at;
    s->at = at + 1;
}

bool
mrec_next(struct mrec_scan *s, struct mrec_token *out)
{
    const uint8_t *p = s->text.p;
    size_t at = s->at, end;

    while (at < s->text.n && is_end(p[at]))
        at++;
    s->at = at;
    if (at == s->text.n)
        return false;
    for (end = at; end < s->text.n && !is_end(p[end]); end++)
        ;
    s->at = end;
    *out = (struct mrec_token){.field = MREC_BARE,
                               .value = kd_slice(p + at, end - at),
                               .at = at,
                               .n = end - at};
    const uint8_t *sign = memchr(p + at, '=', end - at);
    if (sign == NULL) {
        look_behind(s, out);
        return true;
    }
    size_t n = (size_t)(sign - (p + at));
    out->name = kd_slice(p + at, n);
    out->value = kd_slice(sign + 1, end - at - n - 1);
    out->field = field_of(out->name, &out->is_long);
    return true;
}

enum dime_mrec_finding
mrec_pok(struct kd_slice value, uint8_t out[DIME_ED25519_KEY_SIZE])
{
    if (value.n == DIME_MREC_POK_CHARS + 1 && value.p[DIME_MREC_POK_CHARS] == '=')
        return DIME_MREC_POK_PADDED;
    if (value.n != DIME_MREC_POK_CHARS)
        return DIME_MREC_POK_LENGTH;
    if (dime_base64_read(value, out, DIME_ED25519_KEY_SIZE) != KD_OK)
        return DIME_MREC_POK_BASE64;
    return dime_ed25519_key_valid(out) ? DIME_MREC_FINE : DIME_MREC_POK_POINT;
}

enum dime_mrec_finding
mrec_tls(struct kd_slice value, uint8_t out[DIME_SIG_SIZE])
{
    if (value.n > DIME_MREC_TLS_CHARS && value.n <= DIME_MREC_TLS_CHARS + 2 &&
        value.p[value.n - 1] == '=')
        return DIME_MREC_TLS_PADDED;
    if (value.n != DIME_MREC_TLS_CHARS)
        return DIME_MREC_TLS_LENGTH;
    return dime_base64_read(value, out, DIME_SIG_SIZE) == KD_OK ? DIME_MREC_FINE
                                                                : DIME_MREC_TLS_BASE64;
}

bool
mrec_is_digits(struct kd_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n != 0;
}

/* False for what is no number or above 65535. */
static bool
number(struct kd_slice s, uint32_t *out)
{
    uint32_t v = 0;

    if (!mrec_is_digits(s))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        v = v * 10 + (uint32_t)(s.p[i] - '0');
        if (v > UINT16_MAX)
            return false;
    }
    *out = v;
    return true;
}

enum dime_mrec_finding
mrec_expiry(struct kd_slice value, uint16_t *days, bool *is_capped)
{
    uint32_t v;

    if (!number(value, &v) || v == 0)
        return DIME_MREC_NO_EXPIRY;
    *is_capped = v > DIME_MREC_EXPIRY_MAX;
    *days = (uint16_t)(*is_capped ? DIME_MREC_EXPIRY_MAX : v);
    return DIME_MREC_FINE;
}

bool
mrec_is_version_1(struct kd_slice value)
{
    uint32_t v;

    return number(value, &v) && v == 1;
}

bool
mrec_policy(struct kd_slice value, enum dime_mrec_policy *out)
{
    for (size_t i = 0; i < DIME_POLICIES; i++)
        if (is_word(value, dime_mrec_policy_name((enum dime_mrec_policy)i))) {
            *out = (enum dime_mrec_policy)i;
            return true;
        }
    return false;
}

/* loose and relaxed are other words for mixed (D-008). */
bool
mrec_sub(struct kd_slice value, enum dime_mrec_sub *out)
{
    bool is_mixed = is_word(value, "loose") || is_word(value, "relaxed");

    for (size_t i = 0; i < DIME_SUBS; i++)
        if ((is_mixed && i == DIME_SUB_MIXED) ||
            is_word(value, dime_mrec_sub_name((enum dime_mrec_sub)i))) {
            *out = (enum dime_mrec_sub)i;
            return true;
        }
    return false;
}

bool
mrec_is_sig(const struct mrec_token *t)
{
    return t->field == MREC_UNKNOWN && is_word(t->name, "sig") &&
           t->value.n == DIME_MREC_POK_CHARS;
}

size_t
mrec_bad_octet(struct kd_slice text)
{
    size_t i = 0;

    while (i < text.n && ((text.p[i] >= 0x20 && text.p[i] <= 0x7e) || text.p[i] == 9))
        i++;
    return i;
}
