/* What is kept of the registry outside of it, so that an older copy put in its place is
 * noticed (security.md, "Rollback"):
 *
 *   NAME       the newest signed checkpoint, replaced as a whole
 *   NAME.head  the head after the newest commit, unsigned, written in place without
 *              waiting for the disk: a crash of the machine may lose the last of it,
 *              then the file is older than the registry, which is no fault
 *
 * Both are written after the commit that they tell of, so no crash leaves them ahead.
 * NAME.head has two slots of SLOT octets that are written in turn, each with a
 * checksum: one that was half written leaves the other. It is locked while a ledger
 * runs. */
#ifndef KEYD_LEDGER_OUTSIDE_H
#define KEYD_LEDGER_OUTSIDE_H

#include <keyd/ledger/standing.h>
#include <keyd/ledger/store.h>

enum { KD_OUTSIDE_SLOT = 4096, KD_OUTSIDE_SLOTS = 2, KD_OUTSIDE_NAME_MAX = 255 };

struct kd_outside {
    bool has_checkpoint, has_head;
    bool damaged; /* one of the files is there and cannot be understood */
    struct kd_checkpoint checkpoint;
    struct kd_checkpoint head;                /* its time is 0 */
    uint8_t octets[KD_CHECKPOINT_SIGNED_MAX]; /* of the checkpoint */
    size_t n;
};

/* Reads both files in the folder. KD_OK whatever they hold; KD_IO. */
kd_err kd_outside_read(int dir, const char *name, struct kd_outside *out) KD_MUST_USE;

/* How the registry stands against that; *known becomes the newest that is known. What
 * an acceptance has set aside is left out of *in (as if it were not there). Errors are
 * those of the store. */
kd_err kd_outside_judge(struct kd_store *s, struct kd_outside *in,
                        struct kd_checkpoint *known, enum kd_standing *out) KD_MUST_USE;

/* Opens NAME.head for writing and locks it; makes it if there is none. KD_BUSY: another
 * process has it; KD_IO. */
kd_err kd_outside_head_open(int dir, const char *name, int *fd) KD_MUST_USE;

/* Writes a slot (0 or 1). */
kd_err kd_outside_head_write(int fd, unsigned slot,
                             const struct kd_checkpoint *head) KD_MUST_USE;

/* Replaces NAME: another file, synced, renamed, the folder synced. */
kd_err kd_outside_checkpoint_write(int dir, const char *name,
                                   struct kd_slice octets) KD_MUST_USE;

/* Removes NAME; no error if there is none. */
kd_err kd_outside_checkpoint_remove(int dir, const char *name) KD_MUST_USE;

#endif
