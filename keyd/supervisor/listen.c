#include "listen.h"

#include <keyd/base/log.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static kd_err
failed(const char *what, const char *path)
{
    kd_log(KD_WARN, "%s %s: %s", what, path, strerror(errno));
    return KD_IO;
}

/* The admin socket's directory is for its owner alone, since who can reach that socket
 * is asked for nothing but a uid; and for the operators' group, if one was given and
 * may use the socket. */
static bool
admits_group(const struct kd_conf_listener *l)
{
    return l->group.is_known && (l->mode & 060) != 0;
}

/* The directory of a socket's path. */
static kd_err
make_directory(const struct kd_conf_listener *l, unsigned klass)
{
    bool is_admin = klass == KD_CLASS_ADMIN;
    mode_t mode = !is_admin ? 0755 : admits_group(l) ? 0710 : 0700;
    const char *socket_path = l->socket;
    struct sockaddr_un sun;
    char path[sizeof sun.sun_path];
    int n = snprintf(path, sizeof path, "%s", socket_path);
    char *slash = n > 0 && (size_t)n < sizeof path ? strrchr(path, '/') : NULL;

    if (slash == NULL || slash == path)
        return KD_OK;
    *slash = '\0';
    if (mkdir(path, mode) != 0 && (errno != EEXIST || !is_admin))
        return errno == EEXIST ? KD_OK : failed("directory", path);
    if (is_admin && admits_group(l) && chown(path, (uid_t)-1, l->group.id) != 0)
        return failed("directory", path);
    return chmod(path, mode) == 0 ? KD_OK : failed("directory", path);
}

/* True if somebody answers there: a socket file alone is what a crash leaves. */
static bool
is_alive(const struct sockaddr_un *sun)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && connect(fd, (const struct sockaddr *)sun, sizeof *sun) == 0;

    if (fd >= 0)
        close(fd);
    return alive;
}

/* Bound under a mode that lets nobody in, then given group and mode: there is no moment
 * at which it is more open than configured. */
static kd_err
bind_socket(const struct kd_conf_listener *l, const struct kd_conf_id *group,
            const struct sockaddr_un *sun, int *out)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0777);
    bool bound = fd >= 0 && bind(fd, (const struct sockaddr *)sun, sizeof *sun) == 0;

    umask(before);
    if (!bound)
        goto fail;
    if (group->is_known && chown(l->socket, (uid_t)-1, group->id) != 0)
        goto fail;
    if (chmod(l->socket, l->mode) != 0 || listen(fd, BACKLOG) != 0)
        goto fail;
    *out = fd;
    return KD_OK;
fail:
    kd_ignore(failed("socket", l->socket));
    if (fd >= 0)
        close(fd);
    return KD_IO;
}

static kd_err
listen_one(const struct kd_conf *conf, unsigned klass, int *out)
{
    const struct kd_conf_listener *l = &conf->listeners[klass];
    /* Without one of its own, the roles' group; unknown unless started as root. */
    const struct kd_conf_id *group = l->group.is_known ? &l->group : &conf->group;
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    kd_err err;

    if (strlen(l->socket) >= sizeof sun.sun_path) {
        kd_log(KD_WARN, "socket path too long: %s", l->socket);
        return KD_INVALID;
    }
    memcpy(sun.sun_path, l->socket, strlen(l->socket) + 1);
    if ((err = make_directory(l, klass)) != KD_OK)
        return err;
    if (is_alive(&sun)) {
        kd_log(KD_WARN, "another daemon answers on %s", l->socket);
        return KD_BUSY;
    }
    if (unlink(l->socket) != 0 && errno != ENOENT)
        return failed("old socket", l->socket);
    return bind_socket(l, group, &sun, out);
}

/* --- the remote listener --- */

/* Set here, because the gate may not, and inherited by what is accepted: answers go at
 * once, a peer that is gone is noticed. */
static bool
set_stream_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {{SOL_SOCKET, SO_REUSEADDR, 1},    {SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_NODELAY, 1},    {IPPROTO_TCP, TCP_KEEPIDLE, 60},
                   {IPPROTO_TCP, TCP_KEEPINTVL, 20}, {IPPROTO_TCP, TCP_KEEPCNT, 3}};

    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                       sizeof options[i].value) != 0)
            return false;
    return true;
}

static socklen_t
socket_address(const struct kd_conf_address *a, struct sockaddr_storage *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};

    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        memcpy(&in.sin_addr, a->octets, sizeof in.sin_addr);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    memcpy(&in6.sin6_addr, a->octets, sizeof in6.sin6_addr);
    memcpy(out, &in6, sizeof in6);
    return sizeof in6;
}

