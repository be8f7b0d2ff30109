#include <dime/certificate.h>

#include <keyd/base/err.h>

enum {
    TAG_INTEGER = 0x02,
    TAG_BIT_STRING = 0x03,
    TAG_SEQUENCE = 0x30,
    TAG_VERSION = 0xa0,       /* [0], constructed */
    TAG_ISSUER_UNIQUE = 0x81, /* [1] and [2], primitive */
    TAG_SUBJECT_UNIQUE = 0x82,
    TAG_EXTENSIONS = 0xa3, /* [3], constructed */
    LENGTH_LONG = 0x80,
    LENGTH_OCTETS_MAX = 2, /* what DIME_CERTIFICATE_MAX needs */
};

/* A length as DER has it: definite, in as few octets as can be. */
static bool
take_length(struct kd_slice *in, size_t *length)
{
    if (in->n == 0)
        return false;
    size_t first = in->p[0], n = first & ~(size_t)LENGTH_LONG;

    *in = kd_slice(in->p + 1, in->n - 1);
    if ((first & LENGTH_LONG) == 0) {
        *length = first;
        return true;
    }
    if (n == 0 || n > LENGTH_OCTETS_MAX || n > in->n)
        return false;
    *length = 0;
    for (size_t i = 0; i < n; i++)
        *length = *length << 8 | in->p[i];
    *in = kd_slice(in->p + n, in->n - n);
    return n == 1 ? *length >= LENGTH_LONG : *length > UINT8_MAX;
}

/* The next element, if it has that tag: its contents, and what follows it. */
static bool
take(struct kd_slice *in, unsigned tag, struct kd_slice *contents)
{
    struct kd_slice rest = *in;
    size_t length;

    if (rest.n == 0 || rest.p[0] != tag)
        return false;
    rest = kd_slice(rest.p + 1, rest.n - 1);
    if (!take_length(&rest, &length) || length > rest.n)
        return false;
    *contents = kd_slice(rest.p, length);
    *in = kd_slice(rest.p + length, rest.n - length);
    return true;
}

static bool
tbs_ok(struct kd_slice tbs)
{
    /* signature, issuer, validity, subject, subjectPublicKeyInfo */
    enum { SEQUENCES = 5 };
    struct kd_slice part;

    if (take(&tbs, TAG_VERSION, &part) &&
        (!take(&part, TAG_INTEGER, &(struct kd_slice){0}) || part.n != 0))
        return false;
    if (!take(&tbs, TAG_INTEGER, &part) || part.n == 0)
        return false;
    for (int i = 0; i < SEQUENCES; i++)
        if (!take(&tbs, TAG_SEQUENCE, &part))
            return false;
    /* Each may be absent. */
    kd_ignore(take(&tbs, TAG_ISSUER_UNIQUE, &part));
    kd_ignore(take(&tbs, TAG_SUBJECT_UNIQUE, &part));
    if (take(&tbs, TAG_EXTENSIONS, &part) &&
        (!take(&part, TAG_SEQUENCE, &(struct kd_slice){0}) || part.n != 0))
        return false;
    return tbs.n == 0;
}

bool
dime_certificate_ok(struct kd_slice der)
{
    struct kd_slice whole, tbs, part;

    return der.n >= DIME_CERTIFICATE_MIN && der.n <= DIME_CERTIFICATE_MAX &&
           take(&der, TAG_SEQUENCE, &whole) && der.n == 0 &&
           take(&whole, TAG_SEQUENCE, &tbs) && tbs_ok(tbs) &&
           take(&whole, TAG_SEQUENCE, &part) && part.n != 0 &&
           take(&whole, TAG_BIT_STRING, &part) && part.n > 1 && whole.n == 0;
}
