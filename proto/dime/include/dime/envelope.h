/* The texts of chunks 4 and 5 (D-110, D-111): what the origin and the destination may
 * know.
 *
 *   Author: <alice@example.com>          Recipient: <bob@example.org>
 *   Author-Signet: [86 characters]       Recipient-Signet: [86 characters]
 *   Destination: <example.org>           Origin: <example.com>
 *   Destination-Signet: [86 characters]  Origin-Signet: [86 characters]
 *
 * Four lines in this order, each ending CR LF, names as spelt here, one space,
 * printable ASCII; addresses and domains as identifiers of signets are (D-051, D-052).
 * Nothing else is read and nothing else is written. */
#ifndef DIME_ENVELOPE_H
#define DIME_ENVELOPE_H

#include <keyd/base/buf.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum dime_envelope_kind { DIME_ENVELOPE_ORIGIN, DIME_ENVELOPE_DESTINATION };

enum {
    DIME_FP_TEXT_SIZE = 86, /* base 64 of 64 octets without padding */
    DIME_ENVELOPE_MAX = 1024,
};

struct dime_envelope {
    struct kd_slice address;    /* author or recipient */
    struct kd_slice address_fp; /* 86 characters, canonical base 64 */
    struct kd_slice domain;     /* destination or origin */
    struct kd_slice domain_fp;
};

/* Slices are borrowed from text. KD_MALFORMED. */
kd_err dime_envelope_parse(enum dime_envelope_kind kind, struct kd_slice text,
                           struct dime_envelope *out) KD_MUST_USE;

/* Appends the text; KD_INVALID if parse would not read it back. */
kd_err dime_envelope_put(enum dime_envelope_kind kind, const struct dime_envelope *e,
                         struct kd_buf *out) KD_MUST_USE;

#endif
