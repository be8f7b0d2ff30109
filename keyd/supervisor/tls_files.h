/* The files behind the remote listener, and whether they are fit for it. Problems are
 * logged with the file's name, never with what is in it. */
#ifndef KEYD_SUPERVISOR_TLS_FILES_H
#define KEYD_SUPERVISOR_TLS_FILES_H

#include <keyd/base/buf.h>
#include <keyd/conf/conf.h>

/* Reads and checks what conf's listener "tls" names, and appends the octets of
 * <keyd/conf/tls_conf.h>, the key among them: wipe out. KD_INVALID, KD_IO, KD_NOMEM. */
kd_err tls_files_read(const struct kd_conf *conf, int64_t now,
                      struct kd_buf *out) KD_MUST_USE;

#endif
