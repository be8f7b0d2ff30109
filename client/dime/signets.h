/* The signets a verb of messages is given, checked before anything is believed. */
#ifndef DIME_SIGNETS_H
#define DIME_SIGNETS_H

#include "dime_tool.h"

#include <limits.h>

enum signet_role { SIGNET_ORIGIN, SIGNET_DESTINATION, SIGNET_AUTHOR, SIGNET_RECIPIENT };
enum { SIGNET_ROLES = 4 };

/* Large: not for the stack. */
struct signets {
    struct object objects[SIGNET_ROLES];
    bool has[SIGNET_ROLES];
    bool anchored[SIGNET_ROLES]; /* organizations: by a key that is trusted for them */
    char why[PATH_MAX + 256]; /* what signets_load says is wrong, the file's name too */
};

/* Loads what is named (NULL: not given) and checks it: an organization's by itself and
 * by the keys trusted for its domain, a user's against its organization's, if that was
 * given. HOLDS, FAILS with *why (in s), TROUBLE. signets_free in every case. */
int signets_load(struct signets *s, const char *const paths[SIGNET_ROLES],
                 const struct options *o, const char **why);
void signets_free(struct signets *s);

/* NULL if it was not given. */
const struct dime_signet *signets_get(const struct signets *s, enum signet_role role);

#endif
