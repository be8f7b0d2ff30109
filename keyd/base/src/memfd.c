#include <keyd/base/memfd.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const int all_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

static kd_err
write_at(int fd, size_t place, struct kd_slice s)
{
    for (size_t at = 0; at < s.n;) {
        ssize_t k = pwrite(fd, s.p + at, s.n - at, (off_t)(place + at));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return errno == ENOMEM || errno == ENOSPC ? KD_NOMEM : KD_IO;
        at += (size_t)k;
    }
    return KD_OK;
}

kd_err
kd_memfd_seal(struct kd_slice octets, int *out)
{
    return kd_memfd_seal_both(octets, kd_slice(NULL, 0), out);
}

kd_err
kd_memfd_seal_both(struct kd_slice first, struct kd_slice second, int *out)
{
    kd_err err;
    int fd = memfd_create("keyd", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return errno == ENOMEM ? KD_NOMEM : KD_IO;
    if ((err = write_at(fd, 0, first)) != KD_OK ||
        (err = write_at(fd, first.n, second)) != KD_OK)
        goto fail;
    if (fcntl(fd, F_ADD_SEALS, all_seals) != 0) {
        err = KD_IO;
        goto fail;
    }
    *out = fd;
    return KD_OK;
fail:
    close(fd);
    return err;
}

kd_err
kd_memfd_check(int fd, size_t max, size_t *size)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    /* Only memfds (and tmpfs, hugetlbfs files) have seals at all. F_SEAL_EXEC, which
     * newer kernels may set by themselves, does no harm. */
    if (seals < 0 || (seals & all_seals) != all_seals)
        return KD_INVALID;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 0)
        return KD_INVALID;
    if ((uint64_t)st.st_size > max)
        return KD_TOO_LARGE;
    *size = (size_t)st.st_size;
    return KD_OK;
}

kd_err
kd_memfd_read(int fd, size_t off, void *out, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = pread(fd, (uint8_t *)out + at, n - at, (off_t)(off + at));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return KD_IO;
        if (k == 0)
            return KD_MALFORMED;
        at += (size_t)k;
    }
    return KD_OK;
}

kd_err
kd_memfd_append(int fd, size_t max, struct kd_buf *out)
{
    size_t size;
    kd_err err = kd_memfd_check(fd, max, &size);

    if (err != KD_OK)
        return err;
    uint8_t *at = kd_buf_add(out, size);
    return at == NULL ? out->err : kd_memfd_read(fd, 0, at, size);
}

kd_err
kd_memfd_if_large(struct kd_slice octets, size_t most, struct kd_slice *inl, int *fd)
{
    bool fits = octets.n <= most;

    *inl = fits ? octets : kd_slice(NULL, 0);
    return fits ? KD_OK : kd_memfd_seal(octets, fd);
}
