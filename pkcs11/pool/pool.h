/* A token's hosts as the vault has them, for the files of this folder.
 *
 * One lock a token. A host that is in work belongs to the thread that took it, which
 * talks to it without the lock; everything else is the keeper's, the token's own
 * thread, which brings hosts up, tries them, lets them go, and makes keys. Nothing is
 * shared between tokens but the descriptor that wakes the main thread. */
#ifndef KEYD_P11_POOL_H
#define KEYD_P11_POOL_H

#include "breaker.h"

#include <keyd/job/job.h>
#include <keyd/p11/look.h>

#include <pthread.h>
#include <stdatomic.h>

enum {
    EVENTS_MAX = 16,
    POOL_KEYS_MAX = 256, /* numbers that requests name them with */
    ANSWER_MAX = 52 * 1024,
    BOUND_MAX = 512,         /* p11_bound */
    SECRET_ANSWER_MAX = 128, /* of a derivation */
    LINK_MS = 5000,          /* a process that was asked for is there */
    HERE_MS = 21000,         /* cards are slow to come up; hosts give up before */
    TAG_MS = 2000,
    STORED_MS = 10000,
    TAGS_AGAIN_MS = 2000,
    LOGIN_MS = 21000,
    BIND_MS = 6000,
    MAKE_MS = 61000,
    WAIT_MS = 1000,      /* of an operation for a host */
    KEY_AGAIN_MS = 1000, /* keys that did not do right are looked at again */
};

/* Numbers of what is told (events.def). */
enum pool_event {
#define KD_EVENT(name, level, text) EVENT_NUMBER_##name,
#include <keyd/events.def>
#undef KD_EVENT
    P11_EVENT_OPEN = EVENT_NUMBER_TOKEN_OPEN,
    P11_EVENT_CLOSED = EVENT_NUMBER_TOKEN_CLOSED,
    P11_EVENT_REFUSED = EVENT_NUMBER_TOKEN_REFUSED,
    P11_EVENT_PIN_TRIED = EVENT_NUMBER_TOKEN_PIN_TRIED,
    P11_EVENT_PIN_REFUSED = EVENT_NUMBER_TOKEN_PIN_REFUSED,
    P11_EVENT_KEY_BAD = EVENT_NUMBER_TOKEN_KEY_BAD,
    P11_EVENT_FAULT = EVENT_NUMBER_TOKEN_FAULT,
    P11_EVENT_RECYCLED = EVENT_NUMBER_TOKEN_RECYCLED,
    P11_EVENT_NOT_MADE = EVENT_NUMBER_TOKEN_NOT_MADE,
};

/* --- a host --- */

enum host_state {
    HOST_NONE,   /* no channel */
    HOST_LINKED, /* a process is there, and has not been looked at */
    HOST_SEEN,   /* it told what there is: not logged in */
    HOST_IDLE,
    HOST_BUSY, /* some thread's */
};

/* While others are answered the token is busy, not away: who waits for an answer waits
 * on, until at the latest, as long as one came within the last step_ms. */
struct patience {
    const _Atomic int64_t *answered_at; /* NULL: none */
    int64_t step_ms, until;
};

struct host {
    enum host_state state;
    int fd;          /* -1: none */
    int next_fd;     /* of the process that came after, while this one is in work */
    unsigned number; /* of its token's */
    bool is_stale;   /* in work when all were let go: it goes when that is over */
    uint64_t incarnation; /* counts channels */
    int64_t linked_at, sent_at;
    int64_t size_ms;        /* that its operation may take longer, being large */
    struct patience longer; /* of a trial */
    uint64_t keys_serial;   /* of the list that is bound in it */
    uint64_t n_done, tag;
    struct p11_look look;
    uint32_t kib_first, kib;
    uint8_t *secret; /* SECRET_ANSWER_MAX, secret memory */
};

/* How a conversation ended. */
enum call_end {
    CALL_DONE,
    CALL_GONE,      /* the process */
    CALL_LATE,      /* it does not answer */
    CALL_MALFORMED, /* what it said is nothing that it may say */
    CALL_FAILED     /* here: no memory */
};

/* One question, and the message of that type as its answer within ms; it lies in answer
 * (room octets), n of them. fd: goes along, or -1; taken. */
