/* The parts of a message, taken apart and put in the order of the document. They may be
 * anybody's. */
#ifndef DIME_MIME_SHAPE_H
#define DIME_MIME_SHAPE_H

#include "content_type.h"

struct mime_part {
    uint8_t type;
    bool bare;              /* of a leaf: no header */
    uint32_t children;      /* of a multipart; 0: a leaf */
    uint32_t position;      /* 0: none */
    struct kd_slice fields; /* each with its CR LF */
    struct kd_slice body;   /* of a multipart: preamble */
    struct kd_slice epilogue;
    struct kd_slice boundary;
    bool digest; /* a multipart whose parts without a type are mails */
};

struct mime_shape {
    struct mime_part *part; /* in the order of the chunks */
    uint32_t *order;        /* of the document: indexes of part */
    uint32_t n;
    uint32_t n_top; /* parts that are within no other */
};

/* KD_INVALID for parts that do not add up; KD_NOMEM. *out is to be freed in any case.
 */
kd_err mime_shape_read(const struct dime_mime_part *parts, size_t n,
                       struct mime_shape *out) KD_MUST_USE;
void mime_shape_free(struct mime_shape *s);

/* What the Content-Type among the fields says, which may be absent. KD_INVALID if it
 * stands twice or does not say. */
kd_err mime_fields_type(struct kd_slice fields, struct mime_type *out) KD_MUST_USE;

#endif
