/* What a test does to files by the words of a shell. Failures are the test's. */
#ifndef KEYD_TESTS_SHELL_H
#define KEYD_TESTS_SHELL_H

#include <keyd/base/err.h>
#include <sys/types.h>

/* system(3), which must succeed. At most 8 KiB. */
void shell(const char *fmt, ...) KD_PRINTF(1, 2);

/* Writes a file until the disk is full, then gives so many octets back. */
void shell_fill_disk(const char *path, off_t leave);

#endif
