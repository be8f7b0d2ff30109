/* One request inside the vault, from the gate's job to the gate's answer.
 *
 * Its life is a walk through steps on the main thread, between which it is somewhere
 * else: on a crypto thread (task_work), alone on one (task_work_alone), asking the
 * ledger (task_ask) or waiting for the ledger's acknowledgement (task_commit). Each of
 * these names the step that comes next; task_finish answers the gate and ends it. */
#ifndef KEYD_VAULT_TASK_H
#define KEYD_VAULT_TASK_H

#include "../pool.h"

#include <keyd/conf/quota_table.h>
#include <keyd/job/job.h>
#include <keyd/ops/ops.h>
#include <keyd/token/token.h>

struct vault;
struct task;
struct kd_audit_record;

typedef void (*task_step)(struct vault *v, struct task *t);
typedef void (*task_working)(struct task *t);

/* All, and of one gate: none can keep the others out, or take all memory and
 * descriptors (a task may hold a few of its own beside the request's). */
enum {
    TASKS_MAX = 4096,
    TASKS_OF_GATE_MAX = 3072,
    TASK_FDS_OF_GATE_MAX = 256,
    TASK_OCTETS_OF_GATE_MAX = 16 * 1024 * 1024
};

enum task_stage {
    TASK_STEPPING, /* on the main thread */
    TASK_HELD,     /* wants a crypto thread, but something must run alone first; or
                    * wants one alone, and others came before */
    TASK_WORKING,
    TASK_ASKING,
    TASK_COMMITTING,
    TASK_WISHING, /* waits for the supervisor */
    TASK_TELLING  /* until gates obey (stops.h) */
};

/* How an operation that can take a quorum got past it (ops/quorum.h). */
enum task_admission {
    ADMITTED_NOT,
    ADMITTED_ALONE,   /* it needs no approvals */
    ADMITTED_AGAIN,   /* done before: only to be answered */
    ADMITTED_APPROVED /* operators approved this very request */
};

struct task {
    struct pool_item item; /* first: the pool knows only this */
    struct vault *vault;
    struct vault_conf *conf; /* held: what it is decided and done under */
    uint64_t tag;            /* slot and generation: what the ledger's answers name */
    enum task_stage stage;

    /* Who asks, and what. */
    unsigned gate;
    uint32_t gate_generation;
    uint64_t gate_job;
    enum kd_op op;
    struct kd_caller caller; /* its name lies in remote */
    uint8_t remote[KD_POLICY_NAME_MAX];
    int64_t deadline; /* CLOCK_MONOTONIC, ms */
    bool has_key;
    uint8_t key[16];     /* idempotency key */
    uint8_t request[32]; /* what the key is bound to: SHA-256 of operation and body, and
                          * of the descriptor's octets (run_bind) */
    bool only_looks;     /* what it does changes and records nothing */
    bool is_watched;     /* by a policy that is only watched */
    bool is_counted;     /* by its quotas */
    bool is_bound;       /* the descriptor's octets are in it */
    bool is_recorded;    /* what it changes is stored */
    bool owes_record;    /* it has used a key: it does not end without a record */
    bool is_long;        /* its work takes long (task_work_long) */
    bool is_apart;       /* nobody waits for its work (task_work_apart) */
    unsigned waits;      /* devices that its next work may wait for (task_uses) */
    struct kd_slice account; /* that was asked about, and must stay open until the
                              * record; borrowed; or empty */
    uint16_t overtaken;      /* why it did not: a reason, or 0 */
    uint8_t *octets;         /* owned; body lies in it */
    struct kd_slice body;
    int fd;      /* -1 if none */
    bool has_fd; /* it came with one */

    /* Where it is. */
    task_working work;
    task_step next;
    unsigned telling_class; /* with telling_serial and _until: task_tell_gates */
    uint32_t telling_serial;
    int64_t telling_until;
    uint16_t ask_type;
    struct kd_buf ask;             /* kept, to ask again when the ledger came back */
    struct kd_slice told;          /* the ledger's answer, borrowed during the step */
    int told_fd;                   /* closed after the step */
    struct kd_ctl_granted granted; /* the supervisor's */

    /* Whether it may run. */
    enum task_admission admission;
    uint64_t quorum_version;               /* of the operators it was held against */
    uint8_t approval_id[16], approval[32]; /* approved: the request's and its text's */
    task_step start;

    /* run_once() of the operations: which way to go on. */
    task_step once_fresh;
    void (*once_again)(struct vault *v, struct task *t, struct kd_slice record);

    /* What comes out. */
    kd_err err;
    uint16_t reason;
    uint32_t retry_ms; /* of a refusal: when it could pass; 0: no advice */
    struct kd_quota_held quota;
    struct kd_buf reply;
    int reply_fd;

    void *data; /* the operation's own, freed with data_free */
    void (*data_free)(void *data);
};

