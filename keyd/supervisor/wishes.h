/* What the vault asked the supervisor for on a client's behalf (job.h, enum kd_wish)
 * and waits for an answer to. Those of a vault that has ended are forgotten: its client
 * has been told that nobody knows. */
#ifndef KEYD_SUPERVISOR_WISHES_H
#define KEYD_SUPERVISOR_WISHES_H

#include <keyd/job/job.h>

struct supervisor;

enum { WISHES_MAX = 32 };

struct wish {
    uint64_t tag;
    bool waits;    /* drain: until nothing is in flight */
    bool is_later; /* reload: for the one after this */
    int64_t until; /* CLOCK_MONOTONIC, ms: an answer is of use */
};

struct wishes {
    size_t n;
    struct wish list[WISHES_MAX];
};

/* False if there are too many. */
bool wishes_add(struct wishes *w, const struct wish *wish);

/* Answers and forgets the i-th; the last one takes its place. m->tag is filled in. */
void wishes_grant(struct supervisor *s, struct wishes *w, size_t i,
                  struct kd_ctl_granted *m);

/* Answers one that is on no list. */
void wish_grant(struct supervisor *s, uint64_t tag, struct kd_ctl_granted *m);

#endif
