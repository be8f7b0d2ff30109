/* Signet identifiers: a domain or a mail address, in one spelling (D-052). */
#ifndef DIME_IDENTIFIER_H
#define DIME_IDENTIFIER_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum { DIME_IDENTIFIER_CHARS = 254 };

/* Lower-case letters, digits and hyphens in labels of 1 to 63, 253 octets at most, no
 * trailing dot, and no IP address. */
bool dime_identifier_is_domain(struct kd_slice s);

/* A lower-case ASCII dot-atom of 1 to 64 octets, "@", a domain; 254 octets at most. */
bool dime_identifier_is_address(struct kd_slice s);

/* The domain of an address, or the domain itself. Borrowed; s is one of the two. */
struct kd_slice dime_identifier_domain(struct kd_slice s);

/* Brings what somebody typed or sent into the one spelling: ASCII letters to lower
 * case, one trailing dot taken off. *n is the size, no NUL is written. KD_MALFORMED if
 * the result is neither domain nor address; U-labels are the caller's to convert. */
kd_err dime_identifier_fold(struct kd_slice query, char out[DIME_IDENTIFIER_CHARS],
                            size_t *n) KD_MUST_USE;

#endif
