/* A steady load: so many requests a second, begun by the clock and not by the answers,
 * through libkeyd's endpoints and with nothing done for them here. What fails fails for
 * a mail server too. */
#ifndef KEYD_TESTS_LOAD_RATE_H
#define KEYD_TESTS_LOAD_RATE_H

#include <keyd_client.h>
#include <signal.h>
#include <stdio.h>

enum { LOAD_RATE_STATUSES = 128 };

struct load_rate_options {
    const char *endpoints; /* a list, as keyd_client_add_endpoints takes it */
    const struct keyd_tls *tls;
    const char *domain;
    const char *seed;    /* a-z and 0-9: users are seed-number@domain */
    unsigned rate;       /* a second */
    unsigned issue;      /* of a hundred, how many are issuances; the others look up */
    bool look_up_issued; /* what was issued before, not the domain (one daemon only) */
    unsigned deadline_ms;
    double seconds;
    FILE *acks; /* NULL, or gets "address sha256-of-signet endpoint" for each issued */
    volatile sig_atomic_t *stop; /* NULL, or ends the run when not 0 */
};

/* Of one kind of request; times are from when it was due to its answer. */
struct load_rate_kind {
    uint64_t n_ok, n_failed, n_repeated, n_wrong; /* repeated: sent more than once */
    uint32_t p50_us, p90_us, p99_us, p999_us, max_us;
};

struct load_rate_result {
    struct load_rate_kind look_ups, issues;
    uint64_t failed[LOAD_RATE_STATUSES]; /* by status */
    uint64_t n_lost;                     /* connections */
    double seconds;
    uint32_t longest_gap_ms; /* between two good answers */
};

/* 0, or -1 when it could not begin (reported on stderr). */
int load_rate_run(const struct load_rate_options *options,
                  struct load_rate_result *result);

#endif
