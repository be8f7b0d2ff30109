/* A TLS server for tests of clients: one connection at a time whose plain octets come
 * out of a socket. */
#ifndef KEYD_TESTS_TLS_SERVER_H
#define KEYD_TESTS_TLS_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum tls_manner {
    TLS_MANNER_GOOD,
    TLS_MANNER_OLD,     /* TLS 1.2 at most */
    TLS_MANNER_GARBAGE, /* answers with something else */
    TLS_MANNER_HANGUP,  /* closes at once */
    TLS_MANNER_SILENT,  /* says nothing */
};

struct tls_server {
    int listener, port;
    enum tls_manner manner;
    const char *dir, *own, *ca; /* base names of its own files and its clients' CA */
    int inner;                  /* plain octets of the connection; the test's end */
    bool stop;
    bool was_resumed; /* of the last handshake that ended well */
    unsigned n_shaken;
    pthread_t thread;
    pthread_mutex_t lock;
};

/* Listens on a port of 127.0.0.1 and takes one connection after another in a thread. */
void tls_server_start(struct tls_server *p);

/* The next connection that shook hands: a new socket, the caller's; -1 if none came
 * within wait_ms. */
int tls_server_take(struct tls_server *p, int wait_ms);
void tls_server_stop(struct tls_server *p);

#endif
