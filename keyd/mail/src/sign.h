/* Signatures of the organization over octets of an object. */
#ifndef KEYD_MAIL_SIGN_H
#define KEYD_MAIL_SIGN_H

#include <keyd/mail/mail.h>

/* One of them: over the octets up to end, with SHA-256 of these. What becomes of it,
 * its payload, stands at `at`, behind its own end, in place of the object's 64 octets:
 * those after it cover it there. */
struct sign_one {
    uint64_t end, at;
    uint8_t *payload; /* of 64 octets */
    uint8_t *digest;  /* of MAIL_SHA256_SIZE */
};

struct sign_what {
    enum kd_sign_purpose purpose;
    const struct dime_source *source;
    uint64_t begin;              /* of all */
    const struct sign_one *ones; /* by ascending ends; the last one's place is its own
                                  * affair, those of the others lie in ascending order
                                  * between the ends of the last two */
    unsigned n;                  /* at most KD_SIGN_AT_ONCE */

    /* Makes a payload of a signature; NULL: it is the signature. */
    kd_err (*seal)(void *ctx, unsigned which, const uint8_t sig[DIME_SIG_SIZE],
                   uint8_t payload[DIME_SIG_SIZE]);
    void *ctx;
};

/* Objects in memory are signed one by one, which is quickest for small ones; in files
 * in pieces and all together. The errors of the token, but KD_FAILED for octets that it
 * takes for another purpose's; KD_NOMEM, KD_IO, seal's. Payloads and digests are
 * scratch then. */
kd_err sign_octets(const struct mail_keys *k, const struct sign_what *what) KD_MUST_USE;

#endif
