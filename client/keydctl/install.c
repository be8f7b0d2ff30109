/* keydctl registry install: a backup into a state directory, while no keyd runs on it.
 * Every octet is held against the manifest on its way; nothing is written over. What
 * was there can be set aside, into a directory of its own. That the backup is old is
 * for keyd to find out and for operators to accept (registry restore). */
#include "keydctl.h"

#include <errno.h>
#include <fcntl.h>
#include <keyd/ledger/manifest.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, ASIDE_MOST = 1000 };

/* SQLite's locks lie here (sqlite3.h, "pending byte"). */
enum { LOCKS_AT = 0x40000000, LOCKS_SIZE = 512 };

static const char default_state[] = "/var/lib/dime-keyd";

static const char *const names[] = {
    KD_BACKUP_REGISTRY,
    KD_BACKUP_REGISTRY "-wal",
    KD_BACKUP_REGISTRY "-journal",
    KD_BACKUP_REGISTRY ".part",
    KD_BACKUP_KEYSTORE,
    KD_BACKUP_KEYSTORE ".new",
    KD_BACKUP_KEYSTORE ".part",
};
enum { N_NAMES = sizeof names / sizeof *names };

static int
failed(const char *what)
{
    complain(what, strerror(errno));
    return EX_IOERR;
}

