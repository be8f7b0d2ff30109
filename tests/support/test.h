/* cmocka with what it wants included before it. */
#ifndef KEYD_TESTS_TEST_H
#define KEYD_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* the four above first */
#include <cmocka.h>

#endif
