/* What the supervisor says: the process table for Status, the vault's events for the
 * log, and to systemd how it stands. */
#ifndef KEYD_SUPERVISOR_REPORT_H
#define KEYD_SUPERVISOR_REPORT_H

#include "child.h"

/* Tells all gates of all processes. */
void report_processes(struct supervisor *s);

/* Logs an event of the vault. True for what ends the vault's start: it is open, or has
 * said why it is not. */
bool report_event(const struct supervisor *s, struct kd_slice body);

/* An event's text with its numbers in place of "%llu", its name in place of "%name" and
 * its operation in place of "%op"; cut at size. A name that could not stand in a
 * configuration becomes "?". */
void report_text(const char *text, const struct kd_ctl_event *m, char *out,
                 size_t size);

/* systemd, if it started us. RELOADING goes with the time, as it must. */
void report_ready(const char *status);
void report_reloading(void);
void report_stopping(unsigned seconds);

#endif
