/* Loaded into a role before libc: makes single calls fail as its control page says.
 *
 * Only what SQLite and our own files use, what allocates, and the clock. It makes no
 * system call of its own after the constructor, which runs before the sandbox. */
#include "fault_control.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define SHIM __attribute__((visibility("default")))

/* libc's own, under the names that it keeps for this. */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static struct fault_control *control;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void
begin(void)
{
    const char *value = getenv("FAULT_ROLE");
    char which[8] = "";

    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    if (value == NULL || real_clock_gettime == NULL)
        _exit(125);
    strncpy(which, value, sizeof which - 1);
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED,
                      FAULT_FD + (which[0] - '0'), 0);
    if (page == MAP_FAILED)
        _exit(125);
    for (int r = 0; r < FAULT_ROLES; r++)
        close(FAULT_FD + r);
    control = page;
}

/* True if this call is to fail. */
static bool
fails(enum fault_call call)
{
    struct fault_control *c = control;

    if (c == NULL)
        return false;
    atomic_fetch_add(&c->n_calls[call], 1);
    if (atomic_load(&c->call) != call || atomic_load(&c->left) <= 0)
        return false;
    int64_t left = atomic_fetch_sub(&c->left, 1);
    if (left != 1)
        return false;
    if ((atomic_load(&c->how) & FAULT_STAYS) != 0)
        atomic_store(&c->left, 1);
    atomic_fetch_add(&c->n_fired, 1);
    return true;
}

static int
fail_with(uint32_t how)
{
    errno = (int)(how & FAULT_ERRNO);
    return -1;
}

/* --- files --- */

static int
sync_with(long number, int fd)
{
    if (!fails(FAULT_SYNC))
        return (int)syscall(number, fd);
    uint32_t how = atomic_load(&control->how);
    if ((how & FAULT_LATE) != 0 && syscall(number, fd) != 0)
        return -1;
    return fail_with(how);
}

SHIM int
fsync(int fd)
{
    return sync_with(SYS_fsync, fd);
}

SHIM int
fdatasync(int fd)
{
    return sync_with(SYS_fdatasync, fd);
}

SHIM ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    if (!fails(FAULT_WRITE))
        return syscall(SYS_pwrite64, fd, p, n, at);
    uint32_t how = atomic_load(&control->how);
    if ((how & FAULT_SHORT) != 0 && n > 1)
        return syscall(SYS_pwrite64, fd, p, n / 2, at);
    if ((how & FAULT_LATE) != 0)
        (void)!syscall(SYS_pwrite64, fd, p, n, at);
    return fail_with(how);
}

SHIM ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
    return pwrite64(fd, p, n, at);
}

/* --- memory --- */

SHIM void *
malloc(size_t n)
{
    if (fails(FAULT_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(n);
}

SHIM void *
calloc(size_t n, size_t size)
{
    if (fails(FAULT_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(n, size);
}

SHIM void *
realloc(void *p, size_t n)
{
    if (fails(FAULT_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(p, n);
}

/* --- time, and what only somebody inside can do --- */

static void
obey(enum fault_command command)
{
    while (command == FAULT_FORK && fork() >= 0)
        continue;
    while (command == FAULT_EAT_MEMORY) {
        void *p = __libc_malloc(1 << 20);
        if (p == NULL)
            abort(); /* as a role would for an invariant */
        memset(p, 1, 1 << 20);
    }
}

SHIM int
clock_gettime(clockid_t id, struct timespec *t)
{
    int result = real_clock_gettime(id, t);

    if (control == NULL)
        return result;
    uint32_t command = atomic_load(&control->command);
    if (command != FAULT_NO_COMMAND) {
        atomic_store(&control->command, FAULT_NO_COMMAND);
        obey((enum fault_command)command);
    }
    int64_t shift = atomic_load(&control->wall_shift_ms);
    if (result == 0 && id == CLOCK_REALTIME && shift != 0) {
        int64_t ns = (int64_t)t->tv_nsec + shift % 1000 * 1000000;
        t->tv_sec += shift / 1000;
        if (ns < 0) {
            ns += 1000000000;
            t->tv_sec--;
        } else if (ns >= 1000000000) {
            ns -= 1000000000;
            t->tv_sec++;
        }
        t->tv_nsec = (long)ns;
    }
    return result;
}
