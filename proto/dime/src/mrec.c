#include "mrec_scan.h"

#include "sha512.h"

#include <dime/ed25519.h>

#include <stdlib.h>

enum { HASH_SIZE = 64, DER_MAX = 65536, LABEL_MAX = 63 };

static const struct {
    const char *name, *text;
    enum dime_mrec_kind kind;
} findings[DIME_MREC_FINDINGS] = {
#define DIME_MREC(code, kind, text) {#code, text, DIME_MREC_##kind},
#include <dime/mrec_findings.def>
#undef DIME_MREC
};

const char *
dime_mrec_text(enum dime_mrec_finding finding)
{
    return (unsigned)finding < DIME_MREC_FINDINGS ? findings[finding].text : "?";
}

const char *
dime_mrec_name(enum dime_mrec_finding finding)
{
    return (unsigned)finding < DIME_MREC_FINDINGS ? findings[finding].name : "?";
}

enum dime_mrec_kind
dime_mrec_kind(enum dime_mrec_finding finding)
{
    return (unsigned)finding < DIME_MREC_FINDINGS ? findings[finding].kind
                                                  : DIME_MREC_BROKEN;
}

const char *
dime_mrec_policy_name(enum dime_mrec_policy policy)
{
    static const char *const names[DIME_POLICIES] = {[DIME_POLICY_MIXED] = "mixed",
                                                     [DIME_POLICY_EXPERIMENTAL] =
                                                         "experimental",
                                                     [DIME_POLICY_STRICT] = "strict"};

    return (unsigned)policy < DIME_POLICIES ? names[policy] : "?";
}

const char *
dime_mrec_sub_name(enum dime_mrec_sub sub)
{
    static const char *const names[DIME_SUBS] = {[DIME_SUB_MIXED] = "mixed",
                                                 [DIME_SUB_EXPLICIT] = "explicit",
                                                 [DIME_SUB_STRICT] = "strict"};

    return (unsigned)sub < DIME_SUBS ? names[sub] : "?";
}

bool
dime_mrec_is_candidate(struct kd_slice text)
{
    struct mrec_scan s = {.text = text};
    struct mrec_token t;

    while (mrec_next(&s, &t))
        if (t.field < MREC_FIELDS || mrec_is_sig(&t))
            return true;
    return false;
}

/* --- hosts --- */

/* One label of a host name, copied in lower case. */
static bool
take_label(struct kd_slice label, char *out)
{
    if (label.n == 0 || label.n > LABEL_MAX || label.p[0] == '-' ||
        label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++) {
        uint8_t c = label.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + 32);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
        out[i] = (char)c;
    }
    return true;
}

/* What an inet_aton would take for an address ends in a number, also in 0x7f. */
static bool
is_number(struct kd_slice label)
{
    return mrec_is_digits(label) ||
           (label.n >= 2 && label.p[0] == '0' && (label.p[1] | 0x20) == 'x');
}

/* Which kind of mistake it is to have a colon or a bracket. */
static enum dime_mrec_finding
of_colons(struct kd_slice s)
{
    const uint8_t *colon = memchr(s.p, ':', s.n);
    size_t behind = colon == NULL ? 0 : s.n - (size_t)(colon + 1 - s.p);

    if (s.p[0] != '[' && colon != NULL && mrec_is_digits(kd_slice(colon + 1, behind)) &&
        memchr(s.p, '.', (size_t)(colon - s.p)) != NULL)
        return DIME_MREC_HOST_PORT;
    return DIME_MREC_HOST_ADDRESS;
}

enum dime_mrec_finding
dime_mrec_host(struct kd_slice text, char out[DIME_MREC_HOST_MAX + 1])
{
    char name[DIME_MREC_HOST_MAX + 1];
    size_t at = 0, n_labels = 0;
    struct kd_slice s = text, label = {0};

    if (s.n != 0 && (memchr(s.p, ':', s.n) != NULL || s.p[0] == '['))
        return of_colons(s);
    if (s.n != 0 && s.p[s.n - 1] == '.')
        s.n--;
    if (s.n == 0 || s.n > DIME_MREC_HOST_MAX)
        return DIME_MREC_HOST_NAME;
    while (at <= s.n) {
        const uint8_t *dot = at == s.n ? NULL : memchr(s.p + at, '.', s.n - at);
        label = kd_slice(s.p + at, dot == NULL ? s.n - at : (size_t)(dot - s.p) - at);
        if (!take_label(label, name + at))
            return DIME_MREC_HOST_NAME;
        at += label.n + 1;
        name[at - 1] = '.';
        n_labels++;
    }
    if (is_number(label))
        return DIME_MREC_HOST_ADDRESS;
    if (n_labels < 2)
        return DIME_MREC_HOST_NAME;
    memcpy(out, name, s.n);
    out[s.n] = '\0';
    return DIME_MREC_FINE;
}

