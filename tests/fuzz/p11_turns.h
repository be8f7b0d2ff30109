/* The pool's threads one at a time, in turns that an input can repeat, under a clock of
 * their own: nobody sleeps. It stands in for the clock, for the pool's waiting, and for
 * the making of keepers (--wrap). A thread goes on until it waits; then it is the next
 * one's turn. */
#ifndef KEYD_TESTS_P11_TURNS_H
#define KEYD_TESTS_P11_TURNS_H

#include "../../pkcs11/pool/pool.h"

/* What else is to be done whenever somebody waits; no lock is held. */
extern void (*turns_between)(void);

/* Before p11_new: the caller is the first thread. */
void turns_begin(void);

int64_t turns_now(void);
void turns_pass(int64_t ms);

/* The others' turn, until it is ours again. */
void turns_yield(void);
/* They have theirs meanwhile. */
void turns_sleep(int64_t ms);

/* Ends the keepers, each of which waits for something to do. */
void turns_end(void);

#endif
