/* What Content-Type and Content-Disposition mean, as GMime reads them. */
#ifndef DIME_MIME_CONTENT_TYPE_H
#define DIME_MIME_CONTENT_TYPE_H

#include "head.h"

/* GMime is ready to be used; false without memory. */
bool mime_start(void);

struct mime_type {
    bool multipart, mixed, alternative, digest, text;
    struct kd_slice boundary; /* of a multipart: within the field */
};

/* Of a field's body. DIME_MIME_TYPE_SIZE, _BOUNDARY or _NOT_UTF8 if it cannot be told.
 */
enum dime_mime_raw mime_type_read(struct kd_slice body, struct mime_type *out);

struct mime_disposition {
    bool is_inline, is_attachment; /* another one: neither */
};

enum dime_mime_raw mime_disposition_read(struct kd_slice body,
                                         struct mime_disposition *out);

#endif
