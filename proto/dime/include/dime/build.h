/* Making signets, signing requests and splits. What is made here parses here: every
 * builder reads its own result back before it returns it. */
#ifndef DIME_BUILD_H
#define DIME_BUILD_H

#include <dime/signet.h>
#include <keyd/base/buf.h>

/* Makes an Ed25519 signature over the message. Who holds the key also verifies the
 * signature before it is released. */
struct dime_signer {
    kd_err (*sign)(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE]);
    void *ctx;
};

/* The builders append one object to out, whose limit must have room for it. On failure
 * out holds what it held before, and *why says what is wrong; DIME_NOT_MADE goes with
 * the error of the signer or of out. What a plan borrows must not lie in out, and a
 * signer must leave out alone. */

struct dime_org_plan {
    enum dime_layout
        layout;             /* L, or S33 with its two-octet identifier length (D-030) */
    const uint8_t *pok;     /* 32 octets */
    const uint8_t *enc_key; /* 33 octets */
    const struct dime_sok *soks; /* key and perms; emitted in this order */
    size_t n_soks;
    struct kd_slice info;       /* fields 16 to 252, filtered by dime_info_filter */
    struct kd_slice identifier; /* a domain */
};

/* Signs fields 4, 253 and 255 with the POK. */
kd_err dime_org_build(const struct dime_org_plan *plan, struct dime_signer pok,
                      struct kd_buf *out, enum dime_reason *why) KD_MUST_USE;

struct dime_user_plan {
    const struct dime_signet *ssr; /* verified; what the user signed is kept as it is */
    struct kd_slice info;          /* fields 16 to 252, filtered by dime_info_filter */
    struct kd_slice identifier;    /* an address */
};

/* To sign a user signet anew after a change of organizational keys (D-073), ssr is that
 * signet, info its dime_signet_info, and identifier its own. */

/* Signs fields 6, 253 and 255 with the POK or a SOK with DIME_PERM_USERS. */
kd_err dime_user_build(const struct dime_user_plan *plan, struct dime_signer org,
                       struct kd_buf *out, enum dime_reason *why) KD_MUST_USE;

struct dime_ssr_plan {
    enum dime_layout layout; /* L or S33 */
    const uint8_t *sign_key; /* 32 octets, the new key */
    const uint8_t *enc_key;  /* 33 octets */
    const struct dime_signer
        *custody; /* by the previous signing key; NULL for a root */
};

/* Signs field 4 (if custody is given) and field 5. */
kd_err dime_ssr_build(const struct dime_ssr_plan *plan, struct dime_signer own,
                      struct kd_buf *out, enum dime_reason *why) KD_MUST_USE;

/* Cuts the signet behind a part and writes a new header (SG-148, SG-149). KD_NOT_FOUND
 * if the signet does not reach that far, or what is left would bear no signature. */
kd_err dime_split(const struct dime_signet *s, enum dime_part part,
                  struct kd_buf *out) KD_MUST_USE;

#endif
