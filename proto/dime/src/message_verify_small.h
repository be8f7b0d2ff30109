/* dime_message_verify for a message that is in memory and so small that elliptic curves
 * cost more than hashing: each signature for itself, and by libsodium's own code as
 * soon as time may depend on it. */
#ifndef DIME_SRC_MESSAGE_VERIFY_SMALL_H
#define DIME_SRC_MESSAGE_VERIFY_SMALL_H

#include <dime/message_verify.h>

bool message_is_small(const struct dime_message *m);

/* For one that is small. KD_NOMEM. */
kd_err message_verify_small(const struct dime_message *m,
                            const struct dime_claims *claims,
                            struct dime_verdicts *out) KD_MUST_USE;

#endif