struct task_table {
    struct task *slot[TASKS_MAX];
    uint32_t generation[TASKS_MAX];
    unsigned n;         /* in use */
    unsigned next_free; /* where to look first */
    unsigned n_working; /* on crypto threads, but for those apart */
    unsigned n_apart;
    unsigned n_telling;
    struct task *alone; /* waits for them, or has all to itself until it ends */
    bool alone_works;
    struct pool_queue held, want_alone;
    unsigned n_want_alone;
};

/* A new task of this gate (TASK_INTERNAL: of the vault's own) under a configuration;
 * takes fd and copies the body. NULL: too many, or no memory. */
enum { TASK_INTERNAL = UINT16_MAX };
struct task *task_new(struct vault *v, unsigned gate, struct vault_conf *conf,
                      const struct kd_job *job, int fd);

/* The task with that tag, or NULL. */
struct task *task_of_tag(const struct vault *v, uint64_t tag);

/* Answers the gate, if it is still the one that asked, and frees. */
void task_finish(struct vault *v, struct task *t, kd_err err, uint16_t reason);

/* work runs on a crypto thread and may touch the task, the token and the vault's
 * fields that only tasks running alone change. */
void task_work(struct vault *v, struct task *t, task_working work, task_step next);

/* As task_work, for what takes long (a message of megabytes): never on the last crypto
 * thread that is free of such work, and never on the main thread. */
void task_work_long(struct vault *v, struct task *t, task_working work, task_step next);

/* The next work of the task uses these keys: where a device has one, it does not take
 * the threads of what only computes, nor the main thread. Nothing while sealed. */
void task_uses(struct vault *v, struct task *t, const struct kd_key_id *ids, size_t n);

/* As task_work, for what a device needs seconds for: tasks that want to be alone do not
 * wait for it, and it begins although one is. It must not look at the vault, at the key
 * store only by a pointer that it was given before (which is then kept: tokens.h), and
 * change nothing. devices: a set as kd_token_waits has it. Another with the idempotency
 * key of one that works so is refused. */
enum { TASK_ANY_DEVICE = 15 };
void task_work_apart(struct vault *v, struct task *t, unsigned devices,
                     task_working work, task_step next);

/* As task_work, while no other task works and until the task has ended, commit
 * included: for what changes the token. Those who want it wait for each other, in order
 * and at most WANT_ALONE_MAX of them; whose turn comes too late, or after a change of
 * the operators he was held against, is refused then. One with the idempotency key of
 * another of them is refused at once, and finds what was stored when it comes again. */
enum { WANT_ALONE_MAX = 64 };
void task_work_alone(struct vault *v, struct task *t, task_working work,
                     task_step next);

/* Asks the ledger; t->ask holds the message, whose first field is the tag. A task that
 * owes a record steps on without an answer, with t->err and nothing told, where
 * another would be ended: its deadline has passed, its principal was stopped. */
void task_ask(struct vault *v, struct task *t, uint16_t type, task_step next);

/* The account is frozen or closed, which is stored: tasks for it whose record is not
 * made yet are too late, for that reason. */
void task_overtake(struct vault *v, struct kd_slice account, uint16_t reason);

/* Hands the ledger a record with a row (chain.h); takes row_fd. The next step runs when
 * it is durable, with t->err KD_OK or KD_CONFLICT (record stored, row refused), or at
 * once with chain_append's error. */
void task_commit(struct vault *v, struct task *t, struct kd_audit_record *record,
                 enum kd_row row, struct kd_slice row_body, int row_fd, task_step next);

/* Asks the supervisor for what only it can do; wait: until it is not only begun but
 * over. The next step finds t->granted, its error among it. */
void task_wish(struct vault *v, struct task *t, enum kd_wish wish, bool wait,
               task_step next);
kd_err task_granted(struct vault *v, struct kd_slice body) KD_MUST_USE;
/* Waits until the gates of the class obey the list of stopped principals as it is now,
 * or until they have had TASK_TELLING_MS for it: a gate that hangs serves nobody, and
 * must not keep an operator waiting. */
enum { TASK_TELLING_MS = 1000 };
void task_tell_gates(struct vault *v, struct task *t, unsigned klass, task_step next);
void task_tell_done(struct vault *v);

/* For the main loop: tasks that came back from crypto threads, answers of the ledger,
 * a new ledger channel (outstanding questions are asked again). */
void task_take_done(struct vault *v);
kd_err task_told(struct vault *v, uint64_t tag, struct kd_slice body,
                 int fd) KD_MUST_USE;
void task_ask_again(struct vault *v);

/* Ends tasks whose question the ledger (or the supervisor) has not answered by their
 * deadline. What waits
 * for an acknowledgement stays: it is recorded or it will be. */
void task_expire(struct vault *v);

/* Steps on, from outside (the chain's acknowledgement). */
void task_step_on(struct vault *v, struct task *t, kd_err err);

/* True if the deadline has passed. */
bool task_is_late(const struct task *t);

/* True for a task of the vault's own, that answers nobody. */
bool task_is_internal(const struct task *t);

#endif
