/* The supervisor's children: which there are, how they are started and when again. */
#ifndef KEYD_SUPERVISOR_CHILD_H
#define KEYD_SUPERVISOR_CHILD_H

#include "../role.h"
#include "drain.h"
#include "reload.h"

#include <keyd/base/chan.h>
#include <keyd/base/rate.h>
#include <keyd/base/sandbox.h>
#include <keyd/conf/conf.h>

#include <sys/types.h>

enum {
    CHILDREN_MAX = KD_GATES_MAX + 2 + KD_CONF_TOKENS_MAX * (KD_CONF_TOKEN_SESSIONS + 1)
};

/* What a child has said of the steps of a reload or a drain (reload.h, drain.h). */
struct child_turns {
    uint32_t prepared, taken; /* serial of the configuration */
    uint32_t drained;         /* serial of the drain */
    uint32_t in_flight;       /* of a gate that drains, as it said last */
};

struct child {
    enum kd_role role;
    unsigned gate; /* number of a gate or of a token's host, else 0 */
    char name[48];
    char path[512]; /* its program */
    uid_t uid;
    gid_t gid;
    unsigned n_groups;                             /* 0 or 1 */
    gid_t group;                                   /* one more */
    char *environment[KD_CONF_TOKEN_LIST_MAX + 1]; /* NULL at its end */
    pid_t pid;                                     /* 0: not running */
    struct kd_chan ctl;
    bool is_ready;
    uint32_t starts;
    int64_t start_at;   /* CLOCK_MONOTONIC, ms: not before */
    unsigned n_crashes; /* in a row */
    int64_t crashed_at;
    unsigned n_lost; /* links that broke by its fault, as far as can be known */
    int64_t lost_since;
    kd_rate_state early_ends; /* of a host */
    bool is_ended_by_us;      /* a crash, although it is a SIGKILL */
    bool has_asked;           /* a host for its PIN, since it was started */
    bool is_let_go;           /* a host without its vault: no crash, and no news */
    struct child_turns turns;
    int64_t started_at; /* this and the rest: of hosts (hosts.h) */
    int64_t kill_at;    /* CLOCK_MONOTONIC, ms; 0: it is not to be ended */
    bool is_wanted;     /* of one that makes keys */
};

/* A link between two roles. */
struct link {
    uint32_t serial; /* of the newest, 0 if there never was one */
    int64_t lost_at; /* CLOCK_MONOTONIC, ms: when an end said that it broke; 0: whole */
};

struct links {
    struct link core; /* vault and ledger */
    struct link to_vault[KD_GATES_MAX], to_ledger[KD_GATES_MAX];
};

struct supervisor {
    const char *conf_path;
    struct kd_conf *conf;
    struct kd_conf *shadow;  /* whose policy is watched; NULL: none */
    uint32_t conf_serial;    /* of both; grows with every reload */
    struct kd_conf *started; /* what cannot change is as it says */
    struct reload reload;
    struct drain drain;
    bool has_socket[KD_CLASS_COUNT]; /* from systemd: the file is not ours to remove */
    int listeners[KD_CLASS_COUNT];   /* -1: none */
    unsigned n_children;
    struct child children[CHILDREN_MAX];
    uint32_t serial; /* of the newest link or descriptor */
    struct links links;
    int tls; /* memfd of what the remote gates are told (tls.h); -1: nothing yet */
    uint32_t tls_serial;
    int signals;
    int state_directory;
    int quotas[2]; /* memory of the gates' quotas, to write and to read; -1: none */
    kd_rate_state wants[KD_CONF_TOKENS_MAX]; /* what the vault asks for (hosts.c) */
    int64_t wants_logged;                    /* CLOCK_MONOTONIC, ms */
    kd_err pin_errors[KD_CONF_TOKENS_MAX];   /* as logged last */
    bool is_confined, is_announced, is_stopping;
    bool is_settled;   /* the vault has said how it stands: gates may accept */
    bool opens_itself; /* it was given a credential */
    int exit_status;
};

/* Does it load a vendor's module? Then nothing waits for it. */
static inline bool
child_is_host(const struct child *c)
{
    return c->role == KD_ROLE_P11;
}

/* Fills the table: ledger, vault, the gates of each open listener, the hosts of tokens.
 * Finds programs, users, directories, and refuses what cannot work (logged). */
kd_err children_plan(struct supervisor *s) KD_MUST_USE;

/* Appends what a child is told of a configuration. */
kd_err child_conf(const struct kd_conf *conf, const struct child *c,
                  struct kd_buf *b) KD_MUST_USE;

/* Runs the child's program with its control channel and sends its configuration. */
kd_err child_start(struct supervisor *s, struct child *c) KD_MUST_USE;

/* After it has been waited for. */
void child_ended(struct child *c);

/* Milliseconds to wait before it is started again: none after the first two crashes,
 * then half a second, doubled with each, at most a minute. Of a host a quarter of a
 * second, at most one: it was seen that tokens come back. */
int64_t child_backoff(struct child *c, bool crashed);

/* NULL if there is no such child. */
struct child *child_of(struct supervisor *s, enum kd_role role, unsigned gate);
bool children_alive(const struct supervisor *s, enum kd_role role);

/* The link that a child means by its own name for it, or NULL if it has none such. */
struct link *child_link(struct supervisor *s, const struct child *from,
                        const struct kd_ctl_lost *m);

#endif
