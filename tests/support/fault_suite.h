/* One daemon for all tests of a program, with roles that can be disturbed and keys for
 * example.com. Failures are the test's failures. */
#ifndef KEYD_TESTS_FAULT_SUITE_H
#define KEYD_TESTS_FAULT_SUITE_H

#include "fault.h"
#include "test.h"

extern struct faults faults;
extern struct daemon keyd;
extern uint8_t audit_key[32];
extern char acks_path[160]; /* what was acknowledged (check.h), in its directory */

/* For the group. After the first it runs. */
int fault_suite_start(void **state);
int fault_suite_end(void **state);

/* For each test: undisturbed again, and what is left of a failed one is stopped. */
int fault_suite_after(void **state);
#define FAULT_TEST(name) cmocka_unit_test_teardown(name, fault_suite_after)

/* Runs, and is ready within so many milliseconds. */
void fault_suite_run(int timeout_ms);

/* Stops it and judges what it leaves. acks may be NULL. */
void fault_suite_judge(const char *acks);

/* Issues for person n of a text, with the detail of the answer. deadline_ms: 0 for the
 * client's own. */
enum keyd_status fault_suite_issue(const char *text, unsigned n, uint32_t deadline_ms,
                                   char detail[64]);

#endif
