/* Large signatures by stream while small ones go through: four sealed memfds of
 * 64 MiB (or argv[1] MiB) are signed at once, either in the loop that also serves the
 * small requests or by one and two worker threads beside it, and a small request falls
 * due every millisecond. Prints throughput, memory and the small requests' latency,
 * counted from when they fell due; asserts equality with one-shot signatures, the
 * bound on memory, and that nobody waits for a large message as a whole. */
#include "ed25519_check.h"

#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* cmocka.h wants the two above first */
#include <cmocka.h>

enum {
    MIB = 1 << 20,
    N_LARGE = 4,
    MAX_SMALL = 60000,
    SMALL_SIZE = 500,      /* an SSR, roughly */
    INTERVAL_NS = 1000000, /* between two requests, more on a slow machine */
    MAX_GROWTH_KIB = 16 << 10,
};

static size_t large_size = 64 * (size_t)MIB;
static struct dime_ed25519_secret *secret;
static uint8_t pair[64];

static struct large {
    struct dime_stream_part part;
    struct dime_ed25519_stream *stream;
    uint8_t want[64];
} large[N_LARGE];

/* --- messages ------------------------------------------------------------ */

/* The i-th message is a key stream, so that any stretch of it can be made anew. */
static void
fill(unsigned i, uint64_t at, uint8_t *out, size_t n)
{
    static const uint8_t key[crypto_stream_chacha20_KEYBYTES];
    uint8_t nonce[crypto_stream_chacha20_NONCEBYTES] = {(uint8_t)i};

    memset(out, 0, n);
    crypto_stream_chacha20_xor_ic(out, out, n, nonce, at / 64, key);
}

