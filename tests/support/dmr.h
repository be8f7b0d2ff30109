/* Opens a D/MIME message in one of its roles with all that role can check, the way a
 * program would, and keeps what came of it. */
#ifndef KEYD_TESTS_DMR_H
#define KEYD_TESTS_DMR_H

#include <dime/message_verify.h>
#include <dime/span.h>

enum { DMR_PARTS_MAX = 512 };

struct dmr_part {
    struct dime_span span;
    struct kd_buf data; /* empty unless good */
};

/* Whose keys are believed. */
struct dmr_keys {
    uint8_t author[32];
    uint8_t org[8][32];
    size_t n_org;
};

struct dmr {
    kd_err parsed;
    enum dime_flaw flaw;
    struct dime_message m;
    enum dime_actor actor;
    struct dime_kek *kek;
    /* By type of 4, 5, 33, 34 and the signatures: KD_OK, KD_INVALID, KD_DENIED,
     * KD_NOT_FOUND if absent. */
    kd_err opened[256];
    struct kd_buf text[256];
    uint8_t sig[256][64];
    struct dime_verdicts verdicts;
    kd_err walked; /* over the parts */
    struct dmr_part parts[DMR_PARTS_MAX];
    size_t n_parts, n_good, n_corrupt;
    bool rejects; /* DM-33 */
};

/* Needs kd_secret_setup. Large: not for the stack. limit 0: the usual one. */
void dmr_open(const struct dime_source *source, uint64_t limit, enum dime_actor actor,
              const uint8_t scalar[32], const struct dmr_keys *keys, struct dmr *out);

/* Whether that role takes the message (D-118, D-125): a corrupt part is no reason, and
 * who has not signed yet does not ask for signatures of the organization. */
bool dmr_accepts(const struct dmr *r);

void dmr_free(struct dmr *r);

#endif
