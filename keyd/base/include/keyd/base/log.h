/* One line per event, key=value, to stderr (the journal adds the time). No secrets;
 * what a peer sent is passed through kd_log_text first.
 *
 *   kd_log(KD_WARN, "gate: bad frame peer=%s at=%zu err=%s", who, at, text);
 *
 * warn: an operator should look. info: state changed. debug: everything else. */
#ifndef KEYD_BASE_LOG_H
#define KEYD_BASE_LOG_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum kd_log_level { KD_DEBUG, KD_INFO, KD_WARN };

/* name is put before every line; borrowed for the life of the process. */
void kd_log_setup(const char *name, enum kd_log_level least);

/* Lines longer than 1,000 octets are cut. Never allocates, never blocks on a full
 * pipe (the line is counted and dropped). */
void kd_log(enum kd_log_level level, const char *fmt, ...) KD_PRINTF(2, 3);

/* Printable ASCII without quotes and backslashes as it is, the rest as \xNN, cut at
 * size - 1; returns out. */
const char *kd_log_text(struct kd_slice s, char *out, size_t size);

#endif
