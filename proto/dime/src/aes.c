#include "aes.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdatomic.h>

/* Looked up once: by name and properties it costs more than a keyslot does. Never
 * freed, like the library it comes from. */
static const EVP_CIPHER *
cipher(void)
{
    static _Atomic(EVP_CIPHER *) kept;
    EVP_CIPHER *c = atomic_load_explicit(&kept, memory_order_acquire), *none = NULL;

    if (c != NULL)
        return c;
    c = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (c == NULL || atomic_compare_exchange_strong(&kept, &none, c))
        return c;
    EVP_CIPHER_free(c); /* another thread was first */
    return none;
}

kd_err
aes_cbc_begin(struct aes_cbc *a, bool encrypt, const uint8_t key[AES_KEY],
              const uint8_t iv[AES_BLOCK])
{
    const EVP_CIPHER *c = cipher();

    if (a->ctx == NULL)
        a->ctx = EVP_CIPHER_CTX_new();
    if (a->ctx == NULL || c == NULL)
        return KD_NOMEM;
    if (EVP_CipherInit_ex2(a->ctx, c, key, iv, encrypt, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(a->ctx, 0) != 1)
        return KD_NOMEM;
    return KD_OK;
}

kd_err
aes_cbc_again(struct aes_cbc *a, const uint8_t iv[AES_BLOCK])
{
    return EVP_CipherInit_ex2(a->ctx, NULL, NULL, iv, -1, NULL) == 1 ? KD_OK
                                                                     : KD_FAILED;
}

kd_err
aes_cbc_add(struct aes_cbc *a, const uint8_t *in, size_t n, uint8_t *out)
{
    int done = 0;

    if (n > INT_MAX || n % AES_BLOCK != 0)
        return KD_INVALID;
    if (n == 0)
        return KD_OK;
    if (EVP_CipherUpdate(a->ctx, out, &done, in, (int)n) != 1 || (size_t)done != n)
        return KD_FAILED;
    return KD_OK;
}

void
aes_cbc_end(struct aes_cbc *a)
{
    EVP_CIPHER_CTX_free(a->ctx);
    a->ctx = NULL;
}

kd_err
aes_cbc_once(bool encrypt, const uint8_t key[AES_KEY], const uint8_t iv[AES_BLOCK],
             const uint8_t *in, size_t n, uint8_t *out)
{
    struct aes_cbc a = {NULL};
    kd_err err = aes_cbc_begin(&a, encrypt, key, iv);

    if (err == KD_OK)
        err = aes_cbc_add(&a, in, n, out);
    aes_cbc_end(&a);
    return err;
}
