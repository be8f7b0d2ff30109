/* Making and writing private key files, for the user's tool alone: target
 * dime-dkey-write, which nothing of keyd links (D-055). */
#ifndef DIME_DKEY_WRITE_H
#define DIME_DKEY_WRITE_H

#include <dime/dkey.h>

/* Octets of text of a key file, at most. */
enum { DIME_DKEY_TEXT_MAX = 256 };

/* A new pair of keys from the system's generator. */
kd_err dime_dkey_generate(enum dime_dkey_kind kind, struct dime_dkey **out) KD_MUST_USE;

/* The armoured file in libdime's form; text is DIME_DKEY_TEXT_MAX octets of secret
 * memory, *n is what was written. No NUL. */
kd_err dime_dkey_write(const struct dime_dkey *key, char *text, size_t *n) KD_MUST_USE;

#endif
