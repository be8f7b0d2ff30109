/* What one key cannot know alone. */
#ifndef KEYD_CONF_SRC_CHECK_H
#define KEYD_CONF_SRC_CHECK_H

#include "values.h"

/* The line of each thing that check reports on. */
struct kd_conf_places {
    size_t listeners[KD_CLASS_COUNT]; /* section of each class; 0 for none */
    size_t *principals;               /* section of each principal */
    size_t tokens[KD_CONF_TOKENS_MAX];
};

/* Refused when strict, warned of when relaxed. */
#define KD_CONF_STRICTLY(r, line, ...)                                                 \
    ((r)->conf->hardening == KD_HARDENING_STRICT                                       \
         ? kd_conf_error((r)->problems, line, __VA_ARGS__)                             \
         : kd_conf_warn((r)->problems, line, __VA_ARGS__))

/* The roles' users, those of tokens not among them. */
enum { KD_CONF_ROLES = 3 };
struct kd_conf_role {
    const char *key;
    const struct kd_conf_id *user;
};
void kd_conf_list_roles(const struct kd_conf *c,
                        struct kd_conf_role roles[KD_CONF_ROLES]);
bool kd_conf_same_user(const struct kd_conf_id *a, const struct kd_conf_id *b);

/* What a token's section says it is known by: uri, label and serial as one. */
void kd_conf_set_match(struct kd_conf_reading *r, size_t section,
                       struct kd_conf_token *t);

/* Users and folders of the tokens, and one against the other. */
void kd_conf_check_tokens(struct kd_conf_reading *r,
                          const struct kd_conf_places *places);

/* A domain's section (by index) alone: what its keys say of each other, and the modes
 * where none are given. */
void kd_conf_check_domain(struct kd_conf_reading *r, size_t section,
                          struct kd_conf_domain *d);

/* After all sections are set and without a problem so far: opens the listeners, fills
 * their defaults, and checks users, folders, limits, listeners, principals and the
 * credential. */
void kd_conf_check(struct kd_conf_reading *r, const struct kd_conf_places *places);

#endif
