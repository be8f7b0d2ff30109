/* Configurations, and what keydctl policy explain shows, whether keyd answered or a
 * file was read. */
#ifndef KEYDCTL_POLICY_H
#define KEYDCTL_POLICY_H

#include "keydctl.h"

#include <keyd/conf/conf.h>
#include <keyd/conf/policy.h>

struct explained {
    const char *who; /* as asked */
    enum kd_op op;   /* KD_OP_NONE: every one */
    struct name domain;
    const char *key;             /* as asked, or NULL */
    const char *config;          /* the file; NULL: keyd answered, and told levels */
    const struct keyd_answer *a; /* its out.policy */
};

/* Prints as text or JSON. EX_OK, or EX_NEGATIVE if the one operation is denied. */
int explained_show(const struct explained *x, bool json);

/* A configuration. Principals' accounts are those of this machine. Who owns the file
 * and who the roles are is for dime-keyd -t to ask: a draft may lie anywhere. */
kd_err conf_read(const char *path, struct kd_conf **out,
                 struct kd_conf_problems *problems) KD_MUST_USE;
void conf_print_problems(FILE *f, const char *file,
                         const struct kd_conf_problems *problems);

#endif
