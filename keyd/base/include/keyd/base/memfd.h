/* Large objects between processes and on the unix socket: a memfd that nobody can
 * change any more. The receiver checks seals and size itself and reads with pread,
 * never mmap (a mapping of somebody else's file can be made to fault). */
#ifndef KEYD_BASE_MEMFD_H
#define KEYD_BASE_MEMFD_H

#include <keyd/base/buf.h>

/* A sealed (WRITE, SHRINK, GROW, SEAL) memfd holding the octets; *fd is the caller's
 * to close. */
kd_err kd_memfd_seal(struct kd_slice octets, int *fd) KD_MUST_USE;

/* The same with the octets of both, one behind the other. */
kd_err kd_memfd_seal_both(struct kd_slice first, struct kd_slice second,
                          int *fd) KD_MUST_USE;

/* Checks that fd carries exactly the four seals and at most max octets; *size is
 * its size. KD_INVALID for anything else, KD_TOO_LARGE past max. */
kd_err kd_memfd_check(int fd, size_t max, size_t *size) KD_MUST_USE;

/* Reads n octets at off into out, whole or KD_MALFORMED / KD_IO. */
kd_err kd_memfd_read(int fd, size_t off, void *out, size_t n) KD_MUST_USE;

/* Checks fd and appends all its octets to out: the errors of both, and of the buffer.
 */
kd_err kd_memfd_append(int fd, size_t max, struct kd_buf *out) KD_MUST_USE;

/* Octets of at most most go *inl as they are; larger ones as a sealed memfd, the
 * caller's to close, in *fd, which is untouched otherwise. */
kd_err kd_memfd_if_large(struct kd_slice octets, size_t most, struct kd_slice *inl,
                         int *fd) KD_MUST_USE;

#endif
