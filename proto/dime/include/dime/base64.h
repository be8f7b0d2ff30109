/* Base 64 (RFC 4648, 4) without padding, by libsodium's code, which neither branches
 * nor looks up by the octets. libsodium alone is too lenient: 1.0.18 takes octets of
 * 128 and more for characters of the alphabet. Everything that reads base 64 comes
 * through here. */
#ifndef DIME_BASE64_H
#define DIME_BASE64_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

/* Characters of n octets. */
size_t dime_base64_chars(size_t n);

/* Reads exactly n octets from exactly dime_base64_chars(n) characters whose unused
 * bits are zero, else KD_MALFORMED; out is written either way. */
kd_err dime_base64_read(struct kd_slice text, uint8_t *out, size_t n) KD_MUST_USE;

/* The same from characters with CR and LF between them; the caller looks at where. */
kd_err dime_base64_read_lines(struct kd_slice text, uint8_t *out, size_t n) KD_MUST_USE;

/* Writes dime_base64_chars(octets.n) characters and a NUL. */
void dime_base64_write(struct kd_slice octets, char *out);

#endif
