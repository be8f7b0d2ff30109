/* keyd-p11: loads a vendor's PKCS#11 module, and nothing else; one session of one
 * token.
 *
 * Holds     the PIN, from its descriptor to the login; a session; of keys only handles.
 * Talks to  the vault, which it serves one request at a time, and which trusts none of
 *           its answers; the supervisor.
 * May call  sandbox_p11*.def, by the token's profile. The module's code runs here, in
 *           this process's rights, and is not trusted by anybody else.
 *
 * A module that cannot be loaded is no reason to end: the host says so and waits, for
 * to start another one would change nothing. Its end is the end of the vault's channel;
 * what the module does then is of no interest, so nothing is finalised. */
#include "serve.h"

#include "../../keyd/role.h"

#include <keyd/base/log.h>
#include <keyd/base/secret.h>
#include <keyd/p11/module_file.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    SECRET_MEMORY = 64 * 1024,
    LOAD_SECONDS = 20,
    MEMORY_MAX =
        768 * 1024 * 1024, /* of addresses: three times 64 MiB, and libraries */
};

static struct host host;
static struct kd_conf_for_p11 conf;
static struct kd_chan ctl;

static enum kd_role
role_of(enum kd_p11_profile profile)
{
    static const enum kd_role roles[] = {[KD_P11_PROFILE_FILES] = KD_ROLE_P11,
                                         [KD_P11_PROFILE_PCSC] = KD_ROLE_P11_PCSC,
                                         [KD_P11_PROFILE_NET] = KD_ROLE_P11_NET};

    return roles[profile];
}

static void
limit(__rlimit_resource_t what, rlim_t most)
{
    struct rlimit r = {most, most};

    if (setrlimit(what, &r) != 0)
        kd_role_die("setrlimit", KD_FAILED);
}

/* A module that forks or eats memory fails in its own process. Sanitizers map more than
 * there is. */
static void
limit_all(void)
{
    if (!kd_sandbox_is_real())
        return;
    limit(RLIMIT_AS, MEMORY_MAX);
    if (conf.profile == KD_P11_PROFILE_FILES)
        limit(RLIMIT_NPROC, 0);
}

/* The file that was looked at is the one that is loaded, and no link to it. */
static void
load(struct host *h)
{
    enum { ROOT = 0 }; /* not this process's user, who could then choose what runs */
    char real[P11_MODULE_PATH_MAX];

    if (p11_module_resolve(conf.module, ROOT, real, &h->why) != P11_FINE ||
        paths_look(&conf, &h->why) != P11_FINE)
        return;
    alarm(LOAD_SECONDS);
    module_load(real, conf.profile == KD_P11_PROFILE_NET, &h->module, &h->why);
    alarm(0);
}

static void
setup(struct host *h)
{
    struct kd_buf octets;
    char name[64];
    kd_err err;

    kd_buf_init(&octets, KD_ROLE_CONF_SIZE_MAX);
    kd_role_start(&ctl, "keyd-p11", &octets);
    if ((err = kd_conf_for_p11_decode(kd_buf_slice(&octets), &conf)) != KD_OK)
        kd_role_die("bad configuration", err);
    kd_buf_free(&octets);
    snprintf(name, sizeof name, "keyd-p11 %s", conf.name);
    kd_log_setup(name, conf.log_level);
    if ((err = kd_secret_setup(SECRET_MEMORY)) != KD_OK)
        kd_role_die("no secret memory (RLIMIT_MEMLOCK?)", err);
    if (sodium_init() < 0 || (h->z = kd_secret_new(KD_ECDH_SIZE)) == NULL ||
        (h->latch = kd_secret_new(KD_LATCH_KEY_SIZE)) == NULL ||
        pin_setup(&h->pin) != KD_OK)
        kd_role_die("no secret memory", KD_NOMEM);
    if ((h->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)) < 0)
        kd_role_die("/proc/self/statm", KD_IO);
    h->conf = &conf;
    kd_chan_init(&h->chan, -1);
    limit_all();
    paths_confine(&conf, role_of(conf.profile));
    load(h);
    kd_role_enter(role_of(conf.profile), NULL, conf.hardening);
    kd_role_ready(&ctl);
}

/* A second channel would mean that the vault has lost the first. */
static kd_err
on_supervisor(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct host *h = ctx;
    struct kd_ctl_link m;

    if (type != KD_MSG_ctl_link || kd_ctl_link_get(body, &m) != KD_OK || fd < 0 ||
        (m.link == KD_LINK_P11 && h->chan.fd >= 0) ||
        (m.link != KD_LINK_P11 && m.link != KD_LINK_PIN))
        kd_role_die("bad message from the supervisor", KD_MALFORMED);
    if (m.link == KD_LINK_PIN) {
        serve_pin(h, fd);
    } else {
        kd_chan_init(&h->chan, fd);
        serve_here(h);
    }
    return KD_OK;
}

static void
serve_vault(struct host *h)
{
    kd_err err = kd_chan_recv(&h->chan, 1, serve_request, h);

    if (err == KD_OK)
        err = kd_chan_flush(&h->chan);
    kd_chan_wipe(&h->chan);
    if (err != KD_OK)
        _exit(0); /* no vault, or another one: nothing is left to do */
}

int
main(void)
{
    setup(&host);
    for (;;) {
        struct pollfd p[] = {kd_role_watch(&ctl), kd_role_watch(&host.chan)};
        kd_ignore(poll(p, 2, -1)); /* what failed shows when receiving */
        if (p[0].revents != 0) {
            kd_role_serve_ctl(&ctl, on_supervisor, &host);
            kd_role_flush_ctl(&ctl);
        }
        if (host.chan.fd >= 0)
            serve_vault(&host);
    }
}
