/* Writing a mail from its parts, to a buffer or against what it should be. */
#ifndef DIME_MIME_EXPORT_H
#define DIME_MIME_EXPORT_H

#include <dime/mime.h>

struct mime_out {
    struct kd_buf *buf;   /* NULL: compare */
    struct kd_slice want; /* what is still to come of it */
    bool differs;
    size_t at; /* octets written */
};

/* Where a part came to stand, as struct mime_node says. */
struct mime_place {
    uint32_t parent;
    bool multipart;
    size_t body, end;
};

/* plan: one for each of the n_parts parts and one more, or NULL; *n_plan is how many
 * there are, 0 for a raw mail. KD_INVALID, KD_NOMEM, the buffer's error. */
kd_err mime_write(const struct dime_mime_content *content, struct mime_out *out,
                  struct mime_place *plan, uint32_t *n_plan) KD_MUST_USE;

#endif
