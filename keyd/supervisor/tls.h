/* Certificates of the remote listener: read and checked here, where files can be read,
 * and handed to its gates as one sealed memfd (<keyd/conf/tls_conf.h>). */
#ifndef KEYD_SUPERVISOR_TLS_H
#define KEYD_SUPERVISOR_TLS_H

#include "child.h"

/* Reads everything anew, checks it and hands it to the running gates. What cannot be
 * used (a key that does not fit, an expired certificate, a file that cannot be read) is
 * logged and nothing changes: KD_INVALID, KD_IO, KD_NOMEM. Without a remote listener
 * KD_OK. The files are those that s->conf names, the principals its. */
kd_err tls_reload(struct supervisor *s) KD_MUST_USE;

/* The checks alone. */
kd_err tls_check(const struct kd_conf *conf) KD_MUST_USE;

/* Hands the newest to a gate that has started; nothing for those of other classes. */
void tls_send(struct supervisor *s, struct child *gate);

#endif
