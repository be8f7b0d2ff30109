/* Room on the registry's disk. A reserve is laid by in a file; below a low mark the
 * vault is told to sign nothing new and the reserve is given back to the file system,
 * so that what is under way can be committed. When there is room again it is laid by
 * anew. Look-ups go on all the time.
 *
 *   free octets   0 ......... low = reserve / 2 ............ good again = 2 x reserve
 */
#include "ledger.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LOOK_MS = 1000, LOOK_COMMITS = 256 };

static const char file_name[] = "reserve";

static bool
free_space(const struct ledger *l, uint64_t *out)
{
    struct statfs fs;

    if (fstatfs(l->room.fd, &fs) != 0)
        return false;
    *out = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    return true;
}

/* On file systems that cannot lay by room without writing it. */
static bool
write_zeros(int fd, uint64_t size)
{
    static const uint8_t zeros[65536];

    for (uint64_t at = 0; at < size; at += sizeof zeros)
        if (pwrite(fd, zeros, sizeof zeros, (off_t)at) != (ssize_t)sizeof zeros)
            return false;
    return fdatasync(fd) == 0;
}

static void
lay_by(struct ledger *l)
{
    uint64_t size = l->conf.reserve_space;
    bool laid = fallocate(l->room.fd, 0, 0, (off_t)size) == 0;

    if (!laid && (errno == EOPNOTSUPP || errno == ENOSYS))
        laid = write_zeros(l->room.fd, size);
    if (!laid && !l->room.lacks_reserve)
        kd_log(KD_WARN, "no reserve of %llu octets can be laid by",
               (unsigned long long)size);
    if (!laid) /* part of one is of no use */
        kd_ignore(ftruncate(l->room.fd, 0));
    l->room.lacks_reserve = !laid;
}

static void
give_back(struct ledger *l)
{
    if (ftruncate(l->room.fd, 0) != 0)
        kd_log(KD_WARN, "the reserve cannot be given back");
}

static bool
is_laid_by(const struct ledger *l)
{
    struct stat st;

    return fstat(l->room.fd, &st) == 0 &&
           (uint64_t)st.st_size >= l->conf.reserve_space &&
           (uint64_t)st.st_blocks * 512 >= l->conf.reserve_space;
}

static void
look(struct ledger *l)
{
    uint64_t reserve = l->conf.reserve_space;
    uint64_t space;

    if (!free_space(l, &space))
        return;
    l->room.free = space;
    if (!l->room.is_low && space < reserve / 2) {
        l->room.is_low = true;
        give_back(l);
        kd_log(KD_WARN, "disk nearly full: %llu octets left",
               (unsigned long long)space);
    } else if (l->room.is_low && space >= 2 * reserve) {
        l->room.is_low = false;
        lay_by(l);
    } else if (!l->room.is_low && l->room.lacks_reserve) {
        lay_by(l);
    }
}

void
room_setup(struct ledger *l)
{
    uint64_t space = 0;

    l->room.fd =
        openat(AT_FDCWD, file_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->room.fd < 0) {
        kd_log(KD_WARN, "%s cannot be opened (errno %d)", file_name, errno);
        l->room.lacks_reserve = true;
        return;
    }
    if (!is_laid_by(l)) {
        /* The process before may have given it back, and the registry needs it now. */
        l->room.is_low =
            free_space(l, &space) && space < 2 * (uint64_t)l->conf.reserve_space;
        if (!l->room.is_low)
            lay_by(l);
    }
    look(l);
}

bool
room_has(const struct ledger *l, uint64_t octets)
{
    uint64_t space = 0;

    return l->room.fd >= 0 && !l->room.is_low && free_space(l, &space) &&
           space > octets && space - octets >= l->conf.reserve_space;
}

void
room_look_if_due(struct ledger *l)
{
    int64_t now = kd_clock_ms();

    if (l->room.fd < 0 || (now < l->room.look_at && l->room.n_commits < LOOK_COMMITS))
        return;
    l->room.look_at = now + LOOK_MS;
    l->room.n_commits = 0;
    look(l);
}
