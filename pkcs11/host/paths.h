/* What the module reads beside its own file: that it can, and that it cannot write. */
#ifndef KEYD_P11_PATHS_H
#define KEYD_P11_PATHS_H

#include "cryptoki.h"

#include <keyd/base/sandbox.h>
#include <keyd/conf/role_conf.h>

/* Confines the process to its libraries, its module's folder, the files that its
 * environment names, and `paths`, which the maker alone may write. Ends it if that
 * fails. */
void paths_confine(const struct kd_conf_for_p11 *conf, enum kd_role role);

/* The files of environment and paths, which the module may say nothing about when it
 * cannot read them. Those that serve must not be able to write there: SoftHSM empties
 * its own token when several log in. */
enum p11_finding_code paths_look(const struct kd_conf_for_p11 *conf,
                                 struct p11_finding *why);

#endif
