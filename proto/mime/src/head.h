/* Header blocks: fields where they stand, each octet accounted for. Own code, because
 * what is taken apart here must be put together again octet for octet. */
#ifndef DIME_MIME_HEAD_H
#define DIME_MIME_HEAD_H

#include <dime/mime.h>

struct mime_field {
    struct kd_slice raw;  /* all lines, with every CR LF */
    struct kd_slice name; /* printable ASCII without colon; not empty */
    struct kd_slice body; /* behind the colon, without the last CR LF, folds inside */
};

/* Takes the next field off *text. At the empty line, which is taken too, and nowhere
 * else out->raw is empty. Otherwise says why this is no header. */
enum dime_mime_raw mime_field_next(struct kd_slice *text, struct mime_field *out);

/* The same, but a line may end in LF alone, and what is no field is passed over. False
 * at the empty line or the end. */
bool mime_field_next_loose(struct kd_slice *text, struct mime_field *out);

/* Case-insensitive, ASCII. */
bool mime_name_is(struct kd_slice name, const char *what);
bool mime_name_begins(struct kd_slice name, const char *prefix);

/* Appends the body without the line ends of its folds and without white space at both
 * ends. */
void mime_unfold(struct kd_slice body, struct kd_buf *out);

/* Without spaces and tabs at both ends. */
struct kd_slice mime_trim(struct kd_slice s);

#endif
