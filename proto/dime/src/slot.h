/* A keyslot under a key encryption key whose expansion is at hand. */
#ifndef DIME_SRC_SLOT_H
#define DIME_SRC_SLOT_H

#include "aes.h"

#include <dime/kek.h>

/* a: begun for encryption with kek. As dime_slot_seal. */
kd_err slot_seal(struct aes_cbc *a, const struct dime_kek *kek,
                 const struct dime_chunk_key *key, const uint8_t random[16],
                 uint8_t slot[DIME_SLOT_SIZE]) KD_MUST_USE;

#endif
