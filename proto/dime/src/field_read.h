/* One field, read and written: the only place that knows how fields are laid out. */
#ifndef DIME_SRC_FIELD_READ_H
#define DIME_SRC_FIELD_READ_H

#include <dime/field.h>
#include <keyd/base/buf.h>
#include <keyd/base/cur.h>

/* Reads the field at the cursor, which is not at its end. DIME_FINE, or what is wrong
 * with the field; order and multiplicity are the caller's. */
enum dime_reason dime_field_read(struct kd_cur *c, enum dime_kind kind,
                                 enum dime_layout layout, struct dime_field *out);

/* Appends the field of a key in the layout: its type, length and format octets and the
 * key. perms goes with the shape DIME_SHAPE_SOK only. */
void dime_field_put_key(struct kd_buf *out, uint8_t type, enum dime_shape shape,
                        enum dime_layout layout, uint8_t perms, struct kd_slice key);

/* Appends the identifier's field: one octet of length, in layout S two (D-051). */
void dime_field_put_identifier(struct kd_buf *out, enum dime_layout layout,
                               struct kd_slice identifier);

#endif
