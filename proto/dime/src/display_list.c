/* Text values: lists, phone, languages, currencies, limits, codecs, labelled text. */
#include <dime/display.h>
#include <dime/utf8.h>

#include <keyd/base/err.h>

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool
is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* ASCII letters only: never by locale. */
static uint8_t
lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool
same_without_case(struct kd_slice a, struct kd_slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    }
    return true;
}

static struct kd_slice
from(struct kd_slice s, size_t at)
{
    return kd_slice(s.p + at, s.n - at);
}

/* Where c stands first; s.n if nowhere. */
static size_t
find(struct kd_slice s, char c)
{
    const uint8_t *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);

    return at == NULL ? s.n : (size_t)(at - s.p);
}

bool
dime_list_next(struct dime_list *l, struct kd_slice *item)
{
    while (l->rest.n != 0) {
        size_t n = find(l->rest, ';');
        struct kd_slice found = kd_slice(l->rest.p, n);
        l->rest = n == l->rest.n ? kd_slice(NULL, 0) : from(l->rest, n + 1);
        if (found.n != 0) {
            *item = found;
            return true;
        }
    }
    return false;
}

/* --- 21 Phone ----------------------------------------------------------------- */

static bool
has_space(struct kd_slice s)
{
    uint32_t cp;

    while (dime_utf8_next(&s, &cp)) {
        if (dime_utf8_is_space(cp))
            return true;
    }
    return false;
}

bool
dime_phone(struct kd_slice v, struct dime_phone *out)
{
    enum { LABEL_MAX = 16 };
    size_t n_points, digits = find(v, ';');

    if (digits == 0)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (!is_digit(v.p[i]))
            return false;
    }
    out->number = kd_slice(v.p, digits);
    out->label = kd_slice_str("Phone");
    if (digits == v.n)
        return true;
    struct kd_slice label = from(v, digits + 1);
    if (label.n != 0 && dime_utf8_valid(label, &n_points) && n_points <= LABEL_MAX &&
        !has_space(label))
        out->label = label;
    return true;
}

/* --- 22 Language -------------------------------------------------------------- */

static struct kd_slice
language_of(struct kd_slice tag)
{
    return kd_slice(tag.p, find(tag, '-'));
}

bool
dime_language_tag(struct kd_slice tag)
{
    enum { SUBTAG_MAX = 8 };
    struct kd_slice part = language_of(tag);

    if (part.n < 2 || part.n > SUBTAG_MAX)
        return false;
    for (size_t i = 0; i < part.n; i++) {
        if (!is_letter(part.p[i]))
            return false;
    }
    while (part.n < tag.n) {
        tag = from(tag, part.n + 1);
        part = language_of(tag);
        if (part.n == 0 || part.n > SUBTAG_MAX)
            return false;
        for (size_t i = 0; i < part.n; i++) {
            if (!is_letter(part.p[i]) && !is_digit(part.p[i]))
                return false;
        }
    }
    return true;
}

static const char *
find_language(struct kd_slice value, const char *const *supported, size_t n, bool whole)
{
    struct dime_list l = {value};
    struct kd_slice item;

    while (dime_list_next(&l, &item)) {
        if (!dime_language_tag(item))
            continue;
        for (size_t i = 0; i < n; i++) {
            struct kd_slice have = kd_slice_str(supported[i]);
            if (whole ? same_without_case(item, have)
                      : same_without_case(language_of(item), language_of(have)))
                return supported[i];
        }
    }
    return NULL;
}

const char *
dime_language_choose(struct kd_slice user, struct kd_slice org,
                     const char *const *supported, size_t n)
{
    const struct kd_slice values[] = {user, org};

    for (size_t i = 0; i < 2; i++) {
        for (int whole = 1; whole >= 0; whole--) {
            const char *found = find_language(values[i], supported, n, whole != 0);
            if (found != NULL)
                return found;
        }
    }
    return "en-US";
}

/* --- 24 Cryptocurrency -------------------------------------------------------- */

static const char *const known_symbols[] = {"BLK", "BTC", "DRK", "LTC",
                                            "PPC", "STR", "XRP"};
