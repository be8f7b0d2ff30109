/* Account tickets: the account system's word, signed, that an address may have its
 * first signet, or a new chain after a reset, by just this signing request. The vault
 * verifies them; account systems make them (PROTOCOL.md has the format for those that
 * are not ours).
 *
 * A ticket is the line "keyd account ticket\n", one canonical CBOR map and 64 octets of
 * Ed25519 signature over both. The line keeps the signature apart from all others that
 * exist (D-085). The map's keys, all of them, in this order: 1 format version (1),
 * 2 address (text), 3 fingerprint of the request (SHA-512 of the SSR's fields, 64
 * octets), 4 purpose (1 first, 2 reset), 5 expiry (milliseconds since 1970), 6 id of
 * the key that signs (the first 16 octets of its SHA-256). */
#ifndef KEYD_TICKET_TICKET_H
#define KEYD_TICKET_TICKET_H

#include <keyd/base/buf.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum {
    KD_TICKET_MAX = 512, /* octets, signature included */
    KD_TICKET_SIG_SIZE = 64,
    KD_TICKET_KEY_SIZE = 32,
    KD_TICKET_KEY_ID_SIZE = 16,
    KD_TICKET_FP_SIZE = 64,
    KD_TICKET_ADDRESS_MAX = 254 /* D-052 */
};

enum kd_ticket_purpose { KD_TICKET_FOR_FIRST = 1, KD_TICKET_FOR_RESET = 2 };

struct kd_ticket {
    struct kd_slice address; /* borrowed */
    uint8_t request[KD_TICKET_FP_SIZE];
    enum kd_ticket_purpose purpose;
    uint64_t expires_ms; /* wall clock; good before it */
    uint8_t key_id[KD_TICKET_KEY_ID_SIZE];
};

/* Appends what is to be signed. KD_INVALID for an address, purpose or expiry that a
 * ticket cannot have; nothing is appended then. */
kd_err kd_ticket_encode(const struct kd_ticket *ticket, struct kd_buf *out) KD_MUST_USE;

/* Reads a signed ticket without looking at the signature. KD_MALFORMED for all that
 * kd_ticket_encode and 64 octets would not give. */
kd_err kd_ticket_decode(struct kd_slice octets, struct kd_ticket *out) KD_MUST_USE;

/* The same, signed by the one of these keys that it names. KD_DENIED if it names
 * another, or the signature does not hold. Not looked at: the clock. */
kd_err kd_ticket_verify(struct kd_slice octets,
                        const uint8_t (*keys)[KD_TICKET_KEY_SIZE], size_t n_keys,
                        struct kd_ticket *out) KD_MUST_USE;

void kd_ticket_key_id(const uint8_t key[KD_TICKET_KEY_SIZE],
                      uint8_t id[KD_TICKET_KEY_ID_SIZE]);

#endif
