/* Rows of the .def tables, for the token library itself. */
#ifndef KEYD_TOKEN_TABLES_H
#define KEYD_TOKEN_TABLES_H

#include <keyd/token/token.h>

struct kd_alg_row {
    enum kd_key_alg alg;
    const char *name;
    size_t public_min;
    size_t public_max;
    size_t secret_size;
    size_t sig_size; /* 0: does not sign */
    bool soft;
};

struct kd_role_row {
    enum kd_key_role role;
    const char *name;
    const char *text;
    unsigned algs;
    uint8_t allowed;
    uint8_t needed;
    bool domain;
};

struct kd_state_row {
    enum kd_key_state state;
    const char *name;
    bool signs;
    bool agrees;
    bool probed;
    bool has_secret;
    unsigned next; /* KD_STATE_BIT */
};

struct kd_purpose_row {
    const char *name;
    struct kd_slice start;
    size_t next_at;
    struct kd_slice next; /* one of these; empty: any */
    size_t min;
    size_t max;
    bool always;
};

/* NULL for a number that is not in the table; unsigned, since numbers come from
 * stores. */
const struct kd_alg_row *kd_alg_row(unsigned alg);
const struct kd_role_row *kd_role_row(unsigned role);
const struct kd_state_row *kd_state_row(unsigned state);
const struct kd_purpose_row *kd_purpose_row(unsigned purpose);

/* kd_purpose_fits for a message of size octets of which only the first are at hand:
 * all, or KD_PURPOSE_HEAD. */
enum { KD_PURPOSE_HEAD = 80 };
kd_err kd_purpose_begins(enum kd_sign_purpose purpose, struct kd_slice head,
                         uint64_t size) KD_MUST_USE;

#endif
