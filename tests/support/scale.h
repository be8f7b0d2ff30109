/* How much of a long test to do. tests/run.sh does a tenth, tests/soak.sh the whole:
 * KEYD_TEST_SCALE says how many tenths. */
#ifndef KEYD_TESTS_SCALE_H
#define KEYD_TESTS_SCALE_H

#include <stdlib.h>

enum { TEST_SCALE_DEFAULT = 1, TEST_SCALE_WHOLE = 10, TEST_SCALE_MAX = 1000 };

static inline size_t
test_scale(void)
{
    const char *text = getenv("KEYD_TEST_SCALE");
    char *end = NULL;
    unsigned long n = text == NULL ? 0 : strtoul(text, &end, 10);

    if (n == 0 || n > TEST_SCALE_MAX || *end != '\0')
        return TEST_SCALE_DEFAULT;
    return n;
}

/* Of so many rounds in the whole, those to do now; at least one. */
static inline size_t
test_rounds(size_t whole)
{
    size_t n = whole / TEST_SCALE_WHOLE * test_scale();
    return n == 0 ? 1 : n;
}

#endif
