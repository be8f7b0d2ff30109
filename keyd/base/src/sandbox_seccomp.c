#include "sandbox_impl.h"

#include <keyd/base/log.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* Not in the headers of Debian 12, or there with the value user space sees. */
enum { MFD_NOEXEC_SEAL_BIT = 8, KERNEL_O_LARGEFILE = 0100000 };

enum { CONDITIONS_MAX = 3 };

enum cond_op { COND_BITS, COND_NOT, COND_SELF };

struct cond {
    enum cond_op op;
    unsigned arg;
    uint64_t mask; /* COND_BITS: argument & mask == value */
    uint64_t value;
};

enum rule_kind { RULE_ALLOW, RULE_DENY, RULE_FAIL };

struct rule {
    const char *name;
    int call;
    enum rule_kind kind;
    uint16_t error;
    unsigned n;
    struct cond cond[CONDITIONS_MAX];
};

struct table {
    const struct rule *rules;
    size_t n;
};

#define COND_COUNT(...) (sizeof((struct cond[]){__VA_ARGS__}) / sizeof(struct cond))
#define RULE_IF(call_, kind_, ...)                                                     \
    {.name = #call_,                                                                   \
     .call = SCMP_SYS(call_),                                                          \
     .kind = kind_,                                                                    \
     .n = COND_COUNT(__VA_ARGS__),                                                     \
     .cond = {__VA_ARGS__}},
