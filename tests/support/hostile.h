/* Numbers that tests of hostile neighbours share. */
#ifndef KEYD_TESTS_HOSTILE_H
#define KEYD_TESTS_HOSTILE_H

#include <keyd/job/state.h>
#include <keyd/ops/ops.h>

enum {
    WORKERS = 4, /* role.h: gates of a class */
    ADMIN = KD_CLASS_ADMIN * WORKERS,
    SUBMISSION = KD_CLASS_SUBMISSION * WORKERS,
    MTA = KD_CLASS_MTA * WORKERS,
    REMOTE = KD_CLASS_TLS * WORKERS,
    SOON_MS = 5000,
    SEALED_STATE = KD_SERVICE_SEALED,
    /* Open, but its domains have no organizational signets. */
    OPEN_STATE = KD_SERVICE_DEGRADED,
    FAILED_STATE = KD_SERVICE_FAILED,
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    MOST_KIB = 2 * 1024 * 1024, /* shadow and quarantine count */
#else
    MOST_KIB = 100 * 1024,
#endif
};

#endif
