/* The PIN, from a descriptor that the supervisor opened: in secret memory, wiped as
 * soon as it was used or refused. */
#ifndef KEYD_P11_PIN_H
#define KEYD_P11_PIN_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>
#include <keyd/token/device.h>

enum { PIN_MAX = 255 };

struct pin {
    uint8_t *octets; /* PIN_MAX + 2, secret memory */
    size_t n;        /* 0: none */
};

kd_err pin_setup(struct pin *p) KD_MUST_USE;

/* Takes fd. One line end is cut. KD_INVALID for an empty one or a file that is larger,
 * KD_IO; then there is none. */
kd_err pin_read(struct pin *p, int fd) KD_MUST_USE;

/* BLAKE2b-128 of it under the latch key; tells two PINs apart, and nobody without that
 * key anything. */
kd_err pin_tag(const struct pin *p, const uint8_t latch[KD_LATCH_KEY_SIZE],
               uint8_t tag[KD_PIN_TAG_SIZE]) KD_MUST_USE;

void pin_wipe(struct pin *p);

#endif
