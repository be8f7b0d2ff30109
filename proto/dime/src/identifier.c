#include <dime/identifier.h>

enum { LABEL_MAX = 63, DOMAIN_MAX = 253, LOCAL_MAX = 64 };

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool
is_letter_or_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || is_digit(c);
}

/* Takes the label before the next dot off *s, and the dot. */
static struct kd_slice
take_label(struct kd_slice *s)
{
    const uint8_t *dot = memchr(s->p, '.', s->n);
    size_t n = dot == NULL ? s->n : (size_t)(dot - s->p);
    struct kd_slice label = kd_slice(s->p, n);
    size_t used = dot == NULL ? n : n + 1;

    *s = kd_slice(s->p + used, s->n - used);
    return label;
}

static bool
is_label(struct kd_slice s)
{
    if (s.n == 0 || s.n > LABEL_MAX || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_letter_or_digit(s.p[i]) && s.p[i] != '-')
            return false;
    }
    return true;
}

/* What ends in a number is an address of the IP kind, not a name. */
static bool
is_number(struct kd_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]))
            return false;
    }
    return true;
}

bool
dime_identifier_is_domain(struct kd_slice s)
{
    struct kd_slice label = {0};

    if (s.n == 0 || s.n > DOMAIN_MAX || s.p[s.n - 1] == '.')
        return false;
    while (s.n != 0) {
        label = take_label(&s);
        if (!is_label(label))
            return false;
    }
    return !is_number(label);
}

/* The characters of RFC 5322's atom, upper case left out. */
static bool
is_atom(uint8_t c)
{
    return is_letter_or_digit(c) ||
           (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
is_local_part(struct kd_slice s)
{
    if (s.n == 0 || s.n > LOCAL_MAX || s.p[s.n - 1] == '.')
        return false;
    while (s.n != 0) {
        struct kd_slice atom = take_label(&s);
        if (atom.n == 0)
            return false;
        for (size_t i = 0; i < atom.n; i++) {
            if (!is_atom(atom.p[i]))
                return false;
        }
    }
    return true;
}

bool
dime_identifier_is_address(struct kd_slice s)
{
    const uint8_t *at = s.n == 0 ? NULL : memchr(s.p, '@', s.n);

    if (at == NULL || s.n > DIME_IDENTIFIER_CHARS)
        return false;
    return is_local_part(kd_slice(s.p, (size_t)(at - s.p))) &&
           dime_identifier_is_domain(dime_identifier_domain(s));
}

struct kd_slice
dime_identifier_domain(struct kd_slice s)
{
    const uint8_t *at = s.n == 0 ? NULL : memchr(s.p, '@', s.n);

    if (at == NULL)
        return s;
    size_t used = (size_t)(at - s.p) + 1;
    return kd_slice(s.p + used, s.n - used);
}

kd_err
dime_identifier_fold(struct kd_slice query, char out[DIME_IDENTIFIER_CHARS], size_t *n)
{
    char folded[DIME_IDENTIFIER_CHARS] = {0};

    if (query.n != 0 && query.p[query.n - 1] == '.')
        query.n--;
    if (query.n == 0 || query.n > sizeof folded)
        return KD_MALFORMED;
    for (size_t i = 0; i < query.n; i++) {
        uint8_t c = query.p[i];
        folded[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    struct kd_slice s = kd_slice(folded, query.n);
    if (!dime_identifier_is_domain(s) && !dime_identifier_is_address(s))
        return KD_MALFORMED;
    memcpy(out, folded, query.n);
    *n = query.n;
    return KD_OK;
}
