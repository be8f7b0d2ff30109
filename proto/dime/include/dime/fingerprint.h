/* Fingerprints: SHA-512 over a part's encoded fields without the header (SG-150 to
 * SG-152). */
#ifndef DIME_FINGERPRINT_H
#define DIME_FINGERPRINT_H

#include <dime/signet.h>

enum {
    DIME_FINGERPRINT_SIZE = 64,
    DIME_FINGERPRINT_CHARS = 86, /* base 64 without padding */
};

/* KD_NOT_FOUND if the kind has no such part (see dime_signet_part). */
kd_err dime_fingerprint(const struct dime_signet *s, enum dime_part part,
                        uint8_t out[DIME_FINGERPRINT_SIZE]) KD_MUST_USE;

/* For display only: SHA-512 of the author's and then the recipient's full
 * fingerprint (D-066). */
void dime_fingerprint_ephemeral(const uint8_t author_full[DIME_FINGERPRINT_SIZE],
                                const uint8_t recipient_full[DIME_FINGERPRINT_SIZE],
                                uint8_t out[DIME_FINGERPRINT_SIZE]);

/* 86 characters and a NUL. */
void dime_fingerprint_text(const uint8_t fp[DIME_FINGERPRINT_SIZE],
                           char out[DIME_FINGERPRINT_CHARS + 1]);

/* Exactly 86 characters of the standard alphabet whose unused bits are zero (D-017),
 * else KD_MALFORMED. */
kd_err dime_fingerprint_read(struct kd_slice text,
                             uint8_t out[DIME_FINGERPRINT_SIZE]) KD_MUST_USE;

#endif
