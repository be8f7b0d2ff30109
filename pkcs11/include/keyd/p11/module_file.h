/* What can be told of a PKCS#11 module from its file, before it is loaded: for the host
 * that is about to (and for dime-keyd -t), so that a wrong file is named as what it is
 * and never run. */
#ifndef KEYD_P11_MODULE_FILE_H
#define KEYD_P11_MODULE_FILE_H

#include <keyd/p11/finding.h>

#include <sys/types.h>

/* path: absolute; links are followed, and what they lead to is judged, and who can
 * change path itself. The file has to
 * be regular and a shared library for the kind of processor that this program is built
 * for, and it and every folder above it have to belong to root or to `owner`, and be
 * written by nobody else (a folder with the sticky bit is: there nobody replaces
 * others' files). P11_FINE, or the finding, with what is the file or folder at fault,
 * or errno's text. */
enum p11_finding_code p11_module_look(const char *path, uid_t owner,
                                      struct p11_finding *out);

enum { P11_MODULE_PATH_MAX = 4096 };

/* The same, and the file that was looked at: without links, in folders in which nobody
 * else can put another one in its place. It, and not path, is to be loaded: what path
 * leads to may be another file by then. */
enum p11_finding_code p11_module_resolve(const char *path, uid_t owner,
                                         char real[P11_MODULE_PATH_MAX],
                                         struct p11_finding *out);

#endif
