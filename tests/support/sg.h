/* Makes signets octet by octet for tests, right and wrong ones, signed as asked. Knows
 * the formats by itself: nothing here uses the library's builders. */
#ifndef KEYD_TESTS_SG_H
#define KEYD_TESTS_SG_H

#include <dime/signet.h>
#include <dime/verify.h>
#include <keyd/base/buf.h>

/* An Ed25519 key pair of a throw-away seed. */
struct sg_pair {
    uint8_t seed[32];
    uint8_t key[32];
};

/* The people and organizations of the specification's test vectors. */
struct sg_world {
    struct sg_pair pok;       /* example.com */
    struct sg_pair sok;       /* example.com, permissions 3 */
    struct sg_pair alice0;    /* alice@example.com, previous */
    struct sg_pair alice;     /* alice@example.com */
    struct sg_pair other_pok; /* example.org */
    struct sg_pair bob;       /* bob@example.org */
    uint8_t org_enc[33];      /* example.com */
    uint8_t other_enc[33];    /* example.org */
    uint8_t alice0_enc[33];
    uint8_t alice_enc[33];
    uint8_t bob_enc[33];
};
const struct sg_world *sg_world(void);

/* Pairs and points of a seed in hex, or of the SHA-256 of a text. */
struct sg_pair sg_pair_hex(const char *seed);
struct sg_pair sg_pair_text(const char *text);
void sg_enc_text(const char *text, uint8_t out[33]);

/* An object from top to bottom. */
void sg_begin(struct kd_buf *b, uint16_t magic);
void sg_put(struct kd_buf *b, const char *hex); /* spaces allowed */
void sg_len1(struct kd_buf *b, uint8_t type, const char *value);
void sg_len2(struct kd_buf *b, uint8_t type, const char *value);
void sg_undefined(struct kd_buf *b, struct kd_slice name, struct kd_slice value);
void sg_sign_key(struct kd_buf *b, enum dime_layout layout, const uint8_t key[32]);
void sg_sok(struct kd_buf *b, enum dime_layout layout, uint8_t perms,
            const uint8_t key[32]);
void sg_enc_key(struct kd_buf *b, uint8_t type, enum dime_layout layout,
                const uint8_t key[33]);
void sg_sign(struct kd_buf *b, uint8_t type, const struct sg_pair *by);
void sg_identifier(struct kd_buf *b, const char *id, unsigned length_octets);
struct kd_slice sg_end(struct kd_buf *b); /* writes the header's length */

/* sign as the builders call it; ctx is a struct sg_pair. */
kd_err sg_signer(void *ctx, struct kd_slice message, uint8_t sig[64]);

struct sg_sok {
    uint8_t perms;
    const struct sg_pair *pair;
};

/* What is left zero is as in a good signet of example.com with the POK, no SOK. */
struct sg_org {
    enum dime_layout layout;
    const struct sg_sok *soks;
    size_t n_soks;
    bool no_self;          /* without field 4 */
    struct kd_slice extra; /* fields between 4 and 253 */
    const char *identifier;
    unsigned id_octets;
    const struct sg_pair *pok;
    const struct sg_pair *self_by, *full_by, *id_by;
    enum dime_part until; /* DIME_PART_REQUEST: all */
};
struct kd_slice sg_make_org(struct kd_buf *b, const struct sg_org *recipe);

/* What is left zero is as in a good signet of alice@example.com, signed by the SOK. */
struct sg_user {
    enum dime_layout layout;
    bool request; /* an SSR: ends after field 5 */
    const struct sg_pair *pair;
    const uint8_t *enc;
    struct kd_slice before_5; /* raw fields between 2 and 5 */
    const struct sg_pair *custody_by;
    const struct sg_pair *user_by, *org_by, *full_by, *id_by;
    struct kd_slice extra; /* raw fields between 6 and 253 */
    const char *identifier;
    unsigned id_octets;
    enum dime_part until; /* DIME_PART_REQUEST: all */
};
struct kd_slice sg_make_user(struct kd_buf *b, const struct sg_user *recipe);

/* Verdicts in one step. Octets are copied to a block of exactly their size first, so
 * that memory checkers see any step outside. */
enum dime_reason sg_parse_why(struct kd_slice octets);
enum dime_reason sg_org_why(struct kd_slice org, const uint8_t trusted[32]);
enum dime_reason sg_user_why(struct kd_slice user, struct kd_slice org,
                             struct kd_slice prev); /* prev may be empty */
enum dime_reason sg_ssr_why(struct kd_slice ssr, struct kd_slice prev);

/* A file of tests/vectors (name relative to it): .bin as it is, .b64 decoded. Aborts
 * if it cannot be read. free() the octets. */
struct kd_slice sg_file(const char *name);
/* The same for a whole path; empty if the file is not there. */
struct kd_slice sg_file_at(const char *path);
void sg_free(struct kd_slice s);

#endif
