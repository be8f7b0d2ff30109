/* Signatures of the organization over octets of an object, some of which are not in it
 * yet. */
#ifndef KEYD_MAIL_SIGN_H
#define KEYD_MAIL_SIGN_H

#include <keyd/mail/mail.h>

/* 64 octets that stand at at in place of the object's. */
struct sign_patch {
    uint64_t at;
    const uint8_t *octets;
};

struct sign_what {
    const struct dime_source *source;
    uint64_t begin, end;
    const struct sign_patch *patches; /* ascending, within begin to end */
    size_t n_patches;
};

/* Signs, and hashes the same octets. The errors of the token, but KD_FAILED for octets
 * that it takes for another purpose's; KD_NOMEM, KD_IO. */
kd_err sign_octets(const struct mail_keys *k, enum kd_sign_purpose purpose,
                   const struct sign_what *what, uint8_t sig[DIME_SIG_SIZE],
                   uint8_t digest[MAIL_SHA256_SIZE]) KD_MUST_USE;

#endif
