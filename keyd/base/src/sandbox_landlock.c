#include "sandbox_impl.h"

#include <keyd/base/log.h>

#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The headers of Debian 12 know version 2 of the interface, its kernels and those of
 * backports more, so the values stand here (landlock(7)). */
enum {
    RULE_PATH_BENEATH = 1,
    VERSION_REFER = 2,
    VERSION_TRUNCATE = 3,
    VERSION_NET = 4,
    VERSION_IOCTL = 5,
    VERSION_SCOPE = 6,
};
#define FS_EXECUTE (1ULL << 0)
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_REMOVE_DIR (1ULL << 4)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_DIR (1ULL << 7)
#define FS_MAKE_REG (1ULL << 8)
#define FS_VERSION_1 ((1ULL << 13) - 1)
#define FS_REFER (1ULL << 13)
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_ALL 3ULL   /* bind and connect of TCP */
#define SCOPE_ALL 3ULL /* abstract unix sockets and signals of others */

struct ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scope;
};

struct path_rule {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

const bool kd_sandbox_real = true;

static uint64_t
fs_handled(int version)
{
    uint64_t fs = FS_VERSION_1;

    if (version >= VERSION_REFER)
        fs |= FS_REFER;
    if (version >= VERSION_TRUNCATE)
        fs |= FS_TRUNCATE;
    if (version >= VERSION_IOCTL)
        fs |= FS_IOCTL_DEV;
    return fs;
}

static uint64_t
fs_allowed(enum kd_path_access access, bool is_directory)
{
    static const uint64_t of[] = {
        [KD_PATH_READ] = FS_READ_FILE | FS_READ_DIR,
        [KD_PATH_RUN] = FS_READ_FILE | FS_READ_DIR | FS_EXECUTE,
        [KD_PATH_WRITE] = FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_REMOVE_FILE |
                          FS_MAKE_REG | FS_REFER | FS_TRUNCATE | FS_IOCTL_DEV,
        [KD_PATH_TREE] = FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_REMOVE_FILE |
                         FS_MAKE_REG | FS_REFER | FS_TRUNCATE | FS_IOCTL_DEV |
                         FS_MAKE_DIR | FS_REMOVE_DIR,
    };
    const uint64_t of_files =
        FS_READ_FILE | FS_WRITE_FILE | FS_EXECUTE | FS_TRUNCATE | FS_IOCTL_DEV;

    /* Device ioctls only where the device itself was named. */
    return is_directory ? of[access] & ~FS_IOCTL_DEV : of[access] & of_files;
}

static kd_err
add_path(int ruleset, uint64_t handled, const struct kd_sandbox_path *path)
{
    struct stat st;

    if (fstat(path->fd, &st) != 0)
        return KD_INVALID;
    struct path_rule rule = {
        .allowed = fs_allowed(path->access, S_ISDIR(st.st_mode)) & handled,
        .fd = path->fd,
    };
    if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) != 0) {
        kd_log(KD_WARN, "sandbox: landlock_add_rule errno=%d", errno);
        return KD_FAILED;
    }
    return KD_OK;
}

kd_err
kd_landlock_apply(const struct kd_sandbox_paths *paths, unsigned flags, int *version)
{
    kd_err err = KD_OK;
    const unsigned ask_version = 1;
    int v = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, ask_version);

    *version = v < 0 ? 0 : v;
    if (v < 0)
        return KD_OK; /* not built in, or not switched on */
    struct ruleset attr = {.fs = fs_handled(v)};
    if ((flags & LANDLOCK_NET) != 0 && v >= VERSION_NET)
        attr.net = NET_ALL;
    if ((flags & LANDLOCK_SCOPE) != 0 && v >= VERSION_SCOPE)
        attr.scope = SCOPE_ALL;
    /* An older kernel takes the longer structure as long as what it does not know is
     * zero. */
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0) {
        kd_log(KD_WARN, "sandbox: landlock_create_ruleset errno=%d", errno);
        return KD_FAILED;
    }
    for (size_t i = 0; paths != NULL && i < paths->n && err == KD_OK; i++)
        err = add_path(ruleset, attr.fs, &paths->list[i]);
    if (err == KD_OK && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        kd_log(KD_WARN, "sandbox: landlock_restrict_self errno=%d", errno);
        err = KD_FAILED;
    }
    close(ruleset);
    return err;
}
