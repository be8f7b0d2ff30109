/* One suite for every backend of keyd/token/token.h. */
#ifndef KEYD_TESTS_TOKEN_SUITE_H
#define KEYD_TESTS_TOKEN_SUITE_H

#include <keyd/token/token.h>

struct token_backend {
    const char *name;

    /* A token holding exactly these new keys, all active, in this order; freed with
     * kd_token_free by the suite. */
    struct kd_token *(*make)(const struct kd_key_spec *specs, size_t n);
};

/* Runs the suite; the number of failed tests. kd_secret_setup has been called. */
int token_suite_run(const struct token_backend *backend);

/* The part of it that is about signing in pieces (token_stream_suite.c). */
int token_stream_suite_run(const struct token_backend *backend);

/* The key at a position, or a failed test. */
struct kd_key_info token_key_at(struct kd_token *t, size_t at);

/* A message that fits the purpose; octets is static. */
struct kd_slice token_message_for(enum kd_sign_purpose purpose);

#endif
