/* Chunk 34, read for writing a mail. It may be anybody's. */
#ifndef DIME_MIME_HEADERS_H
#define DIME_MIME_HEADERS_H

#include "content_type.h"

struct mime_headers {
    struct dime_common_headers common;
    struct kd_slice text;           /* chunk 34 */
    bool placed[DIME_COMMON_COUNT]; /* by a field of ours */
    bool absent[DIME_COMMON_COUNT]; /* as X-Dime-Absent says */
    bool version;                   /* there is a MIME-Version ... */
    bool version_absent;            /* ... which the mail had not */
    bool raw;
    bool content;    /* there are Content- fields */
    uint32_t n_here; /* Content- fields of the part with a place here */
    struct mime_type type;
    struct kd_slice preamble, epilogue; /* base 64; p is NULL: not there */
};

/* KD_INVALID for fields that are none, that say what chunk 33 says, or that have our
 * names and another form or meaning; for values in 33 that are no line; KD_NOMEM. */
kd_err mime_headers_read(const struct dime_mime_content *content,
                         struct mime_headers *out) KD_MUST_USE;

/* Takes the next name off the body of X-Dime-Here or X-Dime-Absent; false at its end.
 * An empty name is one, too. */
bool mime_list_next(struct kd_slice *list, struct kd_slice *name);

/* Appends the octets. KD_INVALID if it is no base 64. */
kd_err mime_base64_read(struct kd_slice body, struct kd_buf *out) KD_MUST_USE;

#endif
