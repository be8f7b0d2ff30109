/* The directory that `dime message open -o` makes. */
#ifndef DIME_DIRECTORY_H
#define DIME_DIRECTORY_H

#include "report.h"

struct directory {
    const char *path;
    int fd; /* -1: none */
};

/* Makes the directory, which must not exist, readable by its owner alone. HOLDS or
 * TROUBLE, complained of, as all of these. */
int directory_make(struct directory *d, const char *path);

/* envelope-origin.txt envelope-destination.txt common.txt headers.txt: chunks 4, 5, 33
 * and 34, as far as they are open; part-N.bin: the data of the N-th part, if it is
 * good. Noted in the report. */
int directory_write_parts(const struct directory *d, struct report *r);

/* mail.eml: the mail, if every part is good and they make one; noted in the report.
 * Made from the files, so that the message may be forgotten before. */
int directory_write_mail(const struct directory *d, struct report *r);

/* Takes away what was written, unless status is HOLDS. */
void directory_close(struct directory *d, const struct report *r, int status);

#endif
