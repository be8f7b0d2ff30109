/* One HTTP exchange with a deadline, for what authorities say of certificates: OCSP and
 * lists of what is revoked. No TLS, no redirections, no proxies: what comes is signed.
 */
#ifndef DIME_RESOLVER_FETCH_H
#define DIME_RESOLVER_FETCH_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

#include <openssl/bio.h>

/* POST if there is a body (of that type), else GET. *out: one ASN.1 object of at most
 * max octets, to be freed. KD_UNSUPPORTED: no http URL; KD_UNAVAILABLE otherwise, with
 * a static text in *why. deadline: kd_clock_ms(); it holds for the name's look-up, too.
 */
kd_err fetch(const char *url, const char *type, struct kd_slice body, size_t max,
             int64_t deadline, BIO **out, const char **why) KD_MUST_USE;

#endif
