/* What the callbacks of libkeyd saw, in order, for tests of the client. */
#ifndef KEYD_TESTS_SEEN_H
#define KEYD_TESTS_SEEN_H

#include <keyd_client.h>

enum { SEEN_MAX = 64 };

extern struct keyd_answer *seen[SEEN_MAX];
extern size_t n_seen;

/* A callback that keeps the answer; its cookie is to be seen. */
void seen_note(void *cookie, struct keyd_answer *answer);

void seen_forget(void);

#endif
