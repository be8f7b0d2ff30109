/* Keys that devices hold. What a device computes is a claim: signatures are verified
 * here, always, and a wrong one never leaves; what was derived cannot be, so it can be
 * doubted later (kd_token_confirm). */
#include "held.h"

#include "rsa.h"
#include "tables.h"

#include <dime/ed25519.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/base/sha256.h>

#include <secp256k1.h>
#include <sodium.h>

enum {
    POINT_SIZE = 65,
    PROBE_AGE_MS = 60 * 1000, /* a trial younger than that is as good as one now */
    DOUBT_MS = 60 * 1000      /* no work goes on for longer with what was derived */
};

/* --- what threads say --- */

static _Thread_local int64_t thread_until;

void
kd_token_set_until(int64_t ms)
{
    thread_until = ms;
}

int64_t
kd_token_until(void)
{
    return thread_until == 0 ? INT64_MAX : thread_until;
}

/* --- signatures --- */

void
kd_rsa_digest(enum kd_sign_purpose purpose, struct kd_slice message,
              uint8_t digest[KD_SIGN_DIGEST_SIZE])
{
    struct kd_sha256 h;

    if (purpose == KD_SIGN_DKIM && message.n == KD_SIGN_DIGEST_SIZE) {
        memcpy(digest, message.p, KD_SIGN_DIGEST_SIZE);
        return;
    }
    kd_sha256_init(&h);
    kd_sha256_add(&h, message);
    kd_sha256_final(&h, digest);
}

kd_err
kd_sig_verify(const struct kd_key_info *key, enum kd_sign_purpose purpose,
              struct kd_slice message, const struct kd_token_sig *sig)
{
    uint8_t digest[KD_SIGN_DIGEST_SIZE];

    switch (key->alg) {
    case KD_ALG_ED25519:
        if (sig->n != DIME_SIG_SIZE)
            return KD_INVALID;
        return dime_ed25519_verify_trusted_key(key->public_key, message, sig->octets);
    case KD_ALG_RSA:
        if (sig->n > KD_SIG_MAX)
            return KD_INVALID;
        kd_rsa_digest(purpose, message, digest);
        return kd_rsa_verify(kd_slice(key->public_key, key->public_size), digest,
                             kd_slice(sig->octets, sig->n));
    case KD_ALG_SECP256K1: /* does not sign */
        break;
    }
    return KD_UNSUPPORTED;
}

/* --- a call --- */

/* What is taken along when the lock is let go. */
struct call {
    struct kd_key_info key;
    unsigned n;
    struct kd_token_place places[KD_PLACES_MAX];
};

/* May the key do it? */
struct use {
    bool signs, unseals;
    enum kd_sign_purpose purpose;
};

static kd_err
may(const struct kd_key_info *key, const struct use *use)
{
    if (use->signs)
        return kd_key_allows(key, use->purpose);
    if (use->unseals)
        return key->role == KD_KEY_ROLE_SEAL && kd_state_row(key->state)->agrees
                   ? KD_OK
                   : KD_DENIED;
    return kd_key_agrees(key);
}

static kd_err
look_locked(struct kd_token *t, const struct kd_key_id *id, const struct use *use,
            size_t *at)
{
    kd_err err = kd_token_find(t, id, at);

    if (err != KD_OK)
        return err;
    if (t->sealed)
        return KD_SEALED;
    return use == NULL ? KD_OK : may(t->ops->info(t, *at), use);
}

static void
places_of(struct kd_token *t, size_t at, struct call *c)
{
    const struct kd_held *held = t->ops->held(t, at);

    c->key = *t->ops->info(t, at);
    c->n = 0;
    for (unsigned i = 0; i < held->n_places; i++) {
        struct kd_token_place p = t->ops->place(t, &held->places[i]);
        if (p.device != NULL)
            c->places[c->n++] = p;
    }
}

static bool
is_usable(const struct call *c, unsigned i)
{
    struct kd_device *d = c->places[i].device;

    return d->ops->usable(d, &c->key.id) == KD_OK;
}

/* The clone first that can be asked, or has less to do. */
static void
order(struct call *c)
{
    if (c->n < 2)
        return;
    bool first = is_usable(c, 0), second = is_usable(c, 1);
    bool swaps =
        first == second
            ? atomic_load_explicit(c->places[1].n_busy, memory_order_relaxed) <
                  atomic_load_explicit(c->places[0].n_busy, memory_order_relaxed)
            : second;
    if (!swaps)
        return;
    struct kd_token_place p = c->places[0];
    c->places[0] = c->places[1];
    c->places[1] = p;
}