static kd_err
listen_remote(const struct kd_conf_address *a, int *out)
{
    static const int only = 1;
    struct sockaddr_storage at;
    socklen_t size = socket_address(a, &at);
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || !set_stream_options(fd) ||
        (at.ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) != 0) ||
        bind(fd, (const struct sockaddr *)&at, size) != 0 || listen(fd, BACKLOG) != 0) {
        kd_err err = failed("address", a->text);
        if (fd >= 0)
            close(fd);
        return err;
    }
    *out = fd;
    return KD_OK;
}

/* --- sockets that are there already (systemd.socket(5)) --- */

/* The very address and port that are configured. */
static bool
is_bound_to(int fd, const struct kd_conf_address *a)
{
    struct sockaddr_storage want, is = {0};
    socklen_t size = sizeof is, wanted = socket_address(a, &want);

    return sd_is_socket(fd, want.ss_family, SOCK_STREAM, 1) > 0 &&
           getsockname(fd, (struct sockaddr *)&is, &size) == 0 && size == wanted &&
           memcmp(&is, &want, size) == 0;
}

/* Whose it is, by where it is bound; KD_CLASS_COUNT for nobody's. */
static unsigned
class_of_socket(const struct kd_conf *conf, int fd)
{
    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++) {
        const struct kd_conf_listener *l = &conf->listeners[klass];
        if (l->is_open && l->socket != NULL &&
            sd_is_socket_unix(fd, SOCK_STREAM, 1, l->socket, 0) > 0)
            return klass;
        if (l->is_open && klass == KD_CLASS_TLS && is_bound_to(fd, &l->address))
            return klass;
    }
    return KD_CLASS_COUNT;
}

/* Who made it answers for its mode; one that lets in more than is configured should not
 * go unnoticed. (Who may ask for what is by uid all the same.) */
static void
check_mode(const struct kd_conf_listener *l)
{
    struct stat st;

    if (stat(l->socket, &st) == 0 && (st.st_mode & 0777 & ~l->mode) != 0)
        kd_log(KD_WARN, "socket %s: mode %04o, more than the configured %04o",
               l->socket, (unsigned)st.st_mode & 0777, l->mode);
}

static kd_err
take_socket(struct supervisor *s, int fd)
{
    unsigned klass = class_of_socket(s->conf, fd);

    if (klass == KD_CLASS_COUNT || s->listeners[klass] >= 0) {
        kd_log(KD_WARN, "socket %d was given to us and is no listener's: closed", fd);
        close(fd);
        return KD_OK;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        (klass == KD_CLASS_TLS && !set_stream_options(fd)))
        return failed("socket of listener", kd_class_name(klass));
    if (klass != KD_CLASS_TLS)
        check_mode(&s->conf->listeners[klass]);
    s->listeners[klass] = fd;
    s->has_socket[klass] = true;
    kd_log(KD_INFO, "listener \"%s\" has its socket from the service manager",
           kd_class_name(klass));
    return KD_OK;
}

/* Connections during a restart wait in the queue of a socket that outlives us. */
static kd_err
take_sockets(struct supervisor *s)
{
    int n = sd_listen_fds(1);
    kd_err err = KD_OK;

    if (n < 0) {
        kd_log(KD_WARN, "LISTEN_FDS: %s", strerror(-n));
        return KD_INVALID;
    }
    for (int i = 0; i < n && err == KD_OK; i++)
        err = take_socket(s, SD_LISTEN_FDS_START + i);
    return err;
}

kd_err
listen_all(struct supervisor *s)
{
    kd_err err;

    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
        s->listeners[klass] = -1;
    if ((err = take_sockets(s)) != KD_OK)
        return err;
    if (mkdir(s->conf->run_directory, 0755) == 0) {
        if (chmod(s->conf->run_directory, 0755) != 0)
            return failed("directory", s->conf->run_directory);
    } else if (errno != EEXIST) {
        return failed("directory", s->conf->run_directory);
    }
    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++) {
        if (!s->conf->listeners[klass].is_open || s->listeners[klass] >= 0)
            continue;
        err = klass == KD_CLASS_TLS ? listen_remote(&s->conf->listeners[klass].address,
                                                    &s->listeners[klass])
                                    : listen_one(s->conf, klass, &s->listeners[klass]);
        if (err != KD_OK)
            return err;
    }
    return KD_OK;
}

void
listen_remove(struct supervisor *s)
{
    /* The sandbox may forbid it; the next start removes them as well. */
    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
        if (s->listeners[klass] >= 0 && !s->has_socket[klass] && klass != KD_CLASS_TLS)
            kd_ignore(unlink(s->started->listeners[klass].socket));
}
