/* A remote listener for a test's daemon, and clients of it that do what they are told:
 * TLS by OpenSSL, frames and messages by kd-rpc, nothing of libkeyd. */
#ifndef KEYD_TESTS_TLS_PEER_H
#define KEYD_TESTS_TLS_PEER_H

#include "certs.h"
#include "daemon.h"

#include <keyd/rpc/rpc_pb.h>
#include <openssl/ssl.h>

/* Files, keys and configuration of the listener. The principals:
 *   mx1   mx1.example.com under the root; look-ups, issuance and messages of the domain
 *   mx2   mx2.example.com with its pin; VerifyCurrent of the domain
 *   mx3   by its pin alone; nothing but what everybody may */
struct tls_place {
    char dir[64];
    char ca[128], cert[128], key[128], denied[128];
    struct identity root, server, mx1, mx2, mx3;
    uint16_t port;
    char top[4096]; /* for daemon_options; more may be put behind it */
};

/* Makes all of it, for example.com or that domain. more: further keys of the file, or
 * NULL. */
void tls_place_make(struct tls_place *p, const char *more);
void tls_place_make_of(struct tls_place *p, const char *more, const char *domain);
void tls_place_clear(struct tls_place *p);

/* A new certificate and key for the listener, or a list of denied keys (text). */
void tls_place_renew(struct tls_place *p);
void tls_place_deny(struct tls_place *p, const char *text);

/* For programs that are clients of it: dir/mx1.pem, mx1.key, ca.pem, and port, a line.
 */
void tls_place_share(const struct tls_place *p, const char *dir);

struct tls_peer {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    struct kd_frame_in in;
    struct kd_frame_out out;
    struct kd_arena arena;
    struct kd_frame_scratch scratch;
    uint64_t id; /* of the last request */
};

/* A connected TCP socket with a time limit of five seconds; from: "127.0.0.2" or NULL.
 * -1 if it was refused. */
int tls_tcp(uint16_t port, const char *from);

/* TCP, and the client's half of the handshake: the server has not looked at the
 * certificate yet. id NULL: shows none. others: sent along, or NULL. False if not even
 * that works. */
bool tls_open_from(struct tls_peer *t, uint16_t port, const char *from,
                   const struct identity *id, const struct identity *others);
bool tls_open(struct tls_peer *t, uint16_t port, const struct identity *id);
void tls_close(struct tls_peer *t);

/* Queues a request under a new id and sends it; false if the connection is gone. */
bool tls_put(struct tls_peer *t, Keyd__V1__Request *r);

/* The next answer, valid until the next call; NULL if the connection has ended. */
const Keyd__V1__Response *tls_receive(struct tls_peer *t);
const Keyd__V1__Response *tls_ask(struct tls_peer *t, Keyd__V1__Request *r);

/* Hello; false if it is not answered. */
bool tls_hello(struct tls_peer *t);

/* Opens and greets; false if either fails. */
bool tls_greet(struct tls_peer *t, uint16_t port, const struct identity *id);

/* Status of a request without anything in it. */
bool tls_status(struct tls_peer *t);

/* An object in parts under that id: the status of the last part's answer. */
Keyd__V1__Status tls_upload(struct tls_peer *t, const uint8_t id[16],
                            struct kd_slice octets);

#endif
