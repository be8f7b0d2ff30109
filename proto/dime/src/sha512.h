/* SHA-512 with its state in memory of our choosing. The state of a nonce's hash is
 * worth the key, and OpenSSL's EVP keeps it on its own heap; the older calls, which
 * run the same code, do not. They are deprecated, not gone: should they go, libsodium's
 * crypto_hash_sha512_* fits here, at 0.6 of the speed. */
#ifndef DIME_SRC_SHA512_H
#define DIME_SRC_SHA512_H

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

struct sha512 {
    SHA512_CTX ctx;
};

/* What is ignored below is always 1. */

static inline void
sha512_init(struct sha512 *h)
{
    kd_ignore(SHA512_Init(&h->ctx));
}

static inline void
sha512_add(struct sha512 *h, const void *p, size_t n)
{
    if (n != 0)
        kd_ignore(SHA512_Update(&h->ctx, p, n));
}

static inline void
sha512_final(struct sha512 *h, uint8_t out[64])
{
    kd_ignore(SHA512_Final(out, &h->ctx));
}

#endif
