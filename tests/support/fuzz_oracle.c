/* Counts the heap by wrapping malloc's family; works with and without ASan. */
#include "fuzz.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

enum { TIME_SLACK = UNDER_SANITIZER ? 50 : 10 };

static int64_t started_ns;
static size_t input;
static size_t heap_before;

void
fuzz_fail(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: property broken: %s\n", file, line, what);
    abort();
}

static int64_t
cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#if UNDER_SANITIZER
/* ASan's own accounting; peak within one input is not to be had cheaply, so the
 * plain build (every test run) checks the peak and this one only the end. */
size_t __sanitizer_get_current_allocated_bytes(void);

static size_t
heap_now(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
static void
peak_reset(void)
{
}
static size_t
peak_now(void)
{
    return heap_now();
}
#else
static _Atomic size_t heap;
static _Atomic size_t peak;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

/* Seen by libc and the libraries too: what strdup allocates for us is ours to free, and
 * counted only one way it would make the sum wrap. */
#define COUNTED __attribute__((visibility("default")))

static void
grown(void *p)
{
    if (p == NULL)
        return;
    size_t n = malloc_usable_size(p);
    size_t now = atomic_fetch_add(&heap, n) + n;
    size_t old = peak;
    while (now > old && !atomic_compare_exchange_weak(&peak, &old, now)) {
    }
}

COUNTED void *
malloc(size_t n)
{
    void *p = __libc_malloc(n);
    grown(p);
    return p;
}

COUNTED void *
calloc(size_t n, size_t size)
{
    void *p = __libc_calloc(n, size);
    grown(p);
    return p;
}

COUNTED void *
realloc(void *old, size_t n)
{
    size_t before = old == NULL ? 0 : malloc_usable_size(old);
    void *p = __libc_realloc(old, n);
    if (p != NULL || n == 0)
        heap -= before;
    grown(p);
    return p;
}

COUNTED void
free(void *p)
{
    if (p != NULL)
        heap -= malloc_usable_size(p);
    __libc_free(p);
}

static size_t
heap_now(void)
{
    return heap;
}
static void
peak_reset(void)
{
    peak = (size_t)heap;
}
static size_t
peak_now(void)
{
    return peak;
}
#endif

void
fuzz_begin(size_t input_size)
{
    input = input_size;
    heap_before = heap_now();
    peak_reset();
    started_ns = cpu_ns();
}

size_t
fuzz_heap_peak(void)
{
    size_t most = peak_now();

    return most < heap_before ? 0 : most - heap_before;
}

void
fuzz_end(void)
{
    size_t most = peak_now();
    int64_t took = cpu_ns() - started_ns;
    int64_t allowed = (int64_t)(input / 65536 + 1) * 10000000 * TIME_SLACK;

    fuzz_require(most <= heap_before + 16 * input + 65536);
    fuzz_require(took <= allowed);
}
