/* What came of reading a message, for people and as JSON; and the directory that `open`
 * fills. */
#ifndef DIME_REPORT_H
#define DIME_REPORT_H

#include "reading.h"

#include <jansson.h>

enum { WARNINGS_MAX = 16 };

struct report {
    struct reading reading;
    bool anchored_origin, anchored_destination; /* their signets, if they were given */
    const char *warnings[WARNINGS_MAX];         /* static texts */
    size_t n_warnings;
    bool has_files; /* the parts lie in files of a directory */
    bool has_mail;
};

/* The reading is done: warns, and refuses where a name is not that of its signet. */
void report_judge(struct report *r);

/* "part-7.bin", of the i-th part. */
enum { PART_NAME_SIZE = 32 };
void report_part_name(size_t i, char out[PART_NAME_SIZE]);

/* All but why it is refused, and the mail. NULL without memory. */
json_t *report_to_json(const struct report *r, const char *kind);
void report_print(const struct report *r, const char *kind);

#endif
