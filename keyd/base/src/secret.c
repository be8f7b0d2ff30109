#include <keyd/base/secret.h>

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The region is cut into equal cells and a block takes a run of them: keys are few
 * and small, so first fit over a byte map is enough and has no headers that an
 * overrun could reach. */
enum { CELL = 64, MAX_CELLS = 16384 };

static struct {
    pthread_mutex_t lock;
    uint8_t *base;
    size_t n_cells;
    bool hidden;
    uint8_t used[MAX_CELLS];
} region = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint8_t *
map_hidden(size_t size)
{
#ifdef SYS_memfd_secret
    int fd = (int)syscall(SYS_memfd_secret, 0);
#else
    int fd = (int)syscall(447, 0);
#endif
    if (fd < 0)
        return NULL;
    uint8_t *p = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0)
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return NULL;
    /* Secret pages are faulted in on first touch; do it now, while failing is easy. */
    memset(p, 0, size);
    return p;
}

static uint8_t *
map_guarded(size_t size)
{
    uint8_t *p = sodium_malloc(size);

    if (p == NULL)
        return NULL;
    /* sodium_malloc only tries to lock; for us an unlocked page is a failure. */
    if (mlock(p, size) != 0) {
        sodium_free(p);
        return NULL;
    }
    memset(p, 0, size);
    return p;
}

kd_err
kd_secret_setup(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (sodium_init() < 0)
        return KD_FAILED;
    assert(region.base == NULL);
    if (size > (size_t)CELL * MAX_CELLS)
        return KD_TOO_LARGE;
    size = (size + page - 1) / page * page;
    uint8_t *p = map_hidden(size);
    region.hidden = p != NULL;
    if (p == NULL)
        p = map_guarded(size);
    if (p == NULL)
        return KD_NOMEM;
    /* A forked child must not carry keys. memfd_secret pages are shared and take no
     * WIPEONFORK, but MADV_DONTFORK does for both. */
    if (madvise(p, size, MADV_DONTFORK) != 0 || madvise(p, size, MADV_DONTDUMP) != 0)
        return KD_FAILED;
    region.base = p;
    region.n_cells = size / CELL;
    return KD_OK;
}

bool
kd_secret_is_hidden(void)
{
    return region.hidden;
}

static size_t
cells_for(size_t n)
{
    return n / CELL + (n % CELL != 0);
}

/* The first run of n free cells, or n_cells. */
static size_t
find_run(size_t n)
{
    size_t run = 0;

    for (size_t i = 0; i < region.n_cells; i++) {
        run = region.used[i] ? 0 : run + 1;
        if (run == n)
            return i + 1 - n;
    }
    return region.n_cells;
}

void *
kd_secret_new(size_t n)
{
    uint8_t *p = NULL;
    size_t cells = cells_for(n == 0 ? 1 : n);

    if (pthread_mutex_lock(&region.lock) != 0)
        return NULL;
    size_t at = find_run(cells);
    if (at < region.n_cells) {
        memset(region.used + at, 1, cells);
        p = region.base + at * CELL;
        memset(p, 0, cells * CELL);
    }
    kd_ignore(pthread_mutex_unlock(&region.lock)); /* held by us: cannot fail */
    return p;
}

void
kd_secret_free(void *block, size_t n)
{
    if (block == NULL)
        return;
    size_t cells = cells_for(n == 0 ? 1 : n);
    size_t at = (size_t)((uint8_t *)block - region.base) / CELL;
    assert(at + cells <= region.n_cells);
    sodium_memzero(block, cells * CELL);
    kd_ignore(pthread_mutex_lock(&region.lock)); /* a default mutex, never destroyed */
    memset(region.used + at, 0, cells);
    kd_ignore(pthread_mutex_unlock(&region.lock));
}

bool
kd_secret_holds(const void *p, size_t n)
{
    uintptr_t at = (uintptr_t)p, base = (uintptr_t)region.base;
    size_t size = region.n_cells * CELL;

    return base != 0 && at >= base && at - base <= size && n <= size - (at - base);
}

void
kd_secret_wipe(void *p, size_t n)
{
    sodium_memzero(p, n);
}

bool
kd_secret_eq(const void *a, const void *b, size_t n)
{
    return sodium_memcmp(a, b, n) == 0;
}

kd_err
kd_process_undumpable(void)
{
    static const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return KD_FAILED;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? KD_OK : KD_FAILED;
}
