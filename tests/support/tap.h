/* Stands between a client and its daemon, passes on what both say and keeps it, with
 * what lies in the descriptors they send, for tests of who gets to know what. */
#ifndef KEYD_TESTS_TAP_H
#define KEYD_TESTS_TAP_H

#include "daemon.h"

#include <keyd/base/buf.h>

#include <pthread.h>

struct tap {
    pthread_t thread;
    int listener, stop[2];
    char path[108], to[108];
    struct kd_buf heard[2]; /* of the client; of the daemon */
};

/* A client of that class whose every octet is kept. Failures are the test's. */
keyd_client *tap_start(struct tap *t, const struct daemon *d, const char *class);

/* Once the client has got its answers. */
bool tap_has(const struct tap *t, const void *what, size_t n);

/* Whether a file below the directory has it. */
bool tap_tree_has(const char *directory, const void *what, size_t n);

void tap_end(struct tap *t);

#endif
