/* Requests that wait for approvals: a table in the vault's memory that dies with it.
 * No locks, no clock, no randomness of its own: the main thread gives all of it. */
#ifndef KEYD_QUORUM_PENDING_H
#define KEYD_QUORUM_PENDING_H

#include <keyd/quorum/approval.h>

enum {
    KD_PENDING_MAX = 32,
    KD_PENDING_OF_ONE_MAX = 8, /* of one requester */
};

/* Both must be before a request's end: CLOCK_BOOTTIME cannot be set and counts sleep,
 * the wall clock is what the operators read in the text. */
struct kd_moment {
    int64_t boot_ms, wall_ms;
};

/* What makes a request this one and no other. */
struct kd_pending_request {
    unsigned op;
    uint8_t key[KD_APPROVAL_KEY_SIZE];
    uint8_t request[32];    /* SHA-256 of operation, body and object */
    uint8_t commitment[32]; /* to an object that may hold words; else zero */
    struct kd_slice requester;
};

struct kd_pending {
    bool used;
    bool running; /* approved, and under way */
    uint8_t id[KD_APPROVAL_ID_SIZE];
    unsigned op;
    uint8_t key[KD_APPROVAL_KEY_SIZE];
    uint8_t request[32], commitment[32];
    size_t requester_size;
    char requester[KD_OPERATOR_NAME_MAX];
    struct kd_moment made, not_after;
    unsigned k;
    uint32_t given;  /* operators, by position in the quorum */
    uint32_t taking; /* whose approval is being recorded */
    struct kd_buf text;
    uint8_t digest[KD_APPROVAL_DIGEST_SIZE];
};

struct kd_pendings {
    struct kd_pending at[KD_PENDING_MAX];
};

/* The request's place. KD_NOT_FOUND if it has none, KD_INVALID if its idempotency key
 * waits for another request. Constant time is of no use here: all of it is told to
 * those who ask. */
kd_err kd_pending_match(struct kd_pendings *t, const struct kd_pending_request *r,
                        struct kd_pending **out) KD_MUST_USE;

/* A new place; text (taken over with its memory) is what operators will sign.
 * KD_BUSY: too many, or too many of this requester. */
kd_err kd_pending_add(struct kd_pendings *t, const struct kd_pending_request *r,
                      const uint8_t id[KD_APPROVAL_ID_SIZE], struct kd_moment now,
                      struct kd_moment not_after, unsigned k, struct kd_buf *text,
                      struct kd_pending **out) KD_MUST_USE;

/* KD_OK if there is room for another request of this one, else KD_BUSY. */
kd_err kd_pending_room(const struct kd_pendings *t,
                       struct kd_slice requester) KD_MUST_USE;

struct kd_pending *kd_pending_find(struct kd_pendings *t,
                                   const uint8_t id[KD_APPROVAL_ID_SIZE]);

/* Is this an approval that counts? *at becomes the operator's position.
 *   KD_NOT_FOUND  no such operator       KD_DENIED   the requester's own
 *   KD_CONFLICT   given before           KD_INVALID  not a signature over this text
 *   KD_BUSY       under way already (the request, or this very approval) */
kd_err kd_pending_judge(const struct kd_pending *p, const struct kd_quorum *q,
                        struct kd_slice operator_name,
                        const uint8_t signature[KD_APPROVAL_SIG_SIZE],
                        size_t *at) KD_MUST_USE;

unsigned kd_pending_given(const struct kd_pending *p);
unsigned kd_pending_missing(const struct kd_pending *p);

/* Wipes the place. */
void kd_pending_drop(struct kd_pending *p);

/* Drops what is past its end and not running; all that is not running. */
void kd_pendings_expire(struct kd_pendings *t, struct kd_moment now);
void kd_pendings_void(struct kd_pendings *t);

size_t kd_pendings_count(const struct kd_pendings *t);

#endif
