/* The memory that the gates count in (quota_table.h). */
#include <keyd/conf/quota_table.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

kd_err
kd_quota_shared_make(int *writing, int *reading)
{
    char path[32];
    int fd = memfd_create("keyd-quotas", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return KD_NOMEM;
    if (ftruncate(fd, (off_t)sizeof(struct kd_quota_shared)) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        close(fd);
        return KD_IO;
    }
    /* Opened anew: a duplicate could be written as well. */
    kd_ignore(snprintf(path, sizeof path, "/proc/self/fd/%d", fd));
    int again = open(path, O_RDONLY | O_CLOEXEC);
    if (again < 0) {
        close(fd);
        return KD_IO;
    }
    *writing = fd;
    *reading = again;
    return KD_OK;
}

/* What is shorter would end the process on the first access. */
static bool
is_whole(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 &&
           st.st_size == (off_t)sizeof(struct kd_quota_shared) &&
           (fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) != 0;
}

static void *
map(int fd, int protection, size_t at, size_t size)
{
    void *p =
        mmap(NULL, size, protection, fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED,
             fd, fd < 0 ? 0 : (off_t)at);

    return p == MAP_FAILED ? NULL : p;
}

kd_err
kd_quota_shared_map(int writing, int reading, enum kd_class klass, unsigned slot,
                    struct kd_quota_table *t, const struct kd_quota_shared **all)
{
    bool good = is_whole(writing) && is_whole(reading);
    int rw = good ? writing : -1, ro = good ? reading : -1;
    size_t own = offsetof(struct kd_quota_shared, classes) +
                 klass * sizeof(struct kd_quota_region);

    struct kd_quota_region *rows = map(rw, PROT_READ | PROT_WRITE, own, sizeof *rows);
    struct kd_quota_region *domains =
        map(rw, PROT_READ | PROT_WRITE, offsetof(struct kd_quota_shared, domains),
            sizeof *domains);
    const struct kd_quota_shared *view = map(ro, PROT_READ, 0, sizeof *view);
    if (rows == NULL || domains == NULL || view == NULL)
        return KD_NOMEM; /* of a process that ends for it */
    *t = (struct kd_quota_table){.rows = rows, .domains = domains, .slot = slot};
    *all = view;
    return KD_OK;
}

kd_err
kd_quota_private(struct kd_quota_table *t)
{
    struct kd_quota_region *rows = map(-1, PROT_READ | PROT_WRITE, 0, sizeof *rows);
    struct kd_quota_region *domains =
        map(-1, PROT_READ | PROT_WRITE, 0, sizeof *domains);

    if (rows == NULL || domains == NULL)
        return KD_NOMEM; /* of a process that ends for it */
    *t = (struct kd_quota_table){.rows = rows, .domains = domains};
    return KD_OK;
}
