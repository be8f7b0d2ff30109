/* What the gate of the remote listener is told, at start and at every reload: its
 * certificate and key, and who its clients may be. The supervisor has read and checked
 * the files; the gate opens none.
 *
 *   u8 version (1)   u8 unpinned names are allowed
 *   u8 n             n x u32 size, DER: the listener's certificate, then those above it
 *   u32 size, DER    its key (PKCS#8)
 *   u8 n             n x u32 size, DER: the roots of its clients
 *   u32 n            n x 32: SHA-256 of keys that are denied, strictly ascending
 *   u16 n            n x principal, by name strictly ascending: u8 size, name;
 *                    u8 size, what its certificate names (may be empty); u8 n, n x 32:
 *                    SHA-256 of its keys */
#ifndef KEYD_CONF_TLS_CONF_H
#define KEYD_CONF_TLS_CONF_H

#include <keyd/conf/policy.h>

enum {
    KD_TLS_CHAIN_MAX = 8,
    KD_TLS_ROOTS_MAX = 16,
    KD_TLS_CERT_MAX = 8 * 1024, /* octets of one certificate, a client's too */
    KD_TLS_KEY_MAX = 8 * 1024,
    KD_TLS_DENIED_MAX = 4096,
    KD_TLS_PINS_MAX = 2,
    KD_TLS_CONF_SIZE_MAX = 512 * 1024 /* of all of it */
};

/* A principal of class tls. */
struct kd_tls_client {
    struct kd_slice name;
    struct kd_slice san; /* empty: known by its keys alone */
    size_t n_pins;
    uint8_t pins[KD_TLS_PINS_MAX][KD_PIN_SIZE];
};

/* Slices are borrowed. */
struct kd_tls_conf {
    bool allow_unpinned;
    size_t n_chain;
    struct kd_slice chain[KD_TLS_CHAIN_MAX];
    struct kd_slice key;
    size_t n_roots;
    struct kd_slice roots[KD_TLS_ROOTS_MAX];
    struct kd_slice denied; /* hashes, one after the other */
    size_t n_clients;
    struct kd_tls_client clients[KD_POLICY_ROWS_MAX];
};

/* Appends the octets; failure shows in the buffer. The key is among them: give the
 * buffer its memory beforehand and wipe it. */
void kd_tls_conf_encode(const struct kd_tls_conf *c, struct kd_buf *b);

/* KD_MALFORMED for anything that encode would not have written or that lets one name or
 * key stand for two principals; KD_UNSUPPORTED for another version. *out is written in
 * any case. */
kd_err kd_tls_conf_decode(struct kd_slice octets, struct kd_tls_conf *out) KD_MUST_USE;

#endif