/* Takes what a call needs and holds the token; ends with end_call. */
static kd_err
begin_call(struct kd_token *t, const struct kd_key_id *id, const struct use *use,
           struct call *c)
{
    size_t at;
    kd_err err = kd_token_lock_shared(t);

    if (err != KD_OK)
        return err;
    if ((err = look_locked(t, id, use, &at)) == KD_OK &&
        !kd_token_is_held(t, at)) /* not any more: another key of the same name */
        err = KD_UNAVAILABLE;
    if (err == KD_OK) {
        places_of(t, at, c);
        if (c->n == 0)
            err = KD_UNAVAILABLE;
        else
            kd_token_hold(t);
    }
    kd_token_unlock(t);
    return err;
}

/* Whether what came may be given: the token may have been sealed and the key retired
 * since. Lets go of the token. */
static kd_err
end_call(struct kd_token *t, const struct kd_key_id *id, const struct use *use,
         kd_err err)
{
    size_t at;

    if (err == KD_OK && (err = kd_token_lock_shared(t)) == KD_OK) {
        err = look_locked(t, id, use, &at);
        kd_token_unlock(t);
    }
    kd_token_release(t);
    return err;
}

/* Whether another device could do better. */
static bool
asks_the_clone(kd_err err)
{
    return err == KD_UNAVAILABLE || err == KD_BUSY || err == KD_FAILED ||
           err == KD_NOT_FOUND || err == KD_TOO_LARGE;
}

/* The key is listed, so it is not what was not found; and what a device got wrong may
 * be right later: it is counted, and asked for again. */
static kd_err
told(kd_err err)
{
    return err == KD_NOT_FOUND || err == KD_FAILED ? KD_UNAVAILABLE : err;
}

/* --- signing --- */

/* sig is good, or wiped. */
static kd_err
sign_at(struct kd_token *t, const struct call *c, const struct kd_token_place *p,
        enum kd_sign_purpose purpose, struct kd_slice message, struct kd_token_sig *sig)
{
    struct kd_device *d = p->device;
    uint8_t digest[KD_SIGN_DIGEST_SIZE];
    struct kd_slice signs = message;

    if (c->key.alg == KD_ALG_RSA) {
        kd_rsa_digest(purpose, message, digest);
        signs = kd_slice(digest, sizeof digest);
    }
    atomic_fetch_add_explicit(p->n_busy, 1, memory_order_relaxed);
    kd_err err = d->ops->sign(d, &c->key.id, signs, kd_token_until(), sig);
    atomic_fetch_sub_explicit(p->n_busy, 1, memory_order_relaxed);
    if (err == KD_OK) {
        err = kd_sig_verify(&c->key, purpose, message, sig);
        if (err == KD_INVALID) {
            d->ops->bad(d, &c->key.id);
            err = KD_FAILED;
        }
    }
    if (err == KD_FAILED)
        err = kd_token_fault(t);
    if (err != KD_OK)
        kd_secret_wipe(sig, sizeof *sig);
    return err;
}

static bool
is_within(const struct kd_token_place *p, const struct kd_key_id *id, size_t n)
{
    struct kd_key_caps caps;

    /* What is not known is for the device to say. */
    return p->device->ops->key_caps(p->device, id, &caps) != KD_OK ||
           n <= caps.max_message;
}

kd_err
kd_held_sign(struct kd_token *t, const struct kd_key_id *id,
             enum kd_sign_purpose purpose, struct kd_slice message,
             struct kd_token_sig *out)
{
    const struct use use = {.signs = true, .purpose = purpose};
    struct kd_token_sig sig = {.n = 0};
    struct call c;
    kd_err err = begin_call(t, id, &use, &c);

    if (err != KD_OK)
        return err;
    if ((err = kd_purpose_fits(purpose, message)) != KD_OK)
        return end_call(t, id, &use, err);
    order(&c);
    err = KD_TOO_LARGE;
    for (unsigned i = 0; i < c.n && asks_the_clone(err); i++)
        if (c.key.alg == KD_ALG_RSA || is_within(&c.places[i], id, message.n))
            err = sign_at(t, &c, &c.places[i], purpose, message, &sig);
    err = end_call(t, id, &use, told(err));
    if (err == KD_OK)
        *out = sig;
    kd_secret_wipe(&sig, sizeof sig);
    return err;
}

