/* A TLS server for tests of clients: certificates made on the spot, and one connection
 * at a time whose plain octets come out of a socket. */
#ifndef KEYD_TESTS_TLS_SERVER_H
#define KEYD_TESTS_TLS_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Who signs what, and what it says. */
struct tls_person {
    const char *san;     /* "DNS:x", "IP:127.0.0.1"; NULL: none */
    const char *purpose; /* extended key usage, "serverAuth"; NULL: none */
    const char *ca;      /* base name of the signer's files; NULL: itself */
    bool is_ca;
    int from_days, to_days; /* from now */
};

/* Writes dir/name.pem and dir/name.key (Ed25519). pin, unless NULL: SHA-256 of the
 * SubjectPublicKeyInfo. */
void tls_person_make(const char *dir, const char *name, const struct tls_person *p,
                     uint8_t pin[32]);

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
