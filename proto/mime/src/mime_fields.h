/* The common fields, and what fields of ours look like (dime/mime.h). */
#ifndef DIME_MIME_FIELDS_H
#define DIME_MIME_FIELDS_H

#include "head.h"

/* Of all six together, names and line ends of chunk 33 left out. */
enum { MIME_VALUES_MAX = DIME_COMMON_MAX - 512 };

#define MIME_POSITION "X-Dime-Position: "
#define MIME_ORIGINAL "X-Dime-Original-"

/* DIME_COMMON_COUNT: none of them. */
enum dime_common mime_common_find(struct kd_slice name);

/* Whether chunk 33 can hold it in one line: UTF-8 without control characters, tabs
 * aside. */
bool mime_value_fits(struct kd_slice value);

/* The common fields of a mail that cannot be taken apart, as far as there is no doubt:
 * each that stands once, in a line that chunk 33 can hold, in whatever can be read of
 * the header. Appends the values to values and writes where in sizes and offsets;
 * offset SIZE_MAX: none. values: at most MIME_VALUES_MAX. */
struct mime_found {
    size_t at[DIME_COMMON_COUNT], n[DIME_COMMON_COUNT];
};
void mime_common_guess(struct kd_slice mail, struct kd_buf *values,
                       struct mime_found *out);
/* Values as chunk 33's; borrows from values. */
struct dime_common_headers mime_common_of(const struct mime_found *found,
                                          const struct kd_buf *values);

/* Appends "X-Dime-Absent: ..." for the required ones that are not there, and
 * MIME-Version; nothing if there is nothing to say. */
void mime_absent_put(const struct mime_found *found, bool mime_version,
                     struct kd_buf *out);

/* Appends chunk 34 of a raw mail. */
void mime_raw_headers_put(const struct mime_found *found, struct kd_buf *out);

/* The head of the one part of a raw mail. */
struct kd_slice mime_raw_head(void);

/* Up to nine decimal digits without a leading zero, taken off *s: what is left begins
 * with something else. */
bool mime_number(struct kd_slice *s, uint32_t *out);

/* Lines of at most 998 characters of ASCII, none of them a control but tabs, each
 * ending in CR LF, the last one perhaps in nothing: what mail needs no header for. */
bool mime_is_plain(struct kd_slice text);

#endif