/* --- agreeing --- */

static kd_err
uncompress(const uint8_t peer[DIME_SECP_KEY_SIZE], uint8_t point[POINT_SIZE])
{
    secp256k1_pubkey p;
    size_t n = POINT_SIZE;

    if (secp256k1_ec_pubkey_parse(secp256k1_context_static, &p, peer,
                                  DIME_SECP_KEY_SIZE) != 1 ||
        secp256k1_ec_pubkey_serialize(secp256k1_context_static, point, &n, &p,
                                      SECP256K1_EC_UNCOMPRESSED) != 1 ||
        n != POINT_SIZE)
        return KD_INVALID;
    return KD_OK;
}

static kd_err
ecdh_at(struct kd_token *t, const struct call *c, const struct kd_token_place *p,
        const uint8_t point[POINT_SIZE], uint8_t z[KD_ECDH_SIZE])
{
    struct kd_device *d = p->device;

    atomic_fetch_add_explicit(p->n_busy, 1, memory_order_relaxed);
    kd_err err = d->ops->ecdh(d, &c->key.id, point, kd_token_until(), z);
    atomic_fetch_sub_explicit(p->n_busy, 1, memory_order_relaxed);
    if (err == KD_OK && sodium_is_zero(z, KD_ECDH_SIZE)) /* of no point */
        err = KD_FAILED;
    if (err == KD_FAILED)
        return kd_token_fault(t);
    if (err == KD_OK)
        atomic_store_explicit(p->derived_ms, kd_clock_ms(), memory_order_relaxed);
    return err;
}

static kd_err
agree(struct kd_token *t, const struct kd_key_id *id, const struct use *use,
      const uint8_t peer[DIME_SECP_KEY_SIZE], uint8_t z[KD_ECDH_SIZE])
{
    uint8_t point[POINT_SIZE];
    struct call c;
    kd_err err = uncompress(peer, point);

    if (err != KD_OK || (err = begin_call(t, id, use, &c)) != KD_OK)
        return err;
    order(&c);
    err = KD_UNAVAILABLE;
    for (unsigned i = 0; i < c.n && asks_the_clone(err); i++)
        err = ecdh_at(t, &c, &c.places[i], point, z);
    err = end_call(t, id, use, told(err));
    if (err != KD_OK)
        kd_secret_wipe(z, KD_ECDH_SIZE);
    return err;
}

kd_err
kd_held_ecdh(struct kd_token *t, const struct kd_key_id *id,
             const uint8_t peer[DIME_SECP_KEY_SIZE], uint8_t z[KD_ECDH_SIZE])
{
    const struct use use = {.signs = false};

    return agree(t, id, &use, peer, z);
}

kd_err
kd_held_unseal(struct kd_token *t, const struct kd_key_id *id,
               const uint8_t peer[DIME_SECP_KEY_SIZE], uint8_t z[KD_ECDH_SIZE])
{
    const struct use use = {.unseals = true};

    return agree(t, id, &use, peer, z);
}

/* --- trials --- */

/* Good if one device's is and none does wrong. */
static kd_err
trials(const struct call *c, int64_t since)
{
    kd_err result = KD_UNAVAILABLE;
    bool is_one_good = false;

    for (unsigned i = 0; i < c->n; i++) {
        struct kd_device *d = c->places[i].device;
        kd_err err = d->ops->probed(d, &c->key.id, since, kd_token_until());
        if (err == KD_FAILED)
            return err;
        is_one_good |= err == KD_OK;
        result = told(err);
    }
    return is_one_good ? KD_OK : result;
}

kd_err
kd_held_probe(struct kd_token *t, const struct kd_key_id *id)
{
    struct call c;
    kd_err err = begin_call(t, id, NULL, &c);

    if (err != KD_OK)
        return err;
    err = kd_state_row(c.key.state)->probed ? trials(&c, kd_clock_ms() - PROBE_AGE_MS)
                                            : KD_DENIED;
    return end_call(t, id, NULL, err);
}

/* Of clones those are in doubt that have derived anything lately, and all of them have
 * to do right: one that is away by now is what doubt is about. */
static kd_err
confirm(struct call *c, int64_t since)
{
    kd_err err = KD_OK;
    unsigned n = 0;

    for (unsigned i = 0; i < c->n && err == KD_OK; i++) {
        const struct kd_token_place *p = &c->places[i];
        if (since - atomic_load_explicit(p->derived_ms, memory_order_relaxed) >
            DOUBT_MS)
            continue;
        n++;
        err = told(
            p->device->ops->probed(p->device, &c->key.id, since, kd_token_until()));
    }
    return n == 0 ? trials(c, since) : err;
}

