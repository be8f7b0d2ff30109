#include <dime/ed25519_verifier.h>

#include "eddsa.h"
#include "sha512.h"

#include <keyd/base/secret.h>

_Static_assert(sizeof(struct sha512) <= sizeof((struct dime_ed25519_verifier *)0)->hash,
               "the state fits");
_Static_assert(_Alignof(struct sha512) <= _Alignof(uint64_t), "and lies well");

static struct sha512 *
hash(struct dime_ed25519_verifier *v)
{
    return (struct sha512 *)(void *)v->hash;
}

void
dime_ed25519_verifier_init(struct dime_ed25519_verifier *v,
                           const uint8_t key[DIME_ED25519_KEY_SIZE],
                           const uint8_t sig[DIME_SIG_SIZE])
{
    memcpy(v->key, key, sizeof v->key);
    memcpy(v->sig, sig, sizeof v->sig);
    sha512_init(hash(v));
    sha512_add(hash(v), v->sig, 32);
    sha512_add(hash(v), v->key, sizeof v->key);
}

bool
dime_ed25519_verifier_is_hopeless(const struct dime_ed25519_verifier *v)
{
    return eddsa_sig_check(v->sig) != KD_OK;
}

void
dime_ed25519_verifier_add(struct dime_ed25519_verifier *v, struct kd_slice piece)
{
    sha512_add(hash(v), piece.p, piece.n);
}

kd_err
dime_ed25519_verifier_end(struct dime_ed25519_verifier *v)
{
    uint8_t digest[64];

    sha512_final(hash(v), digest);
    /* Both in any case, for equal work. */
    kd_err form = eddsa_sig_check(v->sig);
    kd_err equation = eddsa_equation(v->key, v->sig, digest);
    kd_secret_wipe(digest, sizeof digest);
    dime_ed25519_verifier_clear(v);
    return ((unsigned)(form != KD_OK) | (unsigned)(equation != KD_OK)) == 0
               ? KD_OK
               : KD_INVALID;
}

void
dime_ed25519_verifier_clear(struct dime_ed25519_verifier *v)
{
    kd_secret_wipe(v, sizeof *v);
}