static int
new_message(unsigned i)
{
    static uint8_t piece[MIB];
    int fd = memfd_create("large", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    for (size_t at = 0; at < large_size; at += sizeof piece) {
        fill(i, at, piece, sizeof piece);
        assert_int_equal(pwrite(fd, piece, sizeof piece, (off_t)at), sizeof piece);
    }
    assert_int_equal(fcntl(fd, F_ADD_SEALS,
                           F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
                     0);
    return fd;
}

/* --- small requests ------------------------------------------------------ */

static struct small {
    int64_t interval;
    int64_t started;
    size_t n; /* served */
    int64_t waited[MAX_SMALL];
} small;

static int64_t
small_due(void)
{
    return small.started + (int64_t)(small.n + 1) * small.interval;
}

/* Serves one request: signs it and verifies before it would be released. */
static void
small_serve(void)
{
    uint8_t message[SMALL_SIZE] = {(uint8_t)small.n, (uint8_t)(small.n >> 8)};
    struct kd_slice octets = kd_slice(message, sizeof message);
    uint8_t sig[64];

    if (dime_ed25519_secret_sign(secret, octets, sig) != KD_OK ||
        dime_ed25519_verify_trusted_key(secret->use.key, octets, sig) != KD_OK)
        abort();
    small.waited[small.n] = kd_clock_ns() - small_due();
    small.n++;
}

/* Serves until told to stop; by itself in a thread. */
static void *
small_thread(void *stop)
{
    while (!atomic_load((atomic_bool *)stop) && small.n < MAX_SMALL) {
        int64_t due = small_due();
        struct timespec at = {due / 1000000000, due % 1000000000};
        if (due > kd_clock_ns())
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        small_serve();
    }
    return NULL;
}

static int
by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double
small_percentile_us(size_t hundredths)
{
    size_t at = (small.n - 1) * hundredths / 10000;

    return (double)small.waited[at] / 1000;
}

/* --- large requests ------------------------------------------------------ */

static void
large_begin(void)
{
    for (unsigned i = 0; i < N_LARGE; i++)
        assert_int_equal(dime_ed25519_stream_sign(secret, &large[i].part, 1, large_size,
                                                  &large[i].stream),
                         KD_OK);
}

static void
large_end(void)
{
    for (unsigned i = 0; i < N_LARGE; i++) {
        uint8_t sig[64];
        assert_int_equal(dime_ed25519_stream_signature(large[i].stream, sig), KD_OK);
        assert_memory_equal(sig, large[i].want, 64);
        dime_ed25519_stream_free(large[i].stream);
    }
}

/* One step of every stream from first on in strides; false when all are done. */
static bool
large_turn(unsigned first, unsigned stride, size_t budget)
{
    bool any = false;

    for (unsigned i = first; i < N_LARGE; i += stride) {
        bool more;
        if (dime_ed25519_stream_left(large[i].stream) == 0)
            continue;
        if (dime_ed25519_stream_step(large[i].stream, budget, &more) != KD_OK)
            abort();
        any |= more;
    }
    return any;
}

struct worker {
    pthread_t thread;
    unsigned first;
    unsigned stride;
    size_t budget;
};

static void *
large_thread(void *arg)
{
    const struct worker *w = arg;

    while (large_turn(w->first, w->stride, w->budget)) {
    }
    return NULL;
}

/* --- measuring ----------------------------------------------------------- */

/* The most memory ever resident, in KiB. */
static long
peak_kib(void)
{
    char line[200];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    }
    kd_ignore(fclose(f)); /* was only read */
    assert_true(kib > 0);
    return kib;
}

static void
small_reset(void)
{
    small.n = 0;
    small.started = kd_clock_ns();
}

static void
report(const char *what, int64_t took, bool with_large)
{
    double mib = with_large ? (double)N_LARGE * (double)large_size / MIB : 0;

    qsort(small.waited, small.n, sizeof small.waited[0], by_value);
    printf("%-32s %5.2f s %6.0f MiB/s  small: %5zu served, p50 %6.0f us, p99 %6.0f us, "
           "max %6.0f us\n",
           what, (double)took / 1e9, mib * 1e9 / (double)took, small.n,
           small_percentile_us(5000), small_percentile_us(9900),
           small_percentile_us(10000));
}

/* Most of what fell due was served, and half of it sooner than one large signature
 * of four takes: no absolute times, and no promise that the machine never stalls. */
static void
nobody_starved(int64_t took)
{
    int64_t n_due = took / small.interval;

    assert_true((int64_t)small.n >= n_due / 2);
    assert_true(small.waited[small.n / 2] < took / N_LARGE);
}

/* Requests that would fill a core by themselves (under valgrind) say nothing. */
static void
small_set_interval(void)
{
    small.interval = INTERVAL_NS;
    small_reset();
    for (unsigned i = 0; i < 20; i++)
        small_serve();
    int64_t cost = (kd_clock_ns() - small.started) / 20;
    small.interval = 4 * cost > INTERVAL_NS ? 4 * cost : INTERVAL_NS;
}

static void
small_requests_alone(void **state)
{
    atomic_bool stop = false;
    pthread_t thread;
    struct timespec second = {1, 0};

    (void)state;
    small_reset();
    assert_int_equal(pthread_create(&thread, NULL, small_thread, &stop), 0);
    clock_nanosleep(CLOCK_MONOTONIC, 0, &second, NULL);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    report("alone", kd_clock_ns() - small.started, false);
    assert_true(small.n > 0);
}

static void
one_loop_serves_large_and_small(void **state)
{
    static const size_t budgets[] = {64 << 10, 256 << 10, MIB};
    const unsigned n = sizeof budgets / sizeof budgets[0];

    (void)state;
    for (unsigned b = 0; b < n; b++) {
        char what[64];
        unsigned i = 0;
        bool idle[N_LARGE] = {false};
        large_begin();
        small_reset();
        while (!(idle[0] && idle[1] && idle[2] && idle[3])) {
            idle[i] = !large_turn(i, N_LARGE, budgets[b]);
            i = (i + 1) % N_LARGE;
            while (small.n < MAX_SMALL && small_due() <= kd_clock_ns())
                small_serve();
        }
        int64_t took = kd_clock_ns() - small.started;
        snprintf(what, sizeof what, "one loop, steps of %zu KiB", budgets[b] >> 10);
        report(what, took, true);
        large_end();
        nobody_starved(took);
    }
}

static void
workers_sign_large_beside_the_loop(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 2; n++) {
        struct worker workers[2];
        atomic_bool stop = false;
        pthread_t thread;
        char what[64];
        large_begin();
        small_reset();
        assert_int_equal(pthread_create(&thread, NULL, small_thread, &stop), 0);
        for (unsigned i = 0; i < n; i++) {
            workers[i] = (struct worker){.first = i, .stride = n, .budget = MIB};
            assert_int_equal(
                pthread_create(&workers[i].thread, NULL, large_thread, workers + i), 0);
        }
        for (unsigned i = 0; i < n; i++)
            pthread_join(workers[i].thread, NULL);
        int64_t took = kd_clock_ns() - small.started;
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
        snprintf(what, sizeof what, "%u worker%s, steps of 1 MiB", n,
                 n == 1 ? "" : "s");
        report(what, took, true);
        large_end();
        nobody_starved(took);
    }
}

