/* Does the filter hold? Every system call number of every role against a golden list,
 * then arguments.
 *
 *   sandbox_probe                 the tests
 *   sandbox_probe --write         writes the lists anew, to be read before they are
 * kept
 *
 * Each probe is a process of its own that enters the role's sandbox and makes one call.
 * The filter decides before the kernel looks whether it has such a call, so the lists
 * hold on every kernel but for the exceptions below. x86-64 only. */
#include <keyd/base/err.h>
#include <keyd/base/sandbox.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants four of the above first */
#include <cmocka.h>

enum { CALL_MAX = 470, ENTER_FAILED = 99 };

/* Calls that the kernel serves before it asks any filter. */
static const struct {
    int call;
    const char *why;
} past_filters[] = {
    {335, "uretprobe, since Linux 6.11: answers only the kernel's own trampoline"},
    {336, "uprobe, since Linux 6.18: the same"},
};

static const enum kd_role all_roles[] = {KD_ROLE_SUPERVISOR, KD_ROLE_SUPERVISOR_NET,
                                         KD_ROLE_GATE,       KD_ROLE_VAULT,
                                         KD_ROLE_LEDGER,     KD_ROLE_P11,
                                         KD_ROLE_P11_PCSC,   KD_ROLE_P11_NET};
enum { N_ROLES = sizeof all_roles / sizeof *all_roles };
_Static_assert(N_ROLES == (int)KD_ROLE_COUNT, "a new role needs a golden list");

static bool
is_supervisor(enum kd_role role)
{
    return role == KD_ROLE_SUPERVISOR || role == KD_ROLE_SUPERVISOR_NET;
}

static void
enter(enum kd_role role)
{
    struct kd_sandbox_path path = {-1, KD_PATH_RUN};
    struct kd_sandbox_paths paths = {&path, 0};

    if (is_supervisor(role)) {
        path.fd = open("/", O_PATH | O_CLOEXEC);
        paths.n = 1;
    }
    if (kd_sandbox_enter(role, &paths, KD_SANDBOX_STRICT) != KD_OK)
        _exit(ENTER_FAILED);
}

static int
end_of(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == ENTER_FAILED)
        fail_msg("the sandbox could not be entered");
    return status;
}

static bool
killed(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

/* In the child, last thing before the call: no descriptor is open, and what waits is
 * ended by the timer, which runs on under any filter. */
static void
enter_bare(enum kd_role role)
{
    static const struct itimerval soon = {.it_value = {0, 200000}};
    static const struct rlimit none = {0, 0};

    if (setitimer(ITIMER_REAL, &soon, NULL) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
        _exit(ENTER_FAILED);
    enter(role);
    for (int fd = 0; fd < 16; fd++)
        close(fd);
}

/* --- every number --- */

enum pattern { ZEROS, ONES, N_PATTERNS };
enum { BOTH = 1 << ZEROS | 1 << ONES };
static const char *const pattern_names[] = {"-", "zeros", "ones", "both"};

/* With all arguments zero or all minus one no call does anything that lasts, given
 * that no descriptor is open and no capability held that matters. */
static bool
survives(enum kd_role role, int call, enum pattern pattern)
{
    long a = pattern == ONES ? -1 : 0;
    pid_t pid = fork();

    if (pid == 0) {
        enter_bare(role);
        if (call == SYS_vfork) { /* takes more than a plain call to come back from */
            if (vfork() == 0)
                _exit(0);
        } else {
            syscall(call, a, a, a, a, a, a);
        }
        _exit(0);
    }
    assert_true(pid > 0);
    return !killed(end_of(pid));
}

/* For each number a set of patterns. */
struct survivors {
    unsigned char of[CALL_MAX + 1];
};

static void
probe_role(enum kd_role role, struct survivors *found)
{
    memset(found, 0, sizeof *found);
    for (int call = 0; call <= CALL_MAX; call++)
        for (enum pattern p = ZEROS; p < N_PATTERNS; p++)
            if (survives(role, call, p))
                found->of[call] |= (unsigned char)(1U << p);
}

static FILE *
golden_open(enum kd_role role, const char *mode)
{
    char path[512];
    int n = snprintf(path, sizeof path, "%s/%s.txt", KEYD_SANDBOX_GOLDEN,
                     kd_role_name(role));

    assert_in_range(n, 1, sizeof path - 1);
    FILE *f = fopen(path, mode);
    if (f == NULL)
        fail_msg("%s: %s", path, strerror(errno));
    return f;
}

static void
golden_read(enum kd_role role, struct survivors *out)
{
    char line[128], name[64], pattern[16];
    int call;
    FILE *f = golden_open(role, "r");

    memset(out, 0, sizeof *out);
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '#')
            continue;
        /* NOLINTNEXTLINE(cert-err34-c): our own file, and the range is checked */
        assert_int_equal(sscanf(line, "%d %63s %15s", &call, name, pattern), 3);
        assert_in_range(call, 0, CALL_MAX);
        for (unsigned char p = 1; p <= BOTH; p++)
            if (strcmp(pattern, pattern_names[p]) == 0)
                out->of[call] = p;
    }
    assert_int_equal(fclose(f), 0);
}

