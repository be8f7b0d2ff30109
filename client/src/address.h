/* Where a server is: from text to sockets. */
#ifndef KEYD_CLIENT_SRC_ADDRESS_H
#define KEYD_CLIENT_SRC_ADDRESS_H

#include <keyd/base/err.h>
#include <keyd_client.h>

struct addrinfo;

/* "unix:PATH": *path points into text. "tls:HOST:PORT", "tls:[IPV6]:PORT": copies in
 * *host and *port, the caller's to free. Those that are not of its kind become NULL.
 * KEYD_USAGE, KEYD_NOMEM. */
enum keyd_status address_parse(const char *text, const char **path, char **host,
                               char **port) KD_MUST_USE;

/* A socket connected to a path, non-blocking unless timeout_ms is above 0: then it may
 * wait that long for a place in the server's backlog.
 *   KEYD_BUSY  the backlog is full     KEYD_DENIED       not for this user
 *   KEYD_NOMEM, KEYD_USAGE             KEYD_UNAVAILABLE  nobody listens */
enum keyd_status address_open_unix(const char *path, int timeout_ms,
                                   int *out) KD_MUST_USE;

/* A socket that is being connected. The same errors. */
enum keyd_status address_open_tcp(const struct addrinfo *to, int *out) KD_MUST_USE;

/* What became of it, once it is writable. */
enum keyd_status address_connected(int sock) KD_MUST_USE;

/* Looks a name up in a thread of its own. */
struct naming;

/* *fd is readable when it is done; it is the caller's to close. NULL without memory. */
struct naming *naming_new(const char *host, const char *port, int *fd);

/* Frees; the thread, if still at work, goes on for itself. The result, once there is
 * one, becomes the caller's (freeaddrinfo); NULL: there is no such name. */
struct addrinfo *naming_end(struct naming *n);

/* An address in digits, without a look-up; NULL if it is not one. */
struct addrinfo *naming_of_digits(const char *host, const char *port);

#endif
