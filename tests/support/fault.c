#include "fault.h"

#include "check.h"
#include "test.h"

#include <keyd/base/err.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const names[FAULT_ROLES] = {"keyd-vault", "keyd-ledger",
                                               "keyd-gate"};

static bool
make_page(struct faults *f, enum fault_role role)
{
    int fd = memfd_create(names[role], 0);

    /* Without close-on-exec: it is for whoever comes after two execs. */
    if (fd < 0 || ftruncate(fd, sizeof *f->of[role]) != 0 ||
        dup2(fd, FAULT_FD + (int)role) < 0)
        return false;
    close(fd);
    f->of[role] = mmap(NULL, sizeof *f->of[role], PROT_READ | PROT_WRITE, MAP_SHARED,
                       FAULT_FD + (int)role, 0);
    if (f->of[role] == MAP_FAILED)
        return false;
    char path[4096];
    daemon_program("bin", names[role], path);
    snprintf(f->of[role]->program, sizeof f->of[role]->program, "%.511s", path);
    daemon_program("tests", "libfault-shim.so", path);
    snprintf(f->of[role]->shim, sizeof f->of[role]->shim, "%.511s", path);
    return true;
}

/* Hosts of tokens are as they are. */
static bool
link_host(const char *libexec)
{
    char from[4096], to[128];

    daemon_program("bin", "keyd-p11", from);
    snprintf(to, sizeof to, "%s/keyd-p11", libexec);
    return symlink(from, to) == 0;
}

bool
fault_setup(struct faults *f, struct daemon_options *options)
{
    char stand_in[4096], path[128];
    const char *base = getenv("TMPDIR");

    *f = (struct faults){0};
    snprintf(f->libexec, sizeof f->libexec, "%.30s/keyd-faults-XXXXXX",
             base == NULL ? "/tmp" : base);
    if (mkdtemp(f->libexec) == NULL || chmod(f->libexec, 0755) != 0)
        return false;
    daemon_program("tests", "fault-role", stand_in);
    for (int r = 0; r < FAULT_ROLES; r++) {
        snprintf(path, sizeof path, "%s/%s", f->libexec, names[r]);
        if (!make_page(f, (enum fault_role)r) || symlink(stand_in, path) != 0) {
            fprintf(stderr, "%s: %s\n", path, strerror(errno));
            return false;
        }
    }
    snprintf(f->top, sizeof f->top, "libexec-directory = \"%s\"\n%s", f->libexec,
             options->top == NULL ? "" : options->top);
    options->top = f->top;
    return link_host(f->libexec);
}

void
fault_clear(struct faults *f)
{
    char path[128];

    for (int r = 0; r < FAULT_ROLES; r++) {
        snprintf(path, sizeof path, "%s/%s", f->libexec, names[r]);
        unlink(path);
        munmap(f->of[r], sizeof *f->of[r]);
        close(FAULT_FD + r);
    }
    snprintf(path, sizeof path, "%s/keyd-p11", f->libexec);
    unlink(path);
    rmdir(f->libexec);
}

void
fault_arm(struct faults *f, enum fault_role role, enum fault_call call, uint64_t n,
          uint32_t how)
{
    struct fault_control *c = f->of[role];

    atomic_store(&c->left, 0);
    atomic_store(&c->n_fired, 0);
    atomic_store(&c->call, call);
    atomic_store(&c->how, how);
    atomic_store(&c->left, (int64_t)n);
}

unsigned
fault_fired(const struct faults *f, enum fault_role role)
{
    return atomic_load(&f->of[role]->n_fired);
}

unsigned
fault_disarm(struct faults *f, enum fault_role role)
{
    atomic_store(&f->of[role]->left, 0);
    atomic_store(&f->of[role]->call, FAULT_NONE);
    return fault_fired(f, role);
}

const char *
fault_log_find(struct faults *f, const struct daemon *d, long from, const char *a,
               const char *b)
{
    FILE *log = fopen(d->log, "re");
    bool found = false;

    if (log != NULL && fseek(log, from, SEEK_SET) == 0)
        while (!found && fgets(f->log_line, sizeof f->log_line, log) != NULL)
            found = strstr(f->log_line, a) != NULL &&
                    (b == NULL || strstr(f->log_line, b) != NULL);
    if (log != NULL)
        fclose(log);
    return found ? f->log_line : NULL;
}

void
fault_audit_key(const struct daemon *d, uint8_t key[32])
{
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(d, "admin");
    bool found = false;

    assert_non_null(c);
    assert_int_equal(keyd_client_public_keys(c, KEYD_NONE, KEYD_NONE, &a), KEYD_OK);
    for (size_t i = 0; i < a->out.keys.n_keys; i++)
        if (a->out.keys.keys[i].role == KEYD_ROLE_AUDIT) {
            memcpy(key, a->out.keys.keys[i].public_key.p, 32);
            found = true;
        }
    keyd_client_answer_free(a);
    keyd_client_free(c);
    assert_true(found);
}

static void
print(void *arg, const char *text)
{
    (void)arg;
    print_message("%s\n", text);
}

unsigned
fault_check(const struct daemon *d, const char *acks, const uint8_t *key)
{
    const struct check_conf conf = {
        .dir = d->state, .acks = acks, .audit_key = key, .report = print};

    return check_registry(&conf);
}