static void
call_name(int call, char *out, size_t size)
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, call);

    assert_true(snprintf(out, size, "%s", name == NULL ? "unknown" : name) > 0);
    free(name);
}

static void
golden_write(enum kd_role role, const struct survivors *found)
{
    char name[64];
    FILE *f = golden_open(role, "w");

    fprintf(
        f,
        "# System calls 0 to %d that a %s survives: with all arguments zero, all\n"
        "# ones, or both. Written by sandbox_probe --write; read before committing.\n",
        CALL_MAX, kd_role_name(role));
    for (int call = 0; call <= CALL_MAX; call++) {
        call_name(call, name, sizeof name);
        if (found->of[call] != 0)
            fprintf(f, "%d %s %s\n", call, name, pattern_names[found->of[call]]);
    }
    assert_int_equal(fclose(f), 0);
}

static const char *
past_filter(int call)
{
    for (size_t i = 0; i < sizeof past_filters / sizeof *past_filters; i++)
        if (past_filters[i].call == call)
            return past_filters[i].why;
    return NULL;
}

static void
every_call_number_is_as_the_golden_list_says(void **state)
{
    const enum kd_role role = *(const enum kd_role *)*state;
    static struct survivors found, golden;
    unsigned wrong = 0;
    char name[64];

    golden_read(role, &golden);
    probe_role(role, &found);
    for (int call = 0; call <= CALL_MAX; call++) {
        if (found.of[call] == golden.of[call])
            continue;
        call_name(call, name, sizeof name);
        const char *why = past_filter(call);
        print_message("%s %d %s: %s, golden list says %s%s%s\n", kd_role_name(role),
                      call, name, pattern_names[found.of[call]],
                      pattern_names[golden.of[call]],
                      why == NULL ? "" : "; exception: ", why == NULL ? "" : why);
        wrong += why == NULL;
    }
    assert_int_equal(wrong, 0);
}

/* --- arguments --- */

#define SELF_PID 0x5e1f5e1fL /* stands for the caller's process id */
#define NET (1U << KD_ROLE_SUPERVISOR_NET)
#define S (1U << KD_ROLE_SUPERVISOR | NET)
#define G (1U << KD_ROLE_GATE)
#define V (1U << KD_ROLE_VAULT)
#define L (1U << KD_ROLE_LEDGER)
#define TCP (1U << KD_ROLE_P11_NET) /* modules, by profile */
#define X (1U << KD_ROLE_P11_PCSC | TCP)
#define F (1U << KD_ROLE_P11)
#define P (F | X)
#define ALL (S | G | V | L | P)
#define HIGH                                                                           \
    (1L << 32) /* a bit in the half of the register that an int does not have */
