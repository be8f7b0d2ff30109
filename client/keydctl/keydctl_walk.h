/* The audit log as keyd gives it, page by page, and how far one is. */
#ifndef KEYDCTL_WALK_H
#define KEYDCTL_WALK_H

#include "keydctl.h"
#include "keydctl_log.h"

/* On stderr, while something long goes on: where that is a terminal, or --progress was
 * given. */
struct progress {
    bool shows, is_terminal, has_shown;
    uint64_t n, total;
    int64_t begun_at, told_at; /* CLOCK_MONOTONIC, ms */
};
void progress_begin(struct progress *p, const struct options *o, uint64_t total);
void progress_step(struct progress *p);
/* The last line, with the rate of all; nothing if nothing was shown. */
void progress_end(struct progress *p);

/* What is done with each record and checkpoint; EX_OK to go on. */
struct sink {
    int (*record)(void *arg, struct kd_slice octets);
    int (*checkpoint)(void *arg, struct kd_slice octets); /* may be NULL */
    void *arg;
};

/* Records from .. to. *reached is the first that keyd did not have, to + 1 if it had
 * all. */
int walk_records(struct session *s, uint64_t from, uint64_t to, const struct sink *sink,
                 struct progress *p, uint64_t *reached);

int walk_head(struct session *s, struct keyd_answer **out);

/* The first record there is, of an answer of walk_head. */
uint64_t walk_first(const struct keyd_answer *head);

/* "keyd's answer: text"; EX_PROTOCOL. */
int walk_wrong(const char *text);

/* The public keys that checkpoints are verified with: of --audit-key, or keyd's. */
int audit_keys(struct session *s, const struct options *o, struct audit_check *c);
int audit_keys_from_options(const struct options *o, struct audit_check *c);

#endif
