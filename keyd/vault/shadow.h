/* The policy that is only watched (shadow-policy): what it would decide otherwise than
 * the one in force, counted for each principal and operation, and said once a minute
 * for each. It never decides anything. */
#ifndef KEYD_VAULT_SHADOW_H
#define KEYD_VAULT_SHADOW_H

#include <keyd/base/buf.h>
#include <keyd/conf/policy.h>

struct vault;
struct task;
struct vault_conf;

enum {
    SHADOW_PAIRS_MAX = 1024, /* what comes beyond is only in the total */
    SHADOW_LINES_MAX = 96    /* that Status shows */
};

struct shadow_pair {
    uint8_t name[KD_POLICY_NAME_MAX];
    uint8_t name_size;
    uint8_t op;
    uint64_t would_refuse, would_allow;
    int64_t tell_at; /* CLOCK_MONOTONIC, ms: not before */
};

struct shadow {
    uint64_t since; /* wall clock, ms; 0: nothing is watched */
    size_t n;
    uint64_t n_beyond; /* decisions of pairs there was no room for */
    struct shadow_pair pairs[SHADOW_PAIRS_MAX];
};

/* After the decision on a task's operation. */
void shadow_watch(struct vault *v, const struct task *t, struct kd_slice domain,
                  bool is_allowed);

/* Decisions that a gate made and compared (look-ups): n of this caller, under c. Who it
 * is the gate says, so it is of the gate's class and has a name in one of the two
 * policies, or it does not count. */
void shadow_count(struct vault *v, const struct vault_conf *c,
                  const struct kd_caller *caller, enum kd_op op, bool would_allow,
                  uint64_t n);

/* When another configuration comes into force: what was counted belongs to the two
 * policies that were compared. before may be NULL. */
void shadow_changed(struct vault *v, const struct vault_conf *before,
                    const struct vault_conf *now);

/* Appends the lines that differed most often as a list of shadow_line. */
void shadow_put(const struct shadow *s, struct kd_buf *lines);

#endif
