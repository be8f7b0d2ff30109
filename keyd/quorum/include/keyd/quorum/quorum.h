/* Who approves what: the key store's authenticated policy area (soft_store.h).
 *
 * LAYOUT (integers big endian, sizes in octets; nothing between, nothing after). No
 * operators: no octets at all. Otherwise
 *
 *    1  version, 1
 *    1  k, approvals that a marked operation takes: 2..n - 1, since who asks does not
 *       count: with k = n nothing could ever be approved, this area included
 *    8  marks: operations that take a quorum, a mask by number (ops.def); each can take
 *       one (KD_OPF_QUORUM), and SetQuorum always does
 *    1  n, operators: 3..16
 *    .  each operator, in strictly ascending order of names
 *         1  size of the name, 1..32
 *         .  name: that of a principal of the policy, who is this operator
 *        32  Ed25519 public key, of prime order, no two alike
 *
 * One run of octets for one meaning; what is not written so is refused. A bit of an
 * operation that this program does not know is refused as well: it may stand for
 * something that must not be done alone. */
#ifndef KEYD_QUORUM_QUORUM_H
#define KEYD_QUORUM_QUORUM_H

#include <keyd/base/buf.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum {
    KD_OPERATORS_MAX = 16,
    KD_OPERATOR_NAME_MAX = 32, /* KD_POLICY_NAME_MAX */
    KD_OPERATOR_KEY_SIZE = 32,
    KD_QUORUM_MIN = 2,
    KD_OPERATORS_MIN = KD_QUORUM_MIN + 1,
    KD_QUORUM_AREA_MAX =
        11 + KD_OPERATORS_MAX * (1 + KD_OPERATOR_NAME_MAX + KD_OPERATOR_KEY_SIZE),
    KD_QUORUM_DIGEST_SIZE = 32
};

struct kd_operator {
    size_t name_size;
    char name[KD_OPERATOR_NAME_MAX + 1]; /* with a NUL */
    uint8_t key[KD_OPERATOR_KEY_SIZE];
};

struct kd_quorum {
    unsigned k; /* 0: no operators */
    uint64_t marks;
    size_t n;
    struct kd_operator operators[KD_OPERATORS_MAX];
};

/* Operations that can take a quorum, and what every set of marks holds. */
uint64_t kd_quorum_markable(void);
uint64_t kd_quorum_always(void);

/* True if the operation takes the approvals of this quorum. */
bool kd_quorum_marks(const struct kd_quorum *q, unsigned op);

/* Sorts the operators by name and adds what is always marked, so that what a person
 * wrote becomes what is encoded. */
void kd_quorum_arrange(struct kd_quorum *q);

/* KD_OK, or KD_INVALID for anything the layout does not allow. */
kd_err kd_quorum_check(const struct kd_quorum *q) KD_MUST_USE;

/* Appends the octets, unchecked; failure shows in the buffer. */
void kd_quorum_put(const struct kd_quorum *q, struct kd_buf *out);

/* KD_MALFORMED if the octets are not what kd_quorum_put writes, KD_INVALID if they are
 * but break a rule, KD_UNSUPPORTED for another version. *out only on success. */
kd_err kd_quorum_decode(struct kd_slice octets, struct kd_quorum *out) KD_MUST_USE;

/* SHA-256 of the octets: the name of this very set of operators and rules. */
void kd_quorum_digest(const struct kd_quorum *q, uint8_t out[KD_QUORUM_DIGEST_SIZE]);

/* Position of the operator of that name; KD_NOT_FOUND. */
kd_err kd_operator_find(const struct kd_quorum *q, struct kd_slice name,
                        size_t *at) KD_MUST_USE;

/* True if one of them has this key. */
bool kd_quorum_has_key(const struct kd_quorum *q,
                       const uint8_t key[KD_OPERATOR_KEY_SIZE]);

static inline struct kd_slice
kd_operator_name(const struct kd_operator *o)
{
    return kd_slice(o->name, o->name_size);
}

#endif
