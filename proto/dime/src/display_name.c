/* Names and addresses: hosts, mailboxes, URLs, and signatures as text. */
#include <dime/base64.h>
#include <dime/display.h>
#include <dime/identifier.h>
#include <dime/keys.h>

#include <arpa/inet.h>

/* The folded form is a domain (or an address): case is no matter here. */
static bool
folds_to(struct kd_slice v, bool (*good)(struct kd_slice))
{
    char folded[DIME_IDENTIFIER_CHARS];
    size_t n = 0;

    return dime_identifier_fold(v, folded, &n) == KD_OK && good(kd_slice(folded, n));
}

bool
dime_host(struct kd_slice v)
{
    return folds_to(v, dime_identifier_is_domain);
}

bool
dime_email(struct kd_slice v)
{
    return folds_to(v, dime_identifier_is_address);
}

static bool
is_base32(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '2' && c <= '7');
}

bool
dime_onion(struct kd_slice v)
{
    enum { V2 = 16, V3 = 56 };
    static const char top[] = ".onion";
    size_t top_n = sizeof top - 1;

    if (v.n != V2 + top_n && v.n != V3 + top_n)
        return false;
    for (size_t i = 0; i < v.n - top_n; i++) {
        if (!is_base32(v.p[i]))
            return false;
    }
    for (size_t i = 0; i < top_n; i++) {
        uint8_t c = v.p[v.n - top_n + i];
        if (c != (uint8_t)top[i] &&
            (top[i] == '.' || c != (uint8_t)(top[i] - 'a' + 'A')))
            return false;
    }
    return true;
}

bool
dime_signature_text(struct kd_slice v)
{
    enum { CHARS = 86, PADDING = 2 };
    uint8_t octets[DIME_SIG_SIZE];

    if (v.n == CHARS + PADDING && v.p[CHARS] == '=' && v.p[CHARS + 1] == '=')
        v.n = CHARS;
    return dime_base64_read(v, octets, sizeof octets) == KD_OK;
}

/* --- URLs (RFC 3986) ----------------------------------------------------------- */

/* Takes a scheme off, whatever its case. */
static bool
take_scheme(struct kd_slice *v, const char *scheme)
{
    size_t n = strlen(scheme);

    if (v->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = v->p[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + ('a' - 'A'));
        if (c != (uint8_t)scheme[i])
            return false;
    }
    v->p += n;
    v->n -= n;
    return true;
}

static bool
is_address_of(int family, struct kd_slice v)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr out;

    if (v.n == 0 || v.n >= sizeof text || memchr(v.p, 0, v.n) != NULL)
        return false;
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    return inet_pton(family, text, &out) == 1;
}

/* Empty (the default port), or ":" and 1 to 65535; RFC 3986 allows an empty number. */
static bool
is_port(struct kd_slice v)
{
    enum { MAX_DIGITS = 5, MAX_PORT = 65535 };
    unsigned long port = 0;

    if (v.n == 0)
        return true;
    if (v.p[0] != ':' || v.n > 1 + MAX_DIGITS)
        return false;
    for (size_t i = 1; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
        port = port * 10 + (unsigned long)(v.p[i] - '0');
    }
    return v.n == 1 || (port >= 1 && port <= MAX_PORT);
}

/* User information is refused: it is no part of http URLs (RFC 9110, 4.2.4), and
 * names somebody else's host to the eye. */
static bool
is_authority(struct kd_slice v)
{
    if (v.n == 0)
        return false;
    if (v.p[0] == '[') {
        const uint8_t *close = memchr(v.p, ']', v.n);
        if (close == NULL)
            return false;
        size_t n = (size_t)(close - v.p);
        return is_address_of(AF_INET6, kd_slice(v.p + 1, n - 1)) &&
               is_port(kd_slice(close + 1, v.n - n - 1));
    }
    const uint8_t *colon = memchr(v.p, ':', v.n);
    size_t n = colon == NULL ? v.n : (size_t)(colon - v.p);
    struct kd_slice host = kd_slice(v.p, n);
    return (dime_host(host) || is_address_of(AF_INET, host)) &&
           is_port(kd_slice(v.p + n, v.n - n));
}

static bool
is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

/* Path, query and fragment. */
static bool
is_url_rest(struct kd_slice v)
{
    bool in_fragment = false;

    for (size_t i = 0; i < v.n; i++) {
        uint8_t c = v.p[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}[]", c) != NULL)
            return false;
        if (c == '#' && in_fragment)
            return false;
        in_fragment = in_fragment || c == '#';
        if (c == '%' && (v.n - i < 3 || !is_hex(v.p[i + 1]) || !is_hex(v.p[i + 2])))
            return false;
    }
    return true;
}

bool
dime_url(struct kd_slice v, bool https_only)
{
    if (!take_scheme(&v, "https://") && (https_only || !take_scheme(&v, "http://")))
        return false;
    size_t n = 0;
    while (n < v.n && v.p[n] != '/' && v.p[n] != '?' && v.p[n] != '#')
        n++;
    return is_authority(kd_slice(v.p, n)) && is_url_rest(kd_slice(v.p + n, v.n - n));
}
