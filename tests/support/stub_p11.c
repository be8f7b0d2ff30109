/* A host of a PKCS#11 token that loads no module and does what its environment says,
 * for tests of who starts and ends hosts. STUB: serve, silent (never ready), stopped
 * (reads nothing), done (ends in order at once), refused, dead, babble. STUB_LOG: a
 * file to which a line is added for its start and one for each PIN that it is given. */
#include "../../keyd/role.h"

#include <keyd/base/log.h>

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static struct kd_conf_for_p11 conf;

static void
note(const char *text)
{
    const char *path = getenv("STUB_LOG");
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);

    if (fd < 0)
        return; /* who reads it misses it */
    kd_ignore(write(fd, text, strlen(text)));
    close(fd);
}

static void
note_start(void)
{
    char text[512];
    gid_t groups[4] = {0};
    int n_groups = getgroups(4, groups);
    unsigned n = 0;

    while (environ[n] != NULL)
        n++;
    snprintf(text, sizeof text,
             "start host=%u maker=%d name=%s module=%s uid=%d gid=%d groups=%d:%d "
             "environment=%u\n",
             conf.host, conf.is_maker, conf.name, conf.module, (int)getuid(),
             (int)getgid(), n_groups, n_groups > 0 ? (int)groups[0] : 0, n);
    note(text);
}

static kd_err
on_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct kd_ctl_link m;
    char pin[300] = "", text[400];

    (void)ctx;
    if (type != KD_MSG_ctl_link || kd_ctl_link_get(body, &m) != KD_OK || fd < 0)
        kd_role_die("stub: bad message from the supervisor", KD_MALFORMED);
    if (m.link == KD_LINK_PIN) {
        kd_ignore(read(fd, pin, sizeof pin - 1)); /* then it is empty */
        snprintf(text, sizeof text, "pin host=%u %s\n", m.gate, pin);
        note(text);
        close(fd);
    } /* a channel stays open, unread */
    return KD_OK;
}

static _Noreturn void
wait_for_ever(void)
{
    for (;;)
        pause();
}

static void
misbehave(const char *how, struct kd_chan *ctl)
{
    static const uint8_t nonsense[100];

    if (strcmp(how, "done") == 0)
        _exit(0);
    if (strcmp(how, "refused") == 0)
        _exit(KD_ROLE_EXIT_REFUSED);
    if (strcmp(how, "dead") == 0)
        kd_ignore(raise(SIGSEGV));
    if (strcmp(how, "silent") == 0)
        wait_for_ever();
    if (strcmp(how, "babble") == 0 &&
        kd_chan_put(ctl, KD_MSG_ctl_event, kd_slice(nonsense, sizeof nonsense), -1) ==
            KD_OK &&
        kd_chan_flush(ctl) == KD_OK)
        wait_for_ever();
}

int
main(void)
{
    const char *how = getenv("STUB") == NULL ? "serve" : getenv("STUB");
    struct kd_chan ctl;
    struct kd_buf octets;

    if (strcmp(how, "stopped") == 0)
        wait_for_ever();
    kd_buf_init(&octets, KD_ROLE_CONF_SIZE_MAX);
    kd_role_start(&ctl, "keyd-p11", &octets);
    kd_err err = kd_conf_for_p11_decode(kd_buf_slice(&octets), &conf);
    if (err != KD_OK)
        kd_role_die("stub: bad configuration", err);
    note_start();
    misbehave(how, &ctl);
    kd_role_ready(&ctl);
    for (;;) {
        struct pollfd p = kd_role_watch(&ctl);
        kd_ignore(poll(&p, 1, -1)); /* failures show when receiving */
        kd_role_serve_ctl(&ctl, on_message, NULL);
    }
}
