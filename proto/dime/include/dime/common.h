/* The common headers, chunk 33 (D-112): six names, each at most once, one line each,
 * CR LF. Written in the order of the table, the four required ones always, empty where
 * the source has none (X-Dime-Absent in chunk 34 says so); read in any order.
 *
 *   Date To CC From Organization Subject
 *
 * Values are unfolded: no CR, LF or NUL; octets above 0x7e are allowed only as UTF-8
 * (RFC 6532). */
#ifndef DIME_COMMON_H
#define DIME_COMMON_H

#include <keyd/base/buf.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum dime_common {
    DIME_COMMON_DATE,
    DIME_COMMON_TO,
    DIME_COMMON_CC,
    DIME_COMMON_FROM,
    DIME_COMMON_ORGANIZATION,
    DIME_COMMON_SUBJECT,
    DIME_COMMON_COUNT
};

enum {
    DIME_COMMON_LINE_MAX = 65536, /* of a line, its name and its end included */
    DIME_COMMON_MAX = 262144,
};

/* "Date" and so on. */
const char *dime_common_name(enum dime_common which);
bool dime_common_is_required(enum dime_common which);

struct dime_common_headers {
    struct kd_slice value[DIME_COMMON_COUNT]; /* borrowed; p is NULL: absent */
};

/* KD_MALFORMED: another name, a repeat, a line that is none, no line ending. Absence of
 * a required one is not: libdime's reader takes it, too. */
kd_err dime_common_parse(struct kd_slice text,
                         struct dime_common_headers *out) KD_MUST_USE;

/* KD_INVALID for a value that parse would not give back. */
kd_err dime_common_put(const struct dime_common_headers *h,
                       struct kd_buf *out) KD_MUST_USE;

#endif
