#include <dime/kek.h>

#include "aes.h"
#include "sha512.h"
#include "slot.h"

#include <keyd/base/secret.h>

enum { RANDOM = 16 };

/* A slot's plaintext (D-095). */
struct slot_plain {
    uint8_t random[RANDOM];
    uint8_t shifted[DIME_AES_BLOCK]; /* random XOR IV */
    uint8_t key[DIME_AES_KEY_SIZE];
};

_Static_assert(sizeof(struct slot_plain) == DIME_SLOT_SIZE, "four blocks");

static void
xor_block(uint8_t out[16], const uint8_t a[16], const uint8_t b[16])
{
    for (size_t i = 0; i < 16; i++)
        out[i] = a[i] ^ b[i];
}

void
dime_kek_derive(const uint8_t z[DIME_ECDH_SIZE], struct dime_kek *out)
{
    struct sha512 h;
    uint8_t digest[64];

    sha512_init(&h);
    sha512_add(&h, z, DIME_ECDH_SIZE);
    sha512_final(&h, digest);
    xor_block(out->iv, digest, digest + 16);
    memcpy(out->key, digest + 32, sizeof out->key);
    kd_secret_wipe(&h, sizeof h);
    kd_secret_wipe(digest, sizeof digest);
}

kd_err
dime_kek_agree(const uint8_t scalar[DIME_SCALAR_SIZE],
               const uint8_t point[DIME_SECP_KEY_SIZE], struct dime_kek *out)
{
    uint8_t z[DIME_ECDH_SIZE];
    kd_err err = dime_secp_ecdh(scalar, point, z); /* checks the point */

    if (err == KD_OK)
        dime_kek_derive(z, out);
    kd_secret_wipe(z, sizeof z);
    return err;
}

kd_err
dime_slot_open(const struct dime_kek *kek, const uint8_t slot[DIME_SLOT_SIZE],
               struct dime_chunk_key *out)
{
    struct slot_plain plain;
    kd_err err =
        aes_cbc_once(false, kek->key, kek->iv, slot, DIME_SLOT_SIZE, (uint8_t *)&plain);

    if (err == KD_OK) {
        xor_block(out->iv, plain.random, plain.shifted);
        memcpy(out->key, plain.key, sizeof out->key);
    }
    kd_secret_wipe(&plain, sizeof plain);
    return err;
}

kd_err
slot_seal(struct aes_cbc *a, const struct dime_kek *kek,
          const struct dime_chunk_key *key, const uint8_t random[16],
          uint8_t slot[DIME_SLOT_SIZE])
{
    struct slot_plain plain;
    kd_err err = aes_cbc_again(a, kek->iv);

    if (err != KD_OK)
        return err;
    memcpy(plain.random, random, sizeof plain.random);
    xor_block(plain.shifted, random, key->iv);
    memcpy(plain.key, key->key, sizeof plain.key);
    err = aes_cbc_add(a, (const uint8_t *)&plain, DIME_SLOT_SIZE, slot);
    kd_secret_wipe(&plain, sizeof plain);
    return err;
}

kd_err
dime_slot_seal(const struct dime_kek *kek, const struct dime_chunk_key *key,
               const uint8_t random[16], uint8_t slot[DIME_SLOT_SIZE])
{
    struct aes_cbc a = {NULL};
    kd_err err = aes_cbc_begin(&a, true, kek->key, kek->iv);

    if (err == KD_OK)
        err = slot_seal(&a, kek, key, random, slot);
    aes_cbc_end(&a);
    return err;
}

kd_err
dime_chunk_key_of(const struct dime_message *m, const struct dime_chunk *c,
                  enum dime_actor actor, const struct dime_kek *kek,
                  struct dime_chunk_key *out)
{
    uint8_t slot[DIME_SLOT_SIZE];
    int i = dime_chunk_slot(c->def, actor);

    if (i < 0)
        return KD_DENIED;
    kd_err err =
        dime_source_read(&m->source, dime_chunk_slots(c) + (uint64_t)i * DIME_SLOT_SIZE,
                         slot, sizeof slot);
    return err == KD_OK ? dime_slot_open(kek, slot, out) : err;
}
