/* One verdict from every way to verify. */
#ifndef KEYD_TESTS_ED25519_CHECK_H
#define KEYD_TESTS_ED25519_CHECK_H

#include <dime/ed25519_stream.h>
#include <dime/ed25519_verifier.h>

/* Runs a stream to its end with this budget; the last error. */
kd_err stream_run(struct dime_ed25519_stream *s, size_t budget);

/* The whole message by a stream, from memory or, if fd is not -1, from fd. */
kd_err stream_verdict(const uint8_t key[32], struct kd_slice message, int fd,
                      const uint8_t sig[64], size_t budget);

/* dime_ed25519_verify's verdict; aborts unless streams and verifiers give the same. */
kd_err verdict(const uint8_t key[32], struct kd_slice message, const uint8_t sig[64]);

#endif
