#include "peer.h"

#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/sandbox.h>
#include <keyd/conf/role_conf.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* keyd/role.h is the roles' own. */
enum { CTL_FD = 3, PATIENCE_MS = 20000, STOP_MS = 20000 };

/* --- messages --- */

void
message_free(struct message *m)
{
    if (m != NULL && m->fd >= 0)
        close(m->fd);
    free(m);
}

static kd_err
keep(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct peer_link *l = ctx;
    struct message *m = malloc(sizeof *m + body.n);

    assert_non_null(m);
    *m = (struct message){.type = type, .fd = fd};
    if (body.n != 0)
        memcpy(m->octets, body.p, body.n);
    m->body = kd_slice(m->octets, body.n);
    if (l->last == NULL)
        l->first = m;
    else
        l->last->next = m;
    l->last = m;
    return KD_OK;
}

static void
receive(struct peer_link *l, int ms)
{
    struct pollfd p = {.fd = l->chan.fd, .events = POLLIN};

    if (l->chan.fd < 0)
        return;
    if (kd_chan_pending(&l->chan))
        p.events |= POLLOUT;
    kd_ignore(poll(&p, 1, ms)); /* what failed shows when receiving */
    if (kd_chan_recv(&l->chan, 64, keep, l) != KD_OK) {
        kd_chan_close(&l->chan);
        l->is_closed = true;
    }
}

static struct message *
take(struct peer_link *l, uint16_t type)
{
    struct message *before = NULL, *m = l->first;

    for (; m != NULL && m->type != type; m = m->next)
        before = m;
    if (m == NULL)
        return NULL;
    if (before == NULL)
        l->first = m->next;
    else
        before->next = m->next;
    if (l->last == m)
        l->last = before;
    return m;
}

/* Receives once without waiting, then until there is what is looked for: a message of
 * the type, or any for KD_MSG_NONE. */
static bool
wait_for(struct peer_link *l, uint16_t type, int ms)
{
    int64_t until = kd_clock_ms() + ms;

    receive(l, 0);
    for (;;) {
        for (struct message *m = l->first; m != NULL; m = m->next)
            if (type == KD_MSG_NONE || m->type == type)
                return true;
        int64_t left = until - kd_clock_ms();
        if (l->is_closed || left <= 0)
            return false;
        if (kd_chan_flush(&l->chan) != KD_OK)
            l->is_closed = true;
        receive(l, (int)left);
    }
}

struct message *
link_wait(struct peer_link *l, uint16_t type, int ms)
{
    return wait_for(l, type, ms) ? take(l, type) : NULL;
}

const struct message *
link_first(struct peer_link *l, int ms)
{
    return wait_for(l, KD_MSG_NONE, ms) ? l->first : NULL;
}

struct message *
link_expect(struct peer_link *l, uint16_t type)
{
    struct message *m = link_wait(l, type, PATIENCE_MS);

    if (m == NULL)
        fail_msg("message %u did not come%s", type, l->is_closed ? ": closed" : "");
    return m;
}

bool
link_closes(struct peer_link *l, int ms)
{
    int64_t until = kd_clock_ms() + ms;

    while (!l->is_closed && kd_clock_ms() < until)
        receive(l, 20);
    return l->is_closed;
}

void
link_put(struct peer_link *l, uint16_t type, struct kd_slice body, int fd)
{
    kd_err err = kd_chan_put(&l->chan, type, body, fd);

    if (err == KD_OK)
        err = kd_chan_flush(&l->chan);
    if (err == KD_CLOSED)
        l->is_closed = true;
    else
        assert_int_equal(err, KD_OK);
}

bool
link_drain(struct peer_link *l, int ms)
{
    int64_t until = kd_clock_ms() + ms;

    while (!l->is_closed && kd_chan_pending(&l->chan) && kd_clock_ms() < until) {
        receive(l, 20);
        if (!l->is_closed && kd_chan_flush(&l->chan) != KD_OK)
            l->is_closed = true;
    }
    return !l->is_closed && !kd_chan_pending(&l->chan);
}

bool
link_raw(struct peer_link *l, struct kd_slice packet, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)packet.p, packet.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    ssize_t n = sendmsg(l->chan.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != ETOOMANYREFS && errno != ENOBUFS)
        l->is_closed = true;
    if (fd >= 0)
        close(fd);
    return n >= 0;
}

void
link_clear(struct peer_link *l)
{
    kd_chan_close(&l->chan);
    for (struct message *m = l->first, *next; m != NULL; m = next) {
        next = m->next;
        message_free(m);
    }
    *l = (struct peer_link){.chan.fd = -1, .is_closed = true};
}

/* --- the role --- */

