/* TLS handshakes that are not finished: bounded in number, time and rate (admit.h), and
 * done a few steps a turn, after the connections have been served. One that ends well
 * becomes a connection of the principal its certificate names (cert.h); every other
 * ends, and its client is told nothing but that. */
#ifndef KEYD_GATE_SHAKE_H
#define KEYD_GATE_SHAKE_H

#include "gate.h"
#include "material.h"

#include <sys/socket.h>

/* What a finished handshake hands over. */
struct shaken {
    SSL *ssl;             /* taken */
    int fd;               /* taken */
    struct kd_slice name; /* the principal's */
    int64_t good_until;   /* its certificate, seconds since 1970 */
    uint32_t serial;      /* of the rules by which */
};

/* Called once; done is called in shakes_turn. */
void shakes_setup(struct gate *g, void (*done)(struct gate *g, struct shaken *s));

/* A handshake on fd begins, with that context; takes fd. */
void shake_begin(struct gate *g, const struct material *m, int fd,
                 const struct sockaddr *from);

/* What OpenSSL asks of a client's certificates (material_new). The rules are those of
 * the newest material, also for handshakes that began before it came. */
int shake_verify(X509_STORE_CTX *ctx, void *arg);
void shakes_rules(struct gate *g, const struct material *newest);

/* Some steps of those that can go on; true if there are more. */
bool shakes_turn(struct gate *g);

/* Ends those that took too long. */
void shakes_tick(struct gate *g, int64_t now);

#endif
