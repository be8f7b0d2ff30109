/* Names as they are inside: lower-case A-labels without a trailing dot; and the names
 * at which a management record is looked for (D-006). */
#ifndef DIME_RESOLVER_NAMES_H
#define DIME_RESOLVER_NAMES_H

#include "dns.h"

enum {
    NAMES_MAX = 16,        /* of a walk; more is an error */
    NAMES_TEXT_MAX = 1024, /* octets of UTF-8 that a name is read from */
};

/* A domain, or an address's domain (what is behind the last @), in UTF-8: A-labels by
 * UTS46 (nontransitional, STD3). KD_INVALID: no name, an IP address in any of its
 * writings, a trailing dot. KD_TOO_LARGE: a label above 63 or a name above 253
 * characters. */
kd_err name_normal(struct kd_slice text, char out[DNS_NAME_MAX + 1]) KD_MUST_USE;

/* Which names are public suffixes. May be used by several threads. */
struct suffixes;

/* path: a Public Suffix List, as text or DAFSA. NULL: the newer of the system's file
 * and libpsl's own. KD_IO: it cannot be read. */
kd_err suffixes_new(const char *path, struct suffixes **out) KD_MUST_USE;
void suffixes_free(struct suffixes *s);

/* From the registrable domain to the name itself. */
struct name_list {
    size_t n; /* 0: the name is a suffix or a single label, nothing may be queried */
    char names[NAMES_MAX][DNS_NAME_MAX + 1];
};

/* name as of name_normal. Where no suffix is known the last two labels are registrable.
 * KD_TOO_LARGE: more than NAMES_MAX names. */
kd_err suffixes_walk(const struct suffixes *s, const char *name,
                     struct name_list *out) KD_MUST_USE;

#endif
