#include "role.h"

#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>
#include <keyd/job/job.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_AT = 4 * 1024 * 1024 }; /* octets of answers waiting for a peer */

void
kd_role_die(const char *why, kd_err err)
{
    kd_log(KD_WARN, "%s: %s", why, kd_err_text(err));
    _exit(1);
}

/* Octets inline, or the sealed memfd's. */
static kd_err
take_conf(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct kd_buf *conf = ctx;
    kd_err err = type == KD_MSG_CTL_CONF ? KD_OK : KD_MALFORMED;

    if (err == KD_OK && fd < 0)
        kd_buf_put(conf, body);
    if (err == KD_OK && fd >= 0)
        err = kd_memfd_append(fd, KD_ROLE_CONF_SIZE_MAX, conf);
    if (fd >= 0)
        close(fd);
    return err == KD_OK ? conf->err : err;
}

void
kd_role_start(struct kd_chan *ctl, const char *name, struct kd_buf *conf)
{
    kd_log_setup(name, KD_INFO);
    umask(077);
    tzset(); /* before the sandbox: it opens a file */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        kd_role_die("SIGPIPE", KD_FAILED);
    kd_err err = kd_process_undumpable();
    if (err != KD_OK)
        kd_role_die("cannot forbid core dumps", err);
    kd_chan_init(ctl, KD_ROLE_CTL_FD);
    while (conf->n == 0) {
        struct pollfd p = {.fd = ctl->fd, .events = POLLIN};
        kd_ignore(poll(&p, 1, -1)); /* what failed shows when receiving */
        if ((err = kd_chan_recv(ctl, 1, take_conf, conf)) != KD_OK)
            kd_role_die("no configuration from the supervisor", err);
    }
}

static enum kd_sandbox_mode
mode_of(enum kd_hardening hardening)
{
    return hardening == KD_HARDENING_STRICT ? KD_SANDBOX_STRICT : KD_SANDBOX_LENIENT;
}

kd_err
kd_role_conf_read(int fd, struct kd_buf *conf)
{
    kd_buf_init(conf, KD_ROLE_CONF_SIZE_MAX);
    return fd < 0 ? KD_MALFORMED : kd_memfd_append(fd, KD_ROLE_CONF_SIZE_MAX, conf);
}

kd_err
kd_role_shadow_read(int fd, struct kd_policy **shadow)
{
    struct kd_buf b;
    struct kd_policy *policy = NULL;
    kd_err err = kd_role_conf_read(fd, &b);

    if (err == KD_OK)
        err = kd_policy_decode(kd_buf_slice(&b), &policy);
    kd_buf_free(&b);
    if (err != KD_OK)
        return err;
    kd_policy_free(*shadow);
    *shadow = policy;
    return KD_OK;
}

void
kd_role_confine(enum kd_role role, const struct kd_sandbox_paths *paths,
                enum kd_hardening hardening)
{
    kd_err err = kd_sandbox_confine(role, paths, mode_of(hardening));

    if (err != KD_OK)
        kd_role_die("cannot confine this process", err);
}

void
kd_role_enter(enum kd_role role, const struct kd_sandbox_paths *paths,
              enum kd_hardening hardening)
{
    kd_err err = kd_sandbox_enter(role, paths, mode_of(hardening));

    if (err != KD_OK)
        kd_role_die("cannot enter the sandbox", err);
}

void
kd_role_ready(struct kd_chan *ctl)
{
    struct kd_ctl_ready m = {.hidden_memory = kd_secret_is_hidden()};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_ready_put(&b, &m);
    kd_err err = kd_chan_put_buf(ctl, KD_MSG_ctl_ready, &b, -1);
    kd_buf_free(&b);
    if (err == KD_OK)
        err = kd_chan_flush(ctl);
    if (err != KD_OK)
        kd_role_die("cannot report to the supervisor", err);
    kd_log(KD_INFO, "ready: %s", kd_sandbox_describe());
}

void
kd_role_turned(struct kd_chan *ctl, enum kd_turn turn, uint32_t serial, kd_err err,
               uint32_t in_flight)
{
    struct kd_ctl_turned m = {(uint8_t)turn, serial, (uint8_t)err, in_flight};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_turned_put(&b, &m);
    if (kd_chan_put_buf(ctl, KD_MSG_ctl_turned, &b, -1) != KD_OK)
        kd_role_die("cannot answer the supervisor", KD_CLOSED);
    kd_buf_free(&b);
}

int
kd_role_directory(void)
{
    return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void
kd_role_unlinked(struct kd_role_link *link)
{
    *link = (struct kd_role_link){.chan.fd = -1, .reported = true};
}

void
kd_role_relink(struct kd_role_link *link, const struct kd_ctl_link *as, int fd)
{
    kd_chan_close(&link->chan);
    kd_chan_init(&link->chan, fd);
    link->as = *as;
    link->reported = false;
}

void
kd_role_relink_asking(struct kd_role_link *link, const struct kd_ctl_link *as, int fd)
{
    kd_role_relink(link, as, fd);
    link->chan.pause_at = PAUSE_AT;
}

/* Without memory to say so it is said in a later turn. */
static void
lost(struct kd_chan *ctl, struct kd_role_link *link)
{
    struct kd_ctl_lost m = {link->as.link, link->as.gate, link->as.serial};
    struct kd_buf b;

    kd_chan_close(&link->chan);
    kd_buf_init(&b, 64);
    kd_ctl_lost_put(&b, &m);
    kd_err err = kd_chan_put_buf(ctl, KD_MSG_ctl_lost, &b, -1);
    if (err != KD_OK && err != KD_NOMEM)
        kd_role_die("cannot report to the supervisor", err);
    link->reported = err == KD_OK;
    kd_buf_free(&b);
}

void
kd_role_serve(struct kd_chan *ctl, struct kd_role_link *link, unsigned packets,
              kd_chan_handler handler, void *ctx)
{
    if (link->chan.fd >= 0 && kd_chan_recv(&link->chan, packets, handler, ctx) != KD_OK)
        kd_chan_close(&link->chan);
    if (link->chan.fd < 0 && !link->reported)
        lost(ctl, link);
}

void
kd_role_flush(struct kd_chan *ctl, struct kd_role_link *link)
{
    if (link->chan.fd >= 0 && kd_chan_flush(&link->chan) != KD_OK)
        kd_chan_close(&link->chan);
    if (link->chan.fd < 0 && !link->reported)
        lost(ctl, link);
}

void
kd_role_serve_ctl(struct kd_chan *ctl, kd_chan_handler handler, void *ctx)
{
    enum { PACKETS = 64 };

    if (kd_chan_recv(ctl, PACKETS, handler, ctx) != KD_OK)
        _exit(0); /* the supervisor is gone, and so are we */
}

void
kd_role_flush_ctl(struct kd_chan *ctl)
{
    if (kd_chan_flush(ctl) != KD_OK)
        _exit(0);
}

struct pollfd
kd_role_watch(const struct kd_chan *ch)
{
    struct pollfd p = {.fd = ch->fd, .events = kd_chan_is_paused(ch) ? 0 : POLLIN};

    /* A rest is taken as soon as an answer to it could go. */
    if (kd_chan_pending(ch) || kd_chan_has_rest(ch))
        p.events |= POLLOUT;
    return p;
}
