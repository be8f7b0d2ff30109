/* Operators' keys: Ed25519 in PKCS#8 PEM, which the openssl tool reads and writes too.
 *
 * scrypt with N = 16384, r = 8, p = 5: as much work as N = 2^17 once, in the 16 MiB
 * that any OpenSSL is willing to give without being told. */
#include "keydctl.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

enum {
    FILE_MAX = 8192,
    PASSPHRASE_MIN = 8,
    PASSPHRASE_MAX = 1024,
    SECURE_HEAP = 65536,
    SECURE_LEAST = 32,
    SCRYPT_N = 16384,
    SCRYPT_R = 8,
    SCRYPT_P = 5,
    SALT_SIZE = 16,
    KEY_SIZE = 32,
    SIG_SIZE = 64
};

/* OpenSSL keeps private keys in its secure heap once there is one. */
static int
setup(void)
{
    if (CRYPTO_secure_malloc_initialized() == 1 ||
        CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_LEAST) != 0)
        return EX_OK;
    complain("secret memory", "cannot be had");
    return EX_OSERR;
}

static int
failed(const char *path, const char *why)
{
    ERR_clear_error(); /* may quote what it was fed */
    complain(path, why);
    return EX_DATAERR;
}

static int
take_key(const char *path, EVP_PKEY *key, struct operator_key *out)
{
    size_t n = KEY_SIZE;

    if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(key, out->public_key, &n) != 1 || n != KEY_SIZE) {
        EVP_PKEY_free(key);
        return failed(path, "not an Ed25519 key");
    }
    out->key = key;
    return EX_OK;
}

void
operator_key_free(struct operator_key *k)
{
    EVP_PKEY_free(k->key);
    *k = (struct operator_key){0};
}

/* --- writing --- */

/* The encrypted PEM in b. */
static bool
seal(EVP_PKEY *key, const struct secret *passphrase, BIO *b)
{
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
    X509_ALGOR *how = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, SALT_SIZE, NULL,
                                            SCRYPT_N, SCRYPT_R, SCRYPT_P);
    X509_SIG *sealed = NULL;
    bool good = false;

    if (plain != NULL && how != NULL)
        sealed =
            PKCS8_set0_pbe((const char *)passphrase->p, (int)passphrase->n, plain, how);
    if (sealed != NULL) {
        how = NULL; /* it has it now */
        good = PEM_write_bio_PKCS8(b, sealed) == 1;
    }
    X509_SIG_free(sealed);
    X509_ALGOR_free(how);
    PKCS8_PRIV_KEY_INFO_free(plain);
    return good;
}

static struct kd_slice
octets_in(BIO *b)
{
    char *p = NULL;
    long n = BIO_get_mem_data(b, &p);

    return kd_slice(p, n > 0 ? (size_t)n : 0);
}

static int
write_both(const char *path, EVP_PKEY *key, const struct secret *passphrase)
{
    char public_path[4096];
    BIO *private_half = BIO_new(BIO_s_mem()), *public_half = BIO_new(BIO_s_mem());
    int status = EX_SOFTWARE;

    if (snprintf(public_path, sizeof public_path, "%s.pub", path) >=
        (int)sizeof public_path)
        status = usage_error(path, "too long");
    else if (private_half == NULL || public_half == NULL ||
             !seal(key, passphrase, private_half) ||
             PEM_write_bio_PUBKEY(public_half, key) != 1)
        status = failed(path, "cannot be encoded");
    else if (file_write_secret(path, octets_in(private_half)) != HOLDS ||
             file_write(public_path, octets_in(public_half)) != HOLDS)
        status = EX_CANTCREAT;
    else
        status = EX_OK;
    BIO_free(private_half);
    BIO_free(public_half);
    return status;
}

int
operator_key_make(const char *path, const struct secret *passphrase,
                  struct operator_key *out)
{
    int status = setup();

    *out = (struct operator_key){0};
    if (status != EX_OK)
        return status;
    if (passphrase->n < PASSPHRASE_MIN || passphrase->n > PASSPHRASE_MAX)
        return usage_error("passphrase", "8 to 1024 octets");
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (key == NULL)
        return failed(path, "a key cannot be made");
    if ((status = take_key(path, key, out)) == EX_OK)
        status = write_both(path, key, passphrase);
    return status;
}

/* --- reading --- */

struct asked {
    const char *file;
    int status; /* EX_OK until asking failed */
    bool used;
};

/* OpenSSL wants the passphrase now. */
static int
give_passphrase(char *out, int size, int writing, void *arg)
{
    struct asked *a = arg;
    struct secret s = {0};
    int n = -1;

    (void)writing;
    a->used = true;
    a->status = a->file != NULL ? secret_from_file(a->file, PASSPHRASE_MAX, true, &s)
                                : secret_prompt(false, &s);
    if (a->status == EX_OK && size > 0 && s.n <= (size_t)size) {
        memcpy(out, s.p, s.n);
        n = (int)s.n;
    }
    secret_free(&s);
    return n;
}

int
operator_key_load(const char *path, const char *passphrase_file,
                  struct operator_key *out)
{
    struct asked asked = {.file = passphrase_file};
    struct secret file;
    int status = setup();

    *out = (struct operator_key){0};
    if (status != EX_OK)
        return status;
    if ((status = secret_from_file(path, FILE_MAX, false, &file)) != EX_OK) {
        secret_free(&file);
        return status;
    }
    BIO *b = BIO_new_mem_buf(file.p, (int)file.n);
    EVP_PKEY *key =
        b == NULL ? NULL : PEM_read_bio_PrivateKey(b, NULL, give_passphrase, &asked);
    BIO_free(b);
    secret_free(&file);
    if (asked.status != EX_OK)
        status = asked.status;
    else if (key == NULL)
        status = failed(path, asked.used ? "not a key, or the passphrase is wrong"
                                         : "not a private key in PEM");
    else if ((status = take_key(path, key, out)) == EX_OK && !asked.used)
        complain(path, "warning: a private key without a passphrase");
    return status;
}

int
operator_key_public(const char *path, uint8_t out[32])
{
    struct operator_key k = {0};
    const char *why = "too large";
    struct kd_buf text;
    EVP_PKEY *key = NULL;
    int fd = open_read(path);

    if (fd < 0) {
        kd_ignore(trouble(path));
        return EX_NOINPUT;
    }
    kd_buf_init(&text, FILE_MAX);
    int status = file_read(fd, path, &text, &why) == HOLDS ? EX_OK : EX_NOINPUT;
    close_read(fd);
    BIO *b = status == EX_OK ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
    if (b != NULL)
        key = PEM_read_bio_PUBKEY(b, NULL, NULL, NULL);
    BIO_free(b);
    kd_buf_free(&text);
    if (status != EX_OK)
        return status;
    if (key == NULL)
        return failed(path, "not a public key in PEM");
    if ((status = take_key(path, key, &k)) == EX_OK)
        memcpy(out, k.public_key, KEY_SIZE);
    operator_key_free(&k);
    return status;
}

/* --- signing --- */

int
operator_key_sign(const struct operator_key *k, struct kd_slice text, uint8_t sig[64])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = SIG_SIZE;
    bool good = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->key) == 1 &&
                EVP_DigestSign(ctx, sig, &n, text.p, text.n) == 1 && n == SIG_SIZE;

    EVP_MD_CTX_free(ctx);
    if (good)
        return EX_OK;
    kd_ignore(failed("signature", "cannot be made"));
    return EX_SOFTWARE;
}
