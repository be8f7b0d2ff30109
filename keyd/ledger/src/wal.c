/* File format of SQLite 3, "WAL File Format": a header of 32 octets, then frames of 24
 * octets and a page. All numbers are big endian; the checksums add up 32-bit words that
 * are big or little endian by the magic number's last bit, over the header and all
 * frames before. Frames of an earlier use of the file have other salts. */
#include "wal.h"

#include "store_impl.h"

#include <keyd/base/be.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    HEADER = 32,
    FRAME_HEADER = 24,
    PAGE_MIN = 512,
    PAGE_MAX = 65536,
    COMMITS_AFTER_CRASH = 1
};
static const uint32_t magic = 0x377f0682; /* or with the last bit set */

struct wal {
    int fd;
    bool is_big_endian;
    uint32_t page;
    uint32_t sum[2];  /* up to the last frame that is whole */
    uint8_t salts[8]; /* of the header, or of the first frame if that is damaged */
    uint8_t *frame;
};

/* As many octets as there are, at most n; negative with errno. */
static ssize_t
read_at(int fd, uint8_t *p, size_t n, off_t off)
{
    size_t at = 0;

    while (at < n) {
        ssize_t k = pread(fd, p + at, n - at, off + (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -1;
        if (k == 0)
            break;
        at += (size_t)k;
    }
    return (ssize_t)at;
}

static uint32_t
word(const struct wal *w, const uint8_t *p)
{
    uint32_t big = kd_be32(p);

    return w->is_big_endian ? big : __builtin_bswap32(big);
}

static void
add_up(const struct wal *w, const uint8_t *p, size_t n, uint32_t sum[2])
{
    for (size_t i = 0; i + 8 <= n; i += 8) {
        sum[0] += word(w, p + i) + sum[1];
        sum[1] += word(w, p + i + 4) + sum[0];
    }
}

/* True if the header is whole; else the page size is a guess. */
static bool
read_header(struct wal *w, const uint8_t header[HEADER])
{
    w->is_big_endian = (header[3] & 1) != 0;
    w->page = kd_be32(header + 8);
    memcpy(w->salts, header + 16, sizeof w->salts);
    add_up(w, header, 24, w->sum);
    bool is_page =
        w->page >= PAGE_MIN && w->page <= PAGE_MAX && (w->page & (w->page - 1)) == 0;
    if (!is_page)
        w->page = 4096; /* what ours have */
    return is_page && (kd_be32(header) & ~1U) == magic &&
           kd_be32(header + 24) == w->sum[0] && kd_be32(header + 28) == w->sum[1];
}

static bool
is_whole(struct wal *w)
{
    uint32_t sum[2] = {w->sum[0], w->sum[1]};

    add_up(w, w->frame, 8, sum);
    add_up(w, w->frame + FRAME_HEADER, w->page, sum);
    if (memcmp(w->frame + 8, w->salts, sizeof w->salts) != 0 ||
        kd_be32(w->frame + 16) != sum[0] || kd_be32(w->frame + 20) != sum[1] ||
        kd_be32(w->frame) == 0)
        return false;
    memcpy(w->sum, sum, sizeof w->sum);
    return true;
}

/* Commits' last frames of this use of the file, from the damaged place on. */
static kd_err
walk(struct wal *w, bool is_good, unsigned long long *at)
{
    size_t size = FRAME_HEADER + (size_t)w->page;
    unsigned n_commits = 0;

    *at = 0;
    for (off_t off = HEADER;; off += (off_t)size) {
        ssize_t k = read_at(w->fd, w->frame, size, off);
        if (k < 0)
            return kd_store_errno(errno);
        if ((size_t)k < size)
            break;
        if (!is_good && off == HEADER)
            memcpy(w->salts, w->frame + 8, sizeof w->salts);
        if (is_good && is_whole(w))
            continue;
        if (is_good)
            *at = (unsigned long long)off;
        is_good = false;
        n_commits += kd_be32(w->frame + 4) != 0 &&
                     memcmp(w->frame + 8, w->salts, sizeof w->salts) == 0;
    }
    return n_commits > COMMITS_AFTER_CRASH ? KD_INVALID : KD_OK;
}

kd_err
wal_check(int dir, const char *name, unsigned long long *at)
{
    uint8_t header[HEADER];
    kd_err err = KD_OK;
    struct wal w = {.fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};

    if (w.fd < 0)
        return errno == ENOENT ? KD_OK : kd_store_errno(errno);
    ssize_t k = read_at(w.fd, header, sizeof header, 0);
    if (k < 0)
        err = kd_store_errno(errno);
    if (k < HEADER)
        goto out;
    bool is_good = read_header(&w, header);
    if ((w.frame = malloc(FRAME_HEADER + (size_t)w.page)) == NULL)
        err = KD_NOMEM;
    else
        err = walk(&w, is_good, at);
out:
    free(w.frame);
    close(w.fd);
    return err;
}
