/* What keyd holds of a domain that is published: its keys and organizational signet. */
#ifndef KEYDCTL_PUBLISH_H
#define KEYDCTL_PUBLISH_H

#include "keydctl.h"

enum {
    /* A signet of the old key is kept by others for 64 days at most, and a week more
     * until everybody has asked again (D-079). */
    PUBLISHED_OLD_KEY_DAYS = 71,
};

struct published {
    struct name domain; /* before published_fetch */
    struct session session;
    struct key_list keys;
    struct keyd_answer *org; /* with the organizational signet; NULL: there is none */
    struct dime_signet signet;
};

/* Asks keyd. EX_OK, or complained of; published_free in every case. */
int published_fetch(struct published *d, const struct options *o);
void published_free(struct published *d);

#endif
