/* A gate's configuration between the supervisor's "prepare" and "take" (job.h,
 * enum kd_turn), and the policy that is watched beside it. */
#ifndef KEYD_GATE_NEXT_H
#define KEYD_GATE_NEXT_H

#include <keyd/conf/role_conf.h>
#include <keyd/job/job.h>

struct gate_conf {
    uint32_t serial;
    struct kd_conf_for_gate is;
    struct kd_policy *shadow; /* owned; NULL: none is watched */
};

void gate_conf_clear(struct gate_conf *c);

struct next {
    bool is_there;
    struct gate_conf conf;
    struct kd_policy *shadow; /* owned; came for the next one */
};

/* SHADOW and PREPARE: decodes what the sealed memfd holds; the descriptor stays the
 * caller's. KD_MALFORMED, KD_UNSUPPORTED (also of another class), KD_NOMEM: then there
 * is no next one. */
kd_err next_shadow(struct next *n, int fd) KD_MUST_USE;
kd_err next_prepare(struct next *n, uint32_t serial, enum kd_class klass,
                    int fd) KD_MUST_USE;

/* The next one becomes *now, whose content is released. KD_MALFORMED if it is not the
 * one of that serial. */
kd_err next_take(struct next *n, uint32_t serial, struct gate_conf *now) KD_MUST_USE;

/* NUMBER: what the process was started with has that serial, and the shadow. */
void next_number(struct next *n, uint32_t serial, struct gate_conf *now);

void next_drop(struct next *n);

#endif
