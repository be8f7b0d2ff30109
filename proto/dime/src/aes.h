/* AES-256-CBC without padding (P6, "Encrypted payloads"), by OpenSSL: the one library
 * here that has it at the processor's speed and, without the processor's help, still
 * without look-ups by key. Its expanded key lies on OpenSSL's own heap while a context
 * lives, and is wiped by it at the end; where that heap lies is the process's business
 * (CRYPTO_set_mem_functions). */
#ifndef DIME_SRC_AES_H
#define DIME_SRC_AES_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum { AES_BLOCK = 16, AES_KEY = 32 };

/* Octets in pieces; each a multiple of 16. */
struct aes_cbc {
    void *ctx;
};

/* KD_NOMEM. A context may be begun again with another key, which saves making it. */
kd_err aes_cbc_begin(struct aes_cbc *a, bool encrypt, const uint8_t key[AES_KEY],
                     const uint8_t iv[AES_BLOCK]) KD_MUST_USE;

/* From the beginning with the same key and another IV: the key is not expanded again.
 */
kd_err aes_cbc_again(struct aes_cbc *a, const uint8_t iv[AES_BLOCK]) KD_MUST_USE;

/* out may be in. */
kd_err aes_cbc_add(struct aes_cbc *a, const uint8_t *in, size_t n,
                   uint8_t *out) KD_MUST_USE;

/* Wipes; of one that was never begun, nothing. */
void aes_cbc_end(struct aes_cbc *a);

/* All of it at once. */
kd_err aes_cbc_once(bool encrypt, const uint8_t key[AES_KEY],
                    const uint8_t iv[AES_BLOCK], const uint8_t *in, size_t n,
                    uint8_t *out) KD_MUST_USE;

#endif