/* --- reading --- */

/* Of fields that stand once: the first valid one is used; if none is, that is an error
 * and no reason for the default (D-010). */
struct once {
    bool seen, valid;
    size_t at, n;
};

struct reading {
    struct dime_mrec m;
    struct once policy, sub, expiry;
    bool has_sig;
    size_t n_pok_fields; /* each costs a check of a point */
    struct dime_mrec_note why;
};

static enum dime_mrec_finding
add_pok(struct dime_mrec *m, struct kd_slice value)
{
    uint8_t key[DIME_ED25519_KEY_SIZE];
    enum dime_mrec_finding f = mrec_pok(value, key);

    for (size_t i = 0; f == DIME_MREC_FINE && i < m->n_poks; i++)
        if (memcmp(m->poks[i], key, sizeof key) == 0)
            return DIME_MREC_FINE;
    if (f == DIME_MREC_FINE)
        memcpy(m->poks[m->n_poks++], key, sizeof key);
    return f;
}

static enum dime_mrec_finding
add_tls(struct dime_mrec *m, struct kd_slice value)
{
    uint8_t sig[DIME_SIG_SIZE];
    enum dime_mrec_finding f = mrec_tls(value, sig);

    for (size_t i = 0; f == DIME_MREC_FINE && i < m->n_tls; i++)
        if (memcmp(m->tls[i], sig, sizeof sig) == 0)
            return DIME_MREC_FINE;
    if (f != DIME_MREC_FINE)
        return f;
    if (m->n_tls == DIME_MREC_TLS_MAX)
        return DIME_MREC_TOO_MANY_TLS;
    memcpy(m->tls[m->n_tls++], sig, sizeof sig);
    return DIME_MREC_FINE;
}

static enum dime_mrec_finding
add_host(char list[][DIME_MREC_HOST_MAX + 1], size_t *n, struct kd_slice value)
{
    char host[DIME_MREC_HOST_MAX + 1];
    enum dime_mrec_finding f = dime_mrec_host(value, host);

    for (size_t i = 0; f == DIME_MREC_FINE && i < *n; i++)
        if (strcmp(list[i], host) == 0)
            return DIME_MREC_FINE;
    if (f != DIME_MREC_FINE)
        return f;
    if (*n == DIME_MREC_HOSTS_MAX)
        return DIME_MREC_TOO_MANY_HOSTS;
    memcpy(list[(*n)++], host, strlen(host) + 1);
    return DIME_MREC_FINE;
}

/* Whether this one is to be read; it is the first that may be valid. */
static bool
is_wanted(struct once *o, const struct mrec_token *t)
{
    if (!o->seen)
        *o = (struct once){.seen = true, .at = t->at, .n = t->n};
    return !o->valid;
}

static enum dime_mrec_finding
take(struct reading *r, const struct mrec_token *t)
{
    bool is_capped;

    if (t->is_spaced)
        return DIME_MREC_SPACE_BEFORE_EQUALS;
    switch (t->field) {
    case MREC_POK:
        return r->n_pok_fields++ == DIME_MREC_POKS_MAX ? DIME_MREC_TOO_MANY_POKS
                                                       : add_pok(&r->m, t->value);
    case MREC_TLS:
        return add_tls(&r->m, t->value);
    case MREC_DX:
        return add_host(r->m.dx, &r->m.n_dx, t->value);
    case MREC_SYN:
        return add_host(r->m.syn, &r->m.n_syn, t->value);
    case MREC_VER:
        return mrec_is_version_1(t->value) ? DIME_MREC_FINE : DIME_MREC_VERSION;
    case MREC_EXP:
        if (is_wanted(&r->expiry, t))
            r->expiry.valid =
                mrec_expiry(t->value, &r->m.expiry_days, &is_capped) == DIME_MREC_FINE;
        break;
    case MREC_POL:
        if (is_wanted(&r->policy, t))
            r->policy.valid = mrec_policy(t->value, &r->m.policy);
        break;
    case MREC_SUB:
        if (is_wanted(&r->sub, t))
            r->sub.valid = mrec_sub(t->value, &r->m.sub);
        break;
    case MREC_UNKNOWN:
        r->has_sig = r->has_sig || mrec_is_sig(t);
        break;
    case MREC_BARE:
        break;
    }
    return DIME_MREC_FINE;
}

