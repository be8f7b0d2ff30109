/* A read cursor with a sticky error: read a layout top to bottom, ask once at the
 * end. After the first failure every read yields zero or an empty slice, so the
 * code that walks a layout needs no checks of its own between two fields.
 * Integers are big endian. */
#ifndef KEYD_BASE_CUR_H
#define KEYD_BASE_CUR_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

struct kd_cur {
    const uint8_t *base;
    size_t n;
    size_t at;
    kd_err err;
};

struct kd_cur kd_cur(struct kd_slice s);

/* Octets not read yet; 0 after an error. */
size_t kd_cur_left(const struct kd_cur *c);

uint8_t kd_cur_u8(struct kd_cur *c);
uint16_t kd_cur_u16(struct kd_cur *c);
uint32_t kd_cur_u24(struct kd_cur *c);
uint32_t kd_cur_u32(struct kd_cur *c);
uint64_t kd_cur_u64(struct kd_cur *c);

/* The next octet without taking it; 0 at the end or after an error. */
uint8_t kd_cur_peek(const struct kd_cur *c);

/* The next n octets, borrowed. */
struct kd_slice kd_cur_take(struct kd_cur *c, size_t n);

/* Copies the next n octets to out, which is zeroed on failure. */
void kd_cur_copy(struct kd_cur *c, void *out, size_t n);

/* Sets the error unless there is one already. */
void kd_cur_fail(struct kd_cur *c, kd_err err);

/* KD_OK if everything was read and nothing failed; leftovers are KD_MALFORMED. */
kd_err kd_cur_end(struct kd_cur *c) KD_MUST_USE;

#endif
