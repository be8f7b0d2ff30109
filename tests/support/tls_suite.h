/* One daemon with a remote listener for all tests of a program, and what many of them
 * do to it. Failures are the test's failures. */
#ifndef KEYD_TESTS_TLS_SUITE_H
#define KEYD_TESTS_TLS_SUITE_H

#include "suite.h"
#include "test.h"
#include "tls_peer.h"

#include <pthread.h>
#include <stdatomic.h>

extern struct tls_place place;
extern struct daemon keyd;

/* For the group: with keys for example.com, small uploads and short patience. */
int tls_suite_start(void **state);
int tls_suite_end(void **state);

/* Its last test: stops the daemon, of which so many processes were killed on purpose.
 */
void tls_suite_ends_well(unsigned n_killed);

/* --- its log, from the mark on --- */

void mark_log(void);

/* How many lines have the text. */
unsigned logged(const char *text);

/* Waits for one. */
void wait_for_log(const char *text);

/* --- peers --- */

#define MX1 .san = "DNS:mx1.example.com"

/* Octets of the protocol that the connection gets. */
size_t octets_served(struct tls_peer *t);

/* Refused, with that reason in the log, and not one octet of the protocol served. */
void is_refused(const struct identity *id, const struct identity *others,
                const char *reason);

/* One part of an upload as given; the answer is valid until the next call. */
const Keyd__V1__Response *part(struct tls_peer *t, uint8_t name, uint64_t offset,
                               uint32_t total, size_t n);

/* The answer has that status and that detail; printed if not. */
bool has_detail(const Keyd__V1__Response *a, Keyd__V1__Status status,
                const char *detail);
#define IS(a, want, detail)                                                            \
    assert_true(has_detail(a, KEYD__V1__STATUS__STATUS_##want, detail))

/* A client in a thread of its own that connects, asks and goes, again and again. */
struct honest {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint good, bad;
    int64_t slowest;
};

void start_honest(struct honest *h);

/* All it asked was answered. */
void end_honest(struct honest *h);

#endif