#define PATH ((long)(uintptr_t) "/tmp/keyd-probe-nothing-here/x")
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static const struct argument_probe {
    const char *what;
    unsigned live; /* the roles that survive it; all others die */
    long call;
    long a[6];
} argument_probes[] = {
    {"mmap", ALL, SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, ANON, -1, 0}},
    {"mmap exec", S, SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, ANON, -1, 0}},
    {"mmap rwx", S, SYS_mmap, {0, 4096, 7, ANON, -1, 0}},
    {"mmap high prot", S, SYS_mmap, {0, 4096, HIGH | PROT_READ, ANON, -1, 0}},
    {"mmap file", S | P, SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 0, 0}},
    {"mmap shared file", S | P, SYS_mmap, {0, 4096, PROT_READ, MAP_SHARED, 0, 0}},
    {"mmap shared anon", S, SYS_mmap, {0, 4096, 1, MAP_SHARED | MAP_ANONYMOUS, -1, 0}},
    {"mmap growsdown", S, SYS_mmap, {0, 4096, PROT_READ, ANON | MAP_GROWSDOWN, -1, 0}},
    {"mmap hugetlb", S, SYS_mmap, {0, 4096, PROT_READ, ANON | MAP_HUGETLB, -1, 0}},
    {"mprotect", ALL, SYS_mprotect, {0, 0, PROT_READ}},
    {"mprotect exec", S, SYS_mprotect, {0, 0, PROT_READ | PROT_EXEC}},
    {"mprotect growsdown", S, SYS_mprotect, {0, 0, PROT_READ | PROT_GROWSDOWN}},
    {"pkey_mprotect", S, SYS_pkey_mprotect, {0, 0, PROT_READ, -1}},
    {"madvise dontneed", ALL, SYS_madvise, {0, 0, MADV_DONTNEED}},
    {"madvise remove", S, SYS_madvise, {0, 0, MADV_REMOVE}},
    {"madvise hwpoison", S, SYS_madvise, {0, 0, MADV_HWPOISON}},
    {"mlock", S | V, SYS_mlock, {0, 0}},
    {"memfd_secret", S, SYS_memfd_secret, {-1}},
    {"memfd", ALL, SYS_memfd_create, {0, MFD_CLOEXEC | MFD_ALLOW_SEALING}},
    {"memfd hugetlb", S, SYS_memfd_create, {0, MFD_HUGETLB}},
    {"memfd exec", S, SYS_memfd_create, {0, 0x10}},

    {"socket unix", S | P, SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
    {"socket inet", NET | F | TCP, SYS_socket, {AF_INET, SOCK_STREAM, 0}},
    {"socket inet6", NET | F | TCP, SYS_socket, {AF_INET6, SOCK_DGRAM, 0}},
    {"socket netlink", NET | F, SYS_socket, {AF_NETLINK, SOCK_RAW, 0}},
    {"socket packet", F, SYS_socket, {AF_PACKET, SOCK_RAW, 0}},
    {"socket vsock", F, SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}},
    {"socket alg", F, SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}},
    {"socket unix, high bit", NET | P, SYS_socket, {HIGH | AF_UNIX, SOCK_STREAM, 0}},
    {"socketpair unix", S | TCP, SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, 0}},
    {"socketpair inet", 0, SYS_socketpair, {AF_INET, SOCK_STREAM, 0, 0}},
    {"connect", S | X, SYS_connect, {-1, 0, 0}},
    {"bind", 0, SYS_bind, {-1, 0, 0}},
    {"listen", 0, SYS_listen, {-1, 1}},
    {"accept", 0, SYS_accept, {-1, 0, 0}},
    {"accept4", S | G, SYS_accept4, {-1, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC}},
    {"accept4 odd flag", S, SYS_accept4, {-1, 0, 0, 1}},
    {"sendmsg", ALL, SYS_sendmsg, {-1, 0, 0}},
    {"recvmsg", ALL, SYS_recvmsg, {-1, 0, 0}},
    {"sendmmsg", S, SYS_sendmmsg, {-1, 0, 0, 0}},
    {"recvmmsg", S, SYS_recvmmsg, {-1, 0, 0, 0, 0}},
    {"sendto", S | X, SYS_sendto, {-1, 0, 0, 0, 0, 0}},
    {"sendfile", S, SYS_sendfile, {-1, -1, 0, 0}},
    {"splice", S, SYS_splice, {-1, 0, -1, 0, 0, 0}},
    {"peercred", S | G | X, SYS_getsockopt, {-1, SOL_SOCKET, SO_PEERCRED, 0, 0}},
    {"peersec", S, SYS_getsockopt, {-1, SOL_SOCKET, SO_PEERSEC, 0, 0}},
    {"rcvbuf", S | X, SYS_setsockopt, {-1, SOL_SOCKET, SO_RCVBUF, 0, 0}},
    {"rcvbufforce", S, SYS_setsockopt, {-1, SOL_SOCKET, SO_RCVBUFFORCE, 0, 0}},
    {"attach filter", S, SYS_setsockopt, {-1, SOL_SOCKET, SO_ATTACH_FILTER, 0, 0}},
    {"tcp_nodelay", S | TCP, SYS_setsockopt, {-1, IPPROTO_TCP, TCP_NODELAY, 0, 0}},
    {"tcp_ulp", S, SYS_setsockopt, {-1, IPPROTO_TCP, TCP_ULP, 0, 0}},

    {"open for reading", S | L | P, SYS_openat, {-1, PATH, O_RDONLY | O_CLOEXEC, 0}},
    {"open for writing", S | L | P, SYS_openat, {-1, PATH, O_WRONLY | O_CLOEXEC, 0}},
    {"open to create",
     S | L | P,
     SYS_openat,
     {-1, PATH, O_RDWR | O_CREAT | O_EXCL, 0600}},
    {"open to truncate", S | P, SYS_openat, {-1, PATH, O_RDWR | O_TRUNC, 0}},
    {"open to append", S | P, SYS_openat, {-1, PATH, O_WRONLY | O_APPEND, 0}},
    {"open as path", S | P, SYS_openat, {-1, PATH, O_PATH, 0}},
    {"open tmpfile", S, SYS_openat, {-1, PATH, O_RDWR | O_TMPFILE, 0600}},
    {"open async", S, SYS_openat, {-1, PATH, O_RDONLY | O_ASYNC, 0}},
    {"open direct", S, SYS_openat, {-1, PATH, O_RDONLY | O_DIRECT, 0}},
    {"open without at", S, SYS_open, {PATH, O_RDONLY, 0}},
    {"openat2", S, SYS_openat2, {-1, PATH, 0, 0}},
    {"creat", S, SYS_creat, {PATH, 0600}},
    {"fstatat of an fd", ALL, SYS_newfstatat, {-1, PATH, 0, AT_EMPTY_PATH}},
    {"fstatat of a path", S | L | P, SYS_newfstatat, {-1, PATH, 0, 0}},
    {"fstatat automount", S | P, SYS_newfstatat, {-1, PATH, 0, AT_NO_AUTOMOUNT}},
    {"unlinkat", S | L | P, SYS_unlinkat, {-1, PATH, 0}},
    {"mkdirat", S | L | P, SYS_mkdirat, {-1, PATH, 0700}},
    {"fstatfs", S | L | P, SYS_fstatfs, {-1, 0}},
    {"fallocate", S | L, SYS_fallocate, {-1, 0, 0, 4096}},
    {"fallocate to punch", S, SYS_fallocate, {-1, 3, 0, 4096}},
    {"unlinkat of a directory", S | L | P, SYS_unlinkat, {-1, PATH, AT_REMOVEDIR}},
    {"renameat2 noreplace", S | L | P, SYS_renameat2, {-1, PATH, -1, PATH, 1}},
    {"renameat2 exchange", S, SYS_renameat2, {-1, PATH, -1, PATH, 2}},
    {"truncate", 0, SYS_truncate, {PATH, 0}},
    {"link", S, SYS_link, {PATH, PATH}},
    {"symlink", S, SYS_symlink, {PATH, PATH}},
    {"mkdir", S | P, SYS_mkdir, {PATH, 0700}},
    {"chmod", S, SYS_chmod, {PATH, 0600}},
    {"chown", S, SYS_chown, {PATH, 0, 0}},
    {"getdents64", S | P, SYS_getdents64, {-1, 0, 0}},
    {"open_by_handle_at", 0, SYS_open_by_handle_at, {-1, 0, 0}},
    {"mknod", 0, SYS_mknod, {PATH, 0, 0}},

    {"add seals", ALL, SYS_fcntl, {-1, F_ADD_SEALS, 0}},
    {"get seals", ALL, SYS_fcntl, {-1, F_GET_SEALS, 0}},
    {"getfl", S | G | L | P, SYS_fcntl, {-1, F_GETFL, 0}},
    {"getfl, high bit", S | G | L | P, SYS_fcntl, {-1, HIGH | F_GETFL, 0}},
    {"setfl nonblock", S | G | P, SYS_fcntl, {-1, F_SETFL, O_RDWR | O_NONBLOCK}},
    {"setfl async", S, SYS_fcntl, {-1, F_SETFL, O_ASYNC}},
    {"setfl append", S | P, SYS_fcntl, {-1, F_SETFL, O_APPEND}},
    {"setown", S, SYS_fcntl, {-1, F_SETOWN, 1}},
    {"setsig", S, SYS_fcntl, {-1, F_SETSIG, SIGKILL}},
    {"dupfd cloexec", ALL, SYS_fcntl, {-1, F_DUPFD_CLOEXEC, 0}},
    {"dupfd", S, SYS_fcntl, {-1, F_DUPFD, 0}},
    {"lock", S | L | P, SYS_fcntl, {-1, F_SETLK, 0}},
    {"lock waiting", S | P, SYS_fcntl, {-1, F_SETLKW, 0}},
    {"lease", S, SYS_fcntl, {-1, F_SETLEASE, 0}},
    {"notify", S, SYS_fcntl, {-1, F_NOTIFY, 0}},
    {"fionread", ALL, SYS_ioctl, {-1, FIONREAD, 0}},
    {"tcgets", S, SYS_ioctl, {-1, TCGETS, 0}},
    {"tiocsti", S, SYS_ioctl, {-1, TIOCSTI, 0}},
    {"tiocsti, high bit", S, SYS_ioctl, {-1, HIGH | TIOCSTI, 0}},

    {"fork", S, SYS_clone, {SIGCHLD, 0, 0, 0, 0}},
    {"thread", S, SYS_clone, {CLONE_THREAD, 0, 0, 0, 0}},
    {"clone user namespace", 0, SYS_clone, {CLONE_NEWUSER, 0, 0, 0, 0}},
    {"clone net namespace", 0, SYS_clone, {CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0}},
    {"clone mount namespace", 0, SYS_clone, {CLONE_NEWNS, 0, 0, 0, 0}},
    {"unshare", 0, SYS_unshare, {CLONE_NEWUSER}},
    {"setns", 0, SYS_setns, {-1, 0}},
    {"execve", S, SYS_execve, {0, 0, 0}},
    {"execveat", S, SYS_execveat, {-1, 0, 0, 0, AT_EMPTY_PATH}},
    {"signal to itself", ALL, SYS_tgkill, {SELF_PID, SELF_PID, 0}},
    {"signal to init", S, SYS_tgkill, {1, 1, 0}},
    {"kill", S, SYS_kill, {SELF_PID, 0}},
    {"tkill", S, SYS_tkill, {SELF_PID, 0}},
    {"pidfd_open", S, SYS_pidfd_open, {SELF_PID, 0}},
    {"pidfd_getfd", 0, SYS_pidfd_getfd, {-1, 0, 0}},
    {"handler for SIGABRT", ALL, SYS_rt_sigaction, {SIGABRT, 0, 0, 8}},
    {"handler for SIGSEGV", S | P, SYS_rt_sigaction, {SIGSEGV, 0, 0, 8}},
    {"ptrace", 0, SYS_ptrace, {PTRACE_TRACEME, 0, 0, 0}},
    {"process_vm_readv", 0, SYS_process_vm_readv, {SELF_PID, 0, 0, 0, 0, 0}},
    {"process_vm_writev", 0, SYS_process_vm_writev, {SELF_PID, 0, 0, 0, 0, 0}},

    {"prctl", S, SYS_prctl, {PR_GET_DUMPABLE, 0, 0, 0, 0}},
    {"arch_prctl", S, SYS_arch_prctl, {-1, 0}},
    {"seccomp", S, SYS_seccomp, {-1, 0, 0}},
    {"setuid", S, SYS_setuid, {-1}},
    {"prlimit", S, SYS_prlimit64, {0, -1, 0, 0}},
    {"personality query", S, SYS_personality, {0xffffffff}},
    {"personality", 0, SYS_personality, {0x0400000}},
    {"bpf", 0, SYS_bpf, {-1, 0, 0}},
    {"userfaultfd", 0, SYS_userfaultfd, {-1}},
    {"perf_event_open", 0, SYS_perf_event_open, {0, 0, -1, -1, 0}},
    {"io_uring_setup", 0, SYS_io_uring_setup, {0, 0}},
    {"keyctl", 0, SYS_keyctl, {-1, 0, 0, 0, 0}},
    {"add_key", 0, SYS_add_key, {0, 0, 0, 0, 0}},
    {"mount", 0, SYS_mount, {0, 0, 0, 0, 0}},
    {"init_module", 0, SYS_init_module, {0, 0, 0}},
    {"kexec_load", 0, SYS_kexec_load, {0, -1, 0, -1}},
};

