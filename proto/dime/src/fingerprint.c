#include "sha512.h"

#include <dime/base64.h>
#include <dime/fingerprint.h>

kd_err
dime_fingerprint(const struct dime_signet *s, enum dime_part part,
                 uint8_t out[DIME_FINGERPRINT_SIZE])
{
    struct kd_slice fields;
    struct sha512 hash;
    kd_err err;

    if ((err = dime_signet_part(s, part, &fields)) != KD_OK)
        return err;
    sha512_init(&hash);
    sha512_add(&hash, fields.p, fields.n);
    sha512_final(&hash, out);
    return KD_OK;
}

void
dime_fingerprint_ephemeral(const uint8_t author_full[DIME_FINGERPRINT_SIZE],
                           const uint8_t recipient_full[DIME_FINGERPRINT_SIZE],
                           uint8_t out[DIME_FINGERPRINT_SIZE])
{
    struct sha512 hash;

    sha512_init(&hash);
    sha512_add(&hash, author_full, DIME_FINGERPRINT_SIZE);
    sha512_add(&hash, recipient_full, DIME_FINGERPRINT_SIZE);
    sha512_final(&hash, out);
}

void
dime_fingerprint_text(const uint8_t fp[DIME_FINGERPRINT_SIZE],
                      char out[DIME_FINGERPRINT_CHARS + 1])
{
    dime_base64_write(kd_slice(fp, DIME_FINGERPRINT_SIZE), out);
}

kd_err
dime_fingerprint_read(struct kd_slice text, uint8_t out[DIME_FINGERPRINT_SIZE])
{
    uint8_t octets[DIME_FINGERPRINT_SIZE];

    if (text.n != DIME_FINGERPRINT_CHARS ||
        dime_base64_read(text, octets, sizeof octets) != KD_OK)
        return KD_MALFORMED;
    memcpy(out, octets, sizeof octets);
    return KD_OK;
}
