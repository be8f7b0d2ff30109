/* How the program of a system test begins. */
#ifndef KEYD_TESTS_SUITE_H
#define KEYD_TESTS_SUITE_H

#include "test.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SUITE_SKIPPED = 77 }; /* what ctest takes for that */

/* A peer that leaves is no signal, output comes line by line, and an argument names the
 * only test to run (* and ? allowed). */
static inline void
suite_begin(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sodium_init() < 0)
        exit(1);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
}

/* Ends the program as skipped, unless it is root's. */
static inline void
suite_needs_root(const char *why)
{
    if (geteuid() == 0)
        return;
    print_message("skipped: %s\n", why);
    exit(SUITE_SKIPPED);
}

#endif
