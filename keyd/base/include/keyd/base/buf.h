/* An owned buffer that grows to a limit, with a sticky error. Integers are big
 * endian. Not for secrets: growing leaves copies behind (see secret.h). */
#ifndef KEYD_BASE_BUF_H
#define KEYD_BASE_BUF_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

struct kd_buf {
    uint8_t *p;
    size_t n;
    size_t cap;
    size_t max;
    kd_err err; /* KD_NOMEM, or KD_TOO_LARGE past max */
};

/* Uses no memory until something is put. */
void kd_buf_init(struct kd_buf *b, size_t max);
void kd_buf_free(struct kd_buf *b);

/* Empties it and clears the error, keeping the memory. */
void kd_buf_reset(struct kd_buf *b);

/* Room for n octets at the end, counted as written; NULL on failure. */
uint8_t *kd_buf_add(struct kd_buf *b, size_t n);

void kd_buf_put(struct kd_buf *b, struct kd_slice s);
void kd_buf_u8(struct kd_buf *b, uint8_t v);
void kd_buf_u16(struct kd_buf *b, uint16_t v);
void kd_buf_u24(struct kd_buf *b, uint32_t v);
void kd_buf_u32(struct kd_buf *b, uint32_t v);
void kd_buf_u64(struct kd_buf *b, uint64_t v);
void kd_buf_printf(struct kd_buf *b, const char *fmt, ...) KD_PRINTF(2, 3);

/* What was written, borrowed until the next put; empty after an error. */
struct kd_slice kd_buf_slice(const struct kd_buf *b);

/* Gives the memory away (free() it) and leaves the buffer empty. */
/* Takes over the error of a buffer that something in b was written from, unless b has
 * one: a message that lacks a part must not pass for whole. */
void kd_buf_join(struct kd_buf *b, const struct kd_buf *part);

kd_err kd_buf_take(struct kd_buf *b, uint8_t **out, size_t *n) KD_MUST_USE;

#endif
