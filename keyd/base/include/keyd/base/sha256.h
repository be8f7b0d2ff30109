/* SHA-256 by OpenSSL, which has the processor's instructions for it; its older calls,
 * which need no memory and cannot fail. Who includes this links Keyd::crypto. */
#ifndef KEYD_BASE_SHA256_H
#define KEYD_BASE_SHA256_H

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

struct kd_sha256 {
    SHA256_CTX ctx;
};

/* What is ignored below is always 1. */

static inline void
kd_sha256_init(struct kd_sha256 *h)
{
    kd_ignore(SHA256_Init(&h->ctx));
}

static inline void
kd_sha256_add(struct kd_sha256 *h, struct kd_slice octets)
{
    if (octets.n != 0)
        kd_ignore(SHA256_Update(&h->ctx, octets.p, octets.n));
}

static inline void
kd_sha256_final(struct kd_sha256 *h, uint8_t out[32])
{
    kd_ignore(SHA256_Final(out, &h->ctx));
}

#endif
