/* The cage of each process: no new privileges, no capabilities, Landlock, seccomp
 * with KILL_PROCESS. What a role may call are the tables src/sandbox_*.def; which
 * role takes which is sandbox_roles.def.
 *
 * A process starts in this order:
 *   1. take what it needs: configuration, descriptors 0 to 2 open on something,
 *      inherited channels, kd_secret_setup
 *   2. call once whatever opens files on first use: tzset(); sodium_init();
 *      OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL), without which the first
 *      use of any algorithm reads openssl.cnf; the event loop with its signal handlers
 *      (signalfd, eventfd, epoll); sqlite3_initialize() and sqlite3_randomness().
 *      sysconf(_SC_NPROCESSORS_*) reads /sys: ask before, keep the answer
 *   3. kd_privileges_drop, kd_process_undumpable
 *   4. kd_sandbox_confine
 *   5. make its threads: none can be made later
 *   6. kd_sandbox_enter
 *   7. only now read what others sent
 *
 * A system call outside the list ends the process with SIGSYS; the kernel's audit
 * log (or dmesg) names the number. Sources: seccomp(2), landlock(7). */
#ifndef KEYD_BASE_SANDBOX_H
#define KEYD_BASE_SANDBOX_H

#include <keyd/base/err.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum kd_role {
#define KD_ROLE(id, name, start, tables, caps, landlock) KD_ROLE_##id,
#include <keyd/base/sandbox_roles.def>
#undef KD_ROLE
    KD_ROLE_COUNT
};

enum kd_sandbox_mode {
    KD_SANDBOX_STRICT,  /* without Landlock the process refuses to go on */
    KD_SANDBOX_LENIENT, /* Landlock if the kernel has it; seccomp in any case */
};

enum kd_path_access {
    KD_PATH_READ,  /* read files, list directories */
    KD_PATH_RUN,   /* the same, and execute */
    KD_PATH_WRITE, /* read, write, create, rename, remove regular files */
    KD_PATH_TREE,  /* the same of directories too */
};

struct kd_sandbox_path {
    int fd; /* of a directory or file, O_PATH is enough; stays the caller's */
    enum kd_path_access access;
};

/* All that is left of the file system; everything beneath a directory counts. Ledger:
 * its database directory. Supervisor: "/" to run, and what the roles it will start
 * again may write, since they inherit its Landlock domain. Gate and vault: nothing. */
struct kd_sandbox_paths {
    const struct kd_sandbox_path *list;
    size_t n;
};

/* "gate", "vault", ...; "unknown" for anything else. */
const char *kd_role_name(enum kd_role role);

/* Started as root: becomes uid and gid with no other group, for good. Started as
 * exactly these: does nothing. KD_DENIED otherwise, KD_INVALID for uid or gid 0. */
kd_err kd_privileges_drop(uid_t uid, gid_t gid) KD_MUST_USE;

/* The half that the kernel applies to the calling thread only and new threads
 * inherit: no_new_privs, capabilities, Landlock. So it comes before threads:
 * KD_INVALID if there are any. paths may be NULL for none. Also keeps malloc to one
 * arena, because glibc opens a file under /proc when it first shrinks another one.
 * KD_UNSUPPORTED if the mode asks for what the kernel lacks. The log says what. */
kd_err kd_sandbox_confine(enum kd_role role, const struct kd_sandbox_paths *paths,
                          enum kd_sandbox_mode mode) KD_MUST_USE;

/* The filter, on every thread. Confines first if that has not been done, and is then
 * called before threads too. After an error the process must end: it may be half
 * locked. KD_UNSUPPORTED without seccomp, KD_INVALID if called twice. */
kd_err kd_sandbox_enter(enum kd_role role, const struct kd_sandbox_paths *paths,
                        enum kd_sandbox_mode mode) KD_MUST_USE;

/* One line for Status, e.g. "role=vault seccomp=kill landlock=7 capabilities=none";
 * static storage. Says "seccomp=off" before enter, and in builds with sanitizers,
 * which cannot live under a filter. */
const char *kd_sandbox_describe(void);

/* False in builds with sanitizers, where no filter and no Landlock hold anything. */
bool kd_sandbox_is_real(void);

#endif