enum { N_SYMBOLS = sizeof known_symbols / sizeof known_symbols[0], SYMBOL_SIZE = 3 };

static const char *
known_symbol(struct kd_slice symbol)
{
    for (size_t i = 0; i < N_SYMBOLS; i++) {
        if (same_without_case(symbol, kd_slice_str(known_symbols[i])))
            return known_symbols[i];
    }
    return NULL;
}

static struct kd_slice
without_leading_spaces(struct kd_slice s)
{
    while (s.n != 0 && s.p[0] == ' ')
        s = from(s, 1);
    return s;
}

static bool
parse_crypto(struct kd_slice item, struct dime_crypto *out)
{
    item = without_leading_spaces(item);
    size_t colon = find(item, ':');
    if (colon != SYMBOL_SIZE || colon == item.n)
        return false;
    out->symbol = kd_slice(item.p, colon);
    out->address = without_leading_spaces(from(item, colon + 1));
    for (size_t i = 0; i < SYMBOL_SIZE; i++) {
        if (!is_letter(out->symbol.p[i]))
            return false;
    }
    if (out->address.n == 0 || !dime_utf8_valid(out->address, NULL) ||
        has_space(out->address))
        return false;
    out->is_known = known_symbol(out->symbol) != NULL;
    return true;
}

bool
dime_crypto_next(struct dime_list *l, struct dime_crypto *out)
{
    struct kd_slice item;

    while (dime_list_next(l, &item)) {
        if (parse_crypto(item, out))
            return true;
    }
    return false;
}

const char *
dime_crypto_preferred(struct kd_slice value)
{
    struct dime_list l = {value};
    struct dime_crypto c;

    if (value.n == 0)
        return "BTC";
    while (dime_crypto_next(&l, &c)) {
        if (c.is_known)
            return known_symbol(c.symbol);
    }
    return NULL;
}

/* --- 27 Message-Size-Limit ---------------------------------------------------- */

bool
dime_size_limit(struct kd_slice v, uint64_t *octets)
{
    enum { MAX_DIGITS = 12, LEAST = 1000000 };
    uint64_t n = 0;

    if (v.n == 0 || v.n > MAX_DIGITS)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        if (!is_digit(v.p[i]))
            return false;
        n = n * 10 + (v.p[i] - '0');
    }
    if (n < LEAST)
        return false;
    *octets = n;
    return true;
}

bool
dime_size_limit_of(struct kd_slice org, struct kd_slice user, uint64_t *octets)
{
    uint64_t a, b;
    bool has_a = dime_size_limit(org, &a), has_b = dime_size_limit(user, &b);

    if (!has_a && !has_b)
        return false;
    if (has_a && has_b)
        *octets = a < b ? a : b;
    else
        *octets = has_a ? a : b;
    return true;
}

/* --- 93 Supported-Codecs ------------------------------------------------------ */

/* Quadratic in items; the field has at most 255 octets. */
bool
dime_codec_next(struct kd_slice value, struct dime_list *l, struct kd_slice *item)
{
    struct kd_slice found, earlier;

    while (dime_list_next(l, &found)) {
        struct dime_list again = {value};
        bool is_repeat = false;
        while (!is_repeat && dime_list_next(&again, &earlier) && earlier.p != found.p)
            is_repeat = same_without_case(earlier, found);
        if (!is_repeat) {
            *item = found;
            return true;
        }
    }
    return false;
}

bool
dime_codec_has(struct kd_slice value, struct kd_slice codec)
{
    struct dime_list l = {value};
    struct kd_slice item;

    while (dime_list_next(&l, &item)) {
        if (same_without_case(item, codec))
            return true;
    }
    return false;
}

/* --- 94 to 99, 201 ------------------------------------------------------------ */

bool
dime_labelled(struct kd_slice v, const char *default_label, struct dime_labelled *out)
{
    size_t n = find(v, ';');

    if (n == 0 || !dime_utf8_valid(kd_slice(v.p, n), NULL))
        return false;
    out->value = kd_slice(v.p, n);
    out->label = kd_slice_str(default_label);
    if (n + 1 < v.n && dime_utf8_valid(from(v, n + 1), NULL))
        out->label = from(v, n + 1);
    return true;
}
