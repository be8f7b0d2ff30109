/* Keys of a message: what ECDH gives becomes an actor's key encryption key, which opens
 * his keyslots, each of which holds the key of one chunk (P6, "Keyslots"; D-093 to
 * D-095).
 *
 *   Z    the x coordinate of ephemeral key times encryption key, 32 octets
 *   KEK  H = SHA-512(Z): key H[32..63], IV H[0..15] XOR H[16..31]
 *   slot R(16) | R XOR IV (16) | key (32), AES-256-CBC under the KEK, no padding
 *
 * All structures here live in secret memory (kd_secret_new), and whoever made them
 * wipes them. A slot cannot be wrong: whatever it holds opens to some key, and that it
 * is the right one shows when what it opens verifies. */
#ifndef DIME_KEK_H
#define DIME_KEK_H

#include <dime/message.h>
#include <dime/secp.h>

enum { DIME_AES_KEY_SIZE = 32, DIME_AES_BLOCK = 16 };

struct dime_kek {
    uint8_t iv[DIME_AES_BLOCK];
    uint8_t key[DIME_AES_KEY_SIZE];
};

struct dime_chunk_key {
    uint8_t iv[DIME_AES_BLOCK];
    uint8_t key[DIME_AES_KEY_SIZE];
};

void dime_kek_derive(const uint8_t z[DIME_ECDH_SIZE], struct dime_kek *out);

/* The same from a private scalar, for who holds one (a user, a test; keyd's keys stay
 * in their token). KD_INVALID if the point is none or the scalar is out of range. */
kd_err dime_kek_agree(const uint8_t scalar[DIME_SCALAR_SIZE],
                      const uint8_t point[DIME_SECP_KEY_SIZE],
                      struct dime_kek *out) KD_MUST_USE;

kd_err dime_slot_open(const struct dime_kek *kek, const uint8_t slot[DIME_SLOT_SIZE],
                      struct dime_chunk_key *out) KD_MUST_USE;

/* random: 16 octets, fresh for every slot (DM-58). */
kd_err dime_slot_seal(const struct dime_kek *kek, const struct dime_chunk_key *key,
                      const uint8_t random[16],
                      uint8_t slot[DIME_SLOT_SIZE]) KD_MUST_USE;

/* The chunk's key by the actor's slot. KD_DENIED if the type grants him none; KD_IO,
 * KD_MALFORMED from the source. */
kd_err dime_chunk_key_of(const struct dime_message *m, const struct dime_chunk *c,
                         enum dime_actor actor, const struct dime_kek *kek,
                         struct dime_chunk_key *out) KD_MUST_USE;

#endif
