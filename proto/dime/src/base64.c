#include <dime/base64.h>

#include <sodium.h>

enum { VARIANT = sodium_base64_VARIANT_ORIGINAL_NO_PADDING };

size_t
dime_base64_chars(size_t n)
{
    return n / 3 * 4 + (n % 3 == 0 ? 0 : n % 3 + 1);
}

static kd_err
read_text(struct kd_slice text, const char *ignore, uint8_t *out, size_t n)
{
    const char *end = NULL;
    size_t n_read = 0;
    uint8_t all = 0;

    for (size_t i = 0; i < text.n; i++)
        all |= text.p[i];
    if ((all & 0x80) != 0 || text.n == 0 || n == 0)
        return KD_MALFORMED;
    if (sodium_base642bin(out, n, (const char *)text.p, text.n, ignore, &n_read, &end,
                          VARIANT) != 0)
        return KD_MALFORMED;
    return n_read == n && end == (const char *)text.p + text.n ? KD_OK : KD_MALFORMED;
}

kd_err
dime_base64_read(struct kd_slice text, uint8_t *out, size_t n)
{
    if (text.n != dime_base64_chars(n))
        return KD_MALFORMED;
    return read_text(text, NULL, out, n);
}

/* libsodium passes over NUL as well, the end of the list of what to ignore. */
kd_err
dime_base64_read_lines(struct kd_slice text, uint8_t *out, size_t n)
{
    if (text.n == 0 || memchr(text.p, 0, text.n) != NULL)
        return KD_MALFORMED;
    return read_text(text, "\r\n", out, n);
}

void
dime_base64_write(struct kd_slice octets, char *out)
{
    sodium_bin2base64(out, dime_base64_chars(octets.n) + 1, octets.p, octets.n,
                      VARIANT);
}
