/* Audit records: what was done with which key for whom, hash-chained, and
 * checkpoints that sign the chain's head (design.md, "Registry and audit").
 *
 * The vault encodes records, the ledger stores them, tools verify them; this target
 * (kd-audit) therefore has no storage in it. One record is one canonical CBOR map
 * with integer keys; only one octet string encodes a given record, and the decoder
 * takes no other. */
#ifndef KEYD_LEDGER_AUDIT_H
#define KEYD_LEDGER_AUDIT_H

#include <keyd/base/buf.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum {
    KD_AUDIT_RECORD_MAX = 1024, /* octets of one encoded record */
    KD_AUDIT_DIGESTS_MAX = 3,
    KD_AUDIT_PRINCIPAL_MAX = 128,
    KD_AUDIT_DOMAIN_MAX = 253,
    KD_AUDIT_ADDRESS_MAX = 254, /* D-052 */
    KD_AUDIT_DETAIL_MAX = 64,
    KD_AUDIT_CLOCK_BACK_MS = 5000, /* how far time may go back */
    KD_INSTANCE_SIZE = 16,
    KD_KEY_ID_SIZE = 16,
    KD_SHA256_SIZE = 32,
};

enum kd_audit_op {
    KD_AUDIT_NO_OP,
#define KD_AUDIT_OP(code, text, shape) code,
#include <keyd/ledger/audit_ops.def>
#undef KD_AUDIT_OP
    KD_AUDIT_OP_COUNT
};

/* The listener a principal came in on (design.md: one listener a class); SELF is
 * keyd itself, CEREMONY a signed response imported. */
enum kd_audit_class {
    KD_AUDIT_CLASS_NONE,
    KD_AUDIT_CLASS_SELF,
    KD_AUDIT_CLASS_MTA,
    KD_AUDIT_CLASS_SUBMISSION,
    KD_AUDIT_CLASS_MILTER,
    KD_AUDIT_CLASS_TLS,
    KD_AUDIT_CLASS_ADMIN,
    KD_AUDIT_CLASS_CEREMONY,
    KD_AUDIT_CLASS_COUNT
};

/* How it ended. Whether the registry took the row that went with a record is not in
 * the record: the ledger knows only later (store.h, outcome). */
enum kd_audit_outcome {
    KD_OUTCOME_DONE,
    KD_OUTCOME_FAILED,    /* the token or a check after signing */
    KD_OUTCOME_INVALID,   /* a key was used and showed the object to be bad */
    KD_OUTCOME_ABANDONED, /* deadline or caller gone after the key was used */
    KD_OUTCOME_COUNT
};

enum kd_audit_note {
#define KD_AUDIT_NOTE(code, bit, text) code = 1 << (bit),
#include <keyd/ledger/audit_notes.def>
#undef KD_AUDIT_NOTE
};

/* Map keys in the order they stand: 1 format version (1), 2 instance, 3 epoch, 4 seq,
 * 5 time, 6 prev, 7 op, 8 principal, 9 class, 10 domain, 11 key, 12 digests,
 * 13 address, 14 generation, 15 link seq, 16 key store generation, 17 its SHA-256,
 * 18 outcome, 19 notes, 20 about, 21 detail, 22 approval. What is absent or empty below
 * is left out of the map, save version to prev, op, principal, class and outcome, which
 * are always there. */
struct kd_audit_record {
    uint8_t instance[KD_INSTANCE_SIZE]; /* of the registry */
    uint64_t epoch;                     /* of the vault, grows at each of its starts */
    uint64_t seq;                       /* from 1, without gaps, across epochs */
    uint64_t time_ms;                   /* since 1970 */
    uint8_t prev[KD_SHA256_SIZE]; /* hash of the record before; zero for the first */
    enum kd_audit_op op;
    enum kd_audit_class class;
    enum kd_audit_outcome outcome;
    uint32_t notes;            /* set of enum kd_audit_note */
    struct kd_slice principal; /* "uid:1001", "tls:mx1"; printable, no space, no '@' */
    struct kd_slice domain;    /* whose key; lower case; may be empty */
    bool has_key;
    uint8_t key_id[KD_KEY_ID_SIZE];
    size_t n_digests; /* of what was signed, in the order of signing */
    uint8_t digests[KD_AUDIT_DIGESTS_MAX][KD_SHA256_SIZE];
    struct kd_slice address; /* as LINK and ADDRESS in audit_ops.def say, else empty */
    uint32_t generation;     /* with LINK: from 1 */
    uint32_t link_seq;       /* with LINK: from 1 */
    uint64_t keystore_generation;            /* of a change: from 1; else 0 */
    uint8_t keystore_sha256[KD_SHA256_SIZE]; /* of the new file */
    bool has_approval;                       /* exactly with KD_NOTE_QUORUM */
    uint8_t approval[KD_SHA256_SIZE]; /* of the text that operators approved: the digest
                                       * of as many records "approve" */
    uint64_t about_seq;               /* with ABOUT: a record; else 0 */
    struct kd_slice detail; /* as DETAIL in audit_ops.def says; printable, no space, no
                             * '@'; else empty */
};

