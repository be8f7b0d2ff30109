/* What one key cannot know alone. */
#ifndef KEYD_CONF_SRC_CHECK_H
#define KEYD_CONF_SRC_CHECK_H

#include "values.h"

/* The line of each thing that check reports on. */
struct kd_conf_places {
    size_t listeners[KD_CLASS_COUNT]; /* section of each class; 0 for none */
    size_t *principals;               /* section of each principal */
};

/* A domain's section (by index) alone: what its keys say of each other, and the modes
 * where none are given. */
void kd_conf_check_domain(struct kd_conf_reading *r, size_t section,
                          struct kd_conf_domain *d);

/* After all sections are set and without a problem so far: opens the listeners, fills
 * their defaults, and checks users, folders, limits, listeners, principals and the
 * credential. */
void kd_conf_check(struct kd_conf_reading *r, const struct kd_conf_places *places);

#endif