enum call_end call_host(struct host *h, uint16_t type, const struct kd_buf *question,
                        int fd, uint16_t wanted, int64_t until, uint8_t *answer,
                        size_t room, size_t *n);

/* Without a question; or without an answer. */
enum call_end call_await(struct host *h, uint16_t wanted, int64_t until,
                         uint8_t *answer, size_t room, size_t *n);
enum call_end call_tell(struct host *h, uint16_t type, const struct kd_buf *message);

/* Operations; rv and what came. sig at most room octets. */
enum call_end call_sign(struct host *h, uint8_t key, struct kd_slice message,
                        int64_t until, uint64_t *rv, struct kd_token_sig *sig);
enum call_end call_derive(struct host *h, uint8_t key, const uint8_t point[65],
                          int64_t until, uint64_t *rv, uint8_t z[KD_ECDH_SIZE]);

/* --- a token --- */

struct pool_key {
    struct kd_device_key is; /* its slices point to what follows */
    uint8_t public_key[KD_KEY_PUBLIC_MAX];
    enum p11_finding_code finding; /* P11_FINE: bound and right */
    uint64_t rv;
    char what[P11_WHAT_MAX + 1];
    uint32_t attributes, quirks;
    bool is_known;           /* that, since the list came */
    bool is_asked;           /* for a trial */
    int64_t good_at, bad_at; /* when the last trial began that went so */
};

/* What the main thread is to carry. */
struct outbox {
    unsigned kill, start, pin; /* a bit for each host */
    bool maker, tags;
    size_t n_events;
    struct {
        uint16_t event;
        uint64_t a, b;
    } events[EVENTS_MAX];
};

/* Of the keeper, for a thread that waits. */
enum work_kind { WORK_NONE, WORK_MAKE, WORK_UNMAKE, WORK_LOOK, WORK_DOCTOR };

struct work {
    enum work_kind kind;
    bool is_begun, is_done;
    bool is_left; /* nobody waits any more: whoever does it frees it */
    kd_err err;
    /* make */
    const struct kd_key_spec *spec;
    struct kd_slice secret;
    /* all */
    struct kd_place place;
    enum kd_key_alg alg;
    uint8_t flags;
    uint8_t public_key[KD_KEY_PUBLIC_MAX];
    size_t n_public;
    /* doctor */
    struct p11_finding *findings;
    size_t n_findings, findings_max;
    int64_t until;
};

/* Of what a host waits for: said, given to the main thread, stored or not. */
enum tags_state { TAGS_KEPT, TAGS_SAID, TAGS_GIVEN, TAGS_FAILED };

/* What the tags are tags of. mark: of the latch key, which itself goes when the store
 * is sealed. */
struct tags_owner {
    uint8_t mark[KD_PIN_TAG_SIZE];
    char serial[KD_TOKEN_SERIAL_MAX + 1], model[KD_TOKEN_MODEL_MAX + 1];
};

struct p11_token {
    struct kd_device device; /* first */
    struct p11 *pool;
    unsigned number;
    struct p11_conf conf;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* the keeper */
    pthread_cond_t changed; /* who waits for a host, a trial or a work */

    struct breaker breaker;
    struct host hosts[P11_HOSTS_A_TOKEN];
    bool was_up;                 /* once: from then on it is known how quick it is */
    int64_t served_at;           /* a host that serves was last there */
    int64_t asked_at;            /* for a process, while away */
    char what[P11_WHAT_MAX + 1]; /* with status.finding */

    /* What is to be held. */
    struct pool_key *keys;
    size_t n_keys;
    uint64_t keys_serial;
    uint8_t latch[KD_LATCH_KEY_SIZE], good[KD_PIN_TAG_SIZE], tried[KD_PIN_TAG_SIZE];
    struct tags_owner tags_of;
    uint64_t tags_era; /* counts owners: what was asked under another says nothing */
    char serial[KD_TOKEN_SERIAL_MAX + 1], model[KD_TOKEN_MODEL_MAX + 1];

    enum tags_state tags;
    bool tags_are_away;    /* with the main thread: one storing at a time */
    int64_t tags_again_at; /* what could not be stored; 0: nothing */
    unsigned pin_host;     /* the one that waits for its PIN */
    bool has_no_pin;       /* the supervisor said so, of that one */
    kd_err no_pin;

