/* Deterministic CBOR (RFC 8949, 4.2): the little of it that records and files of ours
 * use, written to a kd_buf and read from a kd_cur, both sticky. The reader takes only
 * what the writer makes: shortest heads, definite lengths, no floats, tags or simple
 * values. It allocates nothing and does not recurse (libcbor's cbor_load allocates
 * what the input says, and its stream decoder hides non-minimal heads).
 *
 * Integers are 0 to 2^63 - 1, so that every store can hold them. */
#ifndef KEYD_BASE_CBOR_H
#define KEYD_BASE_CBOR_H

#include <keyd/base/buf.h>
#include <keyd/base/cur.h>

void kd_cbor_put_uint(struct kd_buf *b, uint64_t v);
void kd_cbor_put_bytes(struct kd_buf *b, struct kd_slice s);
/* ASCII; the caller has checked it. */
void kd_cbor_put_text(struct kd_buf *b, struct kd_slice s);
/* Heads: n items, or n pairs, follow. */
void kd_cbor_put_array(struct kd_buf *b, size_t n);
void kd_cbor_put_map(struct kd_buf *b, size_t n);

/* Each fails with KD_MALFORMED on anything but one canonical item of its type within
 * its limit, and then yields zero or an empty slice. Slices are borrowed. */
uint64_t kd_cbor_uint(struct kd_cur *c);
/* This integer and no other: the next key of a map that has all of them, in order. */
void kd_cbor_expect(struct kd_cur *c, uint64_t v);
struct kd_slice kd_cbor_bytes(struct kd_cur *c, size_t max);
/* Exactly n octets, copied to out, which is zeroed on failure. */
void kd_cbor_copy(struct kd_cur *c, void *out, size_t n);
/* Printable ASCII (0x20 to 0x7e) only. */
struct kd_slice kd_cbor_text(struct kd_cur *c, size_t max);
size_t kd_cbor_array(struct kd_cur *c, size_t max);
size_t kd_cbor_map(struct kd_cur *c, size_t max);

#endif