#define ALLOW(call_) {.name = #call_, .call = SCMP_SYS(call_), .kind = RULE_ALLOW},
#define DENY(call_) {.name = #call_, .call = SCMP_SYS(call_), .kind = RULE_DENY},
#define FAIL(call_, errno_)                                                            \
    {.name = #call_, .call = SCMP_SYS(call_), .kind = RULE_FAIL, .error = (errno_)},
#define ALLOW_IF(call_, ...) RULE_IF(call_, RULE_ALLOW, __VA_ARGS__)
#define DENY_IF(call_, ...) RULE_IF(call_, RULE_DENY, __VA_ARGS__)

/* The kernel takes an int from the low half of the register and nobody promises what
 * is in the high half, so conditions on ints look at the low half alone. */
#define LOW 0xffffffffULL
#define IS(n, v)                                                                       \
    {                                                                                  \
        COND_BITS, n, LOW, (uint32_t)(v)                                               \
    }
#define WITHIN(n, bits)                                                                \
    {                                                                                  \
        COND_BITS, n, LOW & ~(uint64_t)(bits), 0                                       \
    }
#define WITHIN_LONG(n, bits)                                                           \
    {                                                                                  \
        COND_BITS, n, ~(uint64_t)(bits), 0                                             \
    }
#define HAS_LONG(n, v, bits)                                                           \
    {                                                                                  \
        COND_BITS, n, ~(uint64_t)(bits), v                                             \
    }
#define ANY(n, bit)                                                                    \
    {                                                                                  \
        COND_BITS, n, bit, bit                                                         \
    }
#define NOT(n, v)                                                                      \
    {                                                                                  \
        COND_NOT, n, 0, v                                                              \
    }
#define SELF(n)                                                                        \
    {                                                                                  \
        COND_SELF, n, 0, 0                                                             \
    }

static const struct rule base_rules[] = {
#include "sandbox_base.def"
};
static const struct rule memfd_rules[] = {
#include "sandbox_memfd.def"
};
static const struct rule gate_rules[] = {
#include "sandbox_gate.def"
};
static const struct rule vault_rules[] = {
#include "sandbox_vault.def"
};
static const struct rule ledger_rules[] = {
#include "sandbox_ledger.def"
};
static const struct rule p11_rules[] = {
#include "sandbox_p11.def"
};
static const struct rule p11_files_rules[] = {
#include "sandbox_p11_files.def"
};
static const struct rule p11_unix_rules[] = {
#include "sandbox_p11_unix.def"
};
static const struct rule p11_net_rules[] = {
#include "sandbox_p11_net.def"
};
static const struct rule supervisor_rules[] = {
#include "sandbox_supervisor.def"
};
static const struct rule unix_only_rules[] = {
#include "sandbox_unix_only.def"
};

enum role_start { ALLOW_LIST, DENY_LIST };

struct role {
    enum role_start start;
    struct table tables[5];
};

static const struct role roles[] = {
#define T(t) {t##_rules, sizeof t##_rules / sizeof *t##_rules},
#define KD_ROLE(id, name, start, tables, caps, landlock) {start, {tables}},
#include <keyd/base/sandbox_roles.def>
#undef KD_ROLE
#undef T
};

static uint32_t
rule_action(const struct rule *rule)
{
    switch (rule->kind) {
    case RULE_ALLOW:
        return SCMP_ACT_ALLOW;
    case RULE_FAIL:
        return SCMP_ACT_ERRNO(rule->error);
    case RULE_DENY:
        break;
    }
    return SCMP_ACT_KILL_PROCESS;
}

static struct scmp_arg_cmp
rule_condition(const struct cond *c)
{
    switch (c->op) {
    case COND_NOT:
        return (struct scmp_arg_cmp){c->arg, SCMP_CMP_NE, c->value, 0};
    case COND_SELF:
        return (struct scmp_arg_cmp){c->arg, SCMP_CMP_MASKED_EQ, LOW,
                                     (uint32_t)getpid()};
    case COND_BITS:
        break;
    }
    return (struct scmp_arg_cmp){c->arg, SCMP_CMP_MASKED_EQ, c->mask, c->value};
}

static kd_err
add_table(scmp_filter_ctx filter, const struct table *table)
{
    for (size_t i = 0; i < table->n; i++) {
        const struct rule *rule = &table->rules[i];
        struct scmp_arg_cmp cmp[CONDITIONS_MAX];
        for (unsigned k = 0; k < rule->n; k++)
            cmp[k] = rule_condition(&rule->cond[k]);
        int r = seccomp_rule_add_exact_array(filter, rule_action(rule), rule->call,
                                             rule->n, cmp);
        if (r != 0) {
            kd_log(KD_WARN, "sandbox: rule call=%s errno=%d", rule->name, -r);
            return KD_FAILED;
        }
    }
    return KD_OK;
}

/* The filter as the kernel takes it, in a file of its own. */
static int export(scmp_filter_ctx filter)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);

    if (fd >= 0 && seccomp_export_bpf(filter, fd) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static size_t
size_of(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0;
}

static kd_err
load(const struct sock_filter *octets, size_t size)
{
    const struct sock_fprog program = {(unsigned short)(size / sizeof *octets),
                                       (struct sock_filter *)(uintptr_t)octets};

    /* Not 0: it failed, or that thread could not be brought along. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
                &program) == 0)
        return KD_OK;
    kd_log(KD_WARN, "sandbox: seccomp errno=%d", errno);
    return KD_UNSUPPORTED;
}

/* Not seccomp_load: libseccomp 2.5 that lacks memory while it makes the program may cut
 * it and say all is well, which of a deny-list would be a sandbox with holes, or crash,
 * or turn in circles for ever. Made twice, one of them would be whole; and a process
 * that does not come to an end here is ended, for whoever started it to start another.
 */
static kd_err
load_checked(scmp_filter_ctx filter)
{
    enum { MOST_SECONDS = 10 };
    unsigned had = alarm(MOST_SECONDS);
    int one = export(filter), other = export(filter);
    kd_ignore(alarm(had)); /* what was left of ours */
    size_t n = size_of(one);
    struct sock_filter *a = NULL, *b = NULL;
    kd_err err = KD_NOMEM;

    if (n == 0 || n != size_of(other) || n % sizeof *a != 0 ||
        n / sizeof *a > BPF_MAXINSNS)
        goto out;
    a = malloc(n);
    b = malloc(n);
    if (a == NULL || b == NULL || pread(one, a, n, 0) != (ssize_t)n ||
        pread(other, b, n, 0) != (ssize_t)n || memcmp(a, b, n) != 0)
        goto out;
    err = load(a, n);
out:
    free(a);
    free(b);
    if (one >= 0)
        close(one);
    if (other >= 0)
        close(other);
    return err;
}

kd_err
kd_seccomp_apply(enum kd_role role)
{
    kd_err err = KD_OK;
    const struct role *r = &roles[role];
    scmp_filter_ctx filter =
        seccomp_init(r->start == ALLOW_LIST ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ALLOW);

    if (filter == NULL)
        return KD_NOMEM;
    /* Calls by way of another ABI (i386, x32) die, whatever they are. The tree keeps
     * the cost of a call even; a chain would make the last row the slowest. */
    if (seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) != 0 ||
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) != 0) {
        kd_log(KD_WARN, "sandbox: seccomp lacks what it needs");
        err = KD_UNSUPPORTED;
        goto out;
    }
    for (size_t i = 0; i < sizeof r->tables / sizeof *r->tables && err == KD_OK; i++)
        err = add_table(filter, &r->tables[i]);
    if (err == KD_OK)
        err = load_checked(filter);
out:
    seccomp_release(filter);
    return err;
}
