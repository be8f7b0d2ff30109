#include <dime/ed25519_signer.h>

#include "eddsa.h"
#include "sha512.h"

#include <keyd/base/secret.h>

_Static_assert(sizeof(struct sha512) <= sizeof((struct dime_ed25519_nonce *)0)->hash,
               "the state fits");
_Static_assert(sizeof(struct sha512) <= sizeof((struct dime_ed25519_signer *)0)->hash,
               "here too");
_Static_assert(_Alignof(struct sha512) <= _Alignof(uint64_t), "and lies well");

static struct sha512 *
hash_of(uint64_t *words)
{
    return (struct sha512 *)(void *)words;
}

kd_err
dime_ed25519_nonce_init(struct dime_ed25519_nonce *n,
                        const struct dime_ed25519_secret *secret)
{
    kd_err err = dime_ed25519_secret_check(secret);

    if (err != KD_OK)
        return err;
    memcpy(n->key, secret->use.key, sizeof n->key);
    sha512_init(hash_of(n->hash));
    sha512_add(hash_of(n->hash), secret->use.prefix, sizeof secret->use.prefix);
    return KD_OK;
}

void
dime_ed25519_nonce_add(struct dime_ed25519_nonce *n, struct kd_slice piece)
{
    sha512_add(hash_of(n->hash), piece.p, piece.n);
}

kd_err
dime_ed25519_nonce_commit(const struct dime_ed25519_nonce *n,
                          struct dime_ed25519_signer *out)
{
    struct sha512 *h = hash_of(out->hash);
    uint8_t digest[64];

    /* The copy is finished in the signer's place, which is secret memory. */
    memcpy(out->hash, n->hash, sizeof out->hash);
    sha512_final(h, digest);
    kd_err err = eddsa_commit(digest, out->r, out->R);
    kd_secret_wipe(digest, sizeof digest);
    if (err != KD_OK) {
        kd_secret_wipe(out, sizeof *out);
        return err;
    }
    memcpy(out->key, n->key, sizeof out->key);
    sha512_init(h);
    sha512_add(h, out->R, sizeof out->R);
    sha512_add(h, out->key, sizeof out->key);
    return KD_OK;
}

void
dime_ed25519_signer_add(struct dime_ed25519_signer *s, struct kd_slice piece)
{
    sha512_add(hash_of(s->hash), piece.p, piece.n);
}

kd_err
dime_ed25519_signer_end(struct dime_ed25519_signer *s,
                        const struct dime_ed25519_secret *secret,
                        uint8_t sig[DIME_SIG_SIZE])
{
    uint8_t digest[64], S[32];
    kd_err err;

    sha512_final(hash_of(s->hash), digest);
    if ((err = dime_ed25519_secret_check(secret)) != KD_OK)
        goto out;
    /* The key was hashed from our copy: it has to be the one the scalar belongs to. */
    if (!kd_secret_eq(s->key, secret->use.key, sizeof s->key)) {
        err = KD_FAILED;
        goto out;
    }
    eddsa_respond(secret->use.a, s->r, digest, S);
    if ((err = dime_ed25519_secret_check(secret)) != KD_OK)
        goto out;
    memcpy(sig, s->R, 32);
    memcpy(sig + 32, S, 32);
out:
    kd_secret_wipe(S, sizeof S);
    kd_secret_wipe(s, sizeof *s);
    return err;
}
