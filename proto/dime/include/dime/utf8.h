/* Strict UTF-8 (RFC 3629: shortest forms, no surrogates, up to U+10FFFF) and the few
 * properties of code points that signet fields need. Input is hostile: everything
 * here works on a slice, in place. */
#ifndef DIME_UTF8_H
#define DIME_UTF8_H

#include <keyd/base/slice.h>

/* Takes the first code point off *s. False if there is none or it is not valid; *s is
 * then as it was. */
bool dime_utf8_next(struct kd_slice *s, uint32_t *code_point);

/* True if all of it is valid; *n_points (may be NULL) is how many code points. */
bool dime_utf8_valid(struct kd_slice s, size_t *n_points);

/* The Unicode property White_Space: 25 code points (D-042). */
bool dime_utf8_is_space(uint32_t code_point);

/* Code points that move the cursor or reorder a line: C0, DEL, C1, the line and
 * paragraph separators, the bidirectional controls. What prints a field escapes them.
 */
bool dime_utf8_is_control(uint32_t code_point);

#endif
