/* What the supervisor gives the gate of the remote listener (tls_conf.h), made ready
 * for use: a context for new connections, and the rules that tell whose certificate one
 * is. A reload makes a new one; connections that are there keep the old context. */
#ifndef KEYD_GATE_MATERIAL_H
#define KEYD_GATE_MATERIAL_H

#include "cert.h"

#include <keyd/base/buf.h>
#include <openssl/ssl.h>

struct material {
    uint32_t serial; /* of the message it came in */
    SSL_CTX *ctx;
    struct cert_rules rules;
    struct kd_tls_conf conf; /* borrows from octets; its key has been wiped */
    struct kd_buf octets;
};

/* From a sealed memfd, which stays the caller's. verify is what OpenSSL asks of each
 * client's certificates. KD_NOMEM, KD_MALFORMED, KD_INVALID if certificate or key is
 * not to be used. */
kd_err material_new(int fd, uint32_t serial,
                    int (*verify)(X509_STORE_CTX *ctx, void *arg),
                    struct material **out) KD_MUST_USE;

void material_free(struct material *m); /* accepts NULL */

#endif
