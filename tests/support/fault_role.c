/* fault-role: what the supervisor of a disturbed daemon starts under the name
 * keyd-vault, keyd-ledger or keyd-gate. Sets limits, then becomes the role's program
 * with the shim loaded before libc. */
#include "fault_control.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *const names[FAULT_ROLES] = {"keyd-vault", "keyd-ledger",
                                               "keyd-gate"};

static int
role_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    for (int r = 0; slash != NULL && r < FAULT_ROLES; r++)
        if (strcmp(slash + 1, names[r]) == 0)
            return r;
    return -1;
}

static int
set_limit(int which, uint64_t n)
{
    const struct rlimit limit = {n, n};

    return n == 0 ? 0 : setrlimit((__rlimit_resource_t)which, &limit);
}

int
main(int argc, char **argv)
{
    static char which[32], preload[600];
    char *const environment[] = {which, preload, NULL};
    int role = argc == 1 ? role_of(argv[0]) : -1;

    if (role < 0)
        return 124;
    const struct fault_control *c =
        mmap(NULL, sizeof *c, PROT_READ, MAP_SHARED, FAULT_FD + role, 0);
    if (c == MAP_FAILED)
        return 124;
    snprintf(which, sizeof which, "FAULT_ROLE=%d", role);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", c->shim);
    if (set_limit(RLIMIT_AS, c->limit_space) != 0 ||
        set_limit(RLIMIT_NOFILE, c->limit_files) != 0)
        return 124;
    execve(c->program, argv, environment);
    return 127;
}
