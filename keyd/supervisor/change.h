/* What a daemon that runs cannot change of its configuration. */
#ifndef KEYD_SUPERVISOR_CHANGE_H
#define KEYD_SUPERVISOR_CHANGE_H

#include <keyd/conf/conf.h>
#include <keyd/job/reasons.h>

/* The set (bits of enum kd_restart_key) of what differs between the configuration that
 * the daemon was started with and another, and takes a restart. files: the descriptors
 * a process may have (RLIMIT_NOFILE). A listener that is no longer open is no such
 * change: it goes on and knows nobody. */
uint64_t change_needs_restart(const struct kd_conf *started, const struct kd_conf *next,
                              uint64_t files);

/* Descriptors a gate needs beside those of its connections. */
enum { CHANGE_FILES_BESIDE = 1024 };

/* The most that one gate has at a time, unfinished handshakes among them. */
uint64_t change_most_connections(const struct kd_conf *conf);

#endif
