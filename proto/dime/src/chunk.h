/* Chunks by the table of the object they are in, and the steps of parsing that objects
 * made of chunks share: header, walk, what is missing, the ephemeral key. */
#ifndef DIME_SRC_CHUNK_H
#define DIME_SRC_CHUNK_H

#include <dime/message.h>

enum { CHUNK_TYPES = 256 };

extern const struct dime_chunk_def chunk_defs_message[CHUNK_TYPES];
extern const struct dime_chunk_def chunk_defs_bounce[CHUNK_TYPES];
extern const struct dime_chunk_def chunk_defs_naked[CHUNK_TYPES];

/* The line of a table; NULL: none. */
const struct dime_chunk_def *chunk_def_of(const struct dime_chunk_def *defs,
                                          uint8_t type);

/* The chunk at at, which ends at until at the latest. Errors and *why as from
 * dime_message_parse. */
kd_err chunk_read(const struct dime_message *m, uint64_t at, uint64_t until,
                  struct dime_chunk *out, enum dime_flaw *why) KD_MUST_USE;

/* Each of these fills in what it found of m, whose source and defs are set, and expects
 * what those before it found. */

/* traced is where the object begins; sets begin and end. */
kd_err message_read_header(struct dime_message *m, uint16_t magic,
                           enum dime_flaw *why) KD_MUST_USE;

/* From begin to end: order, sections, chunks that stand once. */
kd_err message_read_chunks(struct dime_message *m, enum dime_flaw *why) KD_MUST_USE;

/* Of the chunks that a whole object has. 255 is looked for last: without it alone, an
 * object is whole but unsigned. */
enum dime_flaw message_find_missing(const struct dime_message *m);

/* The encryption key of chunk 2, the first. */
kd_err message_read_ephemeral(struct dime_message *m, enum dime_flaw *why) KD_MUST_USE;

#endif
