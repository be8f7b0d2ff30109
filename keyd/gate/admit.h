/* Who may begin a TLS handshake: so many unfinished and so many a second of one source,
 * and a second of all strangers together. A source is an IPv4 address or an IPv6 /64;
 * one that has shown a good certificate lately is no stranger, so that a flood of
 * others does not keep it out. It belongs to the party of the principal that the
 * certificate named: with many addresses one is still one party, and parties share what
 * there is (shake.c). A function of addresses and time. */
#ifndef KEYD_GATE_ADMIT_H
#define KEYD_GATE_ADMIT_H

#include <keyd/conf/role_conf.h>

#include <sys/socket.h>

enum {
    ADMIT_SOURCES = 512,         /* remembered; goes_before() says which goes first */
    ADMIT_SOURCE_PART = 8,       /* of max-handshakes, for one source */
    ADMIT_BURST = 2,             /* seconds' worth at once */
    ADMIT_KNOWN_MS = 600 * 1000, /* a good certificate is remembered */
    ADMIT_STRANGERS_PARTY = 0,
    ADMIT_PARTIES = 1 + KD_POLICY_ROWS_MAX
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
    uint16_t party;      /* until then; counted in the party's n_sources */
};

/* A principal, while the list has sources of it. */
struct party {
    uint8_t name[KD_POLICY_NAME_MAX];
    size_t name_size;
    uint32_t n_sources;
};

struct admit {
    uint32_t rate, rate_strangers, most_unfinished;
    struct bucket strangers;
    struct source list[ADMIT_SOURCES];
    struct party parties[ADMIT_PARTIES]; /* the first is unused */
};

void admit_setup(struct admit *a, const struct kd_limits *limits, int64_t now);

/* Other limits from now on. */
void admit_limits(struct admit *a, const struct kd_limits *limits);

/* ADMIT_OK counts one more unfinished handshake of *source, until admit_end. name: the
 * principal of the certificate that was good, or empty. */
enum admit_verdict admit_ask(struct admit *a, const struct sockaddr *from, int64_t now,
                             struct source **source);
void admit_end(struct admit *a, struct source *source, struct kd_slice name,
               int64_t now);

/* Below ADMIT_PARTIES. */
unsigned admit_party(const struct source *source, int64_t now);

#endif
