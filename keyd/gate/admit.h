/* Who may begin a TLS handshake: so many unfinished and so many a second of one source,
 * and a second of all strangers together. A source is an IPv4 address or an IPv6 /64;
 * one that has shown a good certificate lately is no stranger, so that a flood of
 * others does not keep it out. A function of addresses and time. */
#ifndef KEYD_GATE_ADMIT_H
#define KEYD_GATE_ADMIT_H

#include <keyd/conf/role_conf.h>

#include <sys/socket.h>

enum {
    ADMIT_SOURCES = 512,        /* remembered; the one unused the longest goes first */
    ADMIT_SOURCE_PART = 8,      /* of max-handshakes, for one source */
    ADMIT_BURST = 2,            /* seconds' worth at once */
    ADMIT_KNOWN_MS = 600 * 1000 /* a good certificate is remembered */
};

enum admit_verdict {
    ADMIT_OK,
    ADMIT_TOO_MANY,   /* unfinished ones of that source */
    ADMIT_TOO_OFTEN,  /* by that source */
    ADMIT_STRANGERS,  /* by all strangers */
    ADMIT_UNREADABLE, /* no address of IP */
};

/* Tokens in thousandths. */
struct bucket {
    int64_t tokens;
    int64_t at; /* CLOCK_MONOTONIC, ms */
};

struct source {
    uint8_t key[9]; /* family, prefix */
    bool is_used;
    uint32_t n_unfinished;
    struct bucket bucket;
    int64_t known_until; /* CLOCK_MONOTONIC, ms; 0: a stranger */
};

struct admit {
    uint32_t rate, rate_strangers, most_unfinished;
    struct bucket strangers;
    struct source list[ADMIT_SOURCES];
};

void admit_setup(struct admit *a, const struct kd_limits *limits, int64_t now);

/* Other limits from now on. */
void admit_limits(struct admit *a, const struct kd_limits *limits);

/* ADMIT_OK counts one more unfinished handshake of *source, until admit_end. */
enum admit_verdict admit_ask(struct admit *a, const struct sockaddr *from, int64_t now,
                             struct source **source);
void admit_end(struct source *source, bool is_good, int64_t now);

#endif
