#include "directory.h"

#include "dime_tool.h"

#include <dime/mime.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const text_names[READING_TEXTS] = {
    "envelope-origin.txt", "envelope-destination.txt", "common.txt", "headers.txt"};

enum { NAME_SIZE = PART_NAME_SIZE };

/* --- Files ------------------------------------------------------------------------ */

static int
make_file(int dir, const char *name)
{
    return openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static bool
write_file(int dir, const char *name, struct kd_slice octets)
{
    int fd = make_file(dir, name);

    if (fd < 0)
        return false;
    bool good = fd_write(fd, octets);
    return close(fd) == 0 && good;
}

static kd_err
put_piece(void *ctx, struct kd_slice piece)
{
    const int *fd = ctx;

    return fd_write(*fd, piece) ? KD_OK : KD_IO;
}

static bool
write_part(int dir, const struct reading *r, size_t i)
{
    char name[NAME_SIZE];

    report_part_name(i, name);
    int fd = make_file(dir, name);
    if (fd < 0)
        return false;
    kd_err err = reading_part_data(r, &r->parts[i], put_piece, &fd);
    if (close(fd) != 0)
        return false;
    if (err != KD_OK && err != KD_IO)
        errno = err == KD_NOMEM ? ENOMEM : EIO;
    return err == KD_OK;
}

/* --- The mail -----------------------------------------------------------------------
 */

/* Parts as they lie in their files. */
static bool
map_part(int dir, const struct reading *r, size_t i, struct dime_mime_part *out)
{
    char name[NAME_SIZE];
    size_t n = (size_t)r->parts[i].size;

    out->type = r->parts[i].span.first.def->type;
    out->data = kd_slice(NULL, 0);
    if (n == 0)
        return true;
    report_part_name(i, name);
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    /* The files are our own, in a directory of our own: nobody shortens them. */
    void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    kd_ignore(close(fd));
    if (p == MAP_FAILED)
        return false;
    out->data = kd_slice(p, n);
    return true;
}

static void
unmap_parts(struct dime_mime_part *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (parts[i].data.n > 0)
            kd_ignore(munmap((void *)(uintptr_t)parts[i].data.p, parts[i].data.n));
}

/* What does not make a mail is no failure: the parts are there. */
static bool
write_mail(int dir, struct report *r)
{
    const struct reading *g = &r->reading;
    struct dime_mime_part *parts = calloc(g->n_parts + 1, sizeof *parts);
    struct dime_mime_content content = {.common = g->common,
                                        .headers = kd_buf_slice(&g->text[3]),
                                        .parts = parts,
                                        .n_parts = g->n_parts};
    struct kd_buf mail;
    size_t n = 0;
    bool good = parts != NULL;
    kd_err err = KD_INVALID;

    kd_buf_init(&mail, 2 * (size_t)DIME_MIME_MAIL_MAX);
    while (good && n < g->n_parts) {
        good = map_part(dir, g, n, &parts[n]);
        n += good;
    }
    if (good)
        err = dime_mime_export(&content, &mail);
    if (parts != NULL)
        unmap_parts(parts, n);
    free(parts);
    if (err == KD_OK)
        r->has_mail = good = write_file(dir, "mail.eml", kd_buf_slice(&mail));
    else if (err == KD_NOMEM)
        errno = ENOMEM, good = false;
    kd_buf_free(&mail);
    return good;
}

/* --- All -------------------------------------------------------------------------- */

int
directory_make(struct directory *d, const char *path)
{
    *d = (struct directory){.path = path, .fd = -1};
    if (mkdir(path, 0700) != 0)
        return trouble(path);
    d->fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return d->fd < 0 ? trouble(path) : HOLDS;
}

int
directory_write_parts(const struct directory *d, struct report *r)
{
    const struct reading *g = &r->reading;

    for (size_t i = 0; i < READING_TEXTS; i++)
        if (g->texts[i] == TEXT_OPEN &&
            !write_file(d->fd, text_names[i], kd_buf_slice(&g->text[i])))
            return trouble(d->path);
    for (size_t i = 0; i < g->n_parts; i++)
        if (g->parts[i].state == PART_GOOD && !write_part(d->fd, g, i))
            return trouble(d->path);
    r->has_files = true;
    return HOLDS;
}

int
directory_write_mail(const struct directory *d, struct report *r)
{
    if (!r->reading.complete || !r->reading.has_common || write_mail(d->fd, r))
        return HOLDS;
    return trouble(d->path);
}

void
directory_close(struct directory *d, const struct report *r, int status)
{
    char name[NAME_SIZE];

    if (d->fd < 0)
        return;
    if (status != HOLDS) {
        for (size_t i = 0; i < READING_TEXTS; i++)
            kd_ignore(unlinkat(d->fd, text_names[i], 0));
        for (size_t i = 0; i < r->reading.n_parts; i++) {
            report_part_name(i, name);
            kd_ignore(unlinkat(d->fd, name, 0));
        }
        kd_ignore(unlinkat(d->fd, "mail.eml", 0));
        kd_ignore(rmdir(d->path));
    }
    kd_ignore(close(d->fd));
    d->fd = -1;
}
