/* What the maker does: pairs made, taken in, removed. Its session may write. */
#ifndef KEYD_P11_MAKE_H
#define KEYD_P11_MAKE_H

#include "objects.h"

struct pair_wanted {
    enum kd_key_alg alg;
    struct kd_slice id, label;
    uint16_t bits;          /* RSA */
    struct kd_slice secret; /* empty: made inside */
};

/* The pair is there afterwards, or nothing is. Not tried yet. */
enum p11_finding_code pair_make(struct session *s, const struct pair_wanted *w,
                                uint8_t public_key[KD_KEY_PUBLIC_MAX], size_t *n,
                                uint32_t *attributes, struct p11_finding *why);

/* Both halves of the pair with this id, if its public half is this key. */
enum p11_finding_code pair_unmake(struct session *s, struct kd_slice id,
                                  struct kd_slice public_key, struct p11_finding *why);

#endif
