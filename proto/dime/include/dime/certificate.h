/* The form of an X.509 certificate, for who signs one as it is and reads nothing of it
 * (RFC 5280, 4.1; X.690, 10.1). Whether it is good is asked elsewhere. */
#ifndef DIME_CERTIFICATE_H
#define DIME_CERTIFICATE_H

#include <keyd/base/slice.h>

enum {
    DIME_CERTIFICATE_MIN = 128,   /* octets: less than any is */
    DIME_CERTIFICATE_MAX = 16384, /* of one that keyd signs */
};

/* True for exactly one certificate in DER: a SEQUENCE of tbsCertificate,
 * signatureAlgorithm and signatureValue, with nothing behind it, tbsCertificate with
 * its parts in their order, all lengths definite, as short as can be and adding up, on
 * every level that is looked at. Nothing is read beyond that. */
bool dime_certificate_ok(struct kd_slice der);

#endif
