#include "shell.h"

#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void
shell(const char *fmt, ...)
{
    char command[8192];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    assert_true(n > 0 && n < (int)sizeof command);
    if (system(command) != 0)
        fail_msg("%s", command);
}

void
shell_fill_disk(const char *path, off_t leave)
{
    static const uint8_t zeros[65536];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof zeros) > 0)
        continue;
    assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_CUR) - leave), 0);
    close(fd);
}
