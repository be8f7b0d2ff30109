/* The kill switch: principals that are stopped. The registry keeps them (holds); the
 * vault is told when it starts, refuses their requests from the moment an operator asks
 * for it, and tells the gates, which refuse their look-ups and close their connections.
 *
 * An entry is in force while it is recorded, or while a task that stops it is under
 * way: what an operator wants stopped is not served until the ledger has answered. */
#ifndef KEYD_VAULT_STOPS_H
#define KEYD_VAULT_STOPS_H

#include <keyd/conf/policy.h>
#include <keyd/job/job.h>

struct vault;
struct task;
struct vault_conf;

struct vault_stop {
    bool recorded;
    uint16_t n_tasks; /* that are stopping it */
    uint8_t klass;
    uint8_t name_size;
    uint8_t name[KD_POLICY_NAME_MAX];
};

struct vault_stops {
    struct vault_stop list[KD_STOPPED_MAX];
    size_t n;
    uint32_t serial; /* of the lists that gates are given */
};

/* True if the caller's principal is stopped: as that configuration calls it, or as the
 * one in force does. */
bool stops_has(const struct vault *v, const struct vault_conf *conf,
               const struct kd_caller *caller);

/* What the ledger says at start: "class:name", each behind a u32 length. */
kd_err stops_load(struct vault *v, struct kd_slice list) KD_MUST_USE;

/* The class of a stopped principal of that name; KD_CLASS_COUNT if there is none. */
unsigned stops_class_of(const struct vault *v, struct kd_slice name);

bool stops_is_recorded(const struct vault *v, unsigned klass, struct kd_slice name);

/* In force from here on, for a task, until stops_let_go. KD_TOO_LARGE: the list is
 * full. */
kd_err stops_hold(struct vault *v, unsigned klass, struct kd_slice name) KD_MUST_USE;
void stops_let_go(struct vault *v, unsigned klass, struct kd_slice name);

/* The record is durable. Stopping: there is a hold on it. */
void stops_recorded(struct vault *v, unsigned klass, struct kd_slice name,
                    bool stopped);

/* Appends all that are in force, as the ledger writes them. */
void stops_put(const struct vault *v, struct kd_buf *out);

/* Gives gates of a class the list as it is (KD_CLASS_COUNT: every gate); one gate after
 * its channel came. */
void stops_tell(struct vault *v, unsigned klass);
void stops_tell_gate(struct vault *v, unsigned gate);

/* A gate's answer to that. */
kd_err stops_on_obeys(struct vault *v, unsigned gate, struct kd_slice body) KD_MUST_USE;

/* True once every gate of the class that lives obeys the list of that serial. */
bool stops_are_obeyed(const struct vault *v, unsigned klass, uint32_t serial);

#endif
