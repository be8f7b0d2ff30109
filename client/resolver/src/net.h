/* A connection whose every wait has an end, as a BIO: reading and writing block until
 * the deadline that is set at that moment, and never raise SIGPIPE. */
#ifndef DIME_RESOLVER_NET_H
#define DIME_RESOLVER_NET_H

#include <keyd/base/err.h>

#include <openssl/bio.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct net {
    int sock;
    int64_t deadline; /* kd_clock_ms() */
    bool was_late;    /* a wait reached the deadline */
};

/* Connects, within the deadline: KD_OK with n->sock; KD_TIMEOUT; KD_UNAVAILABLE with
 * the cause in errno. The port is set in a copy. n is initialised in any case. */
kd_err net_connect(struct net *n, const struct sockaddr_storage *address, uint16_t port,
                   int64_t deadline) KD_MUST_USE;
void net_close(struct net *n);

/* n stays the caller's, and must live as long. NULL without memory. */
BIO *net_bio(struct net *n);

/* Octets without TLS. KD_OK; KD_TIMEOUT, KD_CLOSED. Read: *got octets, at least 1. */
kd_err net_write(struct net *n, const void *p, size_t size) KD_MUST_USE;
kd_err net_read(struct net *n, void *p, size_t size, size_t *got) KD_MUST_USE;

/* Whether octets, or the end, are there to be read by then. */
bool net_can_read(struct net *n, int64_t by);

/* Numeric, "192.0.2.1" or "2001:db8::1". */
enum { NET_TEXT_MAX = 64 };
void net_text(const struct sockaddr_storage *address, char out[NET_TEXT_MAX]);

#endif
