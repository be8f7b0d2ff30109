#include <dime/ed25519.h>

#include "eddsa.h"
#include "sha512.h"

#include <keyd/base/secret.h>
#include <sodium.h>

kd_err
dime_ed25519_verify_trusted_key(const uint8_t key[DIME_ED25519_KEY_SIZE],
                                struct kd_slice message,
                                const uint8_t sig[DIME_SIG_SIZE])
{
    /* Refuses S >= L, keys and R of small order and other encodings of the key; it
     * compares R as octets. What it does not refuse is a key of mixed order. */
    int verdict = crypto_sign_verify_detached(sig, message.p, message.n, key);

    return verdict == 0 ? KD_OK : KD_INVALID;
}

kd_err
dime_ed25519_verify(const uint8_t key[DIME_ED25519_KEY_SIZE], struct kd_slice message,
                    const uint8_t sig[DIME_SIG_SIZE])
{
    if (!dime_ed25519_key_valid(key))
        return KD_INVALID;
    return dime_ed25519_verify_trusted_key(key, message, sig);
}

/* RFC 8032 section 5.1.5 */
static void
expand(struct dime_ed25519_half *out, const uint8_t seed[DIME_SEED_SIZE])
{
    struct sha512 h;
    uint8_t digest[64];

    sha512_init(&h);
    sha512_add(&h, seed, DIME_SEED_SIZE);
    sha512_final(&h, digest);
    memcpy(out->a, digest, 32);
    memcpy(out->prefix, digest + 32, 32);
    out->a[0] &= 0xf8;
    out->a[31] = (uint8_t)((out->a[31] & 0x7f) | 0x40);
    /* fails for a multiple of the group order only: no honest hash gives that */
    kd_ignore(crypto_scalarmult_ed25519_base_noclamp(out->key, out->a));
    kd_secret_wipe(&h, sizeof h);
    kd_secret_wipe(digest, sizeof digest);
}

void
dime_ed25519_public(const uint8_t seed[DIME_SEED_SIZE],
                    uint8_t key[DIME_ED25519_KEY_SIZE])
{
    struct dime_ed25519_half half;

    expand(&half, seed);
    memcpy(key, half.key, sizeof half.key);
    kd_secret_wipe(&half, sizeof half);
}

void
dime_ed25519_secret_init(struct dime_ed25519_secret *out,
                         const uint8_t seed[DIME_SEED_SIZE])
{
    expand(&out->use, seed);
    /* expanded again, not copied: a fault in the first run shows in the comparison */
    expand(&out->check, seed);
}

kd_err
dime_ed25519_secret_check(const struct dime_ed25519_secret *secret)
{
    bool same = kd_secret_eq(&secret->use, &secret->check, sizeof secret->use);

    return same ? KD_OK : KD_FAILED;
}

/* Everything a signature passes through that would give the key away. */
struct work {
    struct sha512 hash;
    uint8_t digest[64];
    uint8_t r[32];
    uint8_t sig[DIME_SIG_SIZE];
};

static kd_err
make_signature(struct work *w, const struct dime_ed25519_half *use,
               struct kd_slice message)
{
    kd_err err;

    sha512_init(&w->hash);
    sha512_add(&w->hash, use->prefix, sizeof use->prefix);
    sha512_add(&w->hash, message.p, message.n);
    sha512_final(&w->hash, w->digest);
    if ((err = eddsa_commit(w->digest, w->r, w->sig)) != KD_OK)
        return err;
    sha512_init(&w->hash);
    sha512_add(&w->hash, w->sig, 32);
    sha512_add(&w->hash, use->key, sizeof use->key);
    sha512_add(&w->hash, message.p, message.n);
    sha512_final(&w->hash, w->digest);
    eddsa_respond(use->a, w->r, w->digest, w->sig + 32);
    return KD_OK;
}

kd_err
dime_ed25519_secret_sign(const struct dime_ed25519_secret *secret,
                         struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    struct work w;
    kd_err err;

    if ((err = dime_ed25519_secret_check(secret)) != KD_OK)
        return err;
    if ((err = make_signature(&w, &secret->use, message)) != KD_OK)
        goto out;
    if ((err = dime_ed25519_secret_check(secret)) != KD_OK)
        goto out;
    memcpy(sig, w.sig, sizeof w.sig);
out:
    kd_secret_wipe(&w, sizeof w);
    return err;
}

kd_err
dime_ed25519_sign(const uint8_t seed[DIME_SEED_SIZE],
                  const uint8_t key[DIME_ED25519_KEY_SIZE], struct kd_slice message,
                  uint8_t sig[DIME_SIG_SIZE])
{
    struct dime_ed25519_secret secret;
    kd_err err = KD_FAILED;

    dime_ed25519_secret_init(&secret, seed);
    if (kd_secret_eq(secret.use.key, key, sizeof secret.use.key))
        err = dime_ed25519_secret_sign(&secret, message, sig);
    kd_secret_wipe(&secret, sizeof secret);
    return err;
}
