#include <dime/base64.h>
#include <dime/fingerprint.h>

#include <sodium.h>

_Static_assert(DIME_FINGERPRINT_SIZE == crypto_hash_sha512_BYTES, "SHA-512");
_Static_assert(DIME_FINGERPRINT_CHARS + 1 ==
                   sodium_base64_ENCODED_LEN(DIME_FINGERPRINT_SIZE,
                                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING),
               "86 characters and a NUL");

static void
sha512(struct kd_slice s, uint8_t out[DIME_FINGERPRINT_SIZE])
{
    kd_ignore(crypto_hash_sha512(out, s.p, s.n)); /* cannot fail */
}

kd_err
dime_fingerprint(const struct dime_signet *s, enum dime_part part,
                 uint8_t out[DIME_FINGERPRINT_SIZE])
{
    struct kd_slice fields;
    kd_err err;

    if ((err = dime_signet_part(s, part, &fields)) != KD_OK)
        return err;
    sha512(fields, out);
    return KD_OK;
}

void
dime_fingerprint_ephemeral(const uint8_t author_full[DIME_FINGERPRINT_SIZE],
                           const uint8_t recipient_full[DIME_FINGERPRINT_SIZE],
                           uint8_t out[DIME_FINGERPRINT_SIZE])
{
    uint8_t both[2 * DIME_FINGERPRINT_SIZE];

    memcpy(both, author_full, DIME_FINGERPRINT_SIZE);
    memcpy(both + DIME_FINGERPRINT_SIZE, recipient_full, DIME_FINGERPRINT_SIZE);
    sha512(kd_slice(both, sizeof both), out);
}

void
dime_fingerprint_text(const uint8_t fp[DIME_FINGERPRINT_SIZE],
                      char out[DIME_FINGERPRINT_CHARS + 1])
{
    sodium_bin2base64(out, DIME_FINGERPRINT_CHARS + 1, fp, DIME_FINGERPRINT_SIZE,
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

kd_err
dime_fingerprint_read(struct kd_slice text, uint8_t out[DIME_FINGERPRINT_SIZE])
{
    uint8_t octets[DIME_FINGERPRINT_SIZE];

    if (dime_base64_read(text, octets, sizeof octets) != KD_OK)
        return KD_MALFORMED;
    memcpy(out, octets, sizeof octets);
    return KD_OK;
}
