/* A gate's configuration between the supervisor's "prepare" and "take" (job.h,
 * enum kd_turn), and the policy that is watched beside it. */
#ifndef KEYD_GATE_NEXT_H
#define KEYD_GATE_NEXT_H

#include <keyd/conf/role_conf.h>
#include <keyd/job/job.h>

struct next {
    bool is_there;
    uint32_t serial;
    struct kd_conf_for_gate conf;
    struct kd_policy *watched; /* owned; with conf; NULL: none */
    struct kd_policy *shadow;  /* owned; came, and belongs to what comes next */
};

/* SHADOW and PREPARE: decodes what the sealed memfd holds; the descriptor stays the
 * caller's. KD_MALFORMED, KD_UNSUPPORTED (also of another class), KD_NOMEM: then there
 * is no next one. */
kd_err next_shadow(struct next *n, int fd) KD_MUST_USE;
kd_err next_prepare(struct next *n, uint32_t serial, enum kd_class klass,
                    int fd) KD_MUST_USE;

/* The next one takes the place of *conf and *watched, which are released. KD_MALFORMED
 * if it is not the one of that serial. */
kd_err next_take(struct next *n, uint32_t serial, struct kd_conf_for_gate *conf,
                 struct kd_policy **watched) KD_MUST_USE;

/* The shadow that came takes the place of *watched: of the configuration the process
 * was started with. */
void next_take_shadow(struct next *n, struct kd_policy **watched);

void next_drop(struct next *n);

#endif