static bool
fails(struct reading *r, enum dime_mrec_finding f, size_t at, size_t n)
{
    if (f == DIME_MREC_FINE)
        return false;
    r->why = (struct dime_mrec_note){f, at, n};
    return true;
}

static bool
fails_once(struct reading *r, const struct once *o, enum dime_mrec_finding f)
{
    return o->seen && !o->valid && fails(r, f, o->at, o->n);
}

static bool
is_broken(struct reading *r, struct kd_slice text)
{
    struct mrec_scan s = {.text = text};
    struct mrec_token t;

    if (text.n == 0)
        return fails(r, DIME_MREC_EMPTY, 0, 0);
    if (text.n > DIME_MREC_TEXT_MAX)
        return fails(r, DIME_MREC_TOO_LONG, 0, 0);
    size_t bad = mrec_bad_octet(text);
    if (bad != text.n)
        return fails(r, DIME_MREC_OCTET, bad, 1);
    while (mrec_next(&s, &t))
        if (fails(r, take(r, &t), t.at, t.n))
            return true;
    return fails_once(r, &r->policy, DIME_MREC_NO_POLICY) ||
           fails_once(r, &r->sub, DIME_MREC_NO_SUB) ||
           fails_once(r, &r->expiry, DIME_MREC_NO_EXPIRY) ||
           (r->m.n_poks == 0 &&
            fails(r, r->has_sig ? DIME_MREC_SIG_FOR_POK : DIME_MREC_NO_POK, 0, 0));
}

kd_err
dime_mrec_parse(struct kd_slice text, struct dime_mrec *out, struct dime_mrec_note *why)
{
    struct reading *r = calloc(1, sizeof *r); /* large for a stack */
    kd_err err = KD_OK;

    if (r == NULL)
        return KD_NOMEM;
    r->m.expiry_days = DIME_MREC_EXPIRY;
    if (is_broken(r, text))
        err = r->why.finding == DIME_MREC_VERSION ? KD_UNSUPPORTED : KD_MALFORMED;
    else
        *out = r->m;
    if (why != NULL)
        *why = r->why;
    free(r);
    return err;
}

kd_err
dime_mrec_join(const struct kd_slice *strings, size_t n, struct kd_buf *out)
{
    size_t size = 0;

    for (size_t i = 0; i < n; i++) {
        if (strings[i].n > DIME_MREC_TEXT_MAX - size)
            return KD_TOO_LARGE;
        size += strings[i].n;
        kd_buf_put(out, strings[i]);
    }
    return out->err;
}

/* --- certificates --- */

kd_err
dime_mrec_tls_match(const struct dime_mrec *m, struct kd_slice der, size_t *which)
{
    uint8_t hash[HASH_SIZE];
    struct sha512 sha;

    if (der.n > DER_MAX)
        return KD_TOO_LARGE;
    sha512_init(&sha);
    sha512_add(&sha, der.p, der.n);
    sha512_final(&sha, hash);
    for (size_t i = 0; i < m->n_tls; i++)
        for (size_t k = 0; k < m->n_poks; k++)
            if (dime_ed25519_verify(m->poks[k], kd_slice(hash, sizeof hash),
                                    m->tls[i]) == KD_OK ||
                dime_ed25519_verify(m->poks[k], der, m->tls[i]) == KD_OK) {
                if (which != NULL)
                    *which = i;
                return KD_OK;
            }
    return KD_NOT_FOUND;
}
