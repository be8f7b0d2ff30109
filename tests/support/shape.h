/* Configurations for a running daemon of a test (daemon.h), one in place of another:
 * who may do what, for which domains. And a client that repeats its request as
 * front-ends are told to, until it is done. */
#ifndef KEYD_TESTS_SHAPE_H
#define KEYD_TESTS_SHAPE_H

#include "daemon.h"

struct shape {
    /* The caller on the submission listener. */
    bool is_gone;    /* there is no such principal, but others of its class */
    bool issue;      /* may issue, for example.com */
    bool lookup;     /* may look up */
    bool net;        /* example.net is served */
    bool not_com;    /* example.com is not */
    unsigned more;   /* other domains before and behind these two in the alphabet */
    const char *top; /* lines before the sections, or NULL */
    const char *sections; /* at the end, or NULL */
};

/* Takes what the daemon was started with as what cannot change. Before the others. */
void shape_init(const struct daemon *d);

/* The text; static storage. */
const char *shape_text(const struct shape *s);

/* Puts the text in the place of the daemon's configuration, at once. */
void shape_write(const struct daemon *d, const char *text);

/* Both, and Reload, which must be good. */
void shape_use(const struct daemon *d, keyd_client *admin, const struct shape *s);

/* Endpoints to ask one after the other. */
struct steady {
    const char *sockets[2];
    size_t n, at;
    keyd_client *c;
    unsigned give_up_ms;
    uint64_t n_retried, n_moved, n_reconnected; /* counted by the two below */
};

/* The status in the end: a retry with the same key follows every status that asks for
 * one, on a new connection or another endpoint where the old one ended or drains. */
enum keyd_status steady_ask(struct steady *s, struct keyd_request *q,
                            struct keyd_answer **answer);
void steady_clear(struct steady *s);

#endif
