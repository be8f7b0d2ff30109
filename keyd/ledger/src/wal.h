/* The write-ahead log before SQLite reads it. SQLite takes what a bad checksum follows
 * for the remains of a crash and drops it without a word; so an octet that went bad in
 * the middle would take all that was committed after it along, acknowledged or not.
 *
 * A commit's frames are written only when those of the commit before have been synced.
 * So a crash leaves at most one commit's last frame behind a frame that is not whole;
 * two or more are damage. */
#ifndef KEYD_LEDGER_WAL_H
#define KEYD_LEDGER_WAL_H

#include <keyd/base/err.h>

/* Looks at the file of this name in the directory; none is fine. KD_INVALID if commits
 * lie behind a damaged place, *at its octet; KD_IO or KD_UNAVAILABLE if it cannot be
 * read, KD_NOMEM. */
kd_err wal_check(int dir, const char *name, unsigned long long *at) KD_MUST_USE;

#endif
