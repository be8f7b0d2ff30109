/* A picture of any size for field 252. */
#ifndef KEYD_TESTS_PNG_H
#define KEYD_TESTS_PNG_H

#include <keyd/base/buf.h>

/* A PNG of correct structure, filled with a text chunk up to about size octets. b is
 * initialised here and the caller's to free. */
struct kd_slice make_png(struct kd_buf *b, uint32_t size);

#endif
