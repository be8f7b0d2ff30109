/* Writes the structure of D/MIME messages for tests: chunks of zeros, of any types and
 * sizes in any order. Knows the types by a table of its own. */
#ifndef KEYD_TESTS_DM_H
#define KEYD_TESTS_DM_H

#include <keyd/base/buf.h>

/* Keyslots of a type; 0 for one that has no meaning. */
size_t dm_slots(uint8_t type);

/* The smallest payload that a type may have. */
uint32_t dm_size(uint8_t type);

void dm_begin(struct kd_buf *b, size_t max);
/* An ephemeral chunk of the right size holds a valid key. Returns where the chunk
 * begins. */
size_t dm_put(struct kd_buf *b, uint8_t type, uint32_t size, size_t slots);
/* Writes the header's length. The octets are b's. */
struct kd_slice dm_end(struct kd_buf *b);

/* All of it, of smallest chunks. */
struct kd_slice dm_message(struct kd_buf *b, const uint8_t *types, size_t n);

#endif
