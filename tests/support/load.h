/* Drives a running daemon through libkeyd: many connections, many requests in flight on
 * each. What it sends is made before the clock starts, so that it costs little of the
 * CPUs it shares with what it measures. */
#ifndef KEYD_TESTS_LOAD_H
#define KEYD_TESTS_LOAD_H

#include <keyd_client.h>
#include <signal.h>
#include <stdio.h>

enum load_mix {
    LOAD_ISSUE,  /* a first signet for one new address after another */
    LOAD_ROTATE, /* the same, then steps of its custody chain */
    LOAD_LOOKUP, /* current signet of random addresses of a population */
    LOAD_VERIFY, /* VerifyCurrent of the same */
    LOAD_SIGN,   /* SignOutbound of a population of messages (letter.h); lazy: of one
                    new message after another */
    LOAD_OPEN,   /* OpenEnvelope of the same */
    LOAD_LEARN   /* for load_run: the population is there, what is it? */
};

struct load_options {
    const char *socket;
    const char *endpoint; /* instead: each connection a client with this one endpoint */
    const struct keyd_tls *tls; /* for an endpoint that begins with tls: */
    const char *domain;
    const char *seed; /* a-z and 0-9: users are seed-number@domain */
    enum load_mix mix;
    unsigned connections, in_flight;
    unsigned steps;      /* of a chain, root included (rotate) */
    unsigned population; /* addresses to look up */
    bool known;          /* they have signets already, whoever made them */
    bool say_begin;      /* "begin" on stderr when the clock starts */
    double seconds;      /* 0: until count is done */
    uint64_t count;      /* requests; 0: until seconds are over */
    uint64_t prepare;    /* requests made beforehand; 0: chosen */
    bool lazy;           /* make more when those are used up */
    unsigned rate;       /* requests started a second, at most; 0: as they come */
    unsigned give_up;    /* seconds a request is tried again for */
    unsigned content;    /* octets of text in a message */
    FILE *acks;          /* NULL, or gets "address sha256-of-signet" for each issued, "!
                            digest" for each message */
    volatile sig_atomic_t *stop; /* NULL, or ends the run when not 0 */
};

enum { LOAD_STATUSES = 128 };

struct load_result {
    uint64_t n_ok, n_replayed, n_retried, n_reconnected, n_wrong;
    uint64_t failed[LOAD_STATUSES];  /* final answers by status */
    uint64_t retried[LOAD_STATUSES]; /* answers that were asked again */
    uint64_t n_gave_up;
    double seconds;
    double cpu_seconds; /* of this process, user and system */
    uint32_t p50_us, p99_us, max_us;
    bool ran_out; /* of what was prepared, before the time was over */
};

/* 0, or -1 when it could not begin (reported on stderr). */
int load_run(const struct load_options *options, struct load_result *result);

#endif
