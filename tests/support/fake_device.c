#include "fake_device.h"

#include <dime/ed25519.h>
#include <dime/secp.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <string.h>

static struct fake_device *
fake(struct kd_device *d)
{
    return (struct fake_device *)d;
}

static size_t
key_of(const struct fake_device *d, const struct kd_key_id *id)
{
    for (size_t i = 0; i < d->n_keys; i++) {
        struct kd_key_id is =
            kd_key_id(d->keys[i].alg, kd_slice(d->keys[i].public_key, d->keys[i].n));
        if (memcmp(is.octets, id->octets, sizeof is.octets) == 0)
            return i;
    }
    return FAKE_KEYS_MAX;
}

static kd_err
fake_usable(struct kd_device *device, const struct kd_key_id *id)
{
    struct fake_device *d = fake(device);

    if (d->away || d->busy)
        return d->away ? KD_UNAVAILABLE : KD_BUSY;
    return key_of(d, id) == FAKE_KEYS_MAX ? KD_NOT_FOUND : KD_OK;
}

static kd_err
fake_caps(struct kd_device *device, const struct kd_key_id *id, struct kd_key_caps *out)
{
    (void)id;
    if (fake(device)->limit == 0)
        return KD_UNAVAILABLE;
    *out = (struct kd_key_caps){.max_message = fake(device)->limit};
    return KD_OK;
}

static void
stop(struct fake_device *d)
{
    if (d->entered != NULL)
        sem_post(d->entered);
    if (d->may_leave != NULL)
        sem_wait(d->may_leave);
}

static kd_err
fake_sign(struct kd_device *device, const struct kd_key_id *id, struct kd_slice message,
          int64_t until, struct kd_token_sig *sig)
{
    struct fake_device *d = fake(device);
    uint8_t pub[32], sk[64];
    size_t at = key_of(d, id);

    (void)until;
    d->n_sign++;
    stop(d);
    if (d->away || at == FAKE_KEYS_MAX)
        return d->away ? KD_UNAVAILABLE : KD_NOT_FOUND;
    crypto_sign_seed_keypair(pub, sk, d->keys[at].secret);
    crypto_sign_detached(sig->octets, NULL, message.p, message.n, sk);
    sig->n = DIME_SIG_SIZE;
    sig->octets[0] ^= d->signs_wrong;
    return KD_OK;
}

static kd_err
fake_ecdh(struct kd_device *device, const struct kd_key_id *id, const uint8_t point[65],
          int64_t until, uint8_t z[KD_ECDH_SIZE])
{
    struct fake_device *d = fake(device);
    uint8_t compressed[33];
    size_t at = key_of(d, id);

    (void)until;
    d->n_ecdh++;
    stop(d);
    if (d->away || at == FAKE_KEYS_MAX)
        return d->away ? KD_UNAVAILABLE : KD_NOT_FOUND;
    compressed[0] = (uint8_t)(2 + (point[64] & 1));
    memcpy(compressed + 1, point + 1, 32);
    kd_err err = dime_secp_ecdh(d->keys[at].secret, compressed, z);
    z[5] ^= d->agrees_wrong;
    return err;
}

static void
fake_bad(struct kd_device *device, const struct kd_key_id *id)
{
    (void)id;
    fake(device)->n_bad++;
}

static kd_err
fake_probed(struct kd_device *device, const struct kd_key_id *id, int64_t since,
            int64_t until)
{
    struct fake_device *d = fake(device);

    (void)since;
    (void)until;
    d->n_probed++;
    if (d->signs_wrong || d->agrees_wrong)
        return KD_FAILED;
    return fake_usable(device, id);
}

