#include "address.h"

#include <errno.h>
#include <fcntl.h>
#include <keyd/base/clock.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { HOST_MAX = 253, PORT_MAX = 5 };

/* ---- text */

static bool
is_port(const char *s)
{
    size_t n = strspn(s, "0123456789");
    unsigned long v;

    if (n == 0 || n > PORT_MAX || s[n] != '\0')
        return false;
    v = strtoul(s, NULL, 10);
    return v > 0 && v <= UINT16_MAX;
}

static enum keyd_status
parse_tls(const char *text, char **host, char **port)
{
    bool brackets = text[0] == '[';
    const char *from = brackets ? text + 1 : text;
    size_t n = strcspn(from, brackets ? "]" : ":");
    const char *rest = from + n;

    if (n == 0 || n > HOST_MAX || (brackets && *rest++ != ']') || *rest != ':' ||
        !is_port(rest + 1))
        return KEYD_USAGE;
    *host = strndup(from, n);
    *port = strdup(rest + 1);
    if (*host != NULL && *port != NULL)
        return KEYD_OK;
    free(*host);
    free(*port);
    *host = *port = NULL;
    return KEYD_NOMEM;
}

enum keyd_status
address_parse(const char *text, const char **path, char **host, char **port)
{
    *path = NULL;
    *host = *port = NULL;
    if (strncmp(text, "tls:", 4) == 0)
        return parse_tls(text + 4, host, port);
    if (strncmp(text, "unix:", 5) != 0 || text[5] == '\0' ||
        strlen(text + 5) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return KEYD_USAGE;
    *path = text + 5;
    return KEYD_OK;
}

/* ---- sockets */

static enum keyd_status
connect_error(int error)
{
    switch (error) {
    case EAGAIN:
        return KEYD_BUSY;
    case EACCES:
    case EPERM:
        return KEYD_DENIED;
    case ENOMEM:
    case ENOBUFS:
    case EMFILE:
    case ENFILE:
        return KEYD_NOMEM;
    default:
        return KEYD_UNAVAILABLE;
    }
}

/* A unix socket connects at once or waits for a place in the server's backlog, which
 * poll does not report; so who may wait does it under SO_SNDTIMEO (0: not at all). */
enum keyd_status
address_open_unix(const char *path, int timeout_ms, int *out)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval wait = {timeout_ms / 1000, timeout_ms % 1000 * 1000L};
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof to.sun_path)
        return KEYD_USAGE;
    memcpy(to.sun_path, path, n + 1);
    int type = SOCK_STREAM | SOCK_CLOEXEC | (timeout_ms == 0 ? SOCK_NONBLOCK : 0);
    int fd = socket(AF_UNIX, type, 0);
    if (fd < 0)
        return connect_error(errno);
    int64_t deadline = kd_clock_ms() + timeout_ms;
    int err = timeout_ms == 0
                  ? 0
                  : setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (err == 0)
        do {
            err = connect(fd, (const struct sockaddr *)&to, sizeof to);
        } while (err != 0 && errno == EINTR && kd_clock_ms() < deadline);
    if (err != 0) {
        enum keyd_status status = connect_error(errno);
        close(fd);
        return status;
    }
    *out = fd;
    return KEYD_OK;
}

enum keyd_status
address_open_tcp(const struct addrinfo *to, int *out)
{
    int one = 1;
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return connect_error(errno);
    /* Small requests must not wait for the acknowledgement of others. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one) != 0 ||
        (connect(fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS)) {
        enum keyd_status status = connect_error(errno);
        close(fd);
        /* No local port, say; EAGAIN has another meaning on unix sockets only. */
        return status == KEYD_BUSY ? KEYD_UNAVAILABLE : status;
    }
    *out = fd;
    return KEYD_OK;
}

enum keyd_status
address_connected(int sock)
{
    int error = 0;
    socklen_t size = sizeof error;

    if (getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return KEYD_UNAVAILABLE;
    return error == 0 ? KEYD_OK : connect_error(error);
}

/* ---- names */

static struct addrinfo *
look_up(const char *host, const char *port, int flags)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *found = NULL;

    return getaddrinfo(host, port, &hints, &found) == 0 ? found : NULL;
}

struct addrinfo *
naming_of_digits(const char *host, const char *port)
{
    return look_up(host, port, AI_NUMERICHOST);
}

/* Two hold it, the client and the thread; the last one frees. */
struct naming {
    pthread_mutex_t lock;
    unsigned holders;
    int fd; /* the thread's own, of the eventfd */
    struct addrinfo *found;
    char *host, *port;
};

static void
naming_free(struct naming *n)
{
    pthread_mutex_destroy(&n->lock);
    if (n->found != NULL)
        freeaddrinfo(n->found);
    if (n->fd >= 0)
        close(n->fd);
    free(n->host);
    free(n->port);
    free(n);
}

static struct addrinfo *
let_go(struct naming *n)
{
    pthread_mutex_lock(&n->lock);
    struct addrinfo *found = n->found;
    n->found = NULL;
    bool last = --n->holders == 0;
    pthread_mutex_unlock(&n->lock);
    if (last)
        naming_free(n);
    return found;
}

static void *
naming_run(void *arg)
{
    struct naming *n = arg;
    uint64_t one = 1;
    struct addrinfo *found = look_up(n->host, n->port, AI_ADDRCONFIG);

    pthread_mutex_lock(&n->lock);
    bool wanted = n->holders == 2;
    if (wanted)
        n->found = found;
    pthread_mutex_unlock(&n->lock);
    if (!wanted && found != NULL)
        freeaddrinfo(found);
    kd_ignore(write(n->fd, &one, sizeof one)); /* an eventfd at 0 takes it */
    /* What the client has not taken by now, it still can: only the last one frees. */
    pthread_mutex_lock(&n->lock);
    bool last = --n->holders == 0;
    pthread_mutex_unlock(&n->lock);
    if (last)
        naming_free(n);
    return NULL;
}

static bool
start_thread(struct naming *n)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, old;

    if (pthread_attr_init(&attr) != 0)
        return false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the program's threads' */
    bool ok = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0 &&
              pthread_create(&thread, &attr, naming_run, n) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return ok;
}

struct naming *
naming_new(const char *host, const char *port, int *fd)
{
    struct naming *n = calloc(1, sizeof *n);
    int ready = -1;

    if (n == NULL)
        return NULL;
    n->fd = -1;
    n->holders = 2;
    pthread_mutex_init(&n->lock, NULL);
    n->host = strdup(host);
    n->port = strdup(port);
    if (n->host == NULL || n->port == NULL ||
        (ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
        (n->fd = fcntl(ready, F_DUPFD_CLOEXEC, 0)) < 0 || !start_thread(n)) {
        if (ready >= 0)
            close(ready);
        naming_free(n);
        return NULL;
    }
    *fd = ready;
    return n;
}

struct addrinfo *
naming_end(struct naming *n)
{
    return let_go(n);
}