kd_err
kd_token_confirm(struct kd_token *t, const struct kd_key_id *id)
{
    struct call c;
    size_t at;
    int64_t since = kd_clock_ms();
    kd_err err = kd_token_lock_shared(t);

    if (err != KD_OK)
        return err;
    err = look_locked(t, id, NULL, &at);
    bool is_own = err == KD_OK && !kd_token_is_held(t, at);
    kd_token_unlock(t);
    if (err != KD_OK || is_own)
        return err;
    if ((err = begin_call(t, id, NULL, &c)) != KD_OK)
        return err;
    return end_call(t, id, NULL, confirm(&c, since));
}

/* --- what is known without asking --- */

size_t
kd_token_limit(struct kd_token *t, size_t at)
{
    size_t most = t->ops->caps(t).max_message;
    struct kd_key_caps caps;
    bool is_known = false;
    size_t limit = 0;

    if (!kd_token_is_held(t, at) || t->ops->info(t, at)->alg == KD_ALG_RSA)
        return most;
    const struct kd_held *held = t->ops->held(t, at);
    for (unsigned i = 0; i < held->n_places; i++) {
        struct kd_device *d = t->ops->place(t, &held->places[i]).device;
        if (d == NULL || d->ops->key_caps(d, &t->ops->info(t, at)->id, &caps) != KD_OK)
            continue;
        is_known = true;
        limit = limit > caps.max_message ? limit : caps.max_message;
    }
    return is_known && limit < most ? limit : most;
}

size_t
kd_token_key_limit(struct kd_token *t, const struct kd_key_id *id)
{
    size_t at, limit = 0;

    if (kd_token_lock_shared(t) != KD_OK)
        return 0;
    if (kd_token_find(t, id, &at) == KD_OK &&
        kd_alg_row(t->ops->info(t, at)->alg)->sig_size != 0)
        limit = kd_token_limit(t, at);
    kd_token_unlock(t);
    return limit;
}

/* KD_BUSY rather than KD_UNAVAILABLE: it passes. */
static kd_err
held_usable(struct kd_token *t, size_t at)
{
    const struct kd_held *held = t->ops->held(t, at);
    kd_err result = KD_UNAVAILABLE;

    for (unsigned i = 0; i < held->n_places; i++) {
        struct kd_device *d = t->ops->place(t, &held->places[i]).device;
        if (d == NULL)
            continue;
        kd_err err = d->ops->usable(d, &t->ops->info(t, at)->id);
        if (err == KD_OK)
            return KD_OK;
        if (i == 0 || err == KD_BUSY)
            result = err;
    }
    return result;
}

kd_err
kd_token_usable(struct kd_token *t, const struct kd_key_id *id)
{
    size_t at;
    kd_err err = kd_token_lock_shared(t);

    if (err != KD_OK)
        return err;
    if ((err = look_locked(t, id, NULL, &at)) != KD_OK)
        goto out;
    /* What it may not do at all it is refused later. */
    if (!kd_state_row(t->ops->info(t, at)->state)->probed)
        goto out;
    if (kd_token_is_held(t, at))
        err = held_usable(t, at);
    else if (t->ops->ready != NULL)
        err = t->ops->ready(t, at);
out:
    kd_token_unlock(t);
    return err;
}

unsigned
kd_token_waits(struct kd_token *t, const struct kd_key_id *ids, size_t n)
{
    unsigned waits = 0;
    size_t at;

    if (kd_token_lock_shared(t) != KD_OK)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (kd_token_find(t, &ids[i], &at) != KD_OK || !kd_token_is_held(t, at))
            continue;
        const struct kd_held *held = t->ops->held(t, at);
        for (unsigned k = 0; k < held->n_places; k++)
            waits |= 1u << held->places[k].token;
    }
    kd_token_unlock(t);
    return waits;
}

kd_err
kd_token_held(struct kd_token *t, const struct kd_key_id *id, struct kd_held *out)
{
    size_t at;
    kd_err err = kd_token_lock_shared(t);

    if (err != KD_OK)
        return err;
    if ((err = kd_token_find(t, id, &at)) == KD_OK)
        *out = t->ops->held == NULL ? (struct kd_held){.holding = KD_OWN}
                                    : *t->ops->held(t, at);
    kd_token_unlock(t);
    return err;
}
