#include "tap.h"

#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { KEPT_MAX = 1 << 26, PIECE = 65536, FDS_MAX = 8 };

static int
unix_socket(const char *path, struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    assert_true(fd >= 0);
    assert_true(strlen(path) < sizeof a->sun_path);
    memcpy(a->sun_path, path, strlen(path));
    return fd;
}

/* --- in the thread; nothing here may fail a test, only end the connection --- */

union control {
    struct cmsghdr align;
    char octets[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

/* What lies in them is heard, and they are closed: who was sent them has his own. */
static void
hear_descriptors(struct msghdr *m, struct kd_buf *heard)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        int fds[FDS_MAX];
        if (c->cmsg_type != SCM_RIGHTS || n > FDS_MAX)
            continue;
        memcpy(fds, CMSG_DATA(c), n * sizeof(int));
        for (size_t i = 0; i < n; i++) {
            uint8_t octets[PIECE];
            ssize_t k;
            for (off_t at = 0; (k = pread(fds[i], octets, sizeof octets, at)) > 0;
                 at += k)
                kd_buf_put(heard, kd_slice(octets, (size_t)k));
            close(fds[i]);
        }
    }
}

static bool
pass(int from, int to, struct kd_buf *heard)
{
    uint8_t octets[PIECE];
    union control control;
    struct iovec v = {octets, sizeof octets};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);

    if (n <= 0)
        return false;
    kd_buf_put(heard, kd_slice(octets, (size_t)n));
    v.iov_len = (size_t)n;
    ssize_t k = sendmsg(to, &m, MSG_NOSIGNAL);
    hear_descriptors(&m, heard);
    for (ssize_t at = k; k > 0 && at < n; at += k)
        k = send(to, octets + at, (size_t)(n - at), MSG_NOSIGNAL);
    return k > 0;
}

static void
relay(struct tap *t, int client, int server)
{
    struct pollfd p[] = {{.fd = client, .events = POLLIN},
                         {.fd = server, .events = POLLIN},
                         {.fd = t->stop[0], .events = POLLIN}};

    while (poll(p, 3, -1) > 0 && p[2].revents == 0) {
        if (p[0].revents != 0 && !pass(client, server, &t->heard[0]))
            return;
        if (p[1].revents != 0 && !pass(server, client, &t->heard[1]))
            return;
    }
}

static void *
run(void *arg)
{
    struct tap *t = arg;
    struct sockaddr_un a;
    int client = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = unix_socket(t->to, &a);

    if (client >= 0 && connect(server, (const struct sockaddr *)&a, sizeof a) == 0)
        relay(t, client, server);
    if (client >= 0)
        close(client);
    close(server);
    return NULL;
}

/* --- */

keyd_client *
tap_start(struct tap *t, const struct daemon *d, const char *class)
{
    static unsigned n;
    struct sockaddr_un a;
    keyd_client *c = keyd_client_new();

    *t = (struct tap){.listener = -1};
    for (size_t i = 0; i < 2; i++)
        kd_buf_init(&t->heard[i], KEPT_MAX);
    daemon_socket(d, class, t->to);
    assert_true(snprintf(t->path, sizeof t->path, "%.80s.tap%u", d->dir, n++) <
                (int)sizeof t->path);
    t->listener = unix_socket(t->path, &a);
    assert_int_equal(bind(t->listener, (const struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(t->listener, 1), 0);
    assert_int_equal(pipe2(t->stop, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&t->thread, NULL, run, t), 0);
    assert_non_null(c);
    assert_int_equal(keyd_client_connect(c, t->path, 10000), KEYD_OK);
    return c;
}

bool
tap_has(const struct tap *t, const void *what, size_t n)
{
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(t->heard[i].err, KD_OK);
        if (t->heard[i].n != 0 && memmem(t->heard[i].p, t->heard[i].n, what, n) != NULL)
            return true;
    }
    return false;
}

static bool
file_has(const char *path, const void *what, size_t n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return false; /* a socket */
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *octets = malloc((size_t)st.st_size + 1);
    assert_non_null(octets);
    ssize_t got = S_ISREG(st.st_mode) ? read(fd, octets, (size_t)st.st_size) : 0;
    close(fd);
    assert_true(got >= 0);
    bool has = got > 0 && memmem(octets, (size_t)got, what, n) != NULL;
    free(octets);
    return has;
}

bool
tap_tree_has(const char *directory, const void *what, size_t n)
{
    char path[PATH_MAX];
    DIR *dir = opendir(directory);
    struct dirent *e;
    bool has = false;

    assert_non_null(dir);
    while (!has && (e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        assert_true(snprintf(path, sizeof path, "%s/%s", directory, e->d_name) <
                    (int)sizeof path);
        if (e->d_type == DT_DIR)
            has = tap_tree_has(path, what, n); /* as deep as what we made ourselves */
        else
            has = file_has(path, what, n);
    }
    closedir(dir);
    return has;
}

void
tap_end(struct tap *t)
{
    close(t->stop[1]);
    assert_int_equal(pthread_join(t->thread, NULL), 0);
    close(t->stop[0]);
    close(t->listener);
    unlink(t->path);
    for (size_t i = 0; i < 2; i++)
        kd_buf_free(&t->heard[i]);
}
