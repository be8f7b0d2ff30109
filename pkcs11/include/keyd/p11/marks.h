/* The sets that hosts tell (messages.def: p11_here, p11_bound, p11_object). */
#ifndef KEYD_P11_MARKS_H
#define KEYD_P11_MARKS_H

#include <keyd/p11/finding.h>

#include <stddef.h>

/* What a token can do, as it says itself. */
enum p11_mechanism {
    P11_CAN_SIGN_ED25519 = 1,
    P11_CAN_MAKE_ED25519 = 2,
    P11_CAN_DERIVE = 4, /* ECDH, secp256k1 */
    P11_CAN_MAKE_EC = 8,
    P11_CAN_SIGN_RSA = 16,
    P11_CAN_MAKE_RSA = 32,
};

/* What a private key is, where the token lets it be read. */
enum p11_attribute {
    P11_SENSITIVE = 1,
    P11_EXTRACTABLE = 2,
    P11_ALWAYS_SENSITIVE = 4,
    P11_NEVER_EXTRACTABLE = 8,
    P11_LOCAL = 16,
    P11_SIGNS = 32,
    P11_DERIVES = 64,
    P11_DECRYPTS = 128,
    P11_UNWRAPS = 256,
    P11_RECOVERS = 512,
    P11_MODIFIABLE = 1024,
    P11_ALWAYS_AUTHENTICATES = 2048,
    P11_ON_TOKEN = 4096,
    P11_PRIVATE = 8192,
};

/* A large message takes longer: of it a slow token takes in so much, besides what any
 * operation may take. Host and vault have to reckon alike, or one gives up first. */
enum { P11_KIB_A_MS = 25 };
static inline uint32_t
p11_message_ms(size_t octets)
{
    return (uint32_t)(octets / 1024 / P11_KIB_A_MS);
}

/* Why a PIN is not even tried, by CK_TOKEN_INFO.flags (PKCS#11 2.40, 3.2); P11_FINE if
 * it may be. known: the PIN was good before. */
enum p11_finding_code p11_pin_state(uint64_t flags, bool known);

#endif
