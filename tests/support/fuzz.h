/* What a fuzz target provides, and the oracles it can use. One source serves both
 * libFuzzer (preset fuzz) and the replay of the corpus in every test run. */
#ifndef KEYD_TESTS_FUZZ_H
#define KEYD_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* The target. Returns 0. Reports a broken property with fuzz_require. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts with the text if the property does not hold. */
#define fuzz_require(x)                                                                \
    do {                                                                               \
        if (!(x))                                                                      \
            fuzz_fail(#x, __FILE__, __LINE__);                                         \
    } while (0)
_Noreturn void fuzz_fail(const char *what, const char *file, int line);

/* Memory and time oracle: between begin and end the heap may grow to at most
 * 16 x input + 64 KiB at any moment, and the time to 10 ms per 64 KiB begun (50 times
 * that under sanitizers or valgrind). Heap held before begin does not count. */
void fuzz_begin(size_t input_size);
void fuzz_end(void);

/* The most heap since fuzz_begin, beyond what was held then. Under ASan: what is held
 * now. For tests that state a bound of their own. */
size_t fuzz_heap_peak(void);

#endif
