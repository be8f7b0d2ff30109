#include "p11_host.h"
#include "test.h"

#include <keyd/base/memfd.h>
#include <keyd/p11/p11.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

void
p11_host_conf(const struct softhsm *s, unsigned number, struct kd_conf_for_p11 *c)
{
    *c = (struct kd_conf_for_p11){.hardening = KD_HARDENING_STRICT,
                                  .log_level = KD_WARN,
                                  .host = (uint8_t)number,
                                  .is_maker = number % P11_HOSTS_A_TOKEN == P11_MAKER,
                                  .profile = KD_P11_PROFILE_FILES,
                                  .timeout = 600,
                                  .name = "alpha",
                                  .n_paths = 1,
                                  .n_files = 1};
    assert_non_null(softhsm_module());
    snprintf(c->module, sizeof c->module, "%s", softhsm_module());
    snprintf(c->match.label, sizeof c->match.label, "%s", s->label);
    snprintf(c->paths[0], sizeof c->paths[0], "%s", s->paths);
    snprintf(c->files[0], sizeof c->files[0], "%s", s->conf);
}

static _Noreturn void
run(int ctl, const char *environment, unsigned uid)
{
    char *const argv[] = {(char *)(uintptr_t) "keyd-p11", NULL};
    char *const env[] = {(char *)(uintptr_t)environment, NULL};

    if (ctl != 3 && dup2(ctl, 3) != 3)
        _exit(120);
    if (fcntl(3, F_SETFD, 0) != 0)
        _exit(121);
    if (geteuid() == 0 && (setgid(uid) != 0 || setuid(uid) != 0))
        _exit(122);
    execve(KEYD_P11_PROGRAM, argv, env);
    _exit(123);
}

/* False: the other end is gone. */
static bool
put(int fd, uint16_t type, const struct kd_buf *b, int message_fd)
{
    struct kd_chan ch;

    kd_chan_init(&ch, dup(fd));
    assert_int_equal(kd_chan_put_buf(&ch, type, b, message_fd), KD_OK);
    kd_err err = kd_chan_flush(&ch);
    assert_true(err != KD_OK || !kd_chan_pending(&ch));
    kd_chan_close(&ch);
    return err == KD_OK;
}

struct one {
    uint16_t type;
    uint8_t *body;
    size_t n;
};

static kd_err
take(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct one *o = ctx;

    assert_true(fd < 0);
    assert_int_equal(o->type, 0); /* one answer a question */
    o->type = type;
    o->n = body.n;
    if (body.n != 0)
        memcpy(o->body, body.p, body.n);
    return KD_OK;
}

static uint16_t
receive(struct kd_chan *ch, uint8_t *body, size_t *n)
{
    struct one o = {.body = body};
    struct pollfd p = {.fd = ch->fd, .events = POLLIN};

    while (o.type == 0) {
        int r = poll(&p, 1, PATIENCE_MS);
        if (r < 0 && errno == EINTR)
            continue;
        assert_int_equal(r, 1);
        if (kd_chan_recv(ch, 1, take, &o) != KD_OK)
            break;
    }
    *n = o.n;
    return o.type;
}

static bool
hand(struct p11_host *h, enum kd_link link, int fd)
{
    struct kd_ctl_link m = {.link = (uint8_t)link};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_link_put(&b, &m);
    bool done = put(h->ctl, KD_MSG_ctl_link, &b, fd);
    kd_buf_free(&b);
    return done;
}

static void
await_ready(struct p11_host *h)
{
    struct kd_chan ch;
    uint8_t body[256];
    size_t n;

    kd_chan_init(&ch, dup(h->ctl));
    assert_int_equal(receive(&ch, body, &n), KD_MSG_ctl_ready);
    kd_chan_close(&ch);
}

void
p11_host_start_with(struct p11_host *h, const struct kd_conf_for_p11 *c,
                    const char *environment, unsigned uid, int *vault_end)
{
    int ctl[2], link[2];
    struct kd_buf b;

    assert_int_equal(kd_chan_pair(ctl), KD_OK);
    assert_int_equal(kd_chan_pair(link), KD_OK);
    h->pid = fork();
    if (h->pid == 0)
        run(ctl[1], environment, uid);
    assert_true(h->pid > 0);
    close(ctl[1]);
    h->ctl = ctl[0];
    kd_chan_init(&h->chan, -1);
    kd_buf_init(&b, 65536);
    kd_conf_for_p11_encode(c, &b);
    assert_true(put(h->ctl, KD_MSG_CTL_CONF, &b, -1));
    kd_buf_free(&b);
    await_ready(h);
    assert_true(hand(h, KD_LINK_P11, link[1]));
    *vault_end = link[0];
}

void
p11_host_start(struct p11_host *h, const struct kd_conf_for_p11 *c,
               const char *environment, unsigned uid)
{
    int fd;

    p11_host_start_with(h, c, environment, uid, &fd);
    kd_chan_init(&h->chan, fd);
}

bool
p11_host_pin(struct p11_host *h, const char *pin)
{
    int fd = memfd_create("pin", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, pin, strlen(pin), 0), strlen(pin));
    return hand(h, KD_LINK_PIN, fd);
}

uint16_t
p11_host_recv(struct p11_host *h, uint8_t *body, size_t *n)
{
    return receive(&h->chan, body, n);
}

uint16_t
p11_host_ask(struct p11_host *h, uint16_t type, const struct kd_buf *b, uint8_t *body,
             size_t *n)
{
    assert_int_equal(kd_chan_put_buf(&h->chan, type, b, -1), KD_OK);
    kd_err err = kd_chan_flush(&h->chan);
    *n = 0;
    return err == KD_OK ? p11_host_recv(h, body, n) : 0;
}

static int
reap(struct p11_host *h)
{
    int status = -1;

    assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
    h->pid = 0;
    close(h->ctl);
    kd_chan_close(&h->chan);
    return status;
}

int
p11_host_end(struct p11_host *h)
{
    kd_chan_close(&h->chan);
    return reap(h);
}

void
p11_host_kill(struct p11_host *h)
{
    kill(h->pid, SIGKILL);
    (void)reap(h);
}
