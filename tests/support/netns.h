/* A network of the test's own: real ports on 127.0.0.0/8, and nothing else is there. */
#ifndef KEYD_TESTS_NETNS_H
#define KEYD_TESTS_NETNS_H

/* Moves this process into it, with lo up; call before threads are made. Where that is
 * forbidden the program ends as skipped. */
void netns_enter(void);

#endif
