/* The invariant checker (I1 to I4 of the security notes): what must hold of a
 * registry whatever befell the processes. It reads the file with its own SQL and
 * believes nothing of the ledger's code but the codec of records. */
#ifndef KEYD_TESTS_CHECK_H
#define KEYD_TESTS_CHECK_H

#include <stddef.h>
#include <stdint.h>

struct check_conf {
    const char *dir;          /* the registry's, of a daemon that has stopped */
    const char *acks;         /* file of acknowledged results, or NULL; see below */
    const uint8_t *audit_key; /* verifies checkpoints if not NULL */
    void (*report)(void *arg, const char *text); /* one violation */
    void *arg;
};

/* Copies the registry (with its write-ahead log) and checks the copy. Returns the
 * number of violations; 1 or more too if it cannot be read.
 *
 * A line of the file of acknowledged results is "ADDRESS HEX", the SHA-256 of a signet
 * that was returned, "@SEQ HEX", the hash of a record that was acknowledged, or
 * "! HEX", the last digest that the record of a message operation has whose result was
 * returned. The last line may be cut. */
unsigned check_registry(const struct check_conf *conf);

#endif
