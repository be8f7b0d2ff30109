/* Asking a daemon within a test: the calls of libkeyd with assertions about how they
 * end. Failures are the test's failures. */
#ifndef KEYD_TESTS_ASK_H
#define KEYD_TESTS_ASK_H

#include "daemon.h"

#include <dime/dkey_write.h>

/* The answer, whatever its status; never NULL. The caller frees it. */
struct keyd_answer *ask(keyd_client *c, const struct keyd_request *q);

/* IssueUserSignet. profile may be NULL; image is empty for none. */
struct ask_issue {
    const char *address;
    struct kd_slice ssr;
    enum keyd_account_mode mode; /* 0: trustful */
    const struct keyd_profile_field *profile;
    size_t n_profile;
    struct kd_slice image;
    const uint8_t *key; /* idempotency key, or NULL */
    uint32_t deadline_ms;
};
struct keyd_answer *ask_issue(keyd_client *c, const struct ask_issue *in);

/* The same for a request without anything else. */
struct keyd_answer *ask_plain(keyd_client *c, const char *address, struct kd_slice ssr);

/* Asserts status and detail (NULL: any) and frees the answer. */
void ask_ends(struct keyd_answer *a, enum keyd_status status, const char *detail);

/* Asserts that the request ends like that. */
void ask_issue_ends(keyd_client *c, const char *address, struct kd_slice ssr,
                    enum keyd_status status, const char *detail);

/* Connects or fails the test. */
keyd_client *ask_connect(const struct daemon *d, const char *class);

static inline struct kd_slice
ask_slice(struct keyd_octets o)
{
    return kd_slice(o.p, o.n);
}

/* A counter of Status. */
uint64_t ask_counter(const struct daemon *d, const char *name);

/* What has the form of a certificate and says nothing; its size. */
size_t ask_certificate(uint8_t out[256]);

/* A libdime key file of these secrets (32 octets each); its size. Needs
 * kd_secret_setup. */
size_t ask_key_file(enum dime_dkey_kind kind, const uint8_t *seed,
                    const uint8_t *scalar, char out[DIME_DKEY_TEXT_MAX]);

/* ImportKey of a libdime key file of these secrets (32 octets each). Needs
 * kd_secret_setup. */
void ask_import(const struct daemon *d, const char *domain, const uint8_t *seed,
                const uint8_t *scalar, enum keyd_key_role role, uint32_t permissions,
                bool encryption, uint8_t sign_id[16], uint8_t enc_id[16]);

#endif
