/* The arithmetic between the hashes of an Ed25519 signature (RFC 8032 section 5.1),
 * shared by the one-shot and the streaming code. Digests are SHA-512. Checking takes
 * equally long for every signature, good or bad. */
#ifndef DIME_SRC_EDDSA_H
#define DIME_SRC_EDDSA_H

#include <dime/ed25519.h>

/* From the digest of prefix and message: the nonce r and R = rB. */
kd_err eddsa_commit(const uint8_t digest[64], uint8_t r[32], uint8_t R[32]) KD_MUST_USE;

/* S = r + ha, where h is the digest of R, key and message. */
void eddsa_respond(const uint8_t a[32], const uint8_t r[32], const uint8_t digest[64],
                   uint8_t S[32]);

/* KD_INVALID for a signature that cannot be good whatever the message: S at or above
 * the group order, or R the neutral point. */
kd_err eddsa_sig_check(const uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

/* Whether R = SB - hA for a valid key and a checked signature, compared as octets, so
 * that an R in another encoding fails too. A bad key or signature is KD_INVALID. */
kd_err eddsa_equation(const uint8_t key[DIME_ED25519_KEY_SIZE],
                      const uint8_t sig[DIME_SIG_SIZE],
                      const uint8_t digest[64]) KD_MUST_USE;

/* Hash and all, by libsodium's verification, at less than half of what the above cost;
 * dime_ed25519_verify_trusted_key's verdict. Here S above the group order costs what
 * any other S does. What shows is how many digits libsodium has to add of S and of the
 * hash, some 2 us in 36; and an R of small order, which ends it at once, but cannot
 * be met by changing ciphertext blindly. */
kd_err eddsa_verify_quick(const uint8_t key[DIME_ED25519_KEY_SIZE],
                          struct kd_slice message,
                          const uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

#endif
