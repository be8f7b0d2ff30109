#include <keyd/p11/module_file.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert((int)P11_MODULE_PATH_MAX == PATH_MAX, "what realpath writes");

/* Where the linker puts this program's own header: what it is built for. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* Paths may hold anything; what is told is printable. */
static enum p11_finding_code
found(struct p11_finding *out, enum p11_finding_code code, const char *what)
{
    size_t n = strnlen(what, P11_WHAT_MAX);

    out->code = code;
    for (size_t i = 0; i < n; i++)
        out->what[i] = what[i] >= ' ' && what[i] <= '~' ? what[i] : '?';
    out->what[n] = '\0';
    return code;
}

static bool
is_written_by_others(const struct stat *st, uid_t owner)
{
    bool is_shared = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0;

    return (st->st_uid != 0 && st->st_uid != owner) ||
           ((st->st_mode & 022) != 0 && !is_shared);
}

/* path is without links; cut at each of its folders in turn. */
static enum p11_finding_code
look_at_folders(char *path, uid_t owner, struct p11_finding *out)
{
    struct stat st;

    for (char *slash = strrchr(path, '/'); slash != NULL; slash = strrchr(path, '/')) {
        *slash = '\0';
        const char *folder = path[0] == '\0' ? "/" : path;
        if (stat(folder, &st) != 0)
            return found(out, P11_MODULE_MISSING, folder);
        if (is_written_by_others(&st, owner))
            return found(out, P11_MODULE_WRITABLE, folder);
    }
    return P11_FINE;
}

/* The loader maps what the header promises and dies of what the file lacks. */
static bool
is_whole(int fd, const ElfW(Ehdr) * h, off_t size)
{
    enum { SEGMENTS_MAX = 64 };
    ElfW(Phdr) segments[SEGMENTS_MAX];
    size_t n = h->e_phnum * sizeof *segments;

    if (h->e_phnum == 0 || h->e_phnum > SEGMENTS_MAX ||
        h->e_phentsize != sizeof *segments || h->e_phoff > (uint64_t)size ||
        pread(fd, segments, n, (off_t)h->e_phoff) != (ssize_t)n)
        return false;
    for (size_t i = 0; i < h->e_phnum; i++)
        if (segments[i].p_filesz > (uint64_t)size ||
            segments[i].p_offset > (uint64_t)size - segments[i].p_filesz)
            return false;
    return true;
}

static enum p11_finding_code
look_at_header(int fd, const char *path, off_t size, struct p11_finding *out)
{
    ElfW(Ehdr) h;
    const ElfW(Ehdr) *own = &__ehdr_start;

    if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h ||
        memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
        return found(out, P11_MODULE_NOT_ELF, path);
    if (h.e_ident[EI_CLASS] != own->e_ident[EI_CLASS] ||
        h.e_ident[EI_DATA] != own->e_ident[EI_DATA] || h.e_machine != own->e_machine)
        return found(out, P11_MODULE_OTHER_MACHINE, path);
    if (h.e_type != ET_DYN)
        return found(out, P11_MODULE_NOT_ELF, path);
    return is_whole(fd, &h, size) ? P11_FINE : found(out, P11_MODULE_CUT, path);
}

static enum p11_finding_code
look_at_file(int fd, const char *path, uid_t owner, struct p11_finding *out)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return found(out, P11_MODULE_MISSING, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return found(out, P11_MODULE_NOT_ELF, path);
    if (is_written_by_others(&st, owner))
        return found(out, P11_MODULE_WRITABLE, path);
    return look_at_header(fd, path, st.st_size, out);
}

/* Who can change the link chooses the file. */
static enum p11_finding_code
look_at_link(const char *path, uid_t owner, struct p11_finding *out)
{
    char folders[P11_MODULE_PATH_MAX];
    struct stat st;

    if (strlen(path) >= sizeof folders || lstat(path, &st) != 0)
        return found(out, P11_MODULE_MISSING, strerror(errno));
    if (S_ISLNK(st.st_mode) && st.st_uid != 0 && st.st_uid != owner)
        return found(out, P11_MODULE_WRITABLE, path);
    memcpy(folders, path, strlen(path) + 1);
    return look_at_folders(folders, owner, out);
}

enum p11_finding_code
p11_module_resolve(const char *path, uid_t owner, char real[P11_MODULE_PATH_MAX],
                   struct p11_finding *out)
{
    char folders[P11_MODULE_PATH_MAX];
    enum p11_finding_code code;

    *out = (struct p11_finding){.code = P11_FINE};
    if (realpath(path, real) == NULL)
        return found(out, P11_MODULE_MISSING, strerror(errno));
    int fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return found(out, P11_MODULE_MISSING, strerror(errno));
    code = look_at_file(fd, real, owner, out);
    close(fd);
    if (code != P11_FINE)
        return code;
    memcpy(folders, real, strlen(real) + 1);
    code = look_at_folders(folders, owner, out);
    return code == P11_FINE ? look_at_link(path, owner, out) : code;
}

enum p11_finding_code
p11_module_look(const char *path, uid_t owner, struct p11_finding *out)
{
    char real[P11_MODULE_PATH_MAX];

    return p11_module_resolve(path, owner, real, out);
}
