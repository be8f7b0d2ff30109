/* What every role of the sandbox skeleton does. */
#include "skeleton_sandbox.h"

#include <keyd/base/chan.h>
#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <errno.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void
must_failed(const char *file, int line, const char *what)
{
    kd_log(KD_WARN, "%s:%d errno=%d: %s", file, line, errno, what);
    _exit(1);
}

static int
by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

void
allocate_all_sizes(void)
{
    void *held[40] = {NULL};

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 40; i++) {
            size_t n = (size_t)16 << i % 18;
            MUST((held[i] = malloc(n)) != NULL);
            memset(held[i], (int)i, n);
        }
        for (unsigned i = 0; i < 40; i += 2) {
            void *p = realloc(held[i], ((size_t)24 << i % 18) + 4096);
            MUST(p != NULL);
            held[i] = p;
        }
        for (unsigned i = 0; i < 40; i++)
            free(held[i]);
    }
    /* qsort() takes temporary memory, and asks how much there is */
    enum { N = 4096 };
    int *numbers = malloc(N * sizeof *numbers);
    MUST(numbers != NULL);
    for (int i = 0; i < N; i++)
        numbers[i] = (i * 7919) % N;
    qsort(numbers, N, sizeof *numbers, by_value);
    MUST(numbers[0] <= numbers[N - 1]);
    free(numbers);
}

void
tell_the_time(void)
{
    struct tm tm;
    time_t now = time(NULL);
    const struct timespec little = {0, 1000};

    MUST(kd_clock_ns() > 0 && kd_clock_wall_ms() > 0);
    MUST(localtime_r(&now, &tm) != NULL && gmtime_r(&now, &tm) != NULL);
    MUST(nanosleep(&little, NULL) == 0);
    char text[64];
    MUST(strftime(text, sizeof text, "%F %T %Z", &tm) > 0);
    MUST(strlen(strerror(ENOENT)) > 0);
}

void
make_and_read_memfd(void)
{
    enum { N = 300000 };
    uint8_t *octets = malloc(N);
    size_t size = 0;
    int fd;

    MUST(octets != NULL);
    memset(octets, 0xa5, N);
    MUST(kd_memfd_seal(kd_slice(octets, N), &fd) == KD_OK);
    MUST(kd_memfd_check(fd, N, &size) == KD_OK && size == N);
    MUST(kd_memfd_read(fd, N - 100, octets, 100) == KD_OK);
    free(octets);
    close(fd);
}

static kd_err
take_memfd(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    size_t size = 0;

    MUST(type == 7 && body.n == 3 && fd >= 0);
    MUST(kd_memfd_check(fd, 1 << 20, &size) == KD_OK);
    *(size_t *)ctx = size;
    close(fd);
    return KD_OK;
}

/* Both ends are in this process; the calls are the same. */
void
pass_memfd(int fds[2])
{
    struct kd_chan a, b;
    int fd;
    size_t got = 0;
    struct pollfd readable = {.fd = fds[1], .events = POLLIN};

    kd_chan_init(&a, fds[0]);
    kd_chan_init(&b, fds[1]);
    MUST(kd_memfd_seal(kd_slice("signet", 6), &fd) == KD_OK);
    MUST(kd_chan_put(&a, 7, kd_slice("abc", 3), fd) == KD_OK);
    MUST(kd_chan_flush(&a) == KD_OK);
    const struct timespec second = {1, 0};
    MUST(poll(&readable, 1, 1000) == 1);
    MUST(ppoll(&readable, 1, &second, NULL) == 1);
    MUST(kd_chan_recv(&b, 1, take_memfd, &got) == KD_OK && got == 6);
    kd_chan_close(&a);
    kd_chan_close(&b);
}

void
limit_memory(size_t size)
{
    const struct rlimit limit = {size, size};

    MUST(setrlimit(RLIMIT_AS, &limit) == 0);
}

void
prepare(void)
{
    tzset();
    MUST(kd_secret_setup(1 << 16) == KD_OK);
    /* No openssl.cnf: a file that can load modules has no place in these. */
    MUST(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1);
    MUST(kd_process_undumpable() == KD_OK);
}
