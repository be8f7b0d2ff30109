/* TLS 1.3 as a stream of octets on a connected, non-blocking socket. */
#ifndef KEYD_CLIENT_SRC_TLS_H
#define KEYD_CLIENT_SRC_TLS_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>
#include <keyd_client.h>

/* What a connection is made with, as read from the files. */
struct tls_setup;
struct tls_session;

/* host: of the address, for the name to check. *why: a static word, on failure.
 * KEYD_USAGE, KEYD_DENIED, KEYD_NOMEM as keyd_client_add_endpoint. */
enum keyd_status tls_setup_new(const struct keyd_tls *tls, const char *host,
                               struct tls_setup **out, const char **why) KD_MUST_USE;

/* Reads the files again; on failure all is as before. */
enum keyd_status tls_setup_reload(struct tls_setup *s, const char **why) KD_MUST_USE;
void tls_setup_free(struct tls_setup *s);

/* NULL without memory. The socket stays the caller's. */
struct tls_session *tls_new(const struct tls_setup *s, int sock);

/* Says goodbye if it can without waiting, and frees. */
void tls_free(struct tls_session *t);

/* Each of the three:
 *   KD_OK           it went on; recv and send: at least one octet, recv all that was
 *                   read from the socket, as far as there is room
 *   KD_UNAVAILABLE  the socket must be readable or writable first (tls_wants_write)
 *   KD_CLOSED       the peer is gone
 *   KD_DENIED       certificates: the peer refused ours, or its own is not the right
 *                   one; tls_why
 *   KD_IO           else; tls_why */
kd_err tls_shake(struct tls_session *t) KD_MUST_USE;
kd_err tls_recv(struct tls_session *t, uint8_t *to, size_t max, size_t *n) KD_MUST_USE;
kd_err tls_send(struct tls_session *t, struct kd_slice octets, size_t *n) KD_MUST_USE;

/* Octets, or the end, wait here where no poll of the socket tells of them. */
bool tls_has_more(const struct tls_session *t);

bool tls_wants_write(const struct tls_session *t);

/* A static word; "" if nothing is known. */
const char *tls_why(const struct tls_session *t);

#endif
