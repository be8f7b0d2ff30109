/* A key that somebody's own tool put into a token of SoftHSM, for tests of keys that
 * keyd did not make. */
#ifndef KEYD_TESTS_SOFTHSM_KEY_H
#define KEYD_TESTS_SOFTHSM_KEY_H

#include "softhsm.h"

#include <stdint.h>

struct softhsm_key {
    const uint8_t *seed; /* 32: Ed25519, for signing */
    const char *id;      /* CKA_ID, as text */
    bool extractable, also_decrypts;
};

/* Both halves, by a process of that uid, which ends before this returns. */
bool softhsm_put_key(const struct softhsm *s, unsigned uid,
                     const struct softhsm_key *key);

#endif
