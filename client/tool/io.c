/* Files of the tools. */
#include "tool.h"

#include <dime/armor.h>
#include <dime/dkey.h>
#include <errno.h>
#include <fcntl.h>
#include <keyd/base/secret.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The largest signet in armour, with room for its line ends and text around it. */
enum { FILE_MAX_SIZE = 24 << 20, READ_SIZE = 65536 };

void
emit(FILE *f, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    kd_ignore(vfprintf(f, fmt, args)); /* main asks once at the end */
    va_end(args);
}

void
complain(const char *what, const char *text)
{
    emit(stderr, "%s: %s: %s\n", tool_name, what, text);
}

int
trouble(const char *path)
{
    complain(path, strerror(errno));
    return TROUBLE;
}

static bool
is_standard(const char *path)
{
    return path == NULL || strcmp(path, "-") == 0;
}

int
open_read(const char *path)
{
    return is_standard(path) ? STDIN_FILENO
                             : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

void
close_read(int fd)
{
    if (fd != STDIN_FILENO)
        kd_ignore(close(fd)); /* only read from */
}

ssize_t
read_up_to(int fd, uint8_t *out, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = read(fd, out + done, n - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

int
file_read(int fd, const char *path, struct kd_buf *b, const char **why)
{
    for (;;) {
        uint8_t part[READ_SIZE];
        ssize_t n = read_up_to(fd, part, sizeof part);
        if (n < 0)
            return trouble(path);
        if (n == 0)
            return HOLDS;
        kd_buf_put(b, kd_slice(part, (size_t)n));
        if (b->err == KD_TOO_LARGE) {
            *why = "larger than such a file can be";
            return FAILS;
        }
        if (b->err != KD_OK) {
            complain(path, kd_err_text(b->err));
            return TROUBLE;
        }
    }
}

/* A private key file given in place of a signet is no reason to show what it holds. */
static const char *
why_not_signet(const struct object *obj, enum dime_reason reason)
{
    return dime_dkey_is(obj->in.octets) ? "a private key file, not a signet"
                                        : dime_reason_text(reason);
}

int
loaded_read(struct loaded *l, const char *path, size_t file_max, const char **why)
{
    enum dime_armor_label label = DIME_ARMOR_NONE;
    int fd;

    *l = (struct loaded){.armoured = false};
    kd_buf_init(&l->file, file_max);
    kd_buf_init(&l->decoded, file_max);
    if ((fd = open_read(path)) < 0)
        return trouble(path);
    int status = file_read(fd, path, &l->file, why);
    close_read(fd);
    if (status != HOLDS)
        return status;
    kd_err err =
        dime_object_load(kd_buf_slice(&l->file), &l->decoded, &l->octets, &label, why);
    if (err == KD_NOMEM) {
        complain(path, kd_err_text(err));
        return TROUBLE;
    }
    l->armoured = label != DIME_ARMOR_NONE;
    return err == KD_OK ? HOLDS : FAILS;
}

static void
wipe_and_free(struct kd_buf *b)
{
    if (b->p != NULL)
        kd_secret_wipe(b->p, b->n);
    kd_buf_free(b);
}

void
loaded_free(struct loaded *l)
{
    wipe_and_free(&l->file);
    wipe_and_free(&l->decoded);
}

int
object_load(struct object *obj, const char *path, const char **why)
{
    enum dime_reason reason;
    int status = loaded_read(&obj->in, path, FILE_MAX_SIZE, why);

    if (status == HOLDS &&
        dime_signet_parse(obj->in.octets, &obj->signet, &reason) != KD_OK) {
        *why = why_not_signet(obj, reason);
        return FAILS;
    }
    return status;
}

void
object_free(struct object *obj)
{
    loaded_free(&obj->in);
}

bool
fd_write(int fd, struct kd_slice s)
{
    for (size_t done = 0; done < s.n;) {
        ssize_t n = write(fd, s.p + done, s.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* What is there already: a private key file is not written over, by whatever slip. */
static bool
is_key_file(const char *path)
{
    enum { ENOUGH = DIME_DKEY_FILE_MAX + 1 };
    uint8_t *octets = malloc(ENOUGH);
    struct stat st;
    bool is = false;
    int fd = -1;

    if (octets != NULL && stat(path, &st) == 0 && S_ISREG(st.st_mode))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : read_up_to(fd, octets, ENOUGH);
    if (n > 0) {
        struct kd_slice file = kd_slice(octets, (size_t)n);
        struct dime_armor a;
        is = dime_dkey_is(file) ||
             (dime_armor_parse(file, &a, NULL) == KD_OK &&
              (a.label == DIME_ARMOR_ORG_KEY || a.label == DIME_ARMOR_USER_KEY ||
               a.label == DIME_ARMOR_ENCRYPTED_ORG_KEY ||
               a.label == DIME_ARMOR_ENCRYPTED_USER_KEY));
    }
    if (fd >= 0)
        close_read(fd);
    if (octets != NULL)
        kd_secret_wipe(octets, ENOUGH);
    free(octets);
    return is;
}

/* Devices and pipes are written to as they are. */
static int
write_special(const char *path, struct kd_slice octets)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return trouble(path);
    int status = fd_write(fd, octets) ? HOLDS : trouble(path);
    if (close(fd) != 0 && status == HOLDS)
        status = trouble(path);
    return status;
}

/* Beside the file, and then in its place: a full disk leaves what was there. */
static int
write_beside(const char *path, struct kd_slice octets, mode_t mode)
{
    char beside[PATH_MAX];
    int n = snprintf(beside, sizeof beside, "%s.XXXXXX", path);

    if (n < 0 || (size_t)n >= sizeof beside) {
        errno = ENAMETOOLONG;
        return trouble(path);
    }
    int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return trouble(path);
    bool good = fchmod(fd, mode) == 0 && fd_write(fd, octets);
    good = close(fd) == 0 && good;
    if (good && rename(beside, path) == 0)
        return HOLDS;
    int status = trouble(path);
    kd_ignore(unlink(beside));
    return status;
}

int
file_write(const char *path, struct kd_slice octets)
{
    char real[PATH_MAX];
    struct stat st;

    if (is_standard(path))
        return fd_write(STDOUT_FILENO, octets) ? HOLDS : trouble("standard output");
    if (stat(path, &st) != 0) {
        mode_t mask = umask(0);
        umask(mask);
        if (errno == ENOENT || errno == ENOTDIR)
            return write_beside(path, octets, 0666 & ~mask);
        return trouble(path);
    }
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return trouble(path);
    }
    if (!S_ISREG(st.st_mode))
        return write_special(path, octets);
    if (is_key_file(path)) {
        complain(path, "holds private keys, and is not written over");
        return TROUBLE;
    }
    /* A link stays one. */
    if (realpath(path, real) == NULL)
        return trouble(path);
    return write_beside(real, octets, st.st_mode & 07777);
}

int
file_write_secret(const char *path, struct kd_slice octets)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return trouble(path);
    bool done = fd_write(fd, octets) && fsync(fd) == 0;
    int status = done ? HOLDS : trouble(path);
    if (close(fd) != 0 && done)
        status = trouble(path);
    /* Half a key file is worse than none: it is ours, it was not there before. */
    if (status != HOLDS)
        kd_ignore(unlink(path));
    return status;
}
