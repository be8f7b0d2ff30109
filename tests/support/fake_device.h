/* A device of the key store (keyd/token/device.h) in this process, that does as it is
 * told: real keys, wrong answers. A double of the interface; real tokens are SoftHSM's.
 */
#ifndef KEYD_TESTS_FAKE_DEVICE_H
#define KEYD_TESTS_FAKE_DEVICE_H

#include <keyd/token/device.h>

#include <semaphore.h>
#include <stdatomic.h>

enum { FAKE_KEYS_MAX = 16 };

struct fake_device {
    struct kd_device device; /* first */
    const char *name;
    /* How it is. */
    bool away, busy, signs_wrong, agrees_wrong, makes_nothing;
    size_t limit;               /* 0: not known */
    sem_t *entered, *may_leave; /* of each operation; NULL: it does not stop */
    /* What was asked of it. */
    atomic_uint n_sign, n_ecdh, n_bad, n_probed, n_make, n_unmake, n_hold;
    /* What it has. */
    size_t n_keys;
    struct {
        uint8_t id[16], secret[32], public_key[33];
        size_t n;
        enum kd_key_alg alg;
    } keys[FAKE_KEYS_MAX];
    /* What it was told last. */
    size_t n_held, n_probes;
    bool is_sealed;
    char serial[KD_TOKEN_SERIAL_MAX + 1];
    uint8_t latch[KD_LATCH_KEY_SIZE], good[KD_PIN_TAG_SIZE], tried[KD_PIN_TAG_SIZE];
    struct kd_key_id held[FAKE_KEYS_MAX];
};

void fake_device_init(struct fake_device *d, const char *name);

#endif
