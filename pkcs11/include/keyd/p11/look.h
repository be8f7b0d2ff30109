/* Waiting for the other side of a conversation whose answers come within microseconds:
 * a token of software, questions of a vault under load. To sleep and be woken takes
 * longer than such an answer; so who waits looks for a while before it sleeps, if that
 * was worth it lately. */
#ifndef KEYD_P11_LOOK_H
#define KEYD_P11_LOOK_H

#include <poll.h>

/* Of one conversation, zero at first: how often looking was, or would have been, worth
 * it lately. */
struct p11_look {
    unsigned char worth;
};

/* As poll(2). Between two looks another process may run. */
int p11_poll(struct p11_look *l, struct pollfd *p, nfds_t n, int timeout_ms);

#endif