static kd_err
fake_make(struct kd_device *device, const struct kd_key_spec *spec,
          struct kd_slice secret, struct kd_place *place, uint8_t *flags,
          uint8_t *public_key, size_t *n)
{
    struct fake_device *d = fake(device);
    size_t at = d->n_keys;

    d->n_make++;
    if (d->away || d->makes_nothing || at == FAKE_KEYS_MAX)
        return d->away ? KD_UNAVAILABLE : KD_FAILED;
    if (secret.n != 0)
        memcpy(d->keys[at].secret, secret.p, 32);
    else
        dime_secp_random(d->keys[at].secret); /* does for a seed, too */
    d->keys[at].alg = spec->alg;
    if (spec->alg == KD_ALG_SECP256K1) {
        kd_ignore(dime_secp_public(d->keys[at].secret, d->keys[at].public_key));
        d->keys[at].n = 33;
    } else {
        dime_ed25519_public(d->keys[at].secret, d->keys[at].public_key);
        d->keys[at].n = 32;
    }
    randombytes_buf(d->keys[at].id, 16);
    place->id_size = 16;
    memcpy(place->id, d->keys[at].id, 16);
    *flags = secret.n != 0 ? KD_HELD_IMPORTED
                           : KD_HELD_MADE_INSIDE | KD_HELD_NEVER_EXTRACTABLE;
    *n = d->keys[at].n;
    memcpy(public_key, d->keys[at].public_key, *n);
    d->n_keys++;
    return KD_OK;
}

static kd_err
fake_unmake(struct kd_device *device, const struct kd_place *place,
            struct kd_slice public_key)
{
    struct fake_device *d = fake(device);

    d->n_unmake++;
    for (size_t i = 0; i < d->n_keys; i++) {
        if (place->id_size != 16 || memcmp(place->id, d->keys[i].id, 16) != 0 ||
            !kd_slice_eq(public_key, kd_slice(d->keys[i].public_key, d->keys[i].n)))
            continue;
        d->keys[i] = d->keys[--d->n_keys];
        return KD_OK;
    }
    return KD_NOT_FOUND;
}

static kd_err
fake_look(struct kd_device *device, enum kd_key_alg alg, struct kd_slice public_key,
          struct kd_place *place, uint8_t *flags)
{
    struct fake_device *d = fake(device);

    for (size_t i = 0; i < d->n_keys; i++) {
        if (d->keys[i].alg != alg ||
            !kd_slice_eq(public_key, kd_slice(d->keys[i].public_key, d->keys[i].n)))
            continue;
        place->id_size = 16;
        memcpy(place->id, d->keys[i].id, 16);
        *flags = KD_HELD_ADOPTED;
        return KD_OK;
    }
    return KD_NOT_FOUND;
}

static kd_err
fake_hold(struct kd_device *device, const struct kd_device_keys *keys)
{
    struct fake_device *d = fake(device);

    d->n_hold++;
    d->n_held = keys->n;
    d->n_probes = 0;
    for (size_t i = 0; i < keys->n && i < FAKE_KEYS_MAX; i++) {
        d->held[i] = keys->list[i].id;
        d->n_probes += keys->list[i].is_probed;
    }
    memcpy(d->latch, keys->latch, sizeof d->latch);
    memcpy(d->good, keys->good, sizeof d->good);
    memcpy(d->tried, keys->tried, sizeof d->tried);
    memcpy(d->serial, keys->serial, sizeof d->serial);
    d->is_sealed = sodium_is_zero(keys->latch, sizeof keys->latch) != 0;
    return KD_OK;
}

void
fake_device_init(struct fake_device *d, const char *name)
{
    static const struct kd_device_ops ops = {.usable = fake_usable,
                                             .key_caps = fake_caps,
                                             .sign = fake_sign,
                                             .ecdh = fake_ecdh,
                                             .bad = fake_bad,
                                             .probed = fake_probed,
                                             .make = fake_make,
                                             .unmake = fake_unmake,
                                             .look = fake_look,
                                             .hold = fake_hold};

    memset(d, 0, sizeof *d);
    d->device.ops = &ops;
    d->name = name;
}
