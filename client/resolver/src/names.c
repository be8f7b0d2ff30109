#include "names.h"

#include <idn2.h>
#include <libpsl.h>
#include <stdlib.h>

enum { LABEL_MAX = 63 };

struct suffixes {
    psl_ctx_t *psl;
};

/* --- one name --- */

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Letters, digits and hyphens, hyphens not at the ends; written in lower case. */
static kd_err
take_label(const char *label, size_t n, char *out)
{
    if (n > LABEL_MAX)
        return KD_TOO_LARGE;
    if (n == 0 || label[0] == '-' || label[n - 1] == '-')
        return KD_INVALID;
    for (size_t i = 0; i < n; i++) {
        char c = label[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (!((c >= 'a' && c <= 'z') || is_digit(c) || c == '-'))
            return KD_INVALID;
        out[i] = c;
    }
    return KD_OK;
}

/* What inet_aton takes ends in a number, decimal or hexadecimal; no domain does. */
static bool
ends_in_number(const char *name)
{
    const char *dot = strrchr(name, '.'), *last = dot != NULL ? dot + 1 : name;
    size_t n = strlen(last);

    if (last[0] == '0' && last[1] == 'x')
        return strspn(last + 2, "0123456789abcdef") == n - 2;
    return strspn(last, "0123456789") == n;
}

/* ASCII alone. */
static kd_err
take_ascii(const char *text, char out[DNS_NAME_MAX + 1])
{
    char name[DNS_NAME_MAX + 1];
    size_t n = strlen(text), at = 0;

    if (n > DNS_NAME_MAX)
        return KD_TOO_LARGE;
    for (;;) {
        size_t label = strcspn(text + at, ".");
        kd_err err = take_label(text + at, label, name + at);

        if (err != KD_OK)
            return err;
        at += label;
        if (text[at] == '\0')
            break;
        name[at++] = '.';
    }
    name[n] = '\0';
    if (ends_in_number(name))
        return KD_INVALID;
    memcpy(out, name, n + 1);
    return KD_OK;
}

/* Of ASCII, what STD3 has. */
static bool
is_std3(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || is_digit(*p) ||
              *p == '-' || *p == '.' || (unsigned char)*p > 0x7f))
            return false;
    }
    return true;
}

/* Whether UTS46 has anything to say: it knows rules for hyphens that domains of plain
 * ASCII do not all keep. */
static bool
needs_idn(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p > 0x7f)
            return true;
        if ((p == text || p[-1] == '.') && (p[0] == 'x' || p[0] == 'X') &&
            (p[1] == 'n' || p[1] == 'N') && p[2] == '-' && p[3] == '-')
            return true;
    }
    return false;
}

kd_err
name_normal(struct kd_slice text, char out[DNS_NAME_MAX + 1])
{
    /* Not IDN2_USE_STD3_ASCII_RULES: with it libidn2 drops what maps to forbidden
     * ASCII, and U+2100 (a/c) in a name would lead to another name. take_ascii refuses
     * it. */
    const int flags = IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL;
    char in[NAMES_TEXT_MAX + 1], *ascii = NULL;
    kd_err err;
    int rc;

    for (size_t i = text.n; i > 0; i--) {
        if (text.p[i - 1] == '@') {
            text = kd_slice(text.p + i, text.n - i);
            break;
        }
    }
    if (text.n > NAMES_TEXT_MAX)
        return KD_TOO_LARGE;
    if (text.n == 0 || memchr(text.p, '\0', text.n) != NULL)
        return KD_INVALID;
    memcpy(in, text.p, text.n);
    in[text.n] = '\0';
    if (!is_std3(in))
        return KD_INVALID;
    if (!needs_idn(in))
        return take_ascii(in, out);
    rc = idn2_to_ascii_8z(in, &ascii, flags);
    if (rc == IDN2_MALLOC)
        return KD_NOMEM;
    if (rc == IDN2_PUNYCODE_BIG_OUTPUT || rc == IDN2_TOO_BIG_LABEL ||
        rc == IDN2_TOO_BIG_DOMAIN)
        return KD_TOO_LARGE;
    if (rc != IDN2_OK)
        return KD_INVALID;
    err = take_ascii(ascii, out);
    idn2_free(ascii);
    return err;
}

/* --- suffixes --- */

kd_err
suffixes_new(const char *path, struct suffixes **out)
{
    struct suffixes *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return KD_NOMEM;
    s->psl = path != NULL ? psl_load_file(path) : psl_latest(NULL);
    if (s->psl == NULL) {
        free(s);
        return KD_IO;
    }
    *out = s;
    return KD_OK;
}

void
suffixes_free(struct suffixes *s)
{
    if (s == NULL)
        return;
    psl_free(s->psl);
    free(s);
}

kd_err
suffixes_walk(const struct suffixes *s, const char *name, struct name_list *out)
{
    const char *base = psl_registrable_domain(s->psl, name), *at;
    size_t n = 0;

    if (base == NULL || strchr(base, '.') == NULL) {
        out->n = 0;
        return KD_OK;
    }
    for (at = base;; at--) {
        if (at > name && at[-1] != '.')
            continue;
        if (n == NAMES_MAX)
            return KD_TOO_LARGE;
        n++;
        if (at == name)
            break;
    }
    out->n = n;
    for (at = name; n > 0; at = strchr(at, '.') + 1) {
        n--;
        memcpy(out->names[n], at, strlen(at) + 1);
        if (n == 0)
            break;
    }
    return KD_OK;
}
