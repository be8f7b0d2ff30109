/* The form of a certificate, held against OpenSSL's reader of DER elements: both say
 * the same of every input. An element counts if its head is what OpenSSL would write
 * for its tag and length. */
#include "fuzz.h"

#include <dime/certificate.h>

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <string.h>

struct rest {
    const uint8_t *p;
    long n;
};

static bool
take(struct rest *in, int class, int tag, bool is_constructed, struct rest *contents)
{
    const uint8_t *p = in->p;
    uint8_t head[16], *end = head;
    int is_tag, is_class;
    long length;

    if (in->n <= 0)
        return false;
    int flags = ASN1_get_object(&p, &length, &is_tag, &is_class, in->n);
    ERR_clear_error();
    if ((flags & 0x80) != 0 || is_tag != tag || is_class != class ||
        flags != (is_constructed ? V_ASN1_CONSTRUCTED : 0))
        return false;
    ASN1_put_object(&end, is_constructed, (int)length, tag, class);
    if (end - head != p - in->p || memcmp(head, in->p, (size_t)(end - head)) != 0)
        return false;
    *contents = (struct rest){p, length};
    *in = (struct rest){p + length, in->n - (p + length - in->p)};
    return true;
}

static bool
one_inside(struct rest in, int tag, bool is_constructed)
{
    struct rest part;

    return take(&in, V_ASN1_UNIVERSAL, tag, is_constructed, &part) && in.n == 0;
}

static bool
is_tbs(struct rest tbs)
{
    struct rest part;

    if (take(&tbs, V_ASN1_CONTEXT_SPECIFIC, 0, true, &part) &&
        !one_inside(part, V_ASN1_INTEGER, false))
        return false;
    if (!take(&tbs, V_ASN1_UNIVERSAL, V_ASN1_INTEGER, false, &part) || part.n == 0)
        return false;
    for (int i = 0; i < 5; i++)
        if (!take(&tbs, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, true, &part))
            return false;
    for (int i = 1; i <= 2; i++)
        (void)take(&tbs, V_ASN1_CONTEXT_SPECIFIC, i, false, &part);
    if (take(&tbs, V_ASN1_CONTEXT_SPECIFIC, 3, true, &part) &&
        !one_inside(part, V_ASN1_SEQUENCE, true))
        return false;
    return tbs.n == 0;
}

static bool
is_certificate(struct rest in)
{
    struct rest whole, tbs, part;

    return take(&in, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, true, &whole) && in.n == 0 &&
           take(&whole, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, true, &tbs) && is_tbs(tbs) &&
           take(&whole, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, true, &part) &&
           part.n != 0 &&
           take(&whole, V_ASN1_UNIVERSAL, V_ASN1_BIT_STRING, false, &part) &&
           part.n > 1 && whole.n == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    bool ok = dime_certificate_ok(kd_slice(data, n));

    if (n < DIME_CERTIFICATE_MIN || n > DIME_CERTIFICATE_MAX)
        fuzz_require(!ok);
    else
        fuzz_require(ok == is_certificate((struct rest){data, (long)n}));
    return 0;
}
