/* The operations and the classes of callers, as tables: names, numbers, who is served
 * what, and what an operation needs. Only lists; who may do what is policy
 * (<keyd/conf/policy.h>). */
#ifndef KEYD_OPS_OPS_H
#define KEYD_OPS_OPS_H

#include <keyd/base/slice.h>

enum kd_class {
#define KD_CLASS(number, id, name) KD_CLASS_##id = (number),
#include <keyd/ops/classes.def>
#undef KD_CLASS
#define KD_CLASS(number, id, name) +1
    KD_CLASS_COUNT = 0
#include <keyd/ops/classes.def>
#undef KD_CLASS
};

/* Sets of classes. */
enum {
#define KD_CLASS(number, id, name) KD_ON_##id = 1 << (number),
#include <keyd/ops/classes.def>
#undef KD_CLASS
#define KD_CLASS(number, id, name) | KD_ON_##id
    KD_ON_ALL = 0
#include <keyd/ops/classes.def>
#undef KD_CLASS
};

enum kd_op {
    KD_OP_NONE = 0,
#define KD_OP(number, name, classes, flags) KD_OP_##name = (number),
#include <keyd/ops/ops.def>
#undef KD_OP
    KD_OP_MAX = 63
};

enum {
    KD_OPF_CHANGES = 1 << 0,  /* changes what is stored: needs an idempotency key */
    KD_OPF_DOMAIN = 1 << 1,   /* is about one domain, which policy must allow */
    KD_OPF_KEY = 1 << 2,      /* uses keys: refused while sealed */
    KD_OPF_EVERYONE = 1 << 3, /* every principal of its classes has it */
    KD_OPF_LOOKUP = 1 << 4,   /* read from the ledger, never audited */
    KD_OPF_SECRET = 1 << 5,   /* its descriptor may hold words: no hash of it is kept */
    KD_OPF_QUORUM = 1 << 6,   /* can take a quorum: has a line in describers.def */
    KD_OPF_RESCUE = 1 << 7,   /* done even while the registry is not accepted */
    KD_OPF_FREES = 1 << 8,    /* done even while the disk is nearly full */
    /* Keys without which it is never done: those of a role, by which they may be
     * missing from what a principal may have used; and the key that signs messages of
     * the domain, which is a SOK or the POK as message-signer says. */
    KD_OPF_POK = 1 << 9,
    KD_OPF_SOK = 1 << 10,
    KD_OPF_ENC = 1 << 11,
    KD_OPF_SIGNER = 1 << 12
};

struct kd_op_info {
    const char *name;
    unsigned classes;
    unsigned flags;
};

/* NULL for a number that is no operation. */
static inline const struct kd_op_info *
kd_op_info(unsigned op)
{
    static const struct kd_op_info infos[KD_OP_MAX + 1] = {
#define KD_OP(number, name, classes, flags) [number] = {#name, classes, flags},
#include <keyd/ops/ops.def>
#undef KD_OP
    };

    return op <= KD_OP_MAX && infos[op].name != NULL ? &infos[op] : NULL;
}

/* As written in ops.def; NULL for a number that is no operation. */
static inline const char *
kd_op_name(unsigned op)
{
    const struct kd_op_info *info = kd_op_info(op);

    return info == NULL ? NULL : info->name;
}

/* KD_ON_* set; 0 for a number that is no operation. */
static inline unsigned
kd_op_classes(unsigned op)
{
    const struct kd_op_info *info = kd_op_info(op);

    return info == NULL ? 0 : info->classes;
}

/* KD_OPF_* set; 0 for a number that is no operation. */
static inline unsigned
kd_op_flags(unsigned op)
{
    const struct kd_op_info *info = kd_op_info(op);

    return info == NULL ? 0 : info->flags;
}

/* True for an operation that works with the organization's keys: each use is recorded
 * before what it made is let out (OP-58), whether anything stored changes or not. Not
 * so those that only look into the key store while the registry is not accepted. */
static inline bool
kd_op_uses_key(unsigned op)
{
    return (kd_op_flags(op) & (KD_OPF_KEY | KD_OPF_RESCUE)) == KD_OPF_KEY;
}

/* True for one that leaves a record: of a change, or of the use of a key. */
static inline bool
kd_op_is_recorded(unsigned op)
{
    return (kd_op_flags(op) & KD_OPF_CHANGES) != 0 || kd_op_uses_key(op);
}

/* The operation of that name (case counts); KD_OP_NONE if there is none. */
static inline enum kd_op
kd_op_find(struct kd_slice name)
{
#define KD_OP(number, op_name, classes, flags)                                         \
    if (kd_slice_eq(name, kd_slice(#op_name, sizeof #op_name - 1)))                    \
        return KD_OP_##op_name;
#include <keyd/ops/ops.def>
#undef KD_OP
    return KD_OP_NONE;
}

static inline bool
kd_op_is_served(unsigned op, unsigned klass)
{
    return klass < KD_CLASS_COUNT && (kd_op_classes(op) & 1U << klass) != 0;
}

/* Bit of an operation in a mask; 0 for a number that is no operation. */
static inline uint64_t
kd_op_bit(unsigned op)
{
    return kd_op_name(op) == NULL ? 0 : UINT64_C(1) << op;
}

/* Masks: all that a class is served, and those of it that carry one of the flags. */
static inline uint64_t
kd_ops_of_class(unsigned klass, unsigned any_flag)
{
    uint64_t mask = 0;

    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        if (kd_op_is_served(op, klass) &&
            (any_flag == 0 || (kd_op_flags(op) & any_flag) != 0))
            mask |= UINT64_C(1) << op;
    return mask;
}

/* NULL for a number that is no class. */
static inline const char *
kd_class_name(unsigned klass)
{
    switch (klass) {
#define KD_CLASS(number, id, name)                                                     \
    case (number):                                                                     \
        return name;
#include <keyd/ops/classes.def>
#undef KD_CLASS
    default:
        return NULL;
    }
}

/* True and *klass if there is a class of that name. */
static inline bool
kd_class_find(struct kd_slice name, enum kd_class *klass)
{
    for (unsigned i = 0; i < KD_CLASS_COUNT; i++) {
        const char *text = kd_class_name(i);
        if (text != NULL && kd_slice_eq(name, kd_slice_str(text))) {
            *klass = (enum kd_class)i;
            return true;
        }
    }
    return false;
}

#endif
