/* What an authority says of certificates, made for tests, and a server that says it by
 * HTTP, or says something else. What cannot be made ends the test program. */
#ifndef KEYD_TESTS_AUTHORITY_H
#define KEYD_TESTS_AUTHORITY_H

#include "certs.h"

#include <keyd/base/buf.h>

/* A response of OCSP about cert; status: V_OCSP_CERTSTATUS_...; from and to in seconds
 * from now. signer may be the issuer. */
struct ocsp_spec {
    const struct identity *cert, *issuer, *signer;
    int status;
    long from, to;
    bool uses_sha256;
};
void ocsp_make(struct kd_buf *out, const struct ocsp_spec *spec);

/* A list of what issuer revoked: cert, or nothing if that is NULL. */
void crl_make(struct kd_buf *out, const struct identity *issuer,
              const struct identity *signer, const struct identity *cert, long to);

enum authority_manner {
    AUTHORITY_ANSWERS,
    AUTHORITY_IS_SILENT,
    AUTHORITY_HANGS_UP,
    AUTHORITY_NEVER_ENDS, /* an object of 1 GiB */
    AUTHORITY_IS_WRONG    /* 404 */
};

struct authority;
/* On a port of 127.0.0.1. body is copied when it is set; each request gets it. */
struct authority *authority_start(void);
void authority_say(struct authority *a, enum authority_manner manner, const char *type,
                   struct kd_slice body);
uint16_t authority_port(const struct authority *a);
unsigned authority_asked(struct authority *a);
void authority_stop(struct authority *a);

#endif
