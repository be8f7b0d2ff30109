/* Audit logs as files, and audit logs checked. */
#ifndef KEYDCTL_LOG_H
#define KEYDCTL_LOG_H

#include <keyd/ledger/audit.h>
#include <stdbool.h>
#include <stdio.h>

/* --- keydctl_check.c: an audit log checked record by record --- */

enum { AUDIT_KEYS_MAX = 16 };

/* Start it with zeros and keys. */
struct audit_check {
    uint8_t keys[AUDIT_KEYS_MAX][32]; /* one of them signed each checkpoint */
    size_t n_keys;

    bool has_base; /* of what was dropped: the log begins behind it */
    struct kd_checkpoint base;

    bool has_kept; /* a checkpoint that somebody kept elsewhere */
    struct kd_checkpoint kept;

    bool begun;
    struct kd_chain chain;
    uint64_t first, n_records, n_checkpoints, n_epochs;
    uint64_t covered;        /* last record under a good checkpoint; 0: none */
    uint8_t last_signed[32]; /* SHA-256 of what the last checkpoint signed */
    uint64_t broken_at;      /* after a failure: the record */
    const char *why;
};

/* Takes a kept checkpoint, which the log must then agree with. KD_INVALID if it is no
 * checkpoint or by none of the keys. */
kd_err audit_check_keep(struct audit_check *c, struct kd_slice octets) KD_MUST_USE;

/* Takes the checkpoint behind which the log begins; as audit_check_keep. Before the
 * first record. */
kd_err audit_check_base(struct audit_check *c, struct kd_slice octets) KD_MUST_USE;

/* The next record; KD_INVALID and broken_at, why if it does not fit. A record that says
 * that a checkpoint was signed needs that checkpoint before it. */
kd_err audit_check_record(struct audit_check *c, struct kd_slice octets) KD_MUST_USE;

/* A signed checkpoint of the record just checked. */
kd_err audit_check_checkpoint(struct audit_check *c,
                              struct kd_slice octets) KD_MUST_USE;

/* After the last record: KD_INVALID if the log ends, or begins, without the record of
 * the kept checkpoint. */
kd_err audit_check_end(struct audit_check *c) KD_MUST_USE;

/* --- keydctl_export.c: the file of audit export --- */

/* "keyd audit export 1\n", then items of a type (one octet), a length (four, big
 * endian) and that many octets; the last is EXPORT_END with the number of records
 * (eight, big endian), and nothing follows it. A checkpoint stands behind its record.
 */
enum export_type { EXPORT_RECORD = 1, EXPORT_CHECKPOINT = 2, EXPORT_END = 3 };

struct export_writer {
    FILE *f;
    uint64_t n_records;
};
/* All return false if the file cannot be written. */
bool export_begin(struct export_writer *w, FILE *f);
bool export_put(struct export_writer *w, enum export_type type, struct kd_slice octets);
bool export_end(struct export_writer *w);

struct export_reader {
    FILE *f;
    uint64_t n_records;
    uint8_t octets[KD_AUDIT_RECORD_MAX];
};
/* KD_MALFORMED: not such a file; KD_IO. */
kd_err export_open(struct export_reader *r, FILE *f) KD_MUST_USE;
/* The next record or checkpoint, borrowed until the next call. KD_NOT_FOUND at the
 * proper end, KD_MALFORMED, KD_IO. */
kd_err export_next(struct export_reader *r, enum export_type *type,
                   struct kd_slice *octets) KD_MUST_USE;

#endif
