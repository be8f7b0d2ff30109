/* Descriptors that this process has, to see whether any leaked. */
#ifndef KEYD_TESTS_FDS_H
#define KEYD_TESTS_FDS_H

#include "test.h"

#include <dirent.h>

/* With the one that it takes to look. */
static inline size_t
count_fds(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

#endif