static int
status_of_call(enum kd_role role, long call, const long *a)
{
    pid_t pid = fork();

    if (pid == 0) {
        long v[6];
        for (unsigned i = 0; i < 6; i++)
            v[i] = a[i] == SELF_PID ? getpid() : a[i];
        enter_bare(role);
        syscall(call, v[0], v[1], v[2], v[3], v[4], v[5]);
        _exit(0);
    }
    assert_true(pid > 0);
    return end_of(pid);
}

static void
every_argument_is_judged_as_listed(void **state)
{
    const enum kd_role role = *(const enum kd_role *)*state;
    unsigned wrong = 0;

    for (size_t i = 0; i < sizeof argument_probes / sizeof *argument_probes; i++) {
        const struct argument_probe *p = &argument_probes[i];
        bool live = !killed(status_of_call(role, p->call, p->a));
        bool expected = (p->live >> role & 1) != 0;
        if (live != expected) {
            print_message("%s: %s: %s\n", kd_role_name(role), p->what,
                          live ? "survived" : "killed");
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void
calls_of_the_x32_abi_are_killed(void **state)
{
    const enum kd_role role = *(const enum kd_role *)*state;
    static const long none[6] = {0};
    const long x32 = 0x40000000;

    assert_true(killed(status_of_call(role, x32 | SYS_getpid, none)));
    assert_true(killed(status_of_call(role, x32 | 512, none)));
}

/* int $0x80, number 20: getpid of i386. */
static void
call_i386(void)
{
    long number = 20;

    __asm__ volatile("int $0x80" : "+a"(number) : : "memory");
}

static void
calls_of_the_i386_abi_are_killed(void **state)
{
    const enum kd_role role = *(const enum kd_role *)*state;
    pid_t pid = fork();

    if (pid == 0) {
        enter_bare(role);
        call_i386();
        _exit(0);
    }
    int status = end_of(pid);
    /* A kernel without the emulation raises SIGSEGV: just as good. */
    assert_true(killed(status) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV));
}

/* glibc takes ENOSYS as "use clone", whose flags can be looked at. */
static void
clone3_is_absent_for_the_supervisor(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        enter(KD_ROLE_SUPERVISOR);
        _exit(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS ? 0 : 1);
    }
    assert_int_equal(end_of(pid), 0);
}

static int
write_lists(void)
{
    static struct survivors found;

    for (size_t i = 0; i < N_ROLES; i++) {
        probe_role(all_roles[i], &found);
        for (size_t k = 0; k < sizeof past_filters / sizeof *past_filters; k++)
            if (!is_supervisor(all_roles[i]))
                found.of[past_filters[k].call] = 0;
        golden_write(all_roles[i], &found);
    }
    return 0;
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void **state);
    } per_role[] = {
        {"every call number is as the golden list says",
         every_call_number_is_as_the_golden_list_says},
        {"every argument is judged as listed", every_argument_is_judged_as_listed},
        {"calls of the x32 ABI are killed", calls_of_the_x32_abi_are_killed},
        {"calls of the i386 ABI are killed", calls_of_the_i386_abi_are_killed},
    };
    enum { N = sizeof per_role / sizeof *per_role };
    static char names[N_ROLES * N][80];
    struct CMUnitTest tests[N_ROLES * N + 1];
    size_t n = 0;

    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return write_lists();
    for (size_t r = 0; r < N_ROLES; r++) {
        for (size_t i = 0; i < N; i++, n++) {
            kd_ignore(snprintf(names[n], sizeof names[n],
                               "%s: %s", /* cut if too long */
                               kd_role_name(all_roles[r]), per_role[i].name));
            tests[n] = (struct CMUnitTest){
                .name = names[n],
                .test_func = per_role[i].run,
                .initial_state = (void *)(uintptr_t)&all_roles[r], /* only read */
            };
        }
    }
    tests[n] = (struct CMUnitTest){.name = "clone3 is absent for the supervisor",
                                   .test_func = clone3_is_absent_for_the_supervisor};
    return cmocka_run_group_tests_name("sandbox probe", tests, NULL, NULL);
}