struct kd_conf *
peer_conf(const struct daemon *d)
{
    static struct kd_conf_problems problems;
    struct kd_conf *conf = NULL;

    if (kd_conf_load(d->conf, NULL, &conf, &problems) != KD_OK)
        fail_msg("%s cannot be read", d->conf);
    return conf;
}

static void
put_conf(struct kd_buf *b, enum kd_role role, enum kd_class klass,
         const struct kd_conf *conf)
{
    struct kd_conf_for_gate g;
    struct kd_conf_for_vault v;
    struct kd_conf_for_ledger l;

    if (role == KD_ROLE_GATE) {
        assert_int_equal(kd_conf_for_gate_make(conf, klass, &g), KD_OK);
        kd_conf_for_gate_encode(&g, b);
        kd_conf_for_gate_clear(&g);
    } else if (role == KD_ROLE_VAULT) {
        assert_int_equal(kd_conf_for_vault_make(conf, &v), KD_OK);
        kd_conf_for_vault_encode(&v, b);
        kd_conf_for_vault_clear(&v);
    } else {
        kd_conf_for_ledger_make(conf, &l);
        kd_conf_for_ledger_encode(&l, b);
    }
    assert_int_equal(b->err, KD_OK);
}

static _Noreturn void
become_role(const char *program, int ctl, const char *log_path, const char *directory,
            pid_t parent)
{
    char *const argv[] = {(char *)(uintptr_t)program, NULL};
    char *const environment[] = {(char *)(uintptr_t) "ASAN_OPTIONS=detect_leaks=0",
                                 NULL};
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent || log < 0 ||
        dup2(log, 2) < 0 || chdir(directory) != 0 ||
        (ctl == CTL_FD ? fcntl(ctl, F_SETFD, 0) != 0 : dup2(ctl, CTL_FD) < 0))
        _exit(126);
    for (int fd = CTL_FD + 1; fd < 256; fd++)
        close(fd);
    execve(program, argv, environment);
    _exit(127);
}

void
peer_start(struct peer *p, enum kd_role role, enum kd_class klass,
           const struct daemon *d, const struct kd_conf *conf)
{
    char program[4096], name[32];
    const char *directory = role == KD_ROLE_LEDGER ? conf->state_directory : "/";
    int fds[2];
    struct kd_buf b;
    pid_t parent = getpid();

    snprintf(name, sizeof name, "keyd-%s", kd_role_name(role));
    daemon_program("bin", name, program);
    *p = (struct peer){0};
    assert_int_equal(kd_chan_pair(fds), KD_OK);
    fflush(NULL);
    p->pid = fork();
    if (p->pid == 0)
        become_role(program, fds[1], d->log, directory, parent);
    assert_true(p->pid > 0);
    close(fds[1]);
    kd_chan_init(&p->ctl.chan, fds[0]);
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    put_conf(&b, role, klass, conf);
    assert_true(b.n <= KD_CHAN_INLINE_MAX);
    link_put(&p->ctl, KD_MSG_CTL_CONF, kd_buf_slice(&b), -1);
    kd_buf_free(&b);
    message_free(link_expect(&p->ctl, KD_MSG_ctl_ready));
}

void
peer_give(struct peer *p, enum kd_link as, unsigned gate, int fd)
{
    struct kd_ctl_link m = {(uint8_t)as, (uint8_t)gate, ++p->serial};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_link_put(&b, &m);
    link_put(&p->ctl, KD_MSG_ctl_link, kd_buf_slice(&b), fd);
    kd_buf_free(&b);
}

void
peer_join(struct peer *p, struct peer_link *l, enum kd_link as, unsigned gate)
{
    int fds[2];

    assert_int_equal(kd_chan_pair(fds), KD_OK);
    *l = (struct peer_link){0};
    kd_chan_init(&l->chan, fds[0]);
    peer_give(p, as, gate, fds[1]);
}

bool
peer_lives(struct peer *p)
{
    return p->pid > 0 && waitpid(p->pid, &(int){0}, WNOHANG) == 0;
}

int
peer_stop(struct peer *p)
{
    link_clear(&p->ctl);
    int status = p->pid > 0 ? daemon_reap(p->pid, STOP_MS) : 256;
    if (status == 256 && p->pid > 0) {
        kill(p->pid, SIGKILL);
        kd_ignore(waitpid(p->pid, NULL, 0)); /* nothing left to say about it */
    }
    p->pid = 0;
    return status;
}

size_t
peer_most_kib(const struct peer *p)
{
    char path[64], line[256];
    size_t kib = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int)p->pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtoul(line + 6, NULL, 10);
    fclose(f);
    assert_true(kib != 0);
    return kib;
}

size_t
peer_descriptors(const struct peer *p)
{
    char path[64];
    size_t n = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)p->pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n < 2 ? 0 : n - 2; /* "." and ".." */
}
