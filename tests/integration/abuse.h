/* Ways to abuse a listener (abuse_ways.c), and how its connections are made
 * (abuse_unix.c, abuse_tls.c): a new transport is one more row of abuse_transports[].
 */
#ifndef KEYD_TESTS_ABUSE_H
#define KEYD_TESTS_ABUSE_H

#include "tls_peer.h"

#include <stdatomic.h>

struct link {
    int fd;         /* -1: closed */
    size_t number;  /* of the abuser's links */
    uint64_t at_ms; /* when something was last done with it */
    bool is_up;     /* connected, hands shaken: can send */
    size_t n_sent;  /* octets, of an opening that is sent slowly */
    SSL *ssl;
};

struct transport {
    const char *name;
    unsigned bit;    /* of way.on */
    size_t most;     /* links at once */
    size_t most_new; /* of them those that are not up yet; 0: all */
    bool is_far;     /* its clients are other machines */
    /* Connects without waiting for an answer; false: not now. */
    bool (*open)(struct link *l);
    int (*go_on)(struct link *l); /* 1: it is up, 0: not yet, -1: refused */
    ssize_t (*send)(struct link *l, const void *p, size_t n); /* as send(2) */
    ssize_t (*recv)(struct link *l, void *p, size_t n);
    void (*half_close)(struct link *l);
    void (*close)(struct link *l);
};

enum {
    ON_UNIX = 1,
    ON_TLS = 2,
    ON_TCP = 4,   /* to the listener that wants TLS, without it */
    ON_STEPS = 8, /* handshakes that stop somewhere on the way (abuse_tls.c) */
};

extern const struct transport unix_transport, tls_transport, tcp_transport,
    steps_transport;

/* Before any link. They live on. */
void unix_abuse_setup(const struct daemon *d);
void tls_abuse_setup(const struct tls_place *place, const struct identity *abuser);
void tls_abuse_clear(void);

struct abuser {
    const struct transport *t;
    struct link *links;
    size_t n;
    size_t n_made;
};

/* Links: the most that were open and up at once, and how many were made. */
struct abuse_count {
    atomic_size_t open, up, made;
};

struct way {
    const char *name;
    unsigned on;
    size_t most; /* links; 0: as many as the transport has */
    void (*turn)(struct abuser *a);
};

/* The way of that name; fails the test if there is none. */
const struct way *way_find(const char *name);
void ways_setup(void);
void ways_clear(void);

/* In a process of its own, whose parent is given: abuses until it is killed. count is
 * shared with the parent. */
_Noreturn void be_abuser(const struct way *w, const struct transport *t, pid_t parent,
                         struct abuse_count *count);

#endif