    struct p11_finding looked;   /* why what was last looked for is not taken */
    _Atomic int64_t answered_at; /* an operation of anybody's was last answered */
    bool wants_trial;
    int64_t made_at;         /* what was loaded before may not see it */
    struct p11_finding made; /* what came of the last key that was to be made */
    int64_t trial_at, recheck_at;
    uint64_t trial_served; /* operations until the last one */
    size_t trial_next;
    int64_t start_at; /* when missing processes are asked for again */
    struct work *work;
    bool limit_known; /* status.max_message; found once a process of ours */
    int64_t limit_at; /* when it is looked for (again) */
    uint32_t n_objects;

    struct outbox out;
    struct p11_status status;
};

struct p11 {
    int event_fd;
    size_t n;
    struct p11_token tokens[KD_TOKENS_MAX];
};

/* --- hosts.c; with the lock --- */

/* One that serves, now this thread's, and the key's number; waits. */
kd_err host_take(struct p11_token *t, const struct kd_key_id *id, int64_t until,
                 struct host **out, uint8_t *key);

/* How long is waited for a host; without one for so long the token counts as away. */
int64_t host_wait_ms(const struct p11_token *t);

/* Its own conversation is over. */
void host_give_back(struct p11_token *t, struct host *h);

/* No channel any more; kill: the process may not end by itself. */
void host_drop(struct p11_token *t, struct host *h, bool kill);
void hosts_drop_all(struct p11_token *t);

/* --- p11.c; with the lock --- */

void token_event(struct p11_token *t, unsigned event, uint64_t a, uint64_t b);
void token_say(struct p11_token *t);
void token_see(struct p11_token *t, enum breaker_seen what);
void token_want_trial(struct p11_token *t);
struct pool_key *token_key(struct p11_token *t, const struct kd_key_id *id);
/* Until something changes or until; false: until came. */
bool token_wait(struct p11_token *t, pthread_cond_t *cond, int64_t until);

/* --- keeper.c --- */

void *keeper_main(void *token);

/* Brings one up that is linked; it serves then, or is gone. With the lock. */
void keeper_raise(struct p11_token *t, struct host *h);

/* Between two trials, when nothing asks for one: so often that each key has its turn.
 */
int64_t trial_every_ms(size_t n_keys, bool in_use);

/* How long a trial may take on a host that serves. With the lock. */
int64_t trial_ms(const struct p11_token *t);
/* Makes it wait longer while others are answered; began: of the trial. */
struct patience trial_patience(const struct p11_token *t, int64_t began);

/* --- bring_up.c; without the lock, of a host that is this thread's --- */

/* Looks at what is there, logs in. */
enum p11_finding_code bring_up(struct p11_token *t, struct host *h,
                               struct p11_finding *why);
/* Binds and tries the keys; P11_FINE if any does right, or there is none. all: each is
 * tried, not just one of a kind. */
enum p11_finding_code bring_keys(struct p11_token *t, struct host *h, bool all,
                                 struct p11_finding *why);

/* One key, by its id, or if that is empty by its public key; answer: BOUND_MAX, where
 * what *out borrows lies. */
enum p11_finding_code bind_key(struct p11_token *t, struct host *h, uint8_t number,
                               enum kd_key_alg alg, struct kd_slice id,
                               struct kd_slice public_key, uint8_t *answer,
                               struct kd_p11_bound *out, struct p11_finding *why);

/* --- trial.c --- */

/* KD_OK; KD_FAILED: not right; KD_UNAVAILABLE: no answer, or not that of one that can;
 * KD_CLOSED: the process has ended. */
kd_err trial_key(struct host *h, uint8_t number, enum kd_key_alg alg,
                 struct kd_slice public_key, int64_t until, uint64_t *rv);

/* Octets that it signs in one go, found by trying; false: there was no answer. */
bool trial_limit(struct host *h, uint8_t number, struct kd_slice public_key,
                 uint32_t timeout_ms, size_t *most);

/* --- make.c --- */

void keeper_work(struct p11_token *t, struct work *w);
/* doctor.c */
void keeper_doctor(struct p11_token *t, struct work *w);
void work_free(struct work *w); /* of one that is left */

/* --- device.c --- */

/* Has it done and waits; KD_BUSY: another is being done. */
kd_err token_work(struct p11_token *t, struct work *w);

extern const struct kd_device_ops pool_device;

#endif