/* True if records about op carry address, generation and link seq. */
bool kd_audit_op_has_link(enum kd_audit_op op);

/* True if the record says that the key store changed. */
static inline bool
kd_audit_changes_keystore(const struct kd_audit_record *record)
{
    return record->keystore_generation != 0 && record->outcome == KD_OUTCOME_DONE;
}

/* The texts of the lists, never NULL. */
const char *kd_audit_op_text(enum kd_audit_op op);
const char *kd_audit_class_text(enum kd_audit_class cls);
const char *kd_audit_outcome_text(enum kd_audit_outcome outcome);
/* bit: 0 to 31; NULL for one that is no note. */
const char *kd_audit_note_text(unsigned bit);

/* Appends the record to out. KD_INVALID if it breaks a rule above (a shape, a
 * character, a zero seq), KD_TOO_LARGE past KD_AUDIT_RECORD_MAX, KD_NOMEM; nothing is
 * appended then. */
kd_err kd_audit_encode(const struct kd_audit_record *record,
                       struct kd_buf *out) KD_MUST_USE;

/* Reads one record, whole. Slices in *out borrow from octets. KD_MALFORMED for all
 * that kd_audit_encode would not write. */
kd_err kd_audit_decode(struct kd_slice octets, struct kd_audit_record *out) KD_MUST_USE;

/* RFC 6962 leaf hash: SHA-256 over 0x00 and the record. */
void kd_audit_hash(struct kd_slice octets, uint8_t hash[KD_SHA256_SIZE]);

/* --- the chain --- */

/* A place in the chain: the record that was last, all zero but instance at the start.
 */
struct kd_audit_tail {
    uint8_t instance[KD_INSTANCE_SIZE];
    uint64_t epoch;
    uint64_t seq;
    uint64_t time_ms; /* the latest seen so far */
    uint8_t hash[KD_SHA256_SIZE];
};

/* An incremental verifier. Start it with a tail: the zero one, or any that is
 * believed. */
struct kd_chain {
    struct kd_audit_tail tail;
    const char *why; /* what was wrong, after an error; static */
};

struct kd_chain kd_chain_after(const struct kd_audit_tail *tail);

/* Takes the next record: instance the same, seq the next, prev the hash before, epoch
 * not lower, time at most KD_AUDIT_CLOCK_BACK_MS before the latest seen. On any error
 * (KD_MALFORMED, KD_INVALID) the chain stays where it was. record may be NULL. */
kd_err kd_chain_feed(struct kd_chain *chain, struct kd_slice octets,
                     struct kd_audit_record *record) KD_MUST_USE;

/* --- segments --- */

/* The hash of a run of records, which only somebody who has their octets can make:
 * start with zeros, then each record in turn. hash becomes SHA-256 over 0x02, hash and
 * the record. */
void kd_segment_add(uint8_t hash[KD_SHA256_SIZE], struct kd_slice record);

/* --- checkpoints --- */

enum {
    KD_CHECKPOINT_MAX = 128, /* octets to be signed */
    KD_CHECKPOINT_SIG_SIZE = 64,
    KD_CHECKPOINT_SIGNED_MAX = KD_CHECKPOINT_MAX + KD_CHECKPOINT_SIG_SIZE,
};

/* "At this time the chain's head was this." A signed checkpoint is the octets that
 * kd_checkpoint_encode writes, then 64 octets of Ed25519 signature over them; that
 * form is stored, exported and kept outside. */
struct kd_checkpoint {
    uint8_t instance[KD_INSTANCE_SIZE];
    uint64_t epoch;
    uint64_t seq;
    uint8_t hash[KD_SHA256_SIZE];
    uint64_t time_ms;
};

/* Appends the octets to be signed: the tag "keyd checkpoint\n", then a canonical
 * CBOR map. The tag keeps the signature apart from every other use of an Ed25519 key
 * (D-085: no other signed stream starts with 'k'). */
kd_err kd_checkpoint_encode(const struct kd_checkpoint *checkpoint,
                            struct kd_buf *out) KD_MUST_USE;

/* Reads a signed checkpoint without verifying it; KD_MALFORMED. */
kd_err kd_checkpoint_decode(struct kd_slice signed_octets,
                            struct kd_checkpoint *out) KD_MUST_USE;

/* Reads and verifies it under the audit key: KD_INVALID if the signature is bad. */
kd_err kd_checkpoint_verify(struct kd_slice signed_octets, const uint8_t key[32],
                            struct kd_checkpoint *out) KD_MUST_USE;

#endif
