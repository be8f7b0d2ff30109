/* What one key cannot know alone. */
#ifndef KEYD_CONF_SRC_CHECK_H
#define KEYD_CONF_SRC_CHECK_H

#include "values.h"

/* The line of each thing that check reports on. */
struct kd_conf_places {
    size_t listeners[KD_CLASS_COUNT]; /* section of each class; 0 for none */
    size_t *principals;               /* section of each principal */
};

/* After all sections are set and without a problem so far: opens the listeners, fills
 * their defaults, and checks users, folders, limits, listeners, principals and the
 * credential. */
void kd_conf_check(struct kd_conf_reading *r, const struct kd_conf_places *places);

#endif
