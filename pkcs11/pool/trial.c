/* Whether a key does right: a signature that holds, an agreement that is the one a
 * library finds. This, and not an id or a label, proves which key it is. */
#include "pool.h"

#include "../../keyd/token/src/rsa.h"

#include <dime/ed25519.h>
#include <dime/secp.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/p11/marks.h>

#include <secp256k1.h>
#include <sodium.h>
#include <stdlib.h>

enum { TEXT_SIZE = 42, NONCE_SIZE = 16, POINT_SIZE = 65 };

/* No D/MIME object, signet or key begins so. */
static const char prefix[] = "keyd tries whether a key it";
_Static_assert(sizeof prefix - 1 + NONCE_SIZE - 1 == TEXT_SIZE, "as long as it says");

static kd_err
ended(enum call_end end)
{
    return end == CALL_DONE        ? KD_OK
           : end == CALL_MALFORMED ? KD_FAILED
           : end == CALL_GONE      ? KD_CLOSED
                                   : KD_UNAVAILABLE;
}

static kd_err
verify(enum kd_key_alg alg, struct kd_slice key, struct kd_slice message,
       const struct kd_token_sig *sig)
{
    if (alg == KD_ALG_RSA)
        return kd_rsa_verify(key, message.p, kd_slice(sig->octets, sig->n));
    if (sig->n != DIME_SIG_SIZE || key.n != DIME_ED25519_KEY_SIZE)
        return KD_INVALID;
    return dime_ed25519_verify_trusted_key(key.p, message, sig->octets);
}

static kd_err
try_signing(struct host *h, uint8_t number, enum kd_key_alg alg, struct kd_slice key,
            int64_t until, uint64_t *rv)
{
    uint8_t text[TEXT_SIZE + 1];
    uint8_t hash[crypto_hash_sha256_BYTES];
    struct kd_token_sig sig;
    struct kd_slice message = kd_slice(text, TEXT_SIZE);

    memcpy(text, prefix, sizeof prefix - 1);
    randombytes_buf(text + sizeof prefix - 1, TEXT_SIZE - (sizeof prefix - 1));
    if (alg == KD_ALG_RSA) {
        crypto_hash_sha256(hash, text, TEXT_SIZE);
        message = kd_slice(hash, sizeof hash);
    }
    kd_err err = ended(call_sign(h, number, message, until, rv, &sig));
    if (err != KD_OK)
        return err;
    if (*rv != 0)
        return KD_UNAVAILABLE;
    return verify(alg, key, message, &sig) == KD_OK ? KD_OK : KD_FAILED;
}

static bool
widen(const uint8_t point[33], uint8_t out[POINT_SIZE])
{
    secp256k1_pubkey key;
    size_t n = POINT_SIZE;

    return secp256k1_ec_pubkey_parse(secp256k1_context_static, &key, point, 33) == 1 &&
           secp256k1_ec_pubkey_serialize(secp256k1_context_static, out, &n, &key,
                                         SECP256K1_EC_UNCOMPRESSED) == 1;
}

/* Secret, its point, what the token says, what is right. */
struct agreement {
    uint8_t scalar[32], z[KD_ECDH_SIZE], right[KD_ECDH_SIZE];
    uint8_t point[33], whole[POINT_SIZE];
};

/* Every eighth is one whose x begins with a zero, which some tokens leave out: found by
 * chance, in 256 tries. */
static kd_err
choose_peer(struct agreement *a, struct kd_slice key)
{
    enum { TRIES = 2048 };
    bool wants_zero = randombytes_uniform(8) == 0;
    kd_err err;

    for (unsigned i = 0; i < TRIES; i++) {
        dime_secp_random(a->scalar);
        if ((err = dime_secp_ecdh(a->scalar, key.p, a->right)) != KD_OK)
            return err;
        if (!wants_zero || a->right[0] == 0)
            break;
    }
    if ((err = dime_secp_public(a->scalar, a->point)) != KD_OK)
        return err;
    return widen(a->point, a->whole) ? KD_OK : KD_FAILED;
}

static kd_err
try_agreeing(struct host *h, uint8_t number, struct kd_slice key, int64_t until,
             uint64_t *rv)
{
    struct agreement *a = kd_secret_new(sizeof *a);
    kd_err err;

    if (a == NULL)
        return KD_NOMEM;
    if (key.n != sizeof a->point || choose_peer(a, key) != KD_OK)
        err = KD_FAILED;
    else
        err = ended(call_derive(h, number, a->whole, until, rv, a->z));
    if (err == KD_OK && *rv != 0)
        err = KD_UNAVAILABLE;
    if (err == KD_OK && !kd_secret_eq(a->z, a->right, KD_ECDH_SIZE))
        err = KD_FAILED;
    kd_secret_free(a, sizeof *a);
    return err;
}

kd_err
trial_key(struct host *h, uint8_t number, enum kd_key_alg alg,
          struct kd_slice public_key, int64_t until, uint64_t *rv)
{
    *rv = 0;
    return alg == KD_ALG_SECP256K1 ? try_agreeing(h, number, public_key, until, rv)
                                   : try_signing(h, number, alg, public_key, until, rv);
}

static bool
signs(struct host *h, uint8_t number, struct kd_slice public_key,
      struct kd_slice message, enum call_end *end)
{
    enum { MS = 10000 };
    struct kd_token_sig sig;
    uint64_t rv;

    *end = call_sign(h, number, message, kd_clock_ms() + MS, &rv, &sig);
    return *end == CALL_DONE && rv == 0 &&
           verify(KD_ALG_ED25519, public_key, message, &sig) == KD_OK;
}

/* Zeros behind a prefix that nothing of DIME begins with. What the token refuses,
 * twice, is its limit, and what it takes longer for than an operation may; no answer
 * says nothing, and a refusal that is not repeated was about something else. */
bool
trial_limit(struct host *h, uint8_t number, struct kd_slice public_key,
            uint32_t timeout_ms, size_t *most)
{
    static const size_t sizes[] = {64,        1024,      2048,    4096,
                                   16 * 1024, 64 * 1024, 1 << 20, KD_MAIL_OBJECT_MAX};
    enum { N = sizeof sizes / sizeof *sizes };
    uint8_t *text = calloc(1, sizes[N - 1]);
    enum call_end end = CALL_DONE;

    *most = 0;
    if (text == NULL)
        return false;
    memcpy(text, prefix, sizeof prefix - 1);
    for (size_t i = 0; i < N; i++) {
        struct kd_slice message = kd_slice(text, sizes[i]);
        int64_t late = kd_clock_ms() + timeout_ms + p11_message_ms(sizes[i]);
        bool ok = signs(h, number, public_key, message, &end);
        bool is_late = kd_clock_ms() >= late;
        if (!ok && end == CALL_DONE && !is_late)
            ok = signs(h, number, public_key, message, &end);
        if (!ok || is_late)
            break;
        *most = sizes[i];
    }
    free(text);
    return end == CALL_DONE && *most != 0;
}
