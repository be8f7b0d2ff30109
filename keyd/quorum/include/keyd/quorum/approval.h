/* What operators sign: a request as text.
 *
 * The text is all there is: what is shown is what is signed, octet for octet, without
 * anything before it, so that `openssl pkeyutl -sign -rawin` over the file makes an
 * approval. Printable ASCII, lines "word value" that end with a line feed, one fact
 * a line; first the head, in this order, then what the operation is about:
 *
 *   keyd approval 1                          the tag (D-085: no other signed stream
 *   instance 0123...                         starts with 'k' and an 'a' in sixth place)
 *   epoch 7                                  of the vault: a restart makes it void
 *   id 0123...                               of this request for approval
 *   operation GenerateKey
 *   requester alice                          principal and operator
 *   idempotency-key 0123...                  of the request
 *   made-at 2026-01-02T03:04:05Z
 *   not-after 2026-01-02T04:04:05Z
 *   approvals 2 of 3                         beside the requester's wish
 *   quorum sha-256 0123...                   of the operators and rules it is made
 * under
 *
 * Values of requests stand here quoted or as digests; secrets only as a commitment
 * under a key of the vault, which tells nothing to who has no such key. */
#ifndef KEYD_QUORUM_APPROVAL_H
#define KEYD_QUORUM_APPROVAL_H

#include <keyd/quorum/quorum.h>

enum {
    KD_APPROVAL_TEXT_MAX = 32768,
    KD_APPROVAL_ID_SIZE = 16,
    KD_APPROVAL_KEY_SIZE = 16,
    KD_APPROVAL_DIGEST_SIZE = 32,
    KD_APPROVAL_SIG_SIZE = 64,
    KD_APPROVAL_GROUPS_MAX = 80 /* a digest in groups, with the NUL */
};

#define KD_APPROVAL_TAG "keyd approval 1\n"

struct kd_approval_head {
    uint8_t instance[16];
    uint64_t epoch;
    uint8_t id[KD_APPROVAL_ID_SIZE];
    unsigned op;
    struct kd_slice requester;
    uint8_t key[KD_APPROVAL_KEY_SIZE]; /* idempotency key */
    uint64_t made_s, not_after_s;      /* since 1970 */
    unsigned k, n;
    uint8_t quorum[KD_QUORUM_DIGEST_SIZE];
};

/* Appends tag and head; failure shows in the buffer (KD_INVALID there for a head that
 * kd_approval_read would not take). */
void kd_approval_put_head(struct kd_buf *out, const struct kd_approval_head *head);

/* A fact: word of a-z, 0-9, '-', then the value. */
void kd_fact_text(struct kd_buf *out, const char *word, const char *value);
void kd_fact_number(struct kd_buf *out, const char *word, uint64_t value);
void kd_fact_hex(struct kd_buf *out, const char *word, struct kd_slice octets);
/* sha-256 in hex and the size of what was hashed. */
void kd_fact_digest(struct kd_buf *out, const char *word, struct kd_slice of);
/* In double quotes if it is short and printable ASCII without a quote or backslash,
 * else its digest; "-" for nothing. */
void kd_fact_value(struct kd_buf *out, const char *word, struct kd_slice octets);
/* The same for a domain or an address, which is always short enough. */
void kd_fact_name(struct kd_buf *out, const char *word, struct kd_slice name);
/* A public key: its name here and elsewhere. */
void kd_fact_key(struct kd_buf *out, const char *word, struct kd_slice id,
                 const char *kind, struct kd_slice public_key);

/* Reads the head of a text and checks all of it for form: what this takes is a text of
 * this program and nothing else. Slices borrow. facts: what comes after the head.
 * KD_MALFORMED. */
kd_err kd_approval_read(struct kd_slice text, struct kd_approval_head *head,
                        struct kd_slice *facts) KD_MUST_USE;

/* SHA-256 of the text; and in groups of four digits, for reading it over the phone. */
void kd_approval_digest(struct kd_slice text, uint8_t out[KD_APPROVAL_DIGEST_SIZE]);
const char *kd_approval_groups(const uint8_t digest[KD_APPROVAL_DIGEST_SIZE],
                               char out[KD_APPROVAL_GROUPS_MAX]);

/* True if digest starts with what somebody typed: hex digits, blanks and hyphens
 * between them ignored, at least eight digits. */
bool kd_approval_digest_starts(const uint8_t digest[KD_APPROVAL_DIGEST_SIZE],
                               const char *typed);

#endif
