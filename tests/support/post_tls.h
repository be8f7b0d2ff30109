/* Organizations whose daemons are asked over TLS, by libkeyd. */
#ifndef KEYD_TESTS_POST_TLS_H
#define KEYD_TESTS_POST_TLS_H

#include "post.h"
#include "tls_peer.h"

/* A client of the listener with which the daemon was started (its `top`), as mx1. */
keyd_client *post_tls_connect(const struct post *p, const struct tls_place *place);

#endif