static bool
is_there(int dir, const char *name)
{
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

/* --- what is there ------------------------------------------------------------------
 */

/* A keyd that runs has its registry locked. */
static int
check_idle(int state)
{
    struct flock all = {.l_type = F_WRLCK,
                        .l_whence = SEEK_SET,
                        .l_start = LOCKS_AT,
                        .l_len = LOCKS_SIZE};
    int fd = openat(state, KD_BACKUP_REGISTRY, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return errno == ENOENT ? EX_OK : failed(KD_BACKUP_REGISTRY);
    int got = fcntl(fd, F_GETLK, &all);
    close(fd);
    if (got == 0 && all.l_type == F_UNLCK)
        return EX_OK;
    complain("state directory", "a keyd runs on it: stop it first");
    return EX_UNAVAILABLE;
}

static int
move_names(int state, int aside)
{
    for (size_t i = 0; i < N_NAMES; i++)
        if (renameat(state, names[i], aside, names[i]) != 0 && errno != ENOENT)
            return failed(names[i]);
    return fsync(aside) == 0 && fsync(state) == 0 ? EX_OK : failed("set aside");
}

static int
set_aside(int state, const struct stat *owner)
{
    char name[32];
    int n = 0;
    bool made;

    do {
        kd_ignore(snprintf(name, sizeof name, "set-aside.%d", ++n));
        made = mkdirat(state, name, 0700) == 0;
    } while (!made && errno == EEXIST && n < ASIDE_MOST);
    if (!made) /* into one that is there nothing is moved: it has what was set aside */
        return failed(name);
    int aside = openat(state, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (aside < 0)
        return failed(name);
    int status = geteuid() == 0 && fchown(aside, owner->st_uid, owner->st_gid) != 0
                     ? failed(name)
                     : move_names(state, aside);
    close(aside);
    if (status == EX_OK)
        emit(stderr, "%s: what was there lies in %s\n", tool_name, name);
    return status;
}

static int
make_room(const struct options *o, int state, const struct stat *owner)
{
    bool is_empty = true;
    int status = check_idle(state);

    for (size_t i = 0; i < N_NAMES; i++)
        is_empty = is_empty && !is_there(state, names[i]);
    if (status != EX_OK || is_empty)
        return status;
    if (o->set_aside)
        return set_aside(state, owner);
    complain("state directory",
             "there is a registry or key store in it; --set-aside moves them away");
    return EX_CANTCREAT;
}

/* --- copying ------------------------------------------------------------------------
 */

static bool
write_piece(int fd, const uint8_t *p, size_t n)
{
    while (n != 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static int
copy_octets(const char *name, int from, int to, const struct kd_manifest_file *want)
{
    static uint8_t piece[PIECE];
    uint8_t sha256[KD_SHA256_SIZE];
    crypto_hash_sha256_state st;
    uint64_t size = 0;
    ssize_t k;

    crypto_hash_sha256_init(&st);
    while (size <= want->size && (k = read(from, piece, sizeof piece)) != 0) {
        if (k < 0 || !write_piece(to, piece, (size_t)k))
            return failed(name);
        size += (uint64_t)k;
        crypto_hash_sha256_update(&st, piece, (size_t)k);
    }
    crypto_hash_sha256_final(&st, sha256);
    if (size == want->size && memcmp(sha256, want->sha256, sizeof sha256) == 0)
        return EX_OK;
    complain(name, "not the file of the manifest");
    return EX_DATAERR;
}

static int
copy_open(int from, int state, const char *name, const char *part,
          const struct kd_manifest_file *want, const struct stat *owner)
{
    int to =
        openat(state, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int status = EX_OK;

    if (to < 0)
        return failed(part);
    if (geteuid() == 0 && fchown(to, owner->st_uid, owner->st_gid) != 0)
        status = failed(part);
    if (status == EX_OK)
        status = copy_octets(name, from, to, want);
    if (status == EX_OK && fsync(to) != 0)
        status = failed(part);
    if (close(to) != 0 && status == EX_OK)
        status = failed(part);
    if (status == EX_OK && renameat2(state, part, state, name, RENAME_NOREPLACE) != 0)
        status = failed(name);
    if (status != EX_OK)
        kd_ignore(unlinkat(state, part, 0)); /* of no use */
    return status;
}

/* Under another name until it is whole and on the disk. */
static int
copy_file(int backup, int state, const char *name, const struct kd_manifest_file *want,
          const struct stat *owner)
{
    char part[64];
    int from = openat(backup, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (from < 0) {
        complain(name, strerror(errno));
        return EX_NOINPUT;
    }
    kd_ignore(snprintf(part, sizeof part, "%s.part", name));
    int status = copy_open(from, state, name, part, want, owner);
    close(from);
    return status;
}

static int
read_manifest(int backup, struct kd_manifest *m)
{
    uint8_t text[KD_MANIFEST_MAX + 1];
    int fd = openat(backup, KD_BACKUP_MANIFEST, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text, 0);

    if (fd >= 0)
        close(fd);
    if (n < 0) {
        complain(KD_BACKUP_MANIFEST, strerror(errno));
        return EX_NOINPUT;
    }
    if (kd_manifest_decode(kd_slice(text, (size_t)n), m) == KD_OK)
        return EX_OK;
    complain(KD_BACKUP_MANIFEST, "not the manifest of a backup");
    return EX_DATAERR;
}

static int
install(const struct options *o, int backup, int state, struct kd_manifest *m)
{
    struct stat owner;
    int status = read_manifest(backup, m);

    if (status == EX_OK && fstat(state, &owner) != 0)
        status = failed("state directory");
    if (status == EX_OK)
        status = make_room(o, state, &owner);
    /* The registry last: without it there is nothing to start with. */
    if (status == EX_OK && m->keystore.size != 0)
        status = copy_file(backup, state, KD_BACKUP_KEYSTORE, &m->keystore, &owner);
    if (status == EX_OK)
        status = copy_file(backup, state, KD_BACKUP_REGISTRY, &m->registry, &owner);
    if (status == EX_OK && fsync(state) != 0)
        status = failed("state directory");
    return status;
}

static int
tell(const struct options *o, const struct kd_manifest *m)
{
    char hash[2 * KD_SHA256_SIZE + 1], time[TIME_TEXT];

    hex_write(kd_slice(m->tail.hash, sizeof m->tail.hash), hash);
    if (o->json)
        return json_done(json_pack("{s:I, s:s, s:o}", "seq", (json_int_t)m->tail.seq,
                                   "hash", hash, "time", json_time(m->tail.time_ms)),
                         EX_OK);
    emit(stdout,
         "records  %ju, the last of %s\nhash     %s\n"
         "Start the daemon; where a checkpoint file is configured it stays failed\n"
         "until the registry is accepted: keydctl registry restore\n",
         (uintmax_t)m->tail.seq, time_text(m->tail.time_ms, time), hash);
    return EX_OK;
}

int
verb_registry_install(const struct options *o)
{
    const char *path = o->state == NULL ? default_state : o->state;
    struct kd_manifest m = {0};
    int status = EX_OK;

    if (sodium_init() < 0)
        return EX_SOFTWARE;
    if (o->state != NULL && mkdir(path, 0700) != 0 && errno != EEXIST)
        return failed(path);
    int backup = open(o->args[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int state = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (backup < 0 || state < 0) {
        complain(backup < 0 ? o->args[0] : path, strerror(errno));
        status = EX_NOINPUT;
    }
    if (status == EX_OK)
        status = install(o, backup, state, &m);
    if (backup >= 0)
        close(backup);
    if (state >= 0)
        close(state);
    return status == EX_OK ? tell(o, &m) : status;
}
