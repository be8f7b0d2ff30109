/* The manifest of a backup: what lies beside it, and where the log stood. A text of
 * fixed lines, so that an operator can read it and sha256sum can check it:
 *
 *   keyd backup 1
 *   instance 16 octets in hexadecimal
 *   epoch N
 *   seq N
 *   hash 32 octets
 *   time N (ms since 1970)
 *   keystore-generation N
 *   registry N, 32 octets (size, SHA-256)
 *   keystore N, 32 octets
 *
 * One text writes a given manifest, and no other is read. */
#ifndef KEYD_LEDGER_MANIFEST_H
#define KEYD_LEDGER_MANIFEST_H

#include <keyd/ledger/audit.h>

enum { KD_MANIFEST_MAX = 1024, KD_BACKUP_NAME_MAX = 64 };

#define KD_BACKUP_REGISTRY "registry.db"
#define KD_BACKUP_KEYSTORE "keystore"
#define KD_BACKUP_MANIFEST "manifest"

struct kd_manifest_file {
    uint64_t size; /* 0: there is none */
    uint8_t sha256[KD_SHA256_SIZE];
};

struct kd_manifest {
    struct kd_audit_tail tail; /* of the registry in it */
    uint64_t keystore_generation;
    struct kd_manifest_file registry, keystore;
};

/* Appends the text; KD_INVALID for a number above INT64_MAX, KD_NOMEM. */
kd_err kd_manifest_encode(const struct kd_manifest *m, struct kd_buf *out) KD_MUST_USE;

/* KD_MALFORMED for all that encode would not have written. */
kd_err kd_manifest_decode(struct kd_slice text, struct kd_manifest *out) KD_MUST_USE;

/* 1 to KD_BACKUP_NAME_MAX of a-z, 0-9, '.', '_', '-', a letter or digit first. */
bool kd_backup_name_is_good(struct kd_slice name);

#endif
