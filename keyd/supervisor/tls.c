#include "tls.h"
#include "tls_files.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>
#include <keyd/conf/tls_conf.h>

#include <fcntl.h>
#include <unistd.h>

static bool
is_remote(const struct child *c)
{
    return c->role == KD_ROLE_GATE && kd_gate_class(c->gate) == KD_CLASS_TLS;
}

/* As a memfd; the octets here are wiped. */
static kd_err
read_files(const struct kd_conf *conf, int *fd)
{
    struct kd_buf b;
    kd_err err;

    kd_buf_init(&b, KD_TLS_CONF_SIZE_MAX);
    /* All at once: a buffer that grows leaves copies of the key behind. */
    if (kd_buf_add(&b, KD_TLS_CONF_SIZE_MAX) == NULL)
        return KD_NOMEM;
    kd_buf_reset(&b);
    err = tls_files_read(conf, kd_clock_wall_ms() / 1000, &b);
    if (err == KD_OK)
        err = kd_memfd_seal(kd_buf_slice(&b), fd);
    kd_secret_wipe(b.p, b.cap);
    kd_buf_free(&b);
    return err;
}

kd_err
tls_check(const struct kd_conf *conf)
{
    int fd;
    kd_err err = conf->listeners[KD_CLASS_TLS].is_open ? read_files(conf, &fd) : KD_OK;

    if (err == KD_OK && conf->listeners[KD_CLASS_TLS].is_open)
        close(fd);
    return err;
}

void
tls_send(struct supervisor *s, struct child *gate)
{
    struct kd_ctl_tls m = {.serial = s->tls_serial};
    struct kd_buf b;

    if (!is_remote(gate) || gate->pid <= 0)
        return;
    int fd = s->tls < 0 ? -1 : fcntl(s->tls, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        kd_log(KD_WARN, "%s has no certificates", gate->name);
        return;
    }
    kd_buf_init(&b, 64);
    kd_ctl_tls_put(&b, &m);
    /* A child that is gone gets them when it is started again. */
    kd_ignore(kd_chan_put_buf(&gate->ctl, KD_MSG_ctl_tls, &b, fd));
    kd_buf_free(&b);
}

kd_err
tls_reload(struct supervisor *s)
{
    int fd;
    kd_err err;

    if (!s->conf->listeners[KD_CLASS_TLS].is_open)
        return KD_OK;
    if ((err = read_files(s->conf, &fd)) != KD_OK) {
        kd_log(KD_WARN, "certificates of listener \"tls\" not taken%s",
               s->tls < 0 ? "" : ", going on with those before");
        return err;
    }
    if (s->tls >= 0)
        close(s->tls);
    s->tls = fd;
    s->tls_serial++;
    kd_log(KD_INFO, "certificates of listener \"tls\" read: serial=%u", s->tls_serial);
    for (unsigned i = 0; i < s->n_children; i++)
        tls_send(s, &s->children[i]);
    return KD_OK;
}
