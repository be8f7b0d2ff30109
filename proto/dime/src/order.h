/* Whether an Ed25519 point is of prime order, for a libsodium that does not see the
 * difference. Separate so that a test reaches it with a libsodium that does. */
#ifndef DIME_SRC_ORDER_H
#define DIME_SRC_ORDER_H

#include <dime/keys.h>

bool order_is_prime(const uint8_t key[DIME_ED25519_KEY_SIZE]);

#endif