static void
signatures_are_verified_in_a_third_pass(void **state)
{
    int64_t from = kd_clock_ns();

    (void)state;
    for (unsigned i = 0; i < N_LARGE; i++) {
        struct dime_ed25519_stream *s;
        assert_int_equal(dime_ed25519_stream_verify(secret->use.key, large[i].want,
                                                    &large[i].part, 1, large_size, &s),
                         KD_OK);
        assert_int_equal(stream_run(s, MIB), KD_OK);
        assert_int_equal(dime_ed25519_stream_verdict(s), KD_OK);
        dime_ed25519_stream_free(s);
    }
    printf("verification: %.0f MiB/s\n", (double)N_LARGE * (double)large_size / MIB *
                                             1e9 / (double)(kd_clock_ns() - from));
}

/* --- set-up -------------------------------------------------------------- */

/* In a child, so that the plain buffers do not count as our memory. */
static void
make_references(void)
{
    const size_t size = N_LARGE * (size_t)64;
    uint8_t *want =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(want != MAP_FAILED);
    kd_ignore(fflush(stdout)); /* only against doubled lines */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint8_t *plain = malloc(large_size);
        for (unsigned i = 0; plain != NULL && i < N_LARGE; i++) {
            fill(i, 0, plain, large_size);
            crypto_sign_detached(want + 64 * (size_t)i, NULL, plain, large_size, pair);
        }
        free(plain);
        _exit(plain == NULL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (unsigned i = 0; i < N_LARGE; i++)
        memcpy(large[i].want, want + 64 * (size_t)i, 64);
    munmap(want, size);
}

static long before_kib;

static int
setup(void **state)
{
    uint8_t seed[DIME_SEED_SIZE];

    (void)state;
    if (kd_secret_setup(1 << 16) != KD_OK)
        return -1;
    if ((secret = kd_secret_new(sizeof *secret)) == NULL)
        return -1;
    randombytes_buf(seed, sizeof seed);
    dime_ed25519_secret_init(secret, seed);
    crypto_sign_seed_keypair(pair + 32, pair, seed);
    for (unsigned i = 0; i < N_LARGE; i++) {
        large[i].part = (struct dime_stream_part){.n = large_size};
        large[i].part.fd = new_message(i);
    }
    make_references();
    small_set_interval();
    before_kib = peak_kib();
    return 0;
}

static void
memory_did_not_grow_with_the_messages(void **state)
{
    long grown = peak_kib() - before_kib;

    (void)state;
    printf("resident memory grew by %ld KiB at most for %u messages of %zu MiB\n",
           grown, N_LARGE, large_size / MIB);
    assert_true(grown < MAX_GROWTH_KIB);
}

static int
teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_LARGE; i++)
        close(large[i].part.fd);
    kd_secret_free(secret, sizeof *secret);
    return 0;
}

int
main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_requests_alone),
        cmocka_unit_test(one_loop_serves_large_and_small),
        cmocka_unit_test(workers_sign_large_beside_the_loop),
        cmocka_unit_test(signatures_are_verified_in_a_third_pass),
        cmocka_unit_test(memory_did_not_grow_with_the_messages),
    };

    if (argc == 2) {
        unsigned long mib = strtoul(argv[1], NULL, 10);
        if (mib == 0 || mib > 4096) {
            fprintf(stderr, "usage: %s [MIB]\n", argv[0]);
            return 64;
        }
        large_size = mib * MIB;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
